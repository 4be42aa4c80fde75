"""What a scene holds, and where a ray meets it."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from renderer.noise import column, dot, mix, smoothstep, unit
from renderer.shapes import Distance

Paint = Callable[[Tensor], Tensor]
NEVER = 1e6  # a distance no ray of these scenes reaches
STEPS = 56
CLOSE = 0.002


@dataclass
class Material:
    """How a surface looks: `paint` gives the color at points of the thing's own frame."""

    paint: Paint
    rough: float = 0.5
    facing: float = 0.04  # reflectance seen head-on; of a metal, its paint takes this place
    metal: bool = False
    absorbs: tuple[float, float, float] | None = None  # of glass: per unit length; None: opaque
    glow: float = 0.0  # light of its own, as a multiple of its paint


@dataclass
class Thing:
    """A surface somewhere in the scene, inside a sphere of radius `bound` around its place."""

    distance: Distance
    material: Material
    place: np.ndarray
    turn: np.ndarray = field(default_factory=lambda: np.eye(3))
    scale: float = 1.0
    bound: float = 1.05

    def __post_init__(self) -> None:
        self.to_world = torch.tensor(self.turn, dtype=torch.float32)
        self.center = column(self.place)

    def inward(self, o: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
        """A ray in the thing's own frame; lengths along it stay those of the scene."""
        to_own = self.to_world.T / self.scale
        return to_own @ (o - self.center), to_own @ d

    def meet(self, o: Tensor, d: Tensor, far: Tensor, inside: bool = False) -> Tensor:
        """How far along each ray the surface is first met; NEVER where it isn't before `far`.

        `inside` follows rays that start inside and looks for where they come out.
        """
        o, d = self.inward(o, d)
        met = torch.full((o.shape[1],), NEVER)
        speed = dot(d, d)
        b, c = dot(o, d) / speed, (dot(o, o) - self.bound**2) / speed
        root = b * b - c
        root_of = root.clamp_min(0).sqrt()
        near, end = (-b - root_of).clamp_min(0.0), torch.minimum(-b + root_of, far)
        live = ((root > 0) & (end > near)).nonzero()[:, 0]
        o, d, t, end = o[:, live], d[:, live], near[live], end[live]
        sign = -self.scale if inside else self.scale
        for step in range(STEPS):
            if not len(live):
                break
            ahead = self.distance(o + d * t) * sign
            hit = ahead < CLOSE * self.scale
            if step % 3 == 2:
                met[live[hit]] = t[hit]
                stays = ~hit & (t < end)
                live, o, d, end = live[stays], o[:, stays], d[:, stays], end[stays]
                t = t[stays] + ahead[stays]
            else:
                t = torch.where(hit, t, t + ahead)
        return met

    def normal(self, p: Tensor) -> Tensor:
        """The surface's outward direction at points of the scene."""
        own = self.to_world.T @ (p - self.center) / self.scale
        total = torch.zeros_like(own)
        for corner in ((1, -1, -1), (-1, -1, 1), (-1, 1, -1), (1, 1, 1)):
            away = column(corner)
            total += away * self.distance(own + away * 0.006)
        return self.to_world @ unit(total)

    def own(self, p: Tensor) -> Tensor:
        """Points of the scene in the thing's frame."""
        return self.to_world.T @ (p - self.center) / self.scale


@dataclass
class Plane:
    """A table top or a wall: flat, and endless but where `ends` cuts it off."""

    place: np.ndarray
    normal: np.ndarray
    right: np.ndarray
    material: Material
    ends: float = NEVER  # how far it goes along its second axis, away from the viewer

    def __post_init__(self) -> None:
        up = np.cross(self.normal, self.right)
        self.frame = torch.tensor(np.stack([self.right, up, self.normal]), dtype=torch.float32)
        self.center = column(self.place)

    def meet(self, o: Tensor, d: Tensor, far: Tensor) -> Tensor:
        """How far along each ray the plane is met from its front."""
        o, d = self.frame @ (o - self.center), self.frame @ d
        t = -o[2] / torch.where(d[2] < -1e-6, d[2], torch.full_like(d[2], -1e-6))
        met = (d[2] < -1e-6) & (o[2] > 0) & (o[1] + t * d[1] < self.ends) & (t < far)
        return torch.where(met, t, torch.full_like(t, NEVER))

    def own(self, p: Tensor) -> Tensor:
        """Points of the scene in the plane's frame: right, up, and off it."""
        return self.frame @ (p - self.center)


@dataclass
class Window:
    """A bright rectangle of the surroundings: a window with crossbars, or a lamp's screen."""

    toward: np.ndarray
    size: tuple[float, float]
    color: np.ndarray
    bars: bool = False

    def __post_init__(self) -> None:
        right = np.cross([0.0, 1.0, 0.0], self.toward)
        right /= np.linalg.norm(right)
        rows = np.stack([right, np.cross(self.toward, right), self.toward])
        self.frame = torch.tensor(rows, dtype=torch.float32)
        self.tint = column(self.color)

    def seen(self, d: Tensor, rough: Tensor) -> Tensor:
        """Its light from the directions `d`; blurred where the mirror is rough."""
        x, y, z = self.frame @ d
        ahead = z.clamp_min(1e-3)
        x, y = x / ahead, y / ahead
        soft = 0.02 + rough
        inner = ((self.size[0] - x.abs()) / soft + 0.5).clamp(0, 1)
        inner = inner * ((self.size[1] - y.abs()) / soft + 0.5).clamp(0, 1)
        inner = inner * (self.size[0] / (self.size[0] + rough)) * (z > 0)
        if self.bars:
            gap = torch.minimum(x.abs(), (y - 0.2 * self.size[1]).abs())
            inner = inner * (0.25 + 0.75 * ((gap - 0.03) / soft + 0.5).clamp(0, 1))
        light: Tensor = self.tint * inner
        return light


@dataclass
class Surroundings:
    """The room that isn't modeled: a vertical gradient and windows."""

    floor: np.ndarray
    horizon: np.ndarray
    zenith: np.ndarray
    windows: list[Window]

    def gradient(self, d: Tensor) -> Tensor:
        """The room's light without its windows; smooth, so that few samples are enough."""
        up = smoothstep(0.0, 0.9, d[1])
        down = smoothstep(0.0, 0.4, -d[1])
        sky = mix(column(self.horizon), column(self.zenith), up)
        return mix(sky, column(self.floor), down)

    def reflected(self, d: Tensor, rough: Tensor) -> Tensor:
        """What a mirror of that roughness shows."""
        total = self.gradient(d)
        for window in self.windows:
            total = total + window.seen(d, rough)
        return total


@dataclass
class Light:
    """The main light: far away, and as wide as a cone of that radius."""

    toward: np.ndarray
    radius: float
    color: np.ndarray


@dataclass
class Camera:
    """Where the image is taken from; `aperture` is what blurs what is not at `focus`."""

    place: np.ndarray
    frame: np.ndarray  # rows: right, up, ahead
    tangent: float  # of half the field of view
    aperture: float
    focus: float


@dataclass
class Scene:
    """All of it. The object comes first among the things."""

    things: list[Thing]
    planes: list[Plane]
    surroundings: Surroundings
    light: Light
    camera: Camera

    def closest(self, o: Tensor, d: Tensor, glass: bool = True) -> tuple[Tensor, Tensor]:
        """How far each ray goes, and what it meets: the place in things + planes, or -1.

        Without `glass`, rays pass it.
        """
        best = torch.full((o.shape[1],), NEVER)
        which = torch.full((o.shape[1],), -1, dtype=torch.long)
        everything: list[Plane | Thing] = [*self.planes, *self.things]
        for i, one in enumerate(everything):
            if one.material.absorbs is not None and not glass:
                continue
            t = one.meet(o, d, best)
            nearer = t < best
            best = torch.where(nearer, t, best)
            label = i - len(self.planes)
            which[nearer] = label if label >= 0 else len(self.things) + i
        return best, which

    def shade(self, o: Tensor, d: Tensor) -> Tensor:
        """The share of light that things let pass along each ray; glass takes some of it."""
        passed = torch.ones(o.shape[1])
        far = torch.full_like(passed, NEVER)
        for thing in self.things:
            if thing.material.glow:
                continue
            hit = thing.meet(o, d, far) < NEVER
            passed[hit] *= 0.0 if thing.material.absorbs is None else 0.6
        return passed
