"""A part as the review and the label page show it: what the line said, where its pictures are, what people may call it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import Path
from pydantic import BaseModel

from inspector.part import ImageKind
from inspector.records.class_book import ClassEntry, class_book
from inspector.records.queries import StoredInspection
from inspector.web.desk import Desk
from inspector.web.words import reason_words

PICTURES = "/api/v1/pictures"
Number = Annotated[int, Path(ge=0, lt=2**63)]
"""The number of an inspection in an address; the database counts in signed 64-bit numbers."""


class FindingShown(BaseModel):
    """A finding of the model, in pixels of the picture."""

    defect_class: str
    x: int
    y: int
    width: int
    height: int
    score: float | None


class PartShown(BaseModel):
    """What there is to see of an inspection. `picture` and `heat` are addresses, empty if there is none."""

    sequence: int
    part_id: str
    station: str
    view: str
    verdict: str
    headline: str
    text: str
    detail: str
    score: float | None
    limit: float | None
    received: datetime
    bundle: str
    image: str
    picture: str
    heat: str
    golden: str
    findings: list[FindingShown]


class ClassShown(BaseModel):
    """A defect class: what it is called and meant by, its colour, and the key that says it."""

    name: str
    definition: str
    colour: str
    hot_key: int | None
    version: int


def part_shown(stored: StoredInspection, image: str = "") -> PartShown:
    """The part with the picture `image`, or with the one that decided: its view, and else the first."""
    i = stored.inspection
    frames = [(n, one) for n, one in enumerate(stored.images) if one.kind is ImageKind.FRAME and one.sha256]
    wanted = [pair for pair in frames if pair[1].sha256 == image] or [pair for pair in frames if pair[1].view == i.view]
    number, frame = next(iter(wanted or frames), (-1, None))
    view = frame.view if frame is not None else i.view
    heat = next(
        (
            n
            for n, one in enumerate(stored.images)
            if one.kind is ImageKind.HEAT_MAP and one.sha256 and one.view == view
        ),
        -1,
    )
    headline, text = reason_words(i)
    bundle = next((one.bundle for one in i.views if one.view == view), i.bundle)
    return PartShown(
        sequence=i.sequence,
        part_id=i.part_id,
        station=i.station,
        view=view,
        verdict=i.verdict.name,
        headline=headline,
        text=text,
        detail=i.detail,
        score=_finite(i.score),
        limit=_finite(i.limit),
        received=i.receive_time,
        bundle=bundle,
        image=frame.sha256 if frame is not None else "",
        picture=f"{PICTURES}/{i.sequence}/{number}/view" if frame is not None else "",
        heat=f"{PICTURES}/{i.sequence}/{heat}/overlay" if heat >= 0 else "",
        golden=f"/api/v1/review/golden/{bundle}" if bundle else "",
        findings=[
            FindingShown(
                defect_class=one.defect_class,
                x=one.box.x_px,
                y=one.box.y_px,
                width=one.box.width_px,
                height=one.box.height_px,
                score=_finite(one.score),
            )
            for one in i.findings
            if one.view == view
        ],
    )


def classes_shown(desk: Desk) -> list[ClassEntry]:
    """The class book with the classes that labels or models have named."""
    return class_book(desk.database, desk.store.label_classes())


def _finite(value: float | None) -> float | None:
    """JSON has no NaN."""
    return value if value is not None and abs(value) < float("inf") else None


def class_shown(entry: ClassEntry) -> ClassShown:
    """A class without its examples."""
    return ClassShown(
        name=entry.name,
        definition=entry.definition,
        colour=entry.colour,
        hot_key=entry.hot_key,
        version=entry.version,
    )
