"""Finished runs side by side: what `graft compare` knows, says and writes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.errors import DataError, UsageError
from graft.evaluation.comparison import Pair, compare
from graft.files import write_json, write_text
from graft.report import comparison_plots as plots
from graft.report.html import environment
from graft.report.inputs import Record, RunFiles, read_run
from graft.report.numbers import NOTHING, counted, listed, percent, points, span
from graft.report.pictures import thumbnail
from graft.runs import read_json

ALONE = 8  # pictures shown that one model alone gets right
SIDE = 132  # pixels


@dataclass(frozen=True)
class Row:
    """One model of a comparison. `speed` is images/s at prediction, None if nobody measured."""

    name: str
    run: RunFiles
    folder: Path
    right: NDArray[np.bool_]
    speed: float | None
    bytes: int

    def to_json(self) -> Record:
        """As in comparison.json."""
        metrics = self.run.metrics
        seconds = metrics.get("seconds", {})
        return {
            "name": self.name,
            "run": str(self.folder),
            "accuracy": metrics["accuracy"],
            **{key: metrics[f"macro_{key}"] for key in ("precision", "recall", "f1")},
            "ece": metrics["ece"],
            "intervals": {
                name.removeprefix("macro_"): ends
                for name, ends in metrics["intervals"].items()
                if name != "method"
            },
            "parameters": self.run.model.get("parameters", {}),
            "seconds_features": seconds.get("decode_and_backbone"),
            "seconds_fit": seconds.get("fit"),
            "images_per_second": self.speed,
            "bytes": self.bytes,
        }


@dataclass(frozen=True)
class Comparison:
    """Runs with the same test part, in the order given, and every pair of them."""

    rows: list[Row]
    pairs: list[Pair]

    def to_json(self) -> Record:
        """As in comparison.json."""
        return {
            "n": len(self.rows[0].right),
            "models": [row.to_json() for row in self.rows],
            "pairs": [pair.to_json() for pair in self.pairs],
            "conclusion": conclusion(self),
        }


def picture_files(run: RunFiles) -> dict[str, Path]:
    """Where a run's pictures are, by path: below the source that it names."""
    source = Path(run.config["source"])
    base = source if source.is_dir() else source.parent
    return {row["path"]: base / row["path"] for row in run.pictures}


def read_comparison(folders: Sequence[Path]) -> Comparison:
    """Read finished runs to be compared.

    Raises UsageError for fewer than two, DataError for a folder that is no finished run or when
    the test parts differ: numbers of different pictures cannot be compared.
    """
    if len(folders) < 2:
        raise UsageError("a comparison takes at least two runs, or one source of pictures")
    runs = [read_run(folder) for folder in folders]
    tested = [_tested(run) for run in runs]
    for folder, other in zip(folders[1:], tested[1:], strict=True):
        if other != tested[0]:
            raise DataError(
                f"{folders[0]} and {folder} were tested on different pictures or labels "
                f"({len(tested[0])} and {len(other)}), so their numbers cannot be compared; train "
                "both from the same source with the same --seed"
            )
    order = {path: i for i, path in enumerate(runs[0].tested)}
    rows = []
    for folder, run, name in zip(folders, runs, _names(runs), strict=True):
        hits = run.probabilities.argmax(1) == run.labels
        right = np.empty(len(hits), bool)
        right[[order[path] for path in run.tested]] = hits
        speed = folder / "speed.json"
        rows.append(
            Row(
                name,
                run,
                folder,
                right,
                read_json(speed)["images_per_second"] if speed.is_file() else None,
                (folder / "model.safetensors").stat().st_size,
            )
        )
    return Comparison(rows, compare([row.right for row in rows]))


def _tested(run: RunFiles) -> set[tuple[str, str, str]]:
    digests = {row["path"]: row["sha256"] for row in run.pictures}
    return {
        (path, run.classes[label], digests.get(path, ""))
        for path, label in zip(run.tested, run.labels.tolist(), strict=True)
    }


def _names(runs: Sequence[RunFiles]) -> list[str]:
    names = []
    for run in runs:
        settings = run.config.get("settings", {})
        name = Path(str(settings.get("model", run.name)).rstrip("/")).name
        unfreeze = settings.get("unfreeze", "none")
        names.append(name + (f"@{unfreeze}" if unfreeze != "none" else ""))
    # Where the settings named do not tell them apart, the folders' names do.
    return [
        f"{name} ({run.name})" if names.count(name) > 1 else name
        for name, run in zip(names, runs, strict=True)
    ]


def verdict(pair: Pair, names: Sequence[str]) -> str:
    """What the test says of a pair, in one sentence."""
    first, second = names[pair.first], names[pair.second]
    n = counted(pair.n, "picture")
    alone = f"{pair.only_second} against {pair.only_first} that only one of them gets right"
    if pair.verdict == "no difference shown":
        return f"{second} and {first}: no difference shown on {n} ({alone})."
    return (
        f"{second} is {pair.verdict} than {first} by {points(abs(pair.difference))} on {n} "
        f"({alone}; {_p(pair.corrected)})."
    )


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def conclusion(comparison: Comparison) -> list[str]:
    """What follows from the numbers, in plain sentences."""
    rows = comparison.rows
    order = sorted(range(len(rows)), key=lambda i: -rows[i].run.metrics["accuracy"]["value"])
    best = order[0]
    accuracy = rows[best].run.metrics["accuracy"]
    equal = [
        pair.first if pair.second == best else pair.second
        for pair in comparison.pairs
        if best in (pair.first, pair.second) and pair.verdict == "no difference shown"
    ]
    n = counted(len(rows[0].right), "test picture")
    sentences = [
        f"{rows[best].name} has the highest accuracy: {percent(accuracy['value'])} (95 % interval "
        f"{span(accuracy['low'], accuracy['high'])}) on {n}."
    ]
    if not equal:
        others = "the other" if len(rows) == 2 else "each of the others"
        sentences.append(f"It is better than {others} by more than chance.")
        return sentences
    named = listed((rows[i].name for i in order if i in equal), len(rows))
    sentences.append(
        f"On these pictures no difference is shown between it and {named}: "
        f"{'either' if len(equal) == 1 else 'any of them'} may be the better one on others."
    )
    cheapest = min([best, *equal], key=lambda i: _cost(rows[i]))
    if cheapest != best:
        sentences.append(
            f"Of these, {rows[cheapest].name} took the least time to train, "
            f"{_cost(rows[cheapest]):.0f} s against {_cost(rows[best]):.0f} s."
        )
    return sentences


def _cost(row: Row) -> float:
    return float(row.run.metrics.get("seconds", {}).get("total", 0))


def alone_right(comparison: Comparison) -> list[tuple[Row, list[int]]]:
    """For each model the rows (in the first run's order) that it alone names rightly."""
    stacked = np.stack([row.right for row in comparison.rows])
    alone = stacked & (stacked.sum(0) == 1)
    return [(row, np.flatnonzero(alone[i]).tolist()) for i, row in enumerate(comparison.rows)]


def write_comparison(comparison: Comparison, out: Path, files: Mapping[str, Path]) -> Path:
    """Write comparison.json, comparison.html and comparison.pdf into `out`; return the page.

    `files` says where the picture behind each path is; without one it is shown by name.
    """
    from graft.report.slides import write_slides

    out.mkdir(parents=True, exist_ok=True)
    first = comparison.rows[0].run
    names = [row.name for row in comparison.rows]
    alone = [
        (
            row,
            len(places),
            [
                (
                    first.tested[i],
                    thumbnail(files.get(first.tested[i]), SIDE),
                    first.classes[first.labels[i]],
                )
                for i in places[:ALONE]
            ],
        )
        for row, places in alone_right(comparison)
    ]
    page = (
        environment()
        .get_template("comparison.html")
        .render(
            first=first,
            folders=[row.folder for row in comparison.rows],
            shown=[shown(row) for row in comparison.rows],
            ends=[ends(row) for row in comparison.rows],
            runs=[row.run for row in comparison.rows],
            verdicts=[verdict(pair, names) for pair in comparison.pairs],
            names=names,
            sentences=conclusion(comparison),
            alone=alone,
            drawings={
                "accuracy": plots.accuracies(comparison),
                "curves": plots.learning_curves(comparison),
                "f1": plots.f1_by_class(comparison),
                "cost": plots.against_cost(comparison),
            },
        )
    )
    write_json(out / "comparison.json", comparison.to_json())
    write_slides(comparison, out / "comparison.pdf", files)
    write_text(out / "comparison.html", page)
    return out / "comparison.html"


def shown(row: Row) -> dict[str, Any]:
    """A row's figures as text, for tables."""
    figures = row.to_json()
    parameters = figures["parameters"]
    return {
        "model": row.name,
        "accuracy": percent(figures["accuracy"]["value"]),
        "interval": span(figures["accuracy"]["low"], figures["accuracy"]["high"]),
        "precision": percent(figures["precision"]),
        "recall": percent(figures["recall"]),
        "F1": percent(figures["f1"]),
        "ECE": percent(figures["ece"]),
        "parameters": _millions(parameters.get("total")),
        "trained": _millions(parameters.get("trained")),
        "features": _seconds(figures["seconds_features"]),
        "fit": _seconds(figures["seconds_fit"]),
        "images/s": f"{row.speed:,.0f}" if row.speed else NOTHING,
        "size": f"{row.bytes / 1e6:.1f} MB",
    }


def ends(row: Row) -> dict[str, str]:
    """The intervals of a row's figures as text."""
    found = row.to_json()["intervals"]
    names = {"precision": "precision", "recall": "recall", "F1": "f1", "ECE": "ece"}
    return {shown: span(*found[name]) for shown, name in names.items()}


def _millions(value: float | None) -> str:
    return NOTHING if value is None else f"{value / 1e6:.2f} M"


def _seconds(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.0f} s" if value >= 10 else f"{value:.1f} s"
