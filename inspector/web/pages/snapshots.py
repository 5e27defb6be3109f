"""Snapshots: what is on record as a folder that does not change, what changed between two, and asking for a new one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from urllib.parse import urlencode

from nicegui import ui

from inspector.access.identity import Role
from inspector.errors import InspectorError
from inspector.records.fit_wish import SNAPSHOT
from inspector.records.job import JobState
from inspector.records.label_rows import LabelledFilter
from inspector.records.snapshots.diff import Difference
from inspector.records.snapshots.wish import Wish
from inspector.web.accounts.user import User
from inspector.web.desk import Desk, in_thread
from inspector.web.pages.pieces import Form, query, read_day, told
from inspector.web.pages.workers import show_workers
from inspector.web.workroom import SnapshotRow

_SHOWN = 12


async def show_snapshots(desk: Desk, user: User) -> None:
    """All snapshots, those on their way, what changed, and a form for a new one."""
    rows = await in_thread(desk.work.snapshots)
    waiting = await in_thread(desk.work.jobs.list, (JobState.QUEUED, JobState.RUNNING), SNAPSHOT)
    failed = [job for job in await in_thread(desk.work.jobs.list, (JobState.FAILED,), SNAPSHOT, 1)]
    if waiting:
        await show_workers(desk)
        names = ", ".join(f"{job.title} ({job.stage or job.state.value})" for job in waiting)
        told(f"On their way: {names}. The page looks again by itself.")
        ui.timer(3.0, lambda: _look_again(desk), immediate=False)
    elif failed and not any(row.name == failed[0].title for row in rows):
        told(f"Snapshot {failed[0].title} could not be taken: {failed[0].error}", "error")
    with ui.element("section").classes("panel"):
        ui.label("Snapshots").classes("panel-title")
        _table(rows)
    if len(rows) > 1:
        await _changes(desk, rows)
    if user.may(Role.ENGINEER):
        await _take(desk, user)


async def _look_again(desk: Desk) -> None:
    if not await in_thread(desk.work.jobs.list, (JobState.QUEUED, JobState.RUNNING), SNAPSHOT):
        ui.navigate.to("/data?tab=snapshots")


def _table(rows: Sequence[SnapshotRow]) -> None:
    if not rows:
        ui.label("None yet. A model is fitted on a snapshot, so that what it learned from stays known.").classes(
            "muted"
        )
        return
    with ui.element("div").classes("scroll"), ui.element("table").classes("table"):
        with ui.element("tr"):
            for title in ("name", "taken", "pictures", "parts", "labels", "left out", "digest", ""):
                with ui.element("th"):
                    ui.label(title)
        for row in rows:
            with ui.element("tr"):
                _cells(row)


def _cells(row: SnapshotRow) -> None:
    if row.problem:
        texts = [row.name, row.problem, "", "", "", "", "", ""]
    else:
        texts = [
            row.name,
            f"{datetime.fromisoformat(row.taken).astimezone():%Y-%m-%d %H:%M}",
            str(row.images),
            str(row.parts) if row.parts else "by likeness",
            ", ".join(f"{count} {label}" for label, count in row.labels),
            ", ".join(f"{count} {kind}" for kind, count in row.left_out) or "nothing",
            row.digest.removeprefix("sha256:")[:12],
        ]
    for place, text in enumerate(texts):
        with ui.element("td").classes("mono" if place == 6 else ""):
            label = ui.label(text)
            if place == 6:
                label.props["title"] = row.digest
    if not row.problem:
        with ui.element("td"):
            link = ui.element("a")
            link.props["href"] = "/train?" + urlencode({"snapshot": row.name})
            with link:
                ui.label("Train on it")


async def _changes(desk: Desk, rows: Sequence[SnapshotRow]) -> None:
    names = [row.name for row in rows if not row.problem]
    first, second = query("first", names[1] if len(names) > 1 else ""), query("second", names[0] if names else "")
    with ui.element("section").classes("panel"):
        ui.label("What changed").classes("panel-title")
        with Form("/data", "Compare", {"tab": "snapshots"}) as form:
            form.choice("From", "first", first, [(name, name) for name in names])
            form.choice("To", "second", second, [(name, name) for name in names])
        if not query("first"):
            return
        try:
            _difference(await in_thread(desk.work.difference, first, second))
        except InspectorError as error:
            told(str(error), "error")


def _difference(found: Difference) -> None:
    if found.is_none:
        told(f"The same {found.unchanged} pictures under the same labels.")
        return
    moves = Counter(f"{item.before} → {item.after}" for item in found.relabelled)
    rows: tuple[tuple[str, int, Counter[str]], ...] = (
        ("added", len(found.added), Counter(picture.label for picture in found.added)),
        ("removed", len(found.removed), Counter(picture.label for picture in found.removed)),
        ("labelled otherwise", len(found.relabelled), moves),
        ("other areas", len(found.redrawn), Counter()),
        ("other part or lot", len(found.regrouped), Counter()),
        ("unchanged", found.unchanged, Counter()),
    )
    with ui.element("table").classes("table"):
        for change, count, kinds in rows:
            with ui.element("tr"):
                for text in (change, str(count), ", ".join(f"{n} {kind}" for kind, n in kinds.most_common(_SHOWN))):
                    with ui.element("td"):
                        ui.label(text)


async def _take(desk: Desk, user: User) -> None:
    sets = [one.name for one in await in_thread(desk.work.sets.list)]
    authors = list(await in_thread(desk.work.browsing.reviewers))
    classes = ["good", *sorted(await in_thread(desk.store.label_classes))]
    with ui.element("section").classes("panel"):
        ui.label("Take a snapshot").classes("panel-title")
        ui.label(
            "Of the parts on whose label people agree; everything that stays out is listed in it, with the reason."
        ).classes("muted")
        with ui.element("div").classes("filters"):
            name = ui.input("Name", placeholder="tiles-july").props("outlined dense")
            since = ui.input("Since").props('outlined dense type="date" stack-label')
            until = ui.input("Before").props('outlined dense type="date" stack-label')
            chosen = ui.select(classes, label="Only these labels", multiple=True).props("outlined dense use-chips")
            by = ui.select(authors, label="Only labels by", multiple=True).props("outlined dense use-chips")
            lot = ui.input("Lot in a part id", placeholder="^L[0-9]+").props("outlined dense")
            taken_sets = ui.select(sets, label="And sets", multiple=True).props("outlined dense use-chips")
            only = ui.checkbox("sets only")

        async def ask() -> None:
            def work() -> None:
                since_time, until_time = read_day(since.value or ""), read_day(until.value or "")
                where = LabelledFilter(desk.line, start_time=since_time, end_time=until_time)
                wish = Wish(
                    where,
                    frozenset(chosen.value or ()),
                    frozenset(by.value or ()),
                    lot.value or "",
                    frozenset(taken_sets.value or ()),
                    bool(only.value),
                )
                number = desk.work.ask_snapshot(name.value or "", wish, user.name)
                desk.audit(user, "asked for snapshot", name.value, {"job": number, "wish": wish.to_json()})

            try:
                await in_thread(work)
            except InspectorError as error:
                ui.notify(str(error), type="negative", multi_line=True)
                return
            ui.navigate.to("/data?tab=snapshots")

        ui.button("Take it", on_click=ask).props("unelevated no-caps")
