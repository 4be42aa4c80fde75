"""The page of `graft demo`."""

import base64
from pathlib import Path
from typing import Any

from graft.report.templates import render
from graft.runs.run import Run
from graft.utils.files import write_text

SHOWN = 16  # images that only the transferred network classifies correctly


def write_story(out: Path, result: dict[str, Any], first: Run, scratch: Run, transfer: Run) -> Path:
    """Write out/report.html: both networks side by side, what they were trained on, and where they
    differ.
    """
    only_transfer = _only_transfer(scratch, transfer)
    learned = _training_images(transfer)
    page = render(
        "demo_page.html",
        result=result,
        first=first.metrics,
        learned=list(learned.items()),
        only_transfer=only_transfer[:SHOWN],
        only_transfer_count=len(only_transfer),
        per_class=max(len(images) for images in learned.values()),
    )
    write_text(out / "report.html", page)
    return out / "report.html"


def _only_transfer(scratch: Run, transfer: Run) -> list[tuple[str, str, str]]:
    """Test images that only the transferred network classifies correctly, with their label and what
    the network from scratch predicts.
    """
    paths, labels, probabilities = transfer.predictions("test")
    by_transfer, by_scratch = (
        found.argmax(1) for found in (probabilities, scratch.predictions("test")[2])
    )
    classes = transfer.classes
    return [
        (_image(transfer.files[path]), classes[label], classes[by_scratch[i]])
        for i, (path, label) in enumerate(zip(paths, labels, strict=True))
        if by_transfer[i] == label != by_scratch[i]
    ]


def _training_images(run: Run) -> dict[str, list[str]]:
    """The training and validation images of each class."""
    images: dict[str, list[str]] = {name: [] for name in run.classes}
    for row in run.images:
        if row["split"] != "test":
            images[row["label"]].append(_image(run.files[row["path"]]))
    return images


def _image(file: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(file.read_bytes()).decode()
