"""Policy: when to abstain, and what to say besides."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from graft.data.groups import groups_that_count
from graft.errors import ModelError, UsageError
from graft.evaluation.selective import (
    fewest_images,
    fraction_of,
    probability_for_coverage,
    probability_for_error_budget,
)
from graft.models.ood import expected_refusals
from graft.runs.folder import has_predictions
from graft.runs.run import Run
from graft.runs.top_probabilities import Probabilities


@dataclass(frozen=True, slots=True)
class Policy:
    """When a predictor abstains, and what it says besides.

    It abstains from an image unlike the training images if `abstain_ood`, and from one whose best
    guess has less than `min_probability`. A prediction set holds every class of at least
    `set_probability` (None: no set). `nearest` is the number of the nearest training images to
    name. See graft.evaluation.selective for how the probabilities are chosen.
    """

    abstain_ood: bool = True
    min_probability: float = 0.0
    set_probability: float | None = None
    nearest: int = 0


def abstention(policy: Policy, guess: str, probability: float, ood_score: float | None) -> str:
    """Why the policy abstains; empty where it does not."""
    if policy.abstain_ood and ood_score is not None and ood_score > 1:
        return f"unlike the training images: {ood_score:.2f} times the limit"
    if probability < policy.min_probability:
        return f"{guess} at {probability:.1%}, below the {policy.min_probability:.1%} asked for"
    return ""


def prediction_set(
    policy: Policy, classes: Sequence[str], probabilities: NDArray[np.float64]
) -> tuple[str, ...] | None:
    """The classes of at least the policy's `set_probability`, the best guess always among them and
    first; None if it asks for no set.
    """
    if policy.set_probability is None:
        return None
    ranked = np.argsort(-probabilities, kind="stable").tolist()
    return tuple(
        classes[i]
        for place, i in enumerate(ranked)
        if place == 0 or probabilities[i] >= policy.set_probability
    )


def policy_for(
    run: str | Path,
    max_error: str | float | None = None,
    coverage: str | float | None = None,
    abstain_ood: bool = True,
    nearest: int = 0,
) -> tuple[Policy, str]:
    """The policy that keeps an error budget or a coverage, from the run's validation images, and
    what it guarantees in words.

    Raises UsageError for a fraction outside 0..1, or a budget that cannot be kept, with the
    reason; ModelError for a run without validation predictions.
    """
    if max_error is None and coverage is None:
        return Policy(abstain_ood, nearest=nearest), ""
    labels, probabilities, groups = _validation(Run(run))
    said, least, set_least = [], 0.0, None
    if max_error is not None:
        budget = fraction_of(max_error, "--max-error")
        least = _within_budget(probabilities, labels, groups, budget, max_error)
        fraction = float((probabilities.max(1) >= least).mean())
        said.append(
            f"it predicts only where it is at least {least:.1%} sure, as on {fraction:.0%} of the "
            f"validation images; at most {budget:.1%} of these predictions are wrong (with 95 % "
            "confidence)"
        )
    if coverage is not None:
        asked = fraction_of(coverage, "--coverage")
        set_least = probability_for_coverage(probabilities, labels, asked, groups)
        said.append(
            f"prediction sets hold every label of at least {set_least:.1%}; they contain the true "
            f"one for at least {asked:.0%} of images like these"
        )
    if abstain_ood and Run(run).model.get("ood_limit") is not None:
        said.append(
            f"it also abstains on about {expected_refusals(len(labels)):.1%} of images like these, "
            "as unlike the training images; the guarantee counts them with the others"
        )
    return Policy(abstain_ood, least, set_least, nearest), "; ".join(said)


def _within_budget(
    probabilities: Probabilities,
    labels: NDArray[np.int64],
    groups: list[str] | None,
    budget: float,
    asked: str | float,
) -> float:
    found = probability_for_error_budget(probabilities, labels, budget, groups=groups)
    if found is None:
        of = f" (groups, which count as wholes: {len(set(groups)):,})" if groups else ""
        raise UsageError(
            f"--max-error {asked} cannot be kept: no threshold shows it on "
            f"{len(labels):,} validation images{of} (without a mistake at least "
            f"{fewest_images(budget):,} are needed); allow more, or add images"
        )
    return found


def _validation(
    run: Run,
) -> tuple[NDArray[np.int64], Probabilities, list[str] | None]:
    """Labels (N,), probabilities (N, K) and groups (N,), if they count, of a run's validation
    images.
    """
    if not has_predictions(run.path):
        raise ModelError(f"{run.path}: predictions.csv is missing; train the run again")
    paths, labels, probabilities = run.predictions("val")
    return labels, probabilities, groups_that_count(run.group_ids(paths))
