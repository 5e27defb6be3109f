"""The page of a commissioning: only for who has the link, only once, only on this machine."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from commissioning.scene import BOARD, parts

from inspector.commissioning.page import Page
from inspector.commissioning.session import Session, Step, Wanted
from inspector.errors import ConfigError
from inspector.part import Image


@pytest.fixture
def page() -> Iterator[Page]:
    session = Session(Wanted(flat=8, parts=20), BOARD)
    session.take(Image(parts(1)[0]))
    page = Page(session, "cam1")
    yield page
    page.close()


def ask(page: Page, path: str, *, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(page.host, page.port, timeout=10)
    try:
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def log_in(page: Page) -> str:
    url = urlsplit(page.link)
    status, headers, _ = ask(page, f"{url.path}?{url.query}")
    assert status == 303
    assert "HttpOnly; SameSite=Strict" in headers["Set-Cookie"]
    return headers["Set-Cookie"].split(";")[0]


def test_the_link_works_once(page: Page) -> None:
    cookie = log_in(page)
    url = urlsplit(page.link)
    assert ask(page, f"{url.path}?{url.query}")[0] == 403, "a second browser with the same link"
    status, headers, body = ask(page, "/", Cookie=cookie)
    assert status == 200
    assert b"page.js" in body
    assert "default-src 'none'" in headers["Content-Security-Policy"]


@pytest.mark.parametrize("path", ["/", "/state", "/picture.jpg", "/page.js", "/?token=wrong", "/?token="])
def test_strangers_see_nothing(page: Page, path: str) -> None:
    assert ask(page, path)[0] == 403
    assert ask(page, path, Cookie="commissioning=wrong")[0] == 403
    assert ask(page, path, Cookie="commissioning=\x7f;;=")[0] == 403


def test_a_foreign_name_for_this_machine_is_refused(page: Page) -> None:
    cookie = log_in(page)
    assert ask(page, "/state", Cookie=cookie, Host="evil.example:80")[0] == 403


def test_it_shows_the_session_and_moves_it_on(page: Page) -> None:
    cookie = log_in(page)
    state = json.loads(ask(page, "/state", Cookie=cookie)[2])
    assert (state["camera"], state["step"], state["steps"]) == ("cam1", "look", ["look", "flat", "parts", "done"])
    assert state["reading"]["sharpness"] > 0
    assert ask(page, "/picture.jpg", Cookie=cookie)[2].startswith(b"\xff\xd8")
    assert ask(page, "/go-on", method="POST", Cookie=cookie)[0] == 403, "a page of another origin cannot set the header"
    assert page.session.view().step is Step.LOOK
    status, _, body = ask(page, "/go-on", method="POST", Cookie=cookie, X_Commissioning="1")
    assert (status, json.loads(body)["step"]) == (200, "flat")
    assert json.loads(ask(page, "/skip", method="POST", Cookie=cookie, X_Commissioning="1")[2])["step"] == "parts"


@pytest.mark.parametrize("path", ["/../reference.json", "/page.py", "/static/page.js", "/%2e%2e/page.html"])
def test_nothing_else_is_served(page: Page, path: str) -> None:
    assert ask(page, path, Cookie=log_in(page))[0] == 404


def test_it_listens_on_this_machine_only() -> None:
    with pytest.raises(ConfigError, match="has no login"):
        Page(Session(Wanted(), BOARD), "cam1", "0.0.0.0", 0)


def test_a_port_that_is_taken_is_told(page: Page) -> None:
    with pytest.raises(ConfigError, match="choose another port"):
        Page(Session(Wanted(), BOARD), "cam1", page.host, page.port)
