"""Networks that were trained on images with their captions (CLIP: Radford et al. 2021,
arXiv:2103.00020; SigLIP: Zhai et al. 2023), in the form of the package open_clip.

The image tower becomes a network of timm's, whose features are the image's embedding, of length 1.
The text tower turns the names of classes into a linear head. Neither is needed after that.
"""

import json
import logging
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graft.choices import OPEN_CLIP, ZERO_SHOT_MODEL
from graft.data.decode import Preprocess
from graft.errors import ModelError
from graft.models.backbone import first_line, new_body
from graft.models.encoder import Encoder
from graft.models.hub_weights import fetched
from graft.runs.timm_arguments import check_arguments

CONFIG, WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"
TOKENIZER = ("tokenizer.json", "tokenizer_config.json")
# What a stranger's config.json may say of a tokenizer: none of it runs code.
TOKENIZER_SETTINGS = {"clean", "strip_sep_token", "language"}
# The embedding of a rebuilt tower is that of open_clip but for rounding.
TOLERANCE = 1e-3
INSTEAD = "give open-clip:FOLDER, a folder with the same files"


def open_clip_folder(name: str) -> Path:
    """The folder of `open-clip:FOLDER` or `open-clip:OWNER/REPOSITORY`, fetched if need be.

    Raises ModelError for a folder in which a file is missing, a network whose text tower is of
    another library, and a hub that cannot be reached.
    """
    where = name.removeprefix(OPEN_CLIP)
    folder = Path(where)
    if folder.is_dir():
        for file in (CONFIG, WEIGHTS):
            if not (folder / file).is_file():
                raise ModelError(
                    f"{name}: expected {CONFIG} and {WEIGHTS} in the folder, {file} is not there"
                )
        _text_config(folder, name)
        return folder
    owner, slash, repository = where.partition("/")
    if not (owner and slash and repository) or "/" in repository:
        raise ModelError(
            f"{name}: expected {OPEN_CLIP}FOLDER or {OPEN_CLIP}OWNER/REPOSITORY, there is no "
            f"folder {where}"
        )
    found = fetched(name, where, CONFIG, INSTEAD).parent
    fetched(name, where, WEIGHTS, INSTEAD)
    if _text_config(found, name).get("hf_tokenizer_name"):
        for file in TOKENIZER:
            fetched(name, where, file, INSTEAD)
    return found


def image_tower(name: str) -> tuple[nn.Module, dict[str, Any]]:
    """The image tower as a network of timm's, and how it is built and fed.

    Raises as `open_clip_folder`, and ModelError for a tower that timm's networks cannot repeat.
    """
    folder = open_clip_folder(name)
    model = _opened(folder, name)
    config = json.loads((folder / CONFIG).read_text())["model_cfg"]
    try:
        architecture, arguments, state = _as_timm(model.visual, config)
        check_arguments(arguments)
        body = new_body(architecture, arguments).eval()
        body.load_state_dict(_fitted(state, body))
        fed = _preprocess(model)
        encoder = Encoder(body, fed, taps=False, embeds=True).eval()
        x = torch.randn(2, 3, fed.height, fed.width, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            off = (encoder.features(x) - F.normalize(model.encode_image(x), dim=1)).abs().max()
    # Towers that timm has not fail in as many ways as there are towers.
    except Exception as error:
        raise ModelError(f"{name}: timm has no such image tower: {first_line(error)}") from error
    if off > TOLERANCE:
        raise ModelError(
            f"{name}: its image tower computes something that timm's {architecture} does not"
        )
    source = f"open_clip {name.removeprefix(OPEN_CLIP)}"
    return body, {
        "architecture": architecture,
        "arguments": arguments,
        "preprocess": fed,
        "source": source,
    }


def zero_shot_weights(name: str, labels: Sequence[str]) -> Tensor:
    """What each label says of an embedding: (K, D), so that weights @ embedding are logits.

    A label is put into seven sentences such as "a bad photo of the daisy.", whose embeddings are
    averaged (Radford et al. 2021, section 3.1.4); _ and - in it are blanks. Raises as
    `open_clip_folder`.
    """
    folder = open_clip_folder(name)
    model = _opened(folder, name)
    library = import_module("open_clip")
    words = [label.replace("_", " ").replace("-", " ").strip() for label in labels]
    try:
        tokenizer = library.get_tokenizer(f"local-dir:{folder}")
        sentences = library.SIMPLE_IMAGENET_TEMPLATES
        weights = library.build_zero_shot_classifier(model, tokenizer, words, sentences)
    except Exception as error:  # a tokenizer whose files are missing or damaged
        raise ModelError(f"{name}: its tokenizer cannot be used: {first_line(error)}") from error
    # A bias that is the same for all classes (SigLIP's) changes no probability.
    return Tensor(model.logit_scale.detach().exp() * weights.T.float())


def _text_config(folder: Path, name: str) -> dict[str, Any]:
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))["model_cfg"]
        text: dict[str, Any] = config["text_cfg"]
        config["vision_cfg"], config["embed_dim"]
        settings = set(text.get("tokenizer_kwargs") or {})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{name}: {CONFIG} is not the JSON of an open_clip model: {first_line(error)}"
        ) from error
    if text.get("hf_model_name"):
        raise ModelError(
            f"{name}: its text tower {text['hf_model_name']} is of another library; choose a "
            f"model of open_clip's own text tower, such as {ZERO_SHOT_MODEL}"
        )
    if other := settings - TOKENIZER_SETTINGS:
        raise ModelError(f"{name}: {CONFIG} asks for a tokenizer with {', '.join(sorted(other))}")
    return text


def _opened(folder: Path, name: str) -> Any:
    try:
        open_clip = import_module("open_clip")
    except ImportError as error:
        raise ModelError(
            f"{name} needs open_clip, which is not installed; pip install 'graft[zero-shot]'"
        ) from error
    logging.getLogger().setLevel(max(logging.WARNING, logging.getLogger().level))
    try:
        return open_clip.create_model(f"local-dir:{folder}").eval()
    # Of weights that do not fit, and settings that make no network.
    except Exception as error:
        raise ModelError(
            f"{name}: the weights do not fit the architecture: {first_line(error)}"
        ) from error


def _as_timm(visual: Any, config: dict[str, Any]) -> tuple[str, dict[str, Any], dict[str, Tensor]]:
    """The architecture and arguments of a tower in timm, and its state as timm reads it."""
    vision = config["vision_cfg"]
    if not vision.get("timm_model_name"):
        return "vit_base_patch16_clip_224", _of_transformer(vision, config), _prefixed(visual)
    if other := {name for name, _ in visual.head.named_children()} - {"drop", "proj"}:
        raise ValueError(f"it ends in {', '.join(sorted(other))}")
    arguments: dict[str, Any] = {"embedding": config["embed_dim"]}
    if vision.get("timm_proj") == "none":
        arguments["embedding"] = 0  # the network's own features
    if vision.get("timm_pool"):
        arguments["global_pool"] = vision["timm_pool"]
    state = dict(visual.trunk.state_dict())
    if projection := getattr(visual.head, "proj", None):
        if projection.bias is not None:
            raise ValueError("its projection has a bias")
        state[""] = projection.weight.detach()
    return vision["timm_model_name"], arguments, state


def _of_transformer(vision: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """open_clip's own vision transformer, in the words of timm's."""
    width = vision["width"]
    arguments: dict[str, Any] = {
        "embedding": config["embed_dim"],
        "img_size": vision["image_size"],
        "patch_size": vision["patch_size"],
        "embed_dim": width,
        "depth": vision["layers"],
        "num_heads": width // vision.get("head_width", 64),
        "mlp_ratio": vision.get("mlp_ratio", 4.0),
    }
    return arguments | ({"act_layer": "quick_gelu"} if config.get("quick_gelu") else {})


def _prefixed(visual: nn.Module) -> dict[str, Tensor]:
    return {f"visual.{name}": value for name, value in visual.state_dict().items()}


def _fitted(state: dict[str, Tensor], body: Any) -> dict[str, Tensor]:
    """The state by timm's names: a transformer's converted, a projection as the classifier."""
    if "visual.class_embedding" in state:
        from timm.models.vision_transformer import checkpoint_filter_fn

        found: dict[str, Tensor] = checkpoint_filter_fn(state, body)
        return found
    if "" in state:
        last = body.get_classifier()
        name = next(n for n, module in body.named_modules() if module is last)
        state = {**state, f"{name}.weight": state[""], f"{name}.bias": torch.zeros_like(last.bias)}
        del state[""]
    return state


def _preprocess(model: Any) -> Preprocess:
    wants = model.visual.preprocess_cfg
    size = wants["size"]
    height, width = size if isinstance(size, tuple | list) else (size, size)
    resize = {"shortest": "crop", "squash": "squash"}.get(wants["resize_mode"])
    if resize is None:
        raise ValueError(f"it wants its images resized by {wants['resize_mode']!r}")
    return Preprocess(
        height=height,
        width=width,
        mean=tuple(wants["mean"]),
        std=tuple(wants["std"]),
        interpolation=wants["interpolation"],
        crop=1.0,
        resize=resize,
    )
