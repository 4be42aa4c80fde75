"""The page of `graft explain --html`: each image with its heat maps, what would change the
prediction, what each stage of the network sees, and the nearest training images.
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from graft.explanation.closer_look import CloserLook
from graft.explanation.overlay import COLORS, gray_map, painted
from graft.explanation.stage_maps import Excitement, Stage
from graft.explanation.what_if import Changed
from graft.report.templates import render
from graft.report.thumbnails import link, thumbnails
from graft.utils.user_files import write_page

LARGE, SMALL, TINY = 256, 104, 60  # sides of images, changed images and training images, pixels
MAP, FILTER = 104, 36  # of an activation map and of a first-layer filter
EXCITING = 3  # training images for each channel
FILTERS = 96  # shown of the first layer at most
DESCRIBED = {
    "occlusion": "how much speaks for it less where the image is covered",
    "gradients": "where the network's values and their gradients are both large",
}


@dataclass(frozen=True)
class Shown:
    """One image as the page shows it: what was found, and its drawings as data: addresses."""

    look: CloserLook
    warning: str
    link: str
    image: str
    map: str
    other_map: str
    covered: str
    changes: list[tuple[str, str, float, str]]
    stages: list[tuple[Stage, str, list[tuple[int, str, list[str]]]]]
    attention: tuple[str, str] | None


def write_explanations(
    page: Path,
    run: str,
    looks: Sequence[CloserLook],
    excitement: Excitement | None,
    filters: NDArray[np.uint8],
    failed: Sequence[tuple[str, str]],
    warnings: tuple[Sequence[str], Sequence[str]],
) -> None:
    """Write a self-contained page about images that were explained, in order.

    `excitement` says which training images excite the channels (None: they are gone), `filters`
    (O, kh, kw, 3) are those of the first layer, `failed` paths that cannot be read as images, each
    with the reason. `warnings` are what is suspicious about each image ("": nothing) and about the
    classes, as `outside_evidence` says it.
    """
    shown = [
        _shown(look, warning, excitement, page.parent)
        for look, warning in zip(looks, warnings[0], strict=True)
    ]
    files = dict(excitement.files) if excitement else {}
    wanted = {path for one in shown for *_, rows in one.stages for row in rows for path in row[2]}
    wanted |= {near.path for look in looks for near in look.nearest}
    text = render(
        "explanation_page.html",
        run=run,
        described=DESCRIBED,
        shown=shown,
        failed=failed,
        warnings=warnings[1],
        small=thumbnails(sorted(wanted), files, TINY),
        looked_at=len(excitement.paths) if excitement else 0,
        filters=[_png(_filter(each)) for each in filters[:FILTERS]],
        filter_count=len(filters),
        filter_size=filters.shape[1:3],
        legend=", ".join(f"rgb{color}" for color in COLORS),
    )
    write_page(page, text)


def _shown(look: CloserLook, warning: str, excitement: Excitement | None, folder: Path) -> Shown:
    one = look.explanation
    attention = None
    if look.attention:
        attention = (
            _over(look, look.attention.last, LARGE),
            _over(look, look.attention.rollout, LARGE),
        )
    return Shown(
        look,
        warning,
        link(Path(one.prediction.path), folder),
        _jpeg(_wide(Image.fromarray(one.pixels), LARGE)),
        _jpeg(one.overlay(LARGE)),
        _jpeg(look.other.overlay(LARGE)),
        _jpeg(_wide(Image.fromarray(one.covered), LARGE)),
        [_change(each, one.label) for each in look.changes],
        [
            (
                stage,
                _over(look, look.evidence[place], MAP),
                [_channel(stage, place, c, excitement) for c in stage.strongest],
            )
            for place, stage in enumerate(look.stages)
        ],
        attention,
    )


def _change(change: Changed, label: str) -> tuple[str, str, float, str]:
    name, image, probabilities = change
    best = max(probabilities, key=lambda name: probabilities[name])
    return name, _jpeg(_wide(image, SMALL)), probabilities[label], best


def _channel(
    stage: Stage, place: int, channel: int, excitement: Excitement | None
) -> tuple[int, str, list[str]]:
    exciting = excitement.most(place, channel, EXCITING) if excitement else []
    return channel, _png(gray_map(stage.maps[channel], MAP)), exciting


def _over(look: CloserLook, values: NDArray[np.float32], side: int) -> str:
    """A map over what the network saw."""
    return _jpeg(painted(_wide(Image.fromarray(look.explanation.pixels), side), values))


def _filter(pixels: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(pixels).resize((FILTER, FILTER), Image.Resampling.NEAREST)


def _wide(image: Image.Image, side: int) -> Image.Image:
    tall = max(1, round(side * image.height / image.width))
    # Few pixels are shown as such; a blur would say that the network saw more.
    smooth = Image.Resampling.NEAREST if image.width < side // 2 else Image.Resampling.BICUBIC
    return image.resize((side, tall), smooth)


def _jpeg(image: Image.Image) -> str:
    return _data(image, "JPEG", quality=82)


def _png(image: Image.Image) -> str:
    return _data(image, "PNG", optimize=True)


def _data(image: Image.Image, kind: str, **how: int | bool) -> str:
    buffer = io.BytesIO()
    image.save(buffer, kind, **how)
    coded = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f"data:image/{kind.lower()};base64,{coded}"
