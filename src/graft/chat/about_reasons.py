"""Answers about reasons: why, where it looked, and what would change its mind."""

from typing import Any

import numpy as np

from graft.chat.about_image import caution
from graft.chat.answer import Answer, CannotAnswerError, answer, counted, joined, percent
from graft.chat.subject import Asked, Subject
from graft.explanation.heat_map import Explanation
from graft.explanation.what_if import CHANGES, what_if
from graft.report.numbers import quoted

COVERED = {
    "occlusion": "I covered the image part by part just now and watched the probability.",
    "gradients": "I followed the gradients of my network through the image just now, then covered "
    "what matters most and watched the probability.",
}
RESTS = "A heat map shows what my answer rests on, not whether that is the right reason."
PLACES = (
    ("the upper left", "the top middle", "the upper right"),
    ("the left", "the center", "the right"),
    ("the lower left", "the bottom middle", "the lower right"),
)
SIDE = 320


def why(subject: Subject, asked: Asked) -> Answer:
    """Why the image got its label: where the evidence lies, and what it is like."""
    place = subject.image(asked)
    found = subject.prediction(place)
    label = asked.classes[0] if asked.classes else None
    explained = subject.explanation(place, label if label != found.best_guess else None)
    said, evidence = _told(subject, place, explained)
    near = subject.nearest(place, 5)
    if near:
        same = sum(each.label == explained.label for each in near)
        evidence["nearest"] = [each.path for each in near]
        evidence["nearest_count"], evidence["nearest_of_the_class"] = len(near), same
        said.append(
            f"Of the {len(near)} training images most like it, {same} "
            f"{'is' if same == 1 else 'are'} labeled {quoted(explained.label)}."
        )
    said.append(caution(subject, place, evidence))
    return answer(said, _how(explained), evidence, _maps(subject, place, explained))


def why_not(subject: Subject, asked: Asked) -> Answer:
    """What speaks for its label and against another class."""
    place = subject.image(asked)
    found = subject.prediction(place)
    others = [label for label in asked.classes if label != found.best_guess]
    if not others:
        if asked.classes:
            return why(subject, asked)
        others = [found.ranked[1][0]]
    against = others[0]
    explained = subject.explanation(place, against=against)
    said, evidence = _told(subject, place, explained)
    said.insert(
        1,
        f"{quoted(against)} has {percent(found.probabilities[against])}.",
    )
    evidence["against"] = {against: found.probabilities[against]}
    said.append(caution(subject, place, evidence))
    return answer(said, _how(explained), evidence, _maps(subject, place, explained))


def where_looked(subject: Subject, asked: Asked) -> Answer:
    """Which part of the image its answer rests on."""
    place = subject.image(asked)
    found = subject.prediction(place)
    label = asked.classes[0] if asked.classes else None
    explained = subject.explanation(place, label if label != found.best_guess else None)
    shares = ninths(explained.map)
    said, evidence = _told(subject, place, explained)
    if not shares:  # no part matters on its own, as `said` tells
        return answer(said, _how(explained), evidence)
    (first, most), (second, more) = sorted(shares.items(), key=lambda each: -each[1])[:2]
    said[:2] = [
        f"For {quoted(explained.label)} I looked most at {first} of {subject.name(place)}: "
        f"{percent(most)} of the evidence lies there, and {percent(more)} in {second}."
    ]
    evidence["share_by_place"] = shares
    return answer(said, _how(explained), evidence, _maps(subject, place, explained))


def changed(subject: Subject, asked: Asked) -> Answer:
    """What it would say if the image were cropped, turned, darkened, blurred, gray or covered."""
    place = subject.image(asked)
    names = tuple(name for name in asked.changes if name in CHANGES)
    if asked.changes and not names:
        raise CannotAnswerError(f"I cannot make that change. I can try: {joined(list(CHANGES))}.")
    found = what_if(subject.predictor, subject.images[place], names or None)
    before = found[0].probabilities
    guess = max(before, key=before.__getitem__)
    evidence: dict[str, Any] = {
        "image": str(subject.images[place]),
        "best_guess": guess,
        "probability": before[guess],
        "changes": [],
    }
    said = [f"As it is, {subject.name(place)} is {quoted(guess)} with {percent(before[guess])}."]
    flips = []
    for each in found[1:]:
        now = max(each.probabilities, key=each.probabilities.__getitem__)
        own = each.probabilities[guess]
        evidence["changes"].append(
            {
                "change": each.name,
                "best_guess": now,
                "probability": each.probabilities[now],
                "of_best_guess": own,
            }
        )
        if now != guess:
            flips.append(each.name)
            said.append(
                f"With “{each.name}” it becomes {quoted(now)} with "
                f"{percent(each.probabilities[now])}; {quoted(guess)} keeps {percent(own)}."
            )
        elif names:
            said.append(f"With “{each.name}” it stays {quoted(guess)}, with {percent(own)}.")
    if not names:
        evidence["tried"], evidence["changed"] = len(found) - 1, len(flips)
        if not flips:
            said.append(f"I tried {counted(len(found) - 1, 'change')}, and none changes my answer.")
        else:
            said.append(
                f"Of {counted(len(found) - 1, 'change')} that I tried, {len(flips)} "
                f"{'changes' if len(flips) == 1 else 'change'} my answer."
            )
    shown = [(each.name, each.image) for each in found]
    return answer(said, "I made the change and asked the network again, just now.", evidence, shown)


def ninths(values: "np.ndarray[Any, Any]") -> dict[str, float]:
    """The share of a map (rows, columns) ≥ 0 that lies in each ninth of it; empty for a map of
    zeros. A cell belongs where its middle is.
    """
    total = float(values.sum())
    if not total > 0:
        return {}
    rows, columns = values.shape
    found = {name: 0.0 for line in PLACES for name in line}
    for row in range(rows):
        for column in range(columns):
            line = min(int(3 * (row + 0.5) / rows), 2)
            name = PLACES[line][min(int(3 * (column + 0.5) / columns), 2)]
            found[name] += float(values[row, column]) / total
    return found


def _how(found: Explanation) -> str:
    return f"{COVERED[found.method]} {RESTS}"


def _told(subject: Subject, place: int, found: Explanation) -> tuple[list[str], dict[str, Any]]:
    """The heat map in sentences, and its numbers."""
    label = found.label
    evidence: dict[str, Any] = {
        "image": str(subject.images[place]),
        "label": label,
        "probability": found.probability,
        "method": found.method,
        "covered": found.covered_fraction,
        "after_covering": found.after[label],
        "after_covering_elsewhere": found.elsewhere[label],
    }
    said = [f"I give {quoted(label)} {percent(found.probability)} for {subject.name(place)}."]
    if not found.map.max() > 0:
        said.append("No part matters on its own: whatever I cover, that does not fall.")
        return said, evidence
    where = ninths(found.map)
    first = max(where, key=where.__getitem__)
    evidence["share_by_place"] = where
    said.append(
        f"Most of the evidence lies in {first}: {percent(where[first])} of it."
        if where[first] > 0.5
        else f"The evidence is strongest in {first}, which has {percent(where[first])} of it."
    )
    said.append(
        f"With the part that matters most covered ({percent(found.covered_fraction)} of the "
        f"image), {quoted(label)} "
        f"goes from {percent(found.probability)} to {percent(found.after[label])}; with as much "
        f"covered where it matters least, to {percent(found.elsewhere[label])}."
    )
    return said, evidence


def _maps(subject: Subject, place: int, found: Explanation) -> list[Any]:
    from PIL import Image

    return [
        (f"{subject.name(place)}: what speaks for {found.label}", found.overlay(SIDE)),
        ("with that covered", Image.fromarray(found.covered)),
    ]
