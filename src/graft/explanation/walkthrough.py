"""Walkthrough: every elementary step by which a convolutional network came to what it says of one
image: convolutions, normalizations, activations, poolings and sums, with the numbers of each.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from graft.data.decode import Pixels
from graft.errors import ModelError
from graft.explanation.network_input import network_input
from graft.explanation.walkthrough_recorder import Recorder, named
from graft.explanation.walkthrough_steps import Floats, Step
from graft.inference.predictor import Predictor
from graft.models.classifier import Classifier

# Recomputed in float64, a step may differ from float32's by this fraction of the largest value.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Walkthrough:
    """What a network did with one image.

    `pixels`: the image as the network saw it, (H, W, 3) uint8. `values`: by number, (C, H, W) or
    (D,) float32. `whole`: the steps lead to the `features`, so that head and softmax follow from
    them; else `stopped` names the function of PyTorch that is no step of a convolutional network,
    and `convolutions` counts all that there are. `mirrored`: the features (D,) of the mirror
    image, where the network takes the mean with them. `logits` and `probabilities` are (K,).
    `adds`, (D,): what each feature adds to the logit of the most probable class, if `whole`.
    """

    pixels: Pixels
    steps: list[Step]
    values: dict[int, Floats]
    whole: bool
    stopped: str
    convolutions: int
    features: Floats
    mirrored: Floats | None
    logits: Floats
    probabilities: Floats
    adds: Floats | None


def walk(predictor: Predictor, image: Any) -> Walkthrough:
    """Run the network in float32 on one image and keep every step; `image` as for
    `network_input`.

    The steps end where the network does something else: attention, concatenation, a gate.

    Raises ModelError for a network that does not begin with a convolution, and where the steps,
    computed again in float64, give other numbers; for what is no usable image as `network_input`.
    """
    classifier = predictor.classifier
    encoder: Any = classifier.encoder
    pixels = network_input(image, predictor)
    batch = torch.from_numpy(pixels.copy())[None]
    with torch.no_grad():
        x = encoder.normalized(batch)
        recorder = Recorder(x)
        with named(encoder.body, recorder.inside), recorder:
            features = encoder.features(x)
        linear = not predictor.head.shape["hidden"]
        reached = recorder.numbers.get(id(features)) == recorder.last
        whole = reached and linear and not recorder.stopped
        mirrored = encoder.features(x.flip(3)) if encoder.mirrored else None
        logits = classifier.logits(batch)[0]
        probabilities = classifier(batch)[0]
    if not any(step.kind == "conv" for step in recorder.steps):
        raise ModelError(
            f"{predictor.backbone.name} begins with no convolution that can be shown: expected a "
            "convolutional network; choose one with graft models"
        )
    found = Walkthrough(
        pixels=pixels,
        steps=recorder.steps,
        values=recorder.values,
        whole=whole,
        stopped=recorder.stopped,
        convolutions=recorder.convolutions,
        features=features[0].numpy(),
        mirrored=None if mirrored is None else mirrored[0].numpy(),
        logits=logits.numpy(),
        probabilities=probabilities.numpy(),
        adds=_adds(classifier, batch, int(probabilities.argmax())) if whole else None,
    )
    check(found, predictor)
    return found


def _adds(classifier: Classifier, batch: Tensor, best: int) -> Floats:
    head: Any = classifier.head
    with torch.no_grad():
        standard = (classifier.encoder(batch)[0] - head.mean) / head.std
        found: Floats = (standard * head.layers[-1].weight[best]).numpy()
    return found


def check(walkthrough: Walkthrough, predictor: Predictor) -> None:
    """Compute every step again in float64, from the recorded weights alone, and where the steps
    are the whole network, its probabilities. Raises ModelError for a number that differs.
    """
    for step, again in recomputed(walkthrough):
        recorded = walkthrough.values[step.output]
        error = float(np.abs(again.numpy() - recorded).max())
        if not error <= TOLERANCE * max(float(np.abs(recorded).max()), 1e-3):
            raise ModelError(
                f"{step.module or step.kind}: recomputed, its output differs by {error:.2g} from "
                f"the network's; expected at most {TOLERANCE:g} of the largest value"
            )
    if walkthrough.whole:
        features = again.float()
        if walkthrough.mirrored is not None:
            features = (features + torch.from_numpy(walkthrough.mirrored)) / 2
        with torch.no_grad():
            logits = predictor.head(features[None])[0]
        found = torch.softmax(logits / predictor.temperature, dim=0).numpy()
        error = float(np.abs(found - walkthrough.probabilities).max())
        if not error <= TOLERANCE:
            raise ModelError(
                f"{predictor.backbone.name}: recomputed, its probabilities differ by {error:.2g}; "
                f"expected at most {TOLERANCE:g}"
            )


def recomputed(walkthrough: Walkthrough) -> Iterator[tuple[Step, Tensor]]:
    """Each step with its output, computed in float64 from the outputs before it."""
    values = {0: torch.from_numpy(walkthrough.values[0]).double()}
    for step in walkthrough.steps:
        taken = [values[number] for number in step.inputs]
        values[step.output] = _compute(step, taken)
        yield step, values[step.output]


def _compute(step: Step, taken: list[Tensor]) -> Tensor:
    x, own = taken[0], {k: torch.from_numpy(v).double() for k, v in step.tensors.items()}
    s = step.settings
    match step.kind:
        case "conv":
            top, left, bottom, right = s["pads"]
            padded = F.pad(x[None], (left, right, top, bottom))
            return F.conv2d(
                padded, own["weight"], own.get("bias"), s["stride"], 0, s["dilation"], s["groups"]
            )[0]
        case "norm":
            return F.batch_norm(
                x[None], own["mean"], own["var"], own["weight"], own["bias"], eps=s["eps"]
            )[0]
        case "pool":
            top, left, bottom, right = s["pads"]
            padded = F.pad(x[None], (left, right, top, bottom), value=-torch.inf)
            return F.max_pool2d(padded, s["kernel"], s["stride"])[0]
        case "add":
            return x + taken[1]
        case "mean":
            return x.mean((1, 2))
        case "max":
            return x.amax((1, 2))
        case "divide":
            return torch.as_tensor(x / s["divisor"])
    return _activation(step.kind)(x)


def _activation(name: str) -> Callable[[Tensor], Tensor]:
    functions: dict[str, Callable[[Tensor], Tensor]] = {
        "relu": F.relu,
        "relu6": F.relu6,
        "gelu": F.gelu,
        "silu": F.silu,
        "hardswish": F.hardswish,
    }
    return functions[name]
