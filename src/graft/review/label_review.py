"""Going through the labels of images: what to look at, and what the decisions did."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from graft.choices import DEFAULT_MODEL
from graft.config import SplitConfig, TrainConfig, configs_of
from graft.data.dataset import Dataset
from graft.data.groups import group_ids, grouped
from graft.data.sources import listing_of, load_dataset
from graft.data.split import split_dataset
from graft.errors import UsageError
from graft.features.table import FeatureTable, extract
from graft.models.runtime import detect_runtime
from graft.quality.audit import audit
from graft.quality.corrections import read_journal
from graft.quality.finding import Finding, raise_if_blocked
from graft.review.doubts import doubts, nearest
from graft.review.effect import Effect, Labels, effect_of
from graft.review.run_settings import settings_of
from graft.runs.folder import is_finished
from graft.runs.records import source_of
from graft.runs.run import Run
from graft.training.defaults import network, resolve
from graft.training.plan import make_plan
from graft.training.refit import Refit
from graft.utils.cache_folder import cache_folder, cache_in_use, sources_folder
from graft.utils.progress import SILENT, Progress

# Training images to see beside a doubtful one.
BESIDE = 4
# Findings on single images, and on sets of which a person can tell which one is right.
SINGLE, SETS = ("outlier", "blank", "dark"), ("two_labels", "near_two_labels")


@dataclass(frozen=True, slots=True)
class Suspect:
    """An image to look at: by its sha256, with the label it has.

    `kind` is that of the finding; `suggested` the label that all other images suggest, "" where
    there is none. `gain`, 0 to 1, is the probability that the label is wrong, None where it is
    unknown. `beside` are sha256 of images to see with it: the nearest training images, or those it
    is a copy of.
    """

    sha256: str
    path: str
    label: str
    suggested: str
    gain: float | None
    kind: str
    split: str
    beside: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)


class LabelReview:
    """What to look at in a source, with everything that its images were encoded for.

    `table` has the readable images, `rows` are those of them that have one label, in the order of
    `refit.table`, which can be trained on.
    """

    def __init__(
        self, table: FeatureTable, rows: Sequence[int], refit: Refit, found: Sequence[Finding]
    ):
        self.table, self.rows, self.refit, self.findings = table, list(rows), refit, found
        self.digests = [refit.table.digest(i).hex() for i in range(len(rows))]
        self.splits = dict(zip(self.digests, refit.split.assignment.tolist(), strict=True))
        self.classes = refit.split.classes
        self._before: Effect | None = None
        self._doubted: set[str] = set()  # test images that something spoke against

    def suspects(self, labels: Labels | None = None) -> tuple[list[Suspect], list[Suspect]]:
        """What to look at, train and val first, and apart from them the test images, blind.

        `labels`: what was decided so far, by sha256, "" for an image left out; those images are not
        asked about again, and the others are doubted by what they say now.

        Of the test images every doubted one is there and as many that nobody doubts, in an order
        that says nothing, and without a suggestion: whoever sees only what the model disputes, or
        what it says, mends the labels in its favor.
        """
        decided = dict(labels or {})
        split, features = self.refit.split, self.refit.table.features(range(len(self.rows)))
        if features is None:
            raise UsageError("label errors are found by a pretrained model; name one with --model")
        numbers = {name: i for i, name in enumerate(self.classes)}
        used = np.array([numbers.get(decided.get(d) or "", -1) for d in self.digests])
        now = np.where(used >= 0, used, split.labels)
        undecided = np.array([d not in decided for d in self.digests])
        found = doubts(features, now, len(self.classes), undecided)
        train = split.rows("train")
        doubted = [int(row) for row in found.rows]
        alike = nearest(features, doubted, train, BESIDE)
        listed, test = [], []
        for i, row in enumerate(doubted):
            if split.assignment[row] == "test":
                test.append(row)
                continue
            one = self._suspect(row, "label_error", self.classes[found.suggested[i]])
            beside = tuple(self.digests[r] for r in alike[i])
            listed.append(replace(one, gain=round(float(found.gain[i]), 4), beside=beside))
        test += [row for row in self._torn(decided) if row not in test]
        self._doubted |= {self.digests[row] for row in test}
        others = self._others(decided, {one.sha256 for one in listed})
        return [*self._first(others), *listed, *self._last(others)], self._blind(test, undecided)

    def is_doubted(self, sha256: str) -> bool:
        """Whether something spoke against the label of this test image, by now."""
        return sha256 in self._doubted

    def effect(self, labels: Labels) -> Effect:
        """What the decisions did to the accuracy on the test split; see graft.review.effect."""
        if not self._before:
            self.suspects()  # by the labels as given: what was decided in an earlier session, too
        found = effect_of(self.refit, self.digests, labels, self._doubted, self._before)
        self._before = self._before or found
        return found

    def _suspect(self, row: int, kind: str, suggested: str = "") -> Suspect:
        example = self.refit.table.dataset.examples[row]
        split = str(self.refit.split.assignment[row])
        return Suspect(self.digests[row], example.path, example.label, suggested, None, kind, split)

    def _blind(self, test: Sequence[int], undecided: Any) -> list[Suspect]:
        doubted = set(test)
        rest = [int(r) for r in self.refit.split.rows("test") if r not in doubted and undecided[r]]
        key = {
            row: hashlib.sha256(b"review " + self.digests[row].encode()).digest()
            for row in range(len(self.rows))
        }
        controls = sorted(rest, key=key.__getitem__)[: len(test)]
        mixed = sorted([*test, *controls], key=key.__getitem__)
        return [self._suspect(row, "test") for row in mixed]

    def _torn(self, decided: Labels) -> list[int]:
        """The test images with a near-duplicate under another label."""
        paths = {p for f in self.findings if f.kind in SETS for p in f.paths}
        examples = self.refit.table.dataset.examples
        test = [int(row) for row in self.refit.split.rows("test")]
        return [r for r in test if examples[r].path in paths and self.digests[r] not in decided]

    def _others(self, decided: Labels, listed: set[str]) -> list[Suspect]:
        """Images of other findings, each once, without those of the test split."""
        examples = self.table.dataset.examples
        row_of = {example.path: row for row, example in enumerate(examples)}
        found: dict[str, Suspect] = {}
        for finding in self.findings:
            if finding.kind not in SINGLE + SETS:
                continue
            together = {path: one for one in finding.sets for path in one}
            for path in finding.paths:
                digest = self.table.digest(row_of[path]).hex()
                split = self.splits.get(digest, "")
                if digest in decided or digest in listed or digest in found or split == "test":
                    continue
                beside = tuple(
                    dict.fromkeys(
                        self.table.digest(row_of[other]).hex()
                        for other in together.get(path, ())
                        if other != path
                    )
                )
                found[digest] = Suspect(
                    digest,
                    path,
                    examples[row_of[path]].label,
                    "",
                    None,
                    finding.kind,
                    split,
                    beside,
                )
        return list(found.values())

    def _first(self, others: Sequence[Suspect]) -> list[Suspect]:
        return [one for one in others if one.kind in SETS]

    def _last(self, others: Sequence[Suspect]) -> list[Suspect]:
        return [one for one in others if one.kind not in SETS]


def labels_of(journal: str | Path) -> dict[str, str]:
    """The label that a journal gives to each image it is about, by sha256; "" for none."""
    return {one.sha256: one.new for one in read_journal(journal).standing if one.sha256}


@cache_in_use()
def review_labels(
    source: str | Path, *, model: str | None = None, progress: Progress = SILENT
) -> LabelReview:
    """What to look at in `source`, a finished run or what `train` takes: its images are read,
    encoded and audited.

    The splits are those that training makes of them: of a run its own, else those of the default
    settings. The features are those of `model`, by default of the run's own frozen network, else of
    graft's default model.

    Raises DataError for images that cannot be trained on, ModelError for a missing model.
    """
    settings: dict[str, Any] = {"model": DEFAULT_MODEL}
    listing: dict[str, Any] = {}
    if is_finished(Path(source)):
        run = Run.finished(source)
        source, settings = source_of(run.config, run.path), settings | settings_of(run)
        listing = listing_of(settings)
    if model is not None:
        settings |= {"model": model}
    config, split_config = configs_of(settings, TrainConfig)
    listed = load_dataset(source, sources_folder(), progress=progress, **listing)
    return review_of(listed, config, split_config, progress)


def review_of(
    dataset: Dataset, config: TrainConfig, split_config: SplitConfig, progress: Progress
) -> LabelReview:
    """`review_labels` of a listed dataset, with these settings."""
    dataset = grouped(dataset, split_config.group_by)
    backbone = network(config, cache_folder())
    if backbone.weights is None:
        raise UsageError(
            f"label errors are found by a pretrained model, and {config.model} is none"
        )
    plan = make_plan(resolve(config, backbone), backbone, dataset, Run("."), progress)
    table = extract(dataset, plan.encoder, split_config, progress)
    found = audit(dataset, table, cache_folder())
    raise_if_blocked(found.findings, dataset.source)
    usable = table.select(found.usable)
    place = {row: n for n, row in enumerate(found.usable)}
    near = [[place[row] for row in cluster if row in place] for cluster in found.near]
    rows = range(len(usable))
    ids = group_ids(usable.dataset.examples, [usable.digest(i) for i in rows], near)
    split = split_dataset(usable.dataset, ids, split_config, usable.fingerprints(rows)["taken"])
    refit = Refit(plan, usable, split, split_config, Progress(), detect_runtime())
    return LabelReview(table, found.usable, refit, found.findings)
