"""Reads a network of another tool, in a process of its own; see graft.models.network_file.

    python -m graft.models.network_reader PLACE OUTPUT PIXELS FOLDER BYTES

PLACE is the file, or the folder of a SavedModel, whose files have so many BYTES; OUTPUT and PIXELS
may be empty. Writes the graph and how it is fed into FOLDER, or what is wrong.
"""

import json
import sys
from pathlib import Path
from typing import Any

from graft.choices import PixelScale
from graft.data.decode import Preprocess
from graft.errors import ModelError
from graft.models.graph_bounds import check_bounds, reason_of
from graft.models.network_graph import USUAL_SIDE, Image, chosen_output, uniform, written
from graft.models.pixel_scales import SAY_SCALE, SCALES

GRAPH, CONSTANTS, FED, PROBLEM = "graph.xml", "graph.bin", "preprocess.json", "problem.txt"
# Bytes of memory: this many, and so many times the file.
MEMORY, TIMES = 8 * 2**30, 8


def encoder_of(
    model: Any, output: str | None, pixels: PixelScale | None
) -> tuple[bytes, bytes, Preprocess]:
    """An openvino.Model made uniform, as the text and the constants of an IR, and how it is fed;
    raises as `read_file`.
    """
    check_bounds(model)
    image = Image(model)
    pixels = pixels or ("0-255" if image.takes_bytes else None)
    if pixels is None:
        raise ModelError(SAY_SCALE)
    graph = uniform(model, image, chosen_output(model, output), pixels == "caffe")
    check_bounds(graph)
    mean, std = SCALES[pixels]
    height, width = (side or USUAL_SIDE for side in (image.height, image.width))
    return *written(graph), Preprocess(height, width, mean, std)


def main(place: str, output: str, pixels: Any, folder: str, size: str) -> None:
    """What the top of this module says."""
    _bound_memory(MEMORY + TIMES * int(size))
    out = Path(folder)
    try:
        import openvino

        model = openvino.Core().read_model(place)
        graph, constants, fed = encoder_of(model, output or None, pixels or None)
        (out / GRAPH).write_bytes(graph)
        (out / CONSTANTS).write_bytes(constants)
        (out / FED).write_text(json.dumps(fed.to_json()), encoding="utf-8")
    except ModelError as error:
        (out / PROBLEM).write_text(str(error), encoding="utf-8")
    # OpenVINO raises plain RuntimeErrors, and others where Python meets its own.
    except Exception as error:
        text = f"OpenVINO cannot read it: {reason_of(error)}"
        (out / PROBLEM).write_text(text, encoding="utf-8")


def _bound_memory(most: int) -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


if __name__ == "__main__":
    main(*sys.argv[1:])
