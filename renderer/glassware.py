"""The two classes that are mostly of glass: bottles and wine glasses."""

import numpy as np
from torch import Tensor

from renderer.forms import arc, bent, closed, radius_at, vessel
from renderer.materials import any_color, glass, linear, metal, plain, pottery, solid_ware
from renderer.noise import Noise, column, mix, smoothstep
from renderer.scene import Material
from renderer.shapes import Turned

Parts = list[tuple[Turned, Material]]


def bottle_sides(rng: np.random.Generator) -> tuple[np.ndarray, float, float]:
    """A bottle's sides, how high its shoulder begins and how high it is."""
    tall = rng.uniform(1.5, 2.6)
    wide = rng.uniform(0.32, 0.42)
    neck = wide * rng.uniform(0.28, 0.48)
    shoulder, collar = rng.uniform(0.5, 0.68), rng.uniform(0.74, 0.84)
    style = rng.choice(["straight", "sloped", "flask", "waist", "square"])
    if style == "flask":
        tall, wide = rng.uniform(1.1, 1.5), rng.uniform(0.42, 0.55)
        shoulder, collar = 0.42, 0.72
    heel = arc((wide - 0.06, 0.06), (0.06, 0.06), -90, 0, 5)
    if style == "sloped":
        turn = [(wide * 0.9, shoulder * tall * 0.95), (neck * 1.25, collar * tall)]
    elif style == "waist":
        turn = [(wide * 0.84, 0.3 * tall), (wide, 0.52 * tall), (wide * 0.75, 0.66 * tall)]
        turn += [(neck, collar * tall)]
    else:
        turn = [(wide * 0.93, shoulder * tall + 0.09), (neck * 1.1, collar * tall)]
    if style == "flask":
        heel = np.array([(wide * 0.6, 0.0)])
        turn = [(wide, 0.25 * tall), (wide * 0.9, 0.45 * tall), (neck, collar * tall)]
    elif style != "waist":
        turn.insert(0, (wide, shoulder * tall))
    lip = neck * rng.uniform(1.0, 1.3)
    end = [(neck, 0.95 * tall), (lip, 0.955 * tall), (lip, tall)]
    sides = bent(np.concatenate([heel, turn, end]), 64)
    return sides, shoulder * tall, tall


def bottle(rng: np.random.Generator, noise: Noise) -> Parts:
    """Bottles: of glass, full or empty, or of ceramic or metal; with labels, corks and caps."""
    sides, shoulder, tall = bottle_sides(rng)
    square = float(rng.choice([2.0, 2.0, 2.0, 2.0, 4.5]))
    kind = rng.choice(["full", "hollow", "opaque"], p=[0.5, 0.25, 0.25])
    ware = solid_ware(rng, noise) if kind == "opaque" else glass(rng, 0.75, 0.9)
    if kind == "hollow":
        ware = glass(rng, 0.6, 5.0)
        body = Turned(vessel(sides), tall, wall=0.04, floor=0.08, square=square, rim=0.02)
    else:
        body = Turned(closed(sides), square=square)
    parts: Parts = [(body, ware)]
    if rng.random() < 0.6:
        low, high = shoulder * rng.uniform(0.12, 0.35), shoulder * rng.uniform(0.7, 0.95)
        skin = Turned(body.outline, high, low, wall=0.012, grow=0.012, square=square, rim=0.002)
        parts.append((skin, paper(rng, noise)))
    neck = radius_at(sides, 0.9 * tall)
    cap = rng.choice(["cork", "screw", "foil", "none"], p=[0.25, 0.35, 0.25, 0.15])
    color = any_color(rng)
    if cap == "cork":
        plug = np.array([[neck * 0.75, tall - 0.05], [neck * 0.8, tall + 0.1]])
        bark = plain(linear(0.75, 0.55, 0.36), noise, 16.0, 0.5)
        parts.append((Turned(closed(plug)), Material(bark, rough=0.9)))
    elif cap == "screw":
        over = neck * rng.uniform(1.2, 1.5)
        lid = np.array([[over, tall - 0.14], [over, tall - 0.05], [over, tall + 0.02]])
        finish = Material(plain(color, noise), rough=rng.uniform(0.2, 0.5))
        made = metal(rng, noise) if rng.random() < 0.4 else finish
        parts.append((Turned(closed(lid), ribs=(24, 0.02)), made))
    elif cap == "foil":
        skin = Turned(body.outline, tall + 0.01, tall * rng.uniform(0.74, 0.88), grow=0.014)
        parts.append((skin, Material(plain(color, noise), rough=0.25, facing=0.1)))
    return parts


def paper(rng: np.random.Generator, noise: Noise) -> Material:
    """A label: a ground, a bar or two, a round mark and lines like writing."""
    ground, bar, ink = any_color(rng), any_color(rng), any_color(rng) * 0.3
    at, half = rng.uniform(-0.5, -0.1), rng.uniform(0.03, 0.12)
    mark = rng.uniform(-0.35, 0.0)

    def paint(p: Tensor) -> Tensor:
        color = mix(column(ground), column(bar), smoothstep(half, half - 0.01, (p[1] - at).abs()))
        lines = smoothstep(0.5, 0.6, (p[1] * 16) % 1.0) * smoothstep(
            0.4, 0.5, noise(p[0] * 22 + p[2] * 14, (p[1] * 16).floor() * 3.3)
        )
        color = mix(color, column(ink), 0.8 * lines * (p[1] < at))
        round_mark = ((p[0] * p[0] + (p[1] - mark) ** 2).sqrt() - 0.08).abs()
        return mix(color, column(ink), smoothstep(0.025, 0.015, round_mark))

    return Material(paint, rough=0.7)


def wine_glass(rng: np.random.Generator, noise: Noise) -> Parts:
    """Glasses on a stem: for wine, sparkling wine or cocktails; some goblets aren't of glass."""
    stem, deep = rng.uniform(0.5, 1.0), rng.uniform(0.6, 1.0)
    foot, thin = rng.uniform(0.32, 0.46), rng.uniform(0.035, 0.055)
    style = rng.choice(["tulip", "round", "flute", "coupe", "cone", "goblet"])
    if style == "flute":
        deep, foot = rng.uniform(0.95, 1.3), rng.uniform(0.28, 0.36)
    if style in ("coupe", "cone"):
        deep = rng.uniform(0.35, 0.55)
    start = stem + 0.08
    cup = {
        "tulip": [(0.3, start + 0.1 * deep), (0.44, start + 0.4 * deep), (0.33, start + deep)],
        "round": [(0.36, start + 0.12 * deep), (0.52, start + 0.45 * deep), (0.4, start + deep)],
        "flute": [(0.15, start + 0.2 * deep), (0.22, start + 0.6 * deep), (0.2, start + deep)],
        "coupe": [(0.35, start + 0.2 * deep), (0.52, start + 0.6 * deep), (0.58, start + deep)],
        "cone": [(0.26, start + 0.42 * deep), (0.44, start + 0.75 * deep), (0.6, start + deep)],
        "goblet": [(0.3, start + 0.08 * deep), (0.4, start + 0.4 * deep), (0.43, start + deep)],
    }[str(style)]
    below = [(foot, 0.0), (foot, 0.025), (foot * 0.45, 0.06), (thin * 1.3, 0.14)]
    knot = thin * (2.2 if rng.random() < 0.25 else 1.0)
    below += [(thin, stem * 0.4), (knot, stem * 0.6), (thin, stem * 0.8), (thin * 1.8, stem)]
    sides = bent([*below, *cup], 72)
    tall = start + deep
    of_glass = rng.random() < 0.8
    thick = 0.028 if of_glass else 0.045
    body = Turned(vessel(sides), tall, wall=thick, floor=start, rim=thick * 0.6)
    if not of_glass:
        return [(body, metal(rng, noise) if rng.random() < 0.5 else pottery(rng, noise))]
    parts: Parts = [(body, glass(rng, 0.2, 2.0))]
    if rng.random() < 0.6:
        level = start + deep * rng.uniform(0.35, 0.75)
        shades = [(0.3, 0.02, 0.06), (0.36, 0.03, 0.07), (0.85, 0.72, 0.35), (0.8, 0.42, 0.38)]
        color = linear(*shades[int(rng.integers(len(shades)))])
        inner = Turned(body.outline, level, start + 0.012, grow=-thick - 0.012)
        parts.append((inner, Material(plain(color, noise, 2.0, 0.1), rough=0.03)))
    return parts
