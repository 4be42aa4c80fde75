"""The order in which a network runs its modules, and which of them end its stages."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

# Blocks of one resolution say much the same; a transformer's last four are the custom of linear
# evaluation (Caron et al. 2021, arXiv:2104.14294).
LAST_BLOCKS = 4
# timm's names for what `forward_head` uses.
AFTER_FEATURES = {
    *("head", "fc", "classifier", "global_pool", "head_drop", "head_dist", "fc_norm"),
    *("pre_logits", "norm_head", "act2", "flatten", "attn_pool", "AuxLogits"),
}
# A vision transformer adds its position embedding in this method, which uses `pos_drop`.
POSITIONS = "_pos_embed"
# Families whose modules are defined in the order that they run in; the tests hold each against
# its own forward_features. Any other network is compared with it before it is trusted.
KNOWN = {
    *("efficientnet", "mobilenetv3", "resnet", "vgg", "inception_v3", "densenet", "convnext"),
    *("vision_transformer", "deit", "swin_transformer", "scratch_cnns"),
}
# Families whose blocks take more than the one before gives, and give class and other tokens apart
# from positions in timm's own forward_intermediates.
PREFIXED = {"beit", "eva"}
# Run module by module, a network repeats its forward_features but for rounding.
TOLERANCE = 1e-4


def stages(body: nn.Module) -> list[nn.Module]:
    """The stages of a network in order, as timm's families name them.

    MobileNet, EfficientNet and base_cnn: `blocks`; ResNet: layer1..4; ConvNeXt and others:
    `stages`; Swin: `layers`; ViT, DeiT, DINOv2: the last four of `blocks`; VGG: the poolings that
    end its stages; Inception v3: the last block of each resolution. A family that keeps its
    stages elsewhere (DenseNet, HRNet) gives none, and its final features stand alone.

    timm's own `feature_info` lists fewer: one of several stages of equal resolution.
    """
    for name in ("stages", "layers", "blocks"):
        found = getattr(body, name, None)
        if isinstance(found, nn.Sequential | nn.ModuleList):
            transformer = name == "blocks" and hasattr(body, "cls_token")
            return list(found)[-LAST_BLOCKS:] if transformer else list(found)
    convolutions = getattr(body, "features", None)
    if isinstance(convolutions, nn.Sequential) and isinstance(convolutions[-1], nn.MaxPool2d):
        return [module for module in convolutions if isinstance(module, nn.MaxPool2d)]
    for names in (tuple(f"layer{i}" for i in range(1, 5)), ("Mixed_5d", "Mixed_6e", "Mixed_7c")):
        if all(hasattr(body, name) for name in names):
            return [getattr(body, name) for name in names]
    return []


def family(body: nn.Module) -> str:
    """The name of the module of timm that a network comes from."""
    return type(body).__module__.rpartition(".")[2]


def sequence(body: nn.Module, shape: tuple[int, ...]) -> tuple[str, ...]:
    """The dotted names of the modules that `forward_features` passes a tensor through, in order;
    none for a network that is no such sequence (HRNet's branches).

    `shape` is that of an input, (C, H, W).
    """
    if family(body) in KNOWN:
        return tuple(_names(body))
    x = torch.randn(1, *shape, generator=torch.Generator().manual_seed(0))
    training = body.training
    body.eval()  # what is dropped at random is not the same twice
    try:
        with torch.no_grad():  # not inference mode: ConViT keeps what it computes, for training
            expected: Any = body.forward_features(x)  # type: ignore[operator]
            for names in (_names(body), _names(body, whole=stages(body))):
                if _repeats(body, names, x, expected):
                    return tuple(names)
    finally:
        body.train(training)
    return ()


def intermediates(body: Any, x: Tensor, count: int) -> list[Tensor]:
    """The outputs of the last `count` stages as timm gives them: (N, C, h, w), or with a class
    token (N, T, C).
    """
    prefixed = family(body) in PREFIXED  # levit has no class token, cait adds it later
    more = {"return_prefix_tokens": True, "output_fmt": "NLC"} if prefixed else {}
    found = body.forward_intermediates(x, indices=count, intermediates_only=True, **more)
    # timm gives positions and other tokens apart; the blocks have these first.
    return [torch.cat([pair[1], pair[0]], dim=1) for pair in found] if prefixed else list(found)


def run(body: nn.Module, names: Sequence[str], x: Tensor) -> Tensor:
    """What comes of `x` when it passes through these modules, one after the other."""
    for name in names:
        x = called(body, name, x)
    return x


def called(body: nn.Module, name: str, x: Tensor) -> Tensor:
    """The output of one module of a sequence."""
    module: Any = getattr(body, name) if name == POSITIONS else body.get_submodule(name)
    found = module(x, **_rotary(body, name, x))
    output: Tensor = found[0] if isinstance(found, tuple) else found  # eva: with its rotation
    return output


def _rotary(body: Any, name: str, x: Tensor) -> dict[str, Tensor]:
    """The rotary position embedding that each block of eva (DINOv3, EVA-02) takes along."""
    rope = getattr(body, "rope", None)
    if rope is None or not name.startswith("blocks."):
        return {}
    side = math.isqrt(x.shape[1] - body.num_prefix_tokens)
    embedded = rope.get_embed(shape=(side, side))
    mixed = getattr(body, "rope_mixed", False)  # then there is one for each block
    return {"rope": embedded[int(name.split(".")[1])] if mixed else embedded}


def within(body: nn.Module, stage: nn.Module, names: Sequence[str]) -> list[str]:
    """Those of the names that are modules of a stage, or the stage itself."""
    inside = {id(module) for module in stage.modules()}
    return [n for n in names if n != POSITIONS and id(body.get_submodule(n)) in inside]


def _repeats(body: nn.Module, names: Sequence[str], x: Tensor, expected: Any) -> bool:
    try:
        found = run(body, names, x)
    # A network that is no sequence fails in as many ways as there are networks.
    except Exception:
        return False
    if not (isinstance(found, Tensor) and isinstance(expected, Tensor)):
        return False
    close = TOLERANCE * float(expected.abs().max())
    return found.shape == expected.shape and torch.allclose(found, expected, TOLERANCE, close)


def _names(module: nn.Module, prefix: str = "", whole: Sequence[nn.Module] = ()) -> list[str]:
    """In the order of definition; containers, but for the `whole` ones, by what is in them."""
    found: list[str] = []
    for name, child in module.named_children():
        if not prefix and name in AFTER_FEATURES:
            if name == "AuxLogits":
                continue
            break
        if name == "rope":
            continue
        if name == "pos_drop" and hasattr(module, POSITIONS):
            found.append(POSITIONS)
        elif child in whole:
            found.append(prefix + name)
        elif isinstance(child, nn.Sequential | nn.ModuleList) or hasattr(child, "blocks"):
            found += _names(child, f"{prefix}{name}.", whole)
        else:
            found.append(prefix + name)
    return found
