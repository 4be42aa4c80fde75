"""Resize and center crop inside a graph, as Pillow does them for `graft.data.decode.center_view`.

Runtimes differ in their own Resize operators, so the image is multiplied by two matrices of
weights instead, (height, H) and (W, width), computed from H and W by plain operations. Pillow
rounds to 8 bits after the first product and after the second, and so does the graph.

All that depends on H and W alone is computed in whole numbers below 2**31 for any image of at
most 8 million pixels a side: OpenVINO computes these in 32 bits.
"""

import math
from collections.abc import Callable

import PIL
import torch
from torch import Tensor, nn

from graft.data.decode import ELONGATED, Preprocess, resized_shorter_side

# Pillow's weights are whole multiples of this.
STEP = 2.0**-22
# Since this version Pillow takes columns before rows where that shortens the image much more.
COLUMNS_FIRST = 13


class CenterView(nn.Module):
    """Upright images to a network's input: (N, H, W, 3) uint8 to (N, 3, height, width) float32 of
    whole numbers in 0..255, for any H and W.

    `columns_first`: whether Pillow ever takes columns before rows (see COLUMNS_FIRST).
    """

    def __init__(self, preprocess: Preprocess, columns_first: bool | None = None):
        super().__init__()
        self.preprocess = preprocess
        if columns_first is None:
            columns_first = int(PIL.__version__.partition(".")[0]) >= COLUMNS_FIRST
        self.columns_first = columns_first

    def forward(self, image: Tensor) -> Tensor:
        """The center views of a batch of images of one size."""
        fed = self.preprocess
        height, width = _whole(image.shape[1]), _whole(image.shape[2])
        new_height, new_width = _resized(height, width, fed)
        rows = weights(torch.arange(image.shape[1]), height, new_height, fed.height, fed)
        columns = weights(torch.arange(image.shape[2]), width, new_width, fed.width, fed)
        planes = image.permute(0, 3, 1, 2)
        if not self.columns_first:
            return _by_rows(planes, rows, columns)
        first = _columns_first(height, width, new_height, new_width, fed)
        # Both orders are in the graph; the one that is not wanted computes on a single row or
        # column, so that it costs nothing.
        some = _first(torch.where(first, torch.ones_like(height), height))
        by_rows = _by_rows(planes.index_select(2, some), rows.index_select(1, some), columns)
        some = _first(torch.where(first, width, torch.ones_like(width)))
        few = planes.index_select(3, some).transpose(2, 3)
        by_columns = _by_rows(few, columns.index_select(1, some), rows).transpose(2, 3)
        return torch.where(first, by_columns, by_rows)


def _whole(size: int) -> Tensor:
    # A tensor, not a symbol: PyTorch would reason about every comparison of symbols for minutes.
    return torch.scalar_tensor(size, dtype=torch.int64)


def _first(count: Tensor) -> Tensor:
    """0, 1, … count - 1."""
    number = count.item()
    torch._check(number >= 1)
    return torch.arange(number)


def _by_rows(planes: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """(N, 3, H, W) to (N, 3, h, w), each row first; `rows` (h, H), `columns` (w, W)."""
    narrow = _rounded(torch.matmul(planes.float(), columns.transpose(0, 1)))
    return _rounded(torch.matmul(rows, narrow))


def _rounded(values: Tensor) -> Tensor:
    return torch.clamp(torch.floor(values + 0.5), 0.0, 255.0)


def weights(index: Tensor, size: Tensor, resized: Tensor, kept: int, fed: Preprocess) -> Tensor:
    """(kept, size) float32: how much each of `size` pixels counts for each of the `kept` in the
    center, after a resize to `resized` pixels. `index` is 0, 1, … size - 1.
    """
    before = resized - kept
    half = _halved(before)
    # Python rounds the half pixel to the even number.
    left = half + (before - 2 * half) * (half - 2 * _halved(half))
    # Relative to the middles of both: output j is at `place` / 2 from the middle of the resized
    # image, and pixel x at `pixel` / 2 from that of the image.
    place = 2 * torch.arange(kept) + (1 - kept + 2 * left - before)
    pixel = 2 * index + (1 - size)
    # place · size / resized, as a whole number and a rest, so that large images lose nothing.
    product = place * size
    whole = torch.floor(product.float() / resized.float()).long()
    rest = (product - whole * resized).float() / resized.float()
    distance = (pixel[None] - whole[:, None]).float() - rest[:, None]
    shrunk = torch.clamp(resized.float() / size.float(), max=1.0)
    raw = FILTERS[fed.interpolation](distance.abs() * (0.5 * shrunk))
    normal = raw / raw.sum(1, keepdim=True)
    return torch.floor(normal * (1 / STEP) + 0.5) * STEP


def _bilinear(x: Tensor) -> Tensor:
    return torch.clamp(1 - x, min=0.0)


def _bicubic(x: Tensor) -> Tensor:
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros_like(x)))


def _lanczos(x: Tensor) -> Tensor:
    safe = torch.clamp(x, min=1e-4) * math.pi
    value = torch.sin(safe) * torch.sin(safe / 3) * 3 / (safe * safe)
    return torch.where(x < 3, value, torch.zeros_like(x))


FILTERS: dict[str, Callable[[Tensor], Tensor]] = {
    "bilinear": _bilinear,
    "bicubic": _bicubic,
    "lanczos": _lanczos,
}


def _resized(height: Tensor, width: Tensor, fed: Preprocess) -> tuple[Tensor, Tensor]:
    """The size that the whole image is resized to, as in center_view."""
    if fed.resize == "squash":
        return _whole(int(fed.height / fed.crop)), _whole(int(fed.width / fed.crop))
    side = resized_shorter_side(fed)
    shorter = torch.minimum(height, width)
    return _quotient(height * side, shorter), _quotient(width * side, shorter)


def _columns_first(
    height: Tensor, width: Tensor, new_height: Tensor, new_width: Tensor, fed: Preprocess
) -> Tensor:
    """Whether Pillow takes columns first: where height shrinks by more than twice the pixels that
    width does.
    """
    limit = ELONGATED * resized_shorter_side(fed)
    # Of an elongated image the center alone is resampled.
    long = torch.maximum(new_height, new_width) > limit
    target_height = torch.where(long, torch.full_like(height, fed.height), new_height)
    target_width = torch.where(long, torch.full_like(width, fed.width), new_width)
    return height - target_height > 2 * torch.clamp(width - target_width, min=0)


def _quotient(a: Tensor, b: Tensor) -> Tensor:
    """A // b of whole numbers above 0. By floats, then put right: runtimes round differently."""
    found = torch.floor(a.float() / b.float()).long()
    found = torch.where(found * b > a, found - 1, found)
    return torch.where((found + 1) * b <= a, found + 1, found)


def _halved(number: Tensor) -> Tensor:
    """Number // 2; exact below 2**24 halves, and no image that large is fed."""
    return torch.floor(number.float() * 0.5).long()
