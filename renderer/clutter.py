"""Other things on the table: books, boxes, balls, fruit, plates, pencils.

Drawn without the class: they stand off the unit circle, into which every object fits.
"""

from dataclasses import replace

import numpy as np
from torch import Tensor

from renderer.materials import any_color, linear, metal, pattern, plain, pottery, wood
from renderer.noise import Noise, column, mix, smoothstep
from renderer.scene import Material, Paint, Thing
from renderer.shapes import Distance, ball, box, rod

KINDS = ("book", "books", "box", "ball", "fruit", "plate", "pencil", "can", "block")


def draw_clutter(rng: np.random.Generator, backward: np.ndarray) -> list[Thing]:
    """None to four things beside and behind the object, and now and then one in front of it."""
    things: list[Thing] = []
    right = np.array([-backward[2], 0.0, backward[0]])
    taken: list[tuple[np.ndarray, float]] = []
    for _ in range(int(rng.choice(5, p=[0.15, 0.25, 0.27, 0.2, 0.13]))):
        size = rng.uniform(0.3, 0.75)
        angle = rng.uniform(-0.35, np.pi + 0.35)  # right through behind to left
        if rng.random() < 0.26:
            angle, size = rng.uniform(np.pi * 1.15, np.pi * 1.85), rng.uniform(0.2, 0.36)
        off = rng.uniform(0.72, 1.5) + size
        place = (right * np.cos(angle) + backward * np.sin(angle)) * off
        if any(np.linalg.norm(place - there) < size + wide for there, wide in taken):
            continue
        taken.append((place, size))
        things += draw_thing(str(rng.choice(KINDS)), rng, place, size)
    return things


def standing(
    form: Distance, material: Material, place: np.ndarray, height: float, yaw: float, bound: float
) -> Thing:
    """A thing whose middle is `height` over the table."""
    cos, sin = np.cos(yaw), np.sin(yaw)
    turn = np.array([[cos, 0.0, sin], [0.0, 1.0, 0.0], [-sin, 0.0, cos]])
    return Thing(form, material, place + np.array([0.0, height, 0.0]), turn, bound=bound)


def draw_thing(kind: str, rng: np.random.Generator, place: np.ndarray, size: float) -> list[Thing]:
    """One thing, or a small pile."""
    noise, yaw = Noise(rng), rng.uniform(0, 2 * np.pi)
    simple = Material(plain(any_color(rng), noise), rough=rng.uniform(0.1, 0.8))
    if kind in ("book", "books"):
        return books(rng, noise, place, size, 1 if kind == "book" else int(rng.integers(2, 5)))
    if kind == "box":
        half = tuple(size * rng.uniform(0.3, 0.7, 3))
        made = simple if rng.random() < 0.6 else Material(pattern(rng, noise), rough=0.6)
        return [standing(box(half, 0.02), made, place, half[1], yaw, size * 1.3)]
    if kind == "block":
        half = (size * 0.45,) * 3
        made = Material(wood(rng, noise, 2.5), rough=0.5)
        return [standing(box(half, 0.03), made, place, half[1], yaw, size * 0.9)]
    if kind == "ball":
        made = Material(pattern(rng, noise), rough=rng.uniform(0.05, 0.7))
        return [standing(ball(size * 0.6), made, place, size * 0.6, yaw, size * 0.65)]
    if kind == "fruit":
        return fruit(rng, noise, place, size)
    if kind == "plate":
        made = pottery(rng, noise)
        return [standing(rod(size, 0.03, 0.025), made, place, 0.03, yaw, size * 1.05)]
    if kind == "can":
        wide, tall = size * 0.42, size * rng.uniform(0.4, 0.7)
        made = metal(rng, noise) if rng.random() < 0.4 else Material(pattern(rng, noise), rough=0.3)
        return [standing(rod(wide, tall, 0.02), made, place, tall, yaw, size * 0.9)]
    pencil = standing(rod(0.035, size, 0.01), simple, place, 0.036, yaw, size * 1.05)
    lying = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    return [replace(pencil, turn=pencil.turn @ lying)]


def books(
    rng: np.random.Generator, noise: Noise, place: np.ndarray, size: float, count: int
) -> list[Thing]:
    """Books lying on each other, their pages lighter than their covers."""
    things, height = [], 0.0
    for _ in range(count):
        half = (
            size * rng.uniform(0.65, 0.9),
            rng.uniform(0.05, 0.11),
            size * rng.uniform(0.5, 0.65),
        )
        paint = bound_pages(half, any_color(rng), noise)
        made = Material(paint, rough=0.5)
        turn = rng.uniform(0, 2 * np.pi) if count == 1 else rng.normal(0, 0.25)
        things.append(standing(box(half, 0.008), made, place, height + half[1], turn, size * 1.2))
        height += 2 * half[1]
    return things


def bound_pages(half: tuple[float, float, float], cover: np.ndarray, noise: Noise) -> Paint:
    """A book of that size: its cover, and pages that end as thin lines."""
    page = linear(0.92, 0.88, 0.78)

    def paint(p: Tensor) -> Tensor:
        inside = smoothstep(half[1] - 0.014, half[1] - 0.02, p[1].abs())
        inside = inside * (p[0] > -half[0] * 0.97)
        lined = 0.85 + 0.15 * noise(p[1] * 160, p[0] * 2)
        return mix(column(cover), column(page) * lined, inside)

    return paint


def fruit(rng: np.random.Generator, noise: Noise, place: np.ndarray, size: float) -> list[Thing]:
    """One to three apples, oranges, lemons or plums."""
    shades = [(0.75, 0.1, 0.08), (0.95, 0.5, 0.05), (0.95, 0.82, 0.15), (0.5, 0.7, 0.15)]
    shades += [(0.3, 0.08, 0.25)]
    shade, blush = (linear(*shades[int(rng.integers(len(shades)))]) for _ in range(2))
    things = []
    for i in range(int(rng.integers(1, 4))):
        radius, squash = size * rng.uniform(0.33, 0.42), rng.uniform(0.82, 1.0)
        turn = i * 2.1 + rng.uniform(0, 0.5)
        off = np.array([np.cos(turn), 0.0, np.sin(turn)]) * radius * 1.18

        def paint(p: Tensor) -> Tensor:
            spots = noise.solid(p, 5.0, 3)
            return mix(column(shade), column(blush), smoothstep(0.5, 0.65, spots) * 0.7)

        form = ball(radius, squash, dimple=radius * 0.12)
        made = Material(paint, rough=0.25)
        things.append(standing(form, made, place + off, radius * squash, turn, radius * 1.1))
    return things
