"""The folder of `graft export RUN --to repository`: NAME/config.pbtxt and NAME/1/model.onnx, as
Triton Inference Server, OpenVINO Model Server and KServe load models.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from graft.export.write import Job, write_model
from graft.runs.run import Run
from graft.utils.files import write_text

MAX_BATCH = 32
# How long a request may wait for others to share its batch, in microseconds.
QUEUE_DELAY = 2000


def repository_name(run: Run) -> str:
    """The run's name as a server takes it in addresses: letters, digits, - and _."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", run.name).strip("_") or "classifier"


def write_repository(job: Job) -> dict[str, Any]:
    """Write NAME/config.pbtxt, NAME/labels.txt and NAME/1/ with the model and its test vectors
    into `job.folder`; the parity found.
    """
    folder = job.folder / repository_name(job.run)
    version = replace(job, to="onnx", folder=folder / "1")
    version.folder.mkdir(parents=True)
    found = write_model(version)
    fed, features = job.predictor.backbone.preprocess, job.predictor.backbone.features
    write_config(job.run, folder, (fed.height, fed.width) if job.square else None, features)
    return found


def write_config(run: Run, folder: Path, size: Sequence[int] | None, features: int) -> Path:
    """Write config.pbtxt into `folder`, the model's own, beside the folder 1 with model.onnx.

    `size` is the (height, width) of the images that the graph takes; None: any, and then only
    images of one size share a batch. `features` is D. Returns the path of config.pbtxt.
    """
    height, width = size or (-1, -1)
    classes = len(run.model["classes"])
    text = f"""# Made by graft export --to repository.
name: {json.dumps(folder.name)}
platform: "onnxruntime_onnx"
max_batch_size: {MAX_BATCH}
input [
  {{ name: "image" data_type: TYPE_UINT8 dims: [ {height}, {width}, 3 ] }}
]
output [
  {{ name: "probabilities" data_type: TYPE_FP32 dims: [ {classes} ] label_filename: "labels.txt" }},
  {{ name: "ood_score" data_type: TYPE_FP32 dims: [ 1 ] reshape {{ shape: [ ] }} }},
  {{ name: "features" data_type: TYPE_FP32 dims: [ {features} ] }}
]
dynamic_batching {{ max_queue_delay_microseconds: {QUEUE_DELAY} }}
"""
    labels = (" ".join(name.split()) for name in run.model["classes"])
    write_text(folder / "labels.txt", "".join(f"{name}\n" for name in labels))
    write_text(folder / "config.pbtxt", text)
    return folder / "config.pbtxt"
