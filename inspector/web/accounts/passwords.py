"""Passwords of the web desk: hashed by Argon2id (RFC 9106), one text each with all that checking it needs."""

from __future__ import annotations

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY

from inspector.errors import InvalidRequest

MIN_PASSWORD, MAX_PASSWORD_BYTES = 10, 1024
_hasher = PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)


def hash_password(password: str) -> str:
    """The text to keep. InvalidRequest if the password is too short, or longer than any."""
    if len(password) < MIN_PASSWORD:
        raise InvalidRequest(f"a password needs at least {MIN_PASSWORD} characters: choose a longer one")
    if len(password.encode("utf-8", "surrogatepass")) > MAX_PASSWORD_BYTES:
        raise InvalidRequest(f"a password has at most {MAX_PASSWORD_BYTES} bytes: choose a shorter one")
    return _hasher.hash(password.encode("utf-8", "surrogatepass"))


def is_password(password: str, kept: str) -> bool:
    """Whether this is the password that was hashed. Takes some 50 ms and 64 MiB."""
    secret = password.encode("utf-8", "surrogatepass")
    if len(secret) > MAX_PASSWORD_BYTES:
        return False
    try:
        return _hasher.verify(kept, secret)
    except (VerificationError, InvalidHashError):
        return False


def is_outdated(kept: str) -> bool:
    """Whether it was hashed with less effort than passwords are now."""
    return _hasher.check_needs_rehash(kept)
