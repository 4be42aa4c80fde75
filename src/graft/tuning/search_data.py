"""The images that a search may see: those of train and val. Test images are not in what this gives,
so no choice can depend on them.
"""

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from graft.config import SplitConfig, TrainConfig
from graft.data.dataset import Dataset
from graft.data.groups import groups_that_count, numbered
from graft.data.split import Split
from graft.features.activations import Activations
from graft.features.table import FeatureTable, extract
from graft.models.encoder import Encoder
from graft.models.sequence import intermediates
from graft.quality.audit import audit
from graft.quality.finding import raise_if_blocked
from graft.runs.run import Run
from graft.training.defaults import network, resolve
from graft.training.head_fit import features_of
from graft.training.plan import Plan, fit_settings, make_plan
from graft.training.recipe import listed, split_usable
from graft.tuning.candidate import Candidate
from graft.tuning.inner_folds import Fold, inner_folds
from graft.utils.cache_folder import cache_folder
from graft.utils.progress import Progress

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class SearchData:
    """The n usable images of train and val: `table` without features, `split` with the assignment
    of the run, `unit` (n,) what belongs together, `counted` (n,) what intervals count as one,
    `folds`. `tests` is how many images the test split has, which is all that is known of it here.
    `timings`: seconds of `encoding` so many `encoded` images, if none was in the cache, and of the
    `audit`.
    """

    table: FeatureTable
    split: Split
    unit: Ints
    counted: Ints
    folds: list[Fold]
    tests: int
    timings: Mapping[str, float] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.unit)

    @property
    def labels(self) -> Ints:
        """Class numbers (n,)."""
        return self.split.labels

    def digest(self) -> str:
        """Of the images with their labels and splits."""
        key = hashlib.sha256()
        for row, (name, label) in enumerate(zip(self.split.assignment, self.labels, strict=True)):
            key.update(self.table.digest(row) + f"{name} {label};".encode())
        return key.hexdigest()


def search_data(
    source: str | Path,
    config: TrainConfig,
    split_config: SplitConfig,
    run: Run,
    progress: Progress,
    clock: Callable[[], float] = time.perf_counter,
) -> SearchData:
    """Read, audit and split a source as `graft train` does, and keep train and val. `clock` gives
    the seconds of its timings.

    Raises what training raises.
    """
    dataset = listed(source, split_config, progress=progress)
    backbone = network(config, cache_folder())
    plan = make_plan(resolve(config, backbone), backbone, dataset, run, progress)
    began = clock()
    table = extract(dataset, plan.encoder, split_config, progress)
    read = clock()
    audited = audit(dataset, table, cache_folder())
    timings = {"audit": clock() - read}
    if not plan.encoder.from_cache:
        timings |= {"encoded": len(table), "encoding": read - began}
    progress.say_all(f"{finding.kind}: {finding.message}" for finding in audited.findings)
    raise_if_blocked(audited.findings, dataset.source)
    table, split = split_usable(table, audited, split_config)
    rows = np.flatnonzero((split.assignment == "train") | (split.assignment == "val"))
    kept = Split(
        split.assignment[rows],
        split.labels[rows],
        split.classes,
        tuple(split.group_ids[i] for i in rows),
    )
    unit = numbered(kept.group_ids)
    counting = groups_that_count(kept.group_ids)
    return SearchData(
        replace(table.select(rows), encoder=None),
        kept,
        unit,
        np.arange(len(rows)) if counting is None else numbered(counting),
        inner_folds(unit, kept.labels, split_config.seed),
        int((split.assignment == "test").sum()),
        timings,
    )


class Encodings:
    """The networks that a search looks through: their plans, features and stages."""

    def __init__(self, data: SearchData, base: TrainConfig, run: Run, progress: Progress):
        self.data, self.base, self.run, self.progress = data, base, run, progress
        self._plans: dict[tuple[object, ...], Plan] = {}
        self._tables: dict[tuple[object, ...], FeatureTable] = {}
        self._columns: dict[tuple[object, ...], list[int]] = {}

    @property
    def dataset(self) -> Dataset:
        """The images of train and val."""
        return self.data.table.dataset

    def config(self, one: Candidate) -> TrainConfig:
        """A candidate's settings, as `graft train` would get them."""
        base = self.base
        return one.train_config(flip=base.flip, seed=base.seed, backend=base.backend)

    def plan(self, one: Candidate) -> Plan:
        """How this candidate's network is fed and cut; raises as make_plan."""
        key, config = one.encoding(), self.config(one)
        if key not in self._plans:
            backbone = network(config, cache_folder())
            resolved = resolve(config, backbone)
            self._plans[key] = make_plan(resolved, backbone, self.dataset, self.run, self.progress)
        plan = self._plans[key]
        resolved = resolve(config, plan.backbone)
        return replace(plan, config=resolved, main=fit_settings(resolved))

    def table(self, one: Candidate) -> FeatureTable:
        """The images of train and val with this candidate's activations."""
        key = one.encoding()
        if key not in self._tables:
            self._tables[key] = replace(self.data.table, encoder=self.plan(one).encoder)
        return self._tables[key]

    def missing(self, one: Candidate) -> int:
        """Views that are not in the cache yet."""
        encoder = self.plan(one).encoder
        digests = [self.data.table.digest(row) for row in range(len(self.data))]
        return sum(not encoder.has_views(d, (v,)) for v in range(encoder.views) for d in digests)

    def side(self, one: Candidate) -> int:
        """The median of the images' shorter sides, in pixels."""
        seen = self.table(one).fingerprints(np.arange(len(self.data)))
        return int(np.median(np.minimum(seen["width"], seen["height"])))

    def complete(self, one: Candidate, rows: Ints) -> None:
        """Compute the activations of these images, in every view, where they are missing."""
        table = self.table(one)
        table.complete(rows, range(self.plan(one).encoder.views), self.progress)

    def features(self, one: Candidate, rows: Ints, view: int = 0) -> Activations:
        """Features (n, D) of these images in one view."""
        return features_of(self.table(one), rows, view)

    def first_column(self, one: Candidate) -> int:
        """The first column of the features that a head on its last `stages` sees."""
        if not one.stages:
            return 0
        key = one.encoding()[:3]
        if key not in self._columns:
            self._columns[key] = stage_columns(self.plan(one).backbone.build())
        starts = self._columns[key]
        return starts[-one.stages] if one.stages < len(starts) else 0

    def stages(self, one: Candidate) -> int:
        """How many stages the features come from; 1 where they are the network's own."""
        self.first_column(one.model_copy(update={"stages": 1}))
        return len(self._columns[one.encoding()[:3]])


def stage_columns(encoder: Encoder) -> list[int]:
    """Where each stage's columns begin in an encoder's features; [0] where there are no stages."""
    if not (encoder.ends or encoder.intermediates):
        return [0]
    with torch.inference_mode():
        x = encoder.normalized(torch.zeros(1, *encoder.input_shape, dtype=torch.uint8))
        if encoder.intermediates:
            maps = intermediates(encoder.body, x, encoder.intermediates)
        else:
            maps = encoder.passed(x, encoder.order)[1]
        widths = [encoder.pooled([each]).shape[1] for each in maps]
    return [int(start) for start in np.cumsum([0, *widths[:-1]])]
