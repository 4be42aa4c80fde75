"""Features that do not fit in memory: read in blocks as they lie on disk, and shuffled in pools.

To draw each row of a batch from anywhere is fast in memory and hopeless on a disk. Here the rows
are cut, in the order in which they lie in the files, into blocks of BLOCK_ROWS. In each epoch the
blocks come in a random order, as many at a time as fill a pool, and the rows of a pool are
shuffled. Reads are of whole blocks; a batch has rows from hundreds of places, although a file's
neighbors are often of one class. What that costs is measured in docs/cluster.md.

The order depends on the seed, the epoch and the rows' places on disk, and on no machine. Whether
features fit in memory does, so that it belongs to what a checkpoint is of (settings_record.py).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from graft.features.activations import Activations
from graft.features.blocks import as_on_disk
from graft.training.batches import batch_stops, equally_often, in_turn
from graft.training.loop import Batches
from graft.utils.memory import memory_bytes

Ints = NDArray[np.int64]

# Features that take less than this share of memory are held by the system, and drawn at random.
MEMORY_SHARE = 0.25
# A pool's share of the features, and its limits in bytes: more shuffles no better.
POOL_SHARE, LEAST_POOL, MOST_POOL = 1 / 32, 2**24, 2**30
BLOCK_ROWS = 64


def in_memory(views: Sequence[Activations]) -> bool:
    """Whether these activations take so little memory that they may be drawn at random."""
    there = memory_bytes()
    return there is None or sum(view.bytes for view in views) <= MEMORY_SHARE * there


def pool_rows(view: Activations) -> int:
    """The rows of a pool."""
    row = max(1, view.bytes // max(1, len(view)))
    wanted = int(np.clip(view.bytes * POOL_SHARE, LEAST_POOL, MOST_POOL))
    return max(BLOCK_ROWS, wanted // row)


@dataclass(frozen=True)
class BlockShuffle:
    """Batches of activations on disk, one set (N, …) a view, with labels (N,).

    `order` (N,) are the rows as they lie on disk. `pool` and `block` are numbers of rows. If
    `balanced`, N rows are drawn with replacement, every class equally often.
    """

    views: Sequence[Activations]
    labels: Ints
    order: Ints
    batch: int
    seed: int
    pool: int
    block: int = BLOCK_ROWS
    balanced: bool = False

    def batches(self, epoch: int, start: int = 0) -> Batches:
        """The batches of an epoch from number `start` on; as `batches.shuffled`, image i comes in
        view (i + epoch) mod V, and a last batch of one image joins the one before it.
        """
        count = len(self.labels)
        edges = [0, *batch_stops(count, self.batch), count]
        x, y = self.views[0][np.arange(0)], self.labels[:0]
        seen, number = 0, start  # rows of pools so far, and the batch that is due
        for rows, mixed in self._pools(epoch):
            if seen + len(rows) <= edges[start]:
                seen += len(rows)
                continue
            held = self._read(rows, epoch)
            mixed = mixed[max(0, edges[start] - seen) :]
            seen += len(rows)
            used = 0
            while number + 1 < len(edges):
                lacking = edges[number + 1] - edges[number] - len(y)
                if lacking > len(mixed) - used:
                    break
                more = mixed[used : used + lacking]
                yield np.concatenate([x, held[more]]), np.concatenate([y, self.labels[rows[more]]])
                x, y = x[:0], y[:0]
                used, number = used + lacking, number + 1
            rest = mixed[used:]
            x = np.concatenate([x, held[rest]])
            y = np.concatenate([y, self.labels[rows[rest]]])

    def _pools(self, epoch: int) -> Iterator[tuple[Ints, Ints]]:
        """The rows of each pool as they lie on disk, and an order of them."""
        random = np.random.default_rng([self.seed, epoch])
        drawn = self.order
        if self.balanced:
            chosen = equally_often(self.labels, random)
            times = np.bincount(chosen, minlength=len(drawn))
            drawn = np.repeat(self.order, times[self.order])
        sequence = random.permutation(-(-len(drawn) // self.block))
        each = max(1, self.pool // self.block)
        for first in range(0, len(sequence), each):
            own = np.sort(sequence[first : first + each])
            rows = np.concatenate([drawn[b * self.block : (b + 1) * self.block] for b in own])
            yield rows, random.permutation(len(rows))

    def _read(self, rows: Ints, epoch: int) -> NDArray[np.float16]:
        held = in_turn(self.views, rows, epoch)
        for view in self.views:
            view.forget()
        return held


def on_disk(view: Activations, labels: Ints, block: int = 512) -> Batches:
    """Every image once, in the order in which they lie on disk."""
    for rows, x in as_on_disk(view, block):
        yield x, labels[rows]
