"""Everything that graft can say of an image's prediction: what `graft explain --html` shows."""

from dataclasses import dataclass

from graft.errors import ModelError
from graft.explanation.attention_maps import Attention, attention_maps
from graft.explanation.heat_map import Explanation, explain
from graft.explanation.stage_maps import Excitement, Stage, stage_maps
from graft.explanation.what_if import Changed, what_if
from graft.inference.neighbors import Neighbor
from graft.inference.policy import Policy
from graft.inference.predictor import Predictor

NEAREST, CHANNELS = 6, 4


@dataclass(frozen=True)
class CloserLook:
    """An explanation with what stands beside it.

    `other` holds the explained class against the most probable other one, or where the
    explanation does that already, is about the class alone. `stages` is empty for a network whose
    stages are not known, `attention` None for one that is no plain vision transformer, `nearest`
    empty for a run without its training images' features.
    """

    explanation: Explanation
    other: Explanation
    changes: list[Changed]
    stages: list[Stage]
    attention: Attention | None
    nearest: tuple[Neighbor, ...]


def look_closer(
    predictor: Predictor, explanation: Explanation, excitement: Excitement | None = None
) -> CloserLook:
    """Look closer at an image that was explained from a file."""
    path, label = explanation.prediction.path, explanation.label
    against = None
    if explanation.against is None:
        against = next(name for name, _ in explanation.prediction.ranked if name != label)
    other = explain(predictor, path, label=label, against=against, method=explanation.method)
    try:
        stages = stage_maps(predictor, path, CHANNELS, excitement)
    except ModelError:
        stages = []  # DenseNet's like are explained all the same
    nearest: tuple[Neighbor, ...] = ()
    if predictor.ood_detector:
        nearest = predictor.predict(path, Policy(nearest=NEAREST)).nearest or ()
    changes = what_if(predictor, path)
    return CloserLook(explanation, other, changes, stages, attention_maps(predictor, path), nearest)
