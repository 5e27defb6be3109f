"""Logging in and out, and who a cookie or a token belongs to.

A name that fails `FAILURES` times from one address is locked out there, and there only: else anybody could keep its owner
out. An address that fails for many names must wait too, whatever it sends.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from inspector.access.identity import Role
from inspector.access.pace import MAX_CLIENTS, Bucket
from inspector.errors import AccessDenied, InvalidRequest, Overloaded
from inspector.records.users import TokenRow, UserRow, Users
from inspector.web.accounts.passwords import hash_password, is_outdated, is_password
from inspector.web.accounts.user import User, user_name

FAILURES, LOCKED = 5, timedelta(minutes=15)
ADDRESS_FAILURES, ADDRESS_EVERY_S = 20, 12.0
BELIEVED_S = 5.0
"""How long a cookie is believed without another look: so long may it take until a change by another program counts here."""
MAX_BELIEVED = 4096
HASHES_AT_ONCE = 2
MAX_TOKEN_NAME, MAX_TOKEN_DAYS = 64, 3650
TOKEN_PREFIX = "inspector_"

# Checked for names that nobody has, so that the time of an answer does not tell which names there are.
_NOBODY = hash_password(secrets.token_urlsafe(16))


class LockedOut(Overloaded):
    """Too many wrong passwords; `newly` is true for the one that locked."""

    def __init__(self, message: str, newly: bool) -> None:
        super().__init__(message)
        self.newly = newly


class Accounts:
    """Everybody who may use the desk. Thread-safe; every method may wait for the database."""

    def __init__(
        self,
        users: Users,
        session_hours: float,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.users = users
        self._session = timedelta(hours=session_hours)
        self._clock, self._monotonic = clock, monotonic
        self._lock = threading.Lock()
        self._hashing = threading.BoundedSemaphore(HASHES_AT_ONCE)
        self._addresses: OrderedDict[str, Bucket] = OrderedDict()
        self._believed: OrderedDict[bytes, tuple[User, float]] = OrderedDict()

    # Logging in

    def log_in(self, name: str, password: str, address: str) -> tuple[User, str]:
        """Who this is, and the secret of their cookie. AccessDenied; LockedOut for who has to wait."""
        wait_s = self._take(address)
        if wait_s:
            raise LockedOut(f"too many wrong passwords came from {address}: wait {wait_s:.0f} s and try again", False)
        try:
            name = user_name(name)
        except InvalidRequest as error:
            raise AccessDenied("unknown name or wrong password") from error
        now = self._clock()
        failures, newest = self.users.failures(name, address, now - LOCKED)
        if failures >= FAILURES and newest is not None:
            raise LockedOut(_locked_text(name, address, newest + LOCKED - now), False)
        row = self.users.find(name)
        kept = row.password if row is not None and row.is_active and row.password is not None else None
        with self._hashing:
            right = is_password(password, _NOBODY if kept is None else kept) and kept is not None
        if not right or row is None:
            if self.users.add_failure(name, address, now, now - LOCKED) >= FAILURES:
                raise LockedOut(_locked_text(name, address, LOCKED), True)
            raise AccessDenied("unknown name or wrong password")
        self._give_back(address)
        if failures:
            self.users.forgive(name, address)
        if is_outdated(row.password or ""):
            self._rehash(row, password)
        return self.welcome(name, address)

    def welcome(self, name: str, address: str) -> tuple[User, str]:
        """A session for somebody who has proved who they are, and the secret of its cookie. AccessDenied, NotFound."""
        secret = secrets.token_urlsafe(32)
        now = self._clock()
        self.users.open_session(name, digest(secret), address, now, now + self._session)
        user = self.of_session(secret)
        if user is None:
            raise AccessDenied(f"{name} may not log in any more: ask an admin")
        return user, secret

    def log_out(self, secret: str) -> None:
        """This cookie counts no more."""
        self.forget(digest(secret))
        self.users.close_session(digest(secret))

    # Who asks

    def of_session(self, secret: str) -> User | None:
        """Whose cookie this is, None if it does not count (any more)."""
        return self._look(digest(secret), self._session_user)

    def of_token(self, secret: str) -> User | None:
        """Whose token this is, None if it does not count (any more)."""
        return self._look(digest(secret), self._token_user)

    def believed(self, secret: str) -> User | None:
        """Whose cookie this was within the last seconds; never waits. None: ask `of_session`."""
        now_s = self._monotonic()
        with self._lock:
            user, until_s = self._believed.get(digest(secret), (None, 0.0))
        if user is None or until_s < now_s or (user.expires is not None and user.expires <= self._clock()):
            return None
        return user

    def forget(self, sha256: bytes | None = None) -> None:
        """Believe no cookie, or not this one, without another look at the database."""
        with self._lock:
            if sha256 is None:
                self._believed.clear()
            else:
                self._believed.pop(sha256, None)

    # Managing users

    def add(self, name: str, role: Role, password: str | None) -> str:
        """Somebody new; returns their name as it is kept. InvalidRequest."""
        kept = user_name(name)
        self.users.add(kept, int(role), None if password is None else self._hash(password), self._clock())
        return kept

    def change(
        self,
        name: str,
        *,
        role: Role | None = None,
        password: str | None = None,
        is_active: bool | None = None,
        theme: str | None = None,
    ) -> UserRow:
        """Change what is given; returns what was before. All but a theme ends their sessions. NotFound, InvalidRequest."""
        values: dict[str, object] = {}
        if role is not None:
            values["role"] = int(role)
        if password is not None:
            values["password"] = self._hash(password)
        if is_active is not None:
            values["is_active"] = is_active
        if theme is not None:
            if theme not in ("light", "dark", ""):
                raise InvalidRequest(
                    f"there is no theme {theme[:40]!r}: choose light, dark, or nothing for the system's"
                )
            values["theme"] = theme or None
        before = self.users.change(name, must_stay=int(Role.ADMIN), **values)
        self.forget()
        return before

    def change_own_password(self, user: User, old: str, new: str, address: str) -> None:
        """AccessDenied if the old password is wrong; LockedOut as when logging in; InvalidRequest."""
        self.log_out(self.log_in(user.name, old, address)[1])
        self.change(user.name, password=new)

    # Tokens

    def new_token(self, user: User, name: str, role: Role, days: int | None) -> tuple[TokenRow, str]:
        """A token for a program of this user, and its secret, which is shown this once. AccessDenied, InvalidRequest."""
        if user.token:
            raise AccessDenied("a token cannot make tokens: log in with a password")
        if not user.may(role):
            raise AccessDenied(f"{user.name} is {user.role.name.lower()}, and a token cannot do more than who made it")
        label = name.strip()
        if not label or len(label) > MAX_TOKEN_NAME or not label.isprintable():
            raise InvalidRequest(f"name the token's use in 1 to {MAX_TOKEN_NAME} printable characters")
        if days is not None and not 1 <= days <= MAX_TOKEN_DAYS:
            raise InvalidRequest(f"a token counts for 1 to {MAX_TOKEN_DAYS} days, or without an end")
        secret = TOKEN_PREFIX + secrets.token_urlsafe(32)
        now = self._clock()
        expires = None if days is None else now + timedelta(days=days)
        return self.users.add_token(user.name, label, digest(secret), int(role), now, expires), secret

    def revoke_token(self, user: User, number: int) -> TokenRow:
        """A token counts no more; an admin's word is enough, else it must be one's own. NotFound, AccessDenied."""
        own = {row.number for row in self.users.tokens(user.name)}
        if number not in own and not user.may(Role.ADMIN):
            raise AccessDenied(f"token {number} is not one of {user.name}'s: ask an admin")
        row = self.users.revoke_token(number, self._clock())
        self.forget()
        return row

    # Inside

    def _look(self, sha256: bytes, ask: Callable[[bytes], User | None]) -> User | None:
        now_s = self._monotonic()
        with self._lock:
            user, until_s = self._believed.get(sha256, (None, 0.0))
        if user is not None and now_s < until_s and (user.expires is None or user.expires > self._clock()):
            return user
        user = ask(sha256)
        with self._lock:
            self._believed.pop(sha256, None)
            if user is not None:
                self._believed[sha256] = (user, now_s + BELIEVED_S)
                if len(self._believed) > MAX_BELIEVED:
                    self._believed.popitem(last=False)
        return user

    def _session_user(self, sha256: bytes) -> User | None:
        found = self.users.session(sha256, self._clock())
        if found is None:
            return None
        return User(found.user.name, Role(found.user.role), found.user.theme, expires=found.expires)

    def _token_user(self, sha256: bytes) -> User | None:
        found = self.users.token(sha256, self._clock())
        if found is None:
            return None
        role = Role(min(found.role, found.user.role))
        return User(found.user.name, role, token=found.number, expires=found.expires)

    def _hash(self, password: str) -> str:
        with self._hashing:
            return hash_password(password)

    def _rehash(self, row: UserRow, password: str) -> None:
        self.users.change(row.name, must_stay=int(Role.ADMIN), password=self._hash(password))

    def _take(self, address: str) -> float:
        """Count an attempt of an address; gives how many seconds it has to wait."""
        with self._lock:
            now_s = self._monotonic()
            bucket = self._addresses.get(address)
            if bucket is None:
                bucket = self._addresses[address] = Bucket(1 / ADDRESS_EVERY_S, ADDRESS_FAILURES, now_s)
                if len(self._addresses) > MAX_CLIENTS:
                    self._addresses.popitem(last=False)
            self._addresses.move_to_end(address)
            return bucket.take(now_s)

    def _give_back(self, address: str) -> None:
        with self._lock:
            if (bucket := self._addresses.get(address)) is not None:
                bucket.give_back()


def digest(secret: str) -> bytes:
    """What is kept of a secret. It has 256 bits of chance, so that no slow hash is needed."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def _locked_text(name: str, address: str, left: timedelta) -> str:
    minutes = max(1, round(left.total_seconds() / 60))
    return (
        f"too many wrong passwords for {name} from {address}: wait {minutes} min, or ask an admin to let you in again; "
        "from other places the name still works"
    )
