"""Answers about the field's terms, each with this network's own numbers."""

import csv
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import Any

from torch import nn

from graft.chat.about_network import first_convolution
from graft.chat.answer import Answer, CannotAnswerError, answer, counted, percent
from graft.chat.subject import Asked, Subject
from graft.report.glossary import GLOSSARY
from graft.report.numbers import decimal, whole

Own = tuple[str, dict[str, Any]]


@cache
def terms() -> dict[str, tuple[str, ...]]:
    """The names of each term, by its slug; the first is the term's own."""
    return {row["slug"]: tuple(row["names"].split("|")) for row in _rows()}


def meaning(slug: str) -> str:
    """What a term means, in two sentences."""
    own = next(row["meaning"] for row in _rows() if row["slug"] == slug)
    return GLOSSARY[slug].meaning if slug in GLOSSARY else own


def term(subject: Subject, asked: Asked) -> Answer:
    """What a term of the field means, with this network's own numbers."""
    if asked.term is None:
        raise CannotAnswerError("I do not know that word.")
    name = terms()[asked.term][0]
    evidence: dict[str, Any] = {"term": asked.term, "meaning": meaning(asked.term)}
    said = [evidence["meaning"]]
    how = "The explanation is from my glossary."
    for own in filter(None, [OWN.get(asked.term)]):
        sentence, numbers = own(subject)
        if sentence:
            said.append(sentence)
            evidence["here"] = numbers
            how = "The explanation is from my glossary; the numbers are this run's own."
    if asked.term in GLOSSARY:  # which has phrases, where terms.csv has sentences
        said[0] = f"{name[0].upper()}{name[1:]}: {said[0]}"
    return answer(said, how, evidence)


def _convolution(subject: Subject) -> Own:
    layer = first_convolution(subject)
    filters, channels, tall, wide = layer.weight.shape
    total = layer.weight.numel()
    biases = layer.bias.numel() if layer.bias is not None else 0
    found = {
        "filters": filters,
        "channels": channels,
        "kernel": [tall, wide],
        "weights": total,
        "biases": biases,
    }
    more = f", and {biases} biases" if biases else ", and no biases"
    return (
        f"My first convolution has {filters} filters of {tall} × {wide} over {channels} channels: "
        f"{tall} × {wide} × {channels} × {filters} = {whole(total)} weights{more}.",
        found,
    )


def _stride(subject: Subject) -> Own:
    layer = first_convolution(subject)
    height = subject.run.model["preprocess"]["height"]
    step = layer.stride[0]
    return (
        f"My first convolution has a stride of {step}, over images {height} pixels high.",
        {"stride": step, "height": height},
    )


def _padding(subject: Subject) -> Own:
    layer = first_convolution(subject)
    if isinstance(layer.padding, str) or not any(layer.padding):
        return "", {}
    return (
        f"My first convolution has a padding of {layer.padding[0]} and a kernel of "
        f"{layer.kernel_size[0]} × {layer.kernel_size[1]}.",
        {"padding": layer.padding[0], "kernel": list(layer.kernel_size)},
    )


def _channel(subject: Subject) -> Own:
    layer = first_convolution(subject)
    return (
        f"My first convolution takes the {layer.in_channels} channels of an image (red, green, "
        f"blue) and gives {layer.out_channels}.",
        {"in": layer.in_channels, "out": layer.out_channels},
    )


def _pooling(subject: Subject) -> Own:
    modules = list(subject.predictor.classifier.encoder.modules())
    count = sum(isinstance(m, nn.MaxPool2d | nn.AvgPool2d) for m in modules)
    features = subject.run.model["backbone"]["features"]
    between = f"I have {counted(count, 'pooling layer')}, and at" if count else "At"
    return (
        f"{between} the end I pool over all positions, which leaves {counted(features, 'feature')} "
        "of an image.",
        {"pooling_layers": count, "features": features},
    )


def _overfitting(subject: Subject) -> Own:
    metrics = subject.run.metrics
    kept = [row for row in subject.run.history if row.get("epoch") == metrics.get("best_epoch")]
    if not kept or kept[-1].get("train_accuracy") is None:
        return "", {}
    train, test = kept[-1]["train_accuracy"], metrics["accuracy"]["value"]
    return (
        f"I was right on {percent(train)} of the training images in epoch {kept[-1]['epoch']}, and "
        f"on {percent(test)} of the test images.",
        {"train_accuracy": train, "epoch": kept[-1]["epoch"], "test_accuracy": test},
    )


def _parameter(subject: Subject) -> Own:
    found = subject.run.model["parameters"]
    return (
        f"I have {whole(found['total'])}, and {whole(found['trained'])} of them were trained here.",
        dict(found),
    )


def _accuracy(subject: Subject) -> Own:
    metrics = subject.run.metrics
    value = metrics["accuracy"]["value"]
    return (
        f"Mine is {percent(value)}, on {counted(metrics['n'], 'test image')}.",
        {"accuracy": value, "test_images": metrics["n"]},
    )


def _macro(name: str) -> Callable[[Subject], Own]:
    def own(subject: Subject) -> Own:
        value = subject.run.metrics[f"macro_{name}"]
        return f"Mine is {percent(value)}, as the mean over my classes.", {f"macro_{name}": value}

    return own


def _ece(subject: Subject) -> Own:
    value = subject.run.metrics["ece"]
    return f"My calibration error is {percent(value)} on the test images.", {"ece": value}


def _baseline(subject: Subject) -> Own:
    found = subject.run.metrics["baseline"]
    value, own = found["accuracy"]["value"], subject.run.metrics["accuracy"]["value"]
    return (
        f"Here that is always “{found['majority_class']}”, right on {percent(value)}; I am right "
        f"on {percent(own)}.",
        {"majority_class": found["majority_class"], "baseline": value, "accuracy": own},
    )


def _epoch(subject: Subject) -> Own:
    count, best = len(subject.run.history), subject.run.metrics.get("best_epoch")
    if not count:
        return "", {}
    kept = f"; the weights are those of epoch {best}" if best else ""
    return f"My training took {count}{kept}.", {"epochs": count, "best_epoch": best}


def _setting(name: str, words: str) -> Callable[[Subject], Own]:
    def own(subject: Subject) -> Own:
        value = (subject.run.config.get("resolved") or {}).get(name)
        if value is None:
            return "", {}
        shown = f"{value:g}" if isinstance(value, float) else str(value)
        return f"{words} {shown}.", {name: value}

    return own


def _receptive_field(subject: Subject) -> Own:
    """How far the first of the layers and the one that sees most see."""
    from graft.explanation.layer_table import summary

    layers = [each for each in summary(subject.predictor).layers if each.kernel and each.ran]
    fields = [each.receptive_field for each in layers if each.receptive_field]
    if not fields:
        return "", {}
    most, width = max(fields), subject.run.model["preprocess"]["width"]
    whole_image = f", more than the {width} that an image has" if most > width else ""
    return (
        f"A value of my first convolution sees {fields[0]} pixels from side to side, one of my "
        f"last {most}{whole_image}.",
        {"first": fields[0], "most": most, "width": width},
    )


def _split(subject: Subject) -> Own:
    from graft.report.run_tables import split_counts

    found = split_counts(subject.run.images)
    return (
        f"Mine have {whole(found['train'])}, {whole(found['val'])} and {whole(found['test'])} "
        "images.",
        dict(found),
    )


def _loss(subject: Subject) -> Own:
    value = subject.run.metrics["nll"]
    return f"Mine is {decimal(value)} on the test images.", {"nll": value}


def _temperature(subject: Subject) -> Own:
    value = subject.run.model["temperature"]
    return f"Mine is {decimal(value)}.", {"temperature": value}


def _head(subject: Subject) -> Own:
    head = subject.run.model["head"]
    return (
        f"Mine takes {counted(head['features'], 'feature')} and gives "
        f"{counted(head['classes'], 'score')}, one for each class.",
        dict(head),
    )


def _backbone(subject: Subject) -> Own:
    found = subject.run.model["backbone"]
    return (
        f"Mine is {found['architecture']}, with {counted(found['parameters'], 'parameter')}.",
        {"backbone": found["architecture"], "parameters": found["parameters"]},
    )


def _classes(subject: Subject) -> Own:
    return f"I have {len(subject.classes)}.", {"classes": len(subject.classes)}


def _transfer(subject: Subject) -> Own:
    found = subject.run.model
    trained, total = found["parameters"]["trained"], found["parameters"]["total"]
    if trained == total:
        return "I was trained from your images alone.", {}
    return (
        f"I am an example: {whole(trained)} of my {counted(total, 'parameter')} were trained on "
        "your images, the others came pretrained.",
        {"trained": trained, "total": total},
    )


OWN: dict[str, Callable[[Subject], Own]] = {
    "accuracy": _accuracy,
    "backbone": _backbone,
    "baseline": _baseline,
    "batch": _setting("batch_size", "In my training a batch had this many images:"),
    "calibration": _ece,
    "channel": _channel,
    "class": _classes,
    "convolution": _convolution,
    "ece": _ece,
    "epoch": _epoch,
    "f1": _macro("f1"),
    "feature": _backbone,
    "fine-tuning": _transfer,
    "frozen": _transfer,
    "head": _head,
    "kernel": _convolution,
    "label-smoothing": _setting("label_smoothing", "In my training it was"),
    "learning-rate": _setting("learning_rate", "In my training its highest value was"),
    "loss": _loss,
    "optimizer": _setting("optimizer", "Mine was"),
    "overfitting": _overfitting,
    "padding": _padding,
    "parameter": _parameter,
    "pooling": _pooling,
    "precision": _macro("precision"),
    "recall": _macro("recall"),
    "receptive-field": _receptive_field,
    "seed": _setting("seed", "Mine was"),
    "stride": _stride,
    "temperature": _temperature,
    "train-validation-test": _split,
    "transfer-learning": _transfer,
    "weight-decay": _setting("weight_decay", "In my training it was"),
}


@cache
def _rows() -> list[dict[str, str]]:
    text = files("graft.chat").joinpath("terms.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))
