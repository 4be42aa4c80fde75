"""Head: features to logits."""

import torch
from torch import Tensor, nn


class Head(nn.Module):
    """Standardise, one hidden layer, logits: (N, D) to (N, K) float32.

    `mean` and `std`, (D,), are of the training part's features and are saved with the weights.
    With `hidden` = 0 the head is linear. Dropout: Srivastava et al. 2014.
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
        layers: list[nn.Module] = [nn.Dropout(dropout_in)]
        if hidden:
            layers += [nn.Linear(features, hidden), nn.ReLU(), nn.Dropout(dropout_hidden)]
        layers.append(nn.Linear(hidden or features, classes))
        self.layers = nn.Sequential(*layers)

    def forward(self, features: Tensor) -> Tensor:
        """Logits of a batch of features of any float type."""
        standard = (features.float() - self.get_buffer("mean")) / self.get_buffer("std")
        return torch.as_tensor(self.layers(standard))

    def standardise(self, mean: Tensor, std: Tensor) -> None:
        """Set the statistics, (D,) each; a feature that hardly varies is not blown up."""
        self.get_buffer("mean").copy_(mean)
        self.get_buffer("std").copy_(std + 1e-3 * std.mean() + 1e-12)
