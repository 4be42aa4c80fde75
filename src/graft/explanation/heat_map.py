"""Explanation: which parts of an image a classifier's answer rests on."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from graft.choices import EXPLANATIONS
from graft.data.decode import Pixels
from graft.errors import UsageError
from graft.explanation.gradient_maps import gradient_map
from graft.explanation.network_input import (
    Floats,
    Maps,
    covered,
    log_probabilities,
    mean_color,
    network_input,
)
from graft.explanation.occlusion import occlusion_map
from graft.explanation.overlay import painted, resized
from graft.inference.image_input import OneImage
from graft.inference.policy import Policy
from graft.inference.prediction import Prediction
from graft.inference.prediction_html import SIDE, bars, block, image_of
from graft.inference.predictor import Predictor
from graft.inference.saved_model import load

METHODS = dict(zip(EXPLANATIONS, (occlusion_map, gradient_map), strict=True))
# The regions that may be covered for the sentence: where the map has at least half of its highest
# value, and these shares of the image, those of the highest values; no more than the largest.
HALF, SHARES = 0.5, (0.1, 0.2, 0.3)
SOFT = 0.02  # how soft the region's edge is, as a share of the image's shorter side


@dataclass(frozen=True)
class Explanation:
    """Where the evidence for a class lies, and what covering it does.

    `prediction` is of the whole image. `label` is the class explained, the best guess unless asked
    otherwise, and `probability` its probability; `against` the class that it is held against, or
    None. `map` is (rows, columns) float32 ≥ 0 over the image as the network saw it (`pixels`):
    for occlusion the nats that the log-odds lose where that place is covered, for gradients a
    share of the highest value.

    `covered` is the image with a region of most evidence covered, `region` (H, W) 0..1 the region
    and `after` the probabilities then. Of up to four regions, of at most 30 % of the image, it is
    the smallest that halves the probability, or else the one that lowers it most. `elsewhere` are
    the probabilities with as much covered where the map is lowest, for comparison.
    """

    prediction: Prediction
    label: str
    probability: float
    against: str | None
    method: str
    map: Maps = field(repr=False)
    pixels: Pixels = field(repr=False)
    covered: Pixels = field(repr=False)
    region: Maps = field(repr=False)
    after: dict[str, float]
    elsewhere: dict[str, float]

    @cached_property
    def sentence(self) -> str:
        """What covering the region did: "with this covered, rose falls from 93 % to 41 %"."""
        said = f"with this covered, {self._change(self.label)}"
        return f"{said} and {self._change(self.against)}" if self.against else said

    @cached_property
    def comparison(self) -> str:
        """What covering as much elsewhere did, so that the sentence can be judged."""
        return (
            f"with as much covered where the map is lowest, {self.label} is at "
            f"{share(self.elsewhere[self.label])}"
        )

    @property
    def covered_fraction(self) -> float:
        """How much of the image the region covers, 0..1."""
        return float(self.region.mean())

    def overlay(self, side: int | None = None) -> Image.Image:
        """The image with the map over it: no color where nothing was found, then yellow to red.

        `side` is the width in pixels, by default the network's own.
        """
        height, width = self.pixels.shape[:2]
        wide = side or width
        tall = max(1, round(wide * height / width))
        image = Image.fromarray(self.pixels).resize((wide, tall), Image.Resampling.BICUBIC)
        return painted(image, self.map)

    def to_json(self) -> dict[str, Any]:
        """As `graft explain --json` prints it; the map's values are rounded to 4 digits."""
        return {
            "path": self.prediction.path,
            "label": self.label,
            "probability": self.probability,
            "against": self.against,
            "method": self.method,
            "map": [[round(value, 4) for value in row] for row in self.map.tolist()],
            "abstains": self.prediction.reason or None,
            "sentence": self.sentence,
            "covered_fraction": self.covered_fraction,
            "covered": self.after,
            "covered_elsewhere": self.elsewhere,
        }

    def _repr_html_(self) -> str:
        """For a notebook: what the network saw, the map over it, what covering does, and bars."""
        title, note = self.prediction.headline
        why = f"{note}; {self.sentence}" if note else self.sentence
        images = [image_of(self.pixels), self.overlay(SIDE)]
        return block(title, f"{why}; {self.comparison}", images, bars(self.prediction.ranked))

    def _change(self, name: str) -> str:
        return changed(name, self.prediction.probabilities[name], self.after[name])


def explain(
    run: str | Path | Predictor,
    image: OneImage,
    *,
    against: str | None = None,
    method: str | None = None,
    label: str | None = None,
    policy: Policy | None = None,
) -> Explanation:
    """Where in an image the evidence for its predicted class lies.

    `run` is a run folder or a predictor (`graft.load`, faster for several images), `image` as for
    `Predictor.predict`. `label` is another class to explain, and `against` one to hold it
    against: the map then says what speaks for the one and not the other. `method`: "occlusion"
    (default; about 200 covered images go through the network) or "gradients" (fast, one image
    forward and back). docs/explain.md has what was measured of each. `policy` is that of the
    prediction, as for `Predictor.predict`.

    Raises UsageError for an image that cannot be read, an unknown class or an unknown method.
    """
    chosen = method or EXPLANATIONS[0]
    if chosen not in METHODS:
        raise UsageError(f"no method {chosen!r}: expected one of {', '.join(METHODS)}")
    predictor = run if isinstance(run, Predictor) else load(run)
    known_classes(predictor, label, against)
    prediction = predictor.predict(image, policy)
    explained = label or prediction.best_guess
    if against == explained:
        raise UsageError(
            f"{against!r} is the class that is explained; hold it against another: "
            f"{listed([name for name in predictor.classes if name != against])}"
        )
    pixels = network_input(image, predictor)
    of = predictor.classes.index(explained)
    other = None if against is None else predictor.classes.index(against)
    found = METHODS[chosen](predictor, pixels, of, other)
    region, image, after = _covered_most(predictor, pixels, found, of)
    least = lowest(found, region)
    other_image = covered(pixels, least[np.newaxis], mean_color(pixels))
    elsewhere = np.exp(log_probabilities(predictor, other_image, settle=True))[0]
    return Explanation(
        prediction,
        explained,
        prediction.probabilities[explained],
        against,
        chosen,
        found,
        pixels,
        image,
        region,
        _named(predictor, after),
        _named(predictor, elsewhere),
    )


def known_classes(predictor: Predictor, *names: str | None) -> None:
    """Raise UsageError for a name that is none of the predictor's classes; None is no name."""
    for name in names:
        if name is not None and name not in predictor.classes:
            raise UsageError(f"no class {name!r}: expected one of {listed(predictor.classes)}")


def regions(values: Maps, height: int, width: int) -> Maps:
    """The regions of most evidence of a map, the smallest first: (R, height, width) in 0..1 with
    soft edges. A map of zeros has no such region: there is one, and it is empty.
    """
    if not values.max() > 0:
        return np.zeros((1, height, width), np.float32)
    large = resized(values, height, width)
    half = float((large >= HALF * large.max()).mean())
    sizes = sorted({min(half, SHARES[-1]), *SHARES})
    order = np.argsort(-large, axis=None, kind="stable")
    found = np.zeros((len(sizes), large.size), np.float32)
    for row, size in zip(found, sizes, strict=True):
        row[order[: max(1, round(size * large.size))]] = 1
    return np.stack([_softened(row.reshape(large.shape)) for row in found])


def lowest(values: Maps, region: Maps) -> Maps:
    """As large a region as `region` (H, W), where a map is lowest."""
    large = resized(values, *region.shape)
    order = np.argsort(large, axis=None, kind="stable")
    found = np.zeros(large.size, np.float32)
    found[order[: round(float(region.sum()))]] = 1
    return _softened(found.reshape(large.shape))


def _covered_most(
    predictor: Predictor, pixels: Pixels, values: Maps, of: int
) -> tuple[Maps, Pixels, Floats]:
    """The smallest region of most evidence that halves the probability of a class when it is
    covered, or else the one that lowers it most; the image then, and its probabilities (K,).
    """
    masks = regions(values, *pixels.shape[:2])
    images = covered(pixels, masks, mean_color(pixels))
    whole = np.exp(log_probabilities(predictor, pixels[np.newaxis], settle=True))[0, of]
    after = np.exp(log_probabilities(predictor, images, settle=True))
    halved = np.flatnonzero(after[:, of] <= whole / 2)
    best = int(halved[0]) if len(halved) else int(after[:, of].argmin())
    return masks[best], images[best], after[best]


HARDLY = 0.01  # a change of probability that says nothing


def changed(name: str, before: float, after: float) -> str:
    """`rose falls from 93 % to 41 %`, in whole percent."""
    first, then = share(before), share(after)
    if first == then:
        return f"{name} stays at {first}"
    if abs(after - before) < HARDLY:
        return f"{name} hardly changes, from {first} to {then}"
    return f"{name} {'falls' if after < before else 'rises'} from {first} to {then}"


def share(value: float) -> str:
    """A probability in whole percent, never rounded to what it is not: `93 %`, `over 99 %`."""
    if 0.995 <= value < 1:
        return "over 99 %"
    if 0 < value < 0.005:
        return "under 1 %"
    return f"{100 * value:.0f} %"


def listed(names: "tuple[str, ...] | list[str]", most: int = 12) -> str:
    """Names in one line; the first of many."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _softened(mask: Maps) -> Maps:
    radius = SOFT * min(mask.shape)
    image = Image.fromarray(np.rint(mask * 255).astype(np.uint8))
    return np.asarray(image.filter(ImageFilter.GaussianBlur(radius)), np.float32) / np.float32(255)


def _named(predictor: Predictor, row: Floats) -> dict[str, float]:
    return dict(zip(predictor.classes, row.tolist(), strict=True))
