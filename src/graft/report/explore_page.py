"""The page of `graft explore`: a network at work on one image, from pixel to probability, to click
through. It holds the weights; whoever opens it computes the numbers again, in the browser.
"""

import base64
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.choices import FROM_SCRATCH
from graft.errors import ModelError, UsageError
from graft.explanation.walkthrough import Walkthrough, walk
from graft.explanation.walkthrough_layers import Excerpt, Layer, excerpts, layers_of, size
from graft.explanation.walkthrough_steps import Step
from graft.inference.predictor import Predictor
from graft.inference.saved_model import load, pretrained
from graft.report.templates import render
from graft.utils.user_files import PAGES, check_target, write_page

# Bytes of a page at most.
LIMIT = 2_000_000
# Bytes that a number takes at least, deflated and in base64; usually it is 4.9.
LEAST = 3.2


def explore(
    run: str | Path | Predictor,
    image: Any,
    out: str | Path = "explore.html",
    *,
    layers: int | None = None,
) -> Path:
    """Write the interactive page that shows how a network came to what it says of one image.

    `run`: a run folder, the name of a pretrained network, or a Predictor. `image`: a path, a
    Pillow image or (H, W, 3) uint8 pixels. `layers`: convolutions to show at most; without it the
    whole of a network that was trained from scratch, or of any other as many as fit. The page is
    one file of at most 2 MB that needs no network. Returns its path.

    Raises UsageError for no image or an `out` that graft did not write, DataError for a file that
    is no image, ModelError for no convolutional network.
    """
    if layers is not None and layers < 1:
        raise UsageError(f"layers must be a whole number of at least 1, not {layers}")
    check_target(Path(out), PAGES)
    predictor = _predictor(run)
    walkthrough = walk(predictor, image)
    named = {
        "network": predictor.run.name if predictor.run else predictor.backbone.name,
        "backbone": predictor.backbone.name,
        "own": predictor.run is not None,
        "image": Path(image).name if isinstance(image, str | Path) else "the image",
    }
    for excerpt in excerpts(walkthrough, layers):
        if size(walkthrough, excerpt) * LEAST > LIMIT:
            continue
        data = page_data(predictor, walkthrough, excerpt) | named
        text = render("explore_page.html", data=as_script(data), **_told(data), **named)
        if len(text.encode()) <= LIMIT:
            page = Path(out)
            write_page(page, text)
            return page
    raise ModelError(
        f"{predictor.backbone.name}: expected a first convolution that fits a page of 2 MB at "
        f"{predictor.backbone.preprocess.height} pixels a side; train at a smaller --image-size"
    )


def page_data(predictor: Predictor, walkthrough: Walkthrough, excerpt: Excerpt) -> dict[str, Any]:
    """All that the page's scripts compute from. Arrays are [place, count] in `floats`."""
    numbers = Numbers()
    head = None
    if excerpt.whole:
        head = _head(predictor, walkthrough, numbers)
    preprocess = predictor.backbone.preprocess
    height, width, _ = walkthrough.pixels.shape
    layers = [_layer(layer, walkthrough, numbers) for layer in excerpt.layers]
    stored = {n: numbers.add(walkthrough.values[n]) for n in excerpt.stored}
    return {
        "classes": list(predictor.classes),
        "height": height,
        "width": width,
        "mean": [255 * value for value in preprocess.mean],
        "std": [255 * value for value in preprocess.std],
        "pixels": base64.b64encode(zlib.compress(walkthrough.pixels.tobytes(), 9)).decode(),
        "layers": layers,
        "shapes": {
            step.output: walkthrough.values[step.output].shape
            for layer in excerpt.layers
            for step in layer.steps
        },
        "stored": stored,
        "head": head,
        "temperature": predictor.temperature,
        "logits": _rounded(walkthrough.logits),
        "probabilities": _rounded(walkthrough.probabilities),
        "convolutions": walkthrough.convolutions,
        "continues": len(layers_of(walkthrough)) > len(excerpt.layers),
        "stopped": walkthrough.stopped,
        "floats": numbers.text(),
    }


class Numbers:
    """Float32 numbers of many arrays, as one text."""

    def __init__(self) -> None:
        self.arrays: list[NDArray[np.float32]] = []
        self.count = 0

    def add(self, array: NDArray[np.float32]) -> list[int]:
        """The place and count of an array's numbers."""
        self.arrays.append(np.ascontiguousarray(array, dtype="<f4").ravel())
        self.count += array.size
        return [self.count - array.size, array.size]

    def text(self) -> str:
        """Deflated, in base64: first bytes first, for exponents are much alike, then the second
        bytes, and so on.
        """
        joined = np.concatenate(self.arrays) if self.arrays else np.zeros(0, "<f4")
        planes = joined.view(np.uint8).reshape(-1, 4).T
        return base64.b64encode(zlib.compress(planes.tobytes(), 6)).decode()


def as_script(data: dict[str, Any]) -> str:
    """JSON that may stand within a script element, whatever a class is called."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _predictor(run: str | Path | Predictor) -> Predictor:
    if isinstance(run, Predictor):
        return run
    if str(run) in FROM_SCRATCH and not Path(run).exists():
        raise ModelError(
            f"{run} knows nothing before it is trained: graft train SOURCE --model {run}, then "
            "graft explore RUN IMAGE"
        )
    return load(run) if Path(run).exists() else pretrained(str(run))


def _told(data: dict[str, Any]) -> dict[str, Any]:
    best = int(np.argmax(data["probabilities"]))
    return {
        "label": data["classes"][best],
        "probability": data["probabilities"][best],
        "whole": data["head"] is not None,
        "shown": len(data["layers"]),
        "convolutions": data["convolutions"],
    }


def _layer(layer: Layer, walkthrough: Walkthrough, numbers: Numbers) -> dict[str, Any]:
    rows = list(layer.channels) if layer.channels is not None else None
    return {
        "name": layer.steps[0].module,
        "channels": rows,
        "steps": [_step(step, rows, numbers) for step in layer.steps],
    }


def _step(step: Step, rows: list[int] | None, numbers: Numbers) -> dict[str, Any]:
    tensors = {
        name: numbers.add(tensor if rows is None else tensor[rows])
        for name, tensor in step.tensors.items()
    }
    return {"kind": step.kind, "in": step.inputs, "out": step.output, **step.settings, **tensors}


def _head(predictor: Predictor, walkthrough: Walkthrough, numbers: Numbers) -> dict[str, Any]:
    """How features come from the last map, and logits from them."""
    after = [step for step in walkthrough.steps if step.kind in ("mean", "max", "divide")]
    mirrored = walkthrough.mirrored
    state = {name: tensor.float().numpy() for name, tensor in predictor.head.state_dict().items()}
    weights = [name for name in state if name.endswith("weight")]
    return {
        "pool": after[0].kind,
        "from": after[0].inputs[0],
        "divisor": after[1].settings["divisor"] if len(after) > 1 else 1,
        "mirrored": None if mirrored is None else numbers.add(mirrored),
        "mean": numbers.add(state["mean"]),
        "std": numbers.add(state["std"]),
        "linear": [
            {
                "weight": numbers.add(state[name]),
                "bias": numbers.add(state[name.replace("weight", "bias")]),
            }
            for name in weights
        ],
    }


def _rounded(values: NDArray[np.float32]) -> list[float]:
    # Nine digits name a float32 exactly.
    return [float(f"{value:.9g}") for value in values]
