"""The report's section on the network: what becomes of an image, with the arithmetic."""

from collections.abc import Sequence
from dataclasses import dataclass

from graft.report.numbers import whole
from graft.runs.run import Record, Run


@dataclass(frozen=True)
class Step:
    """One step from image to probabilities: the slug and text of its term, what it does, what it
    gives, and how many parameters that takes; "" where it has none.
    """

    term: str
    name: str
    does: str
    gives: str
    parameters: str = ""


def steps(model: Record, classes: Sequence[str]) -> list[Step]:
    """The steps of a run's classifier, from its model.json; none for one without that record."""
    backbone, head = model.get("backbone") or {}, model.get("head") or {}
    preprocess = model.get("preprocess") or {}
    if not {"features", "classes"} <= set(head) or "height" not in preprocess:
        return []
    found = [_image(preprocess), _backbone(backbone, head, bool(model.get("frozen")))]
    features, count, hidden = head["features"], head["classes"], head.get("hidden", 0)
    if hidden:
        does = f"adds up {whole(features)} weighted features {whole(hidden)} times, then ReLU"
        gives = f"{whole(hidden)} numbers"
        found.append(Step("head", "Hidden layer", does, gives, _linear(features, hidden)))
        features = hidden
    does = f"weighs these {whole(features)} numbers for each class and adds them up"
    gives = f"{whole(count)} scores"
    found.append(Step("head", "Output layer", does, gives, _linear(features, count)))
    temperature = model.get("temperature", 1.0)
    does = f"divides the scores by the temperature, {temperature:.3g}, and makes them probabilities"
    some = ", ".join(classes[:3]) + (", …" if len(classes) > 3 else "")
    found.append(Step("softmax", "Softmax", does, f"{whole(count)} probabilities: {some}"))
    return found


def _image(preprocess: Record) -> Step:
    height, width = preprocess["height"], preprocess["width"]
    how = "shrunk whole" if preprocess.get("resize") == "squash" else "resized, its middle kept"
    numbers = f"{height} × {width} × 3 = {whole(height * width * 3)} numbers"
    return Step("image-size", "Image", f"{how}: red, green and blue for each pixel", numbers)


def _backbone(backbone: Record, head: Record, frozen: bool) -> Step:
    name = backbone.get("architecture") or backbone.get("name") or "network"
    does = f"layer by layer from edges to parts of objects, by {name}"
    if backbone.get("taps"):
        does += "; of each stage the mean, root mean square and maximum of every channel"
    trained = "not trained here" if frozen else "trained here, all or the last of them"
    count = backbone.get("parameters")
    parameters = f"{whole(count)} parameters, {trained}" if count else ""
    return Step("backbone", "Backbone", does, f"{whole(head['features'])} features", parameters)


def _linear(before: int, after: int) -> str:
    weights = f"{whole(before)} × {whole(after)} weights + {whole(after)} biases"
    return f"{weights} = {whole(before * after + after)}"


def from_scratch(model: Record) -> bool:
    """Whether the whole network learned from the run's own images alone."""
    return (model.get("backbone") or {}).get("source") == "trained from scratch"


def command_name(run: Run) -> str:
    """The run as one would name it to a command: its path, but none that tells of the machine."""
    return run.name if run.path.is_absolute() else str(run.path)
