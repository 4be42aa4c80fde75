"""A predictor on disk: model.safetensors and model.json of a run folder."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from graft.errors import ModelError
from graft.features.backends import LazyBackend
from graft.inference.predictor import Predictor
from graft.models.backbone import Backbone
from graft.models.head import Head
from graft.models.ood import OODDetector
from graft.utils.files import replacing, write_json

FORMAT = 1


def save(predictor: Predictor, run: Path, trained: int) -> None:
    """Write model.safetensors, then model.json, each all or nothing.

    `trained` is the number of parameters that were trained.
    """
    head, detector = predictor.head, predictor.ood_detector
    state = {f"encoder.{key}": value for key, value in predictor.backbone.state().items()}
    state |= {f"head.{key}": value for key, value in head.state_dict().items()}
    if detector:
        state |= {f"ood_score.{key}": value for key, value in detector.tensors().items()}
    with replacing(run / "model.safetensors") as beside:
        save_file({key: value.contiguous() for key, value in state.items()}, beside)
    total = predictor.backbone.parameters + sum(p.numel() for p in head.parameters())
    write_json(
        run / "model.json",
        {
            "format": FORMAT,
            "backbone": predictor.backbone.to_json(),
            "head": head.shape,
            "classes": list(predictor.classes),
            "preprocess": predictor.backbone.preprocess.to_json(),
            "temperature": predictor.temperature,
            "ood_limit": detector.limit if detector else None,
            "frozen": predictor.frozen,
            "parameters": {"total": total, "trained": trained},
        },
    )


def load(run: str | Path, backend: str = "auto") -> Predictor:
    """Read the predictor of a run folder.

    Raises ModelError when the folder holds no model, or one that this graft cannot read.
    """
    folder = Path(run)
    try:
        stored: dict[str, Any] = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        if stored["format"] > FORMAT:
            raise ModelError(
                f"{run}: made by a newer graft (model format {stored['format']}, this one reads "
                f"up to {FORMAT}); upgrade graft"
            )
        weights = folder / "model.safetensors"
        state = load_file(weights)
        head = Head(**stored["head"])
        head.load_state_dict(_below("head.", state))
        return Predictor(
            Backbone.from_json(stored["backbone"], weights),
            head.eval(),
            tuple(stored["classes"]),
            LazyBackend(Backbone.from_json(stored["backbone"], weights).build, backend),
            float(stored["temperature"]),
            bool(stored["frozen"]),
            _detector(state, stored.get("ood_limit")),
            folder,
        )
    except FileNotFoundError as error:
        raise ModelError(
            f"{run}: expected a run folder with model.json and model.safetensors (made by graft "
            f"train), {Path(error.filename).name} is not there"
        ) from error
    except (KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise ModelError(
            f"{run}: the model files are damaged: {error}; copy them again, or train the run again"
        ) from error


def _detector(state: dict[str, Tensor], limit: float | None) -> OODDetector | None:
    if limit is None:
        return None
    kept = _below("ood_score.", state)
    mean, std, directions = (kept[name].float() for name in ("mean", "std", "directions"))
    return OODDetector(mean, std, directions, float(limit))


def _below(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
