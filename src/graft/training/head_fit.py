"""A head on frozen features: the probe of a run, and what cross-validation fits again."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from hashlib import sha256

import numpy as np
import torch
from numpy.typing import NDArray

from graft.config import ResolvedConfig
from graft.data.split import Split
from graft.errors import UsageError
from graft.features.activations import Activations
from graft.features.blocks import statistics
from graft.features.table import FeatureTable
from graft.models.head import Head
from graft.models.ranks import agreed, rank_0
from graft.training.batch_part import in_parts, parts_of
from graft.training.batches import batch_rows, in_order, shuffled, steps_of
from graft.training.block_shuffle import BlockShuffle, in_memory, on_disk, pool_rows
from graft.training.defaults import DROPOUT_HIDDEN, FROZEN, HIDDEN
from graft.training.loop import Batches
from graft.training.plan import Plan
from graft.training.ridge_reference import ridge_reference

# Small sets take smaller steps, so that an epoch has several.
STEPS_AN_EPOCH = 8
SMALLEST_BATCH = 16


@dataclass(frozen=True)
class HeadFit:
    """An untrained head with its batches: arguments of `loop.fit`. `reference` makes a note for
    what does not fit in memory; None for what does.
    """

    head: Head
    train: Callable[[int, int], Batches]
    steps: int
    val: Callable[[], Batches]
    reference: Callable[[], str] | None = None


def head_fit(plan: Plan, table: FeatureTable, split: Split, views: int, seed: int) -> HeadFit:
    """A head on the first `views` views of the frozen features, of seeded weights or those that
    the names of its classes say.

    Raises UsageError for a network without frozen features.
    """
    config = plan.config
    train_rows, labels, val_labels = (
        split.rows("train"),
        split.labels_of("train"),
        split.labels_of("val"),
    )
    seen = [features_of(table, train_rows, view) for view in range(views)]
    hidden = 0 if plan.zero_shot else HIDDEN
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = Head(
            plan.backbone.features, len(split.classes), hidden, plan.dropout_in, DROPOUT_HIDDEN
        )
    runtime = plan.runtime
    held = rank_0(runtime, lambda: in_memory(seen))
    head.standardize(*statistics(seen[0], on_disk=not held))
    if plan.zero_shot:
        head.begin_at(torch.stack([plan.zero_shot[name] for name in split.classes]))
    own = runtime.part(len(val_labels))
    val, val_labels = features_of(table, split.rows("val")[own]), val_labels[own]
    most = FROZEN["batch_size"] if plan.cut else config.batch_size
    batch = batch_size(most, len(labels))

    steps = steps_of(len(labels), batch)
    if not held:
        order, pool = seen[0].order_on_disk(), rank_0(runtime, lambda: pool_rows(seen[0]))
        agreed(runtime, "orders of features on disk", lambda: sha256(order.tobytes()).hexdigest())
        balanced = config.balance == "sampling"
        blocks = BlockShuffle(seen, labels, order, batch, seed, pool, balanced=balanced)
        whole = (features_of(table, split.rows("val")), split.labels_of("val"))
        reference = partial(ridge_reference, seen[0], labels, *whole, len(split.classes))

        def pools(epoch: int, start: int) -> Batches:
            return parts_of(blocks.batches(epoch, start), runtime)

        return HeadFit(head, pools, steps, partial(on_disk, val, val_labels), reference)

    def train(epoch: int, start: int) -> Batches:
        rows = batches_of(config, labels, batch, epoch, seed)[start:]
        return in_parts(rows, labels, runtime, lambda own: shuffled(seen, labels, own, epoch))

    return HeadFit(head, train, steps, lambda: in_order(val, val_labels))


def features_of(table: FeatureTable, rows: NDArray[np.int64], view: int = 0) -> Activations:
    """The frozen features of these rows; UsageError for a network that has none."""
    found = table.features(rows, view)
    if found is None:
        raise UsageError("a network trained from pixels has no frozen features to fit a head on")
    return found


def batches_of(
    config: ResolvedConfig, labels: NDArray[np.int64], batch: int, epoch: int, seed: int
) -> list[NDArray[np.int64]]:
    """The rows of train of each batch of an epoch."""
    return batch_rows(labels, batch, seed, epoch, config.balance == "sampling")


def batch_size(most: int, images: int) -> int:
    """The batch: a power of two that gives about STEPS_AN_EPOCH steps, 16 to `most`."""
    wanted = 2 ** int(np.log2(max(1, images / STEPS_AN_EPOCH)))
    return int(min(most, max(SMALLEST_BATCH, wanted)))
