"""The only way in: finds out who asks, keeps strangers and forged requests out, and says how browsers are to treat the answer.

A plain ASGI wrapper around everything that is served, so that no page, route, picture or web socket can forget it. What a
person's role lets them do is decided behind it (`needs` of the API, `role` of a page).
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, quote, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from inspector.errors import InspectorError, StoreUnavailable
from inspector.web.accounts.accounts import TOKEN_PREFIX, Accounts
from inspector.web.accounts.user import User
from inspector.web.bodies import BodyTooLarge, bounded

API = "/api/"
OPEN = ("/login", "/healthz", "/favicon.ico", "/static/", "/oidc/")
"""What strangers may ask for."""
SOCKETS = "/_nicegui_ws/"
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
# NiceGUI's own scripts stand in the page and compile their templates in the browser; everything comes from here all the same.
_PAGE_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


class Gate:
    """Wraps `app`. `cookie` is the name of the session's cookie, `own_address` what people type if that is not what we see.

    If that begins with https, answers say that the desk is reached over TLS, and a server on this machine that speaks it in
    front of us is believed whom it speaks for.

    `owner` says for whom the page with an id was built, None if there is no such page.
    """

    def __init__(
        self,
        app: ASGIApp,
        accounts: Accounts,
        cookie: str,
        own_address: str,
        refuse: Callable[[str, str, str, str], None],
        owner: Callable[[str], User | None],
    ) -> None:
        self._app = app
        self._accounts = accounts
        self._cookie = cookie
        self._own = own_address
        self._refuse = refuse
        self._owner = owner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request or web socket."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        # It is echoed into pages, and no server in front of us needs it.
        scope["headers"] = [pair for pair in scope["headers"] if pair[0] != b"x-forwarded-prefix"]
        headers = Headers(scope=scope)
        behind_tls = self._own.lower().startswith("https://")
        scope.setdefault("state", {})["is_secure"] = behind_tls or scope["scheme"] in ("https", "wss")
        if behind_tls:
            scope["client"] = client_behind(scope.get("client"), headers)
        try:
            user, secret = await self._who(scope["path"], headers)
        except InspectorError as error:
            await _answer(scope, send, 503 if isinstance(error, StoreUnavailable) else 500, str(error))
            return
        scope["state"]["user"], scope["state"]["session"] = user, secret
        why = self._forged(scope, headers, by_cookie=user is None or not user.token) or self._anothers_page(scope, user)
        if why:
            self._refuse(user.name if user else _address(scope), "web request", scope["path"], why)
            await _answer(scope, send, 403, why)
            return
        if user is None and not _is_open(scope["path"]):
            await self._send_away(scope, headers, send)
            return
        if scope["type"] == "websocket":
            await self._app(scope, _watched(receive, self._accounts, secret, user), send)
            return
        await self._serve(scope, receive, _with_headers(scope, send), headers)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, headers: Headers) -> None:
        """A request whose body is no larger than its path takes. Routes answer 413 themselves, all else is answered here."""
        is_answered = False

        async def sending(message: Message) -> None:
            nonlocal is_answered
            is_answered = True
            await send(message)

        try:
            taken = bounded(receive, scope["path"], _is_open(scope["path"]), headers.get("content-length"))
            await self._app(scope, taken, sending)
        except BodyTooLarge as error:
            if is_answered:
                raise
            await _answer(scope, send, 413, error.detail)

    async def _who(self, path: str, headers: Headers) -> tuple[User | None, str]:
        """Who asks, and the secret of their session. Tokens count for the API alone."""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if path.startswith(API) and scheme.lower() == "bearer" and token.startswith(TOKEN_PREFIX):
            return await run_in_threadpool(self._accounts.of_token, token.strip()), ""
        secret = cookie_value(headers, self._cookie)
        if not secret:
            return None, ""
        user = self._accounts.believed(secret) or await run_in_threadpool(self._accounts.of_session, secret)
        return user, secret

    def _forged(self, scope: Scope, headers: Headers, by_cookie: bool) -> str:
        """Why this looks like the work of a foreign page, empty if it does not. Browsers send cookies unasked."""
        if not by_cookie or (scope["type"] == "http" and scope["method"] in SAFE):
            return ""
        origin = headers.get("origin")
        if origin is None:
            # Browsers send an Origin with everything that changes something; what sends none is no browser.
            site = headers.get("sec-fetch-site", "")
            if site in ("", "same-origin", "none") and scope["type"] == "http" and not headers.get("cookie"):
                return ""
            if site == "same-origin":
                return ""
            return (
                "the request does not say which page it comes from (no Origin): scripts use a token instead of a cookie"
            )
        schemes = {"ws": "http", "wss": "https"}
        scheme = schemes.get(scope["scheme"], scope["scheme"])
        own = {f"{scheme}://{headers.get('host', '')}", *([self._own] if self._own else [])}
        if origin not in own:
            return f"the request comes from the page {origin[:100]!r}, which is not this desk: open the desk itself"
        return ""

    def _anothers_page(self, scope: Scope, user: User | None) -> str:
        """Why a socket may not speak for a page, empty if it may: a page acts for whom it was built, and in one browser that
        may have been somebody else, or the same person with another role.
        """
        if user is None or not scope["path"].startswith(SOCKETS):
            return ""
        asked = parse_qs(scope["query_string"].decode("latin-1")).get("client_id", [""])[0]
        owner = self._owner(asked) if asked else None
        if owner is None or (owner.name, owner.role) == (user.name, user.role):
            return ""
        return f"this page was built for {owner.name} as {owner.role.name.lower()}: load it again"

    async def _send_away(self, scope: Scope, headers: Headers, send: Send) -> None:
        wants_page = scope["type"] == "http" and scope["method"] in SAFE and "text/html" in headers.get("accept", "")
        if wants_page and not scope["path"].startswith(API):
            target = scope["path"] + (f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else "")
            why = "&why=over" if cookie_value(headers, self._cookie) else ""
            location = f"/login?next={quote(target, safe='')}{why}".encode()
            await send(
                {
                    "type": "http.response.start",
                    "status": 303,
                    "headers": [(b"location", location), (b"cache-control", b"no-store"), (b"content-length", b"0")],
                }
            )
            await send({"type": "http.response.body", "body": b""})
            return
        await _answer(scope, send, 401, "you are not logged in, or no longer: log in at /login, or send a token")


def cookie_value(headers: Headers, name: str) -> str:
    """A cookie of a request, empty if it has none of that name."""
    try:
        cookies = SimpleCookie(headers.get("cookie", ""))
    except CookieError:
        return ""
    return cookies[name].value if name in cookies else ""


def client_behind(peer: tuple[str, int] | None, headers: Headers) -> tuple[str, int] | None:
    """Who asks: for a server on this machine the client that it names last, else who is connected.

    What stands before the last one, the client may have written itself.
    """
    if peer is None or not _is_loopback(peer[0]):
        return peer
    named = ",".join(headers.getlist("x-forwarded-for")).rpartition(",")[2].strip()
    try:
        return str(ipaddress.ip_address(named)), 0
    except ValueError:
        return peer


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def same_site(target: str) -> str:
    """Where to go after logging in: a path of this desk, and never another place."""
    parts = urlsplit(target)
    foreign = parts.scheme or parts.netloc or not target.startswith("/") or target[1:2] in ("/", "\\")
    return "/" if foreign or any(ord(character) < 32 for character in target) else target


def _is_open(path: str) -> bool:
    return any(path == one or (one.endswith("/") and path.startswith(one)) for one in OPEN)


def _address(scope: Scope) -> str:
    return scope["client"][0] if scope.get("client") else "unknown"


def _with_headers(scope: Scope, send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("Content-Security-Policy", _PAGE_POLICY)
            if scope["state"]["is_secure"]:
                headers.setdefault("Strict-Transport-Security", "max-age=31536000")
            if scope["path"].startswith(API):
                headers.setdefault("Cache-Control", "no-store")
        await send(message)

    return sending


def _watched(receive: Receive, accounts: Accounts, secret: str, user: User | None) -> Receive:
    """A web socket whose messages count only while its session does, and only with the role that it was opened with."""

    async def receiving() -> Message:
        message = await receive()
        if message["type"] != "websocket.receive":
            return message
        try:
            now = accounts.believed(secret) or await run_in_threadpool(accounts.of_session, secret)
        except InspectorError:
            now = None
        if now is None or user is None or now.role != user.role:
            return {"type": "websocket.disconnect", "code": 4401}
        return message

    return receiving


async def _answer(scope: Scope, send: Send, status: int, message: str) -> None:
    """An error as the API gives it; a web socket is refused."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 4401, "reason": ""})
        return
    body = json.dumps({"error": {"kind": _KINDS.get(status, "Error"), "message": message}}).encode()
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    headers.append((b"content-length", str(len(body)).encode()))
    await _with_headers(scope, send)({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
    await asyncio.sleep(0)


_KINDS = {401: "NotLoggedIn", 403: "AccessDenied", 413: "RequestTooLarge", 503: "StoreUnavailable"}
