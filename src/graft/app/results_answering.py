"""From which probability on each run of a project answers: chosen in step Results or Use it, kept
in the project, and what every step goes by.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from graft.app.json_routes import Record
from graft.app.project import Project
from graft.errors import UsageError
from graft.evaluation.selective import BUDGETS
from graft.runs.run import Run
from graft.utils.files import write_json

ALWAYS: Record = {"from": 0.0, "budget": None, "own": None}


def budgets_of(run: Run) -> list[Record]:
    """The error budgets: `budget` such as "2%", and the probability to answer `from`, None where
    the validation images do not show that so few answers would be wrong.
    """
    rows = (run.metrics.get("selective_prediction") or {}).get("error_budgets", [])
    found = {row["max_error"]: row["min_probability"] for row in rows}
    return [{"budget": f"{each:.0%}", "from": found.get(each)} for each in BUDGETS]


def promised_from(run: Run, budget: str) -> float:
    """The probability that a run answers from to keep a budget; UsageError for an unknown one, and
    for one that cannot be promised.
    """
    known = {each["budget"]: each["from"] for each in budgets_of(run)}
    if budget not in known:
        raise UsageError(f"budget is one of {', '.join(known)}, not {str(budget)[:40]!r}")
    if known[budget] is None:
        raise UsageError(
            f"at most {budget} wrong cannot be promised for run {run.name}: too few validation "
            "images show it; choose another one"
        )
    return float(known[budget])


def probability(query: Mapping[str, Any], name: str = "from") -> float:
    """A probability of a request, 0 where it is not given; UsageError for anything else."""
    try:
        found = float(query.get(name) or 0)
    except (TypeError, ValueError):
        found = -1.0
    if not 0 <= found <= 1:
        raise UsageError(f"{name} is a probability from 0 to 1, not {query.get(name)!r}")
    return found


def answering_of(project: Project, run: Run) -> Record:
    """What was chosen for a run: it answers `from` a probability, because of a `budget` or, where
    that is None, of a threshold set by hand; `own` is the last such threshold, None if there is
    none.
    """
    return _kept(project).get(_key(run), ALWAYS)


def choose_answering(project: Project, run: Run, body: Mapping[str, Any]) -> Record:
    """Keep what a request chooses, a `budget` or a probability `from`; what then holds."""
    with project.lock:
        before = answering_of(project, run)
        if body.get("budget"):
            least = promised_from(run, body["budget"])
            chosen = before | {"from": least, "budget": body["budget"]}
        else:
            least = probability(body)
            chosen = {"from": least, "budget": None, "own": least or before["own"]}
        if chosen != before:
            write_json(_file(project), _kept(project) | {_key(run): chosen})
            project.changed()
        return chosen


def _key(run: Run) -> str:
    """A run's name may be taken again by a later one."""
    return f"{run.name} {run.config.get('started', '')}".strip()


def _file(project: Project) -> Path:
    return project.home / "answering.json"


def _kept(project: Project) -> dict[str, Record]:
    try:
        found = json.loads(_file(project).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise UsageError(
            f"{_file(project)} is damaged ({error}); delete it, and set the thresholds again"
        ) from error
    return dict(found)
