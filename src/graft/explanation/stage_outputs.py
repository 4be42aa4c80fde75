"""What each stage of a network gives for an image, kept while the image passes through."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import get_ident
from typing import Any

from torch import Tensor, nn

from graft.errors import ModelError
from graft.models.classifier import Classifier
from graft.models.encoder import Encoder
from graft.models.openvino_body import OpenVinoBody
from graft.models.sequence import stages


def stage_modules(encoder: Encoder) -> list[nn.Module]:
    """The modules whose outputs are those of the encoder's stages, the first first; where stages
    are not known by name (DenseNet), those that timm lists as the network's features.

    Raises ModelError for a network that has neither.
    """
    body: Any = encoder.body
    if encoder.ends:
        return [body.get_submodule(name) for name in encoder.ends]
    if found := stages(body):
        return [_last(module) for module in found]
    listed = getattr(body, "feature_info", None) or []
    named = dict(body.named_modules())
    # Of some networks (HRNet) timm lists names that only its own feature extractor knows.
    names = [info["module"] for info in listed if info.get("module") in named]
    if not names:
        raise no_stages(encoder)
    return [_last(named[name]) for name in names]


def no_stages(encoder: Encoder) -> ModelError:
    """What to say of a network whose stages cannot be shown."""
    if isinstance(encoder.body, OpenVinoBody):
        return ModelError(
            "a network from a file runs in OpenVINO, which shows no stages and computes no "
            "gradients; explain it by occlusion"
        )
    return ModelError(
        f"the stages of {type(encoder.body).__name__} are not known, so there is nothing to show "
        "of them; explain it by occlusion"
    )


def _last(module: nn.Module) -> nn.Module:
    """Whoever runs a network may call what is in a sequence, and not the sequence itself."""
    while isinstance(module, nn.Sequential) and len(module):
        module = module[-1]
    return module


@contextmanager
def kept_outputs(classifier: Classifier) -> Iterator[list[list[Tensor]]]:
    """The outputs of each stage during whatever passes through the classifier meanwhile, in this
    thread.

    One list a stage: with one tensor, or two where the encoder sees the mirror image, too.
    """
    own = get_ident()  # threads share a network, and each would find the others' outputs
    modules = stage_modules(classifier.encoder)
    kept: list[list[Tensor]] = [[] for _ in modules]

    def hook(place: int) -> Any:
        def keep(module: nn.Module, inputs: Any, output: Any) -> Any:
            if get_ident() != own:
                return None
            if not isinstance(output, Tensor):
                return None  # branches of several resolutions are no map
            kept[place].append(output)
            # What follows may write into its input: the copy is its own.
            copy = output.clone()
            if copy.requires_grad:
                # The root mean square of a channel that is 0 everywhere has no gradient.
                hooked: Any = copy
                hooked.register_hook(lambda gradient: gradient.nan_to_num(0, 0, 0))
            return copy

        return keep

    handles = [module.register_forward_hook(hook(i)) for i, module in enumerate(modules)]
    try:
        yield kept
    finally:
        for handle in handles:
            handle.remove()


def as_grid(output: Tensor, body: Any, shape: tuple[int, ...]) -> Tensor:
    """A stage's output as (N, C, h, w): tokens are laid out as the patches that they stand for,
    without the class token; `shape` is that of the network input, (H, W, 3).
    """
    if output.ndim == 4:
        last = getattr(body, "output_fmt", "NCHW") == "NHWC"
        return output.permute(0, 3, 1, 2) if last else output
    tokens = output[:, _extra_tokens(body, output) :]
    count, (height, width, _) = tokens.shape[1], shape
    rows = max(1, round((count * height / width) ** 0.5))
    return tokens.transpose(1, 2).reshape(len(tokens), -1, rows, count // rows)


def _extra_tokens(body: Any, output: Tensor) -> int:
    """How many tokens come before those of the patches."""
    extra = int(getattr(body, "num_prefix_tokens", 0))
    patches = getattr(getattr(body, "patch_embed", None), "num_patches", None)
    if patches is not None and output.shape[1] <= patches:
        return 0  # CaiT: the class token joins after these blocks
    return extra
