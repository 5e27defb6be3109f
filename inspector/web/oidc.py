"""Routes for logging in at the plant's identity provider."""

from __future__ import annotations

import secrets

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from inspector.access.identity import Role
from inspector.errors import AccessDenied, InspectorError
from inspector.web.accounts.oidc import ASK_S, Provider
from inspector.web.accounts.user import role_name
from inspector.web.desk import Desk, in_thread
from inspector.web.gate import same_site
from inspector.web.login import set_session
from inspector.web.plain_pages import POLICY, login_page


def oidc_router(desk: Desk, cookie: str, provider: Provider) -> APIRouter:
    """/oidc/start and /oidc/callback."""
    routes = APIRouter(prefix="/oidc", include_in_schema=False)
    asking = f"{cookie}-oidc"

    def sorry(error: InspectorError, status: int) -> HTMLResponse:
        text = login_page(desk.line, "/", error=str(error), oidc=True)
        return HTMLResponse(text, status, {"Content-Security-Policy": POLICY, "Cache-Control": "no-store"})

    @routes.get("/start")
    async def start(request: Request, next: str = "/") -> Response:
        browser = secrets.token_urlsafe(32)
        try:
            url = await provider.ask(same_site(next), browser)
        except InspectorError as error:
            return sorry(error, 502)
        response = RedirectResponse(url, 303, {"Cache-Control": "no-store"})
        is_secure: bool = request.state.is_secure
        response.set_cookie(
            asking, browser, max_age=int(ASK_S), path="/oidc", secure=is_secure, httponly=True, samesite="lax"
        )
        return response

    @routes.get("/callback")
    async def callback(request: Request, state: str = "", code: str = "", error: str = "") -> Response:
        address = request.client.host if request.client else "unknown"
        try:
            if error or not code:
                raise AccessDenied(f"the identity provider refuses the login: {error[:200] or 'it gave no code'}")
            name, role, target = await provider.answer(state, code, request.cookies.get(asking, ""))
            await in_thread(_known, desk, name, role, provider.options.issuer)
            user, secret = await in_thread(desk.accounts.welcome, name, address)
        except InspectorError as refused:
            desk.refuse(address, "login at the identity provider", "web desk", str(refused))
            return sorry(refused, 403 if isinstance(refused, AccessDenied) else 502)
        about = {"from": address, "by": provider.options.issuer}
        await in_thread(desk.audit, user, "logged in", "web desk", about)
        response = RedirectResponse(target, 303)
        set_session(response, cookie, secret, user, request.state.is_secure, desk)
        response.delete_cookie(asking, path="/oidc")
        return response

    return routes


def _known(desk: Desk, name: str, role: Role, issuer: str) -> None:
    """Make somebody a user of the desk, or bring their role up to date. AccessDenied for the name of a user with a password."""
    row = desk.accounts.users.find(name)
    if row is None:
        desk.accounts.add(name, role, None)
        desk.audit_log.append(issuer, "added user", name, {"role": role_name(role)})
        return
    if row.password is not None:
        raise AccessDenied(f"{name} logs in with a password here: do that, or ask an admin for another name")
    if not row.is_active:
        raise AccessDenied(f"{name} was locked out here: ask an admin")
    if row.role != role:
        desk.accounts.change(name, role=role)
        details = {"role": {"from": role_name(row.role), "to": role_name(role)}}
        desk.audit_log.append(issuer, "changed user", name, details)
