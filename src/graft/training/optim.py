"""AdamW and SGD over plain lists of tensors, and schedules as functions of the step.

PyTorch's optimizer class imports its whole compiler at the first step, a second that a head's
training does not have; the updates themselves are its public functions, called here. Schedules
that are functions, and a state of named tensors, are also all that a resumed run needs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw
from torch.optim.sgd import sgd

BETA2, EPSILON = 0.999, 1e-8
# One-cycle: the least and the last rate as shares of the peak, and the ends of beta1.
FIRST, LAST = 1 / 25, 1 / 250_000
BETA1_REST, BETA1_PEAK = 0.95, 0.85
BETA1 = 0.9
MOMENTUM = 0.9
# Reduce on plateau: by this factor, after as many epochs without a better validation loss.
PLATEAU_FACTOR, PLATEAU_EPOCHS = 0.3, 2


@dataclass(frozen=True)
class Group:
    """Parameters with a rate and a weight decay of their own, as shares of what is usual."""

    parameters: Sequence[nn.Parameter]
    rate: float = 1.0
    decay: float = 1.0


class Optimizer:
    """`adamw` (Loshchilov & Hutter 2019, arXiv:1711.05101) or `sgd` with Nesterov's momentum,
    each in one fused pass over the weights. Weight decay is decoupled in AdamW only.
    """

    def __init__(self, groups: Sequence[Group], kind: str = "adamw", weight_decay: float = 0.0):
        self.groups, self.kind, self.weight_decay = groups, kind, weight_decay
        parameters = [p for group in groups for p in group.parameters]
        self.parameters = parameters
        self.means = {id(p): torch.zeros_like(p) for p in parameters}
        self.squares = {id(p): torch.zeros_like(p) for p in parameters if kind == "adamw"}
        self.steps = {id(p): torch.zeros((), device=p.device) for p in parameters}

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self, rate: float, beta1: float = BETA1) -> None:
        """Move each parameter that has a gradient, at this learning rate."""
        for group in self.groups:
            moved = [p for p in group.parameters if p.grad is not None]
            tensors: list[Tensor] = list(moved)
            gradients = [p.grad for p in moved if p.grad is not None]
            means = [self.means[id(p)] for p in moved]
            if not moved:
                continue
            if self.kind == "adamw":
                adamw(
                    tensors,
                    gradients,
                    means,
                    [self.squares[id(p)] for p in moved],
                    [],
                    [self.steps[id(p)] for p in moved],
                    fused=True,
                    amsgrad=False,
                    beta1=beta1,
                    beta2=BETA2,
                    lr=rate * group.rate,
                    weight_decay=self.weight_decay * group.decay,
                    eps=EPSILON,
                    maximize=False,
                )
            else:
                buffers: list[Tensor | None] = list(means)
                sgd(
                    tensors,
                    gradients,
                    buffers,
                    fused=True,
                    weight_decay=self.weight_decay * group.decay,
                    momentum=MOMENTUM,
                    lr=rate * group.rate,
                    dampening=0.0,
                    nesterov=True,
                    maximize=False,
                )

    def state(self) -> dict[str, Tensor]:
        """All that the next step depends on besides the weights, by name."""
        named = {}
        for place, p in enumerate(self.parameters):
            for name in ("means", "squares", "steps"):
                if id(p) in getattr(self, name):
                    named[f"{place}.{name}"] = getattr(self, name)[id(p)]
        return named

    def load(self, state: dict[str, Tensor]) -> None:
        """The inverse of `state`."""
        for place, p in enumerate(self.parameters):
            for name in ("means", "squares", "steps"):
                if id(p) in getattr(self, name):
                    getattr(self, name)[id(p)].copy_(state[f"{place}.{name}"])


def one_cycle(step: int, total: int, warmup: float) -> tuple[float, float]:
    """The rate as a share of its peak, and beta1, at `step` of `total` (0 ≤ step < total).

    The rate rises for the share `warmup` of all steps and falls for the rest, both along a
    cosine, while beta1 falls and rises (Smith & Topin 2019, arXiv:1708.07120).
    """
    top, end = warmup * total - 1, total - 1
    if step <= top:
        done = step / top
        return _cosine(FIRST, 1.0, done), _cosine(BETA1_REST, BETA1_PEAK, done)
    done = (step - top) / (end - top)
    return _cosine(1.0, LAST, done), _cosine(BETA1_PEAK, BETA1_REST, done)


def cosine(step: int, total: int, warmup: float) -> tuple[float, float]:
    """A linear warmup, then half a cosine to nothing (Loshchilov & Hutter 2017,
    arXiv:1608.03983); beta1 stays.
    """
    rising = max(1, round(warmup * total))
    if step < rising:
        return (step + 1) / rising, BETA1
    return _cosine(1.0, 0.0, (step - rising) / max(1, total - rising)), BETA1


def plateau(step: int, total: int, warmup: float, val_losses: Sequence[float]) -> float:
    """A linear warmup, then the peak, cut by PLATEAU_FACTOR whenever the validation loss has not
    improved for PLATEAU_EPOCHS epochs: a function of the losses so far, in order.
    """
    share, best, since = 1.0, math.inf, 0
    for loss in val_losses:
        since = 0 if loss < best else since + 1
        best = min(best, loss)
        if since == PLATEAU_EPOCHS:
            share, since = share * PLATEAU_FACTOR, 0
    return share * min(1.0, (step + 1) / max(1.0, warmup * total))


def _cosine(start: float, end: float, done: float) -> float:
    return end + (start - end) / 2 * (math.cos(math.pi * done) + 1)
