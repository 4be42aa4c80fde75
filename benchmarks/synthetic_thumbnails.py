"""Thumbnails of images that nobody took, as many as wanted, none of them stored.

Each is a sum of waves whose sizes fall with frequency as those of photos do; how much of it is
coarse and how much fine differs from image to image, as between a sky and a meadow. Row r is the
same whenever it is asked for.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "quality"))
WAVES, SIDE, LARGE = 24, 64, 128
# Size of a wave of frequency f: f to the minus FALL; and how much its octave varies from image to
# image (standard deviation of the logarithm).
FALL, VARIES = 1.25, 0.6
BLOCK = 2048


def hashed(rows: np.ndarray, count: int, stream: int) -> np.ndarray:
    """Numbers (n, count) with mean 0 and spread 1, nearly normal, that depend on the row alone."""
    with np.errstate(over="ignore"):
        x = rows.astype(np.uint64)[:, None] * np.uint64(count) + np.arange(count, dtype=np.uint64)
        x = x + np.uint64(stream) * np.uint64(0xD1342543DE82EF95)
        # splitmix64 (Steele et al. 2014, doi:10.1145/2660193.2660195)
        x = (x + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    pieces = (x ^ (x >> np.uint64(31))).view(np.uint16).reshape(len(rows), count, 4)
    return ((pieces.sum(2, dtype=np.float32) / 65535) - 2) * np.float32(3**0.5)


def basis(side: int) -> np.ndarray:
    """Waves (side, WAVES), averaged over pixels of LARGE."""
    at = (np.arange(LARGE) + 0.5) / LARGE
    waves = np.cos(np.pi * np.outer(at, np.arange(WAVES)))
    return waves.reshape(side, -1, WAVES).mean(1).astype(np.float32)


class Synthetic:
    """`count` thumbnails (N, 64, 64), of which those at `places` are edited copies of others."""

    def __init__(self, count: int, copies: int, seed: int = 1):
        from edits import EDITS, saved

        self.count, self.small, self.large = count, basis(SIDE), basis(LARGE)
        u, v = np.indices((WAVES, WAVES))
        frequency = np.maximum(np.hypot(u, v), 1)
        self.size = (frequency**-FALL * (u + v > 0)).astype(np.float32)
        self.octave = np.minimum(np.log2(frequency).astype(int), 4)
        random = np.random.default_rng(seed)
        chosen = random.choice(count, 2 * copies, replace=False)
        order = np.argsort(chosen[:copies])
        self.places, self.sources = chosen[:copies][order], chosen[copies:][order]
        self.kinds = list(EDITS)
        self.kind = np.arange(copies) % len(self.kinds)
        self.copies = np.zeros((copies, SIDE, SIDE), np.uint8)
        for i in range(copies):
            image = Image.fromarray(self.rendered(self.sources[i : i + 1], self.large)[0])
            edited = saved(EDITS[self.kinds[self.kind[i]]](image.convert("RGB"), random), 90)
            small = edited.convert("L").resize((LARGE, LARGE), Image.Resampling.BOX).reduce(2)
            self.copies[i] = np.asarray(small)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        out = np.empty((len(rows), SIDE, SIDE), np.uint8)
        for start in range(0, len(rows), BLOCK):
            out[start : start + BLOCK] = self.rendered(rows[start : start + BLOCK], self.small)
        if len(self.places):
            at = np.minimum(np.searchsorted(self.places, rows), len(self.places) - 1)
            mine = np.flatnonzero(self.places[at] == rows)
            out[mine] = self.copies[at[mine]]
        return out

    def rendered(self, rows: np.ndarray, waves: np.ndarray) -> np.ndarray:
        """These rows as gray images (n, side, side), edited or not."""
        sizes = self.size * np.exp(VARIES * hashed(rows, 5, 2))[:, self.octave]
        found = hashed(rows, WAVES**2, 1).reshape(-1, WAVES, WAVES) * sizes
        image = waves @ found @ waves.T
        image *= 45 / np.maximum(image.std((1, 2), keepdims=True), 1e-6)
        return np.clip(image + 120, 0, 255).astype(np.uint8)


class Crowd:
    """`count` frames of one fixed camera: one background, noise, and something that moves."""

    def __init__(self, count: int):
        self.count, self.background = count, Synthetic(10, 0)[np.array([3])][0]

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        frames = np.repeat(self.background[None].astype(np.float32), len(rows), 0)
        frames += 2 * hashed(rows, SIDE * SIDE, 3).reshape(-1, SIDE, SIDE)
        place = ((hashed(rows, 2, 4) / 3.5 + 1) * 26).clip(0, 52).astype(int)
        for frame, (y, x) in zip(frames, place, strict=True):
            frame[y : y + 12, x : x + 12] = 30
        return np.clip(frames, 0, 255).astype(np.uint8)
