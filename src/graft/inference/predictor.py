"""Predictor: what an image shows, from a file, a Pillow image or pixels."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import overload

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from graft.data.decode import Pixels, UnusableImageError
from graft.errors import DataError, ModelError, UsageError
from graft.features.backends import BATCH, LazyBackend
from graft.features.extraction import Encoded, encode, encode_images, infer_float16
from graft.inference.neighbors import Neighbors
from graft.inference.policy import Policy, abstention, prediction_set
from graft.inference.prediction import FileResult, Prediction
from graft.models.backbone import Backbone
from graft.models.classifier import Classifier
from graft.models.head import Head
from graft.models.ood import OODDetector
from graft.runs.run import Run

# An image whose two best classes are closer than this is computed again in float32: half
# precision moves probabilities by less, so the answer is float32's (docs/recipes.md).
CLOSE_CALL = 0.15
# So few images go through one at a time: a batch is padded to its full size, which costs more.
FEW = 4

Floats = NDArray[np.float64]
Features = NDArray[np.float16]
OneImage = str | Path | Image.Image | NDArray[np.uint8] | Tensor


@dataclass
class Predictor:
    """A trained classifier with its backend, its batches and its policy. Any thread may use it.

    `classes` are in the order of the logits; `temperature` > 0 divides them. `backend` runs the
    encoder of `backbone`. `frozen` says that the backbone was not trained. `policy` holds where
    `predict` is given none. `run` is the folder it was read from.
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
        build = self.backbone.build
        self.single = LazyBackend(build, self.backend.wanted, batch=1)
        # In float32, one image at a time: they are few.
        self.exact = LazyBackend(build, "float32", batch=1)

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

        An image is a path, a Pillow image (turned upright by its EXIF tag, as a file is), or
        (H, W, 3) uint8 RGB pixels of any size as a NumPy array or a tensor; (N, H, W, 3) are N
        images.

        Raises UsageError for the first that is no usable image, with the reason.
        """
        policy = policy or self.policy
        if isinstance(images, str | Path | Image.Image) or getattr(images, "ndim", 0) == 3:
            return self._predict_all([images], policy)[0]  # type: ignore[list-item]
        if isinstance(images, np.ndarray | Tensor) and images.ndim != 4:
            raise UsageError(_expected(images))
        if not isinstance(images, Iterable):
            raise UsageError(_expected(images))
        return self._predict_all(list(images), policy)

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

    def predict_views(
        self, views: Pixels, policy: Policy | None = None, names: Sequence[str] = ()
    ) -> list[Prediction]:
        """The predictions of (N, height, width, 3) uint8 pixels that `center_view` made of images,
        for who decodes elsewhere; `names` become their paths.
        """

        def encoded(rows: Sequence[int], backend: LazyBackend) -> Iterator[Features]:
            pixels = [
                views[list(rows[i : i + backend.batch])] for i in range(0, len(rows), backend.batch)
            ]
            for _, values in infer_float16(backend, ((None, some) for some in pixels)):
                yield from values

        everything = range(len(views))
        features = np.stack(list(encoded(everything, self._backend_for(len(views)))))
        answers = self._settled(features, lambda rows: encoded(rows, self.exact))
        return [
            self._prediction(name, own, probabilities, policy or self.policy)
            for name, own, probabilities in zip(
                names or [""] * len(views), features, answers, strict=True
            )
        ]

    def encoded_files(self, files: Iterable[Path]) -> Iterator[tuple[Encoded, Floats | None]]:
        """Each file's digest and features with its (K,) probabilities, in order; None for an
        unusable file. Holds a bounded number of images in memory, however many there are.
        """
        rest = iter(files)
        first = list(itertools.islice(rest, FEW + 1))
        backend = self._backend_for(len(first))
        encoded = encode(
            itertools.chain(first, rest), self.backbone.preprocess, backend, batch=backend.batch
        )
        while chunk := list(itertools.islice(encoded, BATCH)):
            usable = [item for item in chunk if item.loaded.problem is None]
            rows = iter(self._of_files(usable) if usable else ())
            for item in chunk:
                yield item, next(rows) if item.loaded.problem is None else None

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
        """The rows of (N, K) to compute again in float32; none if the backend is exact itself."""
        if self.backend.exact:
            return []
        best = np.sort(probabilities, axis=1)
        margin: Floats = best[:, -1] - best[:, -2]
        return [int(row) for row in np.flatnonzero(margin < CLOSE_CALL)]

    def _backend_for(self, count: int) -> LazyBackend:
        return self.single if count <= FEW else self.backend

    def _predict_all(self, images: Sequence[OneImage], policy: Policy) -> list[Prediction]:
        found: dict[int, Prediction] = {}
        files = {i: Path(x) for i, x in enumerate(images) if isinstance(x, str | Path)}
        for i, result in zip(files, self.predict_files(files.values(), policy), strict=True):
            if result.prediction is None:
                raise UsageError(f"{result.path} {result.problem}")
            found[i] = result.prediction
        others = {i: _pillow(x) for i, x in enumerate(images) if not isinstance(x, str | Path)}
        if others:
            features, answers = self._of_images(list(others.values()))
            for i, own, probabilities in zip(others, features, answers, strict=True):
                found[i] = self._prediction("", own, probabilities, policy)
        return [found[i] for i in range(len(images))]

    def _of_files(self, items: Sequence[Encoded]) -> Floats:
        def exact(rows: list[int]) -> Iterator[Features]:
            files = [items[row].loaded.file for row in rows]
            for again in encode(files, self.backbone.preprocess, self.exact, batch=1):
                if again.loaded.problem is not None:
                    raise DataError(f"{again.loaded.file}: changed while it was read")
                yield again.values[0]

        return self._settled(np.stack([item.values[0] for item in items]), exact)

    def _of_images(self, images: Sequence[Image.Image]) -> tuple[Features, Floats]:
        def encoded(some: Sequence[Image.Image], backend: LazyBackend) -> Iterator[Features]:
            return encode_images(some, self.backbone.preprocess, backend, backend.batch)

        try:
            features = np.stack(list(encoded(images, self._backend_for(len(images)))))
        except UnusableImageError as problem:
            raise UsageError(f"an image in memory {problem}") from problem
        return features, self._settled(
            features, lambda rows: encoded([images[row] for row in rows], self.exact)
        )

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
        self, path: str, features: Features, probabilities: Floats, policy: Policy
    ) -> Prediction:
        row = features[np.newaxis]
        ood_score = float(self.ood_detector.score(row)[0]) if self.ood_detector else None
        best = int(probabilities.argmax())
        guess, probability = self.classes[best], float(probabilities[best])
        reason = abstention(policy, guess, probability, ood_score)
        return Prediction(
            path=path,
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
        )


def _pillow(image: object) -> Image.Image:
    if isinstance(image, Image.Image):
        return image
    if isinstance(image, Tensor):
        image = image.numpy(force=True)
    if not (isinstance(image, np.ndarray) and image.ndim == 3 and image.shape[2] == 3):
        raise UsageError(_expected(image))
    if image.dtype != np.uint8 or not image.size:
        raise UsageError(_expected(image))
    return Image.fromarray(np.ascontiguousarray(image))


def _expected(came: object) -> str:
    what = type(came).__name__
    if isinstance(came, np.ndarray | Tensor):
        what = f"{tuple(came.shape)} {came.dtype}"
    return (
        f"expected a path, a Pillow image or (H, W, 3) uint8 pixels, got {what}; "
        "Image.open(FILE) reads an image"
    )
