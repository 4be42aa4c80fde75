"""Many heads on one stream of features: fitted in one pass of the gradient loop (as DINOv2's linear
evaluation does: Oquab et al. 2023, arXiv:2304.07193).

`HeadBatch` is a module like any other to training/loop.py: one product of matrices gives the first
layer of all heads. What a head learns is what it would learn alone; only its dropout is drawn
together with the others'.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from graft.evaluation.calibration import calibrated_loss
from graft.features.activations import Activations
from graft.features.blocks import statistics
from graft.models.head import Dropout
from graft.models.runtime import Runtime
from graft.training.batches import batch_rows, in_order, shuffled, steps_of
from graft.training.defaults import DROPOUT_HIDDEN
from graft.training.head_fit import batch_size
from graft.training.loop import Batches, Epoch, FitSettings, fit, logits_of
from graft.training.optim import Group
from graft.tuning.candidate import Candidate, Members

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
# Of no member alone: each is another group of the optimizer.
UNIT_RATE = UNIT_DECAY = 1.0
LARGEST_BATCH = 256


class HeadBatch(nn.Module):
    """M heads on features (n, D). While it trains it gives logits (n, K, M), which cross-entropy
    takes with labels (n, M); else their mean (n, K). `columns` holds the first column that each
    head sees.
    """

    def __init__(
        self,
        features: int,
        classes: int,
        members: Sequence[Candidate],
        columns: Sequence[int],
        dropout_in: float,
        seed: int,
    ):
        super().__init__()
        self.members, self.columns = tuple(members), tuple(columns)
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("std", torch.ones(features))
        self.dropped_in = Dropout(dropout_in)
        self.dropped = Dropout(DROPOUT_HIDDEN)
        first, last = [], []
        for one, column in zip(members, columns, strict=True):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)  # each as if it were alone
                width = features - column
                first.append(nn.Linear(width, one.hidden or classes))
                last.append(nn.Linear(one.hidden, classes) if one.hidden else nn.Identity())
        self.first, self.last = nn.ModuleList(first), nn.ModuleList(last)

    def standardize(self, mean: Tensor, std: Tensor) -> None:
        """As Head.standardize."""
        self.get_buffer("mean").copy_(mean)
        self.get_buffer("std").copy_(std + 1e-3 * std.mean() + 1e-12)

    def forward(self, features: Tensor) -> Tensor:
        """Logits, as above."""
        logits = self.each(features)
        if not self.training:
            return logits.mean(2)
        if logits.requires_grad:
            # The mean over heads would give each an M-th of the gradient that it has alone.
            count = len(self.members)
            hook: Any = logits.register_hook
            hook(lambda gradient: gradient * count)
        return logits

    def each(self, features: Tensor) -> Tensor:
        """Logits (n, K, M) of each head."""
        standard = (features.float() - self.get_buffer("mean")) / self.get_buffer("std")
        x = self.dropped_in(standard)
        outputs: list[Tensor] = [x] * len(self.members)
        for column in sorted(set(self.columns)):
            mine = [m for m, first in enumerate(self.columns) if first == column]
            layers: list[Any] = [self.first[m] for m in mine]
            weight = torch.cat([layer.weight for layer in layers])
            bias = torch.cat([layer.bias for layer in layers])
            together = nn.functional.linear(x[:, column:], weight, bias)
            parts = torch.split(together, [layer.out_features for layer in layers], 1)
            for m, part in zip(mine, parts, strict=True):
                outputs[m] = self._rest(m, part)
        return torch.stack([output.float() for output in outputs], 2)

    def _rest(self, member: int, first: Tensor) -> Tensor:
        if not self.members[member].hidden:
            return first
        return torch.as_tensor(self.last[member](self.dropped(torch.relu(first))))

    def groups(self) -> list[Group]:
        """Each head's parameters with its own rate and decay."""
        return [
            Group(
                [*self.first[m].parameters(), *self.last[m].parameters()],
                one.learning_rate / UNIT_RATE,
                one.weight_decay / UNIT_DECAY,
            )
            for m, one in enumerate(self.members)
        ]

    def state_of(self, member: int) -> list[Tensor]:
        """A copy of a head's weights and biases: first layer, then second."""
        layers = (self.first[member], self.last[member])
        return [p.detach().cpu().clone() for layer in layers for p in layer.parameters()]


@dataclass
class FittedHeads:
    """What a pass gives: the weights of each head (as HeadBatch.state_of) at its own best epoch,
    `curves` (M, E) of their accuracy on val, and the statistics of train (D,).
    """

    members: Members
    columns: tuple[int, ...]
    states: list[list[Tensor]]
    curves: list[list[float]]
    mean: Tensor
    std: Tensor
    best: list[float] = field(default_factory=list)

    def logits(self, features: Activations, runtime: Runtime, dropout_in: float) -> Floats:
        """Logits (n, K, M) of each head."""
        classes = len(self.states[0][-1])
        model = HeadBatch(
            features.shape[0], classes, self.members, self.columns, dropout_in, 0
        ).eval()
        model.standardize(self.mean, self.std)
        load_states(model, self.states)
        return _each_logits(model, features, runtime)


def load_states(model: HeadBatch, states: Sequence[Sequence[Tensor]]) -> None:
    """Set the weights of all heads."""
    with torch.no_grad():
        for m, state in enumerate(states):
            layers = (model.first[m], model.last[m])
            own = [p for layer in layers for p in layer.parameters()]
            for parameter, value in zip(own, state, strict=True):
                parameter.copy_(value)


@dataclass(frozen=True)
class HeadData:
    """Features of the views of train, (n, D) each, and of val, with their labels."""

    views: Sequence[Activations]
    labels: Ints
    val: Activations
    val_labels: Ints
    classes: int


def settings_of(members: Members, seed: int, patience: int) -> FitSettings:
    """The settings of one pass; members agree in their family."""
    one = members[0]
    return FitSettings(
        epochs=one.epochs,
        learning_rate=UNIT_RATE,
        weight_decay=UNIT_DECAY,
        label_smoothing=one.label_smoothing,
        patience=patience,
        seed=seed,
        schedule=one.schedule,
        mixup=one.mixup,
        max_grad_norm=0.0,  # over all heads it would let one that strays slow the others
    )


def new_batch(
    data: HeadData, members: Members, columns: Sequence[int], dropout_in: float, seed: int
) -> HeadBatch:
    """Untrained heads of seeded weights, with the statistics of train."""
    width = data.val.shape[0]
    model = HeadBatch(width, data.classes, members, columns, dropout_in, seed)
    model.standardize(*statistics(data.views[0]))
    return model


def batches(data: HeadData, count: int, epoch: int, start: int, seed: int) -> Batches:
    """Batches of an epoch from number `start` on, labels (n, M) for M = `count` heads."""
    size = batch_size(LARGEST_BATCH, len(data.labels))
    rows = batch_rows(data.labels, size, seed, epoch)[start:]
    for x, y in shuffled(data.views, data.labels, rows, epoch):
        yield x, np.repeat(y[:, np.newaxis], count, 1)


def steps(data: HeadData) -> int:
    """Batches an epoch."""
    return steps_of(len(data.labels), batch_size(LARGEST_BATCH, len(data.labels)))


def fit_heads(
    data: HeadData,
    members: Members,
    columns: Sequence[int],
    dropout_in: float,
    seed: int,
    runtime: Runtime,
) -> FittedHeads:
    """Fit heads of one family in one pass; each is kept at its own epoch of the lowest calibrated
    loss on val, and stops when `patience` epochs have not lowered it.
    """
    model = new_batch(data, members, columns, dropout_in, seed)
    count = len(members)
    states = [model.state_of(m) for m in range(count)]
    best, since = [float("inf")] * count, [0] * count
    curves: list[list[float]] = [[] for _ in members]

    def judged(epoch: Epoch) -> None:
        logits = _each_logits(model, data.val, runtime)
        for m, one in enumerate(members):
            if since[m] >= one.patience:
                continue
            curves[m].append(float((logits[:, :, m].argmax(1) == data.val_labels).mean()))
            loss = calibrated_loss(logits[:, :, m], data.val_labels)
            since[m] += 1
            if loss < best[m]:
                best[m], since[m], states[m] = loss, 0, model.state_of(m)

    fit(
        model,
        lambda epoch, start: batches(data, count, epoch, start, seed),
        steps(data),
        lambda: in_order(data.val, data.val_labels),
        settings_of(members, seed, members[0].epochs + 1),
        runtime,
        judged,
        groups=model.groups(),
    )
    mean, std = statistics(data.views[0])
    return FittedHeads(members, tuple(columns), states, curves, mean, std, best)


def _each_logits(model: HeadBatch, features: Activations, runtime: Runtime) -> Floats:
    """Logits (n, K, M), by the one no-grad loop."""
    each = _Each(model)
    labels = np.zeros(len(features), np.int64)
    return logits_of(each, in_order(features, labels), runtime)[0]


class _Each(nn.Module):
    """The heads' own logits as a module's output."""

    def __init__(self, model: HeadBatch):
        super().__init__()
        self.model = model

    def forward(self, features: Tensor) -> Tensor:
        """Logits (n, K, M)."""
        return self.model.each(features)
