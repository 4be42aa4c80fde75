"""Weights from before and after training, mixed (WiSE-FT: Wortsman et al. 2022, arXiv:2109.01903).

A network that was fine-tuned on some images often does worse on others than it did before. Between
the two sets of weights lie networks that are good at both.
"""

from collections.abc import Callable, Mapping

from torch import Tensor, nn

from graft.evaluation.calibration import calibrated_loss
from graft.models.ranks import rank_0
from graft.models.runtime import Runtime
from graft.training.loop import Batches, logits_of

# The share of the trained weights, in steps of a tenth.
SHARES = tuple(step / 10 for step in range(11))


def mix_weights(
    model: nn.Module, before: Mapping[str, Tensor], val: Callable[[], Batches], runtime: Runtime
) -> str:
    """Set the model to the mixture of `before`, its state before training, and its own weights
    that has the lowest calibrated loss on val; of equal ones that with less of its own.

    Returns what was found, for people.
    """
    after = {name: value.detach().clone() for name, value in model.state_dict().items()}
    losses, right = [], []
    for share in SHARES:
        model.load_state_dict(mixture(before, after, share))
        logits, labels = logits_of(model, val(), runtime)
        losses.append(calibrated_loss(logits, labels))
        right.append(float((logits.argmax(1) == labels).mean()))
    best = rank_0(runtime, lambda: min(range(len(SHARES)), key=losses.__getitem__))
    model.load_state_dict(mixture(before, after, SHARES[best]))
    return (
        f"WiSE-FT: {SHARES[best]:.0%} of the trained weights and the rest of the zero-shot ones; "
        f"on validation, loss {losses[best]:.3f} and accuracy {right[best]:.1%}, against "
        f"{losses[0]:.3f} and {right[0]:.1%} zero-shot, {losses[-1]:.3f} and {right[-1]:.1%} "
        "trained"
    )


def mixture(
    before: Mapping[str, Tensor], after: Mapping[str, Tensor], share: float
) -> dict[str, Tensor]:
    """`share` of one state and the rest of the other, tensor by tensor; counters are the last's."""
    return {
        name: value.lerp(before[name].to(value.device), 1 - share)
        if value.is_floating_point()
        else value
        for name, value in after.items()
    }
