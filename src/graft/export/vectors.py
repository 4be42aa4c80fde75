"""Test vectors: three images with what the run says of them, for whoever has the file alone.

    vectors/NAME.EXT       the image file
    vectors/NAME-pixels.png   its decoded pixels, exactly: what the graph takes
    vectors.json           probabilities and OOD score of each, and the tolerance

They are drawn by graft, and show nobody's photos.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from graft.data.decode import Preprocess, center_view, decode, read_bytes
from graft.errors import DataError
from graft.export.odd_images import drawing
from graft.export.parity import FLOAT32, Answers, Tolerance, exported, predicted
from graft.export.programs import Program
from graft.inference.predictor import Predictor
from graft.utils.files import write_json

FOLDER, FILE = "vectors", "vectors.json"
# A stranger's vectors are read too.
MOST_VECTORS, MOST_BYTES, MOST_SIDE = 16, 2**20, 4096


def write_vectors(
    folder: Path,
    predictor: Predictor,
    square: bool,
    tolerance: Tolerance = FLOAT32,
    program: Program | None = None,
) -> None:
    """Write vectors/ into an export's folder; the answers are the run's own, in float32, or those
    of a `program` that is known to differ.
    """
    place = folder / FOLDER
    place.mkdir()
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(drawing(240, 320, 1)).save(place / "turned.jpg", exif=turned, quality=90)
    Image.fromarray(drawing(301, 200, 2)).convert("L").save(place / "gray.png")
    clear = Image.fromarray(drawing(97, 131, 3)).convert("RGBA")
    clear.putalpha(Image.fromarray(drawing(97, 131, 4)).convert("L"))
    clear.save(place / "transparent.png")
    files = [place / name for name in ("turned.jpg", "gray.png", "transparent.png")]
    if program is None:
        answers = predicted(predictor, files)
    else:
        said = list(exported(program, files, _decoded, predictor.backbone.preprocess))
        answers = Answers(
            np.array([p for p, _ in said], np.float64), np.array([s for _, s in said])
        )
    rows: list[dict[str, Any]] = []
    for file, probabilities, score in zip(
        files, answers.probabilities, answers.ood_scores, strict=True
    ):
        image = _decoded(file)
        pixels = _fed(image, predictor.backbone.preprocess, square)
        name = f"{file.stem}-pixels.png"
        Image.fromarray(pixels).save(place / name)
        rows.append(
            {
                "file": file.name,
                "pixels": name,
                "probabilities": probabilities.tolist(),
                "ood_score": float(score),
            }
        )
    stated = {"probability": tolerance.probability, "ood_score": tolerance.ood_score}
    write_json(place / FILE, {"tolerance": stated, "vectors": rows})


def check_vectors(program: Program) -> list[str]:
    """What is wrong, a line each, with what an exported file says of the vectors beside it: of
    their exact pixels, and of the image files as this machine decodes them.

    Raises DataError where there are none, or none that can be read.
    """
    place = program.file.parent / FOLDER
    fed = Preprocess.from_json(
        {k: v for k, v in program.contract["preprocess"].items() if k != "inside"}
    )
    problems = []
    for row, tolerance in _read(place, len(program.contract["classes"])):
        for name in (row["pixels"], row["file"]):
            image = _decoded(place / name)
            if name == row["pixels"]:
                pixels = np.asarray(image)
            else:
                pixels = _fed(image, fed, program.square)
            probabilities, ood_score, _ = program.run(np.ascontiguousarray(pixels)[np.newaxis])
            apart = float(np.abs(probabilities[0] - np.array(row["probabilities"])).max())
            strange = abs(float(ood_score[0]) - row["ood_score"]) / max(1.0, row["ood_score"])
            if not (apart <= tolerance["probability"] and strange <= tolerance["ood_score"]):
                problems.append(
                    f"{FOLDER}/{name}: a probability is {apart:.2g} and the OOD score "
                    f"{strange:.2g} away, beyond {tolerance['probability']:g} and "
                    f"{tolerance['ood_score']:g}"
                )
    return problems


def _decoded(file: Path) -> Image.Image:
    return decode(read_bytes(file))


def _fed(image: Image.Image, fed: Preprocess, square: bool) -> Any:
    return center_view(image, fed) if square else np.asarray(image)


def _read(place: Path, classes: int) -> list[tuple[dict[str, Any], dict[str, float]]]:
    """The vectors, checked: names of files in the folder, small images, numbers."""
    file = place / FILE
    if not file.is_file():
        raise DataError(f"{file}: expected test vectors beside the model, there are none")
    try:
        if file.stat().st_size > MOST_BYTES:
            raise ValueError("it is too large")
        stored = json.loads(file.read_text(encoding="utf-8"))
        tolerance = {k: float(stored["tolerance"][k]) for k in ("probability", "ood_score")}
        rows = stored["vectors"]
        if not 0 < len(rows) <= MOST_VECTORS:
            raise ValueError(f"{len(rows)} vectors")
        for row in rows:
            row["ood_score"] = float(row["ood_score"])
            if np.array(row["probabilities"], np.float64).shape != (classes,):
                raise ValueError("probabilities of other classes")
            for name in (row["file"], row["pixels"]):
                if Path(name).name != name or name.startswith("."):
                    raise ValueError(f"{name!r} is no file's name")
                with Image.open(place / name) as image:
                    if max(image.size) > MOST_SIDE:
                        raise ValueError(f"{name} is {image.size[0]} × {image.size[1]} pixels")
    except (ValueError, KeyError, TypeError, OSError, RecursionError) as error:
        raise DataError(f"{file}: cannot be read as test vectors: {error}") from error
    return [(row, tolerance) for row in rows]
