"""Mixup and CutMix: batches blended with themselves, and their labels likewise."""

import torch
from torch import Tensor


def mixed(x: Tensor, labels: Tensor, mixup: float, cutmix: float) -> tuple[Tensor, Tensor, float]:
    """The batch blended with a shuffled copy of itself, that copy's labels (N,), and the fraction
    (0..1) that is the batch's own. The loss is blended in the same proportion.

    `mixup` and `cutmix` are the alphas of their Beta distributions, 0 for none; with both, chance
    picks one for each batch. Mixup (Zhang et al. 2018, arXiv:1710.09412) blends any (N, …); CutMix
    (Yun et al. 2019, arXiv:1905.04899) pastes a box into images, (N, H, W, 3).
    """
    cut = cutmix > 0 and x.ndim == 4 and (not mixup or float(torch.rand(())) < 0.5)
    if not cut and not mixup:
        return x, labels, 1.0
    alpha = torch.tensor(cutmix if cut else mixup)
    fraction = float(torch.distributions.Beta(alpha, alpha).sample())
    # Drawn on the CPU, from the random state that checkpoints hold.
    order = torch.randperm(len(x)).to(x.device, non_blocking=True)
    x = x.float()
    if cut:
        height, width = x.shape[1:3]
        tall, wide = (round(side * (1 - fraction) ** 0.5) for side in (height, width))
        top = int(torch.randint(0, height - tall + 1, ()))
        left = int(torch.randint(0, width - wide + 1, ()))
        other = x[order, top : top + tall, left : left + wide]
        x = x.clone()
        x[:, top : top + tall, left : left + wide] = other
        fraction = 1 - tall * wide / (height * width)
    else:
        x = fraction * x + (1 - fraction) * x[order]
    return x, labels[order], fraction
