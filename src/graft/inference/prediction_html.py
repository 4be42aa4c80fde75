"""A prediction as HTML, for a cell of a notebook; all of it inside the cell, names escaped."""

import base64
import io
from collections.abc import Sequence
from html import escape

from PIL import Image

from graft.data.decode import UnusableImageError
from graft.errors import GraftError
from graft.inference.image_input import upright_image

SIDE = 160  # the longer side of the image, in pixels
MOST = 5  # classes with a bar of their own


def image_of(source: object) -> Image.Image | None:
    """The image that a prediction is of, small; None where it is gone."""
    try:
        image = upright_image(source, SIDE)
    except (UnusableImageError, GraftError, OSError):
        return None
    image = image.copy()
    image.thumbnail((SIDE, SIDE))
    return image


def block(title: str, note: str, images: Sequence[Image.Image | None], bars: str) -> str:
    """Images, and beside them a title, a note and bars (HTML already)."""
    shown = "".join(
        f'<img src="{_data(image)}" alt="" style="max-width:{SIDE}px;margin:0">'
        for image in images
        if image is not None
    )
    said = f'<div style="opacity:.75;overflow-wrap:anywhere">{escape(note)}</div>' if note else ""
    return (
        '<div style="display:flex;gap:1em;align-items:flex-start;font-family:sans-serif">'
        f"{shown}<div><div><b><bdi>{escape(title)}</bdi></b></div>{said}{bars}</div></div>"
    )


def bars(ranked: Sequence[tuple[str, float]]) -> str:
    """A bar for each of the most probable classes."""
    rows = "".join(
        f'<tr><td style="text-align:left"><bdi>{escape(name)}</bdi></td>'
        f'<td style="width:10em"><div style="width:{100 * share:.1f}%;height:.8em;'
        f'background:#3b7dd8"></div></td>'
        f'<td style="text-align:right">{share:.1%}</td></tr>'
        for name, share in ranked[:MOST]
    )
    rest = len(ranked) - MOST
    more = f'<div style="opacity:.75">and {rest} less probable</div>' if rest > 0 else ""
    return f"<table>{rows}</table>{more}"


def _data(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
