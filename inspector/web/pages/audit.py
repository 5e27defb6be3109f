"""The audit log: who did what, with a filter, and whether the log is whole."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from nicegui import ui

from inspector.access.identity import Role
from inspector.errors import AuditError, InspectorError
from inspector.records.audit_search import AuditFilter, find_entries
from inspector.web.accounts.user import User
from inspector.web.desk import Desk, in_thread
from inspector.web.pages.page import Page
from inspector.web.pages.tables import table
from inspector.web.pages.trace import audit_row

ROWS = 100
_FIELDS = (("actor", "Who"), ("action", "What"), ("text", "Anywhere"))


async def build(desk: Desk, user: User) -> None:
    """Fill the frame: whether it is whole, a filter, and the entries."""
    query = ui.context.client.request.query_params
    asked = {name: query.get(name, "").strip() for name, _ in _FIELDS}
    days = {"since": query.get("since", "").strip(), "until": query.get("until", "").strip()}
    before = query.get("before", "")
    with ui.element("section").classes("panel"):
        whole = ui.label("Checking the chain of hashes …").classes("muted").props('role="status"')
    with ui.element("form").classes("search").props('action="/audit" method="get" role="search"'):
        for name, title in _FIELDS:
            _field(name, title, asked[name], "text")
        for name, title in (("since", "From day"), ("until", "To day")):
            _field(name, title, days[name], "date")
        with ui.element("button").classes("desk-button").props('type="submit"'):
            ui.label("Filter")
    since, until = _day(days["since"]), _day(days["until"])
    where = AuditFilter(
        actor=asked["actor"],
        action=asked["action"],
        text=asked["text"],
        since=since.isoformat() if since else "",
        until=(until + timedelta(days=1)).isoformat() if until else "",
        before=int(before) if before.isdecimal() else 0,
    )
    try:
        entries = await in_thread(find_entries, desk.audit_log.path, where, ROWS)
    except InspectorError as error:
        ui.label(str(error)).classes("error-box").props('role="alert"')
        return
    with ui.element("section").classes("panel"):
        if not entries:
            ui.label("No entry like that.").classes("muted")
        else:
            names = ("Number", "Time (UTC)", "Who", "What", "Of", "Details")
            table(names, [audit_row(entry) for entry in entries]).classes("entries")
        if len(entries) == ROWS:
            older = ui.element("a").classes("desk-button second")
            older.props["href"] = f"/audit?{urlencode({**asked, **days, 'before': entries[-1].number})}"
            with older:
                ui.label("Older entries ›")

    async def verify() -> None:
        try:
            head = await in_thread(desk.audit_log.verify)
        except AuditError as error:
            whole.text = f"✕ NOT WHOLE: {error}"
            whole.classes(remove="muted", add="error-box")
            return
        whole.text = f"✓ Whole: {head.number:,} entries, none changed, removed or inserted. Newest: {head}"

    ui.timer(0.05, verify, once=True)


def _day(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%Y-%m-%d").astimezone().astimezone(UTC) if text else None
    except ValueError:
        return None


def _field(name: str, title: str, value: str, kind: str) -> None:
    with ui.element("label").classes("labelled"):
        ui.label(title)
        field = ui.element("input").classes("desk-field").props(f'name="{name}" type="{kind}"')
        field.props["value"] = value


PAGE = Page(path="/audit", title="Audit", icon="fact_check", role=Role.ENGINEER, build=build)
