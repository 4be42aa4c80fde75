"""Answers about the network: its parameters, its layers, what it takes, its filters."""

from collections import Counter
from typing import Any

import numpy as np
from PIL import Image
from torch import nn

from graft.chat.answer import Answer, CannotAnswerError, answer, counted, joined, percent
from graft.chat.subject import Asked, Subject
from graft.models.openvino_body import named
from graft.report.numbers import whole

COUNTED = "I counted them in the network itself just now."
KINDS = {
    "Conv2d": ("convolution", "convolutions"),
    "Conv2dSame": ("convolution", "convolutions"),
    "Linear": ("linear layer", "linear layers"),
    "MaxPool2d": ("max pooling", "max poolings"),
    "AvgPool2d": ("average pooling", "average poolings"),
    "Attention": ("attention layer", "attention layers"),
}
SIDE = 240


def parameters(subject: Subject, asked: Asked) -> Answer:
    """How many parameters it has, where, and how many of them were trained."""
    classifier = subject.predictor.classifier
    encoder = sum(p.numel() for p in classifier.encoder.parameters())
    head = sum(p.numel() for p in classifier.head.parameters())
    trained = subject.run.model["parameters"]["trained"]
    size = sum(p.numel() * p.element_size() for p in classifier.parameters()) / 1e6
    evidence = {
        "total": encoder + head,
        "backbone": encoder,
        "head": head,
        "trained": trained,
        "megabytes": round(size, 1),
    }
    said = [
        f"I have {counted(encoder + head, 'parameter')}: {whole(encoder)} in the backbone and "
        f"{whole(head)} in the head.",
        f"{whole(trained)} of them were trained on your images; the others came pretrained."
        if trained < encoder + head
        else "All of them were trained on your images.",
        f"In memory they take {size:.1f} MB.",
    ]
    return answer(said, COUNTED, evidence)


def architecture(subject: Subject, asked: Asked) -> Answer:
    """Which network it is, and of which layers."""
    backbone, head = subject.run.model["backbone"], subject.run.model["head"]
    kinds = Counter(type(m).__name__ for m in subject.predictor.classifier.modules())
    found: Counter[str] = Counter()
    for name, count in kinds.items():
        if name in KINDS or name.startswith("BatchNorm") or "Attention" in name:
            found[name] += count
    layers: Counter[tuple[str, str]] = Counter()
    for name, count in found.items():
        layers[_kind(name)] += count
    evidence: dict[str, Any] = {
        "backbone": backbone["architecture"],
        "frozen": subject.run.model["frozen"],
        "layers": {kind[0]: count for kind, count in layers.items()},
        "head": head,
    }
    listing = [counted(count, *kind) for kind, count in layers.most_common()]
    hidden = f", {whole(head['hidden'])} hidden units" if head["hidden"] else ""
    said = [
        f"My backbone is {named(backbone)}"
        + ("; it is frozen, as it was pretrained." if subject.run.model["frozen"] else "."),
        f"In all I have {joined(listing)}.",
        f"The backbone turns an image into {counted(head['features'], 'feature')}; my head makes "
        f"{counted(head['classes'], 'probability', 'probabilities')} of them{hidden and ', over'}"
        f"{hidden.removeprefix(',')}.",
    ]
    return answer(said, COUNTED, evidence)


def input_size(subject: Subject, asked: Asked) -> Answer:
    """How large an image it sees, why, and what is done with an image first."""
    model = subject.run.model
    prepared, backbone = model["preprocess"], model["backbone"]
    height, width = prepared["height"], prepared["width"]
    values = height * width * 3
    evidence: dict[str, Any] = {
        "height": height,
        "width": width,
        "channels": 3,
        "values": values,
        "resize": prepared["resize"],
        "crop": prepared["crop"],
        "mean": prepared["mean"],
        "std": prepared["std"],
        "weights": backbone["source"],
    }
    chosen = (subject.run.config.get("settings") or {}).get("image_size") is not None
    scratch = backbone["source"] == "trained from scratch"
    reason = (
        "That size was chosen for the training."
        if chosen
        else "That is the usual size for a network trained from scratch here."
        if scratch
        else "My backbone's weights were made at that size, and patterns look right to it only "
        "near that."
    )
    said = [
        f"I see every image as {height} × {width} pixels of 3 colors: {whole(values)} numbers.",
        f"{reason} Larger images would cost more time, smaller ones lose detail.",
    ]
    if prepared["resize"] == "crop":
        said.append(
            f"I resize a photo and keep the middle {percent(prepared['crop'])} of its shorter "
            "side as a square, so the ends of a long image are cut off."
            if prepared["crop"] < 1
            else "I resize a photo and keep its middle square, so the ends of a long image are cut "
            "off."
        )
    else:
        said.append("I squeeze the whole photo into that shape, so nothing is cut off.")
    said.append("Then each color is shifted and scaled as in the training of my weights.")
    return answer(said, subject.kept_in("model.json"), evidence)


def show_filter(subject: Subject, asked: Asked) -> Answer:
    """The weights of one filter of the first convolution."""
    from graft.explanation.stage_maps import first_filters

    layer = first_convolution(subject)
    count, channels, tall, wide = layer.weight.shape
    number = asked.number or 1
    if not 1 <= number <= count:
        raise CannotAnswerError(
            f"My first convolution has filters 1 to {count}, so there is no filter {number}."
        )
    weights = layer.weight[number - 1].detach().float().numpy()
    rounded = np.round(weights, 3) + 0.0
    names = ("red", "green", "blue")
    strength = {name: float(np.abs(part).sum()) for name, part in zip(names, weights, strict=True)}
    lines = [
        f"{name}: " + "; ".join(" ".join(f"{v:.3f}" for v in row) for row in part)
        for name, part in zip(names, rounded, strict=True)
    ]
    total = channels * tall * wide
    evidence = {
        "filter": number,
        "filters": count,
        "size": [channels, tall, wide],
        "values": total,
        "weights": rounded.astype(float).round(3).tolist(),
        "strongest_color": max(strength, key=strength.__getitem__),
    }
    said = [
        f"Filter {number} of the {count} in my first convolution has {channels} × {tall} × {wide} "
        f"= {total} weights. Row by row, {'. '.join(lines)}.",
        f"Its weights for {evidence['strongest_color']} are the strongest.",
    ]
    image = Image.fromarray(first_filters(subject.predictor)[number - 1])
    shown = [(f"filter {number}; middle gray is 0", image.resize((SIDE, SIDE), 0))]
    return answer(said, "I read them from the network just now.", evidence, shown)


def first_convolution(subject: Subject) -> nn.Conv2d:
    """The first convolution over the three colors; CannotAnswerError where there is none."""
    for module in subject.predictor.classifier.encoder.modules():
        if isinstance(module, nn.Conv2d) and module.in_channels == 3:
            return module
    raise CannotAnswerError("My network has no convolution over colors, so it has no such filters.")


def _kind(name: str) -> tuple[str, str]:
    if name.startswith("BatchNorm"):
        return "batch normalization", "batch normalizations"
    return KINDS.get(name, KINDS["Attention"])
