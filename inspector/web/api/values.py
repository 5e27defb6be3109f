"""Values of the API: inspections and what hangs on them, as JSON shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel

from inspector.part import Finding, Inspection
from inspector.records.labels import Label
from inspector.records.queries import StoredInspection
from inspector.web.words import reason_words


class BoxOut(BaseModel):
    """In pixels of the frame, from its upper left corner."""

    x_px: int
    y_px: int
    width_px: int
    height_px: int


class FindingOut(BaseModel):
    """One located defect."""

    defect_class: str
    box: BoxOut
    area_px: float
    score: float | None
    length_mm: float | None
    area_mm2: float | None
    view: str


class ViewOut(BaseModel):
    """What came of one view of a part that has several."""

    view: str
    camera: str
    bundle: str
    reason: str
    detail: str
    score: float | None
    limit: float | None


class PictureOut(BaseModel):
    """A picture: fetch it at `path`; without one, `lost_reason` says why."""

    number: int
    kind: str
    view: str
    media_type: str
    size_bytes: int
    sha256: str
    lost_reason: str
    path: str


class InspectionOut(BaseModel):
    """One part's verdict with its evidence."""

    name: str
    line: str
    station: str
    camera: str
    sequence: int
    station_sequence: int
    trigger: int
    part_id: str
    verdict: str
    reason: str
    reason_words: str
    detail: str
    score: float | None
    limit: float | None
    late_score: float | None
    defect_class: str
    recipe: str
    bundle: str
    capture_time: datetime | None
    receive_time: datetime
    decide_time: datetime
    latency_ms: float
    findings: list[FindingOut]
    views: list[ViewOut]
    pictures: list[PictureOut]


class LabelOut(BaseModel):
    """What somebody said of a part."""

    label: str
    author: str
    time: datetime
    areas: int
    note: str


def inspection_out(stored: StoredInspection) -> InspectionOut:
    """An inspection as JSON shows it."""
    seen = stored.inspection
    return InspectionOut(
        **_plain(seen),
        late_score=stored.late_score,
        findings=[_finding(one) for one in seen.findings],
        views=[
            ViewOut(
                view=one.view,
                camera=one.camera,
                bundle=one.bundle,
                reason=one.reason.name,
                detail=one.detail,
                score=one.score,
                limit=one.limit,
            )
            for one in seen.views
        ],
        pictures=[
            PictureOut(
                number=number,
                kind=image.kind.name.lower(),
                view=image.view,
                media_type=image.media_type,
                size_bytes=image.size_bytes,
                sha256=image.sha256,
                lost_reason=image.lost_reason,
                path=f"/api/v1/pictures/{seen.sequence}/{number}/original" if image.sha256 else "",
            )
            for number, image in enumerate(stored.images)
        ],
    )


def label_out(label: Label) -> LabelOut:
    """A label as JSON shows it."""
    return LabelOut(label=label.what, author=label.author, time=label.time, areas=len(label.areas), note=label.note)


_SAME = (
    "name", "line", "station", "camera", "sequence", "station_sequence", "trigger", "part_id", "detail", "score", "limit",
    "defect_class", "recipe", "bundle", "capture_time", "receive_time", "decide_time", "latency_ms",
)  # fmt: skip


def _plain(seen: Inspection) -> dict[str, Any]:
    same: dict[str, Any] = {name: getattr(seen, name) for name in _SAME}
    return {**same, "verdict": seen.verdict.name, "reason": seen.reason.name, "reason_words": reason_words(seen)[0]}


def _finding(found: Finding) -> FindingOut:
    box = BoxOut(x_px=found.box.x_px, y_px=found.box.y_px, width_px=found.box.width_px, height_px=found.box.height_px)
    return FindingOut(
        defect_class=found.defect_class,
        box=box,
        area_px=found.area_px,
        score=None if found.score != found.score else found.score,
        length_mm=None if found.size is None else found.size.length_mm,
        area_mm2=None if found.size is None else found.size.area_mm2,
        view=found.view,
    )
