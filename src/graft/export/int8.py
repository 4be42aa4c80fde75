"""Eight bits: the encoder of an ONNX export in int8, and whether it is as good as the one in float.

Static quantization by onnxruntime: weights by channel, activations by the range that they have on
training images. Resize, pooling, head and OOD score stay in float32: with these quantized, too,
17 to 29 of 448 labels changed, and so did most refusals.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.data.decode import Preprocess, center_view, decode, read_bytes, resized_shorter_side
from graft.errors import DataError, ModelError
from graft.evaluation.paired_tests import compare_pairs
from graft.export.parity import Answers
from graft.export.programs import Program
from graft.export.quiet import quiet
from graft.runs.run import Run
from graft.utils.progress import Progress

# Training images that the ranges are taken from, and validation images that it is judged on.
CALIBRATION, JUDGED = 128, 1000
# Refused if it may lose more accuracy on the validation images than this (lower end of the 95 %
# interval), if more of their refusals change, or if it is not so many times as fast.
MOST_LOST, MOST_REFUSALS, LEAST_SPEED = 0.02, 0.02, 1.05
_OPERATORS = ("Conv", "Gemm", "MatMul", "Clip", "Relu", "Add")
_ENCODER = "'classifier.encoder"  # in the names of modules that the exporter keeps


@dataclass
class _Images:
    """Files as the graph takes them, one at a time: what onnxruntime calibrates on."""

    pixels: Iterator[NDArray[np.uint8]]

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        image = next(self.pixels, None)
        return None if image is None else {"image": image}

    def rewind(self) -> None:
        """Asked for by onnxruntime; each image is seen once."""


def quantize(source: Path, target: Path, run: Run, fed: Preprocess, square: bool) -> None:
    """Write an ONNX export with its encoder in int8, calibrated on the run's training images.

    Raises DataError where these are gone.
    """
    import onnx
    from onnxruntime.quantization import (  # type: ignore[import-untyped]
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    paths = [row["path"] for row in run.images if row["split"] == "train"]
    files = [run.files[path] for path in paths if path in run.files]
    if not files:
        raise DataError(f"{run.path}: --int8 needs its training images, none is there any more")
    rows = np.unique(np.linspace(0, len(files) - 1, CALIBRATION).round().astype(int))
    model = onnx.load(source)
    chosen = [node.name for node in model.graph.node if _is_encoders(node)]
    if not chosen:
        raise ModelError("--int8: no layer of this network can be computed in 8 bits; leave it out")
    with quiet():
        quantize_static(
            source,
            target,
            _Images(pixels_of([files[i] for i in rows], fed, square)),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            weight_type=QuantType.QInt8,
            activation_type=QuantType.QUInt8,
            op_types_to_quantize=list(_OPERATORS),
            nodes_to_quantize=chosen,
            calibrate_method=CalibrationMethod.MinMax,
        )


def pixels_of(files: Sequence[Path], fed: Preprocess, square: bool) -> Iterator[NDArray[np.uint8]]:
    """Each file as a graph takes it, (1, H, W, 3)."""
    side = resized_shorter_side(fed)
    for file in files:
        image = decode(read_bytes(file), side)
        pixels = center_view(image, fed) if square else np.asarray(image)
        yield np.ascontiguousarray(pixels)[np.newaxis]


def judge(
    plain: Program, eight: Program, run: Run, fed: Preprocess, progress: Progress
) -> dict[str, Any]:
    """What 8 bits cost and gain on validation images: accuracy with a paired test, refusals, and
    speed, each image after the other by both.
    """
    paths, labels, _ = run.predictions("val")
    kept = [i for i, path in enumerate(paths) if path in run.files][:JUDGED]
    if not kept:
        raise DataError(f"{run.path}: --int8 needs its val images, none is there any more")
    said: list[list[tuple[NDArray[np.float32], float]]] = [[], []]
    seconds: list[list[float]] = [[], []]
    progress.start("judging int8", len(kept))
    files = [run.files[paths[i]] for i in kept]
    for done, image in enumerate(pixels_of(files, fed, plain.square), 1):
        for each, program in enumerate((plain, eight)):
            start = time.perf_counter()
            probabilities, ood_score, _ = program.run(image)
            seconds[each].append(time.perf_counter() - start)
            said[each].append((probabilities[0], float(ood_score[0])))
        progress.advance(done)
    progress.finish()
    first, second = (
        Answers(np.array([p for p, _ in rows], np.float64), np.array([s for _, s in rows]))
        for rows in said
    )
    truth = np.array(labels)[kept]
    pair = compare_pairs([first.labels == truth, second.labels == truth])[0]
    return {
        "images": len(kept),
        "accuracy": {
            "float": float((first.labels == truth).mean()),
            "int8": float((second.labels == truth).mean()),
        },
        "difference": {"value": pair.difference, "low": pair.low, "high": pair.high, "p": pair.p},
        "labels_changed": int((first.labels != second.labels).sum()),
        "refusals": {"float": int(first.refused.sum()), "int8": int(second.refused.sum())},
        "refusals_changed": int((first.refused != second.refused).sum()),
        "times_as_fast": float(np.median(seconds[0]) / np.median(seconds[1])),
        "limits": {
            "accuracy_lost": MOST_LOST,
            "refusals_changed": MOST_REFUSALS,
            "times_as_fast": LEAST_SPEED,
        },
    }


def refuse_if_worse(found: dict[str, Any]) -> None:
    """Raise ModelError, with the figures, for an int8 export that is worse than its limits."""
    n, difference = found["images"], found["difference"]
    figures = (
        f"on {n:,} val images accuracy {found['accuracy']['int8']:.1%} against "
        f"{found['accuracy']['float']:.1%} in float (95 % interval of the difference "
        f"{difference['low']:+.1%} to {difference['high']:+.1%}), {found['refusals_changed']} "
        f"refusals changed, {found['times_as_fast']:.2f} times as fast"
    )
    why = []
    if difference["low"] < -MOST_LOST:
        why.append(f"it may lose more than {MOST_LOST:.0%} of accuracy")
    if found["refusals_changed"] > MOST_REFUSALS * n:
        why.append(f"more than {MOST_REFUSALS:.0%} of refusals change")
    if found["times_as_fast"] < LEAST_SPEED:
        why.append("it is no faster")
    if why:
        raise ModelError(f"--int8 is refused: {' and '.join(why)}: {figures}; leave --int8 out")


def _is_encoders(node: Any) -> bool:
    scopes = "".join(p.value for p in node.metadata_props if p.key == "pkg.torch.onnx.name_scopes")
    return node.op_type in _OPERATORS and _ENCODER in scopes
