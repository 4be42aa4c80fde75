"""The page of a search: what was tried, what won, what mattered, and what more would bring."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from graft.report import tune_plots as plots
from graft.report.templates import render
from graft.runs.run import Run
from graft.utils.files import write_text

SHOWN = 30  # trials of the table at once; all are in tune.json
NAMES = {
    "learning_rate": "learning rate",
    "weight_decay": "weight decay",
    "hidden": "hidden units",
    "stages": "stages seen",
    "head": "kind of head",
    "strength": "strength of the ridge",
    "label_smoothing": "label smoothing",
    "patience": "early stopping",
    "image_size": "input size",
    "resize": "how images are made square",
    "model": "network",
}


def write_tune_page(run: Run, found: Mapping[str, Any]) -> Path:
    """Write tune/tune.html into the run and return its path; `found` is what tune.json holds."""
    rows = found["trials"]
    ranked = sorted(range(len(rows)), key=lambda m: (-rows[m]["accuracy"], rows[m]["loss"]))
    shown = list(dict.fromkeys([found["winner"], 0, *_one_a_path(rows, ranked)[:SHOWN]]))
    page = render(
        "tune_page.html",
        found=found,
        run_name=run.name,
        shown=sorted(shown, key=ranked.index),
        names=NAMES,
        below=sum(row["accuracy"] < plots.lowest_shown(found) for row in rows),
        drawings={
            "time": plots.accuracy_against_time(found),
            "progress": plots.best_by_time(found),
            "importance": plots.importance(found, NAMES) if found["importance"] else "",
            "curves": plots.learning_curves(found),
            "images": plots.images_curve(found) if found["image_curve"] else "",
        },
    )
    file = run.path / "tune" / "tune.html"
    write_text(file, page)
    return file


def _one_a_path(rows: Sequence[Mapping[str, Any]], ranked: Sequence[int]) -> list[int]:
    """The trials, but of each ridge path the best one only."""
    seen, kept = set(), []
    for m in ranked:
        one, *others = rows[m]["candidates"]
        path = tuple((k, v) for k, v in one.items() if k != "strength")
        if one["head"] == "ridge" and not others:
            if path in seen:
                continue
            seen.add(path)
        kept.append(m)
    return kept
