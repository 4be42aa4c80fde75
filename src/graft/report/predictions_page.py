"""The pages of `graft predict --html` and `graft classify --html`: every image with what the
network says of it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from graft.inference.prediction import Prediction
from graft.report.templates import render
from graft.report.thumbnails import link, thumbnails
from graft.utils.user_files import write_page

MOST, LABELS = 400, 3  # images on a page, and labels listed for each
LARGE, SMALL = 160, 72  # the side of an image and of a nearest training image, in pixels


def write_answers(
    page: Path,
    run: str,
    answers: Sequence[Prediction],
    failed: Sequence[tuple[str, str]],
    known: Mapping[str, Path],
    promise: str = "",
    total: int | None = None,
) -> None:
    """Write a self-contained page with a run's predictions, in order. `total` is their number where
    only the first MOST are given.

    `failed` are paths that cannot be read as images, each with the reason. `known` says where the
    training images are; those that are gone are shown by name. `promise` says in words what the
    policy guarantees.
    """
    near = sorted({other.path for answer in answers[:MOST] for other in answer.nearest or ()})
    small = thumbnails(near, known, SMALL)
    named = {"network": "", "run": run, "near": bool(near), "promise": promise, "small": small}
    _write(page, answers, failed, total, **named)


def write_names(
    page: Path,
    network: str,
    answers: Sequence[Prediction],
    failed: Sequence[tuple[str, str]],
    total: int | None = None,
) -> None:
    """Write a self-contained page with what a pretrained `network` says of images, in order.

    `failed` and `total` as in write_answers.
    """
    named = {"network": network, "run": "", "near": False, "promise": "", "small": {}}
    _write(page, answers, failed, total, **named)


def _write(
    page: Path,
    answers: Sequence[Prediction],
    failed: Sequence[tuple[str, str]],
    total: int | None,
    **named: Any,
) -> None:
    shown = answers[:MOST]
    asked = {answer.path: Path(answer.picture() or answer.path) for answer in shown}
    text = render(
        "predictions_page.html",
        shown=shown,
        hidden=(len(answers) if total is None else total) - len(shown),
        failed=failed[:MOST],
        failed_count=len(failed),
        large=thumbnails(list(asked), asked, LARGE),
        labels=LABELS,
        links={path: link(file, page.parent) for path, file in asked.items()},
        **named,
    )
    write_page(page, text)
