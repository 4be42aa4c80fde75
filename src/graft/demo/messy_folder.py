"""The rendered images as people's folders are: with wrong labels, copies, a broken file and a
shortcut, all of which are known.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from graft.demo.rendered_images import SEED, RenderedImages
from graft.quality.finding import Finding

WRONG_LABELS = 2  # of each class, moved to the next class's folder
COPIES = 10
FRAME = 10  # pixels of the white frame around every image of one class


@dataclass(frozen=True)
class Planted:
    """What is wrong in the messy folder `folder`, by paths below it.

    `labels`: each wrongly labeled image with its true class. `copies`: each edited copy with its
    original. `framed`: the class whose images alone have a white frame.
    """

    folder: Path
    labels: dict[str, str]
    copies: dict[str, str]
    broken: str
    framed: str


def make_messy_folder(images: RenderedImages, folder: Path) -> Planted:
    """Copy the images into `folder` and spoil them."""
    shutil.copytree(images.folder, folder)
    random = np.random.default_rng(SEED)
    classes = list(images.order)
    framed = classes[0]
    for file in (folder / framed).iterdir():
        _framed(file)
    labels = {}
    for place, name in enumerate(classes):
        other = classes[(place + 1) % len(classes)]
        for path in images.order[name][:WRONG_LABELS]:
            moved = f"{other}/{name}-{Path(path).name}"
            (folder / path).rename(folder / moved)
            labels[moved] = name
    copies = {}
    for number in range(COPIES):
        name = classes[number % len(classes)]
        path = images.order[name][WRONG_LABELS + number // len(classes)]
        copy = f"{name}/copy-{number}.jpg"
        _edited(Image.open(folder / path), number, random).save(folder / copy, quality=70)
        copies[copy] = path
    broken = images.order[classes[-1]][-1]
    data = (folder / broken).read_bytes()
    (folder / broken).write_bytes(data[: len(data) // 3])
    return Planted(folder, labels, copies, broken, framed)


def _framed(file: Path) -> None:
    image = Image.open(file).convert("RGB")
    inner = image.resize((image.width - 2 * FRAME, image.height - 2 * FRAME))
    ImageOps.expand(inner, FRAME, "white").save(file, quality=90)


def _edited(image: Image.Image, number: int, random: np.random.Generator) -> Image.Image:
    """A copy as they arise: smaller, cropped, mirrored or brighter."""
    image = image.convert("RGB")
    width, height = image.size
    match number % 4:
        case 0:
            return image.resize((width * 3 // 4, height * 3 // 4))
        case 1:
            left, top = (int(random.integers(0, side // 10)) for side in image.size)
            return image.crop((left, top, left + width * 9 // 10, top + height * 9 // 10))
        case 2:
            return ImageOps.mirror(image)
        case _:
            return ImageEnhance.Brightness(image).enhance(1.25)


def compared(planted: Planted, findings: Sequence[Finding]) -> dict[str, Any]:
    """How many of each planted fault the audit found, and what else it reported."""
    suspects = {path for f in findings if f.kind == "label_error" for path in f.paths}
    near = [
        set(each)
        for f in findings
        if f.kind in ("near_duplicates", "near_two_labels", "duplicates", "two_labels")
        for each in f.sets
    ]
    pairs = [{copy, original} for copy, original in planted.copies.items()]
    unreadable = {
        path for f in findings if f.kind in ("truncated", "unreadable") for path in f.paths
    }
    shortcuts = [f.message for f in findings if f.kind == "shortcut"]
    return {
        "label_errors": {
            "planted": len(planted.labels),
            "found": len(suspects & set(planted.labels)),
            "besides": len(suspects - set(planted.labels)),
            "paths": sorted(suspects),
        },
        "near_duplicates": {
            "planted": len(pairs),
            "found": sum(any(pair <= each for each in near) for pair in pairs),
            "besides": sum(not any(pair <= each for pair in pairs) for each in near),
        },
        "broken": {
            "planted": 1,
            "found": int(planted.broken in unreadable),
            "besides": len(unreadable - {planted.broken}),
        },
        "shortcut": {
            "planted": 1,
            "found": int(any(repr(planted.framed) in message for message in shortcuts)),
            "besides": sum(repr(planted.framed) not in message for message in shortcuts),
            "messages": shortcuts,
        },
    }
