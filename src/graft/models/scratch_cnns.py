"""Networks trained from pixels."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class BaseCNN(nn.Module):
    """Three convolution blocks, the network that every course begins with.

    Block i: 3×3 convolution (padding 1, no bias), batch normalization, ReLU, twice, then 2×2
    max pooling; 32, 64 and 128 channels. An input of (N, 3, H, W) becomes (N, 128, H/8, W/8),
    and the mean over all positions gives (N, 128). About 0.29 million parameters; any size from
    8 × 8 pixels on.
    """

    CHANNELS = (32, 64, 128)
    MIRRORED = False

    def __init__(self) -> None:
        super().__init__()
        blocks = []
        before = 3
        for channels in self.CHANNELS:
            blocks.append(
                nn.Sequential(
                    *_convolution(before, channels),
                    nn.ReLU(),
                    *_convolution(channels, channels),
                    # Before the ReLU, which then has a quarter of the work: the largest of four
                    # is the same whichever comes first. A step takes three quarters of the time.
                    nn.MaxPool2d(2),
                    nn.ReLU(),
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


class DeepBlock(nn.Module):
    """Three 3×3 convolutions, each with batch normalization and GELU; 2×2 max pooling after the
    first; what the first gives is added before the last GELU (He et al. 2016, arXiv:1512.03385).
    """

    # Normalization has no gain of its own and forgets fast.
    FORGET = 0.4

    def __init__(self, before: int, channels: int) -> None:
        super().__init__()
        self.conv1 = _conv3(before, channels)
        self.pool = nn.MaxPool2d(2)
        self.norm1 = self._norm(channels)
        self.conv2 = _conv3(channels, channels)
        self.norm2 = self._norm(channels)
        self.conv3 = _conv3(channels, channels)
        self.norm3 = self._norm(channels)

    def _norm(self, channels: int) -> nn.BatchNorm2d:
        layer = nn.BatchNorm2d(channels, momentum=self.FORGET)
        layer.weight.requires_grad_(False)
        return layer

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, channels, H // 2, W // 2)."""
        first = nn.functional.gelu(self.norm1(self.pool(self.conv1(x))))
        x = nn.functional.gelu(self.norm2(self.conv2(first)))
        return nn.functional.gelu(self.norm3(self.conv3(x)) + first)


class DeepCNN(nn.Module):
    """Ten convolutions after Jordan's airbench (2024, arXiv:2404.00498), for images of 32 pixels
    and more.

    whiten: a 2×2 convolution whose 24 filters are the principal components of the training
    images' own 2×2 patches, both signs, scaled to unit variance: set once by `whiten`, then
    fixed but for its bias; GELU. Then three blocks (DeepBlock) of 64, 256 and 256 channels, each
    halving the sides. A ninth of the maximum over positions gives (N, 256). An input of
    (N, 3, H, W) becomes (N, 256, h, w) with h = (H - 1) // 8. About 3 million parameters.
    """

    CHANNELS = (64, 256, 256)
    # Trained on images and mirror images, it predicts by the mean over both.
    MIRRORED = True
    # Maxima are large: without it the first logits drown the labels, and training starts late.
    SCALE = 9.0
    # Biases learn at a higher rate.
    BIAS_RATE = 64.0
    # Training images that the whitening filters are computed from.
    WHITEN = 5000
    EPSILON = 5e-4

    def __init__(self) -> None:
        super().__init__()
        self.whitening = nn.Conv2d(3, 24, 2)
        self.whitening.weight.requires_grad_(False)
        blocks = []
        before = 24
        for channels in self.CHANNELS:
            blocks.append(DeepBlock(before, channels))
            before = channels
        self.act = nn.GELU()
        self.blocks = nn.Sequential(*blocks)
        self.num_features = before

    @torch.no_grad()
    def whiten(self, images: Iterable[Tensor]) -> None:
        """Set the first filters from blocks of normalized images, (N, 3, H, W) each."""
        products, count = torch.zeros(12, 12, dtype=torch.float64), 0
        for x in images:
            patches = x.unfold(2, 2, 1).unfold(3, 2, 1).permute(0, 2, 3, 1, 4, 5).reshape(-1, 12)
            patches = patches.double()
            products += patches.T @ patches
            count += len(patches)
        values, vectors = torch.linalg.eigh(products / count)
        filters = (vectors / (values + self.EPSILON).sqrt()).T.reshape(12, 3, 2, 2).float()
        self.whitening.weight.copy_(torch.cat([filters, -filters]))
        torch.nn.init.zeros_(torch.as_tensor(self.whitening.bias))

    def forward_features(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, 256, h, w)."""
        return torch.as_tensor(self.blocks(self.act(self.whitening(x))))

    def forward_head(self, x: Tensor, pre_logits: bool = True) -> Tensor:
        """(N, C, h, w) to (N, C): a ninth of the maximum over positions. The names are timm's."""
        return x.amax((2, 3)) / self.SCALE


SCRATCH: dict[str, type[BaseCNN] | type[DeepCNN]] = {"base_cnn": BaseCNN, "deep_cnn": DeepCNN}


def _convolution(before: int, channels: int) -> list[nn.Module]:
    return [
        nn.Conv2d(before, channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels),
    ]


def _conv3(before: int, channels: int) -> nn.Conv2d:
    layer = nn.Conv2d(before, channels, 3, padding=1, bias=False)
    # Begins as the identity on as many channels as there are (Zagoruyko & Komodakis 2017).
    nn.init.dirac_(layer.weight.data[:before])
    return layer
