"""Networks trained from pixels."""

import torch
from torch import Tensor, nn


class BaseCNN(nn.Module):
    """Three convolution blocks, the network that every course begins with.

    Block i: 3×3 convolution (padding 1, no bias), batch normalisation, ReLU, twice, then 2×2
    max pooling; 32, 64 and 128 channels. An input of (N, 3, H, W) becomes (N, 128, H/8, W/8),
    and the mean over all positions gives (N, 128). About 0.29 million parameters; any size from
    8 × 8 pixels on.
    """

    CHANNELS = (32, 64, 128)

    def __init__(self) -> None:
        super().__init__()
        blocks = []
        before = 3
        for channels in self.CHANNELS:
            blocks.append(
                nn.Sequential(
                    *_convolution(before, channels),
                    *_convolution(channels, channels),
                    nn.MaxPool2d(2),
                )
            )
            before = channels
        self.blocks = nn.Sequential(*blocks)
        self.num_features = before

    def forward_features(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, 128, H/8, W/8)."""
        return torch.as_tensor(self.blocks(x))

    def forward_head(self, x: Tensor, pre_logits: bool = True) -> Tensor:
        """(N, C, h, w) to (N, C): the mean over positions. The names are timm's."""
        return x.mean((2, 3))


def _convolution(before: int, channels: int) -> list[nn.Module]:
    return [
        nn.Conv2d(before, channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
    ]
