"""The page of `graft chat --serve`: images, a box for questions, answers with their evidence."""

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from graft.report.numbers import NOTHING, flat
from graft.report.templates import render
from graft.report.thumbnails import thumbnail

SIDE = 160  # of an image on the page, in pixels


def chat_page(
    run: str, classes: Sequence[str], images: Sequence[Path], questions: Sequence[str], nonce: str
) -> str:
    """The page, whose script has this `nonce`; `questions` are offered for a start."""
    return render(
        "chat_page.html",
        run=run,
        classes=classes,
        images=[(image.name, thumbnail(image, SIDE)) for image in images],
        questions=questions,
        nonce=nonce,
    )


def answer_data(
    answer: Mapping[str, Any], shown: Sequence[tuple[str, Image.Image]]
) -> dict[str, Any]:
    """An answer as the page takes it: with its evidence as rows, and its images as data: URIs."""
    told = {name: value for name, value in answer["evidence"].items() if name != "how"}
    rows = [(name, value) for name, value in flat(told) if value != NOTHING]
    pictures = [{"caption": caption, "source": _uri(image)} for caption, image in shown]
    return {**answer, "rows": rows, "images": pictures}


def _uri(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
