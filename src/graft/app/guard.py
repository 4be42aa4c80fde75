"""Who may ask a page: only the browser that opened the address with its token, on this machine."""

import secrets
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "media-src 'self' blob:; connect-src 'self'; frame-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'self'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
}
KEY_IS_MISSING = (
    "open the address that graft printed when it started: it holds the key to this page"
)
# A page of its own, as the styles of all others are behind the token, too.
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>graft: the key is missing</title>
<style>:root { color-scheme: light dark }
body { font: 17px/1.5 system-ui, sans-serif; max-width: 34rem; margin: 3rem auto; padding: 0 1rem }
h1 { font: 600 1.6rem Charter, Georgia, serif } code { font-size: .95em }</style>
<h1>graft: this page needs its key</h1>
<p>Please SAID.</p>
<p>That window is gone? Give the same command once more: it says the whole address. Nothing is
lost.</p></html>
""".replace("SAID", KEY_IS_MISSING)
PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
TOKEN = "token"  # noqa: S105 - what it is called in the address


class Guard:
    """Refuses requests for another host (DNS rebinding), from another page, or without the token.

    The token comes once in the address, `?token=…`, and from then on as a cookie that no script
    can read and no other site's page sends. A response may bring a stricter or looser content
    security policy of its own, as reports do.
    """

    def __init__(self, app: ASGIApp, port: int, token: str = "") -> None:
        self.app, self.port = app, port
        self.token = token or secrets.token_urlsafe(24)
        self.cookie = f"graft-{port}"  # cookies of all ports of a host lie together
        self.hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost")}

    def address(self) -> str:
        """Where a browser comes in."""
        return f"http://127.0.0.1:{self.port}/?{urlencode({TOKEN: self.token})}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            return

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        response = self._answered(scope)
        await (response or self.app)(scope, receive, sent)

    def _answered(self, scope: Scope) -> Response | None:
        """A refusal, or the way in; None for a request that is welcome."""
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        if headers.get("host") not in self.hosts:
            return _refused(scope, "this app answers its own address only")
        if origin is not None and origin.removeprefix("http://") not in self.hosts:
            return _refused(scope, "this app answers its own pages only")
        query = dict(parse_qsl(scope["query_string"].decode("latin-1")))
        given = query.pop(TOKEN, None)
        if given is not None and scope["method"] == "GET" and self._is_token(given):
            return self._let_in(scope["path"], query)
        if not self._is_token(_cookie(headers, self.cookie)):
            if scope["path"].startswith("/api/"):
                return _refused(scope, KEY_IS_MISSING)
            return HTMLResponse(PAGE, 403, {"content-security-policy": PAGE_POLICY})
        return None

    def _let_in(self, path: str, query: dict[str, Any]) -> Response:
        where = path + (f"?{urlencode(query)}" if query else "")
        # A path of two slashes would name another host.
        response = Response(status_code=303, headers={"location": "/" + where.lstrip("/")})
        response.set_cookie(self.cookie, self.token, httponly=True, samesite="strict")
        return response

    def _is_token(self, given: str) -> bool:
        return secrets.compare_digest(given.encode(), self.token.encode())


def _cookie(headers: Headers, name: str) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(name)
    except CookieError:
        return ""
    return found.value if found else ""


def _refused(scope: Scope, why: str) -> Response:
    if scope["path"].startswith("/api/"):
        return JSONResponse({"error": why}, 403)
    return PlainTextResponse(why + "\n", 403)
