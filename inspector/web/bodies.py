"""How large the body of a request may be: counted while it arrives, so that nobody fills memory or disk with it.

Strangers can send as much as a login needs. What people who are logged in may send is told by the route; routes that read
JSON hold all of it in memory before they know whether the person may ask for it at all.
"""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.types import Message, Receive

from inspector.intake import MAX_CHUNK_BYTES

STRANGERS_BYTES = 64 << 10
PEOPLES_BYTES = 8 << 20
LABEL_FILE_BYTES = 1 << 30
_ROUTES = (
    ("/api/v1/uploads/", MAX_CHUNK_BYTES, "send the file in smaller pieces"),
    ("/api/v1/label-files", LABEL_FILE_BYTES, "divide the file"),
)


class BodyTooLarge(HTTPException):
    """More than the path takes. The web framework answers with 413 wherever it is raised."""

    def __init__(self, most_bytes: int, what_now: str) -> None:
        most = f"{most_bytes >> 20} MiB" if most_bytes >> 20 else f"{most_bytes >> 10} KiB"
        super().__init__(413, f"the body of this request is too large: at most {most} are taken here; {what_now}")


def bounded(receive: Receive, path: str, is_open: bool, content_length: str | None) -> Receive:
    """`receive` that never gives more than the path takes. Raises BodyTooLarge, at once for a length that says so."""
    most_bytes, what_now = _most(path, is_open)
    if content_length is not None and content_length.isdecimal() and int(content_length[:20]) > most_bytes:
        raise BodyTooLarge(most_bytes, what_now)
    came = 0

    async def receiving() -> Message:
        nonlocal came
        message = await receive()
        if message["type"] == "http.request":
            came += len(message.get("body", b""))
            if came > most_bytes:
                raise BodyTooLarge(most_bytes, what_now)
        return message

    return receiving


def _most(path: str, is_open: bool) -> tuple[int, str]:
    if is_open:
        return STRANGERS_BYTES, "send what the page asks for and nothing else"
    found = next(((most, what) for start, most, what in _ROUTES if path.startswith(start)), None)
    return found or (PEOPLES_BYTES, "send less at once")
