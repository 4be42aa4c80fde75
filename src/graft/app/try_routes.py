"""Step 5, Try: drop, paste or show an image; its answer, heat map and nearest training images, and
a talk about it.
"""

import asyncio
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from graft import report
from graft.app import json_routes
from graft.app.json_routes import Record, asked, told
from graft.app.project import Project
from graft.app.results_answering import probability
from graft.app.results_runs import chosen_run, predictor_of
from graft.app.thumbnail_store import as_jpeg
from graft.app.try_images import forget_tried, keep_tried, tried_image, tried_images
from graft.data.image_file import MAX_BYTES
from graft.errors import DataError

if TYPE_CHECKING:
    from graft.app.try_talk import Talks

MOST_AT_ONCE = 2  # images of requests that are held in memory
# The page of `graft chat --serve` has them, too.
TALK = Path(report.__file__).parent
SMALL = 256  # pixels a side of an image in the row of those that were tried
Query = Mapping[str, str]


def routes(project: Project) -> list[Route]:
    """The page and what it asks for."""
    talks = _Talks()
    return [
        Route("/try", _page),
        asked("/api/try/ready", lambda query: _ready(project, query)),
        _sent("/api/try/image", lambda query, data: _kept(project, query, data)),
        _sent("/api/try/frame", lambda query, data: _frame(project, query, data)),
        asked("/api/try/answer", lambda query: _answer(project, query, query.get("image", ""))),
        asked("/api/try/map", lambda query: _map(project, query)),
        asked("/api/try/tried", lambda query: _tried(project)),
        asked("/api/try/questions", lambda query: _questions(project, query)),
        told("/api/try/ask", lambda body: _ask(project, talks, body)),
        told("/api/try/forget", lambda body: _forget(project, body)),
        told("/api/try/teach", lambda body: _teach(project, body)),
        Route("/try/chat_talk.js", lambda request: _shared("chat_talk.js")),
        Route("/try/chat_talk.css", lambda request: _shared("chat_talk.css")),
        Route("/try/image/{sha256}", lambda request: _image(project, request)),
    ]


class _Talks:
    """The talks; like all that predicts it is imported when it is asked for: the app must not wait
    for PyTorch before it shows a page.
    """

    @cached_property
    def all(self) -> "Talks":
        from graft.app.try_talk import Talks

        return Talks()


def _shared(name: str) -> Response:
    # Asked again each time: after an upgrade an old script would not fit the page.
    return FileResponse(TALK / name, headers={"cache-control": "no-cache"})


def _page(request: Request) -> Response:
    found: Response = request.app.state.pages.response("try")
    return found


def _ready(project: Project, query: Query) -> Record:
    from graft.app.try_answer import warm_up

    run = chosen_run(project, query)
    return warm_up(run, predictor_of(run)) | {"project_classes": [*filter(None, project.counts())]}


def _kept(project: Project, query: Query, data: bytes) -> Record:
    return _answer(project, query, keep_tried(project, query.get("name", ""), data).sha256)


def _answer(project: Project, query: Query, sha256: str) -> Record:
    from graft.app.try_answer import answer

    run, image = chosen_run(project, query), tried_image(project, sha256)
    found = answer(run, predictor_of(run), image.file, probability(query))
    return found | {"image": image.sha256, "name": image.name, "run": run.name}


def _frame(project: Project, query: Query, data: bytes) -> Record:
    """What a frame of the webcam shows; nothing of it is kept."""
    from graft.app.try_answer import shown
    from graft.inference.policy import Policy

    policy = Policy(min_probability=probability(query))
    return shown(predictor_of(chosen_run(project, query)).predict(data, policy))


def _map(project: Project, query: Query) -> Record:
    from graft.app.try_answer import heat_map

    image = tried_image(project, query.get("image", ""))
    return heat_map(predictor_of(chosen_run(project, query)), image.file, query.get("label"))


def _tried(project: Project) -> Record:
    return {"images": [{"image": i.sha256, "name": i.name} for i in tried_images(project)]}


def _questions(project: Project, query: Query) -> Record:
    from graft.app.try_talk import questions

    image = query.get("image")
    found = tried_image(project, image) if image else None
    return {"questions": questions(chosen_run(project, query), found)}


def _ask(project: Project, talks: _Talks, body: Record) -> Record:
    image = body.get("image")
    found = tried_image(project, json_routes.text(body, "image")) if image else None
    text, tab = json_routes.text(body, "text"), json_routes.text(body, "tab")
    before = json_routes.texts(body, "before")
    return talks.all.ask(chosen_run(project, body), found, tab, before, text)


def _forget(project: Project, body: Record) -> Record:
    forget_tried(project, json_routes.text(body, "image"))
    return {}


def _teach(project: Project, body: Record) -> Record:
    """Put a tried image among the project's images, so that the next training learns from it."""
    image = tried_image(project, json_routes.text(body, "image"))
    label = json_routes.text(body, "label")
    with project.lock:
        before = project.image(image.sha256)
        path = project.add(label, image.name, image.file.read_bytes())
        now = project.image(image.sha256)
    label = now.label if now else label
    return {"id": path, "label": label, "before": before and before.label}


def _image(project: Project, request: Request) -> Response:
    image = tried_image(project, request.path_params["sha256"])
    side = {"side": SMALL} if "small" in request.query_params else {}
    return Response(as_jpeg(image.file, **side), media_type="image/jpeg")


def _sent(path: str, act: Callable[[Query, bytes], Record]) -> Route:
    """PUT of an image's bytes: `act` gets the query and them."""
    room = asyncio.Semaphore(MOST_AT_ONCE)

    async def endpoint(request: Request) -> Response:
        async with room:
            data = bytearray()
            async for some in request.stream():
                data += some
                if len(data) > MAX_BYTES:
                    raise DataError(f"the image has more than {MAX_BYTES:,} bytes")
            query = dict(request.query_params)
            return JSONResponse(await run_in_threadpool(act, query, bytes(data)))

    return Route(path, endpoint, methods=["PUT"])
