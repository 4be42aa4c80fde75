"""From samples to an image: rays of a camera, noise removed, tones as film gives them."""

import numpy as np
import torch
from torch import Tensor

from renderer.noise import column, unit
from renderer.scene import Camera, Scene
from renderer.tracer import Dice, Layers, Tracer


def rays(camera: Camera, side: int, dice: Dice) -> tuple[Tensor, Tensor]:
    """One ray for each pixel, from a point of the lens through one of the pixel.

    The points are the same for all pixels: edges come out smooth rather than ragged.
    """
    one, two = dice.common(0)
    one, two = 1.3 * (one - 0.5) + 0.5, 1.3 * (two - 0.5) + 0.5
    row, col = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    x = ((col.reshape(-1) + one) / side * 2 - 1) * camera.tangent
    y = (1 - (row.reshape(-1) + two) / side * 2) * camera.tangent
    right, up, ahead = (column(axis) for axis in camera.frame)
    d = right * x + up * y + ahead
    one, two = dice.common(2)
    radius, angle = one**0.5 * camera.aperture, two * 2 * np.pi
    lens = right * float(radius * np.cos(angle)) + up * float(radius * np.sin(angle))
    return (column(camera.place) + lens).expand_as(d), unit(d * camera.focus - lens)


def develop(scene: Scene, side: int, samples: int, seed: int) -> np.ndarray:
    """The scene as linear light, (side, side, 3)."""
    dice = Dice(seed, side * side)
    tracer = Tracer(scene, dice)
    sums: list[Tensor] = []
    for sample in range(samples):
        dice.next_sample(sample)
        o, d = rays(scene.camera, side, dice)
        one = tracer.sample(o, d)
        parts = [one.light * one.color, one.color, one.shine.clamp_max(6.0), one.normal]
        parts.append(one.depth[None])
        sums = [a + b for a, b in zip(sums, parts, strict=True)] if sums else parts
    means = [(part / samples).reshape(-1, side, side) for part in sums]
    layers = Layers(*means)
    layers.normal = unit(layers.normal.reshape(3, -1)).reshape(3, side, side)
    light = layers.light / layers.color.clamp_min(0.02)
    light = without_noise(light, layers, (1, 2, 4, 6), 0.7)
    shine = without_noise(layers.shine, layers, (1, 2), 0.3)
    return (light * layers.color.clamp_min(0.02) + shine).permute(1, 2, 0).numpy()


def without_noise(image: Tensor, layers: Layers, widths: tuple[int, ...], loose: float) -> Tensor:
    """The image smoothed where its neighbors lie on the same smooth surface.

    Ever wider rings of neighbors, each weighted by how alike they are in direction, distance and
    brightness: texture is no part of `image`, so only shadows have to survive.
    """
    weight_of = (0.375, 0.25, 0.0625)
    for step, width in enumerate(widths):
        total, weights = torch.zeros_like(image), torch.zeros_like(image[:1])
        for dy in range(-2, 3):
            for dx in range(-2, 3):
                shift = (dy * width, dx * width)
                other = shifted(image, shift)
                facing = (layers.normal * shifted(layers.normal, shift)).sum(0).clamp(0, 1) ** 16
                away = shifted(layers.depth, shift) - layers.depth
                near = torch.exp(-(away / (0.03 * layers.depth * (abs(dx) + abs(dy) + 1))).abs())
                level = (image.mean(0) + other.mean(0)) * loose * 0.6**step + 1e-3
                alike = torch.exp(-(((other - image).mean(0) / level) ** 2))
                weight = weight_of[abs(dy)] * weight_of[abs(dx)] * facing * near * alike
                total += other * weight
                weights += weight
        image = total / weights.clamp_min(1e-6)
    return image


def shifted(image: Tensor, by: tuple[int, int]) -> Tensor:
    """The image moved by (rows, columns), its border repeated."""
    rows = (torch.arange(image.shape[1]) + by[0]).clamp(0, image.shape[1] - 1)
    columns = (torch.arange(image.shape[2]) + by[1]).clamp(0, image.shape[2] - 1)
    return image[:, rows][:, :, columns]


def film(light: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Linear light as the 8-bit values of a photo: exposed, rolled off, and a little grainy."""
    side = light.shape[0]
    luma = light @ np.array([0.2126, 0.7152, 0.0722])
    # Exposed for the middle of the image, where the object is, as a camera does.
    across = np.linspace(-1, 1, side)
    central = np.exp(-1.5 * (across[:, None] ** 2 + across[None] ** 2))
    level = np.exp((np.log(luma + 0.02) * central).sum() / central.sum())
    exposed = light * (rng.uniform(0.24, 0.40) / level)
    fall = rng.uniform(0.05, 0.4)
    exposed = exposed * (1 - fall * (across[:, None] ** 2 + across[None] ** 2) / 2)[..., None]
    x = exposed * 0.85
    toned = np.clip(x * (2.51 * x + 0.03) / (x * (2.43 * x + 0.59) + 0.14), 0, 1)
    gray = toned.mean(-1, keepdims=True)
    toned = np.clip(gray + (toned - gray) * rng.uniform(0.85, 1.15), 0, 1)
    coded = np.where(toned < 0.0031308, toned * 12.92, 1.055 * toned ** (1 / 2.4) - 0.055)
    coded = coded + rng.normal(0, 0.003, (side, side, 1))
    image: np.ndarray = np.clip(coded * 255 + 0.5, 0, 255).astype(np.uint8)
    return image
