"""The page of `graft predict --html`: every image with its answer and its like in training."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from graft.inference.predictor import Prediction
from graft.report.run_page import environment
from graft.report.thumbnails import link, thumbnails
from graft.utils.files import write_text

# Images on a page, at most, and labels of each; pixels of an image and of its like.
MOST, LABELS = 400, 3
LARGE, SMALL = 160, 72


def write_answers(
    page: Path,
    run: str,
    answers: Sequence[Prediction],
    failed: Sequence[tuple[str, str]],
    known: Mapping[str, Path],
    promise: str = "",
) -> None:
    """Write a self-contained page with these answers of a run, in order.

    `failed` are paths with what is wrong with them; `known` says where the training images are,
    of which those that are gone are named.
    """
    shown = answers[:MOST]
    near = sorted({other.path for answer in shown for other in answer.nearest or ()})
    asked = {answer.path: Path(answer.path) for answer in shown}
    tiles = {
        "large": thumbnails(list(asked), asked, LARGE),
        "small": thumbnails(near, known, SMALL),
    }
    text = (
        environment()
        .get_template("predictions_page.html")
        .render(
            run=run,
            shown=shown,
            hidden=len(answers) - len(shown),
            failed=failed,
            near=bool(near),
            promise=promise,
            tiles=tiles,
            ranked=_ranked,
            links={path: link(file, page.parent) for path, file in asked.items()},
        )
    )
    page.parent.mkdir(parents=True, exist_ok=True)
    write_text(page, text)


def _ranked(answer: Prediction) -> list[tuple[str, float]]:
    return sorted(answer.probabilities.items(), key=lambda named: -named[1])[:LABELS]
