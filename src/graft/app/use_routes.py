"""Step 6, Use it: exports, a server, and the lines that do all this without the app."""

from collections.abc import Iterator, Mapping
from typing import IO, Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from graft.app import json_routes
from graft.app.json_routes import Record, asked, told
from graft.app.project import Project
from graft.app.results_answering import budgets_of, probability, promised_from
from graft.app.results_runs import chosen_run
from graft.app.use_downloads import as_notebook, as_script, as_zip
from graft.app.use_exports import Exports
from graft.app.use_serving import Serving
from graft.errors import UsageError
from graft.runs.repeat_lines import RepeatLine, repeat_lines
from graft.runs.run import Run

CHUNK = 2**18
KINDS = {
    "notebook": ("ipynb", "application/x-ipynb+json", as_notebook),
    "script": ("sh", "text/x-shellscript", as_script),
}
Query = Mapping[str, Any]


def routes(project: Project) -> list[Route]:
    """The page and what it asks for."""
    exports, serving = Exports(project), Serving(project)

    def export(body: Record) -> Record:
        return exports.start(chosen_run(project, body), json_routes.text(body, "to"))

    def serve(body: Record) -> Record:
        run = chosen_run(project, body)
        return serving.start(run, budget(run, body))

    def stop_export(body: Record) -> Record:
        exports.stop()
        return {}

    return [
        Route("/use", _page),
        asked("/api/use/lines", lambda query: _lines(project, query)),
        asked(
            "/api/use/state",
            lambda query: {
                "exports": exports.states(chosen_run(project, query)),
                "busy": exports.busy,
                "serving": serving.state(),
            },
        ),
        told("/api/use/export", export),
        told("/api/use/stop-export", stop_export),
        told("/api/use/serve", serve),
        told("/api/use/stop-serving", lambda body: serving.stop()),
        Route("/use/lines/{kind}", lambda request: _file(project, request)),
        Route("/use/export/{to}", lambda request: _zip(project, exports, request)),
    ]


def budget(run: Run, values: Query) -> str | None:
    """The error budget of a request, as "2%"; None for none. UsageError as `promised_from`."""
    found = values.get("budget") or None
    if found is not None:
        promised_from(run, found)
    return found


def _page(request: Request) -> Response:
    found: Response = request.app.state.pages.response("use")
    return found


def _of_run(project: Project, query: Query) -> list[RepeatLine]:
    run = chosen_run(project, query)
    most = budget(run, query)
    least = 0.0 if most else probability(query)
    return repeat_lines(run.path, max_error=most, min_probability=least)


def _lines(project: Project, query: Query) -> Record:
    found = _of_run(project, query)
    return {
        "lines": [
            {"step": line.step, "command": line.command, "python": line.python} for line in found
        ],
        "budgets": budgets_of(chosen_run(project, query)),
    }


def _file(project: Project, request: Request) -> Response:
    """The lines as a file to keep."""
    kind = request.path_params["kind"]
    if kind not in KINDS:
        raise UsageError(f"expected one of {', '.join(KINDS)}, not {kind[:40]!r}")
    ending, media, made = KINDS[kind]
    name = f"{chosen_run(project, request.query_params).name}.{ending}"
    text = made(_of_run(project, request.query_params))
    return Response(text, headers=_attached(name), media_type=media)


def _zip(project: Project, exports: Exports, request: Request) -> Response:
    folder = exports.folder_of(chosen_run(project, request.query_params), request.path_params["to"])
    packed = as_zip(folder)
    headers = _attached(f"{folder.name}.zip")
    return StreamingResponse(_pieces(packed), headers=headers, media_type="application/zip")


def _pieces(packed: IO[bytes]) -> Iterator[bytes]:
    with packed:
        while piece := packed.read(CHUNK):
            yield piece


def _attached(name: str) -> dict[str, str]:
    return {"content-disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}"}
