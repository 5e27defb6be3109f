"""/me: who asks, their theme and password."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from inspector.access.identity import Role
from inspector.errors import InvalidRequest
from inspector.web.accounts.user import User
from inspector.web.api.access import needs
from inspector.web.desk import Desk, in_thread


class Me(BaseModel):
    """Who asks."""

    name: str
    role: str
    theme: str
    expires: datetime | None


class Theme(BaseModel):
    """A theme: light, dark, or nothing for what the system has."""

    theme: str = Field(max_length=8)


class NewPassword(BaseModel):
    """The old password, and the one to take its place."""

    old: str = Field(max_length=1024)
    new: str = Field(max_length=1024)


def router(desk: Desk) -> APIRouter:
    """Routes about oneself."""
    routes = APIRouter(prefix="/me", tags=["me"])

    @routes.get("")
    async def who_am_i(user: User = needs(Role.VIEWER)) -> Me:
        """Name, role, theme, and until when the login counts."""
        return Me(name=user.name, role=user.role.name.lower(), theme=user.theme, expires=user.expires)

    @routes.put("/theme", status_code=204)
    async def set_theme(wanted: Theme, user: User = needs(Role.VIEWER)) -> Response:
        """How the desk looks for oneself."""
        await in_thread(lambda: desk.accounts.change(user.name, theme=wanted.theme))
        return Response(status_code=204)

    @routes.put("/password", status_code=204)
    async def set_password(request: Request, wanted: NewPassword, user: User = needs(Role.VIEWER)) -> Response:
        """A new password for oneself; ends all one's sessions."""
        if user.token:
            raise InvalidRequest("a token cannot change a password: log in with it")
        address = request.client.host if request.client else "unknown"

        def change() -> None:
            desk.accounts.change_own_password(user, wanted.old, wanted.new, address)
            desk.audit(user, "changed own password", user.name)

        await in_thread(change)
        return Response(status_code=204)

    return routes
