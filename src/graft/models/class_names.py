"""The classifier that a pretrained network comes with, and the names of its classes."""

from collections import Counter
from typing import Any

from torch import nn

from graft.errors import ModelError
from graft.models.head import Head
from graft.models.openvino_body import OpenVinoBody


def classifier_of(body: Any, name: str) -> tuple[list[str], Head]:
    """The names of the classes that a network was trained for, and its classifier as a head.

    Raises ModelError for classes whose names are not known, and for another kind of classifier.
    """
    if isinstance(body, OpenVinoBody):
        raise ModelError(f"{name}: the names of its classes are not known; train a head on it")
    layer = body.get_classifier()
    if not isinstance(layer, nn.Linear):
        raise ModelError(
            f"{name}: expected a network with a linear classifier, it has "
            f"{type(layer).__name__}; choose another model (graft models)"
        )
    head = Head(layer.in_features, layer.out_features, 0, 0.0, 0.0)
    own: Any = head.layers[-1]
    own.weight, own.bias = layer.weight, layer.bias
    return _class_names(body, name), head


def _class_names(body: Any, name: str) -> list[str]:
    from timm.data.imagenet_info import ImageNetInfo, infer_imagenet_subset

    named = body.pretrained_cfg.get("label_names")
    if named and len(named) == body.num_classes:
        return [str(each) for each in named]
    subset = infer_imagenet_subset(body)
    if subset is None:
        raise ModelError(
            f"{name}: the names of its {body.num_classes:,} classes are not known; choose a model "
            "that was trained on ImageNet (graft models)"
        )
    info = ImageNetInfo(subset)
    indices = range(body.num_classes)
    names = [info.index_to_description(i).split(",")[0] for i in indices]
    # Two of ImageNet's classes are called crane: one is a bird.
    twice = {each for each, count in Counter(names).items() if count > 1}
    return [
        f"{each} ({info.index_to_label_name(i)})" if each in twice else each
        for i, each in zip(indices, names, strict=True)
    ]
