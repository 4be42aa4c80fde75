"""Finished runs side by side: what `graft compare` knows, says and writes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.data.groups import groups_that_count
from graft.errors import DataError, UsageError
from graft.evaluation.comparison import Pair, compare
from graft.report import comparison_plots as plots
from graft.report.comparison_words import below, conclusion, shown, tests, training, verdict
from graft.report.run_files import Record, RunFiles, read_run
from graft.report.run_page import environment
from graft.report.thumbnails import thumbnail
from graft.runs.run import Run
from graft.utils.files import write_json, write_text

ALONE = 8  # images shown that one model alone gets right
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
            "features_from_cache": metrics.get("from_cache"),
            "seconds_fit": seconds.get("fit"),
            "images_per_second": self.speed,
            "bytes": self.bytes,
        }


@dataclass(frozen=True)
class Comparison:
    """Runs with the same test split, in the order given, and every pair of them. `learned` is the
    number of images that each learned from, if all learned from the same.
    """

    rows: list[Row]
    pairs: list[Pair]
    learned: int | None

    def to_json(self) -> Record:
        """As in comparison.json."""
        return {
            "n": len(self.rows[0].right),
            "learned_from_the_same": self.learned is not None,
            "models": [row.to_json() for row in self.rows],
            "pairs": [pair.to_json() for pair in self.pairs],
            "conclusion": conclusion(self),
        }


def image_files(run: RunFiles) -> dict[str, Path]:
    """Where a run's images are, by path: below the source that it names."""
    source = Path(run.config["source"])
    base = source if source.is_dir() else source.parent
    return {row["path"]: base / row["path"] for row in run.images}


def read_comparison(folders: Sequence[Path]) -> Comparison:
    """Read finished runs to be compared.

    Raises UsageError for fewer than two, DataError for a folder that is no finished run or when
    the test splits differ: numbers of different images cannot be compared.
    """
    if len(folders) < 2:
        raise UsageError("a comparison takes at least two runs, or one source of images")
    runs = [read_run(folder) for folder in folders]
    tested = [_tested(run) for run in runs]
    for folder, other in zip(folders[1:], tested[1:], strict=True):
        if sorted(other) != sorted(tested[0]):
            raise DataError(
                f"{folders[0]} and {folder} were tested on different images or labels "
                f"({len(tested[0])} and {len(other)}), so their numbers cannot be compared; train "
                "both from the same source with the same --seed"
            )
    rows = []
    places = np.argsort(_order(tested[0]))
    for folder, run, own, name in zip(folders, runs, tested, _names(runs), strict=True):
        hits = run.probabilities.argmax(1) == run.labels
        right = hits[_order(own)][places]
        rows.append(
            Row(
                name,
                run,
                folder,
                right,
                Run(folder).speed,
                (folder / "model.safetensors").stat().st_size,
            )
        )
    pairs = compare([row.right for row in rows], _groups(runs[0]))
    splits = [_learned(run) for run in runs]
    same = all(split == splits[0] for split in splits)
    return Comparison(rows, pairs, len(splits[0]) if same else None)


def _tested(run: RunFiles) -> list[tuple[str, str, str]]:
    digests = {row["path"]: row["sha256"] for row in run.images}
    return [
        (path, run.classes[label], digests.get(path, ""))
        for path, label in zip(run.tested, run.labels.tolist(), strict=True)
    ]


def _order(keys: Sequence[Any]) -> NDArray[np.int64]:
    """Where the keys stand, from the least to the greatest; equal ones in their own order."""
    return np.array(sorted(range(len(keys)), key=lambda i: keys[i]), np.int64)


def _learned(run: RunFiles) -> list[tuple[str, ...]]:
    names = ("path", "label", "split", "sha256")
    return sorted(
        tuple(row[name] for name in names) for row in run.images if row["split"] != "test"
    )


def _groups(run: RunFiles) -> list[str] | None:
    """What each tested image belongs to, itself if nothing else; None without groups."""
    group = {row["path"]: row["group_id"] for row in run.images}
    return groups_that_count([group[path] for path in run.tested])


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


def alone_right(comparison: Comparison) -> list[tuple[Row, list[int]]]:
    """For each model the rows (in the first run's order) that it alone names rightly."""
    stacked = np.stack([row.right for row in comparison.rows])
    alone = stacked & (stacked.sum(0) == 1)
    return [(row, np.flatnonzero(alone[i]).tolist()) for i, row in enumerate(comparison.rows)]


def write_comparison(comparison: Comparison, out: Path, files: Mapping[str, Path]) -> Path:
    """Write comparison.json, comparison.html and comparison.pdf into `out`; return the page.

    `files` says where the image behind each path is; without one it is shown by name.
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
        .get_template("comparison_page.html")
        .render(
            first=first,
            folders=[row.folder for row in comparison.rows],
            shown=[shown(row) for row in comparison.rows],
            below=[below(row) for row in comparison.rows],
            runs=[row.run for row in comparison.rows],
            verdicts=[verdict(pair, names) for pair in comparison.pairs],
            training=training(comparison),
            tests=tests(comparison),
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
