"""The line, live: its state to be read from three metres, a strip of verdicts per station, and the last rejects."""

from __future__ import annotations

from collections.abc import Sequence

from nicegui import ui

from inspector.access.identity import Role
from inspector.part import Inspection, Verdict
from inspector.web.accounts.user import User
from inspector.web.desk import Desk
from inspector.web.live import LineNow, StationNow
from inspector.web.pages.frame import on_news
from inspector.web.pages.page import Page
from inspector.web.words import VERDICT_SYMBOLS, line_state, number, reason_words, share, station_state


def build(desk: Desk, user: User) -> None:
    """Fill the frame."""
    shown = _State()
    for station in desk.live.now().stations:
        shown.add(station.name)
    on_news(desk, lambda: shown.show(desk.live.now()))
    shown.show(desk.live.now())


class _State:
    """The elements that change."""

    def __init__(self) -> None:
        with ui.element("section").classes("board").props('aria-live="polite"') as self._board:
            self._symbol = ui.label().classes("board-symbol")
            with ui.element("div"):
                self._word = ui.label().classes("board-word")
                self._text = ui.label().classes("board-text")
        self._kind = ""
        self._stations_box = ui.element("section").classes("stations")
        self._stations: dict[str, _StationCard] = {}
        ui.element("h2").classes("section-title").props('innerHTML="Last rejects"')
        self._rejects = ui.element("section").classes("rejects")
        self._newest: tuple[int, ...] = (-1,)

    def add(self, name: str) -> None:
        with self._stations_box:
            self._stations[name] = _StationCard(name)

    def show(self, now: LineNow) -> None:
        """Bring everything up to date."""
        state = line_state(now)
        self._board.classes(remove=f"is-{self._kind}", add=f"is-{state.kind}")
        self._kind = state.kind
        self._symbol.text, self._word.text, self._text.text = state.symbol, state.word, state.text
        for station in now.stations:
            if station.name not in self._stations:
                self.add(station.name)
            self._stations[station.name].show(station, bool(now.lost))
        numbers = tuple(seen.sequence for seen in now.rejects)
        if numbers != self._newest:
            self._newest = numbers
            self._show_rejects(now.rejects)

    def _show_rejects(self, rejects: Sequence[Inspection]) -> None:
        self._rejects.clear()
        with self._rejects:
            if not rejects:
                ui.label("No rejects since this desk began to watch.").classes("muted")
            for seen in rejects:
                _reject_card(seen)


class _StationCard:
    """One station."""

    def __init__(self, name: str) -> None:
        with ui.element("article").classes("panel station"):
            with ui.element("div").classes("station-head"):
                ui.label(name).classes("station-name")
                self._state = ui.label().classes("pill")
                self._recipe = ui.label().classes("muted")
            self._strip = (
                ui.element("div").classes("strip").props('role="img" aria-label="Last verdicts, newest right"')
            )
            with ui.element("dl").classes("figures"):
                self._figures = [_figure(title) for title in ("Parts/s", "First pass", "Rejects", "p50", "p99")]
        self._kind = ""
        self._last: tuple[int, ...] = (-1,)

    def show(self, station: StationNow, lost: bool) -> None:
        state = station_state(station)
        kind = "lost" if lost else state.kind
        self._state.classes(remove=f"is-{self._kind}", add=f"is-{kind}")
        self._kind = kind
        self._state.text = "NO CONTACT" if lost else f"{state.symbol} {state.word}"
        reading = station.report.reading if station.report is not None else None
        self._recipe.text = f"{reading.recipe} · {reading.bundle}" if reading is not None else ""
        stopped = station.counts.get(Verdict.REJECT, 0), station.counts.get(Verdict.UNKNOWN, 0)
        texts = (
            f"{station.rate_hz:.1f}",
            share(station.first_pass_yield),
            f"{stopped[0]} ✕  {stopped[1]} ?",
            f"{number(station.p50_ms)} ms",
            f"{number(station.p99_ms)} ms",
        )
        for label, text in zip(self._figures, texts, strict=True):
            label.text = text
        numbers = tuple(seen.sequence for seen in station.strip)
        if numbers != self._last:
            self._last = numbers
            self._strip.clear()
            with self._strip:
                for seen in station.strip:
                    mark = ui.label(VERDICT_SYMBOLS[seen.verdict]).classes(f"mark is-{seen.verdict.name.lower()}")
                    mark.props["title"] = f"{seen.sequence} {seen.part_id} {reason_words(seen)[0]}"


def _figure(title: str) -> ui.label:
    with ui.element("div"):
        with ui.element("dt"):
            ui.label(title)
        with ui.element("dd"):
            return ui.label("–")


def _reject_card(seen: Inspection) -> None:
    headline, text = reason_words(seen)
    with ui.element("article").classes(f"panel reject is-{seen.verdict.name.lower()}"):
        with ui.element("div").classes("reject-head"):
            ui.label(f"{VERDICT_SYMBOLS[seen.verdict]} {headline}").classes("reject-title")
            ui.label(f"{seen.receive_time.astimezone():%H:%M:%S}").classes("muted")
        ui.label(f"{seen.station} · part {seen.part_id or '–'} · no. {seen.sequence}").classes("muted")
        ui.label(f"score {number(seen.score)} · limit {number(seen.limit)}")
        ui.label(text)


PAGE = Page(path="/", title="Line", icon="monitor_heart", role=Role.VIEWER, build=build)
