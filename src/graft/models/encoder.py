"""Encoder: pixels to one vector an image. The half of a classifier that can be frozen."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graft.data.decode import Preprocess
from graft.errors import ModelError
from graft.models.sequence import (
    called,
    intermediates,
    sequence,
    stages,
    within,
)

# A mean square below this counts as it: its root is 0 in the cache.
LEAST = 1e-30


class Encoder(nn.Module):
    """Normalizes pixels, runs a body and returns features: (N, H, W, 3) uint8 to (N, D) float32.

    `body` is a network with timm's `forward_features` and `forward_head`. With `taps`, the
    features are the mean, root mean square and maximum over positions of every stage's output:
    the earlier stages hold what the last layers, shaped by the classes they were trained for,
    have thrown away (Head2Toe: Evci et al. 2022, arXiv:2201.03529; measured in docs/recipes.md).
    Without taps, or where a family's stages are not known, they are the body's own final
    features. `mirrored`: in inference mode they are the mean over the image and its mirror
    image, so that under a linear head the logits are, too. `embeds`: the features are what the
    body's own last layer gives, scaled to a length of 1 (the image embedding of CLIP).

    `ends` are the names of the modules whose outputs are pooled, and `order` those of the modules
    that run, in order: none after the last end, and none at all for a body that runs as a whole.
    `intermediates` is the number of stages whose outputs timm gives, where they do not run one
    after the other; else 0.

    Raises ModelError for a body that has stages which neither run so nor are given by timm.
    """

    def __init__(
        self,
        body: Any,
        preprocess: Preprocess,
        taps: bool,
        mirrored: bool = False,
        embeds: bool = False,
    ):
        super().__init__()
        self.mirrored, self.embeds = mirrored, embeds
        self.body = body
        self.input_shape = (preprocess.height, preprocess.width, 3)
        self.register_buffer("mean", torch.tensor(preprocess.mean) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(preprocess.std) * 255, persistent=False)
        self._channels_last = getattr(body, "output_fmt", "NCHW") == "NHWC"
        self.order: tuple[str, ...] = ()
        self.ends: tuple[str, ...] = ()
        self.intermediates = 0
        found = stages(body) if taps else []
        if not found:
            return
        if order := sequence(body, (3, preprocess.height, preprocess.width)):
            self.ends = tuple(within(body, stage, order)[-1] for stage in found)
            self.order = order[: order.index(self.ends[-1]) + 1]
        elif hasattr(body, "forward_intermediates"):
            self.intermediates = min(len(found), len(body.feature_info))
            self._channels_last = False  # timm turns them round
        else:
            raise ModelError(
                f"expected a network whose stages follow one another, {type(body).__name__} "
                "does something in between; choose another model (graft models)"
            )

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
        """Features (N, D) of normalized pixels (N, 3, H, W)."""
        if self.intermediates:
            return self.pooled(intermediates(self.body, x, self.intermediates))
        if not self.ends:
            return self.final(self.body.forward_features(x))
        return self.pooled(self.passed(x, self.order)[1])

    def passed(self, x: Tensor, names: Sequence[str]) -> tuple[Tensor, list[Tensor]]:
        """What comes of `x` after these modules, and the outputs of those that end a stage."""
        maps = []
        for name in names:
            x = called(self.body, name, x)
            if name in self.ends:
                maps.append(x)
        return x, maps

    def pooled(self, maps: Sequence[Tensor]) -> Tensor:
        """The features of these stages' outputs, one after the other."""
        return torch.cat([pooled(each, self._channels_last) for each in maps], dim=1)

    def final(self, x: Tensor) -> Tensor:
        """The body's own features (N, D), of the output of its `forward_features`."""
        features: Tensor = self.body.forward_head(x, pre_logits=not self.embeds)
        return F.normalize(features.float(), dim=1) if self.embeds else features.float()


def pooled(x: Tensor, channels_last: bool = False) -> Tensor:
    """Mean, root mean square and maximum over positions, (N, 3·C) float32.

    `x` is (N, C, h, w), or (N, h, w, C) with `channels_last`, or (N, T, C) for tokens.
    """
    x = x.float()
    dims = (1,) if x.ndim == 3 else (1, 2) if channels_last else (2, 3)
    # Of a channel that is 0 everywhere the root has no gradient, and one NaN spoils them all.
    root = x.square().mean(dims).clamp_min(LEAST).sqrt()
    return torch.cat([x.mean(dims), root, x.amax(dims)], dim=1)
