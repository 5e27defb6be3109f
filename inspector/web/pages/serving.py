"""Serves pages inside the shared frame, to whoever may see them."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Sequence

from fastapi import Request
from fastapi.responses import HTMLResponse
from nicegui import ui

from inspector.errors import InspectorError, StoreUnavailable
from inspector.web.accounts.user import User
from inspector.web.desk import Desk
from inspector.web.pages.frame import frame
from inspector.web.pages.page import Page
from inspector.web.plain_pages import plain_page

log = logging.getLogger(__name__)

BUILD_S = 10.0
"""What a page may take before it says that it could not be built."""


def serve_pages(desk: Desk, pages: Sequence[Page]) -> None:
    """Register every page. ValueError if two have one path."""
    paths = [page.path for page in pages]
    if len(set(paths)) < len(paths):
        raise ValueError(f"two pages have one path: {sorted(paths)}")
    for page in pages:
        _serve(desk, page, pages)


def _serve(desk: Desk, page: Page, pages: Sequence[Page]) -> None:
    @ui.page(page.path, title=f"{page.title} · {desk.line}", response_timeout=BUILD_S)
    async def show(request: Request) -> HTMLResponse | None:
        user: User = request.state.user
        if not user.may(page.role):
            why = f"{page.title} needs the role {page.role.name.lower()}, and {user.name} is {user.role.name.lower()}."
            desk.refuse(user.name, "web page", page.path, why)
            return HTMLResponse(plain_page(desk.line, "Not for your role", why + " Ask an admin."), status_code=403)
        try:
            with frame(desk, user, page, pages):
                built = page.build(desk, user)
                if inspect.isawaitable(built):
                    await built
        except InspectorError as error:
            log.error("page %s cannot be shown: %s", page.path, error)
            status = 503 if isinstance(error, StoreUnavailable) else 500
            title, why = f"{page.title} cannot be shown now", f"{error}. The line goes on; try again in a while."
            return HTMLResponse(plain_page(desk.line, title, why), status_code=status)
        return None
