"""The page of `graft predict --html`: every picture with its answer and its like in training."""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

from graft.files import write_text
from graft.models.classifier import Prediction
from graft.report.html import environment
from graft.report.pictures import thumbnail

# Pictures on a page, at most, and labels of each; pixels of a picture and of its like.
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

    `failed` are paths with what is wrong with them; `known` says where the training pictures are,
    of which those that are gone are named.
    """
    shown = answers[:MOST]
    near = sorted({other.path for answer in shown for other in answer.nearest or ()})
    with ThreadPoolExecutor() as pool:
        large = pool.map(lambda answer: thumbnail(Path(answer.path), LARGE), shown)
        small = pool.map(lambda path: thumbnail(known.get(path), SMALL), near)
        tiles = {
            "large": dict(zip((answer.path for answer in shown), large, strict=True)),
            "small": dict(zip(near, small, strict=True)),
        }
    beside = page.absolute().parent
    text = (
        environment()
        .get_template("answers.html")
        .render(
            run=run,
            shown=shown,
            hidden=len(answers) - len(shown),
            failed=failed,
            near=bool(near),
            promise=promise,
            tiles=tiles,
            ranked=_ranked,
            # Relative: right as long as the page and the pictures move together.
            links={a.path: quote(os.path.relpath(Path(a.path).absolute(), beside)) for a in shown},
        )
    )
    page.parent.mkdir(parents=True, exist_ok=True)
    write_text(page, text)


def _ranked(answer: Prediction) -> list[tuple[str, float]]:
    return sorted(answer.probabilities.items(), key=lambda named: -named[1])[:LABELS]
