"""Weights: find a backbone by name, in a folder, an earlier run or timm's hub, and keep it.

A backbone that has been found once is kept as a *card*: one safetensors file in the cache with
the weights as the network holds them and, in its metadata, all that is needed to build and feed
it. A run whose features are all cached then needs neither timm nor the network itself.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from graft.data.decode import Preprocess
from graft.errors import ModelError
from graft.models.backbone import Backbone, did_you_mean, new_body
from graft.models.encoder import Encoder
from graft.runs.folder import model_files
from graft.runs.run import Run
from graft.utils.files import replacing

# timm's own prefix for a folder with config.json and model.safetensors.
LOCAL = "local-dir:"
# Belongs to every key: raise it when the code changes what an encoder computes.
ENCODER_FORMAT = 4


def find_backbone(name: str, cache: Path) -> Backbone:
    """The pretrained backbone of that name, its card made if there is none yet.

    `name` is a timm name (`mobilenetv2_100`, with or without a `.tag`), `local-dir:FOLDER`
    (timm's own form: config.json and model.safetensors), or the folder of an earlier run.

    Raises ModelError for a name that nothing answers to, a folder without weights, or weights
    that can be neither found nor fetched.
    """
    if name.startswith(LOCAL):
        folder = Path(name.removeprefix(LOCAL))
        files = [folder / "config.json", folder / "model.safetensors"]
        for file in files:
            if not file.is_file():
                raise ModelError(
                    f"{name}: expected config.json and model.safetensors in the folder, "
                    f"{file.name} is not there"
                )
    else:
        files = model_files(Path(name)) or [_hub_weights(name)]
    # A hub file does not say what it is the weights of, so there the name belongs to the key.
    described_by = name if len(files) == 1 else "config"
    key = hashlib.sha256(f"graft encoder {ENCODER_FORMAT} {described_by}".encode())
    for file in files:
        key.update(_sha256(file))
    card = cache / "encoders" / f"{key.hexdigest()[:32]}.safetensors"
    if not card.is_file():
        body, described = _open(name, files)
        _write_card(card, name, body, described, key.hexdigest())
    return _read_card(card, name)


def _sha256(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").digest()
    except OSError as error:
        raise ModelError(f"{file}: cannot be read: {error.strerror}") from error


def _hub_weights(name: str) -> Path:
    # The file that timm would load, from the hub's local cache or fetched with a progress bar.
    import timm
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from timm.models import get_pretrained_cfg

    architecture = name.split(".")[0]
    if architecture not in timm.list_models():
        raise ModelError(
            f"no model {name!r}: expected base_cnn, deep_cnn, a timm name (see graft models), "
            f"local-dir:FOLDER or a run folder{did_you_mean(architecture)}"
        )
    config = get_pretrained_cfg(name, allow_unregistered=False)
    if config is None or not config.has_weights or not config.hf_hub_id:
        raise ModelError(f"{name}: timm has no weights of that name on the hub; see graft models")
    weights = config.hf_hub_id, config.hf_hub_filename or "model.safetensors"
    # Published weights do not change, and asking anyway is 20 s of retries when offline.
    if isinstance(cached := try_to_load_from_cache(*weights), str):
        return Path(cached)
    try:
        return Path(hf_hub_download(*weights))
    except Exception as error:
        raise ModelError(
            f"{name}: its weights are not on this machine and {config.hf_hub_id} could not be "
            f"fetched ({type(error).__name__}); go online once, or give --model local-dir:FOLDER "
            "(config.json and model.safetensors), or train from pixels with --model base_cnn"
        ) from error


def _open(name: str, files: list[Path]) -> tuple[nn.Module, dict[str, Any]]:
    if files == model_files(Path(name)):
        return _open_run(Path(name))
    import timm
    from timm.data.config import resolve_model_data_config

    arguments: dict[str, Any] = {}
    if name.startswith(LOCAL):
        try:
            arguments = json.loads(files[0].read_text()).get("model_args") or {}
        except (ValueError, AttributeError) as error:
            raise ModelError(f"{files[0]}: not the JSON of a timm model: {error}") from error
    try:
        body = timm.create_model(name, pretrained=True, num_classes=0).eval()
    except (
        RuntimeError,
        KeyError,
        ValueError,
        TypeError,
        AttributeError,
        SafetensorError,
    ) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(f"{name}: the weights do not fit the architecture: {first}") from error
    config = resolve_model_data_config(body)  # type: ignore[no-untyped-call]
    stored: Any = body.pretrained_cfg
    _, height, width = config["input_size"]
    resize = {"center": "crop", "squash": "squash"}.get(config["crop_mode"])
    if resize is None:
        raise ModelError(
            f"{name}: its weights were trained with crop_mode {config['crop_mode']!r}; graft knows "
            "center and squash"
        )
    return body, {
        "architecture": stored.get("architecture") or name.split(".")[0],
        "arguments": arguments,
        "preprocess": Preprocess(
            height=height,
            width=width,
            mean=tuple(config["mean"]),
            std=tuple(config["std"]),
            interpolation=config["interpolation"],
            crop=config["crop_pct"],
            resize=resize,
        ),
        "source": str(stored.get("hf_hub_id") or name),
    }


def _open_run(run: Path) -> tuple[nn.Module, dict[str, Any]]:
    found = Run(run)
    stored = found.model["backbone"]
    body = new_body(stored["architecture"], stored["arguments"])
    body.load_state_dict(Backbone.from_json(stored, found.weights).state())
    return body.eval(), {
        "architecture": stored["architecture"],
        "arguments": stored["arguments"],
        "preprocess": Preprocess.from_json(stored["preprocess"]),
        "source": f"run {run}",
    }


def _write_card(
    card: Path, name: str, body: nn.Module, described: dict[str, Any], digest: str
) -> None:
    preprocess = described["preprocess"]
    encoder = Encoder(body, preprocess, taps=True).eval()
    with torch.inference_mode():
        pixels = torch.zeros(1, preprocess.height, preprocess.width, 3, dtype=torch.uint8)
        features = encoder(pixels).shape[1]
    backbone = Backbone(
        name=name,
        taps=True,
        features=features,
        parameters=sum(p.numel() for p in body.parameters()),
        digest=digest,
        **described,
    )
    with replacing(card) as beside:
        state = {key: value.contiguous() for key, value in body.state_dict().items()}
        save_file(state, beside, metadata={"card": json.dumps(backbone.to_json())})


def _read_card(card: Path, name: str) -> Backbone:
    with safe_open(card, "pt") as opened:
        stored = json.loads(opened.metadata()["card"])
    return Backbone.from_json(stored | {"name": name}, card)
