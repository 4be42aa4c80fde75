"""Predictors from files: a run's, saved and loaded again, and pretrained networks as they come."""

from pathlib import Path

from safetensors import SafetensorError
from torch import Tensor

from graft.choices import DEFAULT_MODEL
from graft.errors import ModelError
from graft.features.backends import LazyBackend
from graft.inference.predictor import Predictor
from graft.models.backbone import Backbone
from graft.models.head import Head
from graft.models.ood import OODDetector
from graft.models.weights import find_classifier
from graft.runs.run import Run
from graft.utils.cache_folder import cache_folder

FORMAT = 1


def save(predictor: Predictor, run: Run, trained: int) -> None:
    """Write the predictor's weights and model.json to a run.

    `trained` is the number of parameters that were trained.
    """
    head, detector = predictor.head, predictor.ood_detector
    state = {f"encoder.{key}": value for key, value in predictor.backbone.state().items()}
    state |= {f"head.{key}": value for key, value in head.state_dict().items()}
    if detector:
        state |= {f"ood.{key}": value for key, value in detector.tensors().items()}
    total = predictor.backbone.parameters + sum(p.numel() for p in head.parameters())
    run.write_model(
        state,
        {
            "format": FORMAT,
            "backbone": predictor.backbone.to_json(),
            "head": head.shape,
            "classes": list(predictor.classes),
            "preprocess": predictor.backbone.preprocess.to_json(),
            "temperature": predictor.temperature,
            "ood_limit": detector.limit if detector else None,
            "frozen": predictor.frozen,
            "parameters": {"total": total, "trained": trained},
        },
    )


def load(run: str | Path, backend: str = "auto") -> Predictor:
    """Read the predictor of a run folder.

    Raises ModelError when the folder holds no model, or one that this graft cannot read.
    """
    found = Run(run)
    try:
        stored = found.model
        if stored["format"] > FORMAT:
            raise ModelError(
                f"{run}: made by a newer graft (model format {stored['format']}, this one reads "
                f"up to {FORMAT}); upgrade graft"
            )
        weights, state = found.weights, found.state()
        head = Head(**stored["head"])
        head.load_state_dict(_below("head.", state))
        return Predictor(
            Backbone.from_json(stored["backbone"], weights),
            head.eval(),
            tuple(stored["classes"]),
            LazyBackend(Backbone.from_json(stored["backbone"], weights).build, backend),
            float(stored["temperature"]),
            bool(stored["frozen"]),
            _detector(state, stored.get("ood_limit")),
            found.path,
        )
    except FileNotFoundError as error:
        raise ModelError(
            f"{run}: expected a run folder with model.json and model.safetensors (made by graft "
            f"train), {Path(error.filename).name} is not there"
        ) from error
    except (KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise ModelError(
            f"{run}: the model files are damaged: {error}; copy them again, or train the run again"
        ) from error


def pretrained(name: str = DEFAULT_MODEL, backend: str = "auto") -> Predictor:
    """A pretrained network with the classes that it was trained for, such as ImageNet's 1,000.

    `name` as for train, but no run. Raises ModelError for a network that is not on this machine
    and cannot be fetched, or whose classes have no known names.
    """
    backbone, head, classes = find_classifier(name, cache_folder())
    return Predictor(backbone, head, tuple(classes), LazyBackend(backbone.build, backend))


def _detector(state: dict[str, Tensor], limit: float | None) -> OODDetector | None:
    if limit is None:
        return None
    kept = _below("ood.", state)
    mean, std, directions = (kept[name].float() for name in ("mean", "std", "directions"))
    return OODDetector(mean, std, directions, float(limit))


def _below(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
