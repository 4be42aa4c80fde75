"""Step 4, Results: the report, live. Cells of the confusion matrix open their images, and the
threshold from which the classifier answers can be moved; `graft.results` is what answers here.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from html import unescape
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from graft.app.json_routes import Record, asked, number, told
from graft.app.project import Project
from graft.app.results_answering import choose_answering, probability
from graft.app.results_runs import chosen_run, digests_of, listed_runs, results_of
from graft.errors import UsageError
from graft.report.glossary import words
from graft.report.run_sentences import against_baseline, headline
from graft.report.thumbnails import link
from graft.runs.run import Run

MOST_LISTED = 500
EXPLAINED = (
    "train-validation-test",
    "accuracy",
    "confidence-interval",
    "baseline",
    "confusion-matrix",
    "abstain",
    "error-budget",
    "out-of-distribution",
)
# As its own file has: styles and images within the page, and no script at all.
REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'self'"
)


def routes(project: Project) -> list[Route]:
    """The page and what it asks for."""
    return [
        Route("/results", _page),
        Route("/results/report", lambda request: _report(project, request)),
        asked("/api/results/runs", lambda query: listed_runs(project)),
        asked("/api/results/summary", lambda query: summary(chosen_run(project, query))),
        asked(
            "/api/results/threshold",
            lambda query: at_threshold(chosen_run(project, query), probability(query)),
        ),
        told(
            "/api/results/answering",
            lambda body: choose_answering(project, chosen_run(project, body), body),
        ),
        asked("/api/results/images", lambda query: _images(project, query)),
    ]


def summary(run: Run) -> Record:
    """What the page shows of a run before anything is moved: ready for JSON."""
    metrics = run.metrics
    selective = metrics.get("selective_prediction") or {}
    return {
        "run": run.name,
        "classes": run.classes,
        "headline": headline(metrics),
        # Where it is clearly better, the headline says enough.
        "baseline": "" if _is_clear(metrics) else against_baseline(metrics),
        "words": words(EXPLAINED),
        "accuracy": metrics["accuracy"],
        "n": metrics["n"],
        "confusion": metrics["confusion"],
        "error_budgets": selective.get("error_budgets", []),
        "abstained_ood": selective.get("abstained_ood"),
        "curve": _curve(run),
        "report": (run.path / "report.html").is_file(),
    }


def _is_clear(metrics: Record) -> bool:
    low = metrics["accuracy"]["low"]
    return bool(low > metrics["baseline"]["accuracy"]["high"])


def at_threshold(run: Run, min_probability: float) -> Record:
    """`Results.answering_from` of the test and of the validation images."""
    return {
        split: results_of(run, split).answering_from(min_probability) for split in ("test", "val")
    }


def _page(request: Request) -> Response:
    found: Response = request.app.state.pages.response("results")
    return found


@lru_cache(maxsize=4)
def _curve(run: Run) -> list[dict[str, Any]]:
    return results_of(run, "test").curve()


def _images(project: Project, query: Mapping[str, str]) -> Record:
    """Images of a cell, from `start` on, `count` at most."""
    run = chosen_run(project, query)
    found = results_of(run, "test").cell(
        query.get("label"),
        query.get("predicted"),
        min_probability=probability(query),
        abstained=query.get("abstained") == "yes",
    )
    start, count = number(query, "start", 0), min(number(query, "count", 100), MOST_LISTED)
    digests = digests_of(run)
    names = {image.sha256: image.path for image in project.images()}
    return {
        "total": len(found),
        "images": [
            {
                "id": each.path,
                "name": names.get(digests.get(each.path, ""), each.path),
                "sha256": digests.get(each.path, ""),
                "label": each.label,
                "label_probability": each.label_probability,
                "predicted": each.predicted,
                "probability": each.probability,
            }
            for each in found[start : start + count]
        ],
    }


def _report(project: Project, request: Request) -> Response:
    """The run's own report; its links to images lead to those that the app shows."""
    run = chosen_run(project, request.query_params)
    file = run.path / "report.html"
    if not file.is_file():
        raise UsageError(f"{run.name} has no report; graft train --resume writes it")
    digests = digests_of(run)
    places = {
        link(where, run.path): f"/image/{digests[path]}"
        for path, where in run.files.items()
        if digests.get(path)
    }

    def led(found: re.Match[str]) -> str:
        return f'href="{places.get(unescape(found[1]), found[1])}"'

    text = re.sub(r'href="([^"#][^"]*)"', led, file.read_text(encoding="utf-8"))
    headers = {"content-security-policy": REPORT_POLICY, "cache-control": "no-store"}
    return HTMLResponse(text, headers=headers)
