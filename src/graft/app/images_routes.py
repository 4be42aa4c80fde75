"""Step 1, Images: collect images in classes, look at them, sort them."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from graft.app import json_routes
from graft.app.added_archive import add_archive, archive_room
from graft.app.added_images import batch_now
from graft.app.arrivals import arrive
from graft.app.folder_listing import folders_below
from graft.app.json_routes import Record, asked, number, told
from graft.app.last_action import last_action, undo_last
from graft.app.project import Project
from graft.data.image_file import MAX_BYTES
from graft.errors import DataError, UsageError
from graft.quality.correction import SORTING
from graft.utils.files import naming

MOST_AT_ONCE = 2  # uploads that are held in memory
MOST_LISTED = 1000


def routes(project: Project) -> list[Route]:
    """The page and what it asks for."""
    return [
        Route("/images", _page),
        asked("/api/images/classes", lambda query: _classes(project)),
        asked("/api/images/list", lambda query: _list(project, query)),
        asked("/api/images/paths", lambda query: {"paths": _paths(project, query)}),
        asked("/api/images/folders", lambda query: folders_below(query.get("path", ""))),
        told("/api/images/open", lambda body: _open(project, body)),
        told("/api/images/read-again", lambda body: _read_again(project)),
        _acts(
            project,
            "/api/images/new-class",
            lambda b: {"class": project.add_class(_text(b, "name"))},
        ),
        _acts(
            project,
            "/api/images/rename-class",
            lambda b: {"class": project.rename_class(_text(b, "class"), _text(b, "to"))},
        ),
        _acts(
            project,
            "/api/images/delete-class",
            lambda b: {"count": project.delete_class(_text(b, "class"))},
        ),
        _acts(
            project,
            "/api/images/move",
            lambda b: {"count": project.move(json_routes.texts(b, "paths"), _text(b, "to"))},
        ),
        _acts(
            project,
            "/api/images/delete",
            lambda b: {"count": project.delete(json_routes.texts(b, "paths"))},
        ),
        told("/api/images/undo", lambda body: _undo(project, body)),
        Route("/api/images/add", _add(project), methods=["PUT"]),
        Route("/api/images/add-archive", _add_archive(project), methods=["PUT"]),
    ]


_text = json_routes.text


def _acts(project: Project, path: str, act: Callable[[Record], Record]) -> Route:
    """What an action of this step answers, and the name of that action, by which it is undone."""

    def named(body: Record) -> Record:
        with project.lock:
            return act(body) | {"action": last_action(project, SORTING)}

    return told(path, named)


def _page(request: Request) -> Response:
    found: Response = request.app.state.pages.response("images")
    return found


def _classes(project: Project) -> Record:
    with project.lock:
        counts, action = project.counts(), last_action(project, SORTING)
    total = sum(counts.values())
    return {
        "revision": project.revision,
        "classes": [{"name": name, "count": count} for name, count in counts.items()],
        "total": total,
        "action": action,  # what Undo takes back; "" for nothing
    }


def _chosen(project: Project, query: Mapping[str, str]) -> list[Record]:
    label = query.get("class")
    return [
        {"id": image.path, "sha256": image.sha256, "label": image.label, "out": image.kept_out}
        for image in project.images()
        if label is None or image.label == label
    ]


def _list(project: Project, query: Mapping[str, str]) -> Record:
    """Some of the images of a class, or of all: those from `start` on, `count` at most."""
    found = _chosen(project, query)
    start = number(query, "start", 0)
    count = min(number(query, "count", 200), MOST_LISTED)
    return {"total": len(found), "images": found[start : start + count]}


def _paths(project: Project, query: Mapping[str, str]) -> list[str]:
    return [each["id"] for each in _chosen(project, query)]


def _open(project: Project, body: Record) -> Record:
    path = Path(_text(body, "path")).expanduser()
    if body.get("new"):
        if path.exists():
            raise UsageError(f"{path} is there already; choose it, or another name")
        path.mkdir(parents=True)
    if not path.is_dir():
        raise UsageError(f"{path}: there is no such folder")
    project.choose(path)
    return {"source": project.source}


def _read_again(project: Project) -> Record:
    project.read_again()
    return {}


def _undo(project: Project, body: Record) -> Record:
    """Take back the last action of this step, or none but the one that the request names."""
    only = _text(body, "action") if "action" in body else ""
    with project.lock:
        undone = undo_last(project, SORTING, only)  # step Check takes back what it decided
    if undone is None:
        return {"undone": False}
    return {
        "undone": True,
        "what": undone.what,
        "count": len(undone.images),
        "old": undone.old,
        "new": undone.new,
    }


def _add(project: Project) -> Callable[[Request], Awaitable[Response]]:
    room = asyncio.Semaphore(MOST_AT_ONCE)

    async def add(request: Request) -> Response:
        """PUT an image's bytes; the query says its `class`, `name` and `batch`."""
        label = _text(request.query_params, "class")
        name = request.query_params.get("name", "")[:200] or "image"
        batch = request.query_params.get("batch", "")
        async with room:
            data = bytearray()
            async for some in request.stream():
                data += some
                if len(data) > MAX_BYTES:
                    raise DataError(f"{name}: has more than {MAX_BYTES:,} bytes")
            found = await run_in_threadpool(arrive, project, label, name, bytes(data), batch)
        return JSONResponse(found)

    return add


def _add_archive(project: Project) -> Callable[[Request], Awaitable[Response]]:
    one_at_a_time = asyncio.Lock()

    async def add(request: Request) -> Response:
        """PUT an archive's bytes; the query says its `name`, `batch` and the `class` of the images
        that lie in no folder, if there is one.
        """
        query = request.query_params
        name, label = query.get("name", "")[:200], query.get("class", "")
        size = request.headers.get("content-length", "")
        async with one_at_a_time:
            with archive_room(project, name, int(size) if size.isdecimal() else 0) as place:
                with naming(place), place.open("wb") as stream:
                    async for some in request.stream():
                        stream.write(some)
                batch = query.get("batch") or batch_now()
                found = await run_in_threadpool(add_archive, project, place, name, label, batch)
        return JSONResponse(found)

    return add
