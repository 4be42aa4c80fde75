"""Adapters: low-rank matrices beside a transformer's linear layers, trained in their place and
then added to them (LoRA: Hu et al. 2021, arXiv:2106.09685), by the package peft.

What is added is gone from the network: a run with merged adapters is a run as any other.
"""

from typing import Any

import torch
from torch import nn

from graft.errors import ModelError, UsageError
from graft.models.encoder import Encoder

# The rank of LoRA's own experiments with ViT-sized matrices, and a scale of 2.
RANK, SCALE = 8, 2
# In the names of what attends: timm's transformers, its hybrids, and their relatives.
ATTENTION = ("attn", "attention")


def adapted_layers(encoder: Encoder) -> list[str]:
    """The names in the body of the linear layers that get an adapter: those of its blocks that an
    image passes through, in order.

    Raises UsageError for a network without attention.
    """
    body, passed = encoder.body, []
    hooks = [
        module.register_forward_hook(lambda _, x, y, name=name: passed.append(name))
        for name, module in body.named_modules()
        if isinstance(module, nn.Linear) and "." in name
    ]
    with torch.no_grad():
        encoder(torch.zeros(1, *encoder.input_shape, dtype=torch.uint8))
    for hook in hooks:
        hook.remove()
    if not any(word in name for name in passed for word in ATTENTION):
        raise UsageError(
            f"--unfreeze lora is for transformers, and {type(body).__name__} has no attention "
            "layers; use --unfreeze 20% or all"
        )
    return list(dict.fromkeys(passed))


def add_adapters(encoder: Encoder, seed: int) -> None:
    """Put an adapter, which changes nothing yet, beside each of `adapted_layers`, and freeze all
    else.

    Raises ModelError without the package peft.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise ModelError(
            "--unfreeze lora needs peft, which is not installed; pip install 'graft[lora]'"
        ) from error
    names = adapted_layers(encoder)
    encoder.requires_grad_(False)
    config = LoraConfig(r=RANK, lora_alpha=SCALE * RANK, target_modules=names, bias="none")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(config, encoder.body)


def merge_adapters(encoder: Encoder) -> None:
    """Add the adapters to the layers that they stand beside, and take them away."""
    body: Any = encoder.body
    for name, module in list(body.named_modules()):
        if hasattr(module, "lora_A"):
            module.merge()
            holder, _, last = name.rpartition(".")
            setattr(body.get_submodule(holder), last, module.get_base_layer())
    encoder.requires_grad_(True)
