"""People and programs that log in with a password: a file of names, roles and hashed passwords, and how often one may fail.

[user.anna]
role = "operator"           viewer, operator, engineer, approver, admin
password = "scrypt$…"       of `inspector opcua-user`
"""

from __future__ import annotations

import re
import threading
import time
import tomllib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from inspector.access.certificates import is_there, make_folder, write_file
from inspector.access.identity import Role
from inspector.access.pace import MAX_CLIENTS, Bucket
from inspector.access.passwords import check_hash, hash_password, is_password
from inspector.errors import AccessDenied, AccessError, Overloaded

MAX_USERS, MAX_FILE_BYTES = 256, 256 << 10
FAILURES, FAILURE_EVERY_S = 5, 12.0
"""Wrong passwords that an address may give at once, and after how long one more."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,62}")


@dataclass(frozen=True, slots=True)
class Login:
    """Somebody who may log in."""

    name: str
    role: Role
    password: str


def read_logins(path: Path) -> dict[str, Login]:
    """Everybody in the file, by name. Raises AccessError that names what is wrong."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise AccessError(f"{path} cannot be read ({error.strerror}): make it with `inspector opcua-user`") from error
    if len(raw) > MAX_FILE_BYTES:
        raise AccessError(
            f"{path} has {len(raw):,} bytes, the most is {MAX_FILE_BYTES:,}: is it a file of users at all?"
        )
    try:
        document = tomllib.loads(raw.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise AccessError(f"{path} is no TOML: {error}; make it with `inspector opcua-user`") from error
    users = document.get("user")
    if set(document) != {"user"} or not isinstance(users, dict) or not users:
        raise AccessError(f"{path} names no user: add one with `inspector opcua-user`")
    if len(users) > MAX_USERS:
        raise AccessError(f"{path} names {len(users)} users, the most is {MAX_USERS}")
    return {name: _login(path, name, table) for name, table in users.items()}


def _login(path: Path, name: str, table: object) -> Login:
    where = f"{path}: user {name[:80]!r}"
    if not _NAME.fullmatch(name):
        raise AccessError(f"{where} is no name: use letters, digits, '_', '.', '@' or '-'")
    if not isinstance(table, dict) or set(table) != {"role", "password"}:
        raise AccessError(f"{where} needs role and password, and nothing else: set both with `inspector opcua-user`")
    role, password = table["role"], table["password"]
    known = [one.name.lower() for one in Role if one is not Role.NONE]
    if not isinstance(role, str) or role not in known:
        raise AccessError(f"{where} has the role {role!r:.40}, expected one of {', '.join(known)}")
    if not isinstance(password, str):
        raise AccessError(f"{where} has a password that is no text: set it with `inspector opcua-user`")
    try:
        check_hash(password)
    except AccessError as error:
        raise AccessError(f"{where}: {error}") from error
    return Login(name, Role[role.upper()], password)


def write_login(path: Path, name: str, role: Role, password: str) -> None:
    """Add somebody to the file, or give them a new role and password. Raises AccessError."""
    logins = read_logins(path) if is_there(path) else {}
    logins[name] = Login(name, role, hash_password(password))
    if len(logins) > MAX_USERS:
        raise AccessError(f"{path} names {MAX_USERS} users already, which is the most")
    text = "".join(
        f'[user."{one.name}"]\nrole = "{one.role.name.lower()}"\npassword = "{one.password}"\n\n'
        for one in logins.values()
    )
    _login(path, name, {"role": role.name.lower(), "password": logins[name].password})
    make_folder(path.parent)
    write_file(path, text.encode(), mode=0o640)


class Logins:
    """Lets people in by name and password. An address that fails too often must wait, whatever it sends.

    An account is never locked, which would let anybody keep its owner out.
    """

    def __init__(self, logins: Mapping[str, Login], clock: Callable[[], float] = time.monotonic) -> None:
        self._logins = dict(logins)
        self._clock = clock
        self._lock = threading.Lock()
        self._failures: OrderedDict[str, Bucket] = OrderedDict()
        # Checked for names that nobody has, so that the time of an answer does not tell which names there are.
        self._nobody = next(iter(self._logins.values())).password

    def check(self, name: str, password: str, host: str) -> Login:
        """Who this is. Takes a tenth of a second. Raises AccessDenied, or Overloaded for a host that has to wait."""
        bucket = self._bucket(host)
        with self._lock:
            # Taken before the password is looked at, so that attempts at the same time count too.
            wait_s = bucket.take(self._clock())
        if wait_s:
            raise Overloaded(f"{host} gave too many wrong passwords: wait {wait_s:.0f} s")
        login = self._logins.get(name)
        if is_password(password, self._nobody if login is None else login.password) and login is not None:
            with self._lock:
                bucket.give_back()
            return login
        raise AccessDenied("unknown name or wrong password")

    def _bucket(self, host: str) -> Bucket:
        with self._lock:
            bucket = self._failures.get(host)
            if bucket is None:
                bucket = self._failures[host] = Bucket(1 / FAILURE_EVERY_S, FAILURES, self._clock())
                if len(self._failures) > MAX_CLIENTS:
                    self._failures.popitem(last=False)
            self._failures.move_to_end(host)
            return bucket
