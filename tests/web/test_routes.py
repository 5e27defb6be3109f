"""Every route and page with every role, and without any: what is not allowed is refused by the server, not only hidden."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import httpx
import pytest
from web_desk import PEOPLE, WebDesk, prepare, serving

from inspector.access.identity import Role
from inspector.web.accounts.user import ROLES, role_name
from inspector.web.api import ROUTERS
from inspector.web.pages import PAGES
from inspector.web.pages.admin import RIGHTS
from inspector.web.pictures import picture_router

OPEN = {"/login", "/healthz", "/logout"}
EXAMPLES = {"sequence": "4", "number": "0", "form": "original"}


@pytest.fixture(scope="module")
def clients(desk: WebDesk) -> Iterator[dict[str, httpx.Client]]:
    """A client of everybody, and of a stranger."""
    made = {name: desk.client(name) for name in ("", *PEOPLE)}
    yield made
    for client in made.values():
        client.close()


def role_of(dependant: Any) -> Role | None:
    """The role that a route needs by `needs`."""
    roles = [getattr(one.call, "role", None) or role_of(one) for one in dependant.dependencies]
    return next((role for role in roles if role is not None), None)


def api_routes() -> list[tuple[str, str, Role | None]]:
    """(method, path, role) of every route of the API."""
    nowhere = MagicMock()  # routers keep it for when they are asked
    routes: list[Any] = [route for make in (*ROUTERS, picture_router) for route in make(nowhere).routes]
    return [
        (method, f"/api/v1{route.path}", role_of(route.dependant))
        for route in routes
        for method in sorted(route.methods)
    ]


def filled(path: str) -> str:
    """A path with something in its places."""
    return re.sub(r"{(\w+)(:\w+)?}", lambda place: EXAMPLES.get(place[1], "none-such"), path)


def is_refused_by_role(answer: httpx.Response) -> bool:
    return answer.status_code == 403 and " is " in answer.json()["error"]["message"] and "needs" in answer.text


@pytest.mark.parametrize(("method", "path", "role"), api_routes(), ids=lambda value: str(value))
def test_a_route_lets_in_who_has_its_role_and_nobody_else(
    clients: dict[str, httpx.Client], method: str, path: str, role: Role | None
) -> None:
    assert role is not None, f"{method} {path} does not say who may use it: give it needs(Role.X)"
    stranger = clients[""].request(method, filled(path))
    assert stranger.status_code == 401, stranger.text
    for name, has in PEOPLE.items():
        answer = clients[name].request(method, filled(path))
        assert answer.status_code < 500, f"{name}: {answer.text}"
        assert is_refused_by_role(answer) == (has < role), (
            f"{name} ({has.name}): {answer.status_code} {answer.text[:200]}"
        )
        assert answer.status_code != 401


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.path)
def test_a_page_lets_in_who_has_its_role_and_nobody_else(clients: dict[str, httpx.Client], page: Any) -> None:
    stranger = clients[""].get(page.path, headers={"Accept": "text/html"})
    assert (stranger.status_code, stranger.headers["location"][:12]) == (303, "/login?next=")
    for name, has in PEOPLE.items():
        assert clients[name].get(page.path).status_code == (200 if has >= page.role else 403), name


def test_what_the_admin_page_says_of_roles_is_what_pages_and_routes_ask_for() -> None:
    for role in ROLES:
        (named,) = re.findall(r"\((.*)\)", RIGHTS[role_name(role)]) or [""]
        added = [page.title for page in PAGES if page.role == role and role > Role.VIEWER]
        assert named == ", ".join(added), role.name
    assert set(RIGHTS) == {role_name(role) for role in ROLES}
    asked = {(method, path): role for method, path, role in api_routes()}
    labels = {role for (method, path), role in asked.items() if method != "GET" and "/labels/" in path}
    reviews = {role for (method, path), role in asked.items() if method != "GET" and "/review" in path}
    assert labels == reviews == {Role.OPERATOR}


def test_the_api_that_is_described_is_the_api_that_was_walked(clients: dict[str, httpx.Client]) -> None:
    described = clients["vera"].get("/api/v1/openapi.json").json()["paths"]
    walked = {(method.lower(), path) for method, path, _ in api_routes()}
    assert {(method, path) for path, methods in described.items() for method in methods} == walked


@pytest.mark.parametrize(
    "path",
    [
        "/_nicegui_ws/socket.io/?EIO=4&transport=polling",
        "/api/v1/openapi.json",
        "/no/such/page",
        "/docs",
        "/api/v1/pictures/1/0/original",
        "/static/../../program.py",
    ],
)
def test_a_stranger_gets_nothing_else_either(desk: WebDesk, path: str) -> None:
    with desk.client() as stranger:
        assert stranger.get(path).status_code in (401, 404)


def test_what_is_open_is_known(desk: WebDesk) -> None:
    with desk.client() as stranger:
        for path in ("/login", "/healthz", "/static/desk.css"):
            assert stranger.get(path).status_code == 200


def test_nothing_of_a_page_comes_from_elsewhere(clients: dict[str, httpx.Client]) -> None:
    for page in PAGES:
        text = clients["ada"].get(page.path).text
        assert not re.findall(r"""(?:src|href)=["'](?:https?:)?//(?!127\.0\.0\.1)""", text), page.path


def test_pages_that_cannot_read_the_database_say_so_and_the_connection_goes_on(tmp_path: Path) -> None:
    """The session is still known, and what the page shows is not to be had."""
    with serving(prepare(tmp_path)) as desk:
        with closing(desk.client("erna")) as client:
            database = tmp_path / "var" / "quality.db"
            with closing(sqlite3.connect(database)) as connection:
                connection.execute("ALTER TABLE inspections RENAME TO gone")
            for path in ("/reports", "/models", "/reports"):
                answer = client.get(path)
                assert answer.status_code in (500, 503)
                assert "cannot be shown now" in answer.text
                assert "The line goes on" in answer.text
            with closing(sqlite3.connect(database)) as connection:
                connection.execute("ALTER TABLE gone RENAME TO inspections")
            assert client.get("/reports").status_code == 200
        assert "Traceback" not in (tmp_path / "web.log").read_text()
