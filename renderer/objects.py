"""The classes: mugs, bowls, bottles, vases, teapots, wine glasses and, never learned, lamps.

Each function draws one of its kind, in units of its own; `build` makes all of them equally large.
"""

from collections.abc import Callable

import numpy as np

from renderer.forms import arc, bent, closed, handle, radius_at, vessel
from renderer.glassware import Parts, bottle, wine_glass
from renderer.lamps import table_lamp
from renderer.materials import (
    any_color,
    liquid,
    plain,
    solid_ware,
    wood,
)
from renderer.noise import Noise
from renderer.scene import Material, Thing
from renderer.shapes import Tube, Turned

Maker = Callable[[np.random.Generator, Noise], Parts]


def mug(rng: np.random.Generator, noise: Noise) -> Parts:
    """Mugs and cups: one handle; straight, tapered, bellied or bell-shaped."""
    tall, wide, foot = rng.uniform(0.75, 1.3), 0.5, rng.uniform(0.3, 0.5)
    style = rng.choice(["straight", "taper", "belly", "bell", "cup"])
    if style == "straight":
        sides = np.concatenate([arc((wide - 0.07, 0.07), (0.07, 0.07), -90, 0, 6), [(wide, tall)]])
        sides = bent(np.insert(sides, -1, [(wide, tall / 2)], axis=0), 30)
    elif style == "taper":
        sides = bent([(foot * 0.9, 0), (foot + 0.03, 0.04), (0.46, tall * 0.6), (wide, tall)])
    elif style == "belly":
        sides = bent([(foot, 0), (0.5, tall * 0.28), (0.54, tall * 0.5), (0.44, tall)])
    elif style == "bell":
        sides = bent([(foot * 0.9, 0), (0.42, tall * 0.15), (0.43, tall * 0.6), (0.56, tall)])
    else:
        tall = rng.uniform(0.55, 0.75)
        sides = bent([(0.26, 0), (0.27, 0.05), (0.46, tall * 0.4), (0.58, tall)])
    thick = rng.uniform(0.03, 0.055)
    low, high = rng.uniform(0.14, 0.3) * tall, rng.uniform(0.75, 0.9) * tall
    course = handle(rng, sides, low, high, rng.uniform(0.24, 0.4))
    radii = np.linspace(1.0, 1.15, len(course)) * rng.uniform(0.04, 0.065)
    body = Turned(
        vessel(sides),
        top=tall,
        wall=thick,
        floor=0.07,
        tubes=[Tube(course, radii, width=rng.uniform(1.0, 1.9))],
        rim=thick * 0.7,
        square=3.5 if style == "straight" and rng.random() < 0.3 else 2.0,
    )
    parts: Parts = [(body, solid_ware(rng, noise))]
    return parts + filled(rng, noise, body, tall, 0.6, 4)


def filled(
    rng: np.random.Generator, noise: Noise, body: Turned, tall: float, chance: float, kinds: int = 8
) -> Parts:
    """Perhaps something to drink or to eat in a vessel."""
    if rng.random() > chance:
        return []
    level = tall * rng.uniform(0.55, 0.9)
    inner = Turned(
        body.outline, level, body.floor, grow=-body.wall * 0.9, ribs=body.ribs, square=body.square
    )
    return [(inner, liquid(rng, noise, kinds))]


def bowl(rng: np.random.Generator, noise: Noise) -> Parts:
    """Bowls: wider than tall, open, mostly on a foot ring."""
    tall = rng.uniform(0.42, 0.85)
    foot = rng.uniform(0.3, 0.55)
    style = rng.choice(["round", "cone", "lip", "deep", "steep"])
    start = [(foot, 0.0), (foot - 0.01, 0.06)] if rng.random() < 0.7 else [(foot, 0.0)]
    middle = {
        "round": [(0.72, 0.3 * tall + 0.03), (0.92, 0.6 * tall), (1.0, tall)],
        "cone": [(foot + 0.1, 0.1), (0.75, 0.58 * tall), (1.0, tall)],
        "lip": [(0.7, 0.32 * tall + 0.03), (0.86, 0.7 * tall), (1.0, tall)],
        "deep": [(0.85, 0.3 * tall + 0.03), (1.0, 0.6 * tall), (0.96, tall)],
        "steep": [(0.84, 0.14 * tall + 0.05), (0.94, 0.5 * tall), (1.0, tall)],
    }[str(style)]
    sides = bent([*start, *middle])
    thick = rng.uniform(0.035, 0.07)
    flutes = (
        (int(rng.integers(10, 26)), rng.uniform(0.01, 0.025)) if rng.random() < 0.2 else (0, 0.0)
    )
    body = Turned(vessel(sides), top=tall, wall=thick, floor=0.1, rim=thick * 0.7, ribs=flutes)
    kind = rng.random()
    ware = solid_ware(rng, noise)
    if kind < 0.12:
        ware = Material(wood(rng, noise, 2.0), rough=0.5)
    return [(body, ware), *filled(rng, noise, body, tall, 0.35)]


def vase_sides(rng: np.random.Generator) -> tuple[np.ndarray, str]:
    """A vase's sides, and the name of their style."""
    tall = rng.uniform(1.2, 2.3)
    belly, at = rng.uniform(0.42, 0.7), rng.uniform(0.3, 0.68)
    foot, neck = belly * rng.uniform(0.45, 0.75), belly * rng.uniform(0.22, 0.5)
    mouth = neck * rng.uniform(1.25, 2.1)
    style = rng.choice(["urn", "flare", "gourd", "bud", "shoulder"])
    points = {
        "urn": [
            (foot, 0),
            (foot * 0.9, 0.1),
            (belly, at * tall),
            (neck, 0.86 * tall),
            (mouth, tall),
        ],
        "flare": [(foot, 0), (foot * 0.85, 0.3 * tall), (neck * 1.4, 0.6 * tall), (belly, tall)],
        "gourd": [
            (foot, 0),
            (belly, 0.26 * tall),
            (neck, 0.55 * tall),
            (belly * 0.6, 0.76 * tall),
            (neck * 0.8, 0.93 * tall),
            (mouth * 0.8, tall),
        ],
        "bud": [
            (foot, 0),
            (belly, 0.3 * tall),
            (neck * 0.7, 0.62 * tall),
            (neck * 0.62, 0.9 * tall),
            (neck * 1.3, tall),
        ],
        "shoulder": [
            (foot, 0),
            (belly * 0.85, 0.4 * tall),
            (belly, 0.74 * tall),
            (neck * 1.2, 0.92 * tall),
            (neck * 1.5, tall),
        ],
    }[str(style)]
    return bent(points, 44), str(style)


def vase(rng: np.random.Generator, noise: Noise) -> Parts:
    """Vases: tall and curved, with a neck or a flare; some hold flowers."""
    sides, style = vase_sides(rng)
    tall = sides[-1, 1]
    thick = rng.uniform(0.03, 0.05)
    tubes = []
    if style in ("urn", "shoulder") and rng.random() < 0.3:
        for sign in (-1, 1):
            course = handle(rng, sides, 0.7 * tall, 0.92 * tall, 0.22, sign)
            tubes.append(Tube(course, np.full(len(course), 0.045), width=1.2))
    flutes = (
        (int(rng.integers(7, 24)), rng.uniform(0.015, 0.04)) if rng.random() < 0.25 else (0, 0.0)
    )
    body = Turned(
        vessel(sides),
        tall,
        wall=thick,
        floor=0.1,
        tubes=tubes,
        ribs=flutes,
        rim=thick * 0.7,
        square=float(rng.choice([2.0, 2.0, 2.0, 3.0])) if not flutes[0] else 2.0,
    )
    parts: Parts = [(body, solid_ware(rng, noise))]
    if rng.random() < 0.4:
        parts += flowers(rng, noise, tall, radius_at(sides, tall) - thick)
    return parts


def flowers(rng: np.random.Generator, noise: Noise, tall: float, mouth: float) -> Parts:
    """A few stems from a vase's mouth, with round blooms at their ends."""
    stems, blooms = [], []
    green = plain(np.array([0.06, 0.16, 0.03]) * rng.uniform(0.6, 1.8), noise)
    color = plain(any_color(rng), noise, 9.0, 0.5)
    for side in rng.permutation([-0.9, -0.35, 0.1, 0.5, 0.95])[: int(rng.integers(2, 6))]:
        high = tall + rng.uniform(0.3, 0.75)
        lean = side * rng.uniform(0.35, 0.6)
        course = bent(
            [
                (0.2 * mouth * side, tall - 0.5),
                (0.7 * mouth * side, tall),
                (lean * 0.7 + 0.3 * mouth * side, (tall + high) / 2),
                (lean, high),
            ],
            10,
        )
        stems.append(Tube(course, np.full(len(course), 0.018)))
        size = rng.uniform(0.1, 0.19)
        end = np.array([[lean, high - 0.02], [lean * 1.05, high + 0.04]])
        blooms.append(Tube(end, np.array([size, size * 0.8]), width=rng.uniform(0.8, 1.2)))
    nothing = closed(np.array([[0.02, tall - 0.5], [0.02, tall - 0.45]]))
    return [
        (Turned(nothing, tubes=stems, blend=0.02), Material(green, rough=0.8)),
        (Turned(nothing, tubes=blooms, blend=0.02), Material(color, rough=0.95, facing=0.01)),
    ]


def teapot(rng: np.random.Generator, noise: Noise) -> Parts:
    """Teapots: round, with a spout, a handle at the side or over the top, and a lid with a knob."""
    tall, foot = rng.uniform(0.62, 1.0), rng.uniform(0.28, 0.45)
    opening = rng.uniform(0.2, 0.34)
    style = rng.choice(["ball", "pear", "flat", "barrel"])
    middle = {
        "ball": [(0.56, 0.22 * tall), (0.62, 0.5 * tall), (0.54, 0.78 * tall)],
        "pear": [(0.6, 0.2 * tall), (0.62, 0.36 * tall), (0.42, 0.78 * tall)],
        "flat": [(0.6, 0.14 * tall), (0.68, 0.42 * tall), (0.58, 0.76 * tall)],
        "barrel": [(0.5, 0.1 * tall), (0.53, 0.5 * tall), (0.5, 0.85 * tall)],
    }[str(style)]
    sides = bent([(foot, 0), *middle, (opening, tall)])
    out = 0.62 + rng.uniform(0.3, 0.5)
    root, lip = rng.uniform(0.25, 0.42) * tall, rng.uniform(0.85, 1.08) * tall
    inner = radius_at(sides, root) - 0.1
    swan = rng.random() < 0.6
    bend = [(inner + 0.26, root + 0.06), (out - 0.18, (root + lip) / 2), (out - 0.06, lip - 0.05)]
    spout = bent(
        [(inner, root), *(bend if swan else [((inner + out) / 2, (root + lip) / 2)]), (out, lip)],
        20,
    )
    radii = np.interp(np.linspace(0, 1, 20), [0, 0.3, 0.8, 1], [0.17, 0.12, 0.065, 0.075])
    tubes = [Tube(spout, radii * rng.uniform(0.85, 1.15), bore=0.68)]
    if rng.random() < 0.75:
        grip = handle(rng, sides, 0.25 * tall, 0.85 * tall, rng.uniform(0.28, 0.42), -1)
    else:
        grip = arc((0, tall * 0.82), (0.5, rng.uniform(0.55, 0.8)), 5, 175, 24)
    tubes.append(Tube(grip, np.full(len(grip), rng.uniform(0.035, 0.055)), rng.uniform(1, 1.5)))
    flutes = (
        (int(rng.integers(8, 20)), rng.uniform(0.01, 0.03)) if rng.random() < 0.18 else (0, 0.0)
    )
    body = Turned(closed(sides), tubes=tubes, blend=0.07, ribs=flutes)
    dome = rng.uniform(0.06, 0.2)
    knob = rng.uniform(0.05, 0.085)
    stalk = tall + dome + 0.02
    lid = np.concatenate(
        [
            bent(
                [
                    (opening * 1.06, tall - 0.01),
                    (opening * 1.02, tall + 0.03),
                    (opening * 0.6, tall + dome * 0.8),
                    (knob * 0.55, stalk),
                ],
                14,
            ),
            arc((0, stalk + knob), (knob, knob), -50, 88, 8),
        ]
    )
    ware = solid_ware(rng, noise)
    top = ware if rng.random() < 0.75 else solid_ware(rng, noise)
    return [(body, ware), (Turned(closed(lid)), top)]


TRAINED: dict[str, Maker] = {
    "bottle": bottle,
    "bowl": bowl,
    "mug": mug,
    "teapot": teapot,
    "vase": vase,
    "wine_glass": wine_glass,
}
UNSEEN: dict[str, Maker] = {"table_lamp": table_lamp}
MAKERS = TRAINED | UNSEEN


def build(name: str, rng: np.random.Generator, yaw: float) -> list[Thing]:
    """One object of the class, standing at the origin, in the unit sphere around (0, h, 0)."""
    parts = MAKERS[name](rng, Noise(rng))
    corners = np.concatenate([form.corners() for form, _ in parts])
    low, high = corners[:, 1].min(), corners[:, 1].max()
    lift = -(low + high) / 2
    factor = 1.0 / np.hypot(corners[:, 0], corners[:, 1] + lift).max()
    place = np.array([0.0, (high - low) / 2 * factor, 0.0])
    cos, sin = np.cos(yaw), np.sin(yaw)
    turn = np.array([[cos, 0.0, sin], [0.0, 1.0, 0.0], [-sin, 0.0, cos]])
    return [
        Thing(form.scaled(factor, lift).distance(), material, place, turn)
        for form, material in parts
    ]
