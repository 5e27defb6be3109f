"""Somebody who is at the desk, as pages and routes get to know them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from inspector.access.identity import Role
from inspector.errors import InvalidRequest

ROLES = tuple(role for role in Role if role is not Role.NONE)
_NAME = re.compile(r"[a-z0-9][a-z0-9_.@-]{0,62}")


@dataclass(frozen=True, slots=True)
class User:
    """Who asks. `name` is what labels and audit rows carry; `token` is the number of a program's token, 0 for a person."""

    name: str
    role: Role
    theme: str = ""
    token: int = 0
    expires: datetime | None = None

    def may(self, role: Role) -> bool:
        """Whether they may do what needs this role."""
        return self.role >= role


def user_name(text: str) -> str:
    """The name that is kept for what somebody typed: small letters. InvalidRequest."""
    name = text.strip().lower()
    if not _NAME.fullmatch(name):
        raise InvalidRequest(
            "a user's name has 1 to 63 letters, digits, '_', '.', '@' or '-', and begins with a letter or digit"
        )
    return name


def role_name(role: int) -> str:
    """As people read it."""
    return Role(role).name.lower()


def parse_role(text: str) -> Role:
    """The role of that name. InvalidRequest."""
    known = {role_name(role): role for role in ROLES}
    if text not in known:
        raise InvalidRequest(f"there is no role {text[:40]!r}: choose one of {', '.join(known)}")
    return known[text]
