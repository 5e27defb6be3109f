"""Routes for logging in and out with a password; plain forms, so that they work before any script is loaded."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from inspector.errors import AccessDenied, InspectorError
from inspector.web.accounts.accounts import LockedOut
from inspector.web.accounts.user import User
from inspector.web.desk import Desk, in_thread
from inspector.web.gate import same_site
from inspector.web.plain_pages import POLICY, login_page

OVER = "Your login is over: it counts for a limited time, and ends when your role or password changes."


def login_router(desk: Desk, cookie: str, oidc: bool) -> APIRouter:
    """/login, /logout. `oidc` offers the plant's identity provider too."""
    routes = APIRouter(include_in_schema=False)

    def page(target: str, status: int = 200, name: str = "", error: str = "", note: str = "") -> HTMLResponse:
        text = login_page(desk.line, same_site(target), name, error, note, oidc)
        return HTMLResponse(text, status, {"Content-Security-Policy": POLICY, "Cache-Control": "no-store"})

    @routes.get("/login")
    async def show(request: Request, next: str = "/", why: str = "") -> Response:
        if request.state.user is not None:
            return RedirectResponse(same_site(next), 303)
        return page(next, note=OVER if why == "over" else "")

    @routes.post("/login")
    async def log_in(
        request: Request,
        name: Annotated[str, Form(max_length=1024)],
        password: Annotated[str, Form(max_length=4096)],
        next: Annotated[str, Form(max_length=2048)] = "/",
    ) -> Response:
        address = request.client.host if request.client else "unknown"
        about = f"login from {address}"
        try:
            user, secret = await in_thread(desk.accounts.log_in, name, password, address)
        except LockedOut as error:
            if error.newly:
                await in_thread(
                    desk.audit_log.append, name.strip().lower(), "locked out", "web desk", {"from": address}
                )
            else:
                desk.refuse(name, about, "web desk", str(error))
            return page(next, 429, name, str(error))
        except AccessDenied as error:
            desk.refuse(name, about, "web desk", str(error))
            return page(next, 401, name, f"{error}".capitalize() + ".")
        except InspectorError as error:
            return page(next, 503, name, str(error))
        await in_thread(desk.audit, user, "logged in", "web desk", {"from": address})
        response = RedirectResponse(same_site(next), 303)
        set_session(response, cookie, secret, user, request.state.is_secure, desk)
        return response

    @routes.post("/logout")
    async def log_out(request: Request) -> Response:
        user: User = request.state.user
        if request.state.session:
            await in_thread(desk.accounts.log_out, request.state.session)
            await in_thread(desk.audit, user, "logged out", "web desk")
        response = RedirectResponse("/login", 303)
        response.delete_cookie(cookie, path="/")
        return response

    return routes


def set_session(response: Response, cookie: str, secret: str, user: User, is_secure: bool, desk: Desk) -> None:
    """Give the browser its cookie: out of reach of scripts, never sent from other sites' forms, gone when the login is."""
    left = None if user.expires is None else int((user.expires - desk.clock()).total_seconds())
    response.set_cookie(cookie, secret, max_age=left, path="/", secure=is_secure, httponly=True, samesite="lax")
