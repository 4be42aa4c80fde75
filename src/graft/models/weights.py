"""Weights: find a backbone by name (in a package, a folder, an earlier run or on timm's hub).

A backbone that has been found once is kept as a *card*: one safetensors file in the cache with
the weights as the network holds them and, in its metadata, all that is needed to build and feed
it. A run whose features are all cached then needs neither timm nor the network itself.
"""

import hashlib
import json
from dataclasses import replace as changed
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from graft.choices import FROM_SCRATCH, OPEN_CLIP, PixelScale
from graft.data.decode import Preprocess
from graft.errors import ModelError, UsageError
from graft.models.backbone import Backbone, did_you_mean, first_line, new_body
from graft.models.class_names import classifier_of
from graft.models.head import Head
from graft.models.hub_weights import hub_file, hub_networks_here
from graft.models.image_text import CONFIG, WEIGHTS, image_tower, open_clip_folder
from graft.models.network_file import FILE, find_file, read_file
from graft.models.openvino_body import ARCHITECTURE as OPENVINO
from graft.models.openvino_body import OpenVinoBody
from graft.models.packaged_weights import PACKAGES, load_packaged, packaged_file
from graft.models.stored_model import read_model
from graft.models.torchvision_weights import TORCHVISION, open_torchvision, torchvision_file
from graft.runs.folder import model_files
from graft.runs.reading import read_json
from graft.runs.timm_arguments import check_arguments
from graft.utils.files import replacing

# timm's own prefix for a folder with config.json and model.safetensors.
LOCAL = "local-dir:"
# Belongs to every key: raise it when the code changes what an encoder computes.
ENCODER_FORMAT = 4


def find_backbone(name: str, cache: Path, pixels: PixelScale | None = None) -> Backbone:
    """The pretrained backbone of that name, its card made if there is none yet.

    `name` is one of PACKAGES (`tf_efficientnet_lite0`), another timm name (`resnet50`, with or
    without a `.tag`), `local-dir:FOLDER` (timm's own form: config.json and model.safetensors),
    `torchvision:NAME` (graft.models.torchvision_weights), `file:FILE` (a network of another tool:
    graft.models.network_file; `pixels` is how it was fed, where the file does not say), or the
    folder of an earlier run.

    Raises UsageError for `pixels` of another network, ModelError for a name that nothing answers
    to, a folder without weights, or weights that can be neither found nor fetched.
    """
    if pixels and not name.startswith(FILE):
        raise UsageError(
            f"pixels is for a network from a file, file:FILE, and {name} says itself how it is "
            "fed; leave it out"
        )
    return _read_card(_card(name, cache, pixels=pixels), name)[0]


def find_classifier(name: str, cache: Path) -> tuple[Backbone, Head, list[str]]:
    """The pretrained network of that name with the classifier that it was trained with: its
    backbone, that classifier as a linear head, and the names of its K classes.

    `name` and errors as for find_backbone; ModelError also for a run, and for a network that has
    no classes or another kind of classifier.
    """
    if name.startswith(OPEN_CLIP):
        raise ModelError(f"{name} has no classes of its own: name yours by --labels")
    if model_files(Path(name)):
        raise ModelError(f"{name} is a run, with classes of yours: graft predict {name} IMAGE")
    card = _card(name, cache, with_classes=True)
    backbone, classes = _read_card(card, name)
    head = Head(backbone.features, len(classes), 0, 0.0, 0.0)
    with safe_open(card, "pt") as opened:
        head.load_state_dict({key: opened.get_tensor(f"head.{key}") for key in head.state_dict()})
    return backbone, head.eval(), classes


def _card(
    name: str, cache: Path, with_classes: bool = False, pixels: PixelScale | None = None
) -> Path:
    files, digests = _files(name)
    # A hub file does not say what it is the weights of, so there the name belongs to the key.
    from_file = name.startswith(FILE)
    described_by = "config" if len(files) == 2 else name
    if from_file:
        described_by = f"{find_file(name).key} {pixels}"
    elif name.startswith(TORCHVISION):
        described_by = name.partition("=")[0]
    kind = " with classes" if with_classes else ""
    key = hashlib.sha256(f"graft encoder {ENCODER_FORMAT} {described_by}{kind}".encode())
    for digest in digests:
        key.update(digest)
    card = cache / "encoders" / f"{key.hexdigest()[:32]}.safetensors"
    if card.is_file():
        return card
    is_run = bool(files) and files == model_files(Path(name))
    if from_file:
        body, described = _open_file(name, key.hexdigest(), pixels)
    elif name.startswith(TORCHVISION):
        body, described = open_torchvision(name, files[0])
    else:
        body, described = _open_run(Path(name)) if is_run else _open(name, files)
    classes, head = classifier_of(body, name) if with_classes else ([], None)
    embeds = "embedding" in described["arguments"]
    if not (is_run or embeds):
        body.reset_classifier(0)
    taps = not (with_classes or embeds)
    described |= {"name": name, "digest": key.hexdigest(), "taps": taps}
    _write_card(card, body, described, head, classes)
    return card


def _files(name: str) -> tuple[list[Path], list[bytes]]:
    """The files that make a network, and their digests; of a package's, the digest is known."""
    if name in PACKAGES:
        return [], [bytes.fromhex(PACKAGES[name].sha256)]
    if name.startswith(LOCAL):
        folder = Path(name.removeprefix(LOCAL))
        files = [folder / "config.json", folder / "model.safetensors"]
        for file in files:
            if not file.is_file():
                raise ModelError(
                    f"{name}: expected config.json and model.safetensors in the folder, "
                    f"{file.name} is not there"
                )
    elif name.startswith(FILE):
        files = list(find_file(name).files)
    elif name.startswith(TORCHVISION):
        files = [torchvision_file(name)]
    elif name.startswith(OPEN_CLIP):
        folder = open_clip_folder(name)
        files = [folder / CONFIG, folder / WEIGHTS]
    else:
        files = model_files(Path(name)) or [_timm_weights(name)]
    return files, [_sha256(file) for file in files]


def _sha256(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").digest()
    except OSError as error:
        raise ModelError(f"{file}: cannot be read: {error.strerror}") from error


def networks_here() -> list[str]:
    """The pretrained networks whose weights are on this machine, by name."""
    packaged = [name for name in PACKAGES if packaged_file(name)]
    return packaged + hub_networks_here()


def _timm_weights(name: str) -> Path:
    # The file that timm would load, from the hub's local cache or fetched with a progress bar.
    import timm

    if name in FROM_SCRATCH:
        raise ModelError(f"{name} learns from your images alone: there are no weights of it")
    architecture = name.split(".")[0]
    if architecture not in timm.list_models():
        raise ModelError(
            f"no model {name!r}: expected base_cnn, deep_cnn, a timm name (see graft models), "
            "local-dir:FOLDER, torchvision:NAME, file:FILE or a run folder"
            f"{did_you_mean(architecture)}"
        )
    here = ", ".join([*networks_here(), *FROM_SCRATCH])
    return hub_file(name, f"networks on this machine: {here}, and local-dir:FOLDER")


def _open(name: str, files: list[Path]) -> tuple[Any, dict[str, Any]]:
    """The network with its weights and its own classifier, and how it is built and fed."""
    import timm

    if name.startswith(OPEN_CLIP):
        return image_tower(name)
    arguments: dict[str, Any] = {}
    if name.startswith(LOCAL):
        arguments = _arguments(files[0])
    try:
        if name in PACKAGES:
            body: Any = load_packaged(name, timm.create_model(name)).eval()
        else:
            body = timm.create_model(name, pretrained=True).eval()
    except (
        RuntimeError,
        KeyError,
        ValueError,
        TypeError,
        AttributeError,
        SafetensorError,
    ) as error:
        said = f"{name}: the weights do not fit the architecture: {first_line(error)}"
        raise ModelError(said) from error
    stored: Any = body.pretrained_cfg
    return body, {
        "architecture": stored.get("architecture") or name.split(".")[0],
        "arguments": arguments,
        "preprocess": preprocess_of(body, name),
        "source": _source(name, stored),
    }


def _open_file(name: str, digest: str, pixels: PixelScale | None) -> tuple[Any, dict[str, Any]]:
    """The network of a file of another tool, and how it is built and fed."""
    file = find_file(name)
    body, preprocess = read_file(file, pixels)
    return body, {
        "architecture": OPENVINO,
        "arguments": {},
        "preprocess": preprocess,
        "source": f"{file.path.name} (a file, digest {digest[:12]})",
    }


def _arguments(config: Path) -> dict[str, Any]:
    """What the config.json of a network in timm's form says of its shape; the file may be a
    stranger's, so it may say no more than that.
    """
    try:
        found: dict[str, Any] = read_json(config).get("model_args") or {}
        check_arguments(found)
    except (ValueError, AttributeError) as error:
        raise ModelError(f"{config}: not the JSON of a timm model: {error}") from error
    return found


def _source(name: str, stored: Any) -> str:
    if name in PACKAGES:
        return f"package {PACKAGES[name].install}"
    return str(stored.get("hf_hub_id") or name)


def preprocess_of(body: nn.Module, name: str) -> Preprocess:
    """How a network of timm wants its images; ModelError for a way that graft does not know."""
    from timm.data.config import resolve_model_data_config

    config = resolve_model_data_config(body)  # type: ignore[no-untyped-call]
    _, height, width = config["input_size"]
    resize = {"center": "crop", "squash": "squash"}.get(config["crop_mode"])
    if resize is None:
        raise ModelError(
            f"{name}: its weights were trained with crop_mode {config['crop_mode']!r}; graft knows "
            "center and squash"
        )
    return Preprocess(
        height=height,
        width=width,
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        interpolation=config["interpolation"],
        crop=config["crop_pct"],
        resize=resize,
    )


def _open_run(run: Path) -> tuple[Any, dict[str, Any]]:
    backbone = read_model(run).backbone
    body = new_body(backbone.architecture, backbone.arguments)
    body.load_state_dict(backbone.state())
    return body.eval(), {
        "architecture": backbone.architecture,
        "arguments": backbone.arguments,
        "preprocess": backbone.preprocess,
        "source": f"run {run}",
    }


def _write_card(
    card: Path, body: Any, described: dict[str, Any], head: Head | None, classes: list[str]
) -> None:
    if isinstance(body, OpenVinoBody):
        parameters = body.parameter_count()
    else:
        parameters = sum(p.numel() for p in body.parameters())
    backbone = Backbone(features=0, parameters=parameters, **described)
    encoder = backbone.around(body).eval()
    with torch.inference_mode():
        features = encoder(torch.zeros(1, *encoder.input_shape, dtype=torch.uint8)).shape[1]
    state = body.state_dict()
    if head:  # then as in a run's model.safetensors
        state = {f"encoder.{key}": value for key, value in state.items()}
        state |= {f"head.{key}": value for key, value in head.state_dict().items()}
    stored = changed(backbone, features=features).to_json()
    metadata = {"card": json.dumps(stored), "classes": json.dumps(classes)}
    with replacing(card) as beside:
        # Copies: where a network uses a tensor twice (CoaT), the file has two.
        apart = {k: v.clone(memory_format=torch.contiguous_format) for k, v in state.items()}
        save_file(apart, beside, metadata=metadata)


def _read_card(card: Path, name: str) -> tuple[Backbone, list[str]]:
    with safe_open(card, "pt") as opened:
        metadata = opened.metadata()
    backbone = Backbone.from_json(json.loads(metadata["card"]) | {"name": name}, card)
    return backbone, json.loads(metadata.get("classes", "[]"))
