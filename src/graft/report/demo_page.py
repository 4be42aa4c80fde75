"""The page of `graft demo`."""

import base64
from pathlib import Path
from typing import Any

from graft.report.run_page import environment
from graft.runs.run import Run
from graft.utils.files import write_text


def write_story(out: Path, result: dict[str, Any], first: Run, scratch: Run, transfer: Run) -> Path:
    """Write out/report.html: both ways side by side, what they learned from, where they differ."""
    paths, labels, by_transfer = transfer.predictions("test")
    _, _, by_scratch = scratch.predictions("test")
    classes = transfer.classes
    called, named = by_scratch.argmax(1), by_transfer.argmax(1)
    only_transfer = [
        (_image(transfer.files[path]), classes[label], classes[called[i]])
        for i, (path, label) in enumerate(zip(paths, labels, strict=True))
        if named[i] == label != called[i]
    ]
    tested = set(paths)
    learned: dict[str, list[str]] = {name: [] for name in classes}
    for path, file in transfer.files.items():
        if path not in tested:
            learned[file.parent.name].append(_image(file))
    page = (
        environment()
        .get_template("demo_page.html")
        .render(
            result=result,
            first=first.metrics,
            learned=list(learned.items()),
            only_transfer=only_transfer,
            per_class=max(len(images) for images in learned.values()),
        )
    )
    write_text(out / "report.html", page)
    return out / "report.html"


def _image(file: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(file.read_bytes()).decode()
