"""AdamW and SGD over plain lists of tensors, and schedules as functions of the step.

torch.optim's classes import PyTorch's compiler at the first step: most of a second,
which training a head does not have (measured in docs/recipes.md, "Optimizer"). Their updates are
public functions of PyTorch, called here. Schedules that are functions, and a state of named
tensors, are also all that a resumed run needs.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw
from torch.optim.sgd import sgd

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
MOMENTUM = 0.9
# One cycle: the first and the last rate as fractions of the peak, and beta1 at both ends.
FIRST_RATE, LAST_RATE = 1 / 25, 1 / 250_000
BETA1_REST, BETA1_PEAK = 0.95, 0.85
# Plateau: multiply the rate by this after so many epochs without a lower validation loss.
PLATEAU_FACTOR, PLATEAU_EPOCHS = 0.3, 2

Schedule = Callable[[int], tuple[float, float]]  # learning rate and beta1 of a step, from 0


@dataclass(frozen=True)
class Group:
    """Parameters with `rate` times the usual learning rate and `decay` times the weight decay."""

    parameters: Sequence[nn.Parameter]
    rate: float = 1.0
    decay: float = 1.0


class Optimizer:
    """`adamw` (Loshchilov & Hutter 2019, arXiv:1711.05101) or `sgd` with Nesterov momentum, each
    fused into one pass over the weights. Weight decay is decoupled in AdamW only.
    """

    # torch.amp.GradScaler leaves to a fused optimizer to skip a step whose gradients overflowed;
    # it sets `found_inf`, a tensor of 1 for such a step, so that the host need not wait for it.
    _step_supports_amp_scaling = True
    grad_scale: Tensor | None = None
    found_inf: Tensor | None = None

    def __init__(self, groups: Sequence[Group], kind: str = "adamw", weight_decay: float = 0.0):
        self.groups, self.kind, self.weight_decay = groups, kind, weight_decay
        self.parameters = [p for group in groups for p in group.parameters]
        self.param_groups = [{"params": self.parameters}]  # where GradScaler looks for gradients
        self.means = {id(p): torch.zeros_like(p) for p in self.parameters}
        self.squares = {id(p): torch.zeros_like(p) for p in self.parameters if kind == "adamw"}
        self.steps = {id(p): torch.zeros((), device=p.device) for p in self.parameters}

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self, rate: float, beta1: float = BETA1) -> None:
        """Update every parameter that has a gradient. `beta1` is AdamW's."""
        for group in self.groups:
            moved = [p for p in group.parameters if p.grad is not None]
            if not moved:
                continue
            if self.kind == "adamw":
                self._adamw(moved, rate * group.rate, self.weight_decay * group.decay, beta1)
            else:
                self._sgd(moved, rate * group.rate, self.weight_decay * group.decay)

    def _adamw(self, moved: list[nn.Parameter], rate: float, decay: float, beta1: float) -> None:
        adamw(
            list[Tensor](moved),
            [p.grad for p in moved if p.grad is not None],
            [self.means[id(p)] for p in moved],
            [self.squares[id(p)] for p in moved],
            [],
            [self.steps[id(p)] for p in moved],
            fused=True,
            grad_scale=self.grad_scale,
            found_inf=self.found_inf,
            amsgrad=False,
            beta1=beta1,
            beta2=BETA2,
            lr=rate,
            weight_decay=decay,
            eps=EPSILON,
            maximize=False,
        )

    def _sgd(self, moved: list[nn.Parameter], rate: float, decay: float) -> None:
        sgd(
            list[Tensor](moved),
            [p.grad for p in moved if p.grad is not None],
            [self.means[id(p)] for p in moved],
            fused=True,
            grad_scale=self.grad_scale,
            found_inf=self.found_inf,
            weight_decay=decay,
            momentum=MOMENTUM,
            lr=rate,
            dampening=0.0,
            nesterov=True,
            maximize=False,
        )

    def state(self) -> dict[str, Tensor]:
        """What the next step depends on besides the weights, by name."""
        return {
            f"{number}.{name}": tensors[id(parameter)]
            for number, parameter in enumerate(self.parameters)
            for name, tensors in self._tensors().items()
            if tensors
        }

    def load(self, state: dict[str, Tensor]) -> None:
        """Continue from what `state` gave for the same parameters."""
        for name, tensor in self.state().items():
            tensor.copy_(state[name])

    def _tensors(self) -> dict[str, dict[int, Tensor]]:
        return {"means": self.means, "squares": self.squares, "steps": self.steps}


def schedule(
    kind: str, peak: float, warmup: float, total: int, val_losses: Sequence[float]
) -> Schedule:
    """The one-cycle, cosine or plateau schedule of a fit of `total` steps.

    The rate rises to `peak` during the fraction `warmup` of the steps, two at least. `val_losses`
    are of the epochs so far: plateau falls by them.
    """
    total = max(3, total)
    warmup = max(warmup, 2 / total)

    def at(step: int) -> tuple[float, float]:
        if kind == "plateau":
            fraction, beta1 = plateau(step, total, warmup, val_losses)
        else:
            shape = {"one-cycle": one_cycle, "cosine": cosine}[kind]
            fraction, beta1 = shape(step, total, warmup)
        return peak * fraction, beta1

    return at


def one_cycle(step: int, total: int, warmup: float) -> tuple[float, float]:
    """The rate as a fraction of its peak, and beta1, at `step` of `total` (0 ≤ step < total).

    The rate rises during the fraction `warmup` of the steps and falls during the rest, both along
    a cosine, while beta1 falls and rises (Smith & Topin 2019, arXiv:1708.07120).
    """
    top, end = warmup * total - 1, total - 1
    if step <= top:
        done = step / top
        return _cosine(FIRST_RATE, 1.0, done), _cosine(BETA1_REST, BETA1_PEAK, done)
    done = (step - top) / (end - top)
    return _cosine(1.0, LAST_RATE, done), _cosine(BETA1_PEAK, BETA1_REST, done)


def cosine(step: int, total: int, warmup: float) -> tuple[float, float]:
    """As `one_cycle`: a linear warmup, then half a cosine down to 0 (Loshchilov & Hutter 2017,
    arXiv:1608.03983); beta1 stays.
    """
    rising = max(1, round(warmup * total))
    if step < rising:
        return (step + 1) / rising, BETA1
    return _cosine(1.0, 0.0, (step - rising) / max(1, total - rising)), BETA1


def plateau(
    step: int, total: int, warmup: float, val_losses: Sequence[float]
) -> tuple[float, float]:
    """As `one_cycle`: a linear warmup, then the peak, multiplied by PLATEAU_FACTOR each time that
    PLATEAU_EPOCHS epochs have not lowered the validation loss; beta1 stays.
    """
    fraction, best, since = 1.0, math.inf, 0
    for loss in val_losses:
        since = 0 if loss < best else since + 1
        best = min(best, loss)
        if since == PLATEAU_EPOCHS:
            fraction, since = fraction * PLATEAU_FACTOR, 0
    return fraction * min(1.0, (step + 1) / max(1.0, warmup * total)), BETA1


def _cosine(start: float, end: float, done: float) -> float:
    return end + (start - end) / 2 * (math.cos(math.pi * done) + 1)
