"""The report's sentences, each computed from the run's own numbers."""

from collections.abc import Mapping, Sequence

from graft.report import run_tables
from graft.report.numbers import (
    counted,
    decimal,
    duration,
    listed,
    measured,
    percent,
    points,
    quoted,
    span,
    whole,
)
from graft.report.run_files import Record, RunFiles


def headline(metrics: Record) -> str:
    """How often it is right, how sure that is, and what the plainest rule would reach."""
    accuracy, n, rule = metrics["accuracy"], metrics["n"], metrics["baseline"]
    plain = percent(rule["accuracy"]["value"])
    right = sum(row[i] for i, row in enumerate(metrics["confusion"]))
    return (
        f"Of {counted(n, 'test image')} it had never seen, the classifier named {whole(right)} "
        f"correctly: {percent(accuracy['value'])}, with a 95\u00a0% interval of "
        f"{span(accuracy['low'], accuracy['high'])}; always answering "
        f"{quoted(rule['majority_class'])} would be right {plain} of the time."
    )


def against_baseline(metrics: Record) -> str:
    """Whether the classifier beats the rule that always gives the commonest answer."""
    rule, accuracy = metrics["baseline"], metrics["accuracy"]
    chosen = f" in {rule['chosen_on']}" if rule.get("chosen_on") else ""
    plain = f"giving every image the commonest name{chosen}"
    if accuracy["low"] > rule["accuracy"]["high"]:
        return f"The classifier is clearly better than {plain}."
    if accuracy["value"] > rule["accuracy"]["value"]:
        return (
            f"The classifier is ahead of {plain}, but the intervals of the two overlap, so this "
            "could still be chance."
        )
    return f"The classifier is no better than {plain}."


def the_split(run: RunFiles) -> list[str]:
    """What each split was for, how even the split is, and what it keeps together."""
    splits = run_tables.split_counts(run.images)
    total = len(run.images)
    n = {split: f"{whole(k)} ({percent(k / total) if total else 0})" for split, k in splits.items()}
    sentences = [
        f"Of {counted(total, 'image')}, {n['train']} taught the classifier (train), {n['val']} "
        "decided when it had learned enough and how sure it may sound (val), and "
        f"{n['test']} were set aside for the results on this page (test)."
    ]
    if unused := splits.get(run_tables.UNUSED):
        sentences.append(f"{counted(unused, 'image is', 'images are')} in no split.")
    classes = run_tables.class_counts(run.images)
    shares = [c.splits["test"] / c.total for c in classes if c.splits["test"]]
    if len(shares) > 1 and percent(min(shares)) != percent(max(shares)):
        sentences.append(
            f"From class to class, the test split's share runs from {percent(min(shares))} "
            f"to {percent(max(shares))}."
        )
    for split, role in (("train", "learn from"), ("test", "be tested on")):
        if lacking := [c.name for c in classes if not c.splits[split]]:
            sentences.append(
                f"{counted(len(lacking), 'class has', 'classes have')} no image to {role}: "
                f"{listed(lacking)}."
            )
    if run.config.get("seed") is not None:
        sentences.append(f"The seed was {run.config['seed']}.")
    return sentences


def kept_apart(images: Sequence[Mapping[str, str]]) -> list[str]:
    """Whether what belongs together stayed in one split."""
    sentences = []
    groups, torn = run_tables.in_two_splits(images, "group_id")
    if torn:
        sentences.append(
            f"Careful: {counted(torn, 'group is', 'groups are')} spread over several splits, so "
            "the test may look easier than new images will be."
        )
    elif groups:
        sentences.append(
            f"{counted(groups, 'group')} of images that belong together "
            f"{'was' if groups == 1 else 'were'} each kept in one split."
        )
    _, torn = run_tables.in_two_splits(images, "sha256")
    if torn:
        sentences.append(
            f"Careful: {counted(torn, 'file occurs', 'files occur')} in several splits, byte for "
            "byte, so the test may look easier than new images will be."
        )
    elif any(image.get("sha256") for image in images):
        sentences.append("No file is in two splits: no test image was among those it learned from.")
    return sentences


def the_training(run: RunFiles) -> list[str]:
    """What was trained, for how long, and where it was best."""
    sentences = []
    backbone = run.model.get("backbone") or {}
    parameters = run.model.get("parameters") or {}
    if name := backbone.get("architecture") or backbone.get("name"):
        sentence = f"The classifier builds on {name}"
        if {"total", "trained"} <= set(parameters):
            sentence += (
                f": {whole(parameters['trained'])} of its {whole(parameters['total'])} numbers "
                "were learned here, the rest came ready-made"
                if parameters["trained"] < parameters["total"]
                else f", and all its {whole(parameters['total'])} numbers were learned here"
            )
        sentences.append(sentence + ".")
    if not run.history:
        return [*sentences, "No epochs were recorded."]
    epochs = len(run.history)
    spent = sum(measured(row.get("seconds")) or 0.0 for row in run.history)
    times = "once" if epochs == 1 else counted(epochs, "time")
    sentence = f"It went over the training images {times}"
    sentences.append(sentence + (f" in {duration(spent)}." if spent else "."))
    probes = sum(row.get("stage") == "probe" for row in run.history)
    if 0 < probes < epochs:
        sentences.append(
            f"The first {probes} epochs trained the head on the frozen network, the others its "
            "last layers, too, from there."
        )
    if best := run_tables.best_epoch(run.history, run.metrics.get("best_epoch")):
        sentence = (
            f"The weights are those of epoch {best['epoch']}, with a validation loss of "
            f"{decimal(best['val_loss'])}"
        )
        if measured(best.get("val_accuracy")) is not None:
            sentence += f" and {percent(best['val_accuracy'])} of the validation images right"
        sentences.append(sentence + ".")
    return sentences


def the_confusions(pairs: Sequence[run_tables.Pair]) -> str:
    """The most frequent confusion, in words."""
    if not pairs:
        return "No class was taken for another."
    top = pairs[0]
    return (
        f"Most often confused: {quoted(top.label)} was called {quoted(top.called)} for "
        f"{whole(top.count)} of its {counted(top.n, 'image')}."
    )


def the_reliability(metrics: Record) -> str:
    """What a stated probability meant where most images are, and on the whole."""
    sentence = ""
    filled = [row for row in metrics["reliability"] if row["n"]]
    if filled:
        top = max(filled, key=lambda row: row["n"])
        sentence = (
            f"Where it claimed about {percent(top['confidence'])} "
            f"({counted(top['n'], 'image')}), it was right {percent(top['accuracy'])} "
            "of the time. "
        )
    ends = (metrics.get("intervals") or {}).get("ece")
    interval = f"; 95\u00a0% interval {span(*ends)}" if ends else ""
    sentence += (
        f"On average, claim and truth lie {points(metrics['ece'])} apart (the expected calibration "
        f"error, ECE{interval})."
    )
    errors = metrics.get("class_ece") or []
    if len(errors) > 1:
        worst = errors[0]
        sentence += (
            f" Of single classes, the probabilities of {quoted(worst['class'])} lie furthest from "
            f"its frequency, by {points(worst['value'])} ({span(worst['low'], worst['high'])})."
        )
    return sentence


def the_temperature(temperature: float) -> str:
    """What calibration did to the probabilities."""
    effect = "more" if temperature < 1 else "less"
    return (
        f"Its scores were divided by a temperature of {decimal(temperature)}, found on the "
        f"validation images, which makes it sound {effect} sure."
    )


def the_time(seconds: Mapping[str, float]) -> str:
    """How long it all took, and for what."""
    sentence = f"The whole run took {duration(seconds['total'])}"
    stages = run_tables.time_split(seconds)
    name, longest = max(stages, key=lambda stage: stage[1], default=("", 0.0))
    return (
        f"{sentence}, most of it for {name}." if longest > seconds["total"] / 2 else sentence + "."
    )
