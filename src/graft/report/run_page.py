"""The report of a finished run: `write_report`."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from graft.evaluation.image_results import Answers, ImageResult
from graft.report import (
    class_search,
    network_section,
    run_plots,
    run_sentences,
    run_tables,
    validation_section,
)
from graft.report.mistake_overlays import overlays
from graft.report.run_tables import ClassCount, Confusion
from graft.report.templates import render
from graft.report.thumbnails import link, thumbnail
from graft.runs.image_table import ImageTable, values_of
from graft.runs.run import Record, Run

MANY = 20  # classes; with more, tables are shortened and the confusion matrix becomes an image
MATRIX_MOST = 200  # classes; with more, the squares of that image are too small to see
SAMPLES, MISTAKES, PAIRS = 6, 24, 8
# Classes; with more, tables end after so many rows; the others are found by name, and in a CSV.
TABLE_MOST, TABLE_SHOWN = 1_000, 200
SHOWN_PAIRS, LABEL_ERRORS = 3, 12  # confusions and label errors that are shown as images
SAMPLE_SIDE, MISTAKE_SIDE, NEAREST_SIDE = 112, 160, 56  # pixels
SIDES = {"sample": SAMPLE_SIDE, "mistake": MISTAKE_SIDE, "nearest": NEAREST_SIDE}
ELSEWHERE = (
    "settings",
    "resolved",
    "notes",
    "training_notes",
    "corrections",
)  # of config.json, on the page


def write_report(run: Run) -> Path:
    """Write RUN/report.html, a page that needs nothing but itself, and return its path.

    Images whose files are gone are shown by name.
    """
    counts = run_tables.class_counts(run.images)
    chosen = _choose(run, counts)
    with ThreadPoolExecutor() as pool:
        # Pillow works without the interpreter lock: the images shrink while the plots are drawn.
        paths = {side: list(dict.fromkeys(chosen.paths(side))) for side in SIDES.values()}
        small = {
            side: pool.map(lambda path, side=side: thumbnail(run.files.get(path), side), own)
            for side, own in paths.items()
        }
        drawings = _draw(run)
        tiles = {side: dict(zip(paths[side], small[side], strict=True)) for side in paths}
    shown = {path: tile for own in tiles.values() for path, tile in own.items()}
    numbers = _numbers(run, counts, chosen)
    if len(run.classes) > TABLE_MOST:
        run.write_class_table(*class_search.class_table(run.metrics, numbers["counts"]))
    return run.write_report(
        render(
            "run_page.html",
            **numbers,
            chosen=chosen,
            tiles=tiles,
            side=SIDES,
            links={path: link(run.files[path], run.path) for path in shown if path in run.files},
            shown=len(shown),
            overlays=overlays(run, [mistake.path for mistake in chosen.mistakes]),
            gone=list(shown.values()).count(None),
            drawings=drawings,
        )
    )


@dataclass(frozen=True)
class Chosen:
    """The images that the report shows; `wrong` is how many of the test split are."""

    wrong: int
    samples: list[tuple[ClassCount, list[str]]]
    mistakes: list[ImageResult]
    nearest: Mapping[str, Sequence[str]]
    confused: list[tuple[Confusion, list[str]]]
    label_errors: list[str]
    worse_slices: list[Record]

    def paths(self, side: int) -> list[str]:
        """The paths of the images shown at a size, in pixels."""
        if side == MISTAKE_SIDE:
            return [mistake.path for mistake in self.mistakes]
        if side == NEAREST_SIDE:
            return list(chain.from_iterable(self.nearest.values()))
        return [
            *chain.from_iterable(paths for _, paths in self.samples),
            *chain.from_iterable(paths for _, paths in self.confused),
            *chain.from_iterable(row["mistakes"] for row in self.worse_slices),
            *self.label_errors,
        ]


def _choose(run: Run, counts: Sequence[ClassCount]) -> Chosen:
    answers = Answers.of(run, "test")
    pairs = run_tables.confusions(run.metrics["confusion"], run.classes, SHOWN_PAIRS)
    shown = answers.results(answers.wrong, MISTAKES)
    return Chosen(
        samples=[
            (row, run_tables.samples(run.images, row.name, SAMPLES))
            for row in run_tables.spread(counts, MANY)
        ],
        wrong=int(answers.wrong.sum()),
        mistakes=shown,
        nearest={m.path: run.nearest[m.path] for m in shown if run.nearest.get(m.path)},
        confused=[(pair, run_tables.confused_images(answers, pair, SAMPLES)) for pair in pairs],
        label_errors=run_tables.label_errors(run.findings)[:LABEL_ERRORS],
        worse_slices=[row for row in run.metrics.get("slices", []) if row["worse"]],
    )


def _numbers(run: Run, counts: Sequence[ClassCount], chosen: Chosen) -> dict[str, Any]:
    """What the page says, besides images and plots."""
    settings = run.config.get("resolved") or run.config.get("settings", {})
    return {
        "run": run,
        "metrics": run.metrics,
        "validation": run.validation,
        "model": _model(run.model),
        "machine": {key: value for key, value in run.config.items() if key not in ELSEWHERE},
        "settings": settings,
        "counts": counts,
        "largest": max(row.total for row in counts),
        "splits": run_tables.split_counts(run.images),
        "mistakes": chosen.wrong,
        "pairs": run_tables.confusions(run.metrics["confusion"], run.classes, PAIRS),
        "label_of": values_of(run.images, "label", chosen.label_errors),
        "search": class_search.search(run.metrics, counts)
        if len(run.classes) > TABLE_MOST
        else None,
        "table_shown": TABLE_SHOWN if len(run.classes) > TABLE_MOST else len(run.classes),
        "sentences": run_sentences,
        "validated": validation_section,
        "network": network_section,
        "tables": run_tables,
        "many": MANY,
        "most_pairs": PAIRS,
        "samples_most": SAMPLES,
        "drawn": isinstance(run.images, ImageTable),
        "few": run_plots.FEW,
    }


def _model(model: Record) -> Record:
    """model.json without what the page shows elsewhere, and with nothing in it twice."""
    shown = {key: value for key, value in model.items() if key != "classes"}
    backbone = dict(model.get("backbone") or {})
    if backbone.get("preprocess") == model.get("preprocess"):
        backbone.pop("preprocess", None)
    return shown | {"backbone": backbone}


def _draw(run: Run) -> dict[str, str]:
    metrics = run.metrics
    drawings = {
        "reliability": run_plots.reliability_diagram(metrics["reliability"], metrics["ece"]),
    }
    if run.history:
        drawings["curves"] = run_plots.training_curves(run.history, metrics.get("best_epoch"))
    if "learning_curve" in run.validation:
        drawings["learning_curve"] = validation_section.curve_plot(run.validation["learning_curve"])
    if MANY < len(run.classes) <= MATRIX_MOST:
        drawings["confusion"] = run_plots.confusion_matrix(metrics["confusion"], run.classes)
    return drawings
