"""What a search found, as tune.json holds it: the choice, what it is worth, and what mattered."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.evaluation.paired_tests import LEVEL
from graft.tuning.candidate import Members, described
from graft.tuning.choice import choose, corrected_p, optimism
from graft.tuning.trial_files import Pass
from graft.tuning.trial_table import TrialTable

Floats = NDArray[np.float64]
# What is reported to have mattered: settings of heads, then what the features come from.
SETTINGS = (
    "head",
    "hidden",
    "stages",
    "learning_rate",
    "weight_decay",
    "schedule",
    "patience",
    "label_smoothing",
    "strength",
)
INPUTS = ("model", "image_size", "resize", "views")
FEWEST = 8


def conclusion(table: TrialTable, seed: int) -> dict[str, Any]:
    """Which trial wins and why: `winner` is the simplest within one standard error of the `best` if
    a paired test, corrected for the number of trials, says that it is better than the default;
    else it is the default. Positions in `trials`.
    """
    hits, tested = table.counts
    chosen = choose(hits, tested, table.order)
    p = corrected_p(hits, tested, chosen.simplest, seed)
    better = chosen.accuracy[chosen.simplest] > chosen.accuracy[0] and p < LEVEL
    winner = chosen.simplest if better else 0
    luck = optimism(hits, tested, table.order, seed)
    # The default was not chosen for its figure.
    own = luck["chosen"] if winner else 0.0
    return {
        "best": chosen.best,
        "simplest": chosen.simplest,
        "winner": winner,
        "p": p,
        "replaced": bool(winner),
        "gain": float(chosen.accuracy[chosen.simplest] - chosen.accuracy[0]),
        "cross_validated": float(chosen.accuracy[winner]),
        "optimism": own,
        "optimism_of_best": luck["best"],
        "expected": float(chosen.accuracy[winner]) - own,
        "best_accuracy": float(chosen.accuracy[chosen.best]),
        "error": chosen.error,
        "compared": len(table),
    }


def pareto(rows: Sequence[dict[str, Any]]) -> list[int]:
    """The trials that no other beats in accuracy for less time: positions, by time."""
    found: list[int] = []
    best = -1.0
    for m in sorted(range(len(rows)), key=lambda m: (rows[m]["seconds"], -rows[m]["accuracy"])):
        if rows[m]["accuracy"] > best:
            best = rows[m]["accuracy"]
            found.append(m)
    return found


def importance(table: TrialTable) -> list[dict[str, Any]]:
    """How much of the differences between trials each setting explains alone, the most first: the
    share of the variance of accuracies that lies between its values. Of heads on the default's own
    features, and of features by their ridge regressions; single heads that were tested whole.
    """
    accuracy = table.estimates()
    singles = [
        m
        for m, t in enumerate(table.trials)
        if len(t.members) == 1 and t.members[0].frozen and t.tested.all()
    ]
    first = table.default.encoding()
    same = [m for m in singles if table.trials[m].members[0].encoding() == first]
    ridges = [m for m in singles if table.trials[m].members[0].head == "ridge"]
    found = []
    for rows, names in ((same, SETTINGS), (ridges, INPUTS)):
        for name in names:
            values = [getattr(table.trials[m].members[0], name) for m in rows]
            used = [(m, v) for m, v in zip(rows, values, strict=True) if _applies(name, table, m)]
            if len(used) < FEWEST or len({v for _, v in used}) < 2:
                continue
            score = np.array([accuracy[m] for m, _ in used])
            share = _between([v for _, v in used], score)
            best = max(used, key=lambda pair: accuracy[pair[0]])[1]
            found.append({"setting": name, "share": share, "trials": len(used), "best": best})
    return sorted(found, key=lambda row: -float(row["share"]))


def _applies(name: str, table: TrialTable, m: int) -> bool:
    ridge = table.trials[m].members[0].head == "ridge"
    if name in ("head", "stages", *INPUTS):
        return True
    return ridge == (name == "strength")


def _between(values: Sequence[Any], score: Floats) -> float:
    """The share of variance between groups: of numbers on a scale, thirds of them."""
    if len(set(values)) > 6:
        ends = np.quantile(np.array(values, np.float64), (1 / 3, 2 / 3))
        values = np.searchsorted(ends, np.array(values, np.float64)).tolist()
    total = float(((score - score.mean()) ** 2).sum())
    if total <= 0:
        return 0.0
    groups = [score[[v == value for v in values]] for value in dict.fromkeys(values)]
    return sum(len(g) * float((g.mean() - score.mean()) ** 2) for g in groups) / total


def previews(passes: Sequence[Pass], labels: NDArray[np.int64]) -> list[dict[str, Any]]:
    """The cheaper trials that decided what was fine-tuned in whole."""
    return [
        {
            "described": described(found.trials[0]),
            "accuracy": float((found.logits[0].argmax(1) == labels[found.rows]).mean()),
            "tested": len(found.rows),
            "seconds": round(found.seconds, 3),
            "at": round(found.at + found.seconds, 3),
        }
        for found in passes
        if found.rung is not None and not found.failed
    ]


def reasons(found: dict[str, Any], rows: Sequence[dict[str, Any]]) -> list[str]:
    """The choice in sentences."""
    best, simplest = rows[found["best"]], rows[found["simplest"]]
    said = [
        f"{found['compared']} classifiers were compared by cross-validation inside train and val; "
        f"the best is {best['described']}, right on {found['best_accuracy']:.1%}."
    ]
    if found["best"] != found["simplest"]:
        said.append(
            f"The simplest within one standard error of it ({100 * found['error']:.2f} points) is "
            f"{simplest['described']}, right on {simplest['accuracy']:.1%}."
        )
    if found["replaced"]:
        said.append(
            f"It replaces the default, which is right on {rows[0]['accuracy']:.1%}: a paired test, "
            f"corrected for the number of trials, gives p = {found['p']:.3f}."
        )
    elif found["simplest"] == 0:
        said.append("That is the default, so it stays.")
    else:
        said.append(
            f"The default, right on {rows[0]['accuracy']:.1%}, stays: a paired test, corrected for "
            f"the number of trials, shows no difference (p = {found['p']:.2f})."
        )
    return said


def honest(found: dict[str, Any]) -> str:
    """What the winner's figures are worth, in a sentence or two."""
    test = found["test"]
    said = (
        f"Test split, read once: {test['value']:.1%} (95 % interval {test['low']:.1%} to "
        f"{test['high']:.1%}, {test['n']:,} images). "
    )
    if found["winner"]:
        return said + (
            f"Cross-validation says {found['cross_validated']:.1%}, of which about "
            f"{100 * found['optimism']:.1f} points are the luck of the one that was chosen of "
            f"{found['compared']}: {found['expected']:.1%} was to be expected."
        )
    return said + (
        f"Cross-validation says {found['cross_validated']:.1%} of the default, which was not "
        f"chosen for it; the best of {found['compared']} has {found['best_accuracy']:.1%}, of "
        f"which about {100 * found['optimism_of_best']:.1f} points are luck."
    )


def budget(found: dict[str, Any]) -> str:
    """How the budget was kept, in a sentence; of a search that has ended."""
    after = found["after_search"]
    kept = sum(after["predicted"].values())
    return (
        f"It took {found['seconds']:.0f} s of {found['budget_seconds']:.0f} s; {kept:.0f} s were "
        f"kept for what follows the search, which took {after['measured']:.0f} s."
    )


def overrun(found: dict[str, Any]) -> str:
    """That the budget was not kept, and why that may be."""
    return (
        f"the budget of {found['budget_seconds']:.0f} s was not kept: it took "
        f"{found['seconds']:.0f} s; the default alone may need more, or other work slowed this "
        "machine down"
    )


def winner_of(found: dict[str, Any], table: TrialTable) -> Members:
    """The members of the winner."""
    winner: int = found["winner"]
    return table.trials[winner].members
