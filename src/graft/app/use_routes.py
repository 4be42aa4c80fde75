"""Step use: not made yet."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from graft.app.project import Project


def routes(project: Project) -> list[Route]:
    """The page."""
    return [Route("/use", _page)]


def _page(request: Request) -> Response:
    found: Response = request.app.state.pages.response("use", "soon")
    return found
