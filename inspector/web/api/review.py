"""/review: parts to look at, one person each, and what they say of them."""

from __future__ import annotations

import functools
from datetime import datetime
from pathlib import Path
from typing import Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from inspector.access.identity import Role
from inspector.errors import NotFound
from inspector.records.labels import Label, label_name
from inspector.records.review import Kind, Need, Order
from inspector.records.review_rows import Claimed, Holder, ReviewQueue, Wish
from inspector.web.accounts.user import User
from inspector.web.api.access import needs
from inspector.web.api.parts import ClassShown, PartShown, class_shown, classes_shown, part_shown
from inspector.web.desk import Desk, in_thread
from inspector.web.golden import golden_picture

DOUBLE_PERCENT = 10
"""Of how many parts a second person is asked, so that there is something to tell by how far people agree."""
_WINDOW = Field(min_length=1, max_length=64)


class Asked(BaseModel):
    """Which parts somebody wants to look at in a window of theirs; `besides` are those that it has at hand.

    A `count` of 0 holds these longer and asks for no other.
    """

    window: str = _WINDOW
    order: Literal["closest", "newest", "uncertain"] = "closest"
    kinds: list[Literal["reject", "unknown", "near"]] = ["reject", "unknown", "near"]
    station: str = Field("", max_length=256)
    since: datetime | None = None
    count: int = Field(10, ge=0, le=50)
    besides: list[int] = Field([], max_length=1000)


class Waiting(BaseModel):
    """How many parts ask what of one who asks."""

    first: int
    second: int
    third: int


class PartAsked(PartShown):
    """A part, and what it asks: a first or second opinion, or a decision between two ("third")."""

    need: str


class Claims(BaseModel):
    """Parts that are theirs for five minutes, how many more wait, and the classes with their keys."""

    parts: list[PartAsked]
    waiting: Waiting
    classes: list[ClassShown]


class Decision(BaseModel):
    """What somebody says of a part that is theirs: good, unsure or a class. `image` is the picture that they looked at."""

    window: str = _WINDOW
    sequence: int = Field(ge=0, lt=2**63)
    what: str = Field(max_length=256)
    image: str = Field("", max_length=64)


class Undone(BaseModel):
    """Which part to take back what was said of."""

    window: str = _WINDOW
    sequence: int = Field(ge=0, lt=2**63)


class Window(BaseModel):
    """A window that gives back what it has."""

    window: str = _WINDOW


class Said(BaseModel):
    """What counts now of those who ask: a class, good, unsure, or withdrawn for nothing."""

    what: str


def router(desk: Desk) -> APIRouter:
    """Routes of the review queue."""
    routes = APIRouter(prefix="/review", tags=["review"])
    queue = ReviewQueue(desk.database)

    @routes.post("/claims")
    async def claim(asked: Asked, user: User = needs(Role.OPERATOR)) -> Claims:
        """Parts for this person alone, the most urgent first; claims of theirs are held longer."""

        def work() -> Claims:
            now, wish = desk.clock(), _wish(desk, asked)
            offer = queue.offer(wish, _holder(user, asked.window), asked.count, now, frozenset(asked.besides))
            shown = [_asked(desk, one) for one in offer.parts]
            waiting = Waiting(
                first=offer.waiting.get(Need.FIRST, 0),
                second=offer.waiting.get(Need.SECOND, 0),
                third=offer.waiting.get(Need.THIRD, 0),
            )
            return Claims(parts=shown, waiting=waiting, classes=[class_shown(one) for one in classes_shown(desk)])

        return await in_thread(work)

    @routes.post("/decisions", status_code=204)
    async def decide(said: Decision, user: User = needs(Role.OPERATOR)) -> Response:
        """Note what somebody says of a part that is theirs."""

        def work() -> None:
            now = desk.clock()
            label = Label(desk.line, said.sequence, label_name(said.what), user.name, now, image=said.image)
            queue.decide(label, _holder(user, said.window), now)
            desk.audit(user, "reviewed a part", f"#{said.sequence}", {"label": label.what})

        await in_thread(work)
        return Response(status_code=204)

    @routes.post("/undo")
    async def undo(undone: Undone, user: User = needs(Role.OPERATOR)) -> Said:
        """Take back what one said of a part last, and have it again."""

        def work() -> Said:
            label = queue.undo(desk.line, undone.sequence, _holder(user, undone.window), desk.clock())
            desk.audit(user, "took back a review", f"#{undone.sequence}", {"label": label.what})
            return Said(what=label.what)

        return await in_thread(work)

    @routes.post("/release", status_code=204)
    async def release(window: Window, user: User = needs(Role.OPERATOR)) -> Response:
        """Give back the parts of a window that is closed."""
        await in_thread(queue.release, desk.line, _holder(user, window.window))
        return Response(status_code=204)

    @routes.get("/golden/{bundle}", response_class=Response)
    async def golden(bundle: str, user: User = needs(Role.VIEWER)) -> Response:
        """A good part, from the golden images of the bundle name@digest12."""
        data = await in_thread(_golden, desk.bundles, bundle, _changed_ns(desk))
        if data is None:
            raise NotFound(
                f"bundle {bundle[:200]!r} is not in the bundles folder, or has no golden image of a good part"
            )
        return Response(data, media_type="image/png", headers={"Cache-Control": "private, max-age=86400, immutable"})

    return routes


def _asked(desk: Desk, claimed: Claimed) -> PartAsked:
    part = part_shown(claimed.stored).model_dump()
    if part["golden"] and _golden(desk.bundles, part["bundle"], _changed_ns(desk)) is None:
        part["golden"] = ""
    # Nobody is told that they see a part again.
    need = Need.FIRST if claimed.need is Need.REPEAT else claimed.need
    return PartAsked(**part, need=need.name.lower())


@functools.lru_cache(maxsize=32)
def _golden(bundles: Path, bundle: str, changed_ns: int) -> bytes | None:
    """A bundle of that digest is always the same; one that is not there may be once the folder has changed."""
    try:
        return golden_picture(bundles, bundle)
    except NotFound:
        return None


def _changed_ns(desk: Desk) -> int:
    try:
        return desk.bundles.stat().st_mtime_ns
    except OSError:
        return 0


def _holder(user: User, window: str) -> Holder:
    return Holder(user.name, window)


def _wish(desk: Desk, asked: Asked) -> Wish:
    if asked.station and asked.station not in desk.stations:
        raise NotFound(f"line {desk.line} has no station {asked.station[:80]!r}: it has {', '.join(desk.stations)}")
    return Wish(
        desk.line,
        Order(asked.order),
        frozenset(Kind(kind) for kind in asked.kinds),
        asked.station,
        asked.since,
        DOUBLE_PERCENT,
    )
