"""Heat maps for the mistakes that a run's report shows."""

from collections.abc import Sequence

from graft.errors import DataError
from graft.explanation.heat_map import explain
from graft.inference.predictor import Predictor
from graft.runs.run import Run
from graft.utils.progress import Progress


def explain_mistakes(
    predictor: Predictor,
    run: Run,
    mistakes: Sequence[tuple[str, str, str]],
    method: str,
    progress: Progress,
) -> int:
    """Explain test images that were misclassified and write heat_maps.json into the run; return
    how many. Each mistake is a path of dataset.csv, the predicted class and the label: the map
    says what speaks for the one and not the other.

    Images that are gone are left out. Raises DataError if all of them are.
    """
    found = {}
    for path, predicted, label in mistakes:
        file = run.files.get(path)
        if file is None or not file.is_file():
            continue
        one = explain(predictor, file, label=predicted, against=label, method=method)
        found[path] = one.to_json() | {"path": path}
        progress.say(f"{path}: {one.sentence}")
    if mistakes and not found:
        raise DataError(
            f"{run.path}: expected the test images of its mistakes, all are gone from "
            f"{run.config.get('source')}; put them back"
        )
    run.write_heat_maps(found)
    return len(found)
