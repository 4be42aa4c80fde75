"""Prediction: what a classifier says of one image, for people, programs and notebooks."""

from dataclasses import asdict, dataclass
from typing import Any

from graft.inference.neighbors import Neighbor


@dataclass(frozen=True, slots=True)
class Prediction:
    """What an image shows, and how sure the classifier is: probabilities in 0..1, sum 1.

    `label` is the class, or None where the policy abstains, with the `reason`; `best_guess` is the
    most probable class in either case, and `probability` its probability. `prediction_set` is None
    unless asked for. `ood_score` is above 1 for an image unlike the training images, None if the
    run cannot tell. `nearest`: the training images most like it, if asked for. `path` is empty for
    an image that came from memory.
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

    @property
    def abstained(self) -> bool:
        """Whether the policy gives no label; so a class of any name can be told from a refusal."""
        return self.label is None

    @property
    def ranked(self) -> list[tuple[str, float]]:
        """The classes with their probabilities, the most probable first."""
        return sorted(self.probabilities.items(), key=lambda named: -named[1])

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
