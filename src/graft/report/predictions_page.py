"""The page of `graft predict --html`: every image with its prediction and the nearest training
images.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from graft.inference.predictor import Prediction
from graft.report.templates import render
from graft.report.thumbnails import link, thumbnails
from graft.utils.files import write_text

MOST, LABELS = 400, 3  # images on a page, and labels listed for each
LARGE, SMALL = 160, 72  # the side of an image and of a nearest training image, in pixels


def write_answers(
    page: Path,
    run: str,
    answers: Sequence[Prediction],
    failed: Sequence[tuple[str, str]],
    known: Mapping[str, Path],
    promise: str = "",
) -> None:
    """Write a self-contained page with a run's predictions, in order.

    `failed` are paths that cannot be read as images, each with the reason. `known` says where the
    training images are; those that are gone are shown by name. `promise` says in words what the
    policy guarantees.
    """
    shown = answers[:MOST]
    near = sorted({other.path for answer in shown for other in answer.nearest or ()})
    asked = {answer.path: Path(answer.path) for answer in shown}
    text = render(
        "predictions_page.html",
        run=run,
        shown=shown,
        hidden=len(answers) - len(shown),
        failed=failed,
        near=bool(near),
        promise=promise,
        tiles={
            "large": thumbnails(list(asked), asked, LARGE),
            "small": thumbnails(near, known, SMALL),
        },
        ranked=_ranked,
        links={path: link(file, page.parent) for path, file in asked.items()},
    )
    page.parent.mkdir(parents=True, exist_ok=True)
    write_text(page, text)


def _ranked(answer: Prediction) -> list[tuple[str, float]]:
    return sorted(answer.probabilities.items(), key=lambda named: -named[1])[:LABELS]
