"""One page from a finished run: `write_report`."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from graft.report import numbers, plots, run_tables, sentences, validation_section
from graft.report.run_files import Record, RunFiles, read_run
from graft.report.thumbnails import link, thumbnail
from graft.utils.files import write_text

MANY = 20  # classes; with more, tables are shortened and the matrix becomes an image
MATRIX_MOST = 200  # classes; with more, the squares of that image are too small to see
SAMPLES, MISTAKES, PAIRS = 6, 24, 8
SHOWN_PAIRS, SUSPECTS = 3, 12  # confusions, and likely wrong labels, shown as images
SAMPLE_SIDE, MISTAKE_SIDE, NEAREST_SIDE = 112, 160, 56  # pixels


def write_report(run: Path, files: Mapping[str, Path]) -> Path:
    """Write RUN/report.html, a page that needs nothing but itself, and return its path.

    `files` says where the image behind each path of dataset.csv is. Images that are gone are
    shown by name.
    """
    page = _page(read_run(run), files, run)
    destination = run / "report.html"
    write_text(destination, page)
    return destination


def _page(run: RunFiles, files: Mapping[str, Path], folder: Path) -> str:
    counts = run_tables.class_counts(run.images)
    sampled = [
        (row, run_tables.samples(run.images, row.name, SAMPLES))
        for row in run_tables.spread(counts, MANY)
    ]
    mistakes = run_tables.mistakes(run)
    mistaken = mistakes[:MISTAKES]
    nearest = {m.path: run.nearest[m.path] for m in mistaken if run.nearest.get(m.path)}
    pairs = run_tables.confused_pairs(run.metrics["confusion"], run.classes)
    confused = [
        (pair, run_tables.confusions(mistakes, pair)[:SAMPLES]) for pair in pairs[:SHOWN_PAIRS]
    ]
    suspects = run_tables.suspects(run.findings)[:SUSPECTS]
    worse = [row for row in run.metrics.get("slices", []) if row["worse"]]
    sides = {
        SAMPLE_SIDE: [
            *chain.from_iterable(paths for _, paths in sampled),
            *chain.from_iterable(paths for _, paths in confused),
            *chain.from_iterable(row["mistakes"] for row in worse),
            *suspects,
        ],
        MISTAKE_SIDE: [mistake.path for mistake in mistaken],
        NEAREST_SIDE: list(chain.from_iterable(nearest.values())),
    }
    with ThreadPoolExecutor() as pool:
        # Pillow works without the interpreter lock: the images shrink while the plots are drawn.
        small = {
            side: (paths, pool.map(lambda p, side=side: thumbnail(files.get(p), side), paths))
            for side, paths in ((side, list(dict.fromkeys(p))) for side, p in sides.items())
        }
        drawings = _drawings(run)
        tiles = {side: dict(zip(*pair, strict=True)) for side, pair in small.items()}
    with_thumbnail = {path: tile for tiles_of in tiles.values() for path, tile in tiles_of.items()}
    return (
        environment()
        .get_template("run_page.html")
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
            splits=run_tables.split_counts(run.images),
            sampled=sampled,
            mistakes=mistakes,
            mistaken=mistaken,
            nearest=nearest,
            confused=confused,
            suspects=suspects,
            worse=worse,
            label_of={image["path"]: image["label"] for image in run.images},
            tiles=tiles,
            side={"sample": SAMPLE_SIDE, "mistake": MISTAKE_SIDE, "nearest": NEAREST_SIDE},
            links={path: link(files[path], folder) for path in with_thumbnail if path in files},
            with_thumbnail=len(with_thumbnail),
            gone=list(with_thumbnail.values()).count(None),
            drawings=drawings,
            pairs=pairs,
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
        drawings["learning_curve"] = validation_section.curve_plot(metrics["learning_curve"])
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
        "words": sentences,
        "trust": validation_section,
        "tables": run_tables,
        "numbers": numbers,
        "counted": numbers.counted,
        "many": MANY,
        "most_pairs": PAIRS,
        "few": plots.FEW,
    }
    for name in ("percent", "span", "whole", "decimal", "duration", "moment", "flat"):
        environment.filters[name] = getattr(numbers, name)
    return environment
