"""Answers about an image: what it is, how sure, what else, and whether it is like known ones."""

from typing import Any

import numpy as np
from PIL import Image

from graft.chat.answer import Answer, CannotAnswerError, answer, counted, joined, percent, span
from graft.chat.subject import Asked, Subject
from graft.report.numbers import quoted
from graft.report.thumbnails import square

NOW = "I ran the image through the network just now."
SIDE = 224


def what_is_it(subject: Subject, asked: Asked) -> Answer:
    """Which class the image is, or that it is none of them."""
    place = subject.image(asked)
    found, name = subject.prediction(place), subject.name(place)
    evidence: dict[str, Any] = {
        "image": str(subject.images[place]),
        "label": found.label,
        "best_guess": found.best_guess,
        "probability": found.probability,
        "ood_score": found.ood_score,
    }
    if found.label is None:
        said = [
            f"I would rather not name {name}: it is {_unlike(found.ood_score)}.",
            f"If it has to be one of my {counted(len(subject.classes), 'class', 'classes')}, my "
            f"best guess is {quoted(found.best_guess)}, with {percent(found.probability)}.",
        ]
        evidence["classes"] = len(subject.classes)
    else:
        said = [
            f"I call {name} {quoted(found.label)}, with a probability of "
            f"{percent(found.probability)}."
        ]
        if asked.classes and found.label not in asked.classes:
            other = asked.classes[0]
            evidence["asked"] = {other: found.probabilities[other]}
            said.append(f"{quoted(other)} gets {percent(found.probabilities[other])}.")
    said.append(_learned(subject, place, evidence))
    return answer(said, NOW, evidence, _picture(subject, place))


def how_sure(subject: Subject, asked: Asked) -> Answer:
    """How sure it is of an image, and how often it was right in the test when that sure."""
    place = subject.image(asked)
    found = subject.prediction(place)
    (first, probability), second = found.ranked[0], found.ranked[1:2]
    evidence: dict[str, Any] = {
        "image": str(subject.images[place]),
        "best_guess": first,
        "probability": probability,
    }
    said = [f"I give {quoted(first)} {percent(probability)} for {subject.name(place)}."]
    for label, other in second:
        evidence["next"] = {label: other}
        said.append(f"Next comes {quoted(label)} with {percent(other)}.")
    for label in asked.classes:
        if label not in (first, *(name for name, _ in second)):
            evidence.setdefault("asked", {})[label] = found.probabilities[label]
            said.append(f"{quoted(label)} gets {percent(found.probabilities[label])}.")
    if found.label is None:
        evidence["ood_score"] = found.ood_score
        said.append(
            f"But the image is {_unlike(found.ood_score)}, so do not take that number at its word."
        )
        return answer(said, NOW, evidence)
    for row in subject.run.metrics["reliability"]:
        if row["n"] and row["low"] < probability <= row["high"]:
            evidence["when_as_sure"] = row
            said.append(
                f"Of {counted(row['n'], 'test image')} where I was as sure as that "
                f"({span(row['low'], row['high'])}), I was right on {percent(row['accuracy'])}."
            )
    said.append(_learned(subject, place, evidence))
    where = subject.told("is in metrics.json", "was made in the test after the training")
    return answer(said, f"{NOW} The comparison {where}.", evidence)


def alternatives(subject: Subject, asked: Asked) -> Answer:
    """What else the image could be: the next classes, or those that are named."""
    place = subject.image(asked)
    found = subject.prediction(place)
    ranked = found.ranked
    if asked.classes:
        chosen = [(label, found.probabilities[label]) for label in asked.classes]
    else:
        chosen = ranked[1 : max(asked.number or 0, 3) + 1]
    first, probability = ranked[0]
    evidence = {
        "image": str(subject.images[place]),
        "best_guess": first,
        "probability": probability,
        "probabilities": dict(chosen),
    }
    said = [
        f"My best guess for {subject.name(place)} is {quoted(first)} with {percent(probability)}."
    ]
    others = [f"{quoted(label)} with {percent(value)}" for label, value in chosen if label != first]
    if others:
        said.append(f"{'You asked for' if asked.classes else 'After that come'} {joined(others)}.")
    said.append(caution(subject, place, evidence))
    return answer(said, NOW, evidence)


def nearest(subject: Subject, asked: Asked) -> Answer:
    """Which training images are most like the image."""
    place = subject.image(asked)
    found = subject.prediction(place)
    near = subject.nearest(place, asked.number or 3)
    if not near:
        raise CannotAnswerError("This run keeps no training images to compare with.")
    listing = [f"{each.path} ({quoted(each.label)}, {each.similarity:.2f})" for each in near]
    same = [each for each in near if each.label == found.best_guess]
    evidence = {
        "image": str(subject.images[place]),
        "best_guess": found.best_guess,
        "nearest": [
            {"path": each.path, "label": each.label, "similarity": each.similarity} for each in near
        ],
        "shown": len(near),
        "of_the_same_class": len(same),
    }
    said = [
        f"To me {subject.name(place)} is most like {joined(listing)}.",
        f"{len(same)} of these {len(near)} {'is' if len(same) == 1 else 'are'} labeled "
        f"{quoted(found.best_guess)}, my best guess."
        if len(near) > 1
        else "",
    ]
    said.append(_learned(subject, place, evidence))
    how = (
        "I compared its features with those of all training images just now; the number is their "
        "cosine similarity, where 1 is the same."
    )
    return answer(said, how, {**evidence, "same": 1}, _known(subject, [e.path for e in near]))


def familiar(subject: Subject, asked: Asked) -> Answer:
    """Whether the image is like those that it was trained on."""
    place = subject.image(asked)
    found = subject.prediction(place)
    if found.ood_score is None:
        raise CannotAnswerError("This run cannot tell familiar images from others.")
    evidence: dict[str, Any] = {
        "image": str(subject.images[place]),
        "ood_score": found.ood_score,
        "limit": 1,
    }
    if found.ood_score > 1:
        said = [
            f"{subject.name(place)} is {_unlike(found.ood_score)}. So I say “none of "
            "these” instead of a label."
        ]
    else:
        said = [
            f"{subject.name(place)} is like my training images: it is at "
            f"{found.ood_score:.2f}, where the limit is 1."
        ]
    for near in subject.nearest(place, 1):
        evidence["nearest"] = {
            "path": near.path,
            "label": near.label,
            "similarity": near.similarity,
        }
        said.append(
            f"The nearest of them is {near.path} ({quoted(near.label)}, similarity "
            f"{near.similarity:.2f})."
        )
    said.append(_learned(subject, place, evidence))
    how = (
        "I measured how much of its features the training images do not explain; the limit was "
        "set on the validation images."
    )
    return answer(said, how, evidence)


def compare_images(subject: Subject, asked: Asked) -> Answer:
    """What two images have in common, to the network."""
    if len(subject.images) < 2:
        raise CannotAnswerError(
            f"I can compare two images, and was given {counted(len(subject.images), 'image')}. "
            + subject.told(
                "Give me more after the run: graft chat RUN IMAGE IMAGE.",
                "This page shows me one at a time.",
            )
        )
    places = asked.images if len(asked.images) > 1 else (0, 1)
    subject.image(Asked(images=(max(places),)))
    first, second = (subject.prediction(place) for place in places[:2])
    names = [subject.name(place) for place in places[:2]]
    gaps = {
        label: second.probabilities[label] - value for label, value in first.probabilities.items()
    }
    widest = max(gaps, key=lambda label: abs(gaps[label]))
    evidence: dict[str, Any] = {
        "images": [str(subject.images[place]) for place in places[:2]],
        "labels": [first.best_guess, second.best_guess],
        "probabilities": [first.probability, second.probability],
        "widest_gap": {
            "class": widest,
            "probabilities": [first.probabilities[widest], second.probabilities[widest]],
        },
    }
    same = first.best_guess == second.best_guess
    said = [
        f"Both are {quoted(first.best_guess)} to me" if same else "They differ",
    ]
    listing = joined(
        [
            f"{name} is {quoted(each.best_guess)} with {percent(each.probability)}"
            for name, each in zip(names, (first, second), strict=True)
        ]
    )
    said = [f"{said[0]}: {listing}."]
    if not same or abs(gaps[widest]) > 0.01:
        said.append(
            f"They are furthest apart in {quoted(widest)}: "
            f"{percent(first.probabilities[widest])} against "
            f"{percent(second.probabilities[widest])}."
        )
    for place in places[:2]:
        said.append(caution(subject, place, evidence))
    alike = _similarity(subject, places[0], places[1])
    if alike is not None:
        evidence["similarity"], evidence["same"] = alike, 1
        said.append(f"Their features have a cosine similarity of {alike:.2f}, where 1 is the same.")
    shown = [*_picture(subject, places[0]), *_picture(subject, places[1])]
    return answer(said, "I ran both through the network just now.", evidence, shown)


def caution(subject: Subject, place: int, evidence: dict[str, Any]) -> str:
    """That an image is unlike the training images, if it is, so that its label counts little."""
    found = subject.prediction(place)
    if found.label is not None:
        return ""
    evidence.setdefault("ood_scores", {})[subject.name(place)] = found.ood_score
    return (
        f"But {subject.name(place)} is {_unlike(found.ood_score)}, so I would rather say "
        "that it is none of my classes."
    )


def _similarity(subject: Subject, first: int, second: int) -> float | None:
    """The cosine similarity of two images, as between an image and its nearest ones."""
    detector = subject.predictor.ood_detector
    if detector is None:
        return None
    files = [subject.images[first], subject.images[second]]
    features = np.stack([item.values[0] for item, _ in subject.predictor.encoded_files(files)])
    known = detector.projected(features)[1].double().numpy()
    known /= np.linalg.norm(known, axis=1, keepdims=True)
    return round(float(known[0] @ known[1]), 4)


def _learned(subject: Subject, place: int, evidence: dict[str, Any]) -> str:
    """That this very file was used in training or validation, if it was."""
    split = subject.split_of(place)
    evidence["in_split"] = split
    if split not in ("train", "val"):
        return ""
    if split == "val":
        return "It is one of my validation images, so my being right on it proves little."
    return "I learned from this very image, so my being right on it proves nothing."


def _unlike(score: float | None) -> str:
    """What it means to be beyond the limit, which the validation images set."""
    times = "" if score is None else f" ({score:.2f} times the limit)"
    return f"more unlike my training images than nearly all validation images were{times}"


def _picture(subject: Subject, place: int) -> list[tuple[str, Image.Image]]:
    small = square(subject.images[place], SIDE)
    return [(subject.name(place), small)] if small else []


def _known(subject: Subject, paths: list[str]) -> list[tuple[str, Image.Image]]:
    """Training images, where they still are."""
    found = [(path, square(subject.run.files.get(path), SIDE)) for path in paths]
    return [(path, image) for path, image in found if image]
