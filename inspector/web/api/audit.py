"""/audit: who did what, and whether the log is whole."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel

from inspector.access.identity import Role
from inspector.errors import AuditError
from inspector.records.audit_search import AuditFilter, find_entries
from inspector.web.accounts.user import User
from inspector.web.api.access import needs
from inspector.web.desk import Desk, in_thread


class EntryOut(BaseModel):
    """One thing that somebody did."""

    number: int
    time: str
    actor: str
    action: str
    subject: str
    details: dict[str, Any]
    hash: str


class WholeOut(BaseModel):
    """Whether no entry was changed, removed or inserted; else `fault` says where it breaks. `head` is the newest entry."""

    is_whole: bool
    head: str
    fault: str


Text = Annotated[str, Query(max_length=256)]


def router(desk: Desk) -> APIRouter:
    """Routes about the audit log."""
    routes = APIRouter(prefix="/audit", tags=["audit"])

    @routes.get("")
    async def list_entries(
        user: User = needs(Role.ENGINEER),
        actor: Text = "",
        action: Text = "",
        text: Text = "",
        since: Text = "",
        until: Text = "",
        before: Annotated[int, Query(ge=0)] = 0,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> list[EntryOut]:
        """Newest first; `before` is the smallest number of the page before. Times are ISO 8601 in UTC."""
        where = AuditFilter(actor=actor, action=action, text=text, since=since, until=until, before=before)
        entries = await in_thread(find_entries, desk.audit_log.path, where, limit)
        return [
            EntryOut(
                number=entry.number,
                time=entry.time,
                actor=entry.actor,
                action=entry.action,
                subject=entry.subject,
                details=dict(entry.details),
                hash=entry.hash,
            )
            for entry in entries
        ]

    @routes.get("/verification")
    async def verification(user: User = needs(Role.ENGINEER)) -> WholeOut:
        """Goes through the whole chain."""
        try:
            return WholeOut(is_whole=True, head=str(await in_thread(desk.audit_log.verify)), fault="")
        except AuditError as error:
            return WholeOut(is_whole=False, head="", fault=str(error))

    return routes
