"""/frames: the pictures that the line's cameras took, newest first, through filters, and labels that look wrong."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter, Query
from pydantic import BaseModel

from inspector.access.identity import Role
from inspector.errors import InvalidRequest
from inspector.part import Verdict
from inspector.records.browsing import BrowseFilter, Frame, Position
from inspector.web.accounts.user import User
from inspector.web.api.access import needs
from inspector.web.api.image_sets import Said
from inspector.web.desk import Desk, in_thread


class FrameOut(BaseModel):
    """A frame; its picture is /pictures/SEQUENCE/PLACE/FORM. `picture_id` is for asking what is like it."""

    sequence: int
    place: int
    picture_id: int
    sha256: str
    part_id: str
    view: str
    verdict: str
    score: float | None
    limit: float | None
    found_class: str
    bundle: str
    received: datetime
    said: list[Said]


class FramePage(BaseModel):
    """Frames, and what to give as `after` for the next page; nothing after the last."""

    frames: list[FrameOut]
    after: str


class DoubtOut(BaseModel):
    """A label that the model contradicts; `share` of what is labelled the other way looks less like it than this part."""

    sequence: int
    label: str
    score: float
    limit: float
    share: float


def router(desk: Desk) -> APIRouter:
    """Routes about frames."""
    routes = APIRouter(prefix="/frames", tags=["data sets"])

    @routes.get("")
    async def list_frames(
        label: str = "",
        reviewer: str = "",
        found_class: str = "",
        part: str = "",
        verdict: str = "",
        labelled: bool | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        after: str = "",
        limit: int = Query(60, ge=1, le=500),
        user: User = needs(Role.VIEWER),
    ) -> FramePage:
        """Frames that these filters let through, newest first; times with their time zone."""
        if any(time is not None and time.tzinfo is None for time in (since, until)):
            raise InvalidRequest(
                "a time without time zone says nothing: give it with one, such as 2026-03-02T06:00:00Z"
            )
        where = BrowseFilter(label, reviewer, found_class, part, _verdicts(verdict), labelled, since, until)
        frames, next_one = await in_thread(desk.work.browsing.page, where, position_of(after), limit)
        return FramePage(frames=[_out(frame) for frame in frames], after=text_of(next_one))

    @routes.get("/doubts")
    async def doubts(limit: int = Query(100, ge=1, le=500), user: User = needs(Role.VIEWER)) -> list[DoubtOut]:
        """Labels that the model contradicts, the strongest contradiction first."""
        found = await in_thread(desk.work.browsing.doubts, limit)
        return [
            DoubtOut(sequence=one.sequence, label=one.label, score=one.score, limit=one.limit, share=one.share)
            for one in found
        ]

    return routes


def position_of(text: str) -> Position | None:
    """Where the page before ended; None for the first, or for what is no such place."""
    parts = text.split("-")
    if len(parts) != 3 or not all(part.isascii() and part.isdecimal() and len(part) < 19 for part in parts):
        return None
    return Position(*(int(part) for part in parts))


def text_of(position: Position | None) -> str:
    """The inverse of `position_of`."""
    return "" if position is None else f"{position.receive_us}-{position.sequence}-{position.number}"


def _verdicts(name: str) -> frozenset[Verdict]:
    if not name:
        return frozenset()
    if name not in Verdict.__members__:
        raise InvalidRequest(f"{name[:40]!a} is no verdict: give {', '.join(Verdict.__members__)}")
    return frozenset({Verdict[name]})


def _out(frame: Frame) -> FrameOut:
    return FrameOut(
        sequence=frame.sequence,
        place=frame.place,
        picture_id=frame.picture_id,
        sha256=frame.sha256,
        part_id=frame.part_id,
        view=frame.view,
        verdict=frame.verdict.name,
        score=frame.score,
        limit=frame.limit,
        found_class=frame.found_class,
        bundle=frame.bundle,
        received=frame.received,
        said=[Said(author=author, label=label) for author, label in frame.said],
    )
