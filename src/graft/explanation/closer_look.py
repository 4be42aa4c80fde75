"""Everything that graft can say of an image's prediction: what `graft explain --html` shows."""

from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from graft.errors import ModelError
from graft.explanation.attention_maps import Attention, attention_maps
from graft.explanation.gradient_maps import stage_evidence
from graft.explanation.heat_map import Explanation, explain
from graft.explanation.overlay import Maps
from graft.explanation.stage_maps import Excitement, Stage, stage_maps
from graft.explanation.what_if import Changed, what_if
from graft.inference.neighbors import Neighbor
from graft.inference.policy import Policy
from graft.inference.predictor import Predictor

NEAREST, CHANNELS = 6, 3


@dataclass(frozen=True)
class CloserLook:
    """An explanation with what stands beside it.

    `other` holds the explained class against the most probable other one, or where the
    explanation does that already, is about the class alone. `stages` is empty for a network whose
    stages are not known, and so is `evidence`, a map (h, w) ≥ 0 for each stage, by gradients at the
    stage's own resolution. `attention` None for one that is no plain vision transformer, `nearest`
    empty for a run without its training images' features.
    """

    explanation: Explanation
    other: Explanation
    changes: list[Changed]
    stages: list[Stage]
    evidence: list[Maps]
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
    stages: list[Stage] = []
    evidence: list[Maps] = []
    with suppress(ModelError):  # whose stages are not known is explained all the same
        stages = stage_maps(predictor, path, CHANNELS, excitement)
        evidence = _evidence(predictor, explanation)
    nearest: tuple[Neighbor, ...] = ()
    if predictor.ood_detector:
        nearest = predictor.predict(path, Policy(nearest=NEAREST)).nearest or ()
    changes = what_if(predictor, path)
    attention = attention_maps(predictor, path)
    return CloserLook(explanation, other, changes, stages, evidence, attention, nearest)


def _evidence(predictor: Predictor, explanation: Explanation) -> list[Maps]:
    of, against = predictor.classes.index(explanation.label), None
    if explanation.against is not None:
        against = predictor.classes.index(explanation.against)
    found = stage_evidence(predictor.classifier, explanation.pixels, of, against)
    return [np.maximum(each, 0) for each in found]
