"""People and programs of the web desk as rows: users, sessions, tokens, and wrong passwords.

What a role number means, and how passwords are hashed, is known elsewhere (`inspector/web/accounts`). Secrets of sessions and
tokens never come here, only their SHA-256. Every method raises StoreUnavailable and SchemaOutdated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from inspector.errors import InvalidRequest, NotFound
from inspector.records import schema
from inspector.records.applying import insert_for
from inspector.records.codec import from_microseconds, to_microseconds
from inspector.records.database import Database

_u, _s, _t, _f = schema.users, schema.user_sessions, schema.user_tokens, schema.login_failures


@dataclass(frozen=True, slots=True)
class UserRow:
    """Somebody who may log in. `password` is a hash, None for who logs in elsewhere; `theme` is "light", "dark" or empty."""

    name: str
    role: int
    password: str | None
    is_active: bool
    theme: str
    created: datetime
    last_login: datetime | None


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A login that counts until `expires`."""

    user: UserRow
    expires: datetime


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A program's secret, without the secret. `role` is what it was given, which may be more than its user has now."""

    number: int
    user: UserRow
    name: str
    role: int
    created: datetime
    expires: datetime | None
    used: datetime | None
    revoked: datetime | None


class Users:
    """Users with their sessions and tokens. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # People

    def all(self) -> tuple[UserRow, ...]:
        """Everybody, by name."""
        with self._database.reading() as connection:
            return tuple(_user(row) for row in connection.execute(sa.select(_u).order_by(_u.c.name)))

    def find(self, name: str) -> UserRow | None:
        """Somebody, or None."""
        with self._database.reading() as connection:
            row = connection.execute(sa.select(_u).where(_u.c.name == name)).one_or_none()
        return None if row is None else _user(row)

    def add(self, name: str, role: int, password: str | None, time: datetime) -> None:
        """Somebody new. InvalidRequest if the name is taken."""
        values = {
            "name": name,
            "role": role,
            "password": password,
            "is_active": True,
            "created_us": to_microseconds(time),
        }
        with self._database.writing() as connection:
            insert = insert_for(connection, _u).values(values).on_conflict_do_nothing(index_elements=[_u.c.name])
            if connection.execute(insert.returning(_u.c.id)).first() is None:
                raise InvalidRequest(f"there is a user {name} already: choose another name, or change that user")

    def change(self, name: str, *, must_stay: int, **values: Any) -> UserRow:
        """Change role, password, is_active or theme; returns what was before. NotFound.

        InvalidRequest if nobody of the role `must_stay` with a login of their own would be left. Whoever gets another role or
        password, or is locked out, is logged out everywhere.
        """
        with self._database.writing() as connection:
            row = connection.execute(sa.select(_u).where(_u.c.name == name).with_for_update()).one_or_none()
            if row is None:
                raise NotFound(f"there is no user {name}: see the list of users")
            connection.execute(sa.update(_u).where(_u.c.id == row.id).values(values))
            if {"role", "is_active"} & set(values):
                left = sa.select(sa.func.count()).where(_u.c.role >= must_stay, _u.c.is_active)
                if connection.execute(left).scalar_one() == 0:
                    raise InvalidRequest(f"{name} is the last who manages users: give somebody else that role first")
            if {"role", "password", "is_active"} & set(values):
                connection.execute(sa.delete(_s).where(_s.c.user_id == row.id))
            return _user(row)

    # Sessions

    def open_session(self, name: str, sha256: bytes, address: str, now: datetime, expires: datetime) -> None:
        """Somebody logged in; forgets sessions that are over. NotFound."""
        with self._database.writing() as connection:
            user_id = _id(connection, name)
            connection.execute(sa.delete(_s).where(_s.c.expires_us <= to_microseconds(now)))
            connection.execute(
                sa.insert(_s).values(
                    sha256=sha256,
                    user_id=user_id,
                    address=address,
                    created_us=to_microseconds(now),
                    expires_us=to_microseconds(expires),
                )
            )
            connection.execute(sa.update(_u).where(_u.c.id == user_id).values(login_us=to_microseconds(now)))

    def session(self, sha256: bytes, now: datetime) -> SessionRow | None:
        """Who is logged in with this; None if nobody is any more."""
        query = sa.select(_u, _s.c.expires_us).join(_s, _s.c.user_id == _u.c.id)
        query = query.where(_s.c.sha256 == sha256, _s.c.expires_us > to_microseconds(now), _u.c.is_active)
        with self._database.reading() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else SessionRow(_user(row), from_microseconds(row.expires_us))

    def close_session(self, sha256: bytes) -> None:
        """Somebody logged out."""
        with self._database.writing() as connection:
            connection.execute(sa.delete(_s).where(_s.c.sha256 == sha256))

    # Tokens

    def add_token(
        self, user: str, name: str, sha256: bytes, role: int, now: datetime, expires: datetime | None
    ) -> TokenRow:
        """A new token of somebody. NotFound."""
        values = {
            "name": name,
            "sha256": sha256,
            "role": role,
            "created_us": to_microseconds(now),
            "expires_us": None if expires is None else to_microseconds(expires),
        }
        with self._database.writing() as connection:
            insert = sa.insert(_t).values(user_id=_id(connection, user), **values).returning(_t.c.id)
            number = connection.execute(insert).scalar_one()
            return _token(connection.execute(_TOKENS.where(_t.c.id == number)).one())

    def tokens(self, user: str = "") -> tuple[TokenRow, ...]:
        """Every token, or those of somebody, newest first; revoked ones too."""
        query = _TOKENS.order_by(_t.c.id.desc())
        with self._database.reading() as connection:
            rows = connection.execute(query.where(_u.c.name == user) if user else query).all()
        return tuple(_token(row) for row in rows)

    def token(self, sha256: bytes, now: datetime) -> TokenRow | None:
        """The token with this secret, None if there is none that counts; notes once a minute that it was used."""
        now_us = to_microseconds(now)
        counts = _t.c.revoked_us.is_(None) & (_t.c.expires_us.is_(None) | (_t.c.expires_us > now_us)) & _u.c.is_active
        with self._database.reading() as connection:
            row = connection.execute(_TOKENS.where(_t.c.sha256 == sha256, counts)).one_or_none()
        if row is None:
            return None
        if row.used_us is None or now - from_microseconds(row.used_us) > timedelta(minutes=1):
            with self._database.writing() as connection:
                connection.execute(sa.update(_t).where(_t.c.id == row.token_id).values(used_us=now_us))
        return _token(row)

    def revoke_token(self, number: int, now: datetime) -> TokenRow:
        """This token counts no more. NotFound."""
        with self._database.writing() as connection:
            row = connection.execute(_TOKENS.where(_t.c.id == number)).one_or_none()
            if row is None:
                raise NotFound(f"there is no token {number}: see the list of tokens")
            if row.revoked_us is None:
                connection.execute(sa.update(_t).where(_t.c.id == number).values(revoked_us=to_microseconds(now)))
            return _token(row)

    # Wrong passwords

    def failures(self, name: str, address: str, since: datetime) -> tuple[int, datetime | None]:
        """How many wrong passwords of a name came from an address since its last right one, if the newest is not older."""
        query = sa.select(_f).where(_f.c.name == name, _f.c.address == address, _f.c.last_us > to_microseconds(since))
        with self._database.reading() as connection:
            row = connection.execute(query).one_or_none()
        return (0, None) if row is None else (row.failures, from_microseconds(row.last_us))

    def add_failure(self, name: str, address: str, now: datetime, since: datetime) -> int:
        """A wrong password; returns how many there are. Forgets those older than `since`."""
        with self._database.writing() as connection:
            connection.execute(sa.delete(_f).where(_f.c.last_us <= to_microseconds(since)))
            insert = insert_for(connection, _f).values(
                name=name, address=address, failures=1, last_us=to_microseconds(now)
            )
            more = {"failures": _f.c.failures + 1, "last_us": to_microseconds(now)}
            connection.execute(insert.on_conflict_do_update(index_elements=[_f.c.name, _f.c.address], set_=more))
            query = sa.select(_f.c.failures).where(_f.c.name == name, _f.c.address == address)
            failures: int = connection.execute(query).scalar_one()
            return failures

    def forgive(self, name: str, address: str = "") -> None:
        """Forget the wrong passwords of a name, from an address or from everywhere."""
        where = [_f.c.name == name, *([_f.c.address == address] if address else [])]
        with self._database.writing() as connection:
            connection.execute(sa.delete(_f).where(*where))

    def locked(self, failures: int, since: datetime) -> Sequence[tuple[str, str, datetime]]:
        """Name, address and time of the newest of those with at least so many wrong passwords since then."""
        query = (
            sa.select(_f).where(_f.c.failures >= failures, _f.c.last_us > to_microseconds(since)).order_by(_f.c.name)
        )
        with self._database.reading() as connection:
            return [(row.name, row.address, from_microseconds(row.last_us)) for row in connection.execute(query)]


_TOKENS = sa.select(
    _u,
    _t.c.id.label("token_id"),
    _t.c.name.label("token_name"),
    _t.c.role.label("token_role"),
    _t.c.created_us.label("token_created_us"),
    _t.c.expires_us,
    _t.c.used_us,
    _t.c.revoked_us,
).join(_t, _t.c.user_id == _u.c.id)


def _id(connection: Connection, name: str) -> int:
    found: int | None = connection.execute(sa.select(_u.c.id).where(_u.c.name == name)).scalar()
    if found is None:
        raise NotFound(f"there is no user {name}: see the list of users")
    return found


def _time(us: int | None) -> datetime | None:
    return None if us is None else from_microseconds(us)


def _user(row: Row[Any]) -> UserRow:
    created = from_microseconds(row.created_us)
    return UserRow(row.name, row.role, row.password, row.is_active, row.theme or "", created, _time(row.login_us))


def _token(row: Row[Any]) -> TokenRow:
    return TokenRow(
        number=row.token_id,
        user=_user(row),
        name=row.token_name,
        role=row.token_role,
        created=from_microseconds(row.token_created_us),
        expires=_time(row.expires_us),
        used=_time(row.used_us),
        revoked=_time(row.revoked_us),
    )
