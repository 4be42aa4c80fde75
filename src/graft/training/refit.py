"""A finished run's head fitted again on other splits of the same features, seconds each."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from graft.config import ResolvedConfig, SplitConfig, configs_of
from graft.data.dataset import class_numbers
from graft.data.groups import grouped, groups_that_count
from graft.data.sources import listing_of, load_dataset
from graft.data.split import Split
from graft.errors import DataError, UsageError
from graft.evaluation.calibration import fit_temperature, softmax
from graft.evaluation.metrics import evaluate
from graft.features.table import FeatureTable
from graft.models.runtime import Runtime, detect_runtime
from graft.runs.records import source_of
from graft.runs.run import Run
from graft.training.defaults import HIDDEN, network
from graft.training.head_fit import features_of, head_fit
from graft.training.loop import fit
from graft.training.plan import Plan, make_plan
from graft.utils.cache_folder import cache_folder, sources_folder
from graft.utils.progress import Progress

Assignment = NDArray[np.str_]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Refit:
    """What a run was trained on, ready to be split in another way."""

    plan: Plan
    table: FeatureTable
    split: Split
    config: SplitConfig
    progress: Progress
    runtime: Runtime

    def test(
        self, assignment: Assignment, seed: int, views: int | None = None
    ) -> tuple[Ints, Floats]:
        """A head fitted and calibrated on these splits (N,); its test rows (n,) and their
        calibrated probabilities (n, K). By default as many views are used as by the run.
        """
        views = views or self.plan.encoder.views
        split = replace(self.split, assignment=assignment)
        self.table.complete(split.rows("train"), range(views), self.progress)
        self.table.complete(np.flatnonzero(assignment != "out"), range(1), self.progress)
        made = head_fit(self.plan, self.table, split, views, seed)
        settings = replace(self.plan.probe, seed=seed)
        fit(made.head, made.train, made.steps, made.val, settings, self.runtime)
        head = made.head.cpu()

        def logits(name: str) -> Floats:
            features = features_of(self.table, split.rows(name)).whole()
            with torch.inference_mode():
                return np.asarray(head(torch.from_numpy(features)).double().numpy())

        temperature = fit_temperature(logits("val"), split.labels_of("val"))
        return split.rows("test"), softmax(logits("test"), temperature)

    def score(self, rows: Ints, probabilities: Floats) -> dict[str, Any]:
        """Accuracy, macro F1, ECE and recall by class of these rows (n,) and probabilities."""
        groups = groups_that_count([self.split.group_ids[i] for i in rows])
        found = evaluate(probabilities, self.split.labels[rows], self.split.classes, groups=groups)
        return {
            "accuracy": found["accuracy"],
            "macro_f1": found["macro_f1"],
            "macro_f1_interval": found["intervals"]["macro_f1"],
            "ece": found["ece"],
            "n": found["n"],
            "per_class": {name: row["recall"] for name, row in found["per_class"].items()},
        }


def load_refit(run: Run, progress: Progress) -> Refit:
    """The settings, images and splits of a finished run.

    Raises UsageError for a run that trained more than a head: what is fitted again here is a head
    on frozen features. DataError where images are missing.
    """
    resolved = run.resolved
    config, split_config = configs_of(resolved, ResolvedConfig)
    backbone = network(config, cache_folder())
    if config.unfreeze != "none" or backbone.weights is None:
        raise UsageError(
            f"{run.path}: graft validate fits a head again on frozen features, and this run "
            "trained more than a head; validate a run of a pretrained model with --unfreeze none"
        )
    head = run.model["head"]
    chosen = run.config.get("tuned", {}).get("candidates", [{}])
    if head["hidden"] != HIDDEN or chosen[0].get("stages") or len(chosen) > 1:
        raise UsageError(
            f"{run.path}: graft validate fits the usual head again, and graft tune chose another "
            "for this run; its search was cross-validated (tune/tune.html)"
        )
    asked = listing_of(split_config.to_json())
    source = source_of(run.config, run.path)
    listed = load_dataset(source, sources_folder(), features=True, **asked)
    dataset = grouped(listed, split_config.group_by)
    if "corrections" in run.config:
        # The labels that the run was trained with are not those of the source.
        given = {row["path"]: row["label"] for row in run.images}
        dataset = replace(
            dataset,
            examples=tuple(replace(e, label=given.get(e.path, e.label)) for e in dataset.examples),
        )
    place = {(e.path, e.label): row for row, e in enumerate(dataset.examples)}
    wanted = [(row["path"], row["label"]) for row in run.images]
    missing = [path for path, label in wanted if (path, label) not in place]
    if missing:
        raise DataError(
            f"{run.config['source']}: {len(missing):,} images of the run are missing (first: "
            f"{missing[0]}); put them back, or train again"
        )
    dataset = dataset.select(place[key] for key in wanted)
    digests: list[bytes | None] = [bytes.fromhex(row["sha256"]) for row in run.images]
    plan = make_plan(config, backbone, dataset, run, progress)
    split = Split(
        np.array([row["split"] for row in run.images], "<U5"),
        class_numbers(dataset.examples, dataset.classes),
        dataset.classes,
        tuple(row["group_id"] for row in run.images),
    )
    return Refit(
        plan,
        FeatureTable(dataset, digests, {}, plan.encoder),
        split,
        split_config,
        progress,
        detect_runtime(),
    )
