"""Exports against `predict` on all val and test images: what differs, how large, how fast.

For each format: the worst difference of a probability, labels and refusals that change (against
predict in float32, and against predictions.csv, which the usual backend made), megabytes, and
images a second from decoded images, one at a time, against the float32 network in PyTorch on the
same images; last, what became of `--int8`.
"""

import time
from pathlib import Path

import numpy as np

from benchmarks.common import GRAFT, WEIGHTS, images, show, timed, workplace

FORMATS = {
    "onnx": {"to": "onnx"},
    "openvino": {"to": "openvino"},
    "openvino_float16": {"to": "openvino", "half": True},
    "torch": {"to": "torch"},
}
TIMED = 100


def rates(program, predictor, files: list[Path]) -> tuple[float, float]:
    """Images a second of the exported file and of predict, alternating, one image at a time."""
    from graft.data.decode import decode, read_bytes

    decoded = [np.asarray(decode(read_bytes(file))) for file in files]
    seconds = [0.0, 0.0]
    for _ in range(2):  # the first one warms up
        seconds = [0.0, 0.0]
        for image in decoded:
            start = time.perf_counter()
            program.run(image[None])
            middle = time.perf_counter()
            predictor.predict(image)
            seconds[0] += middle - start
            seconds[1] += time.perf_counter() - middle
    return len(decoded) / seconds[0], len(decoded) / seconds[1]


def against_stored(program, run) -> tuple[int, float]:
    """Labels that differ from predictions.csv, and the worst probability."""
    from graft.data.decode import decode, read_bytes, resized_shorter_side

    side = resized_shorter_side(run.preprocess)
    changed, worst = 0, 0.0
    for split in ("val", "test"):
        paths, _, stored = run.predictions(split)
        for path, row in zip(paths, stored, strict=True):
            image = np.asarray(decode(read_bytes(run.files[path]), side))
            found = program.run(image[None])[0][0]
            changed += int(found.argmax() != row.argmax())
            worst = max(worst, float(np.abs(found - row).max()))
    return changed, worst


def main() -> None:
    from graft.data.decode import Preprocess
    from graft.errors import GraftError
    from graft.export.programs import open_program
    from graft.export.write import FILES, export_run
    from graft.inference.saved_model import load
    from graft.runs.run import Run

    with workplace() as place:
        folder = place / "run"
        command = [*GRAFT, "train", str(images("flowers")), "--model", WEIGHTS]
        timed([*command, "--out", str(folder)], place / "cache")
        run = Run(folder)
        run.preprocess = Preprocess.from_json(run.model["preprocess"])
        files = [run.files[path] for path in run.predictions("test")[0][:TIMED]]
        predictor = load(folder, "float32")
        for name, asked in FORMATS.items():
            out = place / name
            found = export_run(folder, out=out, most=10**6, **asked)
            program = open_program(out / FILES[asked["to"]], trusted=True)
            changed, worst = against_stored(program, run)
            exported, predicted = rates(program, predictor, files)
            parity = found["parity"]
            model = [size for file, size in found["files"].items() if file.startswith("model.")]
            show(
                "export_parity",
                format=name,
                images=parity["images"],
                worst_probability=parity["probability"]["worst"],
                worst_ood_score=parity["ood_score"]["worst"],
                labels_changed=parity["labels_changed"],
                refusals=parity["refusals"],
                refusals_changed=parity["refusals_changed"],
                labels_changed_against_csv=changed,
                worst_probability_against_csv=worst,
                megabytes=sum(model) / 1e6,
                images_s=exported,
                predict_float32_images_s=predicted,
                speed_ratio=exported / predicted,
            )
        try:
            eight = export_run(folder, out=place / "int8", int8=True)["int8"]
            show("export_parity", format="int8", refused=False, **eight)
        except GraftError as error:
            show("export_parity", format="int8", refused=True, why=str(error))


if __name__ == "__main__":
    main()
