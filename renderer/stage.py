"""From a class and a number to an image."""

import zlib

import numpy as np
import torch

from renderer.clutter import draw_clutter
from renderer.film import develop, film
from renderer.objects import build
from renderer.scene import Scene
from renderer.surroundings import draw_setting

SEED = 2024
SIDE = 192
SAMPLES = 6


def generator(name: str, number: int, purpose: str) -> np.random.Generator:
    """Random numbers that depend on the seed, the image and the purpose, and on nothing else."""
    return np.random.default_rng(
        [SEED, zlib.crc32(name.encode()), number, zlib.crc32(purpose.encode())]
    )


def compose(name: str, number: int) -> Scene:
    """The scene of an image. Only the object knows its class."""
    rng = generator(name, number, "setting")
    setting = draw_setting(rng)
    things = build(name, generator(name, number, "object"), setting.yaw)
    things += draw_clutter(generator(name, number, "clutter"), setting.backward)
    return Scene(things, setting.planes, setting.room, setting.light, setting.camera)


def render(name: str, number: int, side: int = SIDE, samples: int = SAMPLES) -> np.ndarray:
    """The image, (side, side, 3), 8 bits a channel."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # images are made side by side, and sums come out the same
    try:
        with torch.no_grad():
            scene = compose(name, number)
            light = develop(scene, side, samples, number)
    finally:
        torch.set_num_threads(before)
    return film(light, generator(name, number, "film"))
