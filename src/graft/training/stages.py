"""What is trained, stage by stage: a head on frozen features (the probe), then with `unfreeze`
the last blocks below it too; or a whole network from pixels.

Probe first, then fine-tune from it (LP-FT: Kumar et al. 2022, arXiv:2202.10054): a random head
would send noise back into weights that took days to learn.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from graft.data.split import Split
from graft.features.blocks import blocks_of
from graft.features.table import FeatureTable
from graft.models.adapters import add_adapters, merge_adapters
from graft.models.encoder import Encoder
from graft.models.halves import Suffix
from graft.models.head import Head
from graft.models.ranks import rank_0
from graft.models.split_point import SplitPoint
from graft.training.batch_part import Part, in_parts
from graft.training.batches import (
    in_order,
    jittered,
    shuffled,
    steps_of,
    streamed,
)
from graft.training.defaults import DROPOUT_HIDDEN
from graft.training.ema import copied
from graft.training.fine_tuning_gain import MARGIN, paired_gain
from graft.training.head_fit import batch_size, batches_of, head_fit
from graft.training.loop import Batches, logits_of
from graft.training.optim import Group
from graft.training.plan import Plan
from graft.training.recorder import Recorder
from graft.training.weight_mixing import mix_weights


@dataclass(frozen=True)
class Trained:
    """A fitted head and, where more was trained, the encoder's new weights by name in its body."""

    head: Head
    encoder_state: dict[str, torch.Tensor] | None
    stage: str


def fit_stages(plan: Plan, table: FeatureTable, split: Split, recorder: Recorder) -> Trained:
    """Fit what the plan says on train; early stopping and all choices by val."""
    table.complete(split.rows("train"), range(plan.encoder.views), recorder.progress)
    if plan.from_pixels:
        return _from_pixels(plan, table, split, recorder)
    stage = "probe" if plan.cut else "fit"
    probe = head_fit(plan, table, split, plan.encoder.views, plan.config.seed)
    before = copied(probe.head.state_dict())
    recorder.fit(stage, probe.head, probe.train, probe.steps, probe.val, plan.probe)
    if probe.reference:
        recorder.note(rank_0(plan.runtime, probe.reference))
    if plan.cut is None:
        if plan.config.head == "wise-ft":
            recorder.note(mix_weights(probe.head, before, probe.val, recorder.runtime))
        return Trained(probe.head.cpu(), None, stage)
    return _fine_tuned(plan, plan.cut, table, split, probe.head.cpu(), before, recorder)


def _from_pixels(plan: Plan, table: FeatureTable, split: Split, recorder: Recorder) -> Trained:
    config, labels, val_labels = plan.config, split.labels_of("train"), split.labels_of("val")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        head = Head(plan.backbone.features, len(split.classes), 0, plan.dropout_in, DROPOUT_HIDDEN)
        encoder = plan.backbone.build()
    rows = split.rows("train")
    views = [table.activations(rows, view) for view in range(plan.encoder.views)]
    plain = views[0]
    _whiten(encoder, plain, config.seed)
    model = nn.Sequential(encoder, head).to(memory_format=torch.channels_last)
    own = plan.runtime.part(len(val_labels))
    val, val_labels = table.activations(split.rows("val")[own]), val_labels[own]
    batch = batch_size(config.batch_size, len(labels))

    def train(epoch: int, start: int) -> Batches:
        rows = batches_of(config, labels, batch, epoch, config.seed)[start:]
        if plan.shift:
            return jittered(
                plain,
                labels,
                rows,
                epoch,
                seed=config.seed,
                shift=plan.shift,
                flip=config.flip,
                erased=plan.erased,
                own=lambda count: Part.of(plan.runtime, count).rows,
            )
        return in_parts(rows, labels, plan.runtime, lambda own: shuffled(views, labels, own, epoch))

    recorder.fit(
        "fit",
        model,
        train,
        steps_of(len(labels), batch),
        lambda: in_order(val, val_labels),
        plan.main,
        _groups(encoder, head, config.optimizer),
    )
    return Trained(head.cpu(), dict(encoder.body.state_dict()), "fit")


def _whiten(encoder: Encoder, plain: Any, seed: int) -> None:
    """Set deep_cnn's first filters from training images; other networks have none to set."""
    body: Any = encoder.body
    if not hasattr(body, "whiten"):
        return
    sample = np.random.default_rng(seed).permutation(len(plain))[: body.WHITEN]
    # Some megabytes at a time, whatever the size of the images.
    size = int(np.prod(encoder.input_shape))
    blocks = np.array_split(np.sort(sample), -(-len(sample) * size // 2**20))
    body.whiten(encoder.normalized(torch.from_numpy(plain[rows])) for rows in blocks)


def _groups(encoder: Encoder, head: Head, optimizer: str) -> list[Group]:
    # Measured with SGD; AdamW's steps are of one size as it is.
    rate = getattr(encoder.body, "BIAS_RATE", 1.0) if optimizer == "sgd" else 1.0
    own = [p for p in encoder.parameters() if p.requires_grad]
    biases = [p for p in own if p.ndim == 1]
    others = [p for p in own if p.ndim > 1]
    # What a rate of 64 times as much would decay is given back.
    return [Group([*others, *head.parameters()]), Group(biases, rate, 1 / rate)]


def _fine_tuned(
    plan: Plan,
    cut: SplitPoint,
    table: FeatureTable,
    split: Split,
    head: Head,
    head_before: dict[str, torch.Tensor],
    recorder: Recorder,
) -> Trained:
    labels, val_labels = split.labels_of("train"), split.labels_of("val")
    suffix = Suffix(plan.backbone.build(), cut, moving=plan.config.batch_norm == "train")
    unchanged = {f"0.{name}": value for name, value in copied(suffix.state_dict()).items()}
    unchanged |= {f"1.{name}": value for name, value in head_before.items()}
    lora = plan.config.unfreeze == "lora"
    if lora:
        add_adapters(suffix.encoder, plan.config.seed)
    tuned_head = copy.deepcopy(head)
    model = nn.Sequential(suffix, tuned_head).to(memory_format=torch.channels_last)
    batch = batch_size(plan.config.batch_size, len(labels))
    found = stage_batches(plan, table, split, batch)
    before, _ = logits_of(model, found.val(), recorder.runtime)
    recorder.fit(
        "fine-tune",
        model,
        found.train,
        steps_of(len(labels), batch),
        found.val,
        plan.main,
        [
            Group([p for p in suffix.parameters() if p.requires_grad]),
            Group(list(tuned_head.parameters())),
        ],
    )
    if lora:
        merge_adapters(suffix.encoder)
    if plan.config.head == "wise-ft":
        recorder.note(mix_weights(model, unchanged, found.val, recorder.runtime))
    after, _ = logits_of(model, found.val(), recorder.runtime)
    groups = split.groups_of("val")
    gain, noise = rank_0(plan.runtime, lambda: paired_gain(before, after, val_labels, groups))
    # How it is said in the report, too.
    change = f"{'fell' if gain > 0 else 'rose'} by {abs(gain):.3f} (standard error {noise:.3f})"
    fell = f"the mean loss on {len(val_labels)} validation images {change}"
    if gain <= MARGIN:
        recorder.note(
            f"fine-tuning was tried and not kept: {fell}; the frozen network with its head stays"
        )
        return Trained(head, None, "probe")
    recorder.note(f"fine-tuning was kept: {fell}")
    return Trained(tuned_head.cpu(), suffix.state(), "fine-tune")


def stage_batches(
    plan: Plan, table: FeatureTable, split: Split, batch: int
) -> "_CachedBatches | _StreamedBatches":
    """The batches of fine-tuning, of train and of val: from the cache, or computed again."""
    kind = _CachedBatches if plan.cached else _StreamedBatches
    return kind(plan, table, split, batch)


class _CachedBatches:
    """Activations at the split point, from the cache."""

    def __init__(self, plan: Plan, table: FeatureTable, split: Split, batch: int):
        self.config, self.batch = plan.config, batch
        self.labels, self.val_labels = split.labels_of("train"), split.labels_of("val")
        rows, self.runtime = split.rows("train"), plan.runtime
        self.views = [table.activations(rows, view) for view in range(plan.encoder.views)]
        own = plan.runtime.part(len(self.val_labels))
        self.val_labels = self.val_labels[own]
        self.val_view = table.activations(split.rows("val")[own])

    def train(self, epoch: int, start: int) -> Batches:
        rows = batches_of(self.config, self.labels, self.batch, epoch, self.config.seed)[start:]

        def made(own: Sequence[NDArray[np.int64]]) -> Batches:
            return shuffled(self.views, self.labels, own, epoch)

        return in_parts(rows, self.labels, self.runtime, made)

    def val(self) -> Batches:
        return in_order(self.val_view, self.val_labels)


class _StreamedBatches:
    """Images read again in every epoch, through the frozen prefix if there is one."""

    def __init__(self, plan: Plan, table: FeatureTable, split: Split, batch: int):
        self.plan, self.batch = plan, batch
        self.labels, self.val_labels = split.labels_of("train"), split.labels_of("val")
        examples = table.dataset.examples
        self.files = [examples[i].file for i in split.rows("train")]
        own = plan.runtime.part(len(self.val_labels))
        self.val_labels = self.val_labels[own]
        self.val_files = [examples[i].file for i in split.rows("val")[own]]

    def train(self, epoch: int, start: int) -> Batches:
        plan, count = self.plan, self.plan.encoder.views
        rows = batches_of(plan.config, self.labels, self.batch, epoch, plan.config.seed)[start:]
        # A frozen prefix that is computed again gives what its cache would give; what trains
        # from the images sees a new crop in every epoch.
        new = plan.prefix is None and count > 1

        def made(own: Sequence[NDArray[np.int64]]) -> Batches:
            return streamed(
                self.files,
                self.labels,
                own,
                plan.backbone.preprocess,
                lambda row: epoch if new else (row + epoch) % count,
                plan.encoder.augmentation,
                plan.prefix,
            )

        return in_parts(rows, self.labels, plan.runtime, made)

    def val(self) -> Batches:
        preprocess = self.plan.backbone.preprocess
        shape = (preprocess.height, preprocess.width, 3)
        return streamed(
            self.val_files,
            self.val_labels,
            blocks_of(len(self.val_labels), shape),
            preprocess,
            lambda row: 0,
            self.plan.encoder.augmentation,
            self.plan.prefix,
        )
