"""The page of a commissioning: on this machine only, and only for who has the link that the terminal shows.

Beyond this machine it is reached through a tunnel (`ssh -L`); it has no login of its own. The link's token works once, for the
first browser that comes with it; a cookie takes over from there.
"""

from __future__ import annotations

import hmac
import json
import secrets
import threading
from dataclasses import asdict
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from urllib.parse import parse_qs, urlsplit

from inspector.commissioning.live import preview
from inspector.commissioning.session import Session
from inspector.errors import ConfigError

_COOKIE = "commissioning"
_MOST_BODY = 1024
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_TYPES = {"page.html": "text/html; charset=utf-8", "page.js": "text/javascript", "page.css": "text/css"}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self'; script-src 'self'; style-src 'self'; connect-src 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "X-Frame-Options": "DENY",
}


class Page:
    """Serves a session until `close`. `link` is for the person at the terminal."""

    def __init__(self, session: Session, camera: str, host: str = "127.0.0.1", port: int = 0) -> None:
        """Errors: ConfigError if the address is not of this machine alone, or is taken."""
        if host not in _LOOPBACK:
            raise ConfigError(
                f"the page would be open on {host}, and has no login: let it listen on 127.0.0.1, and reach it by `ssh -L`"
            )
        self._token: str | None = secrets.token_urlsafe(24)
        self._cookie = secrets.token_urlsafe(32)
        self._lock = threading.Lock()
        page = self

        class Handler(_Handler):
            owner = page

        self.session, self.camera = session, camera
        try:
            self._server = ThreadingHTTPServer((host, port), Handler)
        except OSError as error:
            raise ConfigError(
                f"the page cannot listen on {host}:{port} ({error.strerror}): choose another port"
            ) from error
        self._server.daemon_threads = True
        self.host, self.port = host, int(self._server.server_address[1])
        self.link = f"http://{host}:{self.port}/?token={self._token}"
        threading.Thread(target=self._server.serve_forever, args=(0.2,), name="setup-page", daemon=True).start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()

    def spend(self, token: str) -> str | None:
        """The cookie for who brings the token, once."""
        with self._lock:
            if self._token is None or not hmac.compare_digest(token.encode(), self._token.encode()):
                return None
            self._token = None
            return self._cookie

    def knows(self, cookie: str) -> bool:
        """Whether that is the cookie that was given out."""
        return hmac.compare_digest(cookie.encode(), self._cookie.encode())

    def state(self) -> dict[str, object]:
        """What the page shows, as JSON values."""
        view = self.session.view()
        reading = None if view.reading is None else {**asdict(view.reading), "advice": view.reading.advice}
        about: dict[str, object] = {
            "camera": self.camera,
            "step": view.step.value,
            "task": view.task,
            "told": view.told,
        }
        numbers = {"taken": view.taken, "wanted": view.wanted, "frames": view.frames, "best": view.best_sharpness}
        about |= {"steps": [step.value for step in view.steps], "can_skip": view.can_skip}
        return {**about, **numbers, "taking": view.is_taking, "reading": reading}


class _Handler(BaseHTTPRequestHandler):
    """Answers one request. Whatever it does not know is 404, whoever it does not know 403."""

    owner: Page
    server_version = "inspector"
    sys_version = ""
    timeout = 20

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if not self._is_local():
            self._refuse(403, "this page is for this machine")
            return
        token = parse_qs(url.query).get("token", [""])[0]
        if url.path == "/" and token:
            cookie = self.owner.spend(token)
            if cookie is not None:
                self.send_response(303)
                self.send_header("Location", "/")
                self.send_header("Set-Cookie", f"{_COOKIE}={cookie}; HttpOnly; SameSite=Strict; Path=/")
                self._end()
                return
        if not self._is_known():
            self._refuse(403, "open the link that the terminal shows; it works once, in one browser")
        elif url.path == "/favicon.ico":
            self._send(b"", "image/x-icon")
        elif url.path == "/state":
            self._send(json.dumps(self.owner.state()).encode(), "application/json")
        elif url.path == "/picture.jpg":
            image = self.owner.session.view().image
            self._send(preview(image) if image is not None else b"", "image/jpeg")
        else:
            name = {"/": "page.html"}.get(url.path, url.path.removeprefix("/"))
            if name not in _TYPES:
                self._refuse(404, "there is nothing here")
                return
            self._send((files("inspector.commissioning") / "static" / name).read_bytes(), _TYPES[name])

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "0")
        if length.isdigit() and int(length) <= _MOST_BODY:
            self.rfile.read(int(length))
        # A page of another origin may make a browser send this; it cannot set the header.
        mine = self.headers.get("X-Commissioning") == "1"
        if not (self._is_local() and self._is_known() and mine):
            self._refuse(403, "not allowed")
            return
        action = {"/go-on": self.owner.session.go_on, "/skip": self.owner.session.skip}.get(self.path)
        if action is None:
            self._refuse(404, "there is nothing here")
            return
        action()
        self._send(json.dumps(self.owner.state()).encode(), "application/json")

    def log_message(self, format: str, *args: object) -> None:
        """The terminal shows the session."""

    def _is_local(self) -> bool:
        """Whether the browser thinks that it talks to this machine: a foreign name may be made to point here."""
        name = urlsplit(f"//{self.headers.get('Host', '')}").hostname
        return name in _LOOPBACK

    def _is_known(self) -> bool:
        try:
            found = SimpleCookie(self.headers.get("Cookie", "")).get(_COOKIE)
        except CookieError:
            return False
        return found is not None and self.owner.knows(found.value)

    def _send(self, data: bytes, media_type: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(data)))
        self._end()
        self.wfile.write(data)

    def _refuse(self, status: int, why: str) -> None:
        data = f"{why}\n".encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        self._end()
        self.wfile.write(data)

    def _end(self) -> None:
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.end_headers()
