"""The export of a run whose backbone is an OpenVINO graph: what is around it is joined to it."""

from typing import Any

import torch
from torch import Tensor, nn

from graft.errors import ModelError
from graft.export.graph import Graph
from graft.export.quiet import quiet
from graft.export.writers import Save, in_openvino, openvino_file_saver, torch_program


class _Before(nn.Module):
    """Images (N, H, W, 3) uint8 to what the body takes, (N, 3, h, w) float32."""

    def __init__(self, graph: Graph):
        super().__init__()
        self.view, self.mean = graph.view, graph.classifier.encoder.get_buffer("mean")
        self.std = graph.classifier.encoder.get_buffer("std")

    def forward(self, image: Tensor) -> Tensor:
        """As Graph and Encoder.normalized do."""
        pixels = self.view(image).permute(0, 2, 3, 1) if self.view else image
        return ((pixels.float() - self.mean) / self.std).permute(0, 3, 1, 2)


class _After(nn.Module):
    """Features (N, D) to probabilities, OOD scores and the features again."""

    def __init__(self, graph: Graph):
        super().__init__()
        self.whole = graph

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As Graph does."""
        return self.whole.from_features(features)


def joined_saver(graph: Graph, square: tuple[int, int] | None, half: bool) -> Save:
    """What writes the graph as OpenVINO IR; ModelError for a body that takes one image at a time,
    as its file did.
    """
    import openvino

    body: Any = graph.classifier.encoder.body.model()
    if body.input(0).get_partial_shape()[0].is_static:
        raise ModelError(
            "this network's file takes one image at a time, and an export takes any number; write "
            "the file again with a free batch size"
        )
    width = body.output(0).get_partial_shape()[1].get_length()
    with quiet(), torch.no_grad():
        before, held = in_openvino(torch_program(_Before(graph), square))
        rows = {0: torch.export.Dim.DYNAMIC}
        example = (torch.zeros(2, width),)
        made = torch.export.export(_After(graph), example, dynamic_shapes=(rows,), strict=False)
        after, also_held = in_openvino(made)
    _feed(body, before)
    _feed(after, body)
    whole = openvino.Model(after.get_results(), before.get_parameters(), "graft")
    whole.validate_nodes_and_infer_types()
    return openvino_file_saver(whole, half, (before, body, after, held, also_held))


def _feed(model: Any, giver: Any) -> None:
    """Put what one model gives in the place of another one's input."""
    given = giver.output(0).get_node().input_value(0)
    for target in model.input(0).get_target_inputs():
        target.replace_source_output(given)
