"""The halves of a split encoder: a frozen prefix, computed once a view, and a trained suffix."""

import math

import torch
from torch import Tensor, nn

from graft.errors import ModelError
from graft.models.backbone import Backbone
from graft.models.encoder import Encoder
from graft.models.sequence import POSITIONS, sequence
from graft.models.split_point import SplitPoint, order_of

# The two halves repeat the whole network's features but for rounding.
TOLERANCE = 1e-3
# What stays in inference mode in a pretrained body while it is trained.
STILL = (nn.modules.batchnorm._BatchNorm, nn.Dropout, nn.Dropout2d)


class Prefix(nn.Module):
    """Pixels to rows: (N, H, W, 3) uint8 to (N, M + D): the activation at the split point,
    flattened, and after it the features of the whole encoder as it was.
    """

    def __init__(self, encoder: Encoder, unit: str):
        super().__init__()
        self.encoder = encoder
        self.input_shape = encoder.input_shape
        order = order_of(encoder)
        at = order.index(unit)
        self.before, self.after = order[:at], order[at:]

    def forward(self, pixels: Tensor) -> Tensor:
        """Rows of a batch of pixels."""
        encoder = self.encoder
        activation, maps = encoder.passed(encoder.normalized(pixels), self.before)
        x, others = encoder.passed(activation, self.after)
        features = encoder.pooled(maps + others) if encoder.ends else encoder.final(x)
        return torch.cat([activation.flatten(1).float(), features], dim=1)


class Suffix(nn.Module):
    """What is trained: rows of a Prefix, (N, M + D), to features (N, D); with `split.unit` None
    the whole encoder, from pixels (N, H, W, 3) uint8.

    Takes the encoder over and drops what it does not run; the other weights keep their names.
    Dropout stays off, and BatchNorm keeps its statistics unless `moving`.
    """

    def __init__(self, encoder: Encoder, split: SplitPoint, moving: bool = False):
        super().__init__()
        self.still = (nn.Dropout, nn.Dropout2d) if moving else STILL
        self.encoder, self.unit, self.shape = encoder, split.unit, split.shape
        order = order_of(encoder)
        self.order = order[order.index(split.unit) :] if split.unit is not None else order
        width = _width(encoder) if split.unit is not None and encoder.ends else 0
        _drop_all_but(self.order, encoder)
        # The features of earlier stages come with the row.
        self.before = 0
        if width:
            with torch.no_grad():
                _, maps = encoder.passed(torch.zeros(1, *split.shape), self.order)
                self.before = width - encoder.pooled(maps).shape[1]

    def forward(self, rows: Tensor) -> Tensor:
        """Features of a batch of rows, or of pixels."""
        encoder = self.encoder
        if self.unit is None:
            return torch.as_tensor(encoder(rows))
        size = math.prod(self.shape)
        activation = rows[:, :size].float().view(-1, *self.shape)
        if activation.ndim == 4:
            activation = activation.contiguous(memory_format=torch.channels_last)
        x, maps = encoder.passed(activation, self.order)
        features = encoder.pooled(maps) if encoder.ends else encoder.final(x)
        return torch.cat([rows[:, size : size + self.before].float(), features], dim=1)

    def train(self, mode: bool = True) -> "Suffix":
        """Training mode, but for BatchNorm and dropout of a pretrained body."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, self.still):
                module.eval()
        return self

    def state(self) -> dict[str, Tensor]:
        """The trained weights and their buffers by name in the body."""
        return dict(self.encoder.body.state_dict())


def split_backbone(backbone: Backbone, split: SplitPoint) -> tuple[Prefix, Suffix]:
    """Both halves of a backbone, in inference mode; the split is before a unit.

    Raises ModelError unless they add up to the whole.
    """
    encoder, unit = backbone.build(), split.unit or ""
    suffix = Suffix(backbone.build(), split).eval()
    generator = torch.Generator().manual_seed(0)
    shape = (2, *encoder.input_shape)
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    with torch.inference_mode():
        whole = encoder(pixels)
        prefix = Prefix(encoder, unit).eval()
        again = suffix(prefix(pixels))
    if not torch.allclose(again, whole, rtol=TOLERANCE, atol=TOLERANCE * float(whole.abs().max())):
        raise ModelError(
            f"{backbone.name} cannot be split before {unit}: its two halves do not add up to the "
            "whole; use --unfreeze all or none"
        )
    return prefix, suffix


def _drop_all_but(kept: tuple[str, ...], encoder: Encoder) -> None:
    """Put a module without weights in the place of each that is not run: those before the split
    point, and those after the last stage that the features are taken from.
    """
    height, width, channels = encoder.input_shape
    for name in set(sequence(encoder.body, (channels, height, width))) - set(kept) - {POSITIONS}:
        holder, _, last = name.rpartition(".")
        setattr(encoder.body.get_submodule(holder), last, nn.Identity())


def _width(encoder: Encoder) -> int:
    with torch.no_grad():
        pixels = torch.zeros(1, *encoder.input_shape, dtype=torch.uint8)
        return int(encoder(pixels).shape[1])
