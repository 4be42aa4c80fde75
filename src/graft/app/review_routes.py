"""Step 2, Check: look at what is doubtful, one image or one group after the other."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from graft.app import json_routes
from graft.app.json_routes import Record, asked, told
from graft.app.project import Project
from graft.app.review_session import ReviewSession


def routes(project: Project) -> list[Route]:
    """The page and what it asks for."""
    session = ReviewSession(project)

    def decide(body: Record) -> Record:
        label = json_routes.text(body, "label") if "label" in body else ""
        decision = json_routes.text(body, "decision")
        images = json_routes.texts(body, "images")
        kept = json_routes.texts(body, "kept") if "kept" in body else []
        return {"decided": session.decide(images, decision, label, kept)}

    def again(body: Record) -> Record:
        session.end()
        session.begin()
        return {}

    def measure(body: Record) -> Record:
        session.measure()
        return {}

    return [
        Route("/check", _page),
        asked("/api/check/state", lambda query: session.state()),
        told("/api/check/decide", decide),
        told("/api/check/undo", lambda body: {"images": session.undo()}),
        told("/api/check/measure", measure),
        told("/api/check/again", again),
    ]


def _page(request: Request) -> Response:
    found: Response = request.app.state.pages.response("check")
    return found
