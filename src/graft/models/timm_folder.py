"""A network without classifier as timm keeps it: the folder that `local-dir:FOLDER` names."""

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from graft.data.decode import Preprocess
from graft.utils.files import replacing, write_text


def write_timm_folder(
    folder: Path, body: Any, architecture: str, arguments: dict[str, Any], fed: Preprocess
) -> None:
    """Write config.json and model.safetensors: `body` is timm's network of that `architecture`
    and those `arguments`, with its weights, and `fed` how it wants its images.
    """
    known = body.pretrained_cfg
    # Of an image tower with text beside it, "embedding" is the width of its last layer.
    own = {name: value for name, value in arguments.items() if name != "embedding"}
    width = arguments.get("embedding", 0)
    described = {
        "architecture": architecture,
        "num_classes": width,
        "num_features": int(body.num_features),
        "model_args": own,
        "pretrained_cfg": {
            "input_size": [3, fed.height, fed.width],
            "fixed_input_size": bool(known.get("fixed_input_size", False)),
            "interpolation": fed.interpolation,
            "crop_pct": fed.crop,
            "crop_mode": {"crop": "center"}.get(fed.resize, fed.resize),
            "mean": list(fed.mean),
            "std": list(fed.std),
            "num_classes": width,
            "pool_size": None,
            "first_conv": known.get("first_conv"),
            "classifier": known.get("classifier"),
        },
    }
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: value.contiguous() for name, value in body.state_dict().items()}
    with replacing(folder / "model.safetensors") as beside:
        save_file(state, beside, metadata={"format": "pt"})
    write_text(folder / "config.json", json.dumps(described, indent=1) + "\n")
