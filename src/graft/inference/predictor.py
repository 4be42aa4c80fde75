"""Predictor: what an image shows, whatever form it comes in and whoever asks."""

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Self, overload

import numpy as np
import torch
from numpy.typing import NDArray

from graft.data.decode import Pixels
from graft.errors import DataError, ModelError
from graft.features.backends import BATCH, LazyBackend, backend_of
from graft.features.extraction import Encoded, encode, encode_pixels
from graft.inference.image_input import (
    OneImage,
    each_image,
    each_network_pixels,
    is_one,
    path_of,
    whole_pixels,
)
from graft.inference.neighbors import Neighbors
from graft.inference.policy import Policy, abstention, prediction_set
from graft.inference.prediction import FileResult, Picture, Prediction
from graft.inference.scikit import FittedEstimator
from graft.models.backbone import Backbone
from graft.models.classifier import Classifier
from graft.models.head import Head
from graft.models.ood import OODDetector
from graft.runs.run import Run
from graft.utils.in_blocks import in_blocks

# An image whose two best classes are closer than this is computed again, in float32 and from a
# JPEG decoded at its full size: half precision and decoding at a half, a quarter or an eighth move
# probabilities by less, so the label is that of the exact way (docs/recipes.md).
CLOSE_CALL = 0.15
# So few images go through one at a time: a batch is padded to its full size, which costs more.
FEW = 4

Floats = NDArray[np.float64]
Features = NDArray[np.float16]


@dataclass
class Predictor(FittedEstimator):
    """A trained classifier with its backend, its batches and its policy. Any thread may use it.

    `classes` are in the order of the logits; `temperature` > 0 divides them. `backend` runs the
    encoder of `backbone`. `frozen` says that the backbone was not trained. `policy` holds where
    `predict` is given none. `run` is the folder it was read from.

    It can be pickled and used after a fork: the other process compiles its own backend, at its
    first prediction. As a context manager it frees the backend at the end.
    """

    backbone: Backbone
    head: Head
    classes: tuple[str, ...]
    backend: LazyBackend = field(repr=False)
    temperature: float = 1.0
    frozen: bool = True
    ood_detector: OODDetector | None = None
    run: Path | None = None
    policy: Policy = field(default_factory=Policy)

    def __post_init__(self) -> None:
        self.single = backend_of(self.backbone, self.backend.wanted, batch=1)
        self._float32 = backend_of(self.backbone, "float32", batch=1)

    @property
    def exact(self) -> LazyBackend:
        """What computes close calls again: in float32, one image at a time, as they are few."""
        return self.single if self.backend.exact else self._float32

    @cached_property
    def classifier(self) -> Classifier:
        """The whole network in PyTorch, in inference mode: to trace, export or explain."""
        with torch.inference_mode(False):  # so that it can be explained, whoever asks first
            return Classifier(self.backbone.build(), self.head, self.temperature).eval()

    @cached_property
    def neighbors(self) -> Neighbors:
        """The training images, to find the nearest among; ModelError for a run without them."""
        if self.run is None or self.ood_detector is None:
            raise ModelError(
                "expected a run that keeps its training images' features, this predictor has "
                "none; use graft.load(RUN) of a finished run"
            )
        return Neighbors.read(Run(self.run), self.ood_detector)

    def __getstate__(self) -> dict[str, Any]:
        # The whole network is built again from the backbone where it is asked for.
        return {name: value for name, value in vars(self).items() if name != "classifier"}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the compiled backends; another prediction compiles them again."""
        for backend in (self.backend, self.single, self._float32):
            backend.close()
        vars(self).pop("classifier", None)

    @overload
    def predict(self, images: OneImage, policy: Policy | None = None) -> Prediction: ...  # type: ignore[overload-overlap]

    @overload
    def predict(
        self, images: Iterable[OneImage], policy: Policy | None = None
    ) -> list[Prediction]: ...

    def predict(
        self, images: OneImage | Iterable[OneImage], policy: Policy | None = None
    ) -> Prediction | list[Prediction]:
        """What an image shows; a list for a list or another iterable of images.

        An image is a path, the bytes or an open file of an image, a Pillow image of any mode but
        F, or pixels of any size as a NumPy array, a tensor or nested lists: (H, W, 3) RGB,
        (H, W, 4) RGBA, laid over white, or (H, W) gray, whole numbers of 0..255 (uint16: of
        0..65535). Files, bytes and Pillow images are turned upright by their EXIF tag; pixels
        have none and are taken as they are. (N, H, W, 3) are N images.

        Raises UsageError for the first that is no usable image, with the reason.
        """
        if is_one(images) or not isinstance(images, Iterable):  # what is none is told so
            return next(self._each([images], policy or self.policy))
        return list(self._each(each_image(images), policy or self.policy))

    def predict_batch(
        self, images: Iterable[OneImage] | str | Path, policy: Policy | None = None
    ) -> Iterator[Prediction]:
        """Each image's prediction, in order; lazily, a bounded number at a time.

        `images` are a list, an iterator, a folder (every image file below it, sorted), or pixels
        (N, H, W, 3); each image as for `predict`.

        Raises UsageError for the first that is no usable image; `predict_files` goes on.
        """
        return self._each(each_image(images), policy or self.policy)

    async def predict_async(self, image: OneImage, policy: Policy | None = None) -> Prediction:
        """`predict` of one image in another thread: an event loop goes on meanwhile."""
        return await asyncio.to_thread(self.predict, image, policy)

    def predict_files(
        self, files: Iterable[str | Path], policy: Policy | None = None
    ) -> Iterator[FileResult]:
        """Each file's prediction or problem, in order; lazily, a bounded number at a time."""
        policy = policy or self.policy
        for item, probabilities in self.encoded_files(Path(file) for file in files):
            path = str(item.loaded.file)
            if probabilities is None:
                yield FileResult(path, None, str(item.loaded.problem))
            else:
                found = self._prediction(path, item.values[0], probabilities, policy)
                yield FileResult(path, found)

    def encoded_files(self, files: Iterable[Path]) -> Iterator[tuple[Encoded, Floats | None]]:
        """Each file's digest and features with its (K,) probabilities, in order; None for an
        unusable file. Holds a bounded number of images in memory, however many there are.
        """
        rest = iter(files)
        first = list(itertools.islice(rest, FEW + 1))
        backend = self.single if len(first) <= FEW else self.backend
        encoded = encode(
            itertools.chain(first, rest), self.backbone.preprocess, backend, batch=backend.batch
        )
        for chunk in in_blocks(encoded, BATCH):
            usable = [item for item in chunk if item.loaded.problem is None]
            rows = iter(self._of_files(usable) if usable else ())
            for item in chunk:
                yield item, next(rows) if item.loaded.problem is None else None

    def predict_proba(self, images: Iterable[OneImage] | str | Path) -> Floats:
        """Calibrated probabilities (N, K) of N images, given as for `predict_batch`."""
        found = [row for _, _, row in self._answers(each_image(images))]
        return np.stack(found) if found else np.empty((0, len(self.classes)))

    def transform(self, images: Iterable[OneImage] | str | Path) -> NDArray[np.float32]:
        """Features (N, D) of N images, given as for `predict_batch`."""
        found = [row for _, row, _ in self._answers(each_image(images), settle=False)]
        features = int(self.head.shape["features"])
        return np.array(found, np.float32).reshape(len(found), features)

    @property
    def classes_(self) -> NDArray[np.str_]:
        """The classes (K,)."""
        return np.array(self.classes)

    def probabilities(self, features: Features) -> Floats:
        """(N, D) features to (N, K) calibrated probabilities, each row summing to 1."""
        logits = torch.from_numpy(self.logits(features))
        return torch.softmax(logits / self.temperature, dim=1).numpy()

    def logits(self, features: Features) -> Floats:
        """(N, D) features to (N, K) logits, in float32 on the CPU whatever the machine."""
        with torch.inference_mode():
            logits: Floats = self.head(torch.from_numpy(features)).double().numpy()
        if not np.isfinite(logits).all():
            raise ModelError(
                f"{self.run or self.backbone.name}: the network gives NaN or infinity, its weights "
                "are damaged; copy the run again, or train it again"
            )
        return logits

    def close_calls(self, probabilities: Floats) -> list[int]:
        """The rows of (N, K) to compute again, exactly."""
        best = np.sort(probabilities, axis=1)
        margin: Floats = best[:, -1] - best[:, -2]
        return [int(row) for row in np.flatnonzero(margin < CLOSE_CALL)]

    def _each(self, images: Iterable[OneImage], policy: Policy) -> Iterator[Prediction]:
        for image, features, probabilities in self._answers(images):
            yield self._prediction(image, features, probabilities, policy)

    def _answers(
        self, images: Iterable[OneImage], settle: bool = True
    ) -> Iterator[tuple[OneImage, Features, Floats]]:
        """Each image with features (D,) and probabilities (K,); `settle`: exact in close calls."""
        rest = iter(images)
        first = list(itertools.islice(rest, FEW + 1))
        backend, preprocess = (
            self.single if len(first) <= FEW else self.backend,
            self.backbone.preprocess,
        )
        waiting: deque[tuple[OneImage, Pixels]] = deque()

        def pixels() -> Iterator[Pixels]:
            for item in each_network_pixels(itertools.chain(first, rest), preprocess, len(first)):
                waiting.append(item)
                yield item[1]

        encoded = encode_pixels(pixels(), backend, backend.batch)
        for chunk in in_blocks(encoded, backend.batch):
            given = [waiting.popleft() for _ in chunk]
            features = np.stack(chunk)

            exact = partial(self._of_whole, given)
            answers = self._settled(features, exact) if settle else self.probabilities(features)
            for (image, _), own, probabilities in zip(given, features, answers, strict=True):
                yield image, own, probabilities

    def _of_whole(self, given: list[tuple[Any, Pixels]], rows: list[int]) -> Iterator[Features]:
        fed = self.backbone.preprocess
        return encode_pixels((whole_pixels(*given[row], fed) for row in rows), self.exact, 1)

    def _of_files(self, items: Sequence[Encoded]) -> Floats:
        def exact(rows: list[int]) -> Iterator[Features]:
            files = [items[row].loaded.file for row in rows]
            for again in encode(files, self.backbone.preprocess, self.exact, batch=1, whole=True):
                if again.loaded.problem is not None:
                    raise DataError(f"{again.loaded.file}: changed while it was read")
                yield again.values[0]

        return self._settled(np.stack([item.values[0] for item in items]), exact)

    def _settled(
        self, features: Features, exact: Callable[[list[int]], Iterable[Features]]
    ) -> Floats:
        """Probabilities (N, K) of features (N, D); those of close calls by `exact` features."""
        answers = self.probabilities(features)
        if close := self.close_calls(answers):
            for row, again in zip(close, exact(close), strict=True):
                answers[row] = self.probabilities(again[np.newaxis])[0]
        return answers

    def _prediction(
        self, image: object, features: Features, probabilities: Floats, policy: Policy
    ) -> Prediction:
        row = features[np.newaxis]
        ood_score = float(self.ood_detector.score(row)[0]) if self.ood_detector else None
        best = int(probabilities.argmax())
        guess, probability = self.classes[best], float(probabilities[best])
        reason = abstention(policy, guess, probability, ood_score)
        return Prediction(
            path=path_of(image),
            label=None if reason else guess,
            best_guess=guess,
            probability=probability,
            probabilities=dict(zip(self.classes, probabilities.tolist(), strict=True)),
            reason=reason,
            prediction_set=prediction_set(policy, self.classes, probabilities),
            ood_score=ood_score,
            nearest=tuple(self.neighbors.nearest(row, policy.nearest)[0])
            if policy.nearest
            else None,
            picture=Picture(image),
        )
