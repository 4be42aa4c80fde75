"""The routes: graft's own (v1), the Open Inference Protocol (v2), health, metrics and docs."""

import json
from collections.abc import Awaitable, Callable
from functools import partial, wraps
from importlib.metadata import version
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from graft.data.decode import UnusableImageError
from graft.inference.prediction import Prediction
from graft.serve import inference_protocol as v2
from graft.serve.api_page import api_page
from graft.serve.gate import Seen, error_body
from graft.serve.openapi import openapi
from graft.serve.problems import ClientGoneError, ProblemError
from graft.serve.served_runs import ServedRun
from graft.serve.service import Service
from graft.serve.uploads import Upload, parse

Endpoint = Callable[[Request], Awaitable[Response]]
CLIENT_GONE = 499  # nginx's number for it: in the log only, there is nobody to read it


def json_response(data: Any, status: int = 200) -> Response:
    """JSON as `graft predict --json` writes it."""
    text = json.dumps(data, ensure_ascii=False).encode("utf-8", "backslashreplace")
    return Response(text, status, media_type="application/json")


def application(service: Service) -> Starlette:
    """The routes of a service, without what the gate does."""
    names = None if service.key else list(service.runs.paths)
    described = openapi(names, version("graft"), service.limits, bool(service.key))
    handle = _Handlers(service)

    async def docs(request: Request) -> Response:
        page = api_page(described, str(request.base_url).rstrip("/"))
        return Response(page, media_type="text/html", headers=PAGE_HEADERS)

    async def document(request: Request) -> Response:
        return json_response(described)

    routes: list[tuple[str, str, Endpoint]] = [
        ("GET", "/healthz", handle.live),
        ("GET", "/readyz", handle.ready),
        ("GET", "/metrics", handle.metrics),
        ("GET", "/docs", docs),
        ("GET", "/openapi.json", document),
        ("GET", "/v1/models", handle.models),
        # Before the model itself: to whom a method is refused, they say which they take.
        ("POST", "/v1/models/{name}:predict", handle.predict),
        ("POST", "/v1/models/{name}:reload", handle.reload),
        ("GET", "/v1/models/{name}", handle.model),
        ("GET", "/v2", handle.v2_server),
        ("GET", "/v2/health/live", handle.v2_live),
        ("GET", "/v2/health/ready", handle.v2_ready),
    ]
    for prefix in ("/v2/models/{name}", "/v2/models/{name}/versions/{version}"):
        routes += [
            ("GET", prefix, handle.v2_model),
            ("GET", f"{prefix}/ready", handle.v2_model_ready),
            ("POST", f"{prefix}/infer", handle.v2_infer),
        ]
    return Starlette(
        routes=[Route(path, _named(path, work), methods=[verb]) for verb, path, work in routes],
        exception_handlers={
            ProblemError: _problem,
            HTTPException: _http_problem,
            Exception: _fault,
        },
    )


PAGE_HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
}


class _Handlers:
    """An endpoint a method."""

    def __init__(self, service: Service) -> None:
        self.service = service

    async def live(self, request: Request) -> Response:
        return json_response({"live": True})

    async def ready(self, request: Request) -> Response:
        ready = self.service.ready
        return json_response({"ready": ready}, 200 if ready else 503)

    async def metrics(self, request: Request) -> Response:
        text, kind = self.service.monitoring.page()
        return Response(text, headers={"content-type": kind})

    async def models(self, request: Request) -> Response:
        runs = self.service.runs.runs.values()
        return json_response({"models": [run.to_json() for run in runs]})

    async def model(self, request: Request) -> Response:
        if request.path_params["name"].endswith((":predict", ":reload")):
            raise HTTPException(405, headers={"allow": "POST"})
        return json_response(self._run(request).to_json())

    async def predict(self, request: Request) -> Response:
        run, limits = self._run(request), self.service.limits
        kind = request.headers.get("content-type", "")
        found, outcomes, _, size = await self.service.outcomes(
            run, request.receive, request.headers, lambda body: (parse(body, kind, limits), None)
        )
        self._note(request, run, outcomes, size)
        if found.several:
            rows = [_row(one, out) for one, out in zip(found.images, outcomes, strict=True)]
            return json_response({"predictions": rows})
        if isinstance(outcomes[0], UnusableImageError):
            raise _unusable(found.images[0].name or "the image", outcomes[0])
        return json_response(_row(found.images[0], outcomes[0]))

    async def reload(self, request: Request) -> Response:
        if self.service.key is None:
            raise ProblemError(
                403,
                "reloading over HTTP needs an API key: start with --api-key-file, or send SIGHUP",
                "forbidden",
            )
        run, changed = await self.service.reload(self._run(request).name)
        return json_response({"changed": changed, "model": run.to_json()})

    async def v2_server(self, request: Request) -> Response:
        return json_response(v2.server_metadata(version("graft")))

    async def v2_live(self, request: Request) -> Response:
        return json_response({"live": True})

    async def v2_ready(self, request: Request) -> Response:
        return await self.ready(request)

    async def v2_model(self, request: Request) -> Response:
        return json_response(v2.model_metadata(self._run(request)))

    async def v2_model_ready(self, request: Request) -> Response:
        return json_response({"name": self._run(request).name, "ready": True})

    async def v2_infer(self, request: Request) -> Response:
        run = self._run(request)
        read = partial(v2.read_infer, headers=request.headers, limits=self.service.limits)
        _, outcomes, asked, size = await self.service.outcomes(
            run, request.receive, request.headers, read
        )
        self._note(request, run, outcomes, size)
        for place, outcome in enumerate(outcomes):
            if isinstance(outcome, UnusableImageError):
                raise _unusable(f"image {place}", outcome)
        predictions = [one for one in outcomes if isinstance(one, Prediction)]
        body, headers = v2.written(run, asked, predictions)
        return Response(body, headers=headers)

    def _run(self, request: Request) -> ServedRun:
        run = self.service.run(request.path_params["name"])
        wanted = request.path_params.get("version", run.version)
        if wanted != run.version:
            raise ProblemError(
                404, f"that version is not served; {run.name} is {run.version}", "unknown_version"
            )
        seen: Seen = request.scope["graft.seen"]
        seen.model = run.name
        return run

    def _note(self, request: Request, run: ServedRun, outcomes: list[Any], size: int) -> None:
        seen: Seen = request.scope["graft.seen"]
        seen.images, seen.size = len(outcomes), size
        for outcome in outcomes:
            found = outcome if isinstance(outcome, Prediction) else None
            self.service.monitoring.predicted(run.name, found)


def _row(upload: Upload, outcome: Any) -> dict[str, Any]:
    if isinstance(outcome, Prediction):
        return outcome.to_json()
    return {"path": upload.name, "problem": str(outcome)}


def _unusable(name: str, problem: UnusableImageError) -> ProblemError:
    statuses = {"oversized": 413, "failed": 500}
    return ProblemError(statuses.get(problem.kind, 422), f"{name} {problem}", "unusable_image")


def _named(path: str, work: Endpoint) -> Endpoint:
    """The endpoint, which tells the log its route, and ends quietly where the client has gone."""

    @wraps(work)
    async def endpoint(request: Request) -> Response:
        request.scope["graft.seen"].route = path
        try:
            return await work(request)
        except ClientGoneError:
            return Response(status_code=CLIENT_GONE)

    return endpoint


async def _problem(request: Request, problem: Exception) -> Response:
    if not isinstance(problem, ProblemError):
        raise problem
    seen: Seen = request.scope["graft.seen"]
    seen.problem = problem
    return Response(
        error_body(problem.message, seen.id),
        problem.status,
        problem.headers,
        media_type="application/json",
    )


async def _fault(request: Request, error: Exception) -> Response:
    """A fault of graft; the gate logs it."""
    return Response(
        error_body("graft failed; see its log", request.scope["graft.seen"].id),
        500,
        media_type="application/json",
    )


async def _http_problem(request: Request, problem: Exception) -> Response:
    if not isinstance(problem, HTTPException):
        raise problem
    told = {404: "there is no such address; GET /docs describes them all"}
    # The header is "allow" from graft's own routes, and "Allow" from Starlette's.
    headers = {name.lower(): value for name, value in (problem.headers or {}).items()}
    allowed = headers.get("allow", "another method")
    told |= {405: f"this address takes {allowed}; GET /docs describes them all"}
    message = told.get(problem.status_code, problem.detail)
    return await _problem(request, ProblemError(problem.status_code, message, "invalid", headers))
