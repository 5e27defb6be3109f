"""Everything that is served, put together: plain routes, the API, pictures and NiceGUI's pages, all behind the gate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import APIRouter, FastAPI
from fastapi.responses import PlainTextResponse
from nicegui import Client, core, ui
from starlette.staticfiles import StaticFiles

from inspector import __version__
from inspector.web.accounts.user import User
from inspector.web.api import ROUTERS
from inspector.web.api.access import tell_errors
from inspector.web.desk import Desk
from inspector.web.gate import Gate
from inspector.web.login import login_router
from inspector.web.pages import PAGES
from inspector.web.pages.serving import serve_pages
from inspector.web.pictures import picture_router

if TYPE_CHECKING:
    from inspector.web.accounts.oidc import OidcOptions

STATIC = Path(__file__).parent / "static"
API_ROOT = "/api/v1"


def make_application(desk: Desk, own_address: str = "", oidc: OidcOptions | None = None) -> FastAPI:
    """The whole desk. Once a process: NiceGUI keeps its pages in one place."""
    app = FastAPI(
        title=f"Inspector, line {desk.line}",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=f"{API_ROOT}/openapi.json",
    )
    app.state.desk = desk
    cookie = f"inspector-{desk.line}"
    app.include_router(login_router(desk, cookie, oidc=oidc is not None))
    if oidc is not None:
        # Only then: signatures and HTTP clients take a while to import.
        from inspector.web.accounts.oidc import Provider
        from inspector.web.oidc import oidc_router

        app.include_router(oidc_router(desk, cookie, Provider(oidc)))
    app.include_router(_api(desk))
    app.mount("/static", StaticFiles(directory=STATIC), name="desk-static")

    @app.get("/healthz", include_in_schema=False)
    async def healthz() -> PlainTextResponse:
        """For those who watch whether the desk lives."""
        return PlainTextResponse("ok\n")

    tell_errors(app)
    serve_pages(desk, PAGES)
    core.app.config.quasar_config.setdefault("brand", {}).update(primary="#0b5cad", secondary="#5b6675")
    ui.run_with(
        app,
        title=f"Inspector · {desk.line}",
        favicon=STATIC / "favicon.svg",
        tailwind=False,
        show_welcome_message=False,
        reconnect_timeout=10.0,
        language="en-US",
    )
    gate = {
        "accounts": desk.accounts,
        "cookie": cookie,
        "own_address": own_address,
        "refuse": desk.refuse,
        "owner": _owner,
    }
    app.add_middleware(Gate, **gate)  # type: ignore[arg-type]
    return app


def _owner(client_id: str) -> User | None:
    """For whom NiceGUI built a page."""
    client = Client.instances.get(client_id)
    return None if client is None else client.request.state.user


def _api(desk: Desk) -> APIRouter:
    routes = APIRouter(prefix=API_ROOT)
    for router in ROUTERS:
        routes.include_router(router(desk))
    routes.include_router(picture_router(desk))
    return routes
