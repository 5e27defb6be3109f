"""Makes text and numbers from cameras fit for any database."""

from __future__ import annotations

import math

NAME_LENGTH = 256
DETAIL_LENGTH = 4096


def clean(value: str, length: int = NAME_LENGTH) -> str:
    """At most `length` characters, without NUL and half surrogates, which PostgreSQL refuses."""
    value = value[:length]
    if value.isascii() and "\0" not in value:
        return value
    return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def finite_or_none(value: float | None) -> float | None:
    """NaN becomes None on every database, as SQLite does it."""
    return None if value is None or math.isnan(value) else float(value)


def printable(text: str) -> str:
    """A file or class name as it can be shown: control characters and undecodable bytes as escapes."""
    plain = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in plain)
