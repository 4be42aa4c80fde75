"""The page of `graft chat --serve`: one conversation, with the guard and server of the app."""

import secrets
from collections.abc import Callable
from threading import Lock
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from graft.app.json_routes import text, told
from graft.chat.answer import Answer
from graft.chat.intents import INTENTS
from graft.chat.subject import Subject
from graft.errors import GraftError, UsageError
from graft.report.chat_page import answer_data, chat_page

LONGEST = 1_000  # characters of a question
OFFERED = ("what_is_it", "why", "what_if", "nearest", "accuracy", "confusions", "photograph_next")
# The page is one file, so its styles and its script are in it.
POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'nonce-{}'; "
    "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)


def chat_application(subject: Subject, ask: Callable[[str], Answer]) -> Starlette:
    """The page about a subject at `/`, and `ask` behind POST /api/ask: {"text": a question}.

    Who may ask it is the business of graft.app.guard.
    """
    lock = Lock()  # one conversation: a question at a time

    def page(request: Request) -> Response:
        nonce = secrets.token_urlsafe(12)
        made = chat_page(
            subject.run.name, subject.classes, subject.images, first_questions(subject), nonce
        )
        kept = {"content-security-policy": POLICY.format(nonce), "cache-control": "no-store"}
        return HTMLResponse(made, headers=kept)

    def answered(sent: dict[str, Any]) -> dict[str, Any]:
        question = text(sent, "text")
        refuse_long(question)
        with lock:
            answer = ask(question)
        return answer_data(answer.to_json(), answer.shown)

    return Starlette(
        routes=[Route("/", page, methods=["GET"]), told("/api/ask", answered)],
        exception_handlers={GraftError: _problem},
    )


def first_questions(subject: Subject) -> list[str]:
    """Questions to start a talk with: about an image only where there is one."""
    names = (n for n in OFFERED if subject.images or not INTENTS[n].needs_image)
    return [INTENTS[name].sample.format_map({"class": subject.classes[0]}) for name in names]


def refuse_long(question: str) -> None:
    """UsageError for a question of more than LONGEST characters."""
    if len(question) > LONGEST:
        raise UsageError(f"the question is too long: at most {LONGEST:,} characters")


def _problem(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 400 if isinstance(error, UsageError) else 502)
