"""Heat maps for the mistakes that a run's report shows."""

from collections.abc import Sequence
from pathlib import Path

from graft.choices import EXPLANATIONS
from graft.errors import DataError, ModelError, UsageError
from graft.explanation.gradient_maps import gradient_map
from graft.explanation.heat_map import explain
from graft.explanation.network_input import network_input
from graft.inference.predictor import Predictor
from graft.inference.saved_model import load
from graft.runs.run import Record, Run
from graft.utils.progress import Progress

MISTAKES = 12  # of a report that get heat maps: the first ones it shows
# Of a test image that was misclassified: path as in dataset.csv, predicted class, label.
Misclassified = tuple[str, str, str]


def map_mistakes(run: Run, mistakes: Sequence[Misclassified]) -> None:
    """Write heat_maps.json for the first mistakes, by gradients alone: a twentieth of a second
    each, where the whole explanation of `explain_mistakes` takes a second.

    Images that are gone are left out. A network whose stages are not known gets no maps.
    """
    chosen = [(path, *names) for path, *names in mistakes[:MISTAKES] if _is_there(run, path)]
    if not chosen:
        return
    predictor = load(run.path)
    found: dict[str, Record] = {}
    for path, predicted, label in chosen:
        try:
            pixels = network_input(run.files[path], predictor)
            of, against = (predictor.classes.index(name) for name in (predicted, label))
            values = gradient_map(predictor, pixels, of, against)
        except (DataError, UsageError):  # changed since it was predicted
            continue
        except ModelError:
            return
        found[path] = {
            "path": path,
            "label": predicted,
            "against": label,
            "method": EXPLANATIONS[1],
            "map": [[round(value, 4) for value in row] for row in values.tolist()],
        }
    run.write_heat_maps(found)


def explain_mistakes(
    predictor: Predictor,
    run: Run,
    mistakes: Sequence[Misclassified],
    method: str,
    progress: Progress,
) -> int:
    """Explain test images that were misclassified and write heat_maps.json into the run; return
    how many. The maps say what speaks for the predicted class and not for the label.

    Images that are gone are left out. Raises DataError if all of them are.
    """
    found = {}
    for path, predicted, label in mistakes[:MISTAKES]:
        if not _is_there(run, path):
            continue
        one = explain(predictor, run.files[path], label=predicted, against=label, method=method)
        found[path] = one.to_json() | {"path": path}
        progress.say(f"{path}: {one.sentence}")
    if mistakes and not found:
        raise DataError(
            f"{run.path}: expected the test images of its mistakes, all are gone from "
            f"{run.config.get('source')}; put them back"
        )
    run.write_heat_maps(found)
    return len(found)


def _is_there(run: Run, path: str) -> bool:
    return run.files.get(path, Path()).is_file()
