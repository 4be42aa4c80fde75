"""What `summary` summarizes: a network by name, a run, or a module of one's own, ready to run."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from graft.data.decode import Preprocess, resized_shorter_side
from graft.errors import ModelError, UsageError
from graft.inference.predictor import Predictor
from graft.inference.saved_model import load
from graft.models.adapters import adapted_layers
from graft.models.backbone import did_you_mean, scratch
from graft.models.classifier import Classifier
from graft.models.encoder import Encoder
from graft.models.network_file import FILE
from graft.models.openvino_body import OpenVinoBody
from graft.models.scratch_cnns import SCRATCH
from graft.models.sequence import POSITIONS
from graft.models.split_point import SplitPoint, find_split_point, order_of
from graft.models.weights import LOCAL, find_backbone, preprocess_of
from graft.runs.folder import model_files
from graft.runs.run import Run
from graft.utils.cache_folder import cache_folder

BODY = "encoder.body."


@dataclass
class Subject:
    """A network to run once. `image` is its input for one image, `run` makes the output of it.

    `trained` are the parameters that training changes, None for what `requires_grad` says. `steps`
    say what becomes of an image before, `notes` what the totals do not.
    """

    title: str
    network: nn.Module
    image: Tensor
    run: Callable[[Tensor], Any]
    image_size: tuple[int, int]
    channels_last: bool = False
    rename: Callable[[str], str] = str
    trained: list[nn.Parameter] | None = None
    optimizer: str = "adamw"
    steps: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def subject_of(model: Any, image_size: int | tuple[int, int] | None) -> Subject:
    """A name, a run folder, a Predictor or a module, as `summary` takes it; raises as that."""
    if image_size is not None and min(_pair(image_size)) < 1:
        raise UsageError(f"image_size is a number of pixels, at least 1, not {image_size}")
    if isinstance(model, Predictor):
        return _of_predictor(model, image_size)
    if isinstance(model, nn.Module):
        return _of_module(model, image_size)
    if isinstance(model, str | Path):
        if model_files(Path(model)) or Path(model).is_dir():
            return _of_predictor(load(model), image_size)
        return _of_name(str(model), image_size)
    raise UsageError(
        "expected the name of a network, a run folder, a Predictor or a torch.nn.Module, got "
        f"{type(model).__name__}"
    )


def _of_module(network: nn.Module, size: int | tuple[int, int] | None) -> Subject:
    if size is None:
        raise UsageError(
            "a network of your own needs image_size: graft.summary(network, image_size=32)"
        )
    first = next((m for m in network.modules() if isinstance(m, nn.Conv2d)), None)
    rows, columns = _pair(size)
    image = torch.rand(1, first.in_channels if first else 3, rows, columns)
    return Subject(type(network).__name__, network, image, network, (rows, columns))


def _of_name(name: str, size: int | tuple[int, int] | None) -> Subject:
    own = "trained from your images" if name in SCRATCH else "its weights are not needed here"
    if name in SCRATCH:
        body: Any = SCRATCH[name]()
        preprocess = scratch(name).preprocess
    elif name.startswith(FILE):
        raise UsageError(
            f"{name}: a network from a file is one OpenVINO graph, and summary lists layers of "
            "PyTorch; of a run that was trained on it, it lists the head: graft summary RUN"
        )
    elif name.startswith(LOCAL):
        found = find_backbone(name, cache_folder())
        body, preprocess = found.build().body, found.preprocess
    else:
        body, preprocess = _of_timm(name)
    rows, columns = _pair(size or (preprocess.height, preprocess.width))
    return Subject(
        title=f"{name}, without a classifier",
        network=body,
        image=torch.rand(1, 3, rows, columns),
        run=lambda x: body.forward_head(body.forward_features(x), pre_logits=True),
        image_size=(rows, columns),
        steps=described(preprocess, rows, columns),
        notes=[f"{own}; a run adds a head for your classes"],
    )


class _Uninitialized(TorchFunctionMode):
    """Drawing random weights takes seconds for a large network, and nobody looks at them here."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in ("uniform_", "normal_", "erfinv_"):
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


def _of_timm(name: str) -> tuple[Any, Preprocess]:
    import timm

    architecture = name.split(".")[0]
    if architecture not in timm.list_models():
        raise ModelError(
            f"no model {name!r}: expected base_cnn, deep_cnn, a timm name (graft models), "
            "local-dir:FOLDER, torchvision:NAME, file:FILE or a run folder"
            f"{did_you_mean(architecture)}"
        )
    try:
        with _Uninitialized():
            body: Any = timm.create_model(name, pretrained=False, num_classes=0)
    except (RuntimeError, ValueError, TypeError) as error:
        raise ModelError(f"{name}: cannot be built: {str(error).splitlines()[0]}") from error
    return body, preprocess_of(body, name)


def _of_predictor(predictor: Predictor, size: int | tuple[int, int] | None) -> Subject:
    backbone = predictor.backbone
    encoder = backbone.build()
    encoder.mirrored = False
    network = Classifier(encoder, predictor.head, predictor.temperature).eval()
    preprocess = backbone.preprocess
    rows, columns = _pair(size or (preprocess.height, preprocess.width))
    settings = Run(predictor.run).config.get("resolved", {}) if predictor.run else {}
    named = f"{Run(predictor.run).name}: " if predictor.run else ""
    notes = []
    if backbone.mirrored:
        notes.append(
            "each image is predicted together with its mirror image: twice the multiply-adds"
        )
    if isinstance(encoder.body, OpenVinoBody):
        notes.append(
            f"the backbone is one OpenVINO graph of {backbone.parameters:,} parameters, which are "
            "not counted here, as its layers are not"
        )
    unfreeze = settings.get("unfreeze", "none")
    trained = list(predictor.head.parameters())
    if not predictor.frozen and unfreeze == "none":  # from scratch
        trained += [p for p in encoder.parameters() if p.requires_grad]
    elif not predictor.frozen:
        cut = find_split_point(encoder, unfreeze)
        notes.append(f"trained with --unfreeze {unfreeze}: {cut.described()}")
        trained += _adapted(encoder) if unfreeze == "lora" else _after(encoder, cut)
    else:
        notes.append("trained with a frozen backbone: its parameters stayed as they were")
    return Subject(
        title=f"{named}{backbone.name}, {len(predictor.classes):,} classes",
        network=network,
        image=torch.randint(0, 256, (1, rows, columns, 3), dtype=torch.uint8),
        run=network,
        image_size=(rows, columns),
        channels_last=True,
        rename=lambda name: name.removeprefix(BODY),
        trained=trained,
        optimizer=settings.get("optimizer", "adamw"),
        steps=described(preprocess, rows, columns),
        notes=notes,
    )


def _after(encoder: Encoder, cut: SplitPoint) -> list[nn.Parameter]:
    """The parameters of all that runs from a split point on, normalization included."""
    order = order_of(encoder)
    names = order[order.index(cut.unit) :] if cut.unit else order or cut.blocks
    modules = [encoder.body.get_submodule(name) for name in names if name != POSITIONS]
    own = [] if cut.unit else list(encoder.body.parameters(recurse=False))
    return own + [p for module in modules for p in module.parameters() if p.requires_grad]


def _adapted(encoder: Encoder) -> list[nn.Parameter]:
    """The weights that adapters were added to."""
    layers = [encoder.body.get_submodule(name) for name in adapted_layers(encoder)]
    return [layer.get_parameter("weight") for layer in layers]


def described(preprocess: Preprocess, rows: int, columns: int) -> list[str]:
    """What becomes of an image before the network, in words."""
    shape = f"{rows} × {columns}"
    if preprocess.resize == "squash":
        resize = f"resized to {shape} pixels, whatever its shape ({preprocess.interpolation})"
    elif preprocess.crop == 1:
        resize = (
            f"resized so that its shorter side has {max(rows, columns)} pixels "
            f"({preprocess.interpolation}), and its middle {shape} cropped"
        )
    else:
        side = resized_shorter_side(preprocess)
        if (rows, columns) != (preprocess.height, preprocess.width):
            side = int(max(rows, columns) / preprocess.crop)
        resize = (
            f"resized so that its shorter side has {side} pixels ({preprocess.interpolation}), "
            f"and its middle {shape} cropped"
        )
    mean, std = (", ".join(f"{v:g}" for v in each) for each in (preprocess.mean, preprocess.std))
    return [
        resize,
        f"each channel, scaled to 0..1, minus its mean ({mean}), divided by its standard deviation "
        f"({std})",
    ]


def _pair(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size
