"""The mistakes of a report with their heat maps."""

import base64
import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image

from graft.data.decode import (
    Preprocess,
    UnusableImageError,
    center_view,
    decode,
    read_bytes,
    resized_shorter_side,
)
from graft.explanation.overlay import painted
from graft.runs.run import Run

SIDE = 160  # pixels


def overlays(run: Run, paths: Sequence[str]) -> dict[str, str]:
    """What the network saw of each of these images that has a heat map, with the map over it, as
    JPEGs in data: URIs; images that are gone are left out.
    """
    known = [path for path in paths if path in run.heat_maps and path in run.files]
    if not known:
        return {}
    preprocess = Preprocess.from_json(run.model["preprocess"])
    with ThreadPoolExecutor() as pool:
        drawn = pool.map(lambda path: _overlay(run, path, preprocess), known)
        return {path: image for path, image in zip(known, drawn, strict=True) if image}


def _overlay(run: Run, path: str, preprocess: Preprocess) -> str | None:
    try:
        opened = decode(read_bytes(run.files[path]), resized_shorter_side(preprocess))
    except UnusableImageError:
        return None
    image = Image.fromarray(center_view(opened, preprocess))
    tall = max(1, round(SIDE * image.height / image.width))
    values = np.array(run.heat_maps[path]["map"], np.float32)
    buffer = io.BytesIO()
    painted(image.resize((SIDE, tall)), values).save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
