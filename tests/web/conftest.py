"""A running desk with a seeded line, and a browser."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "records"))

from requires import require, require_tool
from web_desk import WebDesk, prepare, serving

pytest.importorskip("nicegui", reason="the web desk is not installed; pip install 'inspector[web]'")

BROWSER_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture(scope="session")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebDesk]:
    """A desk that many tests share: `PEOPLE` with `PASSWORD`, 60 inspections, no service. Leave it as it was."""
    with serving(prepare(tmp_path_factory.mktemp("desk"))) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    """Debian's chromium.

    Not for the session: as long as Playwright is open its event loop counts as running in this thread, and tests of other
    folders that run their own could not.
    """
    path = require_tool("chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        require(False, "playwright is not installed; pip install 'inspector[dev]'")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=BROWSER_OPTIONS)
        yield started
        started.close()


LogIn = Callable[..., object]


@pytest.fixture
def log_in(browser: object) -> Iterator[LogIn]:
    """`log_in(desk, "erna", "/path", width=1366, theme="dark")` gives a page, logged in; `page.faults` is its console.

    With `touch` it is that of a tablet.
    """
    contexts = []

    def make(
        desk: WebDesk,
        name: str,
        path: str = "/",
        width: int = 1366,
        height: int = 768,
        theme: str = "light",
        touch: bool = False,
    ) -> object:
        context = browser.new_context(  # type: ignore[attr-defined]
            viewport={"width": width, "height": height},
            color_scheme=theme,
            has_touch=touch,
            base_url=desk.url,
            ignore_https_errors=True,
        )
        contexts.append(context)
        cookie = desk.client(name).cookies.jar
        (session,) = list(cookie)
        context.add_cookies([{"name": session.name, "value": session.value, "url": desk.url}])
        page = context.new_page()
        page.faults = []
        page.on("pageerror", lambda error: page.faults.append(str(error)))
        page.on("console", lambda said: page.faults.append(said.text) if said.type == "error" else None)
        page.goto(path)
        # What is typed before the page is joined to the server is lost.
        page.wait_for_function("() => window.did_handshake || !document.querySelector('#app')")
        return page

    yield make
    for context in contexts:
        context.close()


@pytest.fixture
def page(desk: WebDesk, log_in: LogIn) -> object:
    """A browser's page on the shared desk, logged in as the engineer."""
    return log_in(desk, "erna")
