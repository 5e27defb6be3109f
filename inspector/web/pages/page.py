"""What a page is: a path, a place in the menu, the role that it needs, and a function that builds it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from inspector.access.identity import Role
from inspector.web.accounts.user import User
from inspector.web.desk import Desk

Build = Callable[[Desk, User], Awaitable[None] | None]


@dataclass(frozen=True, slots=True)
class Page:
    """One page. `build` fills the frame, and may be a coroutine; it finds the query in `ui.context.client.request`.

    `icon` is a name of Material Icons. `keys` are (key, what it does), for the help that `?` shows. A page without a place in
    the menu (`in_menu`) is reached by links.
    """

    path: str
    title: str
    icon: str
    role: Role
    build: Build
    keys: tuple[tuple[str, str], ...] = ()
    in_menu: bool = True
