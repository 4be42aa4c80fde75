"""Prediction: what a classifier says of one image, for people, programs and notebooks."""

import os
import weakref
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from graft.inference.neighbors import Neighbor


class Picture:
    """The image that a prediction is of, to be shown: a path, or what is in memory as long as
    somebody else keeps it. It does not go along where a prediction is sent.
    """

    __slots__ = ("_get",)

    def __init__(self, image: Any = None):
        if isinstance(image, str | os.PathLike):
            self._get: Callable[[], Any] = lambda: image
            return
        try:
            self._get = weakref.ref(image)
        except TypeError:  # bytes, and lists
            self._get = _nothing

    def __call__(self) -> Any:
        """The image, or None where it is gone."""
        return self._get()

    def __reduce__(self) -> tuple[type["Picture"], tuple[()]]:
        return Picture, ()


def _nothing() -> None:
    return None


@dataclass(frozen=True, slots=True, repr=False)
class Prediction:
    """What an image shows, and how sure the classifier is: probabilities in 0..1, sum 1.

    `label` is the class, or None where the policy abstains, with the `reason`; `best_guess` is the
    most probable class in either case, and `probability` its probability. `prediction_set` is None
    unless asked for. `ood_score` is above 1 for an image unlike the training images, None if the
    run cannot tell. `nearest`: the training images most like it, if asked for. `path` is empty for
    an image that came from memory. `picture` finds the image again for a notebook to show.
    """

    path: str
    label: str | None
    best_guess: str
    probability: float
    probabilities: dict[str, float]
    reason: str
    prediction_set: tuple[str, ...] | None
    ood_score: float | None
    nearest: tuple[Neighbor, ...] | None = None
    picture: Picture = field(default_factory=Picture, compare=False)

    @property
    def abstained(self) -> bool:
        """Whether the policy gives no label; so a class of any name can be told from a refusal."""
        return self.label is None

    @property
    def ranked(self) -> list[tuple[str, float]]:
        """The classes with their probabilities, the most probable first."""
        return sorted(self.probabilities.items(), key=lambda named: -named[1])

    @property
    def refusal(self) -> str:
        """What is said in place of a label where the policy abstains: the name of no class."""
        said, names = "none of these", {name.casefold() for name in self.probabilities}
        while said in names:
            said = f"no label, not even {said!r}"
        return said

    def __repr__(self) -> str:
        said = [f"label={self.label!r}"]
        if self.abstained:
            said += [f"reason={self.reason!r}", f"best_guess={self.best_guess!r}"]
        said.append(f"probability={self.probability:.4f}")
        if self.prediction_set is not None:
            said.append(f"prediction_set={self.prediction_set!r}")
        if self.path:
            said.append(f"path={self.path!r}")
        return f"Prediction({', '.join(said)})"

    def _repr_html_(self) -> str:
        """The image, if it is still there, the answer, and bars of the likeliest classes."""
        from graft.inference.prediction_html import bars, block, image_of

        return block(*self.headline, [image_of(self.picture())], bars(self.ranked))

    @property
    def headline(self) -> tuple[str, str]:
        """The answer, and what is to be said of it: why there is no label, the prediction set."""
        notes = [self.reason] if self.reason else []
        if self.prediction_set is not None:
            notes.append("prediction set: " + ", ".join(self.prediction_set))
        return self.refusal if self.label is None else self.label, "; ".join(notes)

    def to_json(self) -> dict[str, Any]:
        """As `graft predict --json` prints it, ready for `json.dumps`."""
        return {
            "path": self.path,
            "label": self.label,
            "best_guess": self.best_guess,
            "probability": self.probability,
            "probabilities": dict(self.probabilities),
            "reason": self.reason,
            "prediction_set": None if self.prediction_set is None else list(self.prediction_set),
            "ood_score": self.ood_score,
            "nearest": None if self.nearest is None else [asdict(near) for near in self.nearest],
        }


@dataclass(frozen=True, slots=True)
class FileResult:
    """A file's prediction, or the problem why there is none."""

    path: str
    prediction: Prediction | None
    problem: str = ""
