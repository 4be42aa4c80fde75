"""Networks that are built for one size of images, such as vision transformers, at another size."""

import hashlib
import sys
import warnings
from dataclasses import replace as changed
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file

from graft.utils.files import replacing

if TYPE_CHECKING:
    from graft.models.backbone import Backbone


def rebuilt_for(backbone: "Backbone", side: int) -> "Backbone | None":
    """The backbone built anew for images of `side` pixels a side, its position embeddings (or the
    biases of its windows) resampled as timm does when it loads such weights. They lie in a card
    beside the backbone's own.

    None where timm cannot build the network for that size, or has no way to fit its weights.
    """
    from graft.models.backbone import new_body

    if backbone.weights is None:
        return None
    arguments = backbone.arguments | {"img_size": side}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of timm's own resampling
            body = new_body(backbone.architecture, arguments)
            fitted = getattr(sys.modules[type(body).__module__], "checkpoint_filter_fn", None)
            state = backbone.state()
            body.load_state_dict(fitted(state, body) if fitted else state)
    # Networks refuse a size in as many ways as there are networks.
    except Exception:
        return None
    preprocess = changed(backbone.preprocess, height=side, width=side)
    digest = hashlib.sha256(f"{backbone.digest} rebuilt for {side}".encode()).hexdigest()
    card = _beside(backbone.weights, digest)
    if not card.is_file():
        apart: dict[str, torch.Tensor] = {
            key: value.clone(memory_format=torch.contiguous_format)
            for key, value in body.state_dict().items()
        }
        with replacing(card) as beside:
            save_file(apart, beside)
    return changed(
        backbone, arguments=arguments, preprocess=preprocess, digest=digest, weights=card, held=None
    )


def _beside(weights: Path, digest: str) -> Path:
    return weights.with_name(f"{digest[:32]}.safetensors")
