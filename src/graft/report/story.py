"""The page of `graft demo`."""

import base64
from pathlib import Path
from typing import Any

from graft.files import write_text
from graft.learning.recipe import Run
from graft.report.html import environment
from graft.runs import read_predictions


def write_story(out: Path, result: dict[str, Any], first: Run, scratch: Run, transfer: Run) -> Path:
    """Write out/report.html: both ways side by side, what they learned from, where they differ."""
    paths, labels, by_transfer, classes = read_predictions(transfer.path / "predictions.csv")
    by_scratch = read_predictions(scratch.path / "predictions.csv")[2]
    called, named = by_scratch.argmax(1), by_transfer.argmax(1)
    only_transfer = [
        (_picture(transfer.files[path]), classes[label], classes[called[i]])
        for i, (path, label) in enumerate(zip(paths, labels, strict=True))
        if named[i] == label != called[i]
    ]
    tested = set(paths)
    learned: dict[str, list[str]] = {name: [] for name in classes}
    for path, file in transfer.files.items():
        if path not in tested:
            learned[file.parent.name].append(_picture(file))
    page = (
        environment()
        .get_template("story.html")
        .render(
            result=result,
            first=first.metrics,
            learned=list(learned.items()),
            only_transfer=only_transfer,
            per_class=max(len(pictures) for pictures in learned.values()),
        )
    )
    write_text(out / "report.html", page)
    return out / "report.html"


def _picture(file: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(file.read_bytes()).decode()
