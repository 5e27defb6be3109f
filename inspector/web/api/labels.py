"""/labels: what people say of parts, where in the picture, and every change of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from inspector.access.identity import Role
from inspector.errors import FrameError, LabelInvalid, NotFound
from inspector.formats.document import Mark, area_of, drawn_of, read_area
from inspector.imaging.archive import AT_LIMIT
from inspector.imaging.decode import DecodeLimits
from inspector.imaging.regions import marked_regions, read_heat_map
from inspector.labelling import Labelling, Wanted, read_mask
from inspector.part import ImageKind
from inspector.records.class_book import class_book
from inspector.records.label_lists import Which, listed
from inspector.records.labels import Area, Label, Labelled, Mask
from inspector.records.parts import find_part
from inspector.web.accounts.user import User
from inspector.web.api.access import needs
from inspector.web.api.parts import PICTURES, Number, PartShown, part_shown
from inspector.web.desk import Desk, in_thread

MAX_AREAS = 256


class FrameShown(BaseModel):
    """A picture that can be labelled."""

    image: str
    view: str
    picture: str


class LabelSaid(BaseModel):
    """One label of the history, oldest first. `areas` are in `image`; they are there for labels that count, else []."""

    author: str
    time: datetime
    what: str
    note: str
    image: str
    counts: bool
    marked: int
    areas: list[dict[str, Any]]


class LabelledPart(BaseModel):
    """A part with all that was said of it. `version` goes with what is saved, so that nobody overwrites another unseen."""

    part: PartShown
    frames: list[FrameShown]
    version: int
    outcome: str
    agreed: str
    history: list[LabelSaid]


class LabelWanted(BaseModel):
    """What somebody says of a part: good, unsure, withdrawn or a class, and areas {"class", "box" | "polygon" | "mask"}.

    An area without a class does not count. `new_class`: the class is not a known one misspelt.
    """

    version: int = Field(ge=0)
    what: str = Field(max_length=256)
    note: str = Field("", max_length=4096)
    image: str = Field("", max_length=64)
    areas: list[dict[str, Any]] = Field([], max_length=MAX_AREAS)
    new_class: bool = False


class PartListed(BaseModel):
    """A part of a list."""

    sequence: int
    part_id: str
    verdict: str
    said: str
    thumbnail: str


class RegionShown(BaseModel):
    """What the heat map marks: an outline, the class of the finding there, and its pixels."""

    polygon: list[tuple[float, float]]
    defect_class: str
    area_px: float


def router(desk: Desk) -> APIRouter:
    """Routes of labels."""
    routes = APIRouter(prefix="/labels", tags=["labels"])

    @routes.get("")
    async def list_parts(
        which: Literal["unmarked", "disagreed", "unsure", "last", "rejects"] = "unmarked",
        limit: int = 60,
        user: User = needs(Role.VIEWER),
    ) -> list[PartListed]:
        """Parts to label: the last said of first; of rejects the newest."""
        found = await in_thread(listed, desk.database, desk.line, Which(which), max(1, min(limit, 200)))
        return [_part_listed(labelled) for labelled in found]

    @routes.get("/find")
    async def find(part: str, user: User = needs(Role.VIEWER)) -> list[PartListed]:
        """The inspections of a part id, newest first, or the one with that number."""

        def work() -> list[PartListed]:
            text = part.strip()
            given = f"#{text}" if text.isdecimal() and text.isascii() else text
            try:
                numbers = [one.inspection.sequence for one in find_part(desk.store, desk.line, given)]
            except NotFound:
                numbers = [one.inspection.sequence for one in find_part(desk.store, desk.line, text)]
            return [_part_listed(desk.store.labels(desk.line, number)) for number in numbers]

        return await in_thread(work)

    @routes.get("/{sequence}")
    async def read(sequence: Number, image: str = "", user: User = needs(Role.VIEWER)) -> LabelledPart:
        """All that was said of a part, and where in its pictures; `image` picks one of several."""
        return await in_thread(_labelled_part, desk, sequence, image)

    @routes.get("/{sequence}/history/{number}")
    async def read_areas(sequence: Number, number: Number, user: User = needs(Role.VIEWER)) -> list[dict[str, Any]]:
        """The areas of one label of the history, which counts from 0."""

        def work() -> list[dict[str, Any]]:
            history = desk.store.labels(desk.line, sequence).history
            if not 0 <= number < len(history):
                raise NotFound(f"#{sequence} has {len(history)} labels and none with the number {number}")
            return _areas(desk, history[number])

        return await in_thread(work)

    @routes.post("/{sequence}")
    async def save(sequence: Number, wanted: LabelWanted, user: User = needs(Role.OPERATOR)) -> LabelledPart:
        """Say what a part is. Refused with 409 if somebody said something since `version`, and nothing is lost."""
        return await in_thread(_save, desk, user, sequence, wanted)

    @routes.get("/{sequence}/regions")
    async def regions(
        sequence: Number, image: str = "", level: int = AT_LIMIT, user: User = needs(Role.VIEWER)
    ) -> list[RegionShown]:
        """What the heat map of a part marks at a level from 1 to 255; 128 is the limit of the model."""
        return await in_thread(_regions, desk, sequence, image, level)

    return routes


def _save(desk: Desk, user: User, sequence: int, wanted: LabelWanted) -> LabelledPart:
    """Add the label, and put it on record. LabelInvalid, EditConflict, NotFound, ImageStoreError."""
    desk.store.get(desk.line, sequence)
    marks = [read_area(area, None, f"area {number}") for number, area in enumerate(wanted.areas, start=1)]
    label = Wanted(
        f"#{sequence}",
        wanted.what,
        user.name,
        tuple(drawn_of(mark) for mark in marks),
        wanted.note,
        image=wanted.image,
        of_picture=bool(wanted.image),
    )
    known = {entry.name for entry in class_book(desk.database)}
    named = {mark.defect_class for mark in marks if mark.defect_class} | {wanted.what}
    labelling = Labelling(desk.store, desk.pictures, desk.line)
    versions = {(desk.line, sequence): wanted.version}
    new_class = wanted.new_class or named <= known
    added = labelling.add([label], desk.clock(), new_class=new_class, versions=versions)
    if added:
        details = {"label": wanted.what, "areas": len(marks), "note": wanted.note}
        desk.audit(user, "labelled a part", f"#{sequence}", details)
    return _labelled_part(desk, sequence, wanted.image)


def _labelled_part(desk: Desk, sequence: int, image: str) -> LabelledPart:
    labelled = desk.store.labels(desk.line, sequence)
    stored = labelled.stored
    frames = [
        FrameShown(image=one.sha256, view=one.view, picture=f"{PICTURES}/{sequence}/{number}/view")
        for number, one in enumerate(stored.images)
        if one.kind is ImageKind.FRAME and one.sha256
    ]
    said = next((label.image for label in reversed(labelled.current) if label.areas and label.image), "")
    agreed = labelled.agreed
    return LabelledPart(
        part=part_shown(stored, image or said),
        frames=frames,
        version=len(labelled.history),
        outcome=labelled.outcome.value,
        agreed=agreed.what if agreed is not None else "",
        history=[_said(desk, label, label in labelled.current) for label in labelled.history],
    )


def _said(desk: Desk, label: Label, counts: bool) -> LabelSaid:
    return LabelSaid(
        author=label.author,
        time=label.time,
        what=label.what,
        note=label.note,
        image=label.image,
        counts=counts,
        marked=len(label.areas),
        areas=_areas(desk, label) if counts else [],
    )


def _areas(desk: Desk, label: Label) -> list[dict[str, Any]]:
    """The areas of a label as JSON; masks as run lengths."""
    return [_area(desk, area) for area in label.areas]


def _area(desk: Desk, area: Area) -> dict[str, Any]:
    if not isinstance(area.shape, Mask):
        return area_of(Mark(area.shape, area.defect_class))
    try:
        raster = read_mask(desk.pictures.get(area.shape.sha256)[0], f"mask {area.shape.sha256[:12]}", DecodeLimits())
    except FrameError as error:
        raise LabelInvalid(f"mask {area.shape.sha256[:12]} cannot be shown: {error}") from error
    size = [raster.height_px, raster.width_px]
    return {"class": area.defect_class, "mask": {"size": size, "counts": list(raster.counts)}}


def _regions(desk: Desk, sequence: int, image: str, level: int) -> list[RegionShown]:
    stored = desk.store.get(desk.line, sequence)
    shown = part_shown(stored, image)
    heat = next(
        (one for one in stored.images if one.kind is ImageKind.HEAT_MAP and one.sha256 and one.view == shown.view), None
    )
    if heat is None:
        raise NotFound(f"#{sequence} has no heat map to take regions from: the line keeps one of what it rejects")
    levels = read_heat_map(desk.pictures.get(heat.sha256)[0])
    if levels is None:
        raise NotFound(f"the heat map of #{sequence} cannot be read: draw by hand")
    findings = [one for one in stored.inspection.findings if one.view == shown.view]
    return [
        RegionShown(polygon=list(region.points), defect_class=region.defect_class, area_px=region.area_px)
        for region in marked_regions(levels, findings, max(1, min(level, 255)))
    ]


def _part_listed(labelled: Labelled) -> PartListed:
    stored = labelled.stored
    frame = next((n for n, one in enumerate(stored.images) if one.kind is ImageKind.FRAME and one.sha256), -1)
    agreed = labelled.agreed
    return PartListed(
        sequence=stored.inspection.sequence,
        part_id=stored.inspection.part_id,
        verdict=stored.inspection.verdict.name,
        said=agreed.what if agreed is not None else labelled.outcome.value,
        thumbnail=f"{PICTURES}/{stored.inspection.sequence}/{frame}/thumbnail" if frame >= 0 else "",
    )
