"""A run's model, read whole: what model.json says, held against its schema, timm and the weights.

Sizes come first: the network that model.json names is built without memory, on PyTorch's meta
device, and model.safetensors has to hold just its tensors. Only then weights are read. Nothing is
fetched, and no file is opened but the run's own.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from graft.errors import DataError, ModelError
from graft.models.backbone import Backbone, first_line, new_body
from graft.models.head import Head
from graft.models.ood import OODDetector
from graft.models.openvino_body import OpenVinoBody
from graft.runs.digest_file import NAME as DIGESTS
from graft.runs.digest_file import changed, read_digests
from graft.runs.folder import table_file
from graft.runs.reading import check_tensors, open_tensors, read_json, read_tensors
from graft.runs.tables import read_classes

Shapes = dict[str, tuple[bool, tuple[int, ...]]]


class _Unset(TorchFunctionMode):
    """Leaves tensors of the meta device as they are where code sets their values, as that of
    initial weights does: they have none, and PyTorch would import its compiler to find that out.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        name = getattr(func, "__name__", "")
        sets = name.endswith("_") and not name.endswith("__") and name != "requires_grad_"
        if sets and args and isinstance(args[0], Tensor) and args[0].is_meta:
            return args[0]
        return func(*args, **(kwargs or {}))


@dataclass(frozen=True)
class StoredModel:
    """What a run's model.json and model.safetensors hold. The backbone holds its weights, so the
    folder may go. `described` is model.json.
    """

    backbone: Backbone
    head: Head
    detector: OODDetector | None
    described: dict[str, Any]


def read_model(run: Path) -> StoredModel:
    """Read and check the model of a run folder.

    Raises ModelError, one line that names the file and the field, for a folder without a model,
    one of a newer graft, and whatever is off in one of its files.
    """
    from graft.runs.schema_model import FORMAT, check_model, newer_format

    try:
        stored = read_json(run / "model.json")
        if newer := newer_format(stored):
            raise ModelError(
                f"{run}: made by a newer graft (model format {newer}, this one reads up to "
                f"{FORMAT}); upgrade graft"
            )
        check_model(stored)
        expected = _expected(stored, *_shapes(stored))
        weights = run / "model.safetensors"
        with open_tensors(weights) as (found, opened):
            check_tensors(found, expected, weights.name)
            state = read_tensors(opened, found, weights.name)
        model = _parts(stored, state, weights)
        _check_agreement(run, stored["classes"])
        if read_digests(run) is None:  # not as graft wrote it, for all that is known: try it
            model.backbone.build()
    except FileNotFoundError as error:
        raise ModelError(
            f"{run}: expected a run folder with model.json and model.safetensors (made by graft "
            f"train), {Path(error.filename).name} is not there"
        ) from error
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{run}: the model files are damaged: {error}; copy them again, or train the run again"
        ) from error
    return model


def _shapes(stored: Mapping[str, Any]) -> tuple[nn.Module, Head]:
    """The body and the head without memory: their parameters have shapes and no values."""
    backbone = stored["backbone"]
    with torch.device("meta"), _Unset():
        head = Head(**stored["head"])
        try:
            body = new_body(backbone["architecture"], backbone["arguments"])
        except ModelError as error:
            raise ValueError(f"model.json: backbone.architecture: {error}") from error
        # Networks refuse arguments in as many ways as there are networks.
        except Exception as error:
            raise ValueError(
                f"model.json: backbone.arguments: timm makes no {backbone['architecture']} of "
                f"them: {first_line(error)}"
            ) from error
    return body, head


def _expected(stored: Mapping[str, Any], body: nn.Module, head: nn.Module) -> Shapes:
    own = {f"encoder.{name}": value for name, value in body.state_dict().items()}
    own |= {f"head.{name}": value for name, value in head.state_dict().items()}
    expected: Shapes = {n: (v.is_floating_point(), tuple(v.shape)) for n, v in own.items()}
    if isinstance(body, OpenVinoBody):  # a graph may have any length
        expected |= {f"encoder.{name}": (False, (-1,)) for name in body.state_dict()}
    if stored.get("ood_limit") is not None:
        features = stored["head"]["features"]
        expected |= {f"ood.{name}": (True, (features,)) for name in ("mean", "std")}
        expected["ood.directions"] = (True, (features, -1))  # as many as there were images for
    return expected


def _parts(stored: dict[str, Any], state: dict[str, Tensor], weights: Path) -> StoredModel:
    head = Head(**stored["head"])
    head.load_state_dict(_below("head.", state))
    detector = None
    if (limit := stored.get("ood_limit")) is not None:
        kept = {name: value.float() for name, value in _below("ood.", state).items()}
        detector = OODDetector(**kept, limit=float(limit))
    stds = {"head.std": head.get_buffer("std")} | ({"ood.std": detector.std} if detector else {})
    for name, std in stds.items():
        if not (std > 0).all():
            raise ValueError(f"{weights.name}: {name} holds a number that is not above 0")
    held = _below("encoder.", state)
    return StoredModel(
        Backbone.from_json(stored["backbone"], weights, held), head.eval(), detector, stored
    )


def _check_agreement(run: Path, classes: list[str]) -> None:
    """Raise ValueError where the order of the classes is not that of the run's predictions, or the
    model's files are not those that graft wrote.
    """
    table = table_file(run, "predictions.csv")
    try:
        predicted = read_classes(table) if table.exists() else classes
    except DataError as error:
        raise ValueError(str(error).removeprefix(f"{run}/")) from error
    if predicted != classes:
        first = next(
            (i for i, pair in enumerate(zip(predicted, classes, strict=False)) if len({*pair}) > 1),
            min(len(predicted), len(classes)),
        )
        raise ValueError(
            f"model.json: classes: number {first + 1} is not that of {table.name}, which has "
            f"the order of the model's outputs"
        )
    if other := changed(run, ("model.json", "model.safetensors")):
        raise ValueError(
            f"{' and '.join(other)} changed after the run was finished ({DIGESTS}); if you changed "
            f"it yourself, delete {DIGESTS}"
        )


def _below(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
