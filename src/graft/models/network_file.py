"""Networks from files of other tools: ONNX, TensorFlow SavedModel, TFLite and OpenVINO IR.

    file:encoder.onnx   file:FOLDER   file:encoder.tflite   file:encoder.xml   file:FILE#OUTPUT

OpenVINO's own front ends read them; TensorFlow is not needed. Whatever the file's layout, scale
and output are, what is kept is one graph from normalized RGB, (N, 3, H, W), to features (N, D):
see OpenVinoBody. Files are not trusted: sizes are bounded, and a file opens no other one outside
of its folder.
"""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from graft.choices import PixelScale
from graft.data.decode import Preprocess
from graft.errors import ModelError
from graft.models.network_reader import CONSTANTS, FED, GRAPH, PROBLEM
from graft.models.onnx_references import external_files
from graft.models.openvino_body import OpenVinoBody
from graft.runs.reading import checked_size

# How a network is named that is a file.
FILE = "file:"
KINDS = (".onnx", ".tflite", ".xml")
# The graph in a folder that `graft import` made.
IMPORTED = "encoder.xml"
SAVED_MODEL = "saved_model.pb"
# Bytes of a file, at most: ten times the largest that is used as an encoder for images.
LARGEST_FILE = 16 * 2**30


@dataclass(frozen=True)
class NetworkFile:
    """What `file:…` names: the file or folder, all the files that belong to it, and the output,
    None for the first.
    """

    name: str
    path: Path
    files: tuple[Path, ...]
    output: str | None

    @property
    def key(self) -> str:
        """What of the name belongs to a digest: not where the file lies."""
        return f"file{self.path.suffix} {self.output}"


def find_file(name: str) -> NetworkFile:
    """The files of a network that is named by its file; ModelError where there are none that
    graft reads.
    """
    told, output = name.removeprefix(FILE), None
    path = Path(told)
    if "#" in told and not path.exists():
        told, _, output = told.rpartition("#")
        path = Path(told)
    return NetworkFile(name, path, tuple(_files(path)), output or None)


def read_file(
    file: NetworkFile, pixels: PixelScale | None = None
) -> tuple[OpenVinoBody, Preprocess]:
    """The network of a file, and how it is fed: images of the size that the graph has, or of
    USUAL_SIDE where it takes any, scaled as `pixels` says; None: as the file says, which is 0 to
    255 for one that takes bytes.

    It is read by another process, with a bound on its memory: OpenVINO's readers of other tools'
    formats end the process that they are in where a file is damaged.

    Raises ModelError for a file that cannot be read or is larger than any network, and where
    neither says the scale.
    """
    try:
        size = sum(checked_size(each, LARGEST_FILE) for each in file.files)
    except (OSError, ValueError) as error:
        raise ModelError(f"{file.name}: cannot be read: {error}") from error
    with tempfile.TemporaryDirectory() as folder:
        asked = [str(_entry(file)), file.output or "", pixels or "", folder, str(size)]
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-m", "graft.models.network_reader", *asked],
            capture_output=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        made = Path(folder)
        if (problem := made / PROBLEM).is_file():
            raise ModelError(f"{file.name}: {problem.read_text(encoding='utf-8')}")
        if done.returncode:
            raise ModelError(
                f"{file.name}: OpenVINO cannot read it: its reader ended with {done.returncode}, "
                "as of a damaged file or one that asks for too much memory"
            )
        graph, constants = ((made / name).read_bytes() for name in (GRAPH, CONSTANTS))
        fed = Preprocess.from_json(json.loads((made / FED).read_text(encoding="utf-8")))
        return OpenVinoBody(graph, constants), fed


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        if (path / IMPORTED).is_file():
            return _files(path / IMPORTED)
        if (path / SAVED_MODEL).is_file():
            return sorted(file for file in path.rglob("*") if file.is_file())
        raise ModelError(
            f"{path}: expected a folder with {SAVED_MODEL} (TensorFlow's SavedModel) or "
            f"{IMPORTED} (graft import)"
        )
    if path.suffix.lower() in (".keras", ".h5", ".hdf5"):
        raise ModelError(f"{path}: a file of Keras is converted once: graft import {path}")
    if path.suffix.lower() not in KINDS:
        raise ModelError(
            f"{path}: expected a file of {', '.join(KINDS)}, or the folder of a SavedModel"
        )
    if not path.is_file():
        raise ModelError(f"{path}: there is no such file")
    if path.suffix.lower() == ".onnx":
        return [path, *external_files(path)]
    constants = path.with_suffix(".bin")
    return [path, constants] if path.suffix.lower() == ".xml" and constants.is_file() else [path]


def _entry(file: NetworkFile) -> Path:
    """What OpenVINO is given: the file, or the folder of a SavedModel."""
    imported = file.files[0].name == IMPORTED
    return file.path if file.path.is_dir() and not imported else file.files[0]
