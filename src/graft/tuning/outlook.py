"""What more images or more time would likely bring, in numbers and in words."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from graft.evaluation.learning_curve import fit_curve
from graft.tuning.candidate import Candidate
from graft.tuning.ridge_path import ridge_weights, standardized
from graft.tuning.search_data import Encodings

# Shares of what a fold may learn from, and how often each.
SHARES, TRIES = (1 / 8, 1 / 4, 1 / 2, 1.0), (3, 3, 2, 1)
FEWEST = 3
# The least gain, as a fraction, that is worth a sentence.
WORTH = 0.005


def image_curve(encodings: Encodings, one: Candidate, strength: float) -> dict[str, Any]:
    """Accuracy against the number of images: ridge regressions on nested random shares of each
    class, tested on the first fold's held images, and a power law through them.
    """
    data, fold = encodings.data, encodings.data.folds[0]
    known = np.concatenate([fold.train, fold.val])
    features = encodings.features(one, np.arange(len(data))).whole()
    labels, sizes, right = data.labels, [], []
    for share, tries in zip(SHARES, TRIES, strict=True):
        for number in range(tries):
            rows = _some(labels, known, share, number)
            x = torch.from_numpy(features[rows]).double()
            mean, std = x.mean(0), x.std(0, correction=0)
            std = std + 1e-3 * std.mean() + 1e-12
            weight, bias = ridge_weights(
                standardized(x), labels[rows], len(data.split.classes), strength
            )
            held = (torch.from_numpy(features[fold.held]).double() - mean) / std
            answers = (held.float() @ weight.T + bias).argmax(1).numpy()
            sizes.append(len(rows))
            right.append((answers == labels[fold.held]).astype(np.float64))
    unit = np.unique(data.counted[fold.held], return_inverse=True)[1]
    fitted = fit_curve(np.array(sizes, np.float64), np.array(right), unit)
    points = [
        {"images": size, "accuracy": float(hit.mean())}
        for size, hit in zip(sizes, right, strict=True)
    ]
    return {"points": points, "tested": len(fold.held), **fitted}


def _some(labels: Any, known: Any, share: float, seed: int) -> Any:
    random = np.random.default_rng(seed)
    kept = []
    for label in np.unique(labels[known]):
        mine = random.permutation(known[labels[known] == label])
        kept.append(mine[: max(FEWEST, round(share * len(mine)))])
    return np.sort(np.concatenate(kept))


def best_by_time(rows: Sequence[dict[str, Any]]) -> list[dict[str, float]]:
    """The best accuracy by cross-validation against the seconds of search."""
    found: list[dict[str, float]] = []
    for row in sorted(rows, key=lambda row: row["at"]):
        if not found or row["accuracy"] > found[-1]["accuracy"]:
            found.append({"at": row["at"], "accuracy": row["accuracy"]})
    return found


def outlook(
    rows: Sequence[dict[str, Any]],
    curve: dict[str, Any] | None,
    skipped: Sequence[str],
    seconds: float,
) -> list[str]:
    """What more time and more images would likely bring, in sentences."""
    steps = best_by_time(rows)
    half = [step for step in steps if step["at"] <= seconds / 2]
    gained = steps[-1]["accuracy"] - (half[-1]["accuracy"] if half else rows[0]["accuracy"])
    said = []
    if gained >= WORTH:
        said.append(
            f"More time: the second half of it still raised the best figure by "
            f"{100 * gained:.1f} points, so a longer search is worth trying."
        )
    elif skipped:
        said.append(
            "More time: the second half of it raised the best figure by less than half a point; "
            "what was not tried may bring more than what was."
        )
    else:
        said.append(
            "More time: all of the space was tried, and the second half of the time raised the "
            "best figure by less than half a point, so more of the same would bring little."
        )
    if skipped:
        more = f" and {len(skipped) - 4} more" if len(skipped) > 4 else ""
        said.append(f"There was no time for: {'; '.join(skipped[:4])}{more}.")
    if curve:
        said.append(_of_images(curve))
    return said


def _of_images(curve: dict[str, Any]) -> str:
    twice = curve["ahead"][0]
    gain = twice["gain"]
    words = (
        f"{100 * gain['value']:+.1f} points (95 % band {100 * gain['low']:+.1f} to "
        f"{100 * gain['high']:+.1f})"
    )
    if gain["low"] > WORTH:
        judged = "more images are the surest way to a better classifier"
    elif gain["high"] < WORTH:
        judged = "more images of the same kind would hardly help"
    else:
        judged = "whether more images would help cannot be told from these"
    return f"More images: twice as many would likely bring {words}; {judged}."
