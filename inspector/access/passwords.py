"""Passwords as they are kept: hashed by scrypt (RFC 7914), one text each with all that checking it needs."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os

from inspector.errors import AccessError

MIN_PASSWORD, MAX_PASSWORD_BYTES = 10, 1024
# OWASP Password Storage Cheat Sheet: N = 2^15, r = 8, p = 3, which takes 32 MiB and about a tenth of a second.
_COST, _BLOCK, _LANES = 1 << 15, 8, 3
_SALT_BYTES, _KEY_BYTES = 16, 32
_MAX_MEMORY = 128 << 20


def hash_password(password: str) -> str:
    """The text to keep, "scrypt$N$r$p$salt$key". Raises AccessError if the password is too short, or longer than any."""
    if len(password) < MIN_PASSWORD:
        raise AccessError(f"a password needs at least {MIN_PASSWORD} characters: choose a longer one")
    if len(password.encode("utf-8", "surrogatepass")) > MAX_PASSWORD_BYTES:
        raise AccessError(f"a password has at most {MAX_PASSWORD_BYTES} bytes: choose a shorter one")
    if "\0" in password:
        raise AccessError("a password cannot hold the character NUL: choose another one")
    salt = os.urandom(_SALT_BYTES)
    key = _derive(password, salt, _COST, _BLOCK, _LANES)
    return f"scrypt${_COST}${_BLOCK}${_LANES}${_text(salt)}${_text(key)}"


def check_hash(kept: str) -> None:
    """Raise AccessError if `kept` is not a text of `hash_password`."""
    _parse(kept)


def is_password(password: str, kept: str) -> bool:
    """Whether this is the password that was hashed. Takes a tenth of a second and lets other threads run."""
    cost, block, lanes, salt, key = _parse(kept)
    # HMAC, on which scrypt rests, fills keys up with NUL: a password would be recognised with some behind it too.
    if "\0" in password or len(password.encode("utf-8", "surrogatepass")) > MAX_PASSWORD_BYTES:
        return False
    return hmac.compare_digest(_derive(password, salt, cost, block, lanes), key)


def _derive(password: str, salt: bytes, cost: int, block: int, lanes: int) -> bytes:
    secret = password.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(secret, salt=salt, n=cost, r=block, p=lanes, maxmem=_MAX_MEMORY, dklen=_KEY_BYTES)


def _parse(kept: str) -> tuple[int, int, int, bytes, bytes]:
    """Cost, block size, lanes, salt and key. Raises AccessError; bounds keep a foreign file from taking memory or hours."""
    try:
        kind, cost, block, lanes, salt_text, key_text = kept.split("$")
        numbers = int(cost), int(block), int(lanes)
        salt, key = (base64.b64decode(text, validate=True) for text in (salt_text, key_text))
        power_of_two = numbers[0] & (numbers[0] - 1) == 0
        in_bounds = 1 << 14 <= numbers[0] <= 1 << 16 and numbers[1] == _BLOCK and 1 <= numbers[2] <= 8
        if kind != "scrypt" or not power_of_two or not in_bounds or len(salt) < 8 or len(key) != _KEY_BYTES:
            raise ValueError("out of bounds")
    except (ValueError, binascii.Error) as error:
        raise AccessError(
            f"{kept[:20]!r}… is no hashed password ({error}): make one with `inspector opcua-user`"
        ) from error
    return *numbers, salt, key


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
