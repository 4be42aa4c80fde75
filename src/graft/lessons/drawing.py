"""Drawing in the lessons: graft's colors, images in a row, and the numbers of a small array."""

from collections.abc import Sequence
from typing import Any

import numpy as np

INK, MUTED, RULE, ACCENT, SECOND = "#1d2723", "#5c6963", "#d9e0dc", "#0f6b5c", "#b0762c"
LINES = [ACCENT, SECOND, "#4b6a9b", MUTED]
# From one color through white to the other: below zero, zero, above zero.
SIGNED = "BrBG"
SIDE = 2.4  # inches an image


def house_style() -> None:
    """Make all plots of a notebook look as those of graft's reports."""
    import warnings

    import matplotlib as mpl

    from graft.report.plot_style import frame

    mpl.rcParams.update(
        frame(INK, MUTED, RULE)
        | {
            "axes.prop_cycle": f"cycler(color={LINES})",
            "axes.titlesize": 10,
            "axes.titlelocation": "left",
            "figure.dpi": 110,
            "figure.constrained_layout.use": True,
            "font.size": 9,
            "grid.linewidth": 0.6,
            "image.cmap": "gray",
            "image.interpolation": "nearest",
            "lines.linewidth": 1.8,
        }
    )
    # Of tqdm, where ipywidgets is not installed, which no lesson needs.
    warnings.filterwarnings("ignore", message="IProgress not found")


def draw_images(
    images: Sequence[Any],
    titles: Sequence[str] = (),
    *,
    columns: int | None = None,
    signed: bool = False,
    low: float | None = None,
    high: float | None = None,
    side: float = SIDE,
) -> Any:
    """Draw images in rows of `columns`, each with its title; gives the figure's axes.

    An image is (H, W) or (H, W, 3), an array, a tensor or a Pillow image. Gray ones reach from
    black at `low` to white at `high`, by default their own least and greatest number; with
    `signed` from brown (below 0) through white (0) to green (above).
    """
    import matplotlib.pyplot as plt

    columns = columns or min(len(images), 6)
    rows = -(-len(images) // columns)
    _, grid = plt.subplots(
        rows, columns, figsize=(side * columns, (side + 0.3) * rows), squeeze=False
    )
    for axes in grid.flat:
        axes.axis("off")
    for axes, image, title in zip(
        grid.flat, images, [*titles, *[""] * (len(images) - len(titles))], strict=False
    ):
        pixels = _pixels(image)
        least, most = low, high
        if signed:
            most = float(np.abs(pixels).max()) or 1.0 if high is None else high
            least = -most
        axes.imshow(pixels, cmap=SIGNED if signed else None, vmin=least, vmax=most)
        axes.set_title(title)
    return grid


def draw_numbers(
    values: Any,
    title: str = "",
    *,
    axes: Any = None,
    signed: bool = False,
    form: str = "{:g}",
    low: float | None = None,
    high: float | None = None,
) -> Any:
    """Draw a small (H, W) array as cells with their numbers in them; gives the axes."""
    import matplotlib.pyplot as plt

    values = _pixels(values)
    if axes is None:
        height, width = values.shape
        _, axes = plt.subplots(figsize=(max(1.6, 0.46 * width), max(1.5, 0.46 * height + 0.3)))
    most = float(np.abs(values).max()) or 1.0
    least = -most if signed else float(values.min()) if low is None else low
    most = most if signed else float(values.max()) if high is None else high
    axes.imshow(values, cmap=SIGNED if signed else "gray", vmin=least, vmax=most)
    for (row, column), value in np.ndenumerate(values):
        share = (value - least) / ((most - least) or 1)
        dark = abs(share - 0.5) > 0.32 if signed else share < 0.5
        axes.text(
            column,
            row,
            form.format(value),
            ha="center",
            va="center",
            fontsize=8,
            color="white" if dark else INK,
        )
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.set_title(title)
    return axes


def _pixels(image: Any) -> Any:
    if hasattr(image, "detach"):
        image = image.detach().cpu().numpy()
    return np.asarray(image)
