"""What heat maps are worth: `graft explain`'s methods against maps that know nothing.

[faithful | sanity | outside]…: deletion and insertion areas, the pointing game and the share of
evidence on the object, on rendered images (masks by rebuilding their scenes) and on patches planted
in them; the check of randomized weights; a frame and a mark that one class alone has, against
images without. With `--small`, the network from scratch alone, on fewer images.
"""

import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageOps
from scipy.stats import spearmanr

import graft
from benchmarks.common import IS_SMALL, WEIGHTS, images, show, workplace
from graft.data.decode import center_view
from graft.data.named_datasets import materialize
from graft.evaluation.intervals import wilson
from graft.explanation import faithfulness
from graft.explanation.gradient_maps import gradient_map
from graft.explanation.network_input import network_input
from graft.explanation.occlusion import occlusion_map
from graft.explanation.outside_evidence import (
    FEWEST,
    border_share,
    fixed_place,
    of_class,
    of_image,
)
from graft.explanation.overlay import resized
from graft.features.backends import LazyBackend
from graft.inference.predictor import Predictor
from graft.runs.run import Run
from graft.utils.cache_folder import sources_folder

Mask = np.ndarray
KINDS = ("stripes", "steps", "checks", "rings")
SIDE = 96  # pixels of an image with a patch
OBJECTS, PATCHES, SANITY, OUTSIDE = (0, 12, 4, 12) if IS_SMALL else (46, 30, 10, 40)
DRAWS = 2000
SCRATCH = {"model": "base_cnn", "epochs": 25}


@dataclass(frozen=True)
class Item:
    """An image as the network sees it, where its object is, and its class."""

    pixels: np.ndarray
    mask: Mask
    of: int


def rendered() -> Path:
    return materialize("rendered_objects", sources_folder() / "datasets")


def object_mask(name: str, number: int, side: int) -> Mask:
    """Where the object of a rendered image is: the first thing that each pixel's ray meets."""
    from renderer.film import rays
    from renderer.objects import build
    from renderer.stage import compose, generator
    from renderer.surroundings import draw_setting
    from renderer.tracer import Dice

    with torch.no_grad():
        scene = compose(name, number)
        yaw = draw_setting(generator(name, number, "setting")).yaw
        parts = len(build(name, generator(name, number, "object"), yaw))
        dice = Dice(number, side * side)
        dice.next_sample(0)
        _, which = scene.closest(*rays(scene.camera, side, dice))
    return ((which >= 0) & (which < parts)).reshape(side, side).numpy()


def patch(kind: str, side: int, random: np.random.Generator) -> np.ndarray:
    """A pattern of two colors that are far apart."""
    y, x = np.mgrid[:side, :side] / side
    waves = 2 * np.pi * random.integers(3, 5)
    light = {
        "stripes": np.sin(waves * x) > 0,
        "steps": np.sin(waves * y) > 0,
        "checks": (np.sin(waves / 1.5 * x) > 0) ^ (np.sin(waves / 1.5 * y) > 0),
        "rings": np.sin(1.4 * waves * np.hypot(x - 0.5, y - 0.5)) > 0,
    }[kind]
    one, two = random.integers(0, 256, (2, 3))
    while np.abs(one - two).sum() < 250:
        two = random.integers(0, 256, 3)
    return np.where(light[..., None], one, two).astype(np.uint8)


def planted_patches(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Rendered images with a small pattern somewhere, which is their class; its left, top, side."""
    random = np.random.default_rng(0)
    boxes = {}
    for number, file in enumerate(sorted(rendered().rglob("*.webp")) * 2):
        kind = KINDS[random.integers(len(KINDS))]
        pixels = np.asarray(Image.open(file).convert("RGB").resize((SIDE, SIDE))).copy()
        side = int(random.integers(20, 28))
        top, left = random.integers(0, SIDE - side, 2)
        pixels[top : top + side, left : left + side] = patch(kind, side, random)
        path = folder / kind / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
        boxes[f"{kind}/{number}.png"] = (int(left), int(top), side)
    return boxes


def framed(image: Image.Image) -> Image.Image:
    """With a white frame of a tenth of its side."""
    wide = image.width // 10
    inner = image.resize((image.width - 2 * wide, image.height - 2 * wide))
    return ImageOps.expand(inner, wide, "white")


def marked(image: Image.Image) -> Image.Image:
    """With a red disc with a white bar at the top left, an eighth of the side wide."""
    image = image.copy()
    draw = ImageDraw.Draw(image)
    draw.ellipse((18, 18, 42, 42), fill=(230, 40, 40))
    draw.rectangle((26, 22, 34, 38), fill="white")
    return image


def with_shortcut(folder: Path, only: str, change: Callable[[Image.Image], Image.Image]) -> None:
    """The rendered images; those of the class `only` are changed."""
    for file in sorted(rendered().rglob("*.webp")):
        image = Image.open(file).convert("RGB")
        path = folder / file.parent.name / f"{file.stem}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        (change(image) if file.parent.name == only else image).save(path)


def items(run: Run, predictor: Predictor, mask_of: Callable[[str], Mask], most: int) -> list[Item]:
    """Test images that are classified correctly, with their masks, as the network sees both."""
    found: list[Item] = []
    nearest = replace(predictor.backbone.preprocess, interpolation="nearest")
    for row in run.images:
        if row["split"] != "test" or len(found) == most:
            continue
        file = run.files[row["path"]]
        if predictor.predict(file).best_guess != row["label"]:
            continue
        mask = Image.fromarray(mask_of(row["path"]).astype(np.uint8) * 255).convert("RGB")
        seen = center_view(mask, nearest)[..., 0] > 127
        if seen.mean() > 0.01:  # else cropped away
            of = predictor.classes.index(row["label"])
            found.append(Item(network_input(file, predictor), seen, of))
    return found


def methods(predictor: Predictor, item: Item, random: np.random.Generator) -> dict[str, np.ndarray]:
    """The map of each method, and of three that know nothing of the network."""
    height, width = item.pixels.shape[:2]
    rows, columns = min(56, height), min(56, width)
    y, x = np.mgrid[:rows, :columns]
    gray = np.asarray(Image.fromarray(item.pixels).convert("L"), np.float32)
    return {
        "occlusion": occlusion_map(predictor, item.pixels, item.of),
        "gradients": gradient_map(predictor, item.pixels, item.of),
        "random": smooth(random.random((rows, columns), np.float32)),
        "center": (np.hypot(rows, columns) / 2 - np.hypot(y - rows / 2, x - columns / 2)).astype(
            np.float32
        ),
        "edges": smooth(resized(np.hypot(*np.gradient(gray)), rows, columns)),
    }


def smooth(values: np.ndarray) -> np.ndarray:
    rows, columns = values.shape
    return resized(resized(values, -(-rows // 4), -(-columns // 4)), rows, columns)


def interval(values: list[float]) -> list[float]:
    """The mean with its 95 % interval, resampled over images."""
    random = np.random.default_rng(0)
    draws = random.choice(values, (DRAWS, len(values))).mean(axis=1)
    return [round(float(v), 3) for v in (np.mean(values), *np.quantile(draws, [0.025, 0.975]))]


def trained(source: Path | str, out: Path, **settings: object) -> Run:
    """Trained once, for all parts of the benchmark."""
    return Run.finished(out) if out.is_dir() else graft.train(source, out=out, **settings)


def networks(place: Path) -> Iterator[tuple[str, str, Run, Callable[[str], Mask], int]]:
    """Each task with each network that learns it: names, run, masks, images."""
    boxes = planted_patches(place / "patches")

    def box_mask(path: str) -> Mask:
        left, top, side = boxes[path]
        mask = np.zeros((SIDE, SIDE), bool)
        mask[top : top + side, left : left + side] = True
        return mask

    run = trained(place / "patches", place / "scratch", **SCRATCH)
    yield "patches", "base_cnn", run, box_mask, PATCHES
    if IS_SMALL:
        return
    run = trained(place / "patches", place / "frozen", model=WEIGHTS)
    yield "patches", WEIGHTS, run, box_mask, PATCHES

    def thing_mask(path: str) -> Mask:
        return object_mask(Path(path).parent.name, int(Path(path).stem), 192)

    run = trained("rendered_objects", place / "objects", model=WEIGHTS)
    yield "rendered objects", WEIGHTS, run, thing_mask, OBJECTS


def faithful(place: Path) -> None:
    for task, network, run, mask_of, most in networks(place):
        predictor, random = graft.load(run.path), np.random.default_rng(0)
        figures: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        found = items(run, predictor, mask_of, most)
        for item in found:
            for name, values in methods(predictor, item, random).items():
                own = figures[name]
                curve = faithfulness.deletion(predictor, item.pixels, values, item.of)
                own["deletion"].append(faithfulness.area(curve))
                curve = faithfulness.insertion(predictor, item.pixels, values, item.of)
                own["insertion"].append(faithfulness.area(curve))
                own["hit"].append(faithfulness.points_at(values, item.mask))
                share = faithfulness.share_on(values, item.mask)
                own["share over area"].append(share / float(item.mask.mean()))
        for name, own in figures.items():
            gain = [i - d for i, d in zip(own["insertion"], own["deletion"], strict=True)]
            hits = int(sum(own["hit"]))
            show(
                "faithful",
                task=task,
                network=network,
                method=name,
                n=len(found),
                deletion=interval(own["deletion"]),
                insertion=interval(own["insertion"]),
                gain=interval(gain),
                hits=[hits, *(round(x, 3) for x in wilson(hits, len(found)))],
                share_over_area=interval(own["share over area"]),
            )


def shuffled(predictor: Predictor, whole: bool) -> Predictor:
    """The same network with the weights of its head, or of every layer, in random order."""
    classifier = deepcopy(predictor.classifier)
    random = torch.Generator().manual_seed(0)
    part = classifier if whole else classifier.head
    with torch.no_grad():
        for weights in part.parameters():
            order = torch.randperm(weights.numel(), generator=random)
            weights.copy_(weights.flatten()[order].reshape(weights.shape))
    other = replace(predictor, head=classifier.head, ood_detector=None)
    other.backend = LazyBackend(lambda: deepcopy(classifier.encoder), "torch")
    other.single = LazyBackend(lambda: deepcopy(classifier.encoder), "torch", batch=1)
    other.__dict__["classifier"] = classifier
    return other


def sanity(place: Path) -> None:
    """Rank correlation of the maps before and after the weights are shuffled; 1 would mean that a
    map does not depend on what was learned. `other image`: of maps of two images, for comparison.
    """
    for task, network, run, mask_of, most in networks(place):
        predictor, random = graft.load(run.path), np.random.default_rng(0)
        found = items(run, predictor, mask_of, min(most, SANITY))
        before = [methods(predictor, item, random) for item in found]
        for what, whole in (("head", False), ("all layers", True)):
            other = shuffled(predictor, whole)
            after = [methods(other, item, random) for item in found]
            for name in ("occlusion", "gradients", "edges"):
                pairs = list(zip(before, after, strict=True))
                alike = [correlation(one[name], two[name]) for one, two in pairs]
                turned = before[1:] + before[:1]
                usual = [correlation(a[name], b[name]) for a, b in zip(before, turned, strict=True)]
                show(
                    "sanity",
                    task=task,
                    network=network,
                    shuffled=what,
                    method=name,
                    n=len(found),
                    correlation=interval(alike),
                    other_image=interval(usual),
                )


def correlation(one: np.ndarray, two: np.ndarray) -> float:
    """Spearman's; 0 where one of the maps is the same everywhere."""
    if one.min() == one.max() or two.min() == two.max():
        return 0.0
    return float(spearmanr(one, two, axis=None).statistic)


def outside(place: Path) -> None:
    """How often the warnings come: on single images and on groups of one class, with a frame or a
    mark on one class alone, and on images without.
    """
    model = SCRATCH if IS_SMALL else {"model": WEIGHTS}
    for name, change in (("none", lambda image: image), ("frame", framed), ("mark", marked)):
        folder = place / f"{name}-images"
        with_shortcut(folder, "mug", change)
        told_of(name, trained(folder, place / name, **model), "" if name == "none" else "mug")
    if not IS_SMALL:
        told_of("none", trained(images("flowers"), place / "flowers", **model), "")


def told_of(shortcut: str, run: Run, only: str) -> None:
    """Count the warnings about test and validation images that are classified correctly."""
    predictor = graft.load(run.path)
    maps: dict[str, list[np.ndarray]] = defaultdict(list)
    for row in run.images:
        label = row["label"]
        if row["split"] == "train" or (only and label != only) or len(maps[label]) == OUTSIDE:
            continue
        file = run.files[row["path"]]
        if predictor.predict(file).best_guess == label:
            pixels = network_input(file, predictor)
            maps[label].append(gradient_map(predictor, pixels, predictor.classes.index(label)))
    single = [bool(of_image(each)) for own in maps.values() for each in own]
    random, groups = np.random.default_rng(0), []
    for label, own in maps.items():
        for _ in range(300 if len(own) >= FEWEST else 0):
            chosen = random.choice(len(own), FEWEST, replace=False)
            groups.append(bool(of_class(label, [own[i] for i in chosen])))
    show(
        "outside",
        shortcut=shortcut,
        source=run.path.name,
        classes=len(maps),
        images=len(single),
        images_warned=sum(single),
        border={
            name: round(float(np.mean([border_share(m) for m in o])), 3) for name, o in maps.items()
        },
        same_place={name: f"{fixed_place(own)[0]} of {len(own)}" for name, own in maps.items()},
        groups=len(groups),
        groups_warned=round(float(np.mean(groups)), 4) if groups else None,
    )


def main() -> None:
    ways = {"faithful": faithful, "sanity": sanity, "outside": outside}
    with workplace() as place:
        for name in sys.argv[1:] or ways:
            ways[name](place)


if __name__ == "__main__":
    main()
