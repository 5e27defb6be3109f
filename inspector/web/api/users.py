"""/users: who may log in, and as what."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from inspector.access.identity import Role
from inspector.errors import AccessDenied
from inspector.web.accounts.user import User, parse_role, role_name
from inspector.web.api.access import needs
from inspector.web.desk import Desk, in_thread
from inspector.web.managing import add_user, change_user, unlock


class UserOut(BaseModel):
    """Somebody who may log in; `by` is "password" or "oidc"."""

    name: str
    role: str
    is_active: bool
    by: str
    created: datetime
    last_login: datetime | None


class NewUser(BaseModel):
    """Somebody new."""

    name: str = Field(max_length=63)
    role: str = Field(max_length=16)
    password: str = Field(max_length=1024)


class UserChange(BaseModel):
    """What is to be changed; what is left out stays."""

    role: str | None = Field(default=None, max_length=16)
    password: str | None = Field(default=None, max_length=1024)
    is_active: bool | None = None


def router(desk: Desk) -> APIRouter:
    """Routes about users."""
    routes = APIRouter(prefix="/users", tags=["users"])

    @routes.get("")
    async def list_users(user: User = needs(Role.ADMIN)) -> list[UserOut]:
        """Everybody, by name."""
        rows = await in_thread(desk.accounts.users.all)
        return [
            UserOut(
                name=row.name,
                role=role_name(row.role),
                is_active=row.is_active,
                by="password" if row.password else "oidc",
                created=row.created,
                last_login=row.last_login,
            )
            for row in rows
        ]

    @routes.post("", status_code=201)
    async def create_user(wanted: NewUser, user: User = needs(Role.ADMIN)) -> Response:
        """Somebody new, with a first password. Not for tokens."""
        if user.token:
            raise AccessDenied("a token cannot make users: log in with a password")
        await in_thread(add_user, desk, user, wanted.name, parse_role(wanted.role), wanted.password)
        return Response(status_code=201)

    @routes.patch("/{name}", status_code=204)
    async def update_user(name: str, wanted: UserChange, user: User = needs(Role.ADMIN)) -> Response:
        """Another role or password, locked out or let in again; ends their sessions. Not for tokens."""
        role = None if wanted.role is None else parse_role(wanted.role)
        change = {"role": role, "password": wanted.password, "is_active": wanted.is_active}
        await in_thread(change_user, desk, user, name, **change)  # type: ignore[arg-type]
        return Response(status_code=204)

    @routes.delete("/{name}/failures", status_code=204)
    async def forgive(name: str, user: User = needs(Role.ADMIN)) -> Response:
        """Let somebody in again who gave too many wrong passwords."""
        await in_thread(unlock, desk, user, name)
        return Response(status_code=204)

    return routes
