"""The application behind the pages: six steps, images, thumbnails, and what all pages ask for."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from graft.app import (
    images_routes,
    results_routes,
    review_routes,
    train_routes,
    try_routes,
    use_routes,
)
from graft.app.project import Project
from graft.app.step_page import PAGES, STEPS, StepPages, Texts
from graft.app.thumbnail_store import as_jpeg, make_thumbnail, thumbnail_file
from graft.data.image_file import UnusableImageError
from graft.data.reader import cores
from graft.errors import GraftError

FOREVER = "private, max-age=31536000, immutable"  # what a digest names does not change
STEP_ROUTES = {
    "images": images_routes.routes,
    "check": review_routes.routes,
    "train": train_routes.routes,
    "results": results_routes.routes,
    "try": try_routes.routes,
    "use": use_routes.routes,
}


def application(project: Project, texts: Texts, steps: Sequence[str] = STEPS) -> Starlette:
    """The app of a project, or some steps of it, with these texts on its pages; see
    graft.app.step_page.read_texts.

    Who may ask it is the business of graft.app.guard.
    """
    found = [
        Route("/", lambda request: RedirectResponse(f"/{steps[0]}", 303)),
        Route("/api/project", _state(project)),
        Route("/thumbnail/{sha256}", _thumbnail(project)),
        Route("/image/{sha256}", _image(project)),
        Mount("/static", _Static(directory=PAGES)),
    ]
    app = Starlette(
        routes=[*found, *(route for step in steps for route in STEP_ROUTES[step](project))],
        exception_handlers={GraftError: _problem, UnusableImageError: _problem, OSError: _refusal},
    )
    app.state.pages = StepPages(texts, steps=steps)
    return app


class _Static(StaticFiles):
    """Scripts and styles only: templates are not for the browser."""

    async def get_response(self, path: str, scope: Any) -> Response:
        if not path.endswith((".js", ".css")):
            return Response("there is no such file\n", 404)
        response = await super().get_response(path, scope)
        response.headers["cache-control"] = "no-cache"  # asked again after an upgrade
        return response


def _state(project: Project) -> Callable[[Request], Response]:
    """What every page asks for, again and again: whether something is new."""

    def state(request: Request) -> Response:
        if not project.is_open:
            return JSONResponse({"open": False, "revision": project.revision})
        index = project.index
        found = {
            "open": True,
            "source": project.source,
            "name": project.name,
            "home": str(project.home),
            "revision": project.revision,
            "read": len(index.files),
            "total": index.total,
            "done": index.done,
        }
        return JSONResponse(found)

    return state


def _thumbnail(project: Project) -> Callable[[Request], Awaitable[Response]]:
    # Threads of their own: those of the other answers would all wait for thumbnails.
    pool = ThreadPoolExecutor(cores(), thread_name_prefix="graft-thumbnail")

    async def thumbnail(request: Request) -> Response:
        digest = request.path_params["sha256"]
        file = project.file_of(digest)
        if file is None:
            return _missing()
        place = thumbnail_file(project.thumbnails, digest)
        if not place.exists():
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(pool, make_thumbnail, file, place)
        return FileResponse(place, headers={"cache-control": FOREVER})

    return thumbnail


def _image(project: Project) -> Callable[[Request], Response]:
    def image(request: Request) -> Response:
        file = project.file_of(request.path_params["sha256"])
        if file is None:
            return _missing()
        return Response(as_jpeg(file), 200, {"cache-control": FOREVER}, "image/jpeg")

    return image


def _missing() -> Response:
    return JSONResponse({"error": "this image is no longer there; reload the page"}, 404)


def _problem(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 400)


def _refusal(request: Request, error: Exception) -> Response:
    if not isinstance(error, OSError):
        raise error
    where = f"{error.filename}: " if error.filename else ""
    return JSONResponse({"error": f"{where}{error.strerror or error}"}, 500)
