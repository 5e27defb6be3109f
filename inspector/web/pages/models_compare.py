"""Two bundles on the same parts: who errs where, whether chance explains it, flips as pictures, and other limits tried."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlencode

from nicegui import ui

from inspector.access.identity import Role
from inspector.errors import InspectorError
from inspector.quality import comparing
from inspector.quality.comparing import ComparedPart, Curve
from inspector.quality.rates import rate
from inspector.records.compare_wish import COMPARE, CompareWish
from inspector.records.comparisons import BundleComparison, ComparisonEntry, Comparisons
from inspector.records.job import JobState
from inspector.web import promotion_desk
from inspector.web.accounts.user import User
from inspector.web.bundles import BundleCard, bundles_in, comparison_of
from inspector.web.desk import Desk, in_thread
from inspector.web.pages.asking import Field, ask
from inspector.web.pages.page import Page

SIDES = ("A", "B")
ESCAPES, FALSE_REJECTS = "#d55e00", "#3a96d0"
"""Okabe and Ito's vermillion, and a blue of theirs that shows on light and dark; lines differ in dash as well."""
_SHOWN = 48
_AXIS = "#8795a3"


@dataclass(slots=True)
class _Study:
    """A comparison as it is looked at: which parts count, and the limits as they are tried."""

    number: int
    comparison: BundleComparison
    limits: list[float]
    with_known: bool = False

    @property
    def parts(self) -> list[ComparedPart]:
        images = (one for one in self.comparison.images if self.with_known or not one.known)
        return comparing.parts_of((one.part, one.label, one.lot, one.first, one.second) for one in images)

    @property
    def paths(self) -> dict[int, str]:
        return {one.part: one.path for one in reversed(self.comparison.images)}


async def build(desk: Desk, user: User) -> None:
    """Fill the frame."""
    query = ui.context.client.request.query_params
    kept = Comparisons(desk.database, desk.line)
    entries = await in_thread(kept.list)
    cards = {card.label: card for card in await in_thread(bundles_in, desk.bundles)}
    wanted = query.get("bundle", "")
    chosen = next((card.label for card in cards.values() if card.name == wanted), "")
    some = [one for one in entries if not chosen or chosen in (one.first, one.second)]
    _chooser(some, query.get("id", ""), chosen)
    await _asking(desk, user, [card for card in cards.values() if card.manifest is not None], chosen)
    text = query.get("id", "")
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else (some[0].id if some else 0)
    if not number:
        return
    try:
        comparison = await in_thread(comparison_of, desk, number)
    except InspectorError as error:
        ui.label(str(error)).classes("panel bad-words")
        return
    _Compared(desk, user, _Study(number, comparison, list(comparison.limits)), cards).build()


async def _asking(desk: Desk, user: User, cards: Sequence[BundleCard], chosen: str) -> None:
    """A comparison that a worker makes, and those on their way."""
    snapshots = [row.name for row in await in_thread(desk.work.snapshots) if not row.problem]
    waiting = await in_thread(desk.work.jobs.list, (JobState.QUEUED, JobState.RUNNING), COMPARE)
    for job in waiting:
        how = f"{job.stage}, {job.done} of {job.total}" if job.state is JobState.RUNNING else "waits for a worker"
        ui.label(f"Job {job.id}, {job.title}: {how}").classes("panel muted")
    if not user.may(Role.ENGINEER) or len(cards) < 2 or not snapshots:
        return
    bundles = {card.name: card.label for card in cards}
    first = next((name for name, label in bundles.items() if label == chosen), next(iter(bundles)))

    async def go(values: dict[str, str]) -> None:
        wish = CompareWish(values["first"], values["second"], values["snapshot"])
        number = await in_thread(promotion_desk.ask_comparison, desk, user, wish)
        ui.notify(f"Job {number}: a worker (inspector-train worker) does it", type="positive", position="top")
        ui.navigate.reload()

    fields = [
        Field("first", "A", options=bundles, value=first),
        Field("second", "B", options=bundles, value=next(name for name in bundles if name != first)),
        Field("snapshot", "On the snapshot", options={name: name for name in snapshots}, value=snapshots[0]),
    ]
    text = "Both judge every picture; what one of them was made with is marked, and counts only if you say so."
    ask_ = partial(ask, "Compare two bundles", text, fields, "Compare", go)
    ui.button("Compare two bundles…", icon="compare", on_click=ask_).props("outline no-caps dense").classes(
        "wide-button"
    )


def _chooser(entries: Sequence[ComparisonEntry], shown: str, chosen: str) -> None:
    with ui.element("section").classes("panel model-section"):
        if not entries:
            of = f" of {chosen}" if chosen else ""
            ui.label(f"No comparison{of} is on record yet").classes("panel-title")
            ui.label("Ask a worker for one here, or compare on other pictures, where training is installed:").classes(
                "muted"
            )
            ui.label("inspector-train compare BUNDLE_A BUNDLE_B DATA --record LINE.toml").classes("mono")
            return
        options = {
            one.id: f"{one.id}: {one.first} against {one.second}, {one.data} ({one.made_by}, {one.time.astimezone():%Y-%m-%d})"
            for one in entries
        }
        value = int(shown) if shown.isdecimal() and int(shown) in options else entries[0].id
        choice = ui.select(options, value=value, label="Comparison").props("outlined dense options-dense")
        choice.classes("wide").on_value_change(lambda event: ui.navigate.to(f"/models/compare?id={event.value}"))


class _Compared:
    """One comparison on the page. What depends on a limit is shown anew when that moves."""

    def __init__(self, desk: Desk, user: User, study: _Study, cards: dict[str, BundleCard]) -> None:
        self._desk = desk
        self._user = user
        self._study = study
        self._cards = cards
        self._parts = study.parts
        self._paths = study.paths
        self._labels = (study.comparison.first, study.comparison.second)

    def build(self) -> None:
        found = self._study.comparison
        with ui.element("section").classes("panel model-section"):
            with ui.element("div").classes("model-head"):
                for side, label in zip(SIDES, self._labels, strict=True):
                    ui.label(f"{side} {label}").classes("mono strong")
            ui.label(found.statement).classes("panel-title")
            for note in found.notes:
                ui.label(note).classes("warn-words")
            known = sum(one.known for one in found.images)
            if known:
                switch = ui.switch(f"Also the {known} pictures that a bundle was made with, which flatter it")
                switch.on_value_change(self._count_known)
        self._tests = ui.element("section").classes("panel model-section")
        self._plots: list[ui.echart] = []
        self._curves: list[Curve] = []
        self._sliders: list[ui.slider] = []
        self._words: list[ui.label] = []
        with ui.element("section").classes("plots"):
            for place in (0, 1):
                self._plot(place)
        self._moved = ui.element("section").classes("model-section")
        self._groups = ui.element("section").classes("panel model-section")
        self._flips = ui.element("section").classes("model-section")
        self._show()

    def _count_known(self, event: Any) -> None:
        self._study.with_known = bool(event.value)
        self._parts = self._study.parts
        for side in (0, 1):
            self._curves[side] = self._curve(side)
            self._plots[side].options.clear()
            self._plots[side].options.update(_options(self._curves[side], self._study.limits[side]))
            self._plots[side].update()
        self._show()

    def _curve(self, side: int) -> Curve:
        return comparing.curve(self._parts, side, at=(self._study.comparison.limits[side],))

    # Limits

    def _plot(self, side: int) -> None:
        curve, limit = self._curve(side), self._study.limits[side]
        self._curves.append(curve)
        with ui.element("article").classes("panel plot"):
            with ui.element("div").classes("model-head"):
                ui.label(f"{SIDES[side]} {self._labels[side]}").classes("mono strong")
                ui.element("div").classes("spacer")
                card = self._cards.get(self._labels[side])
                if card is not None and self._user.may(Role.ENGINEER):
                    save = ui.button("Save this limit…", icon="save", on_click=partial(self._save, side, card))
                    save.props("outline no-caps dense")
            self._plots.append(ui.echart(_options(curve, limit)).classes("chart"))
            self._words.append(ui.label().classes("limit-words").props('role="status"'))
            if not curve.limits.size:
                self._sliders.append(ui.slider(min=0, max=1))
                self._sliders[-1].visible = False
                return
            low, high = float(curve.limits[0]), float(min(curve.limits[-1], 1e300))
            slider = ui.slider(min=low, max=high, step=(high - low) / 500, value=min(max(limit, low), high))
            slider.props(f'aria-label="Limit of {SIDES[side]}"')
            slider.on("update:model-value", lambda event, side=side: self._move(side, event.args), throttle=0.1)
            # Once it rests: what is long to draw.
            slider.on("change", lambda event, side=side: self._rest(side, event.args))
            self._sliders.append(slider)
            with ui.element("div").classes("model-actions"):
                for icon, word, up in (
                    ("chevron_left", "One part stricter", False),
                    ("chevron_right", "One part laxer", True),
                ):
                    step = ui.button(word, icon=icon, on_click=partial(self._step, side, up))
                    step.props("outline no-caps dense")
                back = ui.button("Back to its own limit", on_click=partial(self._back, side))
                back.props("flat no-caps dense")

    def _back(self, side: int) -> None:
        self._set(side, self._study.comparison.limits[side])

    def _step(self, side: int, up: bool) -> None:
        limit = comparing.next_limit(self._parts, side, self._study.limits[side], up)
        if limit is not None:
            self._set(side, limit)

    def _set(self, side: int, limit: float) -> None:
        curve = self._curves[side]
        self._sliders[side].value = min(max(limit, float(curve.limits[0])), float(curve.limits[-1]))
        self._rest(side, limit)

    def _move(self, side: int, value: Any) -> None:
        if not isinstance(value, float | int) or not math.isfinite(value):
            return
        self._study.limits[side] = float(value)
        mark = self._plots[side].options["series"][-1]
        mark["markLine"]["data"] = _marks(float(value))
        self._plots[side].update()
        self._show_figures()

    def _rest(self, side: int, value: Any) -> None:
        self._move(side, value)
        self._show_parts()

    def _save(self, side: int, card: BundleCard) -> None:
        limit = self._study.limits[side]

        async def go(values: dict[str, str]) -> None:
            about = (card.name, limit, values["name"], values["reason"], self._study.number)
            made = await in_thread(promotion_desk.save_limit, self._desk, self._user, *about)
            ui.notify(f"{made.label} lies beside it: propose it on the page of models", type="positive", position="top")

        text = (
            f"A new bundle with the limit {limit:.4g} in place of {self._study.comparison.limits[side]:.4g}. A limit set by "
            "hand promises nothing, and the parts here chose it: judge it on others before you promote it. It wants a "
            "signature of its own."
        )
        fields = [
            Field("name", "Name of the new bundle", value=f"{card.name}-limit"),
            Field("reason", "Why, for the record"),
        ]
        ask(f"Save a limit of {card.label}", text, fields, "Save", go)

    # What depends on the limits

    def _show(self) -> None:
        self._show_figures()
        self._show_parts()

    def _show_figures(self) -> None:
        parts, limits = self._parts, (self._study.limits[0], self._study.limits[1])
        for side in (0, 1):
            errors = comparing.errors(parts, side, limits[side])
            self._words[
                side
            ].text = (
                f"Limit {limits[side]:.4g}: escapes {errors.escapes.words}; false rejects {errors.false_rejects.words}"
            )
        self._tests.clear()
        with self._tests:
            ui.label(f"On {len(parts)} physical parts, 95 % intervals (Clopper-Pearson)").classes("muted")
            for one in comparing.paired(parts, limits):
                ui.label(one.words[0].upper() + one.words[1:])

    def _show_parts(self) -> None:
        parts, limits = self._parts, (self._study.limits[0], self._study.limits[1])
        self._show_moved()
        self._groups.clear()
        with self._groups:
            _errors_table("Class", comparing.groups(parts, lambda part: part.label), limits)
            lots = comparing.groups(parts, lambda part: part.lot or "lot not known")
            if len(lots) > 1:
                _errors_table("Lot", lots, limits)
        self._flips.clear()
        with self._flips:
            flips = comparing.differing(parts, limits)
            with ui.element("h2").classes("section-title"):
                ui.label(f"Parts that A and B judge otherwise: {len(flips)}")
            with ui.element("div").classes("flips"):
                for part, right in sorted(flips, key=lambda flip: not self._is_drawn(flip[0]))[:_SHOWN]:
                    self._flip(part, f"{right} is right", right)
            if len(flips) > _SHOWN:
                ui.label(f"and {len(flips) - _SHOWN} more").classes("muted")

    def _show_moved(self) -> None:
        self._moved.clear()
        with self._moved:
            for side in (0, 1):
                old, new = self._study.comparison.limits[side], self._study.limits[side]
                if old == new:
                    continue
                moved = comparing.flipped(self._parts, side, old, new)
                becomes = "rejects" if new < old else "passes"
                worse = sum(part.is_good is (new < old) for part in moved)
                with ui.element("h2").classes("section-title"):
                    ui.label(
                        f"With {new:.4g} {SIDES[side]} {becomes} {len(moved)} part(s) more than with its own {old:.4g}: "
                        f"{len(moved) - worse} rightly, {worse} wrongly"
                    )
                with ui.element("div").classes("flips"):
                    for part in moved[:_SHOWN]:
                        wrong = part.is_good is (new < old)
                        self._flip(part, "wrongly" if wrong else "rightly", "A" if wrong else "B")

    def _is_drawn(self, part: ComparedPart) -> bool:
        return self._paths.get(part.number, "") in self._study.comparison.pictures

    def _flip(self, part: ComparedPart, word: str, kind: str) -> None:
        path, drawn = self._paths.get(part.number, ""), self._is_drawn(part)
        with ui.element("figure").classes(f"panel flip is-{'better' if kind == 'B' else 'worse'}"):
            if drawn:
                picture = ui.element("img").props('loading="lazy" width=608 height=200')
                query = urlencode({"path": path})
                picture.props["src"] = f"/api/v1/comparisons/{self._study.number}/pictures?{query}"
                picture.props["alt"] = path
            with ui.element("figcaption"):
                ui.label(f"{part.label} · {word}").classes("strong")
                scores = ", ".join(
                    f"{side} {'–' if score is None else f'{score:.4g}'}"
                    for side, score in zip(SIDES, part.scores, strict=True)
                )
                ui.label(scores).classes("muted")
                ui.label(path).classes("muted clip").props["title"] = path


def _errors_table(head: str, groups: dict[str, list[ComparedPart]], limits: tuple[float, float]) -> None:
    with ui.element("div").classes("table-box"), ui.element("table").classes("rows"):
        with ui.element("thead"), ui.element("tr"):
            for text in (head, "Parts", "A errs", "B errs", "only A / only B", "p"):
                with ui.element("th"):
                    ui.label(text)
        with ui.element("tbody"):
            for name, some in groups.items():
                found = [comparing.errors(some, side, limits[side]) for side in (0, 1)]
                wrong = [_all_errors(one.escapes.count + one.false_rejects.count, len(some)) for one in found]
                pairs = comparing.paired(some, limits)
                only = sum(one.only_first for one in pairs), sum(one.only_second for one in pairs)
                p = comparing.mcnemar_exact(*only)
                with ui.element("tr"):
                    for text in (name, f"{len(some):,}", *wrong, f"{only[0]} / {only[1]}", f"{p:.3g}"):
                        with ui.element("td"):
                            ui.label(text)


def _all_errors(count: int, total: int) -> str:
    return rate(count, total).words


def _options(curve: Curve, limit: float) -> dict[str, Any]:
    """Escape and false-reject rates by limit, in per cent, with their bounds as bands."""
    series: list[dict[str, Any]] = []
    for name, colour, dash in (("escapes", ESCAPES, "solid"), ("false_rejects", FALSE_REJECTS, "dashed")):
        title = name.replace("_", " ")
        low, high = getattr(curve, f"{name}_low"), getattr(curve, f"{name}_high")
        band = {
            "type": "line",
            "stack": name,
            "symbol": "none",
            "silent": True,
            "lineStyle": {"opacity": 0},
            "animation": False,
        }
        series.append({**band, "name": f"{title} low", "data": _points(curve, low)})
        fill = {"color": colour, "opacity": 0.16}
        series.append({**band, "name": f"{title} high", "data": _points(curve, high - low), "areaStyle": fill})
        line = {"color": colour, "width": 2.5, "type": dash}
        data = _points(curve, getattr(curve, name))
        series.append(
            {
                "type": "line",
                "name": title,
                "data": data,
                "symbol": "none",
                "lineStyle": line,
                "itemStyle": {"color": colour},
                "animation": False,
            }
        )
    mark = {
        "symbol": "none",
        "silent": True,
        "animation": False,
        "lineStyle": {"color": _AXIS, "width": 2, "type": "solid"},
        "label": {"formatter": "limit", "color": _AXIS},
        "data": _marks(limit),
    }
    series.append({"type": "line", "name": "limit", "data": [], "markLine": mark})
    axis = {
        "axisLabel": {"color": _AXIS},
        "axisLine": {"lineStyle": {"color": _AXIS}},
        "nameTextStyle": {"color": _AXIS},
        "splitLine": {"lineStyle": {"color": _AXIS, "opacity": 0.25}},
    }
    return {
        "grid": {"left": 52, "right": 18, "top": 34, "bottom": 44},
        "legend": {"data": ["escapes", "false rejects"], "textStyle": {"color": _AXIS}, "top": 0},
        "tooltip": {"trigger": "axis"},
        "xAxis": {"type": "value", "name": "limit", "nameLocation": "middle", "nameGap": 28, "scale": True, **axis},
        "yAxis": {"type": "value", "name": "%", "min": 0, "max": 100, **axis},
        "series": series,
    }


def _points(curve: Curve, values: Any) -> list[list[float]]:
    pairs = zip(curve.limits.tolist(), values.tolist(), strict=True)
    return [[round(limit, 9), round(value * 100, 4)] for limit, value in pairs if math.isfinite(value)]


def _marks(limit: float) -> list[dict[str, float]]:
    return [{"xAxis": limit}] if math.isfinite(limit) else []


PAGE = Page(
    path="/models/compare",
    title="Compare",
    icon="compare",
    role=Role.VIEWER,
    build=build,
    keys=(("Tab, then Space", "move a limit by one part"), ("← →", "move a limit, when its slider has the focus")),
    in_menu=False,
)
