"""Head: features to logits."""

import math

import torch
from torch import Tensor, nn


class Dropout(nn.Module):
    """Dropout (Srivastava et al. 2014) whose draws are sixteen bits each, four to a random word.

    PyTorch's draws a float an element on one core, which took half the time of fitting a head.
    It drops `fraction`, to the nearest 1/65536. `shared`, where processes share a batch: how many
    rows that has, and which of them come here. All draw for all of it, as one process would.
    """

    shared: tuple[int, slice] | None = None

    def __init__(self, fraction: float):
        super().__init__()
        self.fraction = fraction

    def forward(self, x: Tensor) -> Tensor:
        """`x`, of any shape; while training with that fraction of it 0 and the rest scaled up."""
        if not self.training or not self.fraction:
            return x
        rows, own = self.shared or (len(x), slice(None))
        count = rows * math.prod(x.shape[1:])
        words = torch.empty((count + 3) // 4, dtype=torch.int64, device=x.device)
        draws = words.random_(-(2**63), None).view(torch.int16)[:count].view(rows, *x.shape[1:])
        draws = draws[own]
        kept = x * (draws >= round(self.fraction * 2**16) - 2**15)
        return kept.mul_(1 / (1 - self.fraction))  # in place: fresh memory costs more than the sum


class Head(nn.Module):
    """Standardize, one hidden layer, logits: (N, D) to (N, K) float32.

    `mean` and `std`, (D,), are of the training split's features and are saved with the weights.
    With `hidden` = 0 the head is linear.
    """

    def __init__(
        self, features: int, classes: int, hidden: int, dropout_in: float, dropout_hidden: float
    ):
        super().__init__()
        self.shape = {
            "features": features,
            "classes": classes,
            "hidden": hidden,
            "dropout_in": dropout_in,
            "dropout_hidden": dropout_hidden,
        }
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("std", torch.ones(features))
        layers: list[nn.Module] = [Dropout(dropout_in)]
        if hidden:
            layers += [nn.Linear(features, hidden), nn.ReLU(), Dropout(dropout_hidden)]
        layers.append(nn.Linear(hidden or features, classes))
        self.layers = nn.Sequential(*layers)

    def forward(self, features: Tensor) -> Tensor:
        """Logits of a batch of features of any float type."""
        standard = (features.float() - self.get_buffer("mean")) / self.get_buffer("std")
        return torch.as_tensor(self.layers(standard))

    def begin_at(self, weights: Tensor) -> None:
        """Set a linear head, whatever its statistics, so that its logits are weights @ features:
        weights (K, D).
        """
        last, std = self.layers[-1], self.get_buffer("std")
        with torch.no_grad():
            last.get_parameter("weight").copy_(weights * std)
            last.get_parameter("bias").copy_(weights @ self.get_buffer("mean"))

    def standardize(self, mean: Tensor, std: Tensor) -> None:
        """Set the statistics, (D,) each; a feature that hardly varies is not blown up."""
        self.get_buffer("mean").copy_(mean)
        self.get_buffer("std").copy_(std + 1e-3 * std.mean() + 1e-12)
