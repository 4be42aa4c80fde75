"""Mixup and CutMix: batches blended with themselves, and the labels likewise."""

import torch
from torch import Tensor


def mixed(x: Tensor, labels: Tensor, mixup: float, cutmix: float) -> tuple[Tensor, Tensor, float]:
    """The batch blended with a shuffled copy of itself, that copy's labels, and the share in
    0..1 that is the batch's own.

    `mixup` and `cutmix` are the alphas of their Beta distributions, 0 for none; with both, each
    batch takes one by chance. Mixup (Zhang et al. 2018, arXiv:1710.09412) blends any (N, …);
    CutMix (Yun et al. 2019, arXiv:1905.04899) pastes a box into images, (N, H, W, 3).
    """
    cut = cutmix > 0 and x.ndim == 4 and (not mixup or float(torch.rand(())) < 0.5)
    if not cut and not mixup:
        return x, labels, 1.0
    alpha = torch.tensor(cutmix if cut else mixup)
    share = float(torch.distributions.Beta(alpha, alpha).sample())
    order = torch.randperm(len(x))
    x = x.float()
    if cut:
        height, width = x.shape[1:3]
        tall, wide = (round(side * (1 - share) ** 0.5) for side in (height, width))
        top = int(torch.randint(0, height - tall + 1, ()))
        left = int(torch.randint(0, width - wide + 1, ()))
        other = x[order, top : top + tall, left : left + wide]
        x = x.clone()
        x[:, top : top + tall, left : left + wide] = other
        share = 1 - tall * wide / (height * width)
    else:
        x = share * x + (1 - share) * x[order]
    return x, labels[order], share
