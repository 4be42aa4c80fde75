"""Predictors from files: a run's, saved and loaded again, and pretrained networks as they come."""

from collections.abc import Sequence
from pathlib import Path

from graft.choices import DEFAULT_MODEL, OPEN_CLIP, ZERO_SHOT_MODEL
from graft.errors import UsageError
from graft.features.backends import backend_of
from graft.inference.predictor import Predictor
from graft.models.head import Head
from graft.models.image_text import zero_shot_weights
from graft.models.stored_model import read_model
from graft.models.weights import find_backbone, find_classifier
from graft.runs.run import Run
from graft.utils.cache_folder import cache_folder


def save(predictor: Predictor, run: Run, trained: int) -> None:
    """Write the predictor's weights and model.json to a run.

    `trained` is the number of parameters that were trained.
    """
    from graft.runs.schema_model import FORMAT  # pydantic takes a while to import

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
    """Read the predictor of a run folder, which may then be moved or deleted: the predictor holds
    the weights. (The nearest training images alone are read when they are first asked for.)

    The files are checked before they are believed (graft.models.stored_model): nothing is fetched,
    no file outside the run is opened, and sizes are known before memory is taken.

    Raises ModelError, one line that names the file and the field, when the folder holds no model,
    one that this graft cannot read, or one that was damaged or changed.
    """
    stored = read_model(Path(run))
    described = stored.described
    return Predictor(
        stored.backbone,
        stored.head,
        tuple(described["classes"]),
        backend_of(stored.backbone, backend),
        float(described["temperature"]),
        bool(described["frozen"]),
        stored.detector,
        Path(run),
    )


def zero_shot(
    labels: Sequence[str], model: str = ZERO_SHOT_MODEL, backend: str = "auto"
) -> Predictor:
    """A classifier of these labels without any training: a network that was trained on images and
    their captions compares an image with what each label says.

    `model` is `open-clip:` with a folder in open_clip's form or with a repository of the model
    hub, which is fetched once. The probabilities are not calibrated for your images.

    Raises UsageError for fewer than two labels or one given twice, and for a model without a text
    tower; ModelError for a model that is not here and cannot be fetched.
    """
    names = [label.strip() for label in labels if label.strip()]
    if len(names) < 2 or len(set(names)) < len(names):
        raise UsageError(f"expected two or more different labels, not {', '.join(names) or 'none'}")
    if not model.startswith(OPEN_CLIP):
        raise UsageError(
            f"{model} has no text tower to read labels with; give --model {OPEN_CLIP}FOLDER or "
            f"{OPEN_CLIP}OWNER/REPOSITORY, such as {ZERO_SHOT_MODEL}"
        )
    backbone = find_backbone(model, cache_folder())
    head = Head(backbone.features, len(names), 0, 0.0, 0.0)
    head.begin_at(zero_shot_weights(model, names))
    return Predictor(backbone, head.eval(), tuple(names), backend_of(backbone, backend))


def pretrained(name: str = DEFAULT_MODEL, backend: str = "auto") -> Predictor:
    """A pretrained network with the classes that it was trained for, such as ImageNet's 1,000.

    `name` as for train, but no run. Raises ModelError for a network that is not on this machine
    and cannot be fetched, or whose classes have no known names.
    """
    backbone, head, classes = find_classifier(name, cache_folder())
    return Predictor(backbone, head, tuple(classes), backend_of(backbone, backend))
