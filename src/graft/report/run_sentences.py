"""The sentences of a run's report, each with the run's own numbers in it."""

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
from graft.runs.confusion_counts import ConfusionCounts
from graft.runs.image_table import Images
from graft.runs.run import Record, Run


def headline(metrics: Record) -> str:
    """The accuracy with its interval, beside that of the baseline."""
    accuracy, n, rule = metrics["accuracy"], metrics["n"], metrics["baseline"]
    plain = percent(rule["accuracy"]["value"])
    right = ConfusionCounts.read(metrics["confusion"]).right
    return (
        f"The classifier is correct on {whole(right)} of {counted(n, 'test image')} that it had "
        f"never seen: {percent(accuracy['value'])}, with a 95\u00a0% interval of "
        f"{span(accuracy['low'], accuracy['high'])}. Always predicting "
        f"{quoted(rule['majority_class'])} would reach {plain}."
    )


def against_baseline(metrics: Record) -> str:
    """Whether the classifier beats the baseline."""
    rule, accuracy = metrics["baseline"], metrics["accuracy"]
    where = {"train": " of the training images"}.get(rule.get("chosen_on", ""), "")
    plain = f"the baseline, which always predicts the most common class{where}"
    if accuracy["low"] > rule["accuracy"]["high"]:
        return f"The classifier is clearly better than {plain}."
    if accuracy["value"] > rule["accuracy"]["value"]:
        return (
            f"The classifier is ahead of {plain}. But their intervals overlap, so this could be "
            "chance."
        )
    return f"The classifier is no better than {plain}."


def the_split(run: Run) -> list[str]:
    """What each split was for, and how evenly it divides the classes."""
    splits = run_tables.split_counts(run.images)
    total = len(run.images)
    n = {split: f"{whole(k)} ({percent(k / total) if total else 0})" for split, k in splits.items()}
    sentences = [
        f"Of {counted(total, 'image')}, the classifier learned from {n['train']} (train). "
        f"{n['val']} decided when to stop and calibrated its probabilities (val). {n['test']} were "
        "set aside for the results on this page (test)."
    ]
    if unused := splits.get(run_tables.UNUSED):
        sentences.append(f"{counted(unused, 'image is', 'images are')} in no split.")
    classes = run_tables.class_counts(run.images)
    fractions = [c.splits["test"] / c.total for c in classes if c.splits["test"]]
    if len(fractions) > 1 and percent(min(fractions)) != percent(max(fractions)):
        sentences.append(
            f"Depending on the class, {percent(min(fractions))} to {percent(max(fractions))} of "
            "its images are in the test split."
        )
    for split, role in (("train", "training"), ("test", "test")):
        if lacking := [c.name for c in classes if not c.splits[split]]:
            sentences.append(
                f"{counted(len(lacking), 'class has', 'classes have')} no {role} image: "
                f"{listed(lacking)}."
            )
    if run.config.get("seed") is not None:
        sentences.append(f"The seed was {run.config['seed']}.")
    return sentences


def kept_apart(images: Images) -> list[str]:
    """Whether groups and copies stayed in one split."""
    sentences = []
    groups, torn = run_tables.in_two_splits(images, "group_id")
    if torn:
        sentences.append(
            f"Careful: {counted(torn, 'group is', 'groups are')} in more than one split, so the "
            "test may be easier than new images will be."
        )
    elif groups:
        sentences.append(
            f"{counted(groups, 'group')} of two or more images {'was' if groups == 1 else 'were'} "
            "kept together, each in one split."
        )
    _, torn = run_tables.in_two_splits(images, "sha256")
    if torn:
        sentences.append(
            f"Careful: {counted(torn, 'file is', 'files are')} in more than one split, byte for "
            "byte, so the test may be easier than new images will be."
        )
    elif any(image.get("sha256") for image in images):
        sentences.append("No file is in two splits, so no test image was used in training.")
    return sentences


def the_training(run: Run) -> list[str]:
    """What was trained, for how long, and which epoch was best."""
    sentences = _the_network(run)
    if not run.history:
        return [*sentences, "No epochs were recorded."]
    epochs = len(run.history)
    spent = sum(measured(row.get("seconds")) or 0.0 for row in run.history)
    sentence = f"Training took {counted(epochs, 'epoch')}"
    sentences.append(sentence + (f" and {duration(spent)}." if spent else "."))
    probes = sum(row.get("stage") == "probe" for row in run.history)
    if 0 < probes < epochs:
        sentences.append(
            f"The first {probes} epochs trained the head on the frozen backbone; the others also "
            "fine-tuned its last layers."
        )
    if best := run_tables.best_epoch(run.history, run.metrics.get("best_epoch")):
        sentence = (
            f"The weights are those of epoch {best['epoch']}, with a validation loss of "
            f"{decimal(best['val_loss'])}"
        )
        if measured(best.get("val_accuracy")) is not None:
            sentence += f" and a validation accuracy of {percent(best['val_accuracy'])}"
        sentences.append(sentence + ".")
    return sentences


def _the_network(run: Run) -> list[str]:
    sentences = []
    backbone = run.model.get("backbone") or {}
    parameters = run.model.get("parameters") or {}
    if name := backbone.get("architecture") or backbone.get("name"):
        sentence = f"The classifier builds on {name}"
        if {"total", "trained"} <= set(parameters):
            sentence += (
                f". Of its {whole(parameters['total'])} parameters, "
                f"{whole(parameters['trained'])} were trained here; the others are pretrained and "
                "stayed as they were"
                if parameters["trained"] < parameters["total"]
                else f". All its {whole(parameters['total'])} parameters were trained here"
            )
        sentences.append(sentence + ".")
    return sentences


def the_confusions(pairs: Sequence[run_tables.Confusion]) -> str:
    """The most frequent confusion, in words."""
    if not pairs:
        return "No class was confused with another."
    top = pairs[0]
    return (
        f"The most frequent mistake: {whole(top.count)} of {counted(top.n, 'image')} of "
        f"{quoted(top.label)} {'was' if top.count == 1 else 'were'} predicted as "
        f"{quoted(top.predicted)}."
    )


def the_reliability(metrics: Record) -> str:
    """How far probability and accuracy lie apart: in the fullest bin, over all, by class."""
    sentence = ""
    filled = [row for row in metrics["reliability"] if row["n"]]
    if filled:
        top = max(filled, key=lambda row: row["n"])
        sentence = (
            f"Where it was about {percent(top['confidence'])} sure "
            f"({counted(top['n'], 'image')}), it was correct {percent(top['accuracy'])} of the "
            "time. "
        )
    ends = (metrics.get("intervals") or {}).get("ece")
    interval = f"; 95\u00a0% interval {span(*ends)}" if ends else ""
    sentence += (
        f"On average, probability and accuracy lie {points(metrics['ece'])} apart: the expected "
        f"calibration error (ECE{interval})."
    )
    errors = metrics.get("class_ece") or []
    if len(errors) > 1:
        worst = errors[0]
        sentence += (
            f" The least calibrated class is {quoted(worst['class'])}, off by "
            f"{points(worst['value'])} (95\u00a0% interval {span(worst['low'], worst['high'])})."
        )
    return sentence


def the_temperature(temperature: float) -> str:
    """What calibration did to the probabilities."""
    effect = "more confident" if temperature < 1 else "less confident"
    return (
        f"The scores were divided by a temperature of {decimal(temperature)}, found on the "
        f"validation images. It makes the model {effect}."
    )


def the_time(seconds: Mapping[str, float]) -> str:
    """How long the run took, and what took longest."""
    sentence = f"The whole run took {duration(seconds['total'])}"
    stages = run_tables.time_split(seconds)
    name, longest = max(stages, key=lambda stage: stage[1], default=("", 0.0))
    return (
        f"{sentence}, most of it for {name}." if longest > seconds["total"] / 2 else sentence + "."
    )
