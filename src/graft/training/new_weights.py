"""A backbone with the weights that a run has trained."""

import hashlib
import json
from dataclasses import replace

import torch
from safetensors.torch import save

from graft.models.backbone import Backbone
from graft.runs.run import Run
from graft.utils.files import replacing


def with_weights(backbone: Backbone, state: dict[str, torch.Tensor], run: Run) -> Backbone:
    """The backbone with these weights in place of its own, where the state has them; they lie in
    the run until the model is saved.
    """
    whole = backbone.state() if backbone.weights is not None else {}
    # Copies: where a network uses a tensor twice (CoaT), the file has two.
    apart = torch.contiguous_format
    whole |= {key: value.cpu().clone(memory_format=apart) for key, value in state.items()}
    data = save(whole)
    weights = run.checkpoint("encoder")
    with replacing(weights) as beside:
        beside.write_bytes(data)
    digest = hashlib.sha256(data + json.dumps(backbone.to_json()).encode()).hexdigest()
    return replace(backbone, digest=digest, weights=weights, held=None)
