"""Who comes in over OPC UA: names and passwords, trusted certificates, and who calls the method that runs now."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from asyncua.crypto.permission_rules import User, UserRole
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from inspector.access.certificates import read_bounded
from inspector.access.identity import Identity, Role
from inspector.access.logins import Logins
from inspector.errors import AccessDenied, AccessError, Overloaded

Refused = Callable[[str, str, str, str], None]
"""Called with who, what, on what and why. Must not block."""

host_of_caller: ContextVar[str] = ContextVar("host", default="")
identity_of_caller: ContextVar[Identity] = ContextVar("caller", default=Identity("nobody"))  # noqa: B039 - frozen

session_of_caller: ContextVar[object] = ContextVar("session", default=None)


def caller() -> Identity:
    """Who called the method that runs now."""
    return identity_of_caller.get()


def caller_host() -> str:
    """From where."""
    return host_of_caller.get()


def caller_session() -> object:
    """In which session; equal for calls of one session and of no other."""
    return session_of_caller.get()


@dataclass
class HouseUser(User):
    """A user of asyncua's that knows who it is in this house."""

    identity: Identity = Identity("nobody")  # noqa: RUF009 - frozen


class HouseUsers:
    """asyncua's `UserManager`: people of the file of users; with `anonymous`, others as viewers."""

    def __init__(self, logins: Logins, anonymous: bool, on_refused: Refused) -> None:
        self._logins = logins
        self._anonymous = anonymous
        self._on_refused = on_refused

    def get_user(
        self, iserver: object, username: str | None = None, password: str | None = None, certificate: object = None
    ) -> User | None:
        """None if this one may not come in. Passwords take a tenth of a second, during which nobody else is served."""
        if username is None:
            return (
                HouseUser(UserRole.User, "anonymous", Identity("anonymous", role=Role.VIEWER))
                if self._anonymous
                else None
            )
        shown = "".join(c if c.isprintable() else "?" for c in username[:64])
        try:
            login = self._logins.check(username, password or "", host_of_caller.get())
        except (AccessDenied, Overloaded) as error:
            self._on_refused(f"{shown} at {host_of_caller.get()}", "OPC UA login", "", str(error))
            return None
        return HouseUser(UserRole.User, login.name, Identity(login.name, role=login.role))


def thumbprint(der: bytes) -> str:
    """By which a certificate is recognised: SHA-256 of its DER form, in hexadecimal."""
    return hashlib.sha256(der).hexdigest()


def read_trusted(folder: Path) -> frozenset[str]:
    """Thumbprints of every certificate in a folder, DER or PEM. Raises AccessError."""
    if not folder.is_dir():
        raise AccessError(
            f"{folder} is no folder: put the certificates of trusted clients there, or remove opcua.trusted"
        )
    found = set()
    for path in sorted(one for one in folder.iterdir() if one.suffix.lower() in (".der", ".pem", ".crt", ".cer")):
        data = read_bounded(path)
        try:
            pem = data.lstrip().startswith(b"-----BEGIN")
            loaded = x509.load_pem_x509_certificate(data) if pem else x509.load_der_x509_certificate(data)
        except ValueError as error:
            raise AccessError(f"{path} is no certificate ({error}): remove it from {folder}") from error
        found.add(thumbprint(loaded.public_bytes(Encoding.DER)))
    return frozenset(found)
