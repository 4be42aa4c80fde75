"""Classifier: softmax(head(encoder(image)) / temperature), and how it lies on disk."""

import io
import json
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file

from graft.data.reader import Loaded
from graft.errors import DataError, ModelError, UsageError
from graft.features.backends import BATCH, LazyBackend
from graft.features.extraction import Encoded, encode
from graft.inference.neighbors import Neighbor, Neighbors
from graft.models.backbone import Backbone
from graft.models.head import Head
from graft.models.ood import OODDetector
from graft.runs.run import Run

FORMAT = 1
# An image whose two best answers are closer than this is computed again in float32: half
# precision moves probabilities by less, so the answer is float32's (docs/recipes.md).
CLOSE_CALL = 0.15
# The answer for an image that the policy refuse.
NONE = "none of these"


@dataclass
class Classifier:
    """A trained model, ready to say what an image shows.

    `classes` are in the order of the logits; `temperature` > 0 divides them. `backend` runs the
    encoder.
    """

    backbone: Backbone
    head: Head
    classes: tuple[str, ...]
    backend: LazyBackend = field(repr=False)
    temperature: float = 1.0
    frozen: bool = True
    ood_detector: OODDetector | None = None
    run: Path | None = None

    def __post_init__(self) -> None:
        # In float32, one image at a time: they are few.
        self.exact = LazyBackend(self.backbone.build, "float32", batch=1)

    @cached_property
    def neighbors(self) -> Neighbors:
        """The training images, to find the nearest among; ModelError for a run without them."""
        if self.run is None or self.ood_detector is None:
            raise ModelError("this classifier has no run folder that knows its training images")
        return Neighbors.read(Run(self.run), self.ood_detector)

    def close_calls(self, probabilities: NDArray[np.float64]) -> list[int]:
        """The rows of (N, K) to compute again in float32; none if the backend is exact itself."""
        if self.backend.exact:
            return []
        best = np.sort(probabilities, axis=1)
        margin: NDArray[np.float64] = best[:, -1] - best[:, -2]
        return [int(row) for row in np.flatnonzero(margin < CLOSE_CALL)]

    def logits(self, features: NDArray[np.float16]) -> NDArray[np.float64]:
        """(N, D) features to (N, K) logits, in float32 on the CPU whatever the machine."""
        with torch.inference_mode():
            logits: NDArray[np.float64] = self.head(torch.from_numpy(features)).double().numpy()
        return logits

    def probabilities(self, features: NDArray[np.float16]) -> NDArray[np.float64]:
        """(N, D) features to (N, K) calibrated probabilities, each row summing to 1."""
        logits = torch.from_numpy(self.logits(features))
        return torch.softmax(logits / self.temperature, dim=1).numpy()

    def predict_files(
        self, files: Iterable[Path]
    ) -> Iterator[tuple[Encoded, NDArray[np.float64] | None]]:
        """Each file's outcome with its (K,) probabilities, in order; None for an unusable file.

        Holds a bounded number of images in memory, however many there are.
        """
        encoded = encode(files, self.backbone.preprocess, self.backend)
        while chunk := list(islice(encoded, BATCH)):
            usable = [item for item in chunk if item.loaded.problem is None]
            answers = self._settled(usable) if usable else np.empty((0, len(self.classes)))
            rows = iter(answers)
            for item in chunk:
                yield item, next(rows) if item.loaded.problem is None else None

    def _settled(self, items: list[Encoded]) -> NDArray[np.float64]:
        answers = self.probabilities(np.stack([item.values[0] for item in items]))
        close = self.close_calls(answers)
        files = [items[row].loaded.file for row in close]
        if files:
            encoded = encode(files, self.backbone.preprocess, self.exact, batch=1)
            for row, again in zip(close, encoded, strict=True):
                if again.loaded.problem is not None:
                    raise DataError(f"{again.loaded.file}: changed while it was read")
                answers[row] = self.probabilities(again.values[0][np.newaxis])[0]
        return answers

    def predict(
        self, image: "str | Path | Image.Image | NDArray[np.uint8]", policy: "Policy | None" = None
    ) -> "Prediction":
        """What one image shows: a file, a Pillow image, or (H, W, 3) uint8 RGB pixels.

        Raises UsageError for what is not an image, with the reason.
        """
        policy = policy or Policy()
        if isinstance(image, str | Path):
            file = Path(image)
            item, probabilities = next(self.predict_files([file]))
            if probabilities is None:
                raise UsageError(f"{file} {item.loaded.problem}")
            return self._prediction(item, probabilities, policy)
        if isinstance(image, np.ndarray):
            if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
                raise UsageError(
                    f"expected (H, W, 3) uint8 pixels, got {image.shape} {image.dtype}"
                )
            image = Image.fromarray(image)
        # By way of an encoded file, so that there is one path from image to pixels.
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "image.png")
            file.write_bytes(buffer.getvalue())
            return self.predict(file, policy)

    def _prediction(
        self, item: Encoded, probabilities: NDArray[np.float64], policy: "Policy"
    ) -> "Prediction":
        path, ood_score = str(item.loaded.file), 0.0
        if self.ood_detector:
            ood_score = float(self.ood_detector.score(item.values[0][np.newaxis])[0])
        best = int(probabilities.argmax())
        named = {name: float(p) for name, p in zip(self.classes, probabilities, strict=True)}
        label, probability = self.classes[best], float(probabilities[best])
        answer, reason = label, ""
        if policy.reject_ood and ood_score > 1:
            answer, reason = NONE, f"unlike the training images: {ood_score:.2f} times the limit"
        elif probability < policy.least:
            answer = NONE
            reason = f"{label} at {probability:.1%}, below the {policy.least:.1%} asked"
        labels = None
        if policy.set_least is not None:
            ranked = np.argsort(-probabilities, kind="stable").tolist()
            labels = tuple(
                self.classes[i]
                for place, i in enumerate(ranked)
                if place == 0 or probabilities[i] >= policy.set_least
            )
        nearest = None
        if policy.nearest:
            features = item.values[0][np.newaxis]
            nearest = tuple(self.neighbors.nearest(features, policy.nearest)[0])
        return Prediction(
            path, label, probability, named, answer, reason, labels, ood_score, nearest
        )

    def predictions(
        self, files: Iterable[Path], policy: "Policy | None" = None
    ) -> "Iterator[Prediction | Loaded]":
        """A Prediction for each file, in order; a Loaded with its problem where there is none."""
        policy = policy or Policy()
        for item, probabilities in self.predict_files(files):
            if probabilities is None:
                yield item.loaded
            else:
                yield self._prediction(item, probabilities, policy)

    def save(self, run: Run, trained: int) -> None:
        """Write the model's files.

        `trained` is the number of parameters that were trained.
        """
        state = {f"encoder.{key}": value for key, value in self.backbone.state().items()}
        state |= {f"head.{key}": value for key, value in self.head.state_dict().items()}
        if self.ood_detector:
            state |= {f"ood.{key}": value for key, value in self.ood_detector.tensors().items()}
        total = self.backbone.parameters + sum(p.numel() for p in self.head.parameters())
        run.write_model(
            state,
            {
                "format": FORMAT,
                "backbone": self.backbone.to_json(),
                "head": self.head.shape,
                "classes": list(self.classes),
                "preprocess": self.backbone.preprocess.to_json(),
                "temperature": self.temperature,
                "ood_limit": self.ood_detector.limit if self.ood_detector else None,
                "frozen": self.frozen,
                "parameters": {"total": total, "trained": trained},
            },
        )


@dataclass(frozen=True, slots=True)
class Policy:
    """When to answer, and how: `reject_ood`, not for an image unlike the training images;
    `least`, not below this probability; `set_least`, with every label from this probability on;
    `nearest`, with this many training images most like it.
    See graft.evaluation.selective for how the two are chosen.
    """

    reject_ood: bool = True
    least: float = 0.0
    set_least: float | None = None
    nearest: int = 0


@dataclass(frozen=True, slots=True)
class Prediction:
    """What an image shows, and how sure the classifier is: probabilities in 0..1, sum 1.

    `label` is the most probable class; `answer` is it, or NONE with the `reason`. `labels` is the
    prediction set, where one was asked for. `ood_score`: above 1 for an image unlike those of
    training; 0 if the run cannot tell. `nearest`: the training images most like it, where asked
    for.
    """

    path: str
    label: str
    probability: float
    probabilities: dict[str, float]
    answer: str
    reason: str
    labels: tuple[str, ...] | None
    ood_score: float
    nearest: tuple[Neighbor, ...] | None = None


def load(run: str | Path, backend: str = "auto") -> Classifier:
    """Read the classifier of a run folder.

    Raises ModelError when the folder holds no model, or one that this graft cannot read.
    """
    folder = Path(run)
    try:
        stored: dict[str, Any] = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        if stored["format"] > FORMAT:
            raise ModelError(
                f"{run}: made by a newer graft (model format {stored['format']}, this one reads "
                f"up to {FORMAT}); upgrade graft"
            )
        weights = folder / "model.safetensors"
        head = Head(**stored["head"])
        state = load_file(weights)
        prefix = "head."
        head.load_state_dict(
            {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        )
        backbone = Backbone.from_json(stored["backbone"], weights)
        ood_score = None
        if stored.get("ood_limit") is not None:
            mean, std, known = (
                state[f"ood.{name}"].float() for name in ("mean", "std", "directions")
            )
            ood_score = OODDetector(mean, std, known, float(stored["ood_limit"]))
        return Classifier(
            backbone,
            head.eval(),
            tuple(stored["classes"]),
            LazyBackend(backbone.build, backend),
            float(stored["temperature"]),
            bool(stored["frozen"]),
            ood_score,
            folder,
        )
    except FileNotFoundError as error:
        raise ModelError(
            f"{run}: expected a run folder with model.json and model.safetensors (made by graft "
            f"train), {Path(error.filename).name} is not there"
        ) from error
    except (KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"{run}: the model files are damaged: {error}") from error
