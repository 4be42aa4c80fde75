"""AdamW over plain lists of tensors, and the one-cycle schedule as a function of the step.

PyTorch's optimiser class imports its whole compiler at the first step, a second that a head's
training does not have; the update itself is its public function, called here. A schedule that is
a function and a state of named tensors are also all that a resumed run needs.
"""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

BETA2, EPSILON = 0.999, 1e-8
# One-cycle: the least and the last rate as shares of the peak, and the ends of beta1.
FIRST, LAST = 1 / 25, 1 / 250_000
BETA1_REST, BETA1_PEAK = 0.95, 0.85


class AdamW:
    """AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101) in one fused pass over the weights."""

    def __init__(self, parameters: Iterable[nn.Parameter], weight_decay: float):
        self.parameters = list(parameters)
        self.weight_decay = weight_decay
        self.means = [torch.zeros_like(p) for p in self.parameters]
        self.squares = [torch.zeros_like(p) for p in self.parameters]
        self.steps = [torch.zeros((), device=p.device) for p in self.parameters]

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self, rate: float, beta1: float = 0.9) -> None:
        """Move each parameter that has a gradient, at this learning rate."""
        moved = [i for i, parameter in enumerate(self.parameters) if parameter.grad is not None]
        gradients = [g for p in self.parameters if (g := p.grad) is not None]

        def chosen(of: list[Tensor]) -> list[Tensor]:
            return [of[i] for i in moved]

        adamw(
            [self.parameters[i] for i in moved],
            gradients,
            chosen(self.means),
            chosen(self.squares),
            [],
            chosen(self.steps),
            fused=True,
            amsgrad=False,
            beta1=beta1,
            beta2=BETA2,
            lr=rate,
            weight_decay=self.weight_decay,
            eps=EPSILON,
            maximize=False,
        )


def one_cycle(step: int, total: int, warm_up: float) -> tuple[float, float]:
    """The rate as a share of its peak, and beta1, at `step` of `total` (0 ≤ step < total).

    The rate rises for the share `warm_up` of all steps and falls for the rest, both along a
    cosine, while beta1 falls and rises (Smith & Topin 2019, arXiv:1708.07120).
    """
    top, end = warm_up * total - 1, total - 1
    if step <= top:
        done = step / top
        return _cosine(FIRST, 1.0, done), _cosine(BETA1_REST, BETA1_PEAK, done)
    done = (step - top) / (end - top)
    return _cosine(1.0, LAST, done), _cosine(BETA1_PEAK, BETA1_REST, done)


def _cosine(start: float, end: float, done: float) -> float:
    return end + (start - end) / 2 * (math.cos(math.pi * done) + 1)
