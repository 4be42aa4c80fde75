"""Export: a run to a folder that other programs use, checked before it is there."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from graft.data.sources import find_images
from graft.errors import DataError, ModelError, UsageError
from graft.export.contract import Contract, contract_of
from graft.export.graph import graph_of
from graft.export.joined import joined_saver
from graft.export.odd_images import write_odd_images
from graft.export.parity import (
    ANY,
    FLOAT16,
    FLOAT32,
    IMAGES,
    Sample,
    check_parity,
    refuse_difference,
    sample_of,
)
from graft.export.programs import open_program
from graft.export.standalone import CHECK, standalone
from graft.export.unfinished_folder import unfinished
from graft.export.vectors import check_vectors, write_vectors
from graft.export.writers import (
    Save,
    copier,
    onnx_saver,
    openvino_saver,
    require_onnx,
    torch_program,
    torch_saver,
)
from graft.inference.predictor import Predictor
from graft.inference.saved_model import load
from graft.models.openvino_body import ARCHITECTURE
from graft.runs.run import Run
from graft.utils.files import write_json, write_text
from graft.utils.progress import SILENT, Progress

# What is made for each word of --to: module and function, which fills `job.folder`.
WRITERS = {
    "onnx": "graft.export.write:write_model",
    "openvino": "graft.export.write:write_model",
    "torch": "graft.export.write:write_model",
    "web": "graft.export.web_page:write_web",
    "hub-folder": "graft.export.hub_folder:write_hub",
    "repository": "graft.export.repository:write_repository",
}
FILES = {"onnx": "model.onnx", "openvino": "model.xml", "torch": "model.pt2"}


@dataclass(frozen=True)
class Job:
    """What is exported, how, and where to: `folder` is new and empty, and gets its name when all
    went well. `predictor` is the run's, in float32. `images`: files or folders to compare on,
    instead of the run's own.
    """

    run: Run
    predictor: Predictor
    to: str
    folder: Path
    square: bool = False
    int8: bool = False
    half: bool = False
    images: tuple[Path, ...] = ()
    most: int = IMAGES
    progress: Progress = SILENT
    offline: bool = False
    license_id: str = "unknown"


def export_run(
    run: str | Path,
    to: str = "onnx",
    *,
    out: str | Path | None = None,
    square: bool = False,
    int8: bool = False,
    half: bool = False,
    images: Sequence[str | Path] = (),
    most: int = IMAGES,
    progress: Progress = SILENT,
    offline: bool = False,
    license_id: str = "unknown",
) -> dict[str, Any]:
    """Export a run for other programs, into the folder `out`, by default exports/RUN-TO.

    `to` is onnx, openvino or torch: one graph from upright RGB images, (N, H, W, 3) uint8 of any
    size, to calibrated probabilities, OOD scores and features. With `square` it takes pixels of
    the network's own size; with `int8` the encoder computes in 8 bits, if it is as good; with
    `half` OpenVINO's weights are stored in float16. `to` may also be web (a page that classifies
    in the browser; `offline`: with all it needs beside it), hub-folder (for the model hub, under
    `license_id`) or repository (for Triton and other servers).

    The file is first compared with the run: on `most` images of val and test, or on `images`, and
    on odd sizes. Returns what was written: "folder", "files" with their bytes, and "parity".

    Raises ModelError for an export that differs from the run, or a network that cannot be
    exported; UsageError for impossible wishes; DataError for a run whose images are gone.
    """
    if to not in WRITERS:
        raise UsageError(f"--to is one of {', '.join(WRITERS)}, not {to!r}")
    if int8 and to != "onnx":
        raise UsageError(f"--int8 is for --to onnx, not {to}; leave it out")
    if half and to != "openvino":
        raise UsageError(f"--half is for --to openvino, not {to}; leave it out")
    if offline and to != "web":
        raise UsageError(f"--offline is for --to web, not {to}; leave it out")
    if license_id != "unknown" and to != "hub-folder":
        raise UsageError(f"--license is for --to hub-folder, not {to}; leave it out")
    finished = Run(run)
    predictor = load(run, "float32")
    folder = _free(out, finished.name, to)
    given = tuple(Path(image) for image in images)
    with unfinished(folder, progress) as beside:
        job = Job(finished, predictor, to, beside, square, int8, half, given, most, progress)
        job = replace(job, offline=offline, license_id=license_id)
        found = _writer(to)(job)
        if folder.is_dir():
            folder.rmdir()  # empty
        beside.rename(folder)
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    sizes = {file.relative_to(folder).as_posix(): file.stat().st_size for file in files}
    return {"to": to, "folder": str(folder), "files": sizes, **found}


def write_model(job: Job) -> dict[str, Any]:
    """Write the model, compared with its run, and what goes with it into `job.folder`."""
    program_file, parity = write_checked(job, job.to)
    fed = job.predictor.backbone.preprocess
    text = standalone(job.to, fed, job.square)
    write_text(job.folder / "predict.py", text)
    write_text(job.folder / "check.py", CHECK)
    write_json(job.folder / "parity.json", parity)
    contract = open_program(program_file, trusted=True).contract
    write_json(job.folder / "preprocess.json", contract)
    return {"parity": parity} | {key: contract[key] for key in ("int8",) if key in contract}


def write_checked(job: Job, to: str) -> tuple[Path, dict[str, Any]]:
    """Write the model file of a format and vectors/ into `job.folder`, if it says what the run
    says; the file, and the parity found. Raises as `export_run`.
    """
    if job.predictor.backbone.architecture == ARCHITECTURE and to != "openvino":
        raise ModelError(
            f"{job.run.path}: its backbone is a network from a file, which graft runs in OpenVINO: "
            f"it can be exported --to openvino, not {to}"
        )
    if to == "onnx":
        require_onnx()
    sample = _sample(job)
    job.progress.say(f"exporting {job.run.name} to {to}, 20 s or more: tracing the network")
    save = _saver(job, to)
    contract = contract_of(job.predictor, to, job.square)
    tolerance = ANY if job.int8 else FLOAT16 if job.half else FLOAT32
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        odd = write_odd_images(place / "odd")
        sample.add(odd, [f"(odd) {file.name}" for file in odd], [-1] * len(odd))
        trial = place / FILES[to]
        save(trial, contract)
        if job.int8:
            save, contract = _in_int8(job, trial, contract)
            save(trial, contract)
        program = open_program(trial, trusted=True)
        parity = check_parity(program, job.predictor, sample, job.progress, tolerance)
    refuse_difference(parity, f"the export of {job.run.path} to {to}")
    file = job.folder / FILES[to]
    save(file, contract | {"parity": _travelling(parity)})
    program = open_program(file, trusted=True)
    own = program if job.int8 else None
    write_vectors(job.folder, job.predictor, job.square, FLOAT16 if own else tolerance, own)
    if problems := check_vectors(program):
        refuse_difference(parity | {"differ": problems, "differing": len(problems)}, str(file))
    return file, parity


def _in_int8(job: Job, plain: Path, contract: Contract) -> tuple[Save, Contract]:
    """What writes the model with its encoder in int8, and a contract with the figures; raises
    ModelError for one that is worse than its limits.
    """
    from graft.export.int8 import judge, quantize, refuse_if_worse

    fed = job.predictor.backbone.preprocess
    eight = plain.with_name("int8.onnx")
    job.progress.say("calibrating int8 on training images")
    quantize(plain, eight, job.run, fed, job.square)
    save = copier(eight)
    found = judge(open_program(plain), open_program(eight), job.run, fed, job.progress)
    refuse_if_worse(found)
    return save, contract | {"int8": found}


def _saver(job: Job, to: str) -> Save:
    fed = job.predictor.backbone.preprocess
    graph = graph_of(job.predictor, job.square)
    size = (fed.height, fed.width) if job.square else None
    if job.predictor.backbone.architecture == ARCHITECTURE:
        return joined_saver(graph, size, job.half)
    program = torch_program(graph, size)
    job.progress.say(f"exporting {job.run.name} to {to}: making {FILES[to]}")
    if to == "onnx":
        return onnx_saver(program)
    return openvino_saver(program, job.half) if to == "openvino" else torch_saver(program)


def _sample(job: Job) -> Sample:
    if not job.images:
        return sample_of(job.run, job.most)
    files = [file for path in job.images for file in find_images(path)][: job.most]
    if not files:
        raise DataError(f"--images {job.images[0]}: expected images, there is none")
    return Sample(list(files), [str(file) for file in files], [-1] * len(files))


def _travelling(parity: dict[str, Any]) -> dict[str, Any]:
    """What goes into the metadata: numbers, and no names of the user's images."""
    return {
        name: _travelling(value) if isinstance(value, dict) else value
        for name, value in parity.items()
        if not isinstance(value, list)
    }


def _writer(to: str) -> Callable[[Job], dict[str, Any]]:
    module, _, function = WRITERS[to].partition(":")
    found: Callable[[Job], dict[str, Any]] = getattr(import_module(module), function)
    return found


def _free(out: str | Path | None, name: str, to: str) -> Path:
    """The folder to write, which does not exist or is empty."""
    if out is None:
        folder, number = Path("exports") / f"{name}-{to}", 1
        while folder.exists():
            number += 1
            folder = folder.with_name(f"{name}-{to}-{number}")
        return folder
    folder = Path(out)
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise UsageError(f"{folder} is in use; --out takes a new folder")
    return folder
