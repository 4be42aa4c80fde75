"""The folder of `graft export RUN --to hub-folder`: what huggingface_hub uploads as it is."""

import re
import shutil
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path, PurePath
from typing import Any

import torch

from graft.errors import UsageError
from graft.export.hub_contents import TIMM
from graft.export.model_card import UNKNOWN, dataset_name, model_card
from graft.export.write import Job, write_model
from graft.models.backbone import Backbone, new_body
from graft.models.network_file import FILE
from graft.models.openvino_body import ARCHITECTURE
from graft.models.scratch_cnns import SCRATCH
from graft.models.timm_folder import write_timm_folder
from graft.models.weights import LOCAL
from graft.runs.run import Run
from graft.utils.files import replacing, write_json, write_text


def write_hub(job: Job) -> dict[str, Any]:
    """Write the hub folder into `job.folder`, with model.onnx where graft[onnx] is installed; the
    parity found.
    """
    check_license(job.license_id)
    run, found = Run.finished(job.run.path), {}
    if job.predictor.backbone.architecture == ARCHITECTURE:
        job.progress.say("without model.onnx: the backbone is an OpenVINO graph")
    elif all(map(find_spec, ("onnx", "onnxscript", "onnxruntime"))):
        found = write_model(replace(job, to="onnx"))
    else:
        job.progress.say("without model.onnx: that needs pip install 'graft[onnx]'")
    write_hub_folder(run, job.folder, job.license_id)
    return found


def check_license(license_id: str) -> None:
    """Raise UsageError for a license that is no name of the hub's kind, such as apache-2.0."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9.+-]*", license_id):
        raise UsageError(
            "--license is a name of the hub's list, such as apache-2.0 or cc-by-4.0, not "
            f"{license_id!r}"
        )


def write_hub_folder(run: Run, folder: Path, license_id: str = UNKNOWN) -> None:
    """Write a run's model into `folder` as the hub takes it: weights in safetensors, what graft
    and others need to load them, and a model card. No pickle, no image, no path of this machine.

    model.onnx and what belongs to it are mentioned in the card if they are there already. A
    fine-tuned network of timm's is also written as timm/, which timm loads by `local-dir:`.

    Raises as check_license.
    """
    check_license(license_id)
    folder.mkdir(parents=True, exist_ok=True)
    described = _without_paths(run.model)
    with replacing(folder / "model.safetensors") as beside:
        shutil.copyfile(run.weights, beside)
    write_json(folder / "model.json", described)
    write_json(folder / "metrics.json", run.metrics)
    write_json(folder / "config.json", _config(run, described))
    timm = _fine_tuned(run)
    if timm:
        _write_body(run, folder / TIMM)
    card = model_card(run, license_id, (folder / "model.onnx").is_file(), timm)
    write_text(folder / "README.md", card)


def _fine_tuned(run: Run) -> bool:
    return not run.model["frozen"] and run.model["backbone"]["architecture"] not in SCRATCH


def _without_paths(model: dict[str, Any]) -> dict[str, Any]:
    """model.json, where a backbone that came from a folder is named without the way to it."""
    named: dict[str, Any] = _named(model["backbone"])
    return model | {"backbone": named}


def _config(run: Run, model: dict[str, Any]) -> dict[str, Any]:
    """config.json: how the model was made, for people and for the hub's own tools."""
    classes = list(run.model["classes"])
    kept = ("resolved", "graft", "versions", "seed", "started")
    return {
        "library_name": "graft",
        "architecture": model["backbone"]["architecture"],
        "num_classes": len(classes),
        "id2label": {str(k): name for k, name in enumerate(classes)},
        "label2id": {name: k for k, name in enumerate(classes)},
        "preprocess": model["preprocess"],
        "dataset": dataset_name(run),
    } | {key: _named(run.config[key]) for key in kept if key in run.config}


def _named(value: Any) -> Any:
    """Settings without paths: a model that was given as a folder is called by its name."""
    if isinstance(value, dict):
        return {key: _named(inner) for key, inner in value.items()}
    if not isinstance(value, str):
        return value
    kind, _, folder = value.rpartition("run ")
    folder = folder.removeprefix(LOCAL).removeprefix(FILE)
    if kind == "" and (folder != value or PurePath(folder).is_absolute()):
        return ("run " if value.startswith("run ") else "") + PurePath(folder).name
    return value


def _write_body(run: Run, folder: Path) -> None:
    """The fine-tuned body as timm's `local-dir:` takes it: config.json and model.safetensors."""
    backbone = Backbone.from_json(run.model["backbone"], run.weights)
    body: Any = new_body(backbone.architecture, backbone.arguments)
    # What timm builds of it must be what was written; a network with more to it is refused here.
    with torch.inference_mode():
        body.load_state_dict(backbone.state())
    write_timm_folder(folder, body, backbone.architecture, backbone.arguments, backbone.preprocess)
