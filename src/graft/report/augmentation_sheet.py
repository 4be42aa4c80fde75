"""The contact sheet of `graft augment`: what each preset makes of your own images."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from graft.choices import PRESETS
from graft.data.augmentation import Augmentation
from graft.data.dataset import Dataset, Example
from graft.data.decode import Pixels, Preprocess, UnusableImageError
from graft.data.distortion import augmentation
from graft.data.reader import stream
from graft.errors import DataError
from graft.utils.user_files import check_target, replacing_own

IMAGES, VIEWS = 4, 7
INK, MUTED = "#1d2723", "#5c6963"
HALF = (0.5, 0.5, 0.5)
NOTES = {
    "none": "no augmentation",
    "light": "crops of at least 70 % of the area",
    "standard": "crops of at least 35 % of the area (the default)",
    "strong": "crops of at least 20 %, one change of color or shape, sometimes an erased box",
}


def write_augmentation(
    dataset: Dataset,
    out: Path,
    flip: bool = True,
    size: int = 160,
    presets: Sequence[str] = PRESETS,
) -> Path:
    """Write a PNG with a block for each preset: a row for each image, first the plain view, then
    VIEWS augmented ones.

    Each row shows another class. Views are those that training sees, `size` pixels wide and high.
    Raises DataError if no image can be read, UsageError for an `out` that graft did not write.
    """
    check_target(out, (".png",), "--out")
    chosen = [_chosen(dataset, i) for i in range(min(IMAGES, len(dataset.classes)))]
    preprocess = Preprocess(size, size, HALF, HALF)
    blocks = []
    for preset in presets:
        made = augmentation(preset, flip)
        rows = [row for options in chosen if (row := _views(options, preprocess, made))]
        blocks.append((preset, rows))
    if not any(rows for _, rows in blocks):
        raise DataError(f"{dataset.source} holds no image that can be read")
    _draw(blocks, out, flip)
    return out


def _chosen(dataset: Dataset, i: int) -> list[Example]:
    # A few images of class i, in case one cannot be read.
    count = min(IMAGES, len(dataset.classes))
    label = dataset.classes[i * len(dataset.classes) // count]
    mine = [example for example in dataset.examples if example.label == label]
    return mine[len(mine) // 2 :][:3] + mine[:3]


def _views(options: Sequence[Example], preprocess: Preprocess, made: Augmentation) -> list[Pixels]:
    numbers = range(VIEWS + 1)
    for example in options:
        try:
            (loaded,) = stream([example.file], preprocess, lambda i, d: numbers, made)
        except UnusableImageError:
            continue
        if loaded.problem is None:
            return [loaded.views[number] for number in numbers]
    return []


@mpl.rc_context({"font.family": "DejaVu Sans", "text.color": INK})
def _draw(blocks: Sequence[tuple[str, list[list[Pixels]]]], out: Path, flip: bool) -> None:
    rows = max(len(found) for _, found in blocks)
    columns, title = VIEWS + 1, 0.42
    height = len(blocks) * (rows + title) + 0.15
    figure = Figure(figsize=(columns + 0.4, height), dpi=150)
    for b, (preset, found) in enumerate(blocks):
        top = height - 0.1 - b * (rows + title)
        figure.text(
            0.2 / (columns + 0.4), (top - 0.27) / height, preset, fontsize=12, weight="bold"
        )
        note = NOTES[preset] + ("; half of them mirrored" if flip and preset != "none" else "")
        figure.text(1.3 / (columns + 0.4), (top - 0.27) / height, note, fontsize=9, color=MUTED)
        for r, views in enumerate(found):
            strip = np.concatenate(
                [np.pad(v, ((2, 2), (2, 2), (0, 0)), constant_values=255) for v in views], axis=1
            )
            axes = figure.add_axes(
                (
                    0.2 / (columns + 0.4),
                    (top - title - r - 1) / height,
                    columns / (columns + 0.4),
                    1 / height,
                )
            )
            axes.imshow(strip)
            axes.axis("off")
    with replacing_own(out) as beside:
        figure.savefig(beside, format="png", metadata={"Software": "graft"})
