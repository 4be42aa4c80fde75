"""Follows light through a scene.

Each pixel gets a few rays. Where one meets an opaque surface, a ray toward the main light asks for
shadow, a second in a random direction for what the rest of the scene sends, and on what is glossy
a third for the reflection. Glass bends its rays through up to six surfaces.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from renderer.noise import column, dot, unit
from renderer.scene import NEVER, Plane, Scene, Thing

OFF = 0.006  # rays leave a surface from so far off it, lest they meet it at once
GLASS = 1.45  # the refractive index; a little less than window glass, which looks less busy
GLOSSY = 0.35  # rougher surfaces reflect the surroundings only, not the scene
EVENTS = 6


@dataclass
class Surface:
    """What the tracer must know about N points."""

    point: Tensor
    normal: Tensor
    color: Tensor
    rough: Tensor
    facing: Tensor  # (3, N)
    metal: Tensor
    glow: Tensor


@dataclass
class Layers:
    """One sample for each pixel: what the film adds up."""

    light: Tensor  # that falls on the surface and leaves it in all directions
    color: Tensor  # what the light is multiplied with
    shine: Tensor  # reflections, glass, what glows: added
    normal: Tensor
    depth: Tensor


class Dice:
    """Random numbers for each pixel, spread evenly over the samples of a pixel."""

    def __init__(self, seed: int, pixels: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.pixels = pixels
        self.shifts: list[Tensor] = []
        self.sample, self.used = 0, 0

    def next_sample(self, sample: int) -> None:
        """Start over with the dimensions for the next sample."""
        self.sample, self.used = sample, 0

    def common(self, first: int) -> tuple[float, float]:
        """Two numbers in [0, 1) that all pixels share, of two unrelated dimensions."""
        one, two = ((0.7548777, 0.5698403), (0.8191725, 0.6710436))[first // 2]
        return (0.5 + self.sample * one) % 1.0, (0.5 + self.sample * two) % 1.0

    def pair(self, where: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Two numbers in [0, 1) for each pixel of `where`."""
        while len(self.shifts) < self.used + 2:
            self.shifts.append(torch.rand(self.pixels, generator=self.generator))
        one, two = self.shifts[self.used : self.used + 2]
        self.used += 2
        if where is not None:
            one, two = one[where], two[where]
        return (one + self.sample * 0.7548777) % 1.0, (two + self.sample * 0.5698403) % 1.0


def basis(n: Tensor) -> tuple[Tensor, Tensor]:
    """Two directions at right angles to `n` and to each other."""
    side = torch.where(n[2] < 0, -torch.ones_like(n[2]), torch.ones_like(n[2]))
    a = -1 / (side + n[2])
    b = n[0] * n[1] * a
    first = torch.stack([1 + side * n[0] ** 2 * a, side * b, -side * n[0]])
    return first, torch.stack([b, side + n[1] ** 2 * a, -n[1]])


def around(n: Tensor, radius: Tensor, angle: Tensor, height: Tensor) -> Tensor:
    """Directions at a sine of `radius` from `n`."""
    first, second = basis(n)
    turn = angle * (2 * np.pi)
    return first * (radius * turn.cos()) + second * (radius * turn.sin()) + n * height


def mirror(d: Tensor, n: Tensor) -> Tensor:
    """Where a mirror sends the direction `d`."""
    return d - n * (2 * dot(d, n))


def fresnel(facing: Tensor, cosine: Tensor) -> Tensor:
    """The share a surface reflects; all of it at a grazing angle."""
    return facing + (1 - facing) * (1 - cosine.clamp(0, 1)) ** 5


class Tracer:
    """Traces one scene."""

    def __init__(self, scene: Scene, dice: Dice) -> None:
        self.scene, self.dice = scene, dice
        self.toward = column(scene.light.toward)
        self.sun = column(scene.light.color)

    def surface(self, o: Tensor, d: Tensor, t: Tensor, which: Tensor) -> Surface:
        """The surfaces that rays met; for those that met nothing, anything."""
        n = o.shape[1]
        point = o + d * t
        normal, color, facing = -d.clone(), torch.zeros(3, n), torch.full((3, n), 0.04)
        rough, glow = torch.ones(n), torch.zeros(n)
        metal = torch.zeros(n, dtype=torch.bool)
        everything: list[Thing | Plane] = [*self.scene.things, *self.scene.planes]
        for i, one in enumerate(everything):
            at = (which == i).nonzero()[:, 0]
            if not len(at):
                continue
            p, look = point[:, at], one.material
            if isinstance(one, Plane):
                normal[:, at] = column(one.normal).expand_as(p)
            else:
                normal[:, at] = one.normal(p)
            color[:, at] = look.paint(one.own(p))
            rough[at], glow[at], metal[at] = look.rough, look.glow, look.metal
            facing[:, at] = color[:, at] if look.metal else look.facing
        return Surface(point, normal, color, rough, facing, metal, glow)

    def direct(self, s: Surface, where: Tensor | None) -> Tensor:
        """What the main light sends to each point, by one ray to a random point of it."""
        one, two = self.dice.pair(where)
        radius = one.sqrt() * self.scene.light.radius
        toward = around(self.toward.expand_as(s.point), radius, two, (1 - radius**2).sqrt())
        cosine = dot(toward, s.normal).clamp_min(0)
        passed = torch.zeros_like(cosine)
        lit = (cosine > 0).nonzero()[:, 0]
        start = s.point[:, lit] + s.normal[:, lit] * OFF
        passed[lit] = self.scene.shade(start, toward[:, lit])
        return self.sun * (cosine * passed)

    def rough_look(self, o: Tensor, d: Tensor, where: Tensor | None, mirrored: Tensor) -> Tensor:
        """What rays see that aren't the eye's: one shadow ray, and no further bounce.

        Those that meet nothing see the room, with its windows as a mirror of the roughness
        `mirrored` shows them; negative: without them.
        """
        t, which = self.scene.closest(o, d, glass=False)
        met = which >= 0
        room = self.scene.surroundings
        windows = room.reflected(d, mirrored.clamp_min(0))
        seen = torch.where(mirrored < 0, room.gradient(d), windows)
        at = met.nonzero()[:, 0]
        d = d[:, at]
        s = self.surface(o[:, at], d, t[at], which[at])
        light = self.direct(s, at if where is None else where[at])
        ambient = 0.55 * room.gradient(unit(s.normal + column([0.0, 0.3, 0.0])))
        matte = s.color * (light + ambient + s.glow)
        shine = room.reflected(mirror(d, s.normal), s.rough + 0.1)
        shine = shine * fresnel(s.facing, -dot(d, s.normal)) * 0.8
        seen[:, at] = torch.where(s.metal, shine, matte + shine * (1 - s.rough))
        return seen

    def sample(self, o: Tensor, d: Tensor) -> Layers:
        """One ray for each pixel, all that it leads to."""
        scene = self.scene
        t, which = scene.closest(o, d)
        s = self.surface(o, d, t, which)
        light, shine = torch.zeros_like(d), torch.zeros_like(d)
        missed = which < 0
        shine[:, missed] = scene.surroundings.gradient(d[:, missed])
        glassy = torch.zeros_like(missed)
        for i, thing in enumerate(scene.things):
            if thing.material.absorbs is not None:
                at = (which == i).nonzero()[:, 0]
                glassy[at] = True
                if len(at):
                    shine[:, at] = self.through_glass(i, s, d, at)
        opaque = ~missed & ~glassy
        at = (opaque & ~s.metal).nonzero()[:, 0]
        light[:, at] = self.matte(pick(s, at), at)
        at = opaque.nonzero()[:, 0]
        shine[:, at] = self.gloss(pick(s, at), d[:, at], at)
        color = torch.where(opaque & ~s.metal, s.color, torch.zeros_like(s.color))
        return Layers(light, color, shine, s.normal, t.clamp_max(50.0))

    def matte(self, s: Surface, at: Tensor) -> Tensor:
        """The light that falls on points: directly, and by one bounce."""
        direct = self.direct(s, at)
        one, two = self.dice.pair(at)
        toward = around(s.normal, one.sqrt(), two, (1 - one).sqrt())
        mirrored = torch.full_like(one, -1.0)
        bounced = self.rough_look(s.point + s.normal * OFF, toward, at, mirrored)
        return direct + bounced.clamp_max(4.0) + s.glow

    def gloss(self, s: Surface, d: Tensor, at: Tensor) -> Tensor:
        """What surfaces mirror: traced where they are smooth, only the room where they aren't."""
        share = fresnel(s.facing, -dot(d, s.normal))
        toward = unit(mirror(d, s.normal))
        total = self.scene.surroundings.reflected(toward, s.rough) * (1 - s.rough) * 0.6
        smooth = ((s.rough < GLOSSY) | s.metal).nonzero()[:, 0]
        if len(smooth):
            one, two = self.dice.pair(at[smooth])
            n, rough = s.normal[:, smooth], s.rough[smooth]
            toward = around(toward[:, smooth], one.sqrt() * rough * 0.3, two, torch.ones_like(one))
            start = s.point[:, smooth] + n * OFF
            total[:, smooth] = self.rough_look(start, unit(toward), at[smooth], rough * 0.7 + 0.02)
        return total * share

    def through_glass(self, i: int, s: Surface, d: Tensor, at: Tensor) -> Tensor:
        """The light that comes to the eye from glass, the thing at place `i`."""
        thing = self.scene.things[i]
        absorbs = column(thing.material.absorbs or (0, 0, 0))
        p, d, total = s.point[:, at], d[:, at], torch.zeros(3, len(at))
        carried, live = torch.ones(3, len(at)), torch.arange(len(at))
        within = torch.zeros(len(at), dtype=torch.bool)
        for event in range(EVENTS):
            n = torch.where(within, -1.0, 1.0) * thing.normal(p)  # against the ray
            cosine = -dot(d, n)
            share = fresnel(torch.tensor(0.045), cosine) * ~within
            seen = self._glint(p, mirror(d, n), at[live], first=event == 0)
            total[:, live] += carried * seen * share
            carried = carried * (1 - share)
            d, held = refract(d, n, cosine, within)
            p = p + n * torch.where(held, OFF, -OFF)
            within = within == held
            step = self._next(thing, p, d, within)
            gone = (step >= NEVER).nonzero()[:, 0]
            total[:, live[gone]] += carried[:, gone] * self._behind(
                p[:, gone], d[:, gone], at[live[gone]]
            )
            goes = (step < NEVER).nonzero()[:, 0]
            live, within, step, d = live[goes], within[goes], step[goes], d[:, goes]
            carried = carried[:, goes] * torch.exp(-absorbs * torch.where(within, step, 0.0))
            p = p[:, goes] + d * step
            if not len(live):
                return total
        total[:, live] += carried * self._behind(p + d * OFF, d, at[live])
        return total

    def _next(self, thing: Thing, p: Tensor, d: Tensor, within: Tensor) -> Tensor:
        """How far rays go to the next surface of the glass; NEVER if they leave it for good."""
        step = torch.full((p.shape[1],), NEVER)
        inner = within.nonzero()[:, 0]
        step[inner] = thing.meet(p[:, inner], d[:, inner], step[inner], inside=True)
        outer = (~within).nonzero()[:, 0]
        step[outer] = thing.meet(p[:, outer], d[:, outer], step[outer])
        outer = outer[step[outer] < NEVER]
        before, _ = self.scene.closest(p[:, outer], d[:, outer], glass=False)
        step[outer] = torch.where(before < step[outer], NEVER, step[outer])
        return step

    def _glint(self, p: Tensor, toward: Tensor, at: Tensor, first: bool) -> Tensor:
        """What glass mirrors; of the surfaces behind the first only the room, which is cheap."""
        rough = torch.full((p.shape[1],), 0.02)
        if not first:
            return self.scene.surroundings.reflected(toward, rough)
        return self.rough_look(p, toward, at, rough)

    def _behind(self, p: Tensor, d: Tensor, at: Tensor) -> Tensor:
        """What a ray sees that has left the glass."""
        return self.rough_look(p, d, at, torch.full((p.shape[1],), -1.0))


def refract(d: Tensor, n: Tensor, cosine: Tensor, within: Tensor) -> tuple[Tensor, Tensor]:
    """Where rays go at a surface of glass, and which of them it holds back inside."""
    bend = torch.where(within, GLASS, 1 / GLASS)
    square = 1 - bend**2 * (1 - cosine**2)
    held = square < 0
    bent = d * bend + n * (bend * cosine - square.clamp_min(0).sqrt())
    return unit(torch.where(held, mirror(d, n), bent)), held


def pick(s: Surface, at: Tensor) -> Surface:
    """The surface at some of the points."""
    return Surface(
        s.point[:, at],
        s.normal[:, at],
        s.color[:, at],
        s.rough[at],
        s.facing[:, at],
        s.metal[at],
        s.glow[at],
    )
