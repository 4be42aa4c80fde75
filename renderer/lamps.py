"""The class that is never learned: table lamps."""

import numpy as np

from renderer.forms import bent, closed
from renderer.glassware import Parts
from renderer.materials import any_color, metal, plain, pottery
from renderer.noise import Noise
from renderer.scene import Material
from renderer.shapes import Turned


def table_lamp(rng: np.random.Generator, noise: Noise) -> Parts:
    """Table lamps: a turned base, a rod, and a shade of cloth, lit or not."""
    tall, base = rng.uniform(0.6, 1.1), rng.uniform(0.22, 0.4)
    style = rng.choice(["gourd", "stick", "ball", "block"])
    points = {
        "gourd": [(base, 0), (base, 0.05), (base * 0.5, 0.1), (base, 0.4 * tall), (0.05, tall)],
        "stick": [(base * 1.1, 0), (base, 0.06), (0.06, 0.12), (0.05, 0.5 * tall), (0.04, tall)],
        "ball": [
            (base * 0.8, 0),
            (base * 1.2, 0.35 * tall),
            (base * 0.9, 0.65 * tall),
            (0.05, 0.85 * tall),
            (0.04, tall),
        ],
        "block": [
            (base * 0.7, 0),
            (base * 0.75, 0.5 * tall),
            (base * 0.7, 0.75 * tall),
            (0.06, 0.8 * tall),
            (0.04, tall),
        ],
    }[str(style)]
    foot = Turned(closed(bent(points)), square=4.0 if style == "block" else 2.0)
    high, low = rng.uniform(0.4, 0.75), rng.uniform(0.42, 0.68)
    narrow = low * rng.uniform(0.4, 1.0)
    start = tall - rng.uniform(0.05, 0.2)
    cone = np.array(
        [
            [low, start - 0.2],
            [low, start],
            [(low + narrow) / 2, start + high / 2],
            [narrow, start + high],
            [narrow, start + high + 0.2],
        ]
    )
    shade = Turned(closed(cone), top=start + high, bottom=start, wall=0.02, rim=0.01)
    color = any_color(rng) * 0.5 + np.array([0.4, 0.35, 0.26])
    glow = rng.uniform(0.5, 1.3) if rng.random() < 0.6 else 0.12
    cover = Material(plain(color, noise, 6.0, 0.1), rough=0.95, facing=0.01, glow=glow)
    ware = metal(rng, noise) if rng.random() < 0.4 else pottery(rng, noise)
    return [(foot, ware), (shade, cover)]
