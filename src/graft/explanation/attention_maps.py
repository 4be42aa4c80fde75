"""Where the tokens of a vision transformer look."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from graft.explanation.network_input import Maps, network_input
from graft.inference.image_input import OneImage
from graft.inference.predictor import Predictor


@dataclass(frozen=True)
class Attention:
    """How much attention the patches get, (rows, columns) float32 each, summing to 1 at most.

    `last`: from the class token in the last block, the mean over heads (without a class token,
    from all tokens). `rollout`: through all blocks, each mixed half and half with the residual
    connection that passes it by (Abnar & Zuidema 2020, arXiv:2005.00928).
    """

    last: Maps
    rollout: Maps


def attention_maps(predictor: Predictor, image: OneImage) -> Attention | None:
    """The attention that an image's patches get; None for a network that is no vision transformer
    with plain attention (Swin attends within windows, BEiT and EVA-02 add position terms).

    Raises UsageError for a file that cannot be read as an image.
    """
    body: Any = predictor.classifier.encoder.body
    layers: list[Any] = [getattr(block, "attn", None) for block in getattr(body, "blocks", ())]
    if not layers or not all(_is_plain(layer) for layer in layers):
        return None
    inputs = torch.from_numpy(network_input(image, predictor).copy())[None]
    kept: list[Tensor] = []
    handles = [
        layer.register_forward_pre_hook(lambda module, args: kept.append(_weights(module, args[0])))
        for layer in layers
    ]
    try:
        with torch.inference_mode():
            predictor.classifier.encoder(inputs)
    finally:
        for handle in handles:
            handle.remove()
    kept = kept[: len(layers)]  # a mirrored encoder looks twice
    through = torch.eye(kept[0].shape[0])
    for weights in kept:
        through = (0.5 * weights + 0.5 * torch.eye(len(weights))) @ through
    extra = int(getattr(body, "num_prefix_tokens", 0))
    has_class = getattr(body, "cls_token", None) is not None

    def grid(weights: Tensor) -> Maps:
        row = weights[0] if has_class else weights.mean(0)
        patches = row[extra:]
        height, width = inputs.shape[1:3]
        rows = max(1, round((len(patches) * height / width) ** 0.5))
        found: Maps = patches.reshape(rows, -1).float().numpy()
        return found

    return Attention(grid(kept[-1]), grid(through))


def _is_plain(layer: Any) -> bool:
    return type(layer).__name__ == "Attention" and all(
        hasattr(layer, name) for name in ("qkv", "num_heads", "scale", "q_norm", "k_norm")
    )


def _weights(layer: Any, tokens: Tensor) -> Tensor:
    """The attention of a layer for its input (1, T, C), the mean over heads, (T, T)."""
    count = tokens.shape[1]
    qkv = layer.qkv(tokens).reshape(1, count, 3, layer.num_heads, -1).permute(2, 0, 3, 1, 4)
    queries, keys = layer.q_norm(qkv[0]), layer.k_norm(qkv[1])
    weights = (queries * layer.scale) @ keys.transpose(-2, -1)
    return torch.softmax(weights, dim=-1)[0].mean(0)
