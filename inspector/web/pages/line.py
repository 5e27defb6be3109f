"""The line, live: its state to be read from three metres, a strip of verdicts per station, and the last rejects."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from nicegui import ui

from inspector.access.identity import Role
from inspector.errors import InspectorError
from inspector.part import Inspection, Verdict
from inspector.records.queries import StoredInspection
from inspector.signalling.commands import Command
from inspector.web.accounts.user import User
from inspector.web.commanding import NAMES, OFFERED, give_command
from inspector.web.desk import Desk, in_thread
from inspector.web.live import LineNow, StationNow
from inspector.web.pages.dialogs import button, confirmed, told
from inspector.web.pages.frame import on_news
from inspector.web.pages.looks import looks_of, small_picture
from inspector.web.pages.page import Page
from inspector.web.words import VERDICT_SYMBOLS, line_state, number, reason_words, share, station_state

PATIENCE_S = 30.0
"""How long a picture may take from the verdict to the database before it is called missing."""


def build(desk: Desk, user: User) -> None:
    """Fill the frame."""
    shown = _Shown(desk, user)
    on_news(desk, shown.show)


class _Shown:
    """The elements that change."""

    def __init__(self, desk: Desk, user: User) -> None:
        self._desk, self._user = desk, user
        with ui.element("section").classes("board").props('aria-live="polite"') as self._board:
            self._symbol = ui.label().classes("board-symbol")
            with ui.element("div"):
                self._word = ui.label().classes("board-word")
                self._text = ui.label().classes("board-text")
        self._kind = ""
        self._stations_box = ui.element("section").classes("stations")
        self._stations: dict[str, _StationCard] = {}
        with ui.element("h2").classes("section-title"):
            ui.label("Last rejects")
        self._rejects = ui.element("section").classes("rejects")
        self._cards: dict[int, _RejectCard] = {}
        self._newest: tuple[int, ...] = (-1,)
        self._show_now(desk.live.now())

    async def show(self) -> None:
        """Bring everything up to date; pictures follow when they are stored."""
        self._show_now(self._desk.live.now())
        now = self._desk.clock()
        for card in [card for card in self._cards.values() if card.waits]:
            stored = await in_thread(_stored, self._desk, card.seen.sequence)
            late = (now - card.seen.receive_time).total_seconds() > PATIENCE_S
            card.complete(stored, late)

    def _show_now(self, now: LineNow) -> None:
        state = line_state(now)
        self._board.classes(remove=f"is-{self._kind}", add=f"is-{state.kind}")
        self._kind = state.kind
        self._symbol.text, self._word.text, self._text.text = state.symbol, state.word, state.text
        for station in now.stations:
            if station.name not in self._stations:
                with self._stations_box:
                    self._stations[station.name] = _StationCard(station.name, self._desk, self._user)
            self._stations[station.name].show(station, bool(now.lost))
        self._show_rejects(now.rejects)

    def _show_rejects(self, rejects: Sequence[Inspection]) -> None:
        numbers = tuple(seen.sequence for seen in rejects)
        if numbers == self._newest:
            return
        self._newest = numbers
        if not rejects:
            with self._rejects:
                ui.label("No rejects on record yet.").classes("muted")
            return
        if not self._cards:
            self._rejects.clear()
        for gone in set(self._cards) - set(numbers):
            self._rejects.remove(self._cards.pop(gone).element)
        # Cards stay as they are, with their pictures; new ones go before them.
        for place, seen in enumerate(rejects):
            if seen.sequence not in self._cards:
                with self._rejects:
                    card = self._cards[seen.sequence] = _RejectCard(seen)
                card.element.move(self._rejects, target_index=place)


class _StationCard:
    """One station."""

    def __init__(self, name: str, desk: Desk, user: User) -> None:
        self._name, self._desk, self._user = name, desk, user
        self._offered: tuple[Command, ...] = ()
        with ui.element("article").classes("panel station") as self._card:
            with ui.element("div").classes("station-head"):
                ui.label(name).classes("station-name")
                self._state = ui.label().classes("pill")
                self._recipe = ui.label().classes("muted")
                ui.element("div").classes("spacer")
                self._commands = ui.element("div").classes("row-buttons")
            self._strip = (
                ui.element("div").classes("strip").props('role="img" aria-label="Last verdicts, newest right"')
            )
            with ui.element("dl").classes("figures"):
                titles = (
                    "Parts per second",
                    "First pass yield",
                    "Rejected ✕",
                    "Not judged ?",
                    "Half within",
                    "99 % within",
                )
                self._figures = [_figure(title) for title in titles]
            self._heard = ui.label().classes("muted")
        self._kind = ""
        self._marks: dict[int, ui.element] = {}

    def show(self, station: StationNow, lost: bool) -> None:
        """Bring it up to date."""
        state = station_state(station)
        kind = "lost" if lost else state.kind
        self._state.classes(remove=f"is-{self._kind}", add=f"is-{kind}")
        self._kind = kind
        self._card.classes(**{"add" if lost else "remove": "is-stale"})
        self._state.text = "! NO CONTACT" if lost else f"{state.symbol} {state.word}"
        reading = station.report.reading if station.report is not None else None
        self._recipe.text = f"{reading.recipe} · {reading.bundle}" if reading is not None else ""
        texts = (
            f"{station.rate_hz:.1f}",
            share(station.first_pass_yield),
            f"{station.counts.get(Verdict.REJECT, 0):,}",
            f"{station.counts.get(Verdict.UNKNOWN, 0):,}",
            "–" if station.p50_ms is None else f"{number(station.p50_ms)} ms",
            "–" if station.p99_ms is None else f"{number(station.p99_ms)} ms",
        )
        for label, text in zip(self._figures, texts, strict=True):
            label.text = text
        total = sum(station.counts.values())
        silent = (
            "no part since this desk began to watch"
            if station.silent_s is None
            else f"last part {_ago(station.silent_s)}"
        )
        self._heard.text = f"{total:,} parts this shift · {silent}"
        self._show_strip(station.strip)
        self._offer(() if lost or reading is None else OFFERED[reading.state])

    def _offer(self, commands: tuple[Command, ...]) -> None:
        """Buttons for who may command the station."""
        if commands == self._offered or not self._user.may(Role.OPERATOR):
            return
        self._offered = commands
        self._commands.clear()
        with self._commands:
            for command in commands:
                button(NAMES[command], partial(self._give, command), second=True)

    async def _give(self, command: Command) -> None:
        if command is Command.STOP and not await confirmed(
            f"Stop station {self._name}? Every part is rejected until it is started again.", "Stop"
        ):
            return

        async def work() -> None:
            await in_thread(give_command, self._desk, self._user, self._name, command)

        await told(work, f"{NAMES[command]}: done")

    def _show_strip(self, strip: Sequence[Inspection]) -> None:
        wanted = {seen.sequence for seen in strip}
        for gone in set(self._marks) - wanted:
            self._strip.remove(self._marks.pop(gone))
        for seen in strip:
            if seen.sequence not in self._marks:
                with self._strip:
                    mark = ui.label(VERDICT_SYMBOLS[seen.verdict]).classes(f"mark is-{seen.verdict.name.lower()}")
                mark.props["title"] = f"no. {seen.sequence} · {seen.part_id or 'no part id'} · {reason_words(seen)[0]}"
                self._marks[seen.sequence] = mark


class _RejectCard:
    """One part that was not passed."""

    def __init__(self, seen: Inspection) -> None:
        self.seen = seen
        self.waits = True
        headline, text = reason_words(seen)
        self.element = ui.element("a").classes(f"panel reject is-{seen.verdict.name.lower()}")
        self.element.props["href"] = f"/trace?sequence={seen.sequence}"
        with self.element:
            with ui.element("div").classes("reject-head"):
                ui.label(f"{VERDICT_SYMBOLS[seen.verdict]} {headline}").classes("reject-title")
                ui.label(f"{seen.receive_time.astimezone():%H:%M:%S}").classes("muted")
            self._shot = ui.element("div").classes("shot-box")
            with self._shot, ui.element("div").classes("shot"):
                ui.label("picture is being stored").classes("shot-none")
            ui.label(text).classes("reject-text")
            scores = "" if seen.score is None else f" · score {number(seen.score)}, limit {number(seen.limit)}"
            ui.label(f"{seen.station} · {seen.part_id or 'no part id'}{scores}").classes("muted clip")

    def complete(self, stored: StoredInspection | None, late: bool) -> None:
        """Show the pictures once they are on record, or say that there are none."""
        looks = looks_of(stored.images, self.seen.view) if stored is not None else []
        if not looks and not late:
            return
        self.waits = False
        self._shot.clear()
        with self._shot:
            if looks:
                small_picture(self.seen.sequence, looks[0], f"Part {self.seen.part_id}, number {self.seen.sequence}")
            else:
                with ui.element("div").classes("shot"):
                    ui.label("no picture").classes("shot-none")


def _stored(desk: Desk, sequence: int) -> StoredInspection | None:
    """What is on record of a part, None as long as there is nothing."""
    try:
        return desk.store.get(desk.line, sequence)
    except InspectorError:
        return None


def _figure(title: str) -> ui.label:
    with ui.element("div"):
        with ui.element("dt"):
            ui.label(title)
        with ui.element("dd"):
            return ui.label("–")


def _ago(seconds: float) -> str:
    return f"{seconds:.0f} s ago" if seconds < 120 else f"{seconds / 60:.0f} min ago"


PAGE = Page(path="/", title="Line", icon="monitor_heart", role=Role.VIEWER, build=build)
