"""The page of `graft summary --html`: a network's stages as boxes, its receptive fields to scale,
and every layer with its arithmetic.
"""

import math
from dataclasses import dataclass
from pathlib import Path

from graft.explanation.layer_table import NetworkSummary
from graft.explanation.layer_text import OPTIMIZERS, Row, same, sees, short, size
from graft.explanation.network_layer import Layer
from graft.report.templates import render
from graft.utils.user_files import write_page

TALL, WIDE = 120, 15  # pixels of a box as high as the image, and for each doubling of channels
SIDE = 300  # the image on which receptive fields are drawn
MOST_FIELDS = 8


@dataclass(frozen=True)
class Box:
    """A stage of the network: the size of the box is that of its output."""

    name: str
    kind: str
    shape: str
    height: float
    width: float


@dataclass(frozen=True)
class Square:
    """A receptive field on the image, in the drawing's own units."""

    name: str
    text: str
    x: float
    y: float
    width: float
    height: float
    hue: int


def write_summary(page: Path, summary: NetworkSummary, batch: int = 1) -> None:
    """Write a self-contained page with a network's layers; memory is for `batch` images."""
    rows = summary.rows()
    rows_size, columns_size = summary.image_size
    text = render(
        "summary_page.html",
        summary=summary,
        rows=rows,
        boxes=_boxes(summary, rows),
        squares=_squares(summary, rows),
        side=SIDE,
        tall=SIDE * rows_size / columns_size,
        memory=summary.memory(batch),
        batch=batch,
        optimizer=OPTIMIZERS.get(summary.kept.optimizer, summary.kept.optimizer),
        largest=max([*(row.parameters for row in rows), 1]),
        costliest=max([*(row.multiply_adds for row in rows), 1]),
        by=lambda shape: " × ".join(f"{each:,}" for each in shape),
        same=same,
        sees=sees,
        short=short,
        bytes=size,
    )
    write_page(page, text)


def _boxes(summary: NetworkSummary, rows: list[Row]) -> list[Box]:
    """A box where the output's shape changes."""
    high, wide = summary.image_size
    first = Box("image", "", f"3 × {high} × {wide}", TALL, _channels(3))
    boxes, before = [first], ""
    for row in rows:
        layer = row.last
        shape = " × ".join(f"{each:,}" for each in layer.output_shape)
        if not layer.output_shape or shape == before or layer.kind == "Normalize":
            continue
        before = shape
        places = [s for i, s in enumerate(layer.output_shape) if i != layer.channels]
        side = math.sqrt(math.prod(places)) if places else 1
        height = max(TALL * side / math.sqrt(high * wide), 5)
        width = _channels(layer.output_shape[layer.channels])
        boxes.append(Box(row.name, row.kind, shape, height, width))
    return boxes


def _channels(count: int) -> float:
    return 6 + WIDE * math.log2(max(count, 1)) / 2


def _squares(summary: NetworkSummary, rows: list[Row]) -> list[Square]:
    """What the middle position of each row sees, the largest first; one for each size."""
    scale = SIDE / summary.image_size[1]
    found: dict[str, tuple[str, tuple[int, ...], bool]] = {}
    for row in rows:
        layer = row.last
        if layer.sees is not None and layer.receptive_field != 0 and layer.kind != "Normalize":
            found.setdefault(sees(layer), (row.name, _middle(layer), layer.sees.size is not None))
    chosen = list(found.items())
    if len(chosen) > MOST_FIELDS:
        step = (len(chosen) - 1) / (MOST_FIELDS - 1)
        chosen = [chosen[round(i * step)] for i in range(MOST_FIELDS)]
    squares = []
    for i, (text, (name, box, regular)) in enumerate(chosen):
        left, top, right, bottom = (each * scale for each in box)
        hue = 168 + round(180 * i / max(len(chosen) - 1, 1))
        wide, high = box[2] - box[0], box[3] - box[1]
        words = f"{text.removesuffix(' px')} pixels a side"
        if text == "image":
            words = "the whole image"
        elif not regular:
            words = f"up to {words}, {high} × {wide} here"
        elif text != f"{max(wide, high):,} px":
            words += f", {high} × {wide} of them on the image"
        elif wide != high:
            words = f"{high} × {wide} pixels"
        places = (left, top, right - left, bottom - top)
        squares.append(Square(name, words, *places, hue))
    return squares[::-1]


def _middle(layer: Layer) -> tuple[int, ...]:
    field = layer.sees
    if field is None:
        return (0, 0, 0, 0)
    return field.at(*(n // 2 for n in field.boxes.shape[:-1]))
