"""What surfaces are made of: ceramic, clay, metal, glass, wood, cloth, stone.

Every function draws its own colors and patterns from the generator it is given.
"""

import colorsys

import numpy as np
import torch
from torch import Tensor

from renderer.noise import Noise, column, mix, smoothstep
from renderer.scene import Material, Paint

Color = np.ndarray
METALS = {
    "steel": (0.62, 0.61, 0.60),
    "brass": (0.85, 0.62, 0.28),
    "copper": (0.90, 0.50, 0.36),
    "silver": (0.88, 0.87, 0.84),
    "pewter": (0.36, 0.36, 0.37),
    "bronze": (0.42, 0.29, 0.17),
}


def linear(r: float, g: float, b: float) -> Color:
    """A color as a screen shows it, in proportion to its light."""
    return np.array([r, g, b]) ** 2.2


def any_color(rng: np.random.Generator) -> Color:
    """A color that pottery, plastic or paper may have: whites, earths, pastels, strong ones."""
    kind = rng.choice(4, p=[0.3, 0.2, 0.25, 0.25])
    hue = rng.random()
    if kind == 0:
        return linear(*colorsys.hsv_to_rgb(rng.uniform(0.05, 0.16), rng.uniform(0, 0.18), 0.92))
    if kind == 1:
        value = rng.uniform(0.2, 0.7)
        return linear(*colorsys.hsv_to_rgb(rng.uniform(0.02, 0.1), rng.uniform(0.2, 0.7), value))
    if kind == 2:
        return linear(*colorsys.hsv_to_rgb(hue, rng.uniform(0.15, 0.4), rng.uniform(0.6, 0.9)))
    return linear(*colorsys.hsv_to_rgb(hue, rng.uniform(0.5, 0.85), rng.uniform(0.18, 0.75)))


def calm_color(rng: np.random.Generator) -> Color:
    """A color for tables and walls: mostly grayish, as rooms are."""
    color = any_color(rng)
    share = float(rng.choice([0.2, 0.4, 0.65], p=[0.4, 0.4, 0.2]))
    calm: Color = color.mean() + (color - color.mean()) * share
    return calm


def plain(color: Color, noise: Noise, scale: float = 3.0, unrest: float = 0.12) -> Paint:
    """One color, a little uneven as everything is."""

    def paint(p: Tensor) -> Tensor:
        return column(color) * (1 + unrest * (noise.solid(p, scale) - 0.5) * 2)

    return paint


def pattern(rng: np.random.Generator, noise: Noise) -> Paint:
    """Two or three colors in one of the ways potters use."""
    one, two, three = (any_color(rng) for _ in range(3))
    kind = rng.choice(["bands", "dip", "speckle", "dots", "stripes", "zigzag", "clouds", "belt"])
    count, edge, phase = int(rng.integers(3, 9)), rng.uniform(-0.4, 0.5), rng.random()
    wide, fine = rng.uniform(0.2, 0.6), rng.uniform(9, 22)

    def weight(p: Tensor) -> Tensor:
        angle, y = torch.atan2(p[2], p[0]) / (2 * np.pi), p[1]
        if kind == "bands":
            return smoothstep(wide - 0.02, wide + 0.02, (y * count / 2 + phase) % 1.0)
        if kind == "dip":
            drip = 0.22 * noise.octaves(angle * 12, y * 0.4, 2)
            return smoothstep(edge, edge + 0.03, y + drip)
        if kind == "speckle":
            return 0.85 * smoothstep(0.64, 0.69, noise.solid(p, fine, 1))
        if kind == "stripes":
            return smoothstep(-0.15, 0.15, torch.sin(angle * 2 * np.pi * 3 * count))
        if kind == "zigzag":
            tooth = ((angle * 3 * count) % 1.0 - 0.5).abs()
            return smoothstep(0.35, 0.42, (y * count / 1.5 + tooth + phase) % 1.0)
        if kind == "clouds":
            return smoothstep(0.42, 0.6, noise.solid(p, 2.5, 4))
        if kind == "belt":
            return smoothstep(wide / 2 + 0.01, wide / 2, (y - edge / 2).abs())
        u, v = (angle * 3 * count) % 1.0 - 0.5, (y * count * 0.6 + phase) % 1.0 - 0.5
        return smoothstep(0.33, 0.28, (u * u + v * v).sqrt())

    def paint(p: Tensor) -> Tensor:
        base = mix(column(one), column(two), weight(p))
        if kind == "belt" and wide > 0.35:
            base = mix(base, column(three), smoothstep(0.03, 0.02, (p[1] - edge / 2).abs()))
        return base * (0.9 + 0.2 * noise.solid(p, 3.0))

    return paint


def pottery(rng: np.random.Generator, noise: Noise) -> Material:
    """Glazed or matte ceramic, one color or patterned; enamel looks like it."""
    paint = pattern(rng, noise) if rng.random() < 0.6 else plain(any_color(rng), noise)
    if rng.random() < 0.68:
        return Material(paint, rough=rng.uniform(0.02, 0.22), facing=rng.uniform(0.04, 0.06))
    return Material(paint, rough=rng.uniform(0.6, 0.95), facing=0.02)


def metal(rng: np.random.Generator, noise: Noise) -> Material:
    """Polished to brushed metal."""
    color = np.array(METALS[str(rng.choice(list(METALS)))])
    paint = plain(color, noise, scale=5.0, unrest=rng.uniform(0.02, 0.2))
    return Material(paint, rough=rng.uniform(0.03, 0.35), metal=True)


def solid_ware(rng: np.random.Generator, noise: Noise) -> Material:
    """What an opaque vessel is made of."""
    return metal(rng, noise) if rng.random() < 0.16 else pottery(rng, noise)


def glass(rng: np.random.Generator, tinted: float, strength: float = 1.0) -> Material:
    """Clear glass, or with the probability `tinted` one that holds back some colors."""
    absorbs = (0.12, 0.06, 0.09)
    if rng.random() < tinted:
        hue = rng.choice([0.08, 0.1, 0.28, 0.33, 0.38, 0.5, 0.58, 0.62, 0.95, 0.0])
        passes = np.array(colorsys.hsv_to_rgb(hue, rng.uniform(0.4, 0.9), 0.95))
        depth = strength * rng.uniform(1.0, 4.0)
        r, g, b = -np.log(passes + 0.03) * depth
        absorbs = (max(float(r), 0.05), max(float(g), 0.05), max(float(b), 0.05))
    return Material(lambda p: torch.zeros_like(p), rough=0.01, absorbs=absorbs)


def liquid(rng: np.random.Generator, noise: Noise, kinds: int) -> Material:
    """What fills a vessel: of the first `kinds` of coffee, milk coffee, tea, milk and soups."""
    shades = [(0.16, 0.08, 0.04), (0.45, 0.26, 0.14), (0.55, 0.25, 0.06), (0.93, 0.9, 0.84)]
    shades += [(0.75, 0.3, 0.12), (0.8, 0.62, 0.25), (0.5, 0.55, 0.2), (0.35, 0.05, 0.1)]
    color = linear(*shades[int(rng.integers(kinds))])
    return Material(plain(color, noise, 4.0, 0.25), rough=0.05, facing=0.03)


def wood(rng: np.random.Generator, noise: Noise, scale: float) -> Paint:
    """Planks with grain along the first axis."""
    hue, value = rng.uniform(0.05, 0.1), rng.uniform(0.3, 0.85)
    light = linear(*colorsys.hsv_to_rgb(hue, rng.uniform(0.25, 0.65), value))
    dark = light * rng.uniform(0.35, 0.7)
    width, turn = rng.uniform(0.5, 2.5), rng.random() < 0.5
    gaps = rng.random() < 0.7

    def paint(p: Tensor) -> Tensor:
        x, y = (p[1], p[0]) if turn else (p[0], p[1])
        x, y = x * scale, y * scale
        plank = (y / width).floor()
        x = x + plank * 7.3
        wave = noise.octaves(x * 0.5, y * 1.2, 2)
        rings = torch.sin((y * 3.0 + wave * 5.0) * 4.0) * 0.5 + 0.5
        grain = 0.6 * rings + 0.4 * noise.octaves(x * 1.5, y * 22.0, 2)
        tone = 0.8 + 0.4 * noise(plank * 3.7, plank * 1.3)
        color = mix(column(light), column(dark), grain * 0.8) * tone
        if gaps:
            edge = ((y / width - plank) - 0.5).abs()
            color = color * (1 - 0.75 * smoothstep(0.485, 0.495, edge))
        return color

    return paint


def tiles(rng: np.random.Generator, noise: Noise, scale: float) -> Paint:
    """Square or oblong tiles, or bricks, in grout; some checkered."""
    one, two, grout = calm_color(rng), calm_color(rng), linear(*[rng.uniform(0.3, 0.9)] * 3)
    wide, high = rng.uniform(0.5, 1.4), rng.uniform(0.4, 0.8)
    shifted, checkered = rng.random() < 0.5, rng.random() < 0.3

    def paint(p: Tensor) -> Tensor:
        v = p[1] * scale / high
        row = v.floor()
        u = p[0] * scale / wide + (0.5 * (row % 2) if shifted else 0.0)
        place = u.floor()
        color = column(one) * (0.8 + 0.4 * noise(place * 3.1 + 0.5, row * 5.7 + 0.5))
        if checkered:
            color = mix(color, column(two), (row + place) % 2)
        edge = torch.maximum(
            (u - place - 0.5).abs() * wide, (v - row - 0.5).abs() * high + ((wide - high) / 2)
        )
        return mix(color, column(grout), smoothstep(wide / 2 - 0.035, wide / 2 - 0.02, edge))

    return paint


def cloth(rng: np.random.Generator, noise: Noise, scale: float) -> Paint:
    """Plain, striped or checked cloth, with a weave."""
    one, two, three = (calm_color(rng) for _ in range(3))
    kind, period, share = rng.integers(3), rng.uniform(0.25, 1.1), rng.uniform(0.25, 0.6)

    def paint(p: Tensor) -> Tensor:
        u, v = p[0] * scale, p[1] * scale
        a = smoothstep(share - 0.03, share, (u / period) % 1.0)
        b = smoothstep(share - 0.03, share, (v / period) % 1.0)
        color = column(one).expand_as(p)
        if kind >= 1:
            color = mix(color, column(two), a * 0.9)
        if kind == 2:
            color = mix(color, column(three), b * 0.5)
        weave = noise(u * 16, v * 4) + noise(u * 4, v * 16)
        folds = noise.octaves(u * 0.7, v * 0.7, 2)
        return color * (0.82 + 0.15 * weave) * (0.8 + 0.35 * folds)

    return paint


def stone(rng: np.random.Generator, noise: Noise, scale: float) -> Paint:
    """Marble, granite or concrete."""
    base = linear(*colorsys.hsv_to_rgb(rng.random(), rng.uniform(0, 0.15), rng.uniform(0.3, 0.95)))
    vein = base * rng.uniform(0.25, 0.7) if base.mean() > 0.2 else base + rng.uniform(0.1, 0.5)
    kind = rng.choice(["marble", "granite", "concrete"])

    def paint(p: Tensor) -> Tensor:
        u, v = p[0] * scale, p[1] * scale
        if kind == "marble":
            bent = u * 0.6 + v * 0.5 + 3.0 * noise.octaves(u * 0.7, v * 0.7)
            weight = (1 - (torch.sin(bent * 2.2)).abs()) ** 6
            weight = weight * noise.octaves(u + 30, v) * 1.6
        elif kind == "granite":
            weight = smoothstep(0.5, 0.7, noise.octaves(u * 9, v * 9, 2))
        else:
            weight = 0.7 * noise.octaves(u * 1.3, v * 1.3)
        return mix(column(base), column(vein), weight.clamp(0, 1))

    return paint
