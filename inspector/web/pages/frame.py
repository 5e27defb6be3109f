"""What all pages share: header with the line's state, menu, theme, who is logged in, and the help of `?`."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Iterator, Sequence

from nicegui import ui

from inspector.web.accounts.user import User
from inspector.web.desk import Desk
from inspector.web.pages.page import Page
from inspector.web.words import line_state

SOON_S = 0.2
"""How long what is told is gathered before a page shows it."""
LOOK_S = 1.0
_EVERYWHERE = (("?", "show these keys"),)


@contextlib.contextmanager
def frame(desk: Desk, user: User, page: Page, pages: Sequence[Page]) -> Iterator[None]:
    """Everything around a page; what is built inside goes into its middle."""
    menu = [one for one in pages if one.in_menu and user.may(one.role)]
    about = {
        "theme": user.theme,
        "keys": [*page.keys, *_EVERYWHERE],
        "menu": [[one.title, one.path] for one in menu],
        "page": page.title,
        "user": [user.name, user.role.name.lower()],
    }
    ui.dark_mode({"dark": True, "light": False}.get(user.theme))
    ui.add_head_html(
        f'<script type="application/json" id="desk-about">{_embedded(about)}</script>'
        '<script src="/static/desk.js"></script><link rel="stylesheet" href="/static/desk.css">'
    )
    with ui.element("header").classes("desk-header"):
        with ui.element("a").props('href="/" aria-label="Inspector: to the line"').classes("desk-brand"):
            ui.element("span").classes("brand-mark")
            ui.label("Inspector").classes("brand-name")
            ui.label(desk.line).classes("brand-line")
        ui.label(page.title).classes("desk-title")
        _state_pill(desk)
        ui.element("div").classes("spacer")
        with ui.element("a").props('href="/account" title="Your account"').classes("desk-user"):
            ui.label(f"{user.name} · {user.role.name.lower()}")
        _header_button("keyboard", "Keys (?)", "desk.help()")
        _header_button("contrast", "Light or dark", "desk.toggleTheme()")
        _header_button("logout", "Log out", "desk.logout()")
    with ui.element("nav").classes("desk-nav").props('aria-label="Pages"'):
        for one in menu:
            here = ' aria-current="page"' if one.path == page.path else ""
            with ui.element("a").props(f'href="{one.path}"{here}').classes("desk-link"):
                ui.icon(one.icon)
                ui.label(one.title)
    with ui.element("main").classes("desk-main").props('id="desk-main"'):
        yield


def on_news(desk: Desk, show: Callable[[], Awaitable[None] | None]) -> None:
    """Call `show` in this page whenever the line tells something, gathered for a moment, and once a second in any case."""
    client = ui.context.client
    loop = asyncio.get_running_loop()
    waiting = asyncio.Event()

    def tell() -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended, and this page with it
            loop.call_soon_threadsafe(waiting.set)

    stop = desk.live.listen(tell)

    async def watch() -> None:
        while not client.is_deleted:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await waiting.wait()
            waiting.clear()
            if client.is_deleted:
                return
            with client:
                result = show()
                if result is not None:
                    await result
            await asyncio.sleep(SOON_S)

    task = asyncio.ensure_future(watch())

    def over() -> None:
        stop()
        task.cancel()

    client.on_delete(over)


def _state_pill(desk: Desk) -> None:
    pill = ui.label().classes("pill").props('role="status"')
    shown = ""

    def show() -> None:
        nonlocal shown
        state = line_state(desk.live.now())
        if (new := f"{state.kind}|{state.symbol} {state.word}") == shown:
            return
        pill.classes(remove=f"is-{shown.partition('|')[0]}", add=f"is-{state.kind}")
        pill.text = new.partition("|")[2]
        shown = new

    show()
    on_news(desk, show)


def _header_button(icon: str, label: str, script: str) -> None:
    button = ui.element("button").classes("icon-button")
    button.props(f'type="button" title="{label}" aria-label="{label}"')
    button.on("click", js_handler=f"() => {script}")
    with button:
        ui.icon(icon)


def _embedded(about: object) -> str:
    """JSON that cannot end the script element it stands in."""
    return json.dumps(about).replace("<", "\\u003c").replace("&", "\\u0026")
