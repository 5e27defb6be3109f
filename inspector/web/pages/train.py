"""Train: a snapshot, a kind of model in words, how long it takes; then live progress, curves and log until it is done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from nicegui import ui

from inspector.access.identity import Role
from inspector.errors import InspectorError
from inspector.records.fit_wish import FIT, KINDS
from inspector.records.job import Job, JobState, LogLine
from inspector.web.accounts.user import User
from inspector.web.api.jobs import NewFit, ask_fit, cancel_job
from inspector.web.desk import Desk, in_thread
from inspector.web.pages.page import Page
from inspector.web.pages.pieces import long_time, query, told
from inspector.web.pages.workers import show_workers
from inspector.web.words import number
from inspector.web.workroom import SnapshotRow

PATH = "/train"
_LOOK_S = 1.0
_LOG_LINES = 200
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_MOST_POINTS = 1000
_PILLS = {
    JobState.QUEUED: ("wait", "… waits"),
    JobState.RUNNING: ("run", "▶ runs"),
    JobState.DONE: ("pass", "✓ done"),
    JobState.FAILED: ("reject", "✕ failed"),
    JobState.CANCELLED: ("unknown", "■ cancelled"),
}


async def build(desk: Desk, user: User) -> None:
    """Fill the frame."""
    ui.add_head_html('<script src="/static/tiles.js" defer></script>')
    await show_workers(desk)
    rows = [row for row in await in_thread(desk.work.snapshots) if not row.problem]
    with ui.element("div").classes("halves"):
        if user.may(Role.ENGINEER):
            await _ask(desk, user, rows)
        await _Jobs(desk, user).show()


async def _ask(desk: Desk, user: User, rows: Sequence[SnapshotRow]) -> None:
    with ui.element("section").classes("panel form"):
        ui.label("New model").classes("panel-title")
        if not rows:
            told("There is no snapshot to learn from yet. Take one under Data sets, Snapshots.")
            return
        names = {row.name: f"{row.name} · {row.images} picture{'s' * (row.images != 1)}" for row in rows}
        wanted = query("snapshot")
        snapshot = ui.select(names, value=wanted if wanted in names else rows[0].name, label="Learn from snapshot")
        snapshot.props("outlined dense")
        about_labels = ui.label().classes("muted")
        ui.label("Learn what?").classes("field-title")
        kind = ui.radio({key: words.words for key, words in KINDS.items()}, value="memory-bank").props("dense")
        about_kind = ui.label().classes("muted")
        name = ui.input("Name of the bundle").props("outlined dense")
        rate = ui.number("Good parts it may reject, %", value=1.0, min=0.01, max=50.0, step=0.1).props("outlined dense")
        estimate = ui.label().classes("told is-note").props('role="status"')

        async def changed() -> None:
            row = next(row for row in rows if row.name == snapshot.value)
            about_labels.text = ", ".join(f"{count} {label}" for label, count in row.labels)
            about_kind.text = KINDS[kind.value].about
            known = await in_thread(desk.work.estimate, kind.value, row.images)
            warning = _warning(kind.value, dict(row.labels))
            estimate.text = f"Takes about {long_time(known.seconds)} ({known.basis}).{warning}"

        async def start() -> None:
            wish = NewFit(
                snapshot=snapshot.value,
                bundle=(name.value or "")[:64],
                kind=kind.value,
                false_reject_rate=float(rate.value or 0) / 100,
            )
            try:
                job = await in_thread(ask_fit, desk, user, wish)
            except InspectorError as error:
                ui.notify(str(error), type="negative", multi_line=True)
                return
            ui.navigate.to(f"{PATH}?job={job.id}")

        for field in (snapshot, kind):
            field.on_value_change(changed)
        ui.button("Start training", on_click=start).props("unelevated no-caps")
        await changed()


def _warning(kind: str, labels: Mapping[str, int]) -> str:
    """What these labels cannot teach a model of this kind, before anybody waits for it."""
    defects = {label: count for label, count in labels.items() if label != "good"}
    if kind in ("memory-bank", "fast-bank", "guided") and labels.get("good", 0) < 2:
        return " It needs good parts, and this snapshot has hardly any."
    if kind in ("classifier", "segmentation") and not defects:
        return " It needs labelled defects, and this snapshot has none."
    if kind == "guided" and not defects:
        return " Without labelled defects it learns from good parts alone."
    return ""


class _Jobs:
    """The list of jobs and the one that is looked at, brought up to date once a second."""

    def __init__(self, desk: Desk, user: User) -> None:
        self._desk, self._user = desk, user
        text = query("job")
        self._chosen = int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0
        self._seen: tuple[Any, ...] = ()
        self._log_end = 0
        self._points: dict[str, list[tuple[int, float]]] = {}
        self._last_state: JobState | None = None

    async def show(self) -> None:
        """Build it and keep it up to date."""
        with ui.element("div").classes("column"):
            with ui.element("section").classes("panel"):
                ui.label("Jobs").classes("panel-title")
                self._list = ui.element("div").classes("jobs")
            self._detail = ui.element("section").classes("panel job-detail")
        await self._update()
        ui.timer(_LOOK_S, self._update, immediate=False)

    async def _update(self) -> None:
        jobs = await in_thread(self._desk.work.jobs.list, (), "", 30)
        if not self._chosen and jobs:
            running = [job for job in jobs if job.state is JobState.RUNNING]
            self._chosen = next((job.id for job in [*running, *jobs] if job.kind == FIT), jobs[0].id)
        seen = tuple((job.id, job.state, job.stage, job.done, job.cancel_by) for job in jobs)
        if seen != self._seen:
            self._seen = seen
            self._show_list(jobs)
        if self._chosen:
            await self._show_detail()

    def _show_list(self, jobs: Sequence[Job]) -> None:
        self._list.clear()
        with self._list:
            if not jobs:
                ui.label("Nobody has asked for anything yet.").classes("muted")
            for job in jobs:
                self._row(job)

    def _row(self, job: Job) -> None:
        link = ui.element("a").classes("job")
        link.props["href"] = f"{PATH}?job={job.id}"
        if job.id == self._chosen:
            link.props["aria-current"] = "true"
        kind, words = _PILLS[job.state]
        with link:
            ui.label(words).classes(f"pill is-{kind}")
            what = KINDS[job.model_kind].words if job.model_kind in KINDS else job.kind
            ui.label(job.title).classes("job-title")
            ui.label(f"{what} · {job.asked_by} · {job.asked.astimezone():%m-%d %H:%M}").classes("muted")
            if job.state is JobState.RUNNING:
                _bar(job)

    async def _show_detail(self) -> None:
        try:
            job = await in_thread(self._desk.work.jobs.get, self._chosen)
        except InspectorError as error:
            self._detail.clear()
            with self._detail:
                told(str(error), "error")
            return
        if job.state is not self._last_state:
            self._last_state = job.state
            self._build_detail(job)
        self._stage.text = _stage(job)
        self._bar_fill.style(f"width: {_share(job):.1%}")
        lines = await in_thread(self._desk.work.jobs.log, job.id, self._log_end, _LOG_LINES)
        if lines:
            self._log_end = lines[-1].number
            self._add_lines(lines)
        points = await in_thread(self._desk.work.jobs.points, job.id)
        if points != self._points:
            self._points = {name: list(values) for name, values in points.items()}
            self._draw()

    def _build_detail(self, job: Job) -> None:
        self._detail.clear()
        self._log_end, self._points = 0, {}
        kind, words = _PILLS[job.state]
        with self._detail:
            with ui.element("div").classes("row"):
                ui.label(f"{job.title}").classes("panel-title")
                ui.label(words).classes(f"pill is-{kind}")
                ui.element("div").classes("spacer")
                if not job.state.is_end and self._user.may(Role.ENGINEER):
                    ui.button("Cancel", on_click=self._cancel).props("outline no-caps dense color=negative")
            ui.label(_about(job)).classes("muted")
            with ui.element("div").classes("bar"):
                self._bar_fill = ui.element("div").classes("bar-fill")
            self._stage = ui.label().props('role="status"')
            if job.error:
                told(job.error, "error")
            _result(job)
            self._chart = ui.echart(_options({})).classes("curves")
            self._chart.set_visibility(False)
            ui.label("Log").classes("field-title")
            self._log = ui.element("div").classes("log mono").props('tabindex="0" aria-label="Log"')

    def _add_lines(self, lines: Sequence[LogLine]) -> None:
        with self._log:
            for line in lines:
                ui.label(f"{line.time.astimezone():%H:%M:%S}  {line.text}")
        self._log.run_method("scrollTo", 0, 1_000_000)

    def _draw(self) -> None:
        self._chart.set_visibility(bool(self._points))
        options = _options(self._points)
        for key, value in options.items():
            self._chart.options[key] = value
        self._chart.update()

    async def _cancel(self) -> None:
        try:
            await in_thread(cancel_job, self._desk, self._user, self._chosen)
        except InspectorError as error:
            ui.notify(str(error), type="negative")


def _options(points: Mapping[str, Sequence[tuple[int, float]]]) -> dict[str, Any]:
    """What ECharts draws."""
    series = []
    for place, (name, values) in enumerate(points.items()):
        every = -(-len(values) // _MOST_POINTS)
        series.append(
            {
                "name": name,
                "type": "line",
                "showSymbol": len(values) < 3,
                "data": [list(pair) for pair in values[::every]],
                "lineStyle": {"width": 2},
                "color": _COLOURS[place % len(_COLOURS)],
            }
        )
    return {
        "animation": False,
        "grid": {"left": 56, "right": 16, "top": 34, "bottom": 30},
        "legend": {"top": 2, "type": "scroll", "textStyle": {"color": "#7b8794"}},
        "tooltip": {"trigger": "axis"},
        "xAxis": {"type": "value", "name": "step", "splitLine": {"show": False}, "max": "dataMax"},
        "yAxis": {"type": "value", "scale": True, "splitLine": {"lineStyle": {"color": "rgba(128,140,150,.25)"}}},
        "series": series,
    }


def _bar(job: Job) -> None:
    with ui.element("div").classes("bar is-small"):
        ui.element("div").classes("bar-fill").style(f"width: {_share(job):.1%}")


def _share(job: Job) -> float:
    if job.state is JobState.DONE:
        return 1.0
    return min(1.0, job.done / job.total) if job.total else 0.0


def _stage(job: Job) -> str:
    if job.state is JobState.QUEUED:
        return "Waits for a worker."
    ended = f" by {job.cancel_by}" if job.cancel_by else ""
    if job.state is JobState.CANCELLED:
        return f"Cancelled{ended}."
    if job.state is JobState.DONE:
        return f"Done in {long_time(job.seconds or 0)}."
    if job.state is JobState.FAILED:
        return "Failed."
    since = (datetime.now(UTC) - job.started).total_seconds() if job.started else 0
    ending = f" Is being cancelled{ended}." if job.cancel_by else ""
    again = f" Attempt {job.attempt}: a worker before ended without a word." if job.attempt > 1 else ""
    return f"{job.stage or 'Begins'}: {job.done} of {job.total}. Since {long_time(since)}.{again}{ending}"


def _about(job: Job) -> str:
    what = f"{KINDS[job.model_kind].words} ({job.model_kind})" if job.model_kind in KINDS else job.kind
    source = f" on snapshot {job.spec.get('snapshot')}" if job.kind == FIT else ""
    digest = f" {job.snapshot_digest.removeprefix('sha256:')[:12]}" if job.snapshot_digest else ""
    return (
        f"Job {job.id}: {what}{source}{digest}, asked for by {job.asked_by} at {job.asked.astimezone():%Y-%m-%d %H:%M}"
    )


def _result(job: Job) -> None:
    result = job.result
    if not result:
        return
    if "bundle" in result:
        ui.label(f"Bundle {result['bundle']}, limit {number(result.get('limit'))}").classes("job-title")
        ui.label(str(result.get("promise", "")))
        test = result.get("test") or {}
        for words, key in (("false rejects", "false_rejects"), ("escapes", "escapes")):
            rate = test.get(key) or {}
            if rate.get("total"):
                interval = f"{100 * rate['low']:.1f}–{100 * rate['high']:.1f} % with 95 % confidence"
                ui.label(f"On test parts: {rate['count']} of {rate['total']} {words} ({interval})")
        link = ui.element("a")
        link.props["href"] = "/models"
        with link:
            ui.label("Compare it and ask for its promotion: Models")
    elif "snapshot" in result:
        pictures = f"{result['images']} picture{'s' * (result['images'] != 1)}"
        ui.label(f"Snapshot {result['snapshot']}: {pictures}, digest {result['digest'][7:19]}")


PAGE = Page(
    path=PATH,
    title="Train",
    icon="model_training",
    role=Role.VIEWER,
    build=build,
    keys=(("Tab, Enter", "choose a job and look at it"),),
)
