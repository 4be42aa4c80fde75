"""The table of `graft predict --csv`: a row an image, for spreadsheets and pandas."""

import json
from collections.abc import Sequence
from pathlib import Path

from graft.errors import UsageError
from graft.inference.prediction import Prediction
from graft.utils.csv_table import write_table

# Then a column "p: CLASS" for each class.
COLUMNS = ("path", "label", "best_guess", "probability", "reason", "prediction_set", "ood_score")
PROBLEM, PREFIX = "problem", "p: "


def check_csv(file: Path) -> None:
    """Raise UsageError unless `file` may be written: a new .csv, or one that this module wrote."""
    if file.suffix.lower() != ".csv":
        raise UsageError(f"--csv takes the name of a .csv file to write, not {str(file)!r}")
    if not file.exists() and not file.is_symlink():
        return
    first = ",".join([*COLUMNS, PROBLEM]).encode()
    if file.is_file():
        with file.open("rb") as stream:
            if stream.read(len(first)) == first:
                return
    raise UsageError(
        f"{file} is there already and was not written by graft predict, so it is left as it is; "
        "choose another name"
    )


def write_csv(
    file: Path, answers: Sequence[Prediction], failed: Sequence[tuple[str, str]] = ()
) -> None:
    """Write a row for each prediction, then one for each file without, with the problem.

    `label` is empty where the policy abstains, with the `reason`; `prediction_set` is a JSON list,
    or empty where none was asked for. All or nothing; UsageError as in `check_csv`.
    """
    check_csv(file)
    classes = list(answers[0].probabilities) if answers else []
    rows: list[list[object]] = []
    for answer in answers:
        stored = answer.to_json()
        chosen = stored["prediction_set"]
        stored["prediction_set"] = None if chosen is None else json.dumps(chosen)
        rows.append(
            [
                *(stored[name] for name in COLUMNS),
                "",
                *(f"{answer.probabilities[name]:.9g}" for name in classes),
            ]
        )
    empty = [""] * (len(COLUMNS) - 1)
    rows += [[path, *empty, problem, *("" for _ in classes)] for path, problem in failed]
    write_table(file, [*COLUMNS, PROBLEM, *(PREFIX + name for name in classes)], rows)
