"""/inspections: verdicts with their evidence, for MES and scripts; read only, for verdicts never change."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel

from inspector.access.identity import Role
from inspector.part import Verdict
from inspector.records.labels import Labelled
from inspector.records.queries import InspectionFilter
from inspector.web.accounts.user import User
from inspector.web.api.access import needs
from inspector.web.api.values import InspectionOut, LabelOut, inspection_out, label_out
from inspector.web.desk import Desk, in_thread


class InspectionPage(BaseModel):
    """Inspections, newest first. `next_page_token` is empty on the last page."""

    inspections: list[InspectionOut]
    next_page_token: str


class LabelsOut(BaseModel):
    """Everything that was said of a part, oldest first, and what it comes to."""

    outcome: str
    agreed: LabelOut | None
    history: list[LabelOut]


def labels_out(labelled: Labelled) -> LabelsOut:
    """The labels of a part as JSON shows them."""
    agreed = labelled.agreed
    return LabelsOut(
        outcome=labelled.outcome.value,
        agreed=None if agreed is None else label_out(agreed),
        history=[label_out(label) for label in labelled.history],
    )


def router(desk: Desk) -> APIRouter:
    """Routes about inspections."""
    routes = APIRouter(prefix="/inspections", tags=["inspections"])

    @routes.get("")
    async def list_inspections(
        user: User = needs(Role.VIEWER),
        part_id: Annotated[str, Query(max_length=256)] = "",
        verdict: Annotated[list[Literal["PASS", "REJECT", "UNKNOWN"]] | None, Query(max_length=3)] = None,
        defect_class: Annotated[str, Query(max_length=256)] = "",
        bundle: Annotated[str, Query(max_length=256)] = "",
        start_time: datetime | None = None,
        end_time: datetime | None = None,
        page_size: Annotated[int, Query(ge=1, le=1000)] = 50,
        page_token: Annotated[str, Query(max_length=512)] = "",
    ) -> InspectionPage:
        """Newest first. `bundle` is a label or a name; times without a zone are UTC, the end exclusive."""
        where = InspectionFilter(
            line=desk.line,
            part_id=part_id,
            verdicts=frozenset(Verdict[name] for name in verdict or ()),
            defect_class=defect_class,
            bundle=bundle,
            start_time=_aware(start_time),
            end_time=_aware(end_time),
        )
        page = await in_thread(desk.store.list, where, page_size, page_token)
        shown = [inspection_out(stored) for stored in page.inspections]
        return InspectionPage(inspections=shown, next_page_token=page.next_page_token)

    @routes.get("/{sequence}")
    async def get_inspection(sequence: int, user: User = needs(Role.VIEWER)) -> InspectionOut:
        """One inspection by its number."""
        return inspection_out(await in_thread(desk.store.get, desk.line, _number(sequence)))

    @routes.get("/{sequence}/labels")
    async def get_labels(sequence: int, user: User = needs(Role.VIEWER)) -> LabelsOut:
        """What people said of one part."""
        return labels_out(await in_thread(desk.store.labels, desk.line, _number(sequence)))

    return routes


def _aware(time: datetime | None) -> datetime | None:
    return time.replace(tzinfo=UTC) if time is not None and time.tzinfo is None else time


def _number(sequence: int) -> int:
    """As the databases hold it; none is larger."""
    return sequence if abs(sequence) < 1 << 63 else 0
