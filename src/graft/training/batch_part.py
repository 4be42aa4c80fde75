"""A batch that several processes share: each computes a part, and all take the step of the whole.

The gradients are added up after the backward pass, in one piece, by plain all-reduce: the parts of
a batch may differ in size, and one may be empty, which DistributedDataParallel, that averages over
processes, gets wrong. It would hide the sending behind the backward pass; docs/distributed.md says
what that is worth. Whatever is drawn at random is drawn by every process for the whole batch, so
that the run is that of one process, but for rounding.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from graft.models import ranks
from graft.models.head import Dropout
from graft.models.runtime import Runtime
from graft.training.mixup import mixed

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Part:
    """Which `rows` of a batch of `whole` images this process computes, and how many of them
    `count`: none where the batch has fewer images than there are processes. Such a process takes
    the first row, as not all networks can do with nothing, and gives it no weight.
    """

    runtime: Runtime
    whole: int
    rows: slice
    count: int

    @classmethod
    def of(cls, runtime: Runtime, whole: int) -> "Part":
        """The part that this process takes of a batch of `whole` images."""
        rows = runtime.part(whole)
        count = rows.stop - rows.start
        return cls(runtime, whole, rows if count else slice(0, 1), count)

    @property
    def alone(self) -> bool:
        """Whether it is all of the batch."""
        return self.runtime.world == 1

    def mixed(
        self, x: Tensor, labels: Tensor, mixup: float, cutmix: float
    ) -> tuple[Tensor, Tensor, Tensor, float]:
        """These rows (n, …) and their labels, those that they were mixed with, and the fraction;
        see `mixup.mixed`. `labels` (N,) are of the whole batch, whose images are mixed as one.
        """
        if self.alone or not (mixup or cutmix):
            x, other, fraction = mixed(x, labels, mixup, cutmix)
            return x, labels[self.rows], other[self.rows], fraction
        x, other, fraction = mixed(self._whole(x), labels, mixup, cutmix)
        return x[self.rows], labels[self.rows], other[self.rows], fraction

    def _whole(self, x: Tensor) -> Tensor:
        own = x[: self.count].cpu().numpy()
        return torch.from_numpy(ranks.gathered_rows(self.runtime, own)).to(x.device)

    def share(self, loss: Tensor) -> Tensor:
        """What the mean loss of these rows is of the batch's."""
        return loss if self.alone else loss * (self.count / self.whole)

    def draw_for_all(self, layers: Iterable[Dropout]) -> None:
        """Let these layers draw for the whole batch."""
        for layer in () if self.alone else layers:
            layer.shared = (self.whole, self.rows)

    @torch.no_grad()
    def add_up(
        self, parameters: Sequence[nn.Parameter], loss: Tensor, correct: Tensor, exact: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        """Give all processes the sum of their gradients; the summed loss of the whole batch, in
        `exact`, of which `loss` is the mean of this part, and its number of correct answers.
        """
        if self.alone:
            return loss.to(exact) * self.whole, correct
        figures = torch.stack([loss.detach().float() * self.count, correct * (self.count > 0)])
        moved = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([*(gradient.reshape(-1) for gradient in moved), figures])
        ranks.add_up(self.runtime, flat)
        at = 0
        for gradient in moved:
            gradient.copy_(flat[at : at + gradient.numel()].view(gradient.shape))
            at += gradient.numel()
        return flat[at].to(exact), flat[at + 1]


def in_parts(
    batches: Sequence[Rows],
    labels: Rows,
    runtime: Runtime,
    made: Callable[[Sequence[Rows]], Iterator[tuple[NDArray[Any], Rows]]],
) -> Iterator[tuple[NDArray[Any], Rows]]:
    """What `made` makes of this process's part of each of these batches of rows, each with the
    labels of the whole batch.
    """
    own = [rows[Part.of(runtime, len(rows)).rows] for rows in batches]
    for (x, _), rows in zip(made(own), batches, strict=True):
        yield x, labels[rows]


def parts_of(
    batches: Iterable[tuple[NDArray[Any], Rows]], runtime: Runtime
) -> Iterator[tuple[NDArray[Any], Rows]]:
    """The part that this process takes of whole batches, each with the labels of all of it."""
    for x, labels in batches:
        yield x[Part.of(runtime, len(labels)).rows], labels
