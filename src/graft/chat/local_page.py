"""The chat as a page in the browser, served on this machine only."""

import json
import secrets
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock

from graft.chat.answer import Answer
from graft.chat.conversation import Chat
from graft.chat.intents import INTENTS
from graft.chat.subject import Subject
from graft.errors import GraftError, UsageError
from graft.report.chat_page import answer_data, chat_page

HOST = "127.0.0.1"
LONGEST = 20_000  # bytes of a question
OFFERED = ("what_is_it", "why", "what_if", "nearest", "accuracy", "confusions", "photograph_next")


def first_questions(subject: Subject) -> list[str]:
    """Questions to start a talk with: about an image only where there is one."""
    names = (n for n in OFFERED if subject.images or not INTENTS[n].needs_image)
    return [INTENTS[name].sample.format_map({"class": subject.classes[0]}) for name in names]


class LocalPage(ThreadingHTTPServer):
    """Serves a chat's page at `address`; `port` 0 takes a free one.

    The address holds a random token, and requests must name this host: another page that the
    browser shows can neither guess the one nor send the other.

    Raises UsageError for a port that is in use.
    """

    daemon_threads = True

    def __init__(self, chat: Chat, ask: Callable[[str], Answer], port: int = 0) -> None:
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            raise UsageError(
                f"port {port} cannot be used ({error.strerror or error}); choose another --port"
            ) from error
        self.chat, self.ask = chat, ask
        self.token, self.lock = secrets.token_urlsafe(16), Lock()
        self.hosts = {f"{name}:{self.server_port}" for name in (HOST, "localhost")}

    @property
    def address(self) -> str:
        """Where the page is."""
        return f"http://{HOST}:{self.server_port}/{self.token}/"

    def page(self, nonce: str) -> str:
        """The page with its script's `nonce`."""
        subject = self.chat.subject
        questions = first_questions(subject)
        return chat_page(subject.run.name, subject.classes, subject.images, questions, nonce)


class _Handler(BaseHTTPRequestHandler):
    server: LocalPage
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_GET(self) -> None:
        if not self._welcome(""):
            return
        nonce = secrets.token_urlsafe(12)
        self._send(HTTPStatus.OK, self.server.page(nonce), "text/html")

    def do_POST(self) -> None:
        if not self._welcome("ask"):
            return
        size = self.headers.get("Content-Length", "")
        if not size.isdigit() or int(size) > LONGEST:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the question is too long")
            return
        body = self.rfile.read(int(size))
        try:
            text = json.loads(body)["text"]
        except (ValueError, KeyError, TypeError):
            text = None
        plain = self.headers.get_content_type() != "application/json"
        if plain or not isinstance(text, str):
            self._refuse(HTTPStatus.BAD_REQUEST, 'expected JSON: {"text": "a question"}')
            return
        try:
            with self.server.lock:  # one conversation: a question at a time
                answer = self.server.ask(text)
        except GraftError as error:
            self._refuse(HTTPStatus.BAD_GATEWAY, str(error))
            return
        self._json(HTTPStatus.OK, answer_data(answer.to_json(), answer.shown))

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the address in the log would give the token away."""

    def _welcome(self, name: str) -> bool:
        """Whether the request is for the page, by its own host; answers it if not."""
        origin, wanted = self.headers.get("Origin"), f"/{self.server.token}/{name}"
        known = self.headers.get("Host") in self.server.hosts
        if origin is not None and origin.removeprefix("http://") not in self.server.hosts:
            known = False
        if not known:
            self._refuse(HTTPStatus.FORBIDDEN, "this page answers its own address only")
        elif not secrets.compare_digest(self.path.encode(), wanted.encode()):
            self._refuse(HTTPStatus.NOT_FOUND, "there is no such page")
        else:
            return True
        return False

    def _refuse(self, status: HTTPStatus, problem: str) -> None:
        self.close_connection = True  # whatever it sent besides is not read
        self._json(status, {"problem": problem})

    def _json(self, status: HTTPStatus, data: object) -> None:
        self._send(status, json.dumps(data, ensure_ascii=False), "application/json")

    def _send(self, status: HTTPStatus, text: str, kind: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("X-Frame-Options", "DENY")
        self.end_headers()
        self.wfile.write(body)
