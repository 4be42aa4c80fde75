"""Everything of a scene but the object: table, wall, room, light, camera.

None of the functions knows which class the image is of, so none can tell it.
"""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from renderer.materials import calm_color, cloth, linear, plain, stone, tiles, wood
from renderer.noise import Noise, column, mix, smoothstep
from renderer.scene import Camera, Light, Material, Paint, Plane, Surroundings, Window


@dataclass
class Setting:
    """Where the object will stand, and how it will be lit and seen."""

    planes: list[Plane]
    room: Surroundings
    light: Light
    camera: Camera
    yaw: float  # of the object, as seen from the camera
    backward: np.ndarray  # level, from the camera past the object


def toward(azimuth: float, elevation: float) -> np.ndarray:
    """The direction with these angles; azimuth 0 is +z."""
    level = np.cos(elevation)
    return np.array([level * np.sin(azimuth), np.sin(elevation), level * np.cos(azimuth)])


def warmth(rng: np.random.Generator, spread: float = 1.0) -> np.ndarray:
    """The color of a light, from candle to sky."""
    t = rng.uniform(-1, 1) * spread
    return np.array([1 + 0.28 * t, 1.0, 1 - 0.38 * t])


def draw_room(rng: np.random.Generator, azimuth: float) -> tuple[Surroundings, Light]:
    """The main light, the gradient around and the windows that shiny things show."""
    dim = rng.uniform(0.14, 0.6)
    zenith = warmth(rng, 0.6) * dim
    horizon = warmth(rng, 0.8) * dim * rng.uniform(0.4, 1.1)
    floor = np.array([0.5, 0.4, 0.32]) * dim * rng.uniform(0.2, 0.6)
    side, height = rng.uniform(-1.9, 1.9), rng.uniform(0.45, 1.2)
    light_at = toward(azimuth + side, height)
    strength = rng.uniform(1.2, 3.6)
    light = Light(light_at, rng.uniform(0.04, 0.30), warmth(rng) * strength)
    size = rng.uniform(0.15, 0.4)
    windows = [Window(light_at, (size, size * rng.uniform(0.7, 1.6)), light.color * 2.2)]
    for _ in range(int(rng.integers(0, 4))):
        place = toward(azimuth + rng.uniform(-2.0, 2.0), rng.uniform(0.1, 0.9))
        bright = warmth(rng, 0.8) * rng.uniform(1.5, 5.0)
        extent = (rng.uniform(0.12, 0.4), rng.uniform(0.2, 0.55))
        windows.append(Window(place, extent, bright, bool(rng.random() < 0.5)))
    return Surroundings(floor, horizon, zenith, windows), light


def draw_camera(rng: np.random.Generator, azimuth: float) -> Camera:
    """From a little above the table to far above it, near or far, rarely level or centered."""
    elevation = np.radians(
        rng.choice(
            [rng.uniform(4, 22), rng.uniform(16, 38), rng.uniform(36, 62)], p=[0.35, 0.45, 0.2]
        )
    )
    tangent = np.tan(np.radians(rng.uniform(18, 46)) / 2)
    fills = rng.uniform(0.72, 1.12)  # the object's sphere, as a share of the image's width
    away = 1.0 / (tangent * fills) + 0.35
    target = np.array([0.0, rng.uniform(0.5, 0.8), 0.0])
    place = target + toward(azimuth, elevation) * away
    shift = rng.uniform(-0.32, 0.32, 2) * max(0.2, 1.25 - fills)
    ahead = (target - place) / np.linalg.norm(target - place)
    right = np.cross(ahead, [0.0, 1.0, 0.0])
    right /= np.linalg.norm(right)
    up = np.cross(right, ahead)
    aim = target + (right * shift[0] + up * shift[1]) * away * tangent - place
    ahead = aim / np.linalg.norm(aim)
    right = np.cross(ahead, [0.0, 1.0, 0.0])
    right /= np.linalg.norm(right)
    up = np.cross(right, ahead)
    roll = np.radians(rng.normal(0, 2.5))
    right, up = np.cos(roll) * right + np.sin(roll) * up, np.cos(roll) * up - np.sin(roll) * right
    aperture = away * rng.uniform(0.0, 0.028)
    return Camera(place, np.stack([right, up, ahead]), float(tangent), aperture, away - 0.3)


def draw_setting(rng: np.random.Generator) -> Setting:
    """A table in a room, with the object's place at the origin."""
    azimuth = rng.uniform(-np.pi, np.pi)
    room, light = draw_room(rng, azimuth)
    camera = draw_camera(rng, azimuth)
    backward = -toward(azimuth, 0.0)
    noise = Noise(rng)
    wall_turn = azimuth + rng.normal(0, 0.3)
    normal = toward(wall_turn, 0.0)
    right = np.array([np.cos(wall_turn), 0.0, -np.sin(wall_turn)])
    distance = rng.uniform(1.5, 5.0)
    table_turn = rng.uniform(-0.5, 0.5)
    table_right = np.cos(table_turn) * right - np.sin(table_turn) * normal
    edge = rng.uniform(1.3, 2.4) if rng.random() < 0.4 else 99.0
    if edge < distance:  # an edge is seen before its wall, and parallel to it
        table_right = right
    # The table's second axis points away from the viewer: up x right, in the plane's own terms.
    table = Plane(np.zeros(3), np.array([0.0, 1.0, 0.0]), table_right, draw_top(rng, noise), edge)
    wall = Plane(-normal * distance, normal, right, draw_wall(rng, noise, distance))
    yaw = azimuth + rng.choice([0.0, np.pi]) + rng.uniform(-1, 1) * 0.75
    return Setting([table, wall], room, light, camera, yaw, backward)


def draw_top(rng: np.random.Generator, noise: Noise) -> Material:
    """The table top."""
    scale = rng.uniform(0.6, 1.8)
    kind = rng.choice(5, p=[0.38, 0.14, 0.2, 0.16, 0.12])
    paint = (
        plain(calm_color(rng), noise, 1.5, 0.15)
        if kind == 4
        else ((wood, tiles, cloth, stone)[kind](rng, noise, scale))
    )
    if kind == 2 or rng.random() < 0.4:
        return Material(paint, rough=0.9, facing=0.02)
    return Material(paint, rough=rng.uniform(0.12, 0.5), facing=0.035)


def draw_wall(rng: np.random.Generator, noise: Noise, distance: float) -> Material:
    """What is behind: a plain wall, a wall of something, or a room out of focus."""
    kind = rng.choice(["plain", "texture", "blurred"], p=[0.3, 0.25, 0.45])
    if kind == "blurred" or distance > 3.2:
        return Material(blurred(rng, noise, distance), rough=0.95, facing=0.01, glow=0.35)
    if kind == "texture":
        made = (wood, tiles, stone, cloth)[int(rng.integers(4))]
        return Material(made(rng, noise, rng.uniform(0.5, 1.1)), rough=0.8, facing=0.02)
    one, two = calm_color(rng), calm_color(rng)
    soft = rng.uniform(0.6, 3.0)

    def paint(p: Tensor) -> Tensor:
        weight = 0.5 * smoothstep(-soft, soft, p[1] - 0.8 + 0.4 * p[0])
        return mix(column(one), column(one * 0.5 + two * 0.5), weight) * (
            0.9 + 0.2 * noise.octaves(p[0], p[1])
        )

    return Material(paint, rough=0.9, facing=0.01)


def blurred(rng: np.random.Generator, noise: Noise, distance: float) -> Paint:
    """Shelves, pictures, lamps and windows, as they look far out of focus."""
    base = calm_color(rng)
    shapes = []
    for _ in range(int(rng.integers(4, 14))):
        at = rng.uniform(-0.9, 0.9, 2) * distance + [0.0, 0.8]
        half = rng.uniform(0.05, 0.4, 2) * distance * rng.choice([0.5, 1.0])
        color = calm_color(rng) * rng.uniform(0.3, 1.2)
        if rng.random() < 0.15:
            color = linear(1.0, 0.96, 0.9) * rng.uniform(2.0, 4.0)  # a window or a lamp
        shapes.append((at, half, color, rng.random() < 0.25))
    soft = rng.uniform(0.04, 0.12) * distance

    def paint(p: Tensor) -> Tensor:
        color = column(base) * (0.7 + 0.6 * noise.octaves(p[0] / distance * 2, p[1] / distance * 2))
        for at, half, own, is_round in shapes:
            x, y = (p[0] - at[0]).abs(), (p[1] - at[1]).abs()
            if is_round:
                weight = smoothstep(half[0] + soft, half[0] - soft, (x * x + y * y).sqrt())
            else:
                weight = smoothstep(half[0] + soft, half[0] - soft, x)
                weight = weight * smoothstep(half[1] + soft, half[1] - soft, y)
            color = mix(color, column(own), 0.9 * weight)
        return color

    return paint
