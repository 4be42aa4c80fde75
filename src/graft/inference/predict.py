"""Labels for images, wherever they are."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from graft.data.groups import groups_that_count
from graft.data.sources import find_images
from graft.errors import ModelError, UsageError
from graft.evaluation.selective import (
    fewest_images,
    fraction_of,
    probability_for_coverage,
    probability_for_error_budget,
)
from graft.inference.predictor import Policy, Prediction, load
from graft.models.ood import expected_refusals
from graft.runs.run import Run


@dataclass(frozen=True, slots=True)
class PathResult:
    """A file's prediction, or the problem that there is none."""

    path: str
    prediction: Prediction | None
    problem: str = ""


def predict_paths(
    run: str | Path,
    paths: Sequence[str | Path],
    backend: str = "auto",
    policy: Policy | None = None,
) -> Iterator[PathResult]:
    """Predict files and, in folders, every image file below; lazily, in order.

    Raises UsageError for a path that does not exist, ModelError for a run without model.
    """
    for path in paths:
        if not Path(path).exists():
            raise UsageError(f"{path}: no such file or folder")
    classifier = load(run, backend)
    files = (file for path in paths for file in find_images(Path(path)))
    for answer in classifier.predictions(files, policy):
        if isinstance(answer, Prediction):
            yield PathResult(answer.path, answer)
        else:
            yield PathResult(str(answer.file), None, str(answer.problem))


def training_files(run: str | Path) -> dict[str, Path]:
    """Where the images of a run's source are, by their names in dataset.csv; nothing if the
    source has gone.
    """
    return Run(run).files


def policy_for(
    run: str | Path,
    max_error: str | float | None = None,
    coverage: str | float | None = None,
    reject_ood: bool = True,
    nearest: int = 0,
) -> tuple[Policy, str]:
    """The policy that keep an error budget or a coverage, from the run's validation images, and
    what they promise in words.

    Raises UsageError for a share that is none, or a budget that cannot be kept, with the reason;
    ModelError for a run without validation predictions.
    """
    if max_error is None and coverage is None:
        return Policy(reject_ood, nearest=nearest), ""
    stored = Run(run)
    if not (stored.path / "predictions.csv").is_file():
        raise ModelError(f"{run}: predictions.csv is missing; train the run again")
    paths, labels, probabilities = stored.predictions("val")
    groups = groups_that_count(stored.group_ids(paths))
    of = f" (groups, which count as wholes: {len(set(groups)):,})" if groups else ""
    said, least, set_least = [], 0.0, None
    if max_error is not None:
        budget = fraction_of(max_error, "--max-error")
        found = probability_for_error_budget(probabilities, labels, budget, groups=groups)
        if found is None:
            raise UsageError(
                f"--max-error {max_error} cannot be kept: no threshold shows it on "
                f"{len(labels):,} validation images{of} (without a mistake at least "
                f"{fewest_images(budget):,} are needed); allow more, or add images"
            )
        least = found
        share = float((probabilities.max(1) >= least).mean())
        said.append(
            f"answers from a probability of {least:.1%} on, which {share:.0%} of the "
            f"validation images reach: at most {budget:.1%} of such answers are wrong "
            "(95 % sure)"
        )
    if coverage is not None:
        asked = fraction_of(coverage, "--coverage")
        set_least = probability_for_coverage(probabilities, labels, asked, groups)
        said.append(
            f"sets of all labels from a probability of {set_least:.1%} on: they hold the true one "
            f"for at least {asked:.0%} of images like these"
        )
    if reject_ood and stored.model.get("ood_limit") is not None:
        refused = expected_refusals(len(labels))
        said.append(
            f"besides, about {refused:.1%} of images like these are refused as unlike the "
            "training images, which the promise counts with the others"
        )
    return Policy(reject_ood, least, set_least, nearest), "; ".join(said)
