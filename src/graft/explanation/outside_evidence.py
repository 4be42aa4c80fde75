"""Evidence outside the object: a model that looks at the border of its images, or always at the
same place, has learned a frame, a watermark or the surroundings, and fails where that is missing.

Where the object is nobody has said, so this compares with ordinary images: how much of the evidence
lies in their border, and how rarely it peaks at one place. The limits are from docs/explain.md.
"""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from graft.errors import ModelError
from graft.explanation.gradient_maps import gradient_map
from graft.explanation.heat_map import Explanation, share
from graft.explanation.overlay import Maps
from graft.inference.predictor import Predictor

BORDER = 0.1  # the width of the border, as a share of each side: 36 % of the image lies in it
ONE_IMAGE, MEAN = 0.5, 0.4  # suspicious shares of evidence there: of an image, and of a class
FEWEST = 8  # images of a class, for a statement about the class
NEAR, MIDDLE = (
    0.12,
    0.25,
)  # one place, and how far from the center it is suspicious: shares of a side
SAME = 0.8  # suspicious share of images whose evidence peaks at one place


def outside_evidence(
    predictor: Predictor, explanations: Sequence[Explanation]
) -> tuple[list[str], list[str]]:
    """What is suspicious about each image, "" where nothing is, and about the classes explained.

    By gradients, whatever the method of the explanations: they have less noise than occlusion.
    """
    try:
        maps = [
            gradient_map(predictor, one.pixels, predictor.classes.index(one.label))
            for one in explanations
        ]
    except ModelError:  # a network whose stages are not known
        return [""] * len(explanations), []
    by_class = defaultdict(list)
    for one, values in zip(explanations, maps, strict=True):
        by_class[one.label].append(values)
    classes = [said for name, own in by_class.items() for said in of_class(name, own)]
    return [of_image(values) for values in maps], classes


def of_image(values: Maps) -> str:
    """What is suspicious about the map of one image; empty if nothing is."""
    found = border_share(values)
    if found <= ONE_IMAGE:
        return ""
    return (
        f"{share(found)} of the evidence lies in the outer tenth of the image on each side: does "
        "the object reach there, or does the model look at a frame or the surroundings?"
    )


def of_class(name: str, maps: Sequence[Maps]) -> list[str]:
    """What is suspicious about the maps of a class; nothing for fewer than FEWEST images."""
    if len(maps) < FEWEST:
        return []
    said = []
    mean = float(np.mean([border_share(values) for values in maps]))
    if mean > MEAN:
        said.append(
            f"evidence outside the object: over {len(maps)} images of {name}, {share(mean)} of the "
            "evidence lies in the outer tenth on each side (ordinary images: 15 to 33 %); look "
            "for a frame, or anything else at the border that only this class has"
        )
    count, (down, across) = fixed_place(maps)
    off_center = max(abs(down - 0.5), abs(across - 0.5)) > MIDDLE
    if count >= SAME * len(maps) and off_center:
        said.append(
            f"evidence outside the object: in {count} of {len(maps)} images of {name} it peaks at "
            f"the same place, {place_name(down, across)}; look for a mark, a logo or a date there "
            "that only this class has"
        )
    return said


def border_share(values: Maps) -> float:
    """How much of a map's sum lies in the outer border of the image, 0..1; 0 of a map of zeros."""
    total = float(values.sum())
    rows, columns = (max(1, round(BORDER * length)) for length in values.shape)
    inner = float(values[rows:-rows, columns:-columns].sum())
    return (total - inner) / total if total > 0 else 0.0


def fixed_place(maps: Sequence[Maps]) -> tuple[int, tuple[float, float]]:
    """In how many images the evidence peaks near one place, and which: shares of the height from
    the top and of the width from the left.
    """
    peaks = np.array(
        [
            [(i + 0.5) / length for i, length in zip(place, values.shape, strict=True)]
            for values in maps
            for place in [np.unravel_index(int(values.argmax()), values.shape)]
        ]
    )
    apart = np.hypot(*(peaks[:, np.newaxis] - peaks).transpose(2, 0, 1))
    near = (apart < NEAR).sum(axis=1)
    best = int(near.argmax())
    return int(near[best]), (float(peaks[best, 0]), float(peaks[best, 1]))


def place_name(down: float, across: float) -> str:
    """`at the top left`, `on the right`, `in the middle`, for shares of the height and width."""
    row = "top" if down < 1 / 3 else "bottom" if down > 2 / 3 else ""
    column = "left" if across < 1 / 3 else "right" if across > 2 / 3 else ""
    if row:
        return f"at the {row} {column}".rstrip()
    return f"on the {column}" if column else "in the middle"
