"""Whether a network can be trained at a size at all: by what the activations of a batch take."""

from typing import Any

import torch
from torch import Tensor, nn

from graft.errors import UsageError
from graft.models.backbone import Backbone, new_body
from graft.utils.memory import memory_bytes


def refuse_too_large(backbone: Backbone, batch: int) -> None:
    """Raise UsageError if the activations of a batch, which the backward pass needs, take more than
    all of this machine's memory. Less may be too much, too: other things need memory as well.
    """
    there = memory_bytes()
    if there is None:
        return
    wanted = activation_bytes(backbone, batch)
    if wanted > there:
        raise UsageError(
            f"{backbone.name} at {backbone.preprocess.height} pixels a side takes about "
            f"{wanted / 1e9:,.0f} GB of memory for a batch of {batch}, and this machine has "
            f"{there / 1e9:,.0f} GB; take a smaller --image-size or --batch-size"
        )


def activation_bytes(backbone: Backbone, batch: int) -> int:
    """The bytes of the outputs of all layers with parameters, in float32, for a batch of images;
    found by shapes alone, without computing.
    """
    kept = 0

    def count(module: nn.Module, given: Any, output: Any) -> None:
        nonlocal kept
        if isinstance(output, Tensor):
            kept += 4 * output.numel()

    with torch.device("meta"):
        body: Any = new_body(backbone.architecture, backbone.arguments)
        images = torch.empty(batch, 3, backbone.preprocess.height, backbone.preprocess.width)
    for module in body.modules():
        if next(module.parameters(recurse=False), None) is not None:
            module.register_forward_hook(count)
    body.forward_features(images)
    return kept
