"""Verify: whether an exported file still says what its run, or its test vectors, say."""

import tempfile
from pathlib import Path
from typing import Any

from graft.errors import DataError, ModelError
from graft.evaluation.paired_tests import LEVEL
from graft.export.odd_images import write_odd_images
from graft.export.parity import ANY, FLOAT16, FLOAT32, IMAGES, Tolerance, check_parity, sample_of
from graft.export.programs import open_program
from graft.export.vectors import check_vectors
from graft.export.write import FILES
from graft.inference.saved_model import load
from graft.runs.digest_file import digest_of
from graft.runs.run import Run
from graft.utils.progress import SILENT, Progress

_VERSIONED = "*/[0-9]*/model.onnx"


def verify_file(
    file: str | Path,
    run: str | Path | None = None,
    *,
    most: int = IMAGES,
    trusted: bool = False,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Check an exported file, or the one in a folder: with a `run` on its images, as export does,
    else on the test vectors beside it.

    Returns "file", "runtime", "problems" (a line each, none for a file that is right) and, with a
    run, "parity". Raises DataError for a file that was not made by graft export, UsageError for a
    .pt2 file that is not `trusted`.
    """
    program = open_program(_model_in(Path(file)), trusted=trusted)
    found: dict[str, Any] = {"file": str(program.file), "runtime": program.runtime}
    if run is None:
        return found | {"checked": "vectors", "problems": check_vectors(program)}
    predictor, stored = load(run, "float32"), Run(run)
    problems = []
    if list(predictor.classes) != program.contract["classes"]:
        raise ModelError(f"{program.file}: its classes are not those of {run}; it is another run's")
    weights = predictor.backbone.weights
    if weights and program.contract.get("weights_sha256") != digest_of(weights):
        problems.append(f"its weights_sha256 is not that of {weights}: another run, or a newer one")
    sample = sample_of(stored, most)
    with tempfile.TemporaryDirectory() as place:
        odd = write_odd_images(Path(place))
        sample.add(odd, [f"(odd) {each.name}" for each in odd], [-1] * len(odd))
        parity = check_parity(program, predictor, sample, progress, _stated(program.contract))
    problems += [f"{name}: beyond the tolerance" for name in parity["differ"]]
    paired = parity.get("mcnemar", {"p": 1.0, "difference": 0.0})
    if paired["p"] < LEVEL and paired["difference"] < 0:  # what is left to say of int8
        problems.append(f"its accuracy is {-paired['difference']:.1%} lower, p = {paired['p']:.2g}")
    return found | {"checked": str(run), "problems": problems, "parity": parity}


def _stated(contract: dict[str, Any]) -> Tolerance:
    """The tolerance that the file states, if it is one of ours."""
    if "int8" in contract:
        return ANY
    stated = contract.get("parity", {}).get("probability", {}).get("tolerance")
    return FLOAT16 if stated == FLOAT16.probability else FLOAT32


def _model_in(path: Path) -> Path:
    """The model file that `path` is, or the one that it holds, as export lays it there."""
    if not path.is_dir():
        return path
    found = [path / name for name in FILES.values() if (path / name).is_file()]
    # A repository for model servers, and a model in it: NAME/VERSION/model.onnx.
    found = found or sorted(path.glob("[0-9]*/model.onnx")) or sorted(path.glob(_VERSIONED))
    if len(found) == 1:
        return found[0]
    if found:
        named = ", ".join(file.relative_to(path).as_posix() for file in found)
        raise DataError(f"{path}: expected one exported model, found {named}; name one of them")
    raise DataError(
        f"{path}: expected a folder that graft export wrote, with {', '.join(FILES.values())}; "
        "none is there"
    )
