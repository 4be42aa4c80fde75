"""Explanation: which parts of an image a classifier's answer rests on."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from graft.data.decode import Pixels
from graft.errors import UsageError
from graft.explanation.gradient_maps import gradient_map
from graft.explanation.network_input import (
    Floats,
    Maps,
    blurred,
    covered,
    log_probabilities,
    network_input,
    resized,
)
from graft.explanation.occlusion import occlusion_map
from graft.inference.predictor import OneImage, Prediction, Predictor
from graft.inference.saved_model import load

METHODS = {"occlusion": occlusion_map, "gradients": gradient_map}
DEFAULT = "occlusion"
# The region that is covered for the sentence: where the map has at least half of its highest
# value, but no more of the image than that.
HALF, MOST = 0.5, 0.3
SOFT = 0.02  # how soft the region's edge is, as a share of the image's shorter side


@dataclass(frozen=True)
class Explanation:
    """Where the evidence for a class lies, and what covering it does.

    `prediction` is of the whole image. `label` is the class explained, the best guess unless asked
    otherwise, and `probability` its probability; `against` the class that it is held against, or
    None. `map` is (rows, columns) float32 ≥ 0 over the image as the network saw it (`pixels`):
    for occlusion the nats that the log-odds lose where that place is covered, for gradients a
    share of the highest value.

    `covered` is the image with the region of most evidence covered, `region` (H, W) 0..1 the
    region and `after` the probabilities then; `elsewhere` those with as large a region of least
    evidence covered instead, for comparison.
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
        return f"{said}, {self._change(self.against)}" if self.against else said

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

    def _change(self, name: str) -> str:
        return changed(name, self.prediction.probabilities[name], self.after[name])


def explain(
    run: str | Path | Predictor,
    image: OneImage,
    *,
    against: str | None = None,
    method: str | None = None,
    label: str | None = None,
) -> Explanation:
    """Where in an image the evidence for its predicted class lies.

    `run` is a run folder or a predictor (`graft.load`, faster for several images), `image` as for
    `Predictor.predict`. `label` is another class to explain, and `against` one to hold it
    against: the map then says what speaks for the one and not the other. `method`: "occlusion"
    (default; about 200 covered images go through the network) or "gradients" (fast, one image
    forward and back). docs/explain.md has what was measured of each.

    Raises UsageError for an image that cannot be read, an unknown class or an unknown method.
    """
    chosen = method or DEFAULT
    if chosen not in METHODS:
        raise UsageError(f"no method {chosen!r}: expected one of {', '.join(METHODS)}")
    predictor = run if isinstance(run, Predictor) else load(run)
    for name in (label, against):
        if name is not None and name not in predictor.classes:
            raise UsageError(f"no class {name!r}: this run has {listed(predictor.classes)}")
    prediction = predictor.predict(image)
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
    most, least = regions(found, pixels.shape[0], pixels.shape[1])
    images = covered(pixels, np.stack([most, least]), blurred(pixels))
    after = np.exp(log_probabilities(predictor, images, settle=True))
    return Explanation(
        prediction,
        explained,
        prediction.probabilities[explained],
        against,
        chosen,
        found,
        pixels,
        images[0],
        most,
        _named(predictor, after[0]),
        _named(predictor, after[1]),
    )


def regions(values: Maps, height: int, width: int) -> tuple[Maps, Maps]:
    """The region of most evidence of a map, and as large a one of least, (height, width) in 0..1
    with soft edges. A map of zeros has no such region: it comes out empty.
    """
    if not values.max() > 0:
        nothing = np.zeros((height, width), np.float32)
        return nothing, nothing
    large = resized(values, height, width)
    size = large.size
    # A gradient for equal places: the largest value still wins, and no tie covers half the image.
    order = np.argsort(-large, axis=None, kind="stable")
    above = int((large >= HALF * large.max()).sum())
    count = max(1, min(above, int(MOST * size)))
    most, least = np.zeros(size, np.float32), np.zeros(size, np.float32)
    most[order[:count]] = 1
    least[order[-count:]] = 1
    return _softened(most.reshape(height, width)), _softened(least.reshape(height, width))


def painted(image: Image.Image, values: Maps) -> Image.Image:
    """The image with a map (h, w) ≥ 0 over it, of the image's size: clear, yellow, orange, red."""
    highest = float(values.max())
    scaled = resized(values / highest if highest > 0 else values, image.height, image.width)
    strength = np.clip(scaled, 0, 1)[..., np.newaxis]
    gray = np.asarray(image.convert("L").convert("RGB"), np.float32)
    base = 0.25 * np.asarray(image.convert("RGB"), np.float32) + 0.75 * gray
    stops = np.array([0, 0.35, 0.7, 1.0])
    colors = np.array([[255, 240, 150], [255, 205, 40], [240, 105, 30], [170, 10, 40]], np.float32)
    flat = strength[..., 0]
    color = np.stack([np.interp(flat, stops, colors[:, i]) for i in range(3)], axis=-1)
    opacity = np.clip(strength * 1.3, 0, 0.72)
    return Image.fromarray((base * (1 - opacity) + color * opacity).clip(0, 255).astype(np.uint8))


def changed(name: str, before: float, after: float) -> str:
    """`rose falls from 93 % to 41 %`, in whole percent."""
    first, then = share(before), share(after)
    if first == then:
        return f"{name} stays at {first}"
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
