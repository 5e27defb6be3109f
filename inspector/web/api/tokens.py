"""/tokens: secrets of programs, each of one user; an admin sees and ends those of everybody."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from inspector.access.identity import Role
from inspector.records.users import TokenRow
from inspector.web.accounts.user import User, parse_role, role_name
from inspector.web.api.access import needs
from inspector.web.desk import Desk, in_thread
from inspector.web.managing import make_token, revoke


class TokenOut(BaseModel):
    """A token without its secret."""

    number: int
    user: str
    name: str
    role: str
    created: datetime
    expires: datetime | None
    used: datetime | None
    revoked: datetime | None


class NewToken(BaseModel):
    """What it is for, what it may do (at most what its user may), and for how many days it counts (none: no end)."""

    name: str = Field(max_length=64)
    role: str = Field(max_length=16)
    days: int | None = 365


class Made(BaseModel):
    """A new token; the secret is shown this once."""

    token: TokenOut
    secret: str


def router(desk: Desk) -> APIRouter:
    """Routes about tokens."""
    routes = APIRouter(prefix="/tokens", tags=["tokens"])

    @routes.get("")
    async def list_tokens(user: User = needs(Role.VIEWER)) -> list[TokenOut]:
        """One's own; for an admin, everybody's."""
        rows = await in_thread(desk.accounts.users.tokens, "" if user.may(Role.ADMIN) else user.name)
        return [_out(row) for row in rows]

    @routes.post("", status_code=201)
    async def create_token(wanted: NewToken, user: User = needs(Role.VIEWER)) -> Made:
        """A token for a program of one's own. Not for tokens."""
        row, secret = await in_thread(make_token, desk, user, wanted.name, parse_role(wanted.role), wanted.days)
        return Made(token=_out(row), secret=secret)

    @routes.delete("/{number}", status_code=204)
    async def delete_token(number: int, user: User = needs(Role.VIEWER)) -> Response:
        """It counts no more; one's own, or for an admin any."""
        await in_thread(revoke, desk, user, number if abs(number) < 1 << 31 else 0)
        return Response(status_code=204)

    return routes


def _out(row: TokenRow) -> TokenOut:
    return TokenOut(
        number=row.number,
        user=row.user.name,
        name=row.name,
        role=role_name(row.role),
        created=row.created,
        expires=row.expires,
        used=row.used,
        revoked=row.revoked,
    )
