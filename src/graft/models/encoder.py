"""Encoder: pixels to one vector an image. The half of a classifier that can be frozen."""

from typing import Any

import torch
from torch import Tensor, nn

from graft.data.decode import Preprocess

# Blocks of one resolution say much the same; a transformer's last four are the custom of linear
# evaluation (Caron et al. 2021, arXiv:2104.14294).
LAST_BLOCKS = 4


class Encoder(nn.Module):
    """Normalizes pixels, runs a body and returns features: (N, H, W, 3) uint8 to (N, D) float32.

    `body` is a network with timm's `forward_features` and `forward_head`. With `taps`, the
    features are the mean, root mean square and maximum over positions of every stage's output:
    the earlier stages hold what the last layers, shaped by the classes they were trained for,
    have thrown away (Head2Toe: Evci et al. 2022, arXiv:2201.03529; measured in docs/recipes.md).
    Without taps, or where a family's stages are not known, they are the body's own final
    features. `mirrored`: in inference mode they are the mean over the image and its mirror
    image, so that under a linear head the logits are, too.
    """

    def __init__(self, body: Any, preprocess: Preprocess, taps: bool, mirrored: bool = False):
        super().__init__()
        self.mirrored = mirrored
        self.body = body
        self.input_shape = (preprocess.height, preprocess.width, 3)
        self.register_buffer("mean", torch.tensor(preprocess.mean) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(preprocess.std) * 255, persistent=False)
        self._maps: list[Tensor] = []
        self._channels_last = getattr(body, "output_fmt", "NCHW") == "NHWC"
        self.tapped: list[nn.Module] = []
        self._hooks: list[Any] = []
        self.tap(stages(body) if taps else [])

    def tap(self, modules: list[nn.Module]) -> None:
        """Take the features from these modules' outputs; from none: the final features."""
        for hook in self._hooks:
            hook.remove()
        self.tapped = modules
        self._hooks = [module.register_forward_hook(self._keep) for module in modules]

    def forward(self, pixels: Tensor) -> Tensor:
        """Features of a batch of pixels."""
        x = self.normalized(pixels)
        if self.mirrored and not self.training:
            return (self.features(x) + self.features(x.flip(3))) / 2
        return self.features(x)

    def normalized(self, pixels: Tensor) -> Tensor:
        """(N, H, W, 3) pixels to (N, 3, H, W) float32, as the body takes them."""
        mean, std = self.get_buffer("mean"), self.get_buffer("std")
        # A view, not a copy: channels last is how the pixels lie in memory already.
        return ((pixels.float() - mean) / std).permute(0, 3, 1, 2)

    def features(self, x: Tensor) -> Tensor:
        """Features of what the body takes: (N, 3, H, W) normalized, or what a cut hands over."""
        self._maps.clear()
        x = self.body.forward_features(x)
        if not self._maps:
            final: Tensor = self.body.forward_head(x, pre_logits=True)
            return final.float()
        features = torch.cat([pooled(m, self._channels_last) for m in self._maps], dim=1)
        self._maps.clear()
        return features

    def _keep(self, module: nn.Module, inputs: Any, output: Tensor) -> None:
        self._maps.append(output)


def stages(body: nn.Module) -> list[nn.Module]:
    """The stages of a network in order, as timm's families name them.

    MobileNet, EfficientNet and base_cnn: `blocks`; ResNet: layer1..4; ConvNeXt and others:
    `stages`; Swin: `layers`; ViT, DeiT, DINOv2: the last four of `blocks`; VGG: the poolings that
    end its stages; Inception v3: the last block of each resolution. A family that keeps its
    stages elsewhere (DenseNet, HRNet) gives none, and its final features stand alone.
    """
    for name in ("stages", "layers", "blocks"):
        found = getattr(body, name, None)
        if isinstance(found, nn.Sequential | nn.ModuleList):
            transformer = name == "blocks" and hasattr(body, "cls_token")
            return list(found)[-LAST_BLOCKS:] if transformer else list(found)
    convolutions = getattr(body, "features", None)
    if isinstance(convolutions, nn.Sequential) and isinstance(convolutions[-1], nn.MaxPool2d):
        return [module for module in convolutions if isinstance(module, nn.MaxPool2d)]
    for names in (tuple(f"layer{i}" for i in range(1, 5)), ("Mixed_5d", "Mixed_6e", "Mixed_7c")):
        if all(hasattr(body, name) for name in names):
            return [getattr(body, name) for name in names]
    return []


def pooled(x: Tensor, channels_last: bool = False) -> Tensor:
    """Mean, root mean square and maximum over positions, (N, 3·C) float32.

    `x` is (N, C, h, w), or (N, h, w, C) with `channels_last`, or (N, T, C) for tokens.
    """
    x = x.float()
    dims = (1,) if x.ndim == 3 else (1, 2) if channels_last else (2, 3)
    return torch.cat([x.mean(dims), x.square().mean(dims).sqrt(), x.amax(dims)], dim=1)
