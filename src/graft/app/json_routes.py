"""Routes that take and give JSON: what a step does is a plain function, which runs in a thread."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from graft.errors import UsageError

LONGEST = 16 * 2**20  # bytes of a request: the paths of 100,000 images

Record = dict[str, Any]


def asked(path: str, answer: Callable[[Mapping[str, str]], Record]) -> Route:
    """GET: `answer` gets the query's values by name."""

    def endpoint(request: Request) -> Response:
        values = dict(request.query_params) | request.path_params
        return JSONResponse(answer(values), headers={"cache-control": "no-store"})

    return Route(path, endpoint, methods=["GET"])


def told(path: str, act: Callable[[Record], Record]) -> Route:
    """POST: `act` gets the object that was sent."""

    async def endpoint(request: Request) -> Response:
        body = bytearray()
        async for some in request.stream():
            body += some
            if len(body) > LONGEST:
                return JSONResponse({"error": "the request is too long"}, 413)
        try:
            value = json.loads(body or b"{}")
        except ValueError:
            value = None
        plain = request.headers.get("content-type", "").partition(";")[0]
        if plain != "application/json" or not isinstance(value, dict):
            return JSONResponse({"error": "expected a JSON object"}, 400)
        return JSONResponse(await run_in_threadpool(act, value))

    return Route(path, endpoint, methods=["POST"])


def text(values: Mapping[str, Any], name: str) -> str:
    """A text of a request; UsageError where there is none."""
    found = values.get(name)
    if not isinstance(found, str):
        raise UsageError(f"expected a text {name!r} in the request, not {found!r}")
    return found


def texts(values: Mapping[str, Any], name: str) -> list[str]:
    """A list of texts of a request; UsageError where there is none."""
    found = values.get(name)
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise UsageError(f"expected a list of texts {name!r} in the request")
    return found


def number(values: Mapping[str, str], name: str, default: int) -> int:
    """A whole number from 0 on, of a query; UsageError for anything else."""
    found = str(values.get(name, default))
    if not found.isdecimal() or not found.isascii() or len(found) > 9:
        raise UsageError(f"{name} must be a whole number from 0 on, not {found!r}")
    return int(found)
