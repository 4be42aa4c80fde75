"""One page from a finished run: `write_report`."""

import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined

from graft.files import write_text
from graft.report import numbers, plots, tables, trust, words
from graft.report.inputs import Record, RunFiles, read_run
from graft.report.pictures import thumbnail

MANY = 20  # classes; with more, tables are shortened and the matrix becomes a picture
MATRIX_MOST = 200  # classes; with more, the squares of that picture are too small to see
SAMPLES, MISTAKES, PAIRS = 6, 24, 8
SAMPLE_SIDE, MISTAKE_SIDE, NEAREST_SIDE = 112, 160, 56  # pixels


def write_report(run: Path, files: Mapping[str, Path]) -> Path:
    """Write RUN/report.html, a page that needs nothing but itself, and return its path.

    `files` says where the picture behind each path of dataset.csv is. Pictures that are gone are
    shown by name.
    """
    page = _page(read_run(run), files, run)
    destination = run / "report.html"
    write_text(destination, page)
    return destination


def _page(run: RunFiles, files: Mapping[str, Path], folder: Path) -> str:
    counts = tables.class_counts(run.pictures)
    samples = [
        (row, tables.samples(run.pictures, row.name, SAMPLES))
        for row in tables.spread(counts, MANY)
    ]
    mistakes = tables.mistakes(run)
    with ThreadPoolExecutor() as pool:

        def shrink(paths: Iterable[str], side: int) -> Iterable[str | None]:
            return pool.map(lambda path: thumbnail(files.get(path), side), paths)

        # Pillow works without the interpreter lock: the pictures shrink while the plots are drawn.
        sample_tiles = shrink([path for _, paths in samples for path in paths], SAMPLE_SIDE)
        mistake_tiles = shrink([mistake.path for mistake in mistakes[:MISTAKES]], MISTAKE_SIDE)
        near = [(m.path, run.nearest.get(m.path, [])) for m in mistakes[:MISTAKES]]
        near_tiles = shrink([path for _, paths in near for path in paths], NEAREST_SIDE)
        drawings = _drawings(run)
        sampled = [(row, list(zip(paths, sample_tiles, strict=False))) for row, paths in samples]
        mistaken = list(zip(mistakes, mistake_tiles, strict=False))
        small = iter(near_tiles)
        nearest = {of: [(path, next(small)) for path in paths] for of, paths in near if paths}
    pictured = [tile for _, row in sampled for _, tile in row] + [tile for _, tile in mistaken]
    return (
        environment()
        .get_template("report.html")
        .render(
            run=run,
            metrics=run.metrics,
            model=_model(run.model),
            machine={
                key: value
                for key, value in run.config.items()
                if key not in ("settings", "notes", "training_notes")
            },
            counts=counts,
            parts=tables.part_counts(run.pictures),
            sampled=sampled,
            mistakes=mistakes,
            mistaken=mistaken,
            nearest=nearest,
            links={
                # Relative: right as long as the run and the pictures move together.
                path: quote(os.path.relpath(files[path].absolute(), folder.absolute()))
                for path in (mistake.path for mistake, _ in mistaken)
                if path in files
            },
            pictured=len(pictured),
            gone=pictured.count(None),
            drawings=drawings,
            pairs=tables.confused_pairs(run.metrics["confusion"], run.classes),
        )
    )


def _model(model: Record) -> Record:
    """The model card without what the page shows elsewhere, and without saying a thing twice."""
    shown = {key: value for key, value in model.items() if key != "classes"}
    backbone = dict(model.get("backbone") or {})
    if backbone.get("preprocess") == model.get("preprocess"):
        backbone.pop("preprocess", None)
    return shown | {"backbone": backbone}


def _drawings(run: RunFiles) -> dict[str, str]:
    metrics = run.metrics
    drawings = {
        "reliability": plots.reliability_diagram(metrics["reliability"], metrics["ece"]),
    }
    if run.history:
        drawings["curves"] = plots.curves(run.history, metrics.get("best_epoch"))
    if "learning_curve" in metrics:
        drawings["learning_curve"] = trust.curve_plot(metrics["learning_curve"])
    if MANY < len(run.classes) <= MATRIX_MOST:
        drawings["confusion"] = plots.confusion_matrix(metrics["confusion"], run.classes)
    return drawings


def environment() -> Environment:
    """The pages' templates, autoescaped, with their filters."""
    environment = Environment(
        loader=PackageLoader("graft.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {
        "words": words,
        "trust": trust,
        "tables": tables,
        "numbers": numbers,
        "counted": numbers.counted,
        "many": MANY,
        "most_pairs": PAIRS,
        "few": plots.FEW,
    }
    for name in ("percent", "span", "whole", "decimal", "duration", "moment", "flat"):
        environment.filters[name] = getattr(numbers, name)
    return environment
