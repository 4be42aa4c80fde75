"""A network stage by stage: what each channel gives for an image, which training images excite it
most, the filters of the first layer, and where a transformer's tokens look.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from graft.data.decode import Pixels
from graft.errors import UsageError
from graft.explanation.network_input import Maps, network_input
from graft.explanation.stage_outputs import as_grid, kept_outputs
from graft.inference.image_input import OneImage
from graft.inference.predictor import Predictor

MOST = 200  # training images that are looked through, for reasons of time
BATCH = 16


@dataclass(frozen=True)
class Stage:
    """The output of one stage for an image: `maps` (C, h, w) float32. `strongest` are channels, the
    strongest first: those whose highest value exceeds what is usual by most (see `Excitement`), or
    without such knowledge those of the highest value.
    """

    name: str
    maps: Maps
    strongest: tuple[int, ...]


@dataclass(frozen=True)
class Excitement:
    """How strongly training images excite each channel: `peaks` holds for each stage the highest
    value of each channel in each image, (n, C) float32, and `paths` the images' paths.
    """

    paths: list[str]
    files: Mapping[str, Path]
    peaks: list[Maps] = field(repr=False)

    def most(self, stage: int, channel: int, count: int = 3) -> list[str]:
        """The paths of the images that excite a channel of a stage most, the first most of all."""
        order = np.argsort(-self.peaks[stage][:, channel], kind="stable")
        return [self.paths[i] for i in order[:count]]


def stage_maps(
    predictor: Predictor,
    image: OneImage,
    strongest: int = 8,
    excitement: Excitement | None = None,
) -> list[Stage]:
    """What every stage gives for an image, with its `strongest` channels.

    Raises UsageError for a file that cannot be read as an image, ModelError for a network whose
    stages are not known.
    """
    grids = _grids(predictor, network_input(image, predictor)[np.newaxis])
    found = []
    for place, grid in enumerate(grids):
        maps: Maps = grid[0].numpy()
        peaks = maps.max(axis=(1, 2))
        if excitement:
            usual = excitement.peaks[place]
            peaks = (peaks - usual.mean(axis=0)) / (usual.std(axis=0) + 1e-6)
        order = np.argsort(-peaks, kind="stable")[:strongest]
        name = f"stage {place + 1} of {len(grids)}"
        found.append(Stage(name, maps, tuple(int(i) for i in order)))
    return found


def excitement(predictor: Predictor, most: int = MOST) -> Excitement:
    """Look at `most` training images of the predictor's run, spread evenly over dataset.csv (which
    is sorted, so over the classes, too), and keep how strongly each excites each channel.

    Files that are gone are left out. Raises UsageError for a predictor without a run, or one whose
    training images are all gone.
    """
    from graft.runs.run import Run

    if predictor.run is None:
        raise UsageError("expected a run, this predictor has none; use graft.load(RUN)")
    run = Run(predictor.run)
    files = {
        row["path"]: run.files[row["path"]]
        for row in run.images
        if row["split"] == "train" and row["path"] in run.files
    }
    files = {path: file for path, file in files.items() if file.is_file()}
    if not files:
        raise UsageError(f"{run.path}: its training images are gone, so none can be looked at")
    known = list(files)
    places = np.unique(np.linspace(0, len(known) - 1, min(most, len(known))).round().astype(int))
    paths = [known[i] for i in places]
    parts: list[list[Maps]] = []
    for start in range(0, len(paths), BATCH):
        some = paths[start : start + BATCH]
        inputs = np.stack([network_input(files[path], predictor) for path in some])
        parts.append([grid.amax((2, 3)).numpy() for grid in _grids(predictor, inputs)])
    peaks = [np.concatenate(each) for each in zip(*parts, strict=True)]
    return Excitement(paths, files, peaks)


def first_filters(predictor: Predictor) -> NDArray[np.uint8]:
    """The filters of the first convolution as images, (O, kh, kw, 3) uint8: middle gray is a weight
    of 0, and each filter is scaled to its own largest weight. None of them, (0, 1, 1, 3), for a
    network that has no convolution over RGB.
    """
    for module in predictor.classifier.encoder.body.modules():
        if isinstance(module, nn.Conv2d) and module.in_channels == 3:
            weights = module.weight.detach().float()
            largest = weights.abs().amax((1, 2, 3), keepdim=True).clamp_min(1e-12)
            scaled = (weights / largest * 127.5 + 127.5).round().byte()
            return scaled.permute(0, 2, 3, 1).numpy()
    return np.zeros((0, 1, 1, 3), np.uint8)


def _grids(predictor: Predictor, inputs: Pixels) -> list[Tensor]:
    """Each stage's output (N, C, h, w) for network inputs (N, H, W, 3), of the image as it is."""
    classifier = predictor.classifier
    with torch.inference_mode(), kept_outputs(classifier) as kept:
        classifier.encoder(torch.from_numpy(np.array(inputs)))
    body = classifier.encoder.body
    return [as_grid(outputs[0], body, inputs.shape[1:]).float() for outputs in kept if outputs]
