"""Managing users and tokens, each change on record; what pages and API both call."""

from __future__ import annotations

from inspector.access.identity import Role
from inspector.errors import AccessDenied, InvalidRequest
from inspector.records.users import TokenRow
from inspector.web.accounts.user import User, role_name, user_name
from inspector.web.desk import Desk


def add_user(desk: Desk, user: User, name: str, role: Role, password: str) -> str:
    """Somebody new; returns their name as kept. InvalidRequest."""
    kept = desk.accounts.add(name, role, password)
    desk.audit(user, "added user", kept, {"role": role_name(role)})
    return kept


def change_user(
    desk: Desk,
    user: User,
    name: str,
    *,
    role: Role | None = None,
    password: str | None = None,
    is_active: bool | None = None,
) -> None:
    """Change what is given. NotFound, InvalidRequest; AccessDenied for a token, which must not open doors for people."""
    if user.token:
        raise AccessDenied("a token cannot change users: log in with a password")
    kept = user_name(name)
    if kept == user.name and (is_active is False or (role is not None and role < user.role)):
        raise InvalidRequest("you would lock yourself out: let another admin do this")
    before = desk.accounts.change(kept, role=role, password=password, is_active=is_active)
    details: dict[str, object] = {}
    if role is not None:
        details["role"] = {"from": role_name(before.role), "to": role_name(role)}
    if is_active is not None:
        details["active"] = {"from": before.is_active, "to": is_active}
    if password is not None:
        details["password"] = "set anew"
    desk.audit(user, "changed user", kept, details)


def unlock(desk: Desk, user: User, name: str) -> None:
    """Forget somebody's wrong passwords."""
    desk.accounts.users.forgive(user_name(name))
    desk.audit(user, "let in again after wrong passwords", user_name(name))


def make_token(desk: Desk, user: User, name: str, role: Role, days: int | None) -> tuple[TokenRow, str]:
    """A token and its secret. AccessDenied, InvalidRequest."""
    row, secret = desk.accounts.new_token(user, name, role, days)
    about = {"for": row.name, "role": role_name(role), "days": days}
    desk.audit(user, "made token", f"token {row.number}", about)
    return row, secret


def revoke(desk: Desk, user: User, number: int) -> None:
    """A token counts no more. AccessDenied, NotFound."""
    row = desk.accounts.revoke_token(user, number)
    desk.audit(user, "revoked token", f"token {number}", {"for": row.name, "user": row.user.name})
