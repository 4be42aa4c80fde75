"""Signed distances: how far a point is from a surface; negative inside.

The outline of an object of revolution, and the course of a handle or spout, lie in a plane. Their
distances are computed once, on a grid in that plane, so that a look-up costs the same however
many bends they have. Objects fit the unit sphere, so the grids need to cover no more.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from renderer.noise import column

REACH = 1.1  # the grids cover so much, at both sides of the middle
CELLS = 240
Distance = Callable[[Tensor], Tensor]


def smooth_min(a: Tensor, b: Tensor, k: float) -> Tensor:
    """The smaller of the two; where they meet, rounded off over a width of about k."""
    h = (k - (a - b).abs()).clamp_min(0) / k
    return torch.minimum(a, b) - h * h * (k / 4)


def smooth_max(a: Tensor, b: Tensor, k: float) -> Tensor:
    """The larger of the two; where they meet, rounded off over a width of about k."""
    h = (k - (a - b).abs()).clamp_min(0) / k
    return torch.maximum(a, b) + h * h * (k / 4)


class Grid:
    """Values on a regular grid over a plane; looked up with linear interpolation."""

    def __init__(self, values: Tensor, left: float) -> None:
        """`values` is (C, rows, columns); columns go from `left` to REACH, rows from -REACH."""
        rows, columns = values.shape[1:]
        a, b = values[:, :-1, :-1], values[:, :-1, 1:]
        c, d = values[:, 1:, :-1], values[:, 1:, 1:]
        # The four terms of the interpolation side by side: one fetch for all.
        terms = torch.stack([a, b - a, c - a, a - b - c + d], dim=1)
        self.terms = terms.permute(2, 3, 0, 1).reshape((rows - 1) * (columns - 1), -1).contiguous()
        self.columns, self.rows, self.left = columns, rows, left
        self.across = (columns - 1) / (REACH - left)
        self.up = (rows - 1) / (2 * REACH)

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """The C values at each point, as (C, N)."""
        u = ((x - self.left) * self.across).clamp(0, self.columns - 1.001)
        v = ((y + REACH) * self.up).clamp(0, self.rows - 1.001)
        iu, iv = u.int(), v.int()
        u, v = u - iu, v - iv
        place = (iv * (self.columns - 1) + iu).long()
        term = self.terms.index_select(0, place).T.contiguous()
        return torch.stack(
            [
                term[i] + u * term[i + 1] + v * (term[i + 2] + u * term[i + 3])
                for i in range(0, len(term), 4)
            ]
        )


def plane_points(left: float) -> tuple[Tensor, Tensor]:
    """The x and y of the points of a grid; as many cells a unit whatever its left side."""
    columns = round(CELLS * (REACH - left) / (2 * REACH))
    y, x = torch.meshgrid(
        torch.linspace(-REACH, REACH, CELLS), torch.linspace(left, REACH, columns), indexing="ij"
    )
    return x, y


def segments(x: Tensor, y: Tensor, course: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
    """The distance to a polyline, which segment is nearest, and where on it (0 to 1)."""
    best = torch.full_like(x, 1e9)
    which, where = torch.zeros_like(x), torch.zeros_like(x)
    for i, ((ax, ay), (bx, by)) in enumerate(pairwise(course)):
        dx, dy = float(bx - ax), float(by - ay)
        if dx * dx + dy * dy < 1e-12:
            continue
        px, py = x - float(ax), y - float(ay)
        t = ((px * dx + py * dy) / (dx * dx + dy * dy)).clamp(0, 1)
        square = (px - t * dx) ** 2 + (py - t * dy) ** 2
        nearer = square < best
        best = torch.where(nearer, square, best)
        which = torch.where(nearer, float(i), which)
        where = torch.where(nearer, t, where)
    return best.sqrt(), which, where


def outline_distance(x: Tensor, y: Tensor, outline: np.ndarray) -> Tensor:
    """The signed distance to an outline, which runs from the axis to the axis."""
    distance, _, _ = segments(x, y, outline)
    inside = torch.zeros_like(x, dtype=torch.bool)
    closed = np.concatenate([outline, [[-1.0, outline[-1, 1]], [-1.0, outline[0, 1]]]])
    for (ax, ay), (bx, by) in zip(closed, np.roll(closed, -1, axis=0), strict=True):
        if ay == by:
            continue
        crosses = (y > min(ay, by)) & (y <= max(ay, by))
        inside ^= crosses & (x < float(ax) + (y - float(ay)) * float((bx - ax) / (by - ay)))
    return torch.where(inside, -distance, distance)


@dataclass
class Tube:
    """A handle, spout or stem: a round rod along a course in the plane z = 0."""

    course: np.ndarray  # (K, 2)
    radii: np.ndarray  # (K,)
    width: float = 1.0  # how much wider it is across the plane than in it
    bore: float = 0.0  # the share of its radius that is hollow near its end

    def grid(self) -> Grid:
        """Distance from the course, radius and bore at the nearest place of it."""
        x, y = plane_points(-REACH)
        distance, which, where = segments(x, y, self.course)
        radii = torch.tensor(self.radii, dtype=torch.float32)
        i = which.long()
        radius = torch.lerp(radii[i], radii[i + 1], where)
        along = (which + where) / (len(radii) - 1)
        bore = torch.where(along > 0.8, radius * self.bore, torch.full_like(radius, -1.0))
        return Grid(torch.stack([distance, radius, bore]), -REACH)


@dataclass
class Turned:
    """A form of revolution, cut flat above and below, perhaps hollow and with tubes.

    A vessel's outline goes on above its top, so that its cavity, which is what lies deeper than
    the wall, opens there.
    """

    outline: np.ndarray  # (K, 2): radius and height, from the axis below to the axis above
    top: float = 99.0
    bottom: float = -99.0
    wall: float = 0.0  # 0: solid
    floor: float = -99.0  # where the cavity ends below
    grow: float = 0.0  # a label lies outside an outline, a liquid inside
    tubes: list[Tube] = field(default_factory=list)
    ribs: tuple[int, float] = (0, 0.0)  # how many, how deep: flutes around the axis
    square: float = 2.0  # 2 is round; 5 nearly a square with round corners
    blend: float = 0.05  # over what width tubes flow into the body
    rim: float = 0.015  # how rounded edges are

    def scaled(self, factor: float, lift: float) -> "Turned":
        """The same form, moved up by `lift` and then enlarged."""

        def move(points: np.ndarray) -> np.ndarray:
            moved: np.ndarray = (points + np.array([0.0, lift])) * factor
            return moved

        return replace(
            self,
            outline=move(self.outline),
            top=(self.top + lift) * factor,
            bottom=(self.bottom + lift) * factor,
            wall=self.wall * factor,
            floor=(self.floor + lift) * factor,
            grow=self.grow * factor,
            tubes=[replace(t, course=move(t.course), radii=t.radii * factor) for t in self.tubes],
            blend=self.blend * factor,
            rim=self.rim * factor,
        )

    def corners(self) -> np.ndarray:
        """Points whose bounds are the form's bounds, roughly."""
        body = self.outline.copy()
        over = body[:, 1] > self.top
        body = np.concatenate([body[~over], [[0.0, min(self.top, body[:, 1].max())]]])
        points = [body]
        for tube in self.tubes:
            points += [tube.course + tube.radii[:, None] * sign for sign in (-1, 1)]
        return np.concatenate(points)

    def distance(self) -> Distance:
        """The signed distance, as a function of points (3, N)."""
        x, y = plane_points(0.0)
        body = Grid(outline_distance(x, y, self.outline)[None], 0.0)
        tubes = [(tube, tube.grid()) for tube in self.tubes]

        # Flutes and squares bend space: what looks so far away may be nearer.
        cautious = 0.8 if self.ribs[0] or self.square > 2 else 0.97

        def signed(p: Tensor) -> Tensor:
            px, py, pz = p
            base = body(self._radius(px, pz), py)[0] - self.grow
            ends = torch.maximum(py - self.top, self.bottom - py)
            solid = smooth_max(base, ends, self.rim)
            for tube, grid in tubes:
                away, radius, bore = grid(px, py)
                away = (away * away + (pz / tube.width) ** 2).sqrt()
                solid = smooth_min(solid, away - radius, self.blend)
                if tube.bore:
                    solid = torch.maximum(solid, bore - away)
            if self.wall:
                cavity = torch.maximum(base + self.wall, self.floor - py)
                solid = smooth_max(solid, -cavity, self.rim)
            return solid * cautious

        return signed

    def _radius(self, x: Tensor, z: Tensor) -> Tensor:
        if self.square > 2:
            return (x.abs() ** self.square + z.abs() ** self.square) ** (1 / self.square)
        radius = (x * x + z * z).sqrt()
        if self.ribs[0]:
            radius = radius * (1 + self.ribs[1] * torch.cos(self.ribs[0] * torch.atan2(z, x)))
        return radius


def box(half: tuple[float, float, float], rounding: float) -> Distance:
    """A box with rounded edges."""
    sides = column(half) - rounding

    def signed(p: Tensor) -> Tensor:
        q = p.abs() - sides
        outside = q.clamp_min(0)
        return (
            (outside[0] ** 2 + outside[1] ** 2 + outside[2] ** 2).sqrt()
            + q.amax(0).clamp_max(0)
            - rounding
        )

    return signed


def ball(radius: float, squash: float = 1.0, dimple: float = 0.0) -> Distance:
    """A ball, flattened by `squash`, with dimples at its poles as an apple has them."""

    def signed(p: Tensor) -> Tensor:
        around = (p[0] ** 2 + p[2] ** 2).sqrt()
        length = (around**2 + (p[1] / squash) ** 2).sqrt()
        dent = dimple * torch.exp(-((around / (0.3 * radius)) ** 2))
        return (length - radius + dent) * min(1.0, squash) * (0.75 if dimple else 1.0)

    return signed


def rod(radius: float, half: float, rounding: float) -> Distance:
    """A cylinder around the y axis with rounded edges."""

    def signed(p: Tensor) -> Tensor:
        across = (p[0] ** 2 + p[2] ** 2).sqrt() - (radius - rounding)
        along = p[1].abs() - (half - rounding)
        outside = (across.clamp_min(0) ** 2 + along.clamp_min(0) ** 2).sqrt()
        return outside + torch.maximum(across, along).clamp_max(0) - rounding

    return signed
