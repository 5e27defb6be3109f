"""The models of the line: what judges now, what is proposed, every bundle with where it comes from, and what judged when."""

from __future__ import annotations

from functools import partial

from nicegui import ui

from inspector.access.identity import Role
from inspector.part import Verdict
from inspector.promotions import ViewReading
from inspector.records.requests import PromotionRequest, RequestState, same_person
from inspector.web import promotion_desk
from inspector.web.accounts.user import User
from inspector.web.bundles import BundleCard, ModelsNow, look, measured, place_of
from inspector.web.desk import Desk, in_thread
from inspector.web.pages.asking import Field, ask
from inspector.web.pages.page import Page
from inspector.web.promotion_desk import Candidate

OPEN = (RequestState.OPEN, RequestState.DECIDING)
_SHOWN_HISTORY = 30


async def build(desk: Desk, user: User) -> None:
    """Fill the frame."""
    page = _Models(desk, user, ui.element("div").classes("models"))
    await page.show()


class _Models:
    """The page, which is built anew after every change."""

    def __init__(self, desk: Desk, user: User, box: ui.element) -> None:
        self._desk = desk
        self._user = user
        self._box = box

    async def show(self) -> None:
        now = await in_thread(look, self._desk)
        self._box.clear()
        with self._box:
            self._judging(now)
            self._proposals(now)
            self._bundles(now)
            _history(now)

    async def _done(self, told: str) -> None:
        ui.notify(told, type="positive", position="top")
        await self.show()

    # What judges now

    def _judging(self, now: ModelsNow) -> None:
        with _section("What judges now"), ui.element("div").classes("model-grid"):
            if now.away:
                with ui.element("article").classes("panel"):
                    ui.label("The line's service cannot be asked").classes("panel-title")
                    ui.label(f"{now.away}: nothing can be promoted or rolled back until it answers.").classes("muted")
            for reading in now.readings:
                self._reading(reading)

    def _reading(self, one: ViewReading) -> None:
        with ui.element("article").classes("panel model-card"):
            with ui.element("div").classes("model-head"):
                ui.label(place_of(one.recipe, one.view)).classes("panel-title")
                kind, word = ("pass", "✓ JUDGES") if one.bundle and not one.fault else ("fault", "! CANNOT BE USED")
                ui.label(word).classes(f"pill is-{kind}")
            ui.label(one.bundle.label if one.bundle else "no bundle").classes("mono strong")
            if one.fault:
                ui.label(one.fault).classes("bad-words")
            if one.bundle:
                held = f"{one.checked} golden images hold on its machine, {one.provider}"
                ui.label(f"{held}; largest difference {one.difference:.2g}").classes("muted")
            if one.approvals > 1:
                ui.label("A promotion takes two persons.").classes("muted")
            promotion = one.promotion
            if promotion is None:
                ui.label("As the line file says; nothing was promoted since.").classes("muted")
                return
            ui.label(promotion.told[0].upper() + promotion.told[1:]).classes("quote")
            if promotion.before is not None and self._user.may(Role.APPROVER):
                warm = "is loaded: at once" if one.before_is_warm else "is loaded first: takes a moment"
                button = ui.button(f"Go back to {promotion.before.label}", icon="undo")
                button.props("outline no-caps dense").classes("wide-button")
                button.on_click(partial(self._roll_back, one, promotion.before.label, warm))

    def _roll_back(self, one: ViewReading, label: str, warm: str) -> None:
        replaces = one.bundle.digest if one.bundle else ""

        async def go(values: dict[str, str]) -> None:
            about = (one.recipe, one.view, values["reason"], replaces)
            await in_thread(promotion_desk.roll_back, self._desk, self._user, *about)
            await self._done(f"{label} judges {place_of(one.recipe, one.view)} from the next part on")

        title = f"Take {place_of(one.recipe, one.view)} back to {label}"
        text = f"It {warm}. Parts in flight are still judged by {one.bundle.label if one.bundle else 'nothing'}."
        ask(title, text, [Field("reason", "Why, for the record")], "Roll back", go)

    # Proposals

    def _proposals(self, now: ModelsNow) -> None:
        waiting = [one for one in now.requests if one.state in OPEN]
        if not waiting:
            return
        with _section("Proposed"), ui.element("div").classes("model-grid"):
            for one in waiting:
                self._proposal(one, now.reading(one.proposal.recipe, one.proposal.view))

    def _proposal(self, one: PromotionRequest, reading: ViewReading | None) -> None:
        proposal = one.proposal
        with ui.element("article").classes("panel model-card is-proposed"):
            with ui.element("div").classes("model-head"):
                ui.label(f"{proposal.label} for {place_of(proposal.recipe, proposal.view)}").classes("panel-title")
                busy = one.state is RequestState.DECIDING
                ui.label(f"… {one.decided_by} decides" if busy else "? WAITS").classes("pill is-wait")
            ui.label(
                f"{proposal.proposed_by}, {one.proposed_time.astimezone():%Y-%m-%d %H:%M}: {proposal.reason}"
            ).classes("quote")
            if statement := proposal.evidence.get("statement"):
                ui.label(str(statement)).classes("muted")
                _link(f"/models/compare?id={int(proposal.evidence['comparison'])}", "See the comparison")
            if one.note:
                ui.label(f"Last try: {one.note}").classes("bad-words")
            mine = same_person(proposal.proposed_by, self._user.name)
            two = reading is not None and reading.approvals > 1
            with ui.element("div").classes("model-actions"):
                if self._user.may(Role.APPROVER):
                    yes = ui.button("Promote", icon="check", on_click=partial(self._approve, one))
                    yes.props("unelevated no-caps dense")
                    yes.set_enabled(not (two and mine))
                    no = ui.button("Refuse", icon="close", on_click=partial(self._refuse, one))
                    no.props("outline no-caps dense")
                if mine:
                    ui.button("Take back", on_click=partial(self._withdraw, one)).props("flat no-caps dense")
                if two and mine:
                    ui.label("You proposed it: another approver decides.").classes("muted")

    def _approve(self, one: PromotionRequest) -> None:
        async def go(_: dict[str, str]) -> None:
            await in_thread(promotion_desk.approve, self._desk, self._user, one.id)
            await self._done(f"{one.proposal.label} judges from the next part on")

        text = (
            "The service loads it beside the one that judges, proves it on its machine and lets it take over: a moment."
        )
        ask(f"Promote {one.proposal.label}", text, [], "Promote", go, on_failure=self.show)

    def _refuse(self, one: PromotionRequest) -> None:
        async def go(values: dict[str, str]) -> None:
            await in_thread(promotion_desk.refuse, self._desk, self._user, one.id, values["reason"])
            await self._done("Refused")

        ask(f"Refuse {one.proposal.label}", "", [Field("reason", "Why, for the record")], "Refuse", go)

    def _withdraw(self, one: PromotionRequest) -> None:
        async def go(_: dict[str, str]) -> None:
            await in_thread(promotion_desk.withdraw, self._desk, self._user, one.id)
            await self._done("Taken back")

        ask(f"Take back {one.proposal.label}", "", [], "Take back", go)

    # Bundles

    def _bundles(self, now: ModelsNow) -> None:
        with _section("Bundles"):
            with ui.element("div").classes("model-actions"):
                _link("/models/compare", "Compare two")
            if not now.bundles:
                ui.label("No bundle lies there yet: train one, or copy its folder there.").classes("muted")
            for card in now.bundles:
                self._bundle(card, now)

    def _bundle(self, card: BundleCard, now: ModelsNow) -> None:
        with ui.element("article").classes("panel bundle"):
            with ui.element("div").classes("model-head"):
                ui.label(card.label).classes("mono strong")
                for recipe, view in card.judges:
                    ui.label(f"✓ judges {place_of(recipe, view)}").classes("pill is-pass")
                ui.element("div").classes("spacer")
                if card.manifest is not None and now.readings:
                    self._promote_button(card, now)
                if card.manifest is not None:
                    _link(f"/models/compare?bundle={card.name}", "Compare")
            if card.manifest is None:
                ui.label(card.fault).classes("bad-words")
                return
            _facts(card)

    def _promote_button(self, card: BundleCard, now: ModelsNow) -> None:
        places = {
            f"{one.recipe}\n{one.view}": one
            for one in now.readings
            if one.bundle is None or one.bundle.digest != card.digest
        }
        if not places or not self._user.may(Role.ENGINEER):
            return
        alone = self._user.may(Role.APPROVER)
        word = "Promote…" if alone and any(one.approvals == 1 for one in places.values()) else "Propose…"
        button = ui.button(word, icon="publish", on_click=partial(self._promote, card, places, now))
        button.props("outline no-caps dense")

    def _promote(self, card: BundleCard, places: dict[str, ViewReading], now: ModelsNow) -> None:
        async def go(values: dict[str, str]) -> None:
            reading = places[values["place"]]
            wish = Candidate(card.name, reading.recipe, reading.view, values["reason"], int(values["comparison"] or 0))
            where = place_of(reading.recipe, reading.view)
            if reading.approvals == 1 and self._user.may(Role.APPROVER):
                await in_thread(promotion_desk.promote, self._desk, self._user, wish)
                await self._done(f"{card.label} judges {where} from the next part on")
            else:
                await in_thread(promotion_desk.propose, self._desk, self._user, wish)
                await self._done(f"{card.label} is proposed for {where}: an approver decides")

        words = {
            key: f"{place_of(one.recipe, one.view)} (now {one.bundle.label if one.bundle else 'nothing'})"
            for key, one in places.items()
        }
        proofs = {"0": "nothing on record"} | {
            str(one.id): f"comparison {one.id}: {one.first} and {one.second}, {one.data}"
            for one in now.comparisons
            if card.label in (one.first, one.second)
        }
        newest = next((key for key in proofs if key != "0"), "0")
        fields = [
            Field("place", "Recipe", options=words, value=next(iter(words))),
            Field("comparison", "What speaks for it", options=proofs, value=newest),
            Field("reason", "Why, for the record"),
        ]
        text = "The service proves it on its machine before it takes over; recipes for two persons wait for the second."
        ask(f"Let {card.label} judge", text, fields, "Go on", go, on_failure=self.show)


def _facts(card: BundleCard) -> None:
    """What there is to know of a bundle, the most asked first."""
    manifest = card.manifest
    assert manifest is not None
    mark = "✓ promised" if manifest.basis.guaranteed else "! no promise"
    with ui.element("div").classes("model-head"):
        ui.label(f"limit {manifest.limits.score:.4g}").classes("strong")
        ui.label(mark).classes(f"pill is-{'pass' if manifest.basis.guaranteed else 'wait'}")
        ui.label(manifest.basis.statement).classes("muted clip").props["title"] = manifest.basis.statement
    with ui.element("dl").classes("facts"):
        for title, text in measured(manifest):
            _fact(title, text)
        for one in card.golden:
            state = f"{one.checked} hold" if not one.failed else f"{one.failed} of {one.checked} FAIL"
            spread = "" if one.difference is None else f", difference {one.difference:.2g}"
            _fact(f"Golden on {one.machine}", f"{state}{spread} ({one.provider}, {one.time.astimezone():%Y-%m-%d})")
        if not card.golden:
            _fact("Golden images", "proved on no machine of this line yet")
        if card.use is not None:
            count = sum(card.use.verdicts.values())
            stopped = card.use.verdicts.get(Verdict.REJECT, 0)
            span = (
                f"{card.use.first_time.astimezone():%Y-%m-%d %H:%M} to {card.use.last_time.astimezone():%Y-%m-%d %H:%M}"
            )
            _fact("Judged", f"{count:,} parts, {stopped:,} rejects; {span}")
        _fact("Signed by", ", ".join(card.signers) or "nobody")
    with ui.element("details").classes("origin"):
        with ui.element("summary"):
            ui.label("Where it comes from").classes("inline")
        with ui.element("dl").classes("facts"):
            _fact("Kind", manifest.model_kind)
            _fact("Made", f"{manifest.created_time.astimezone():%Y-%m-%d %H:%M}")
            _fact("Classes", ", ".join(manifest.classes))
            _fact(
                "Input",
                f"{manifest.input.width_px} × {manifest.input.height_px} px, {manifest.input.channels} channel(s)",
            )
            _fact("Data digest", manifest.dataset_digest or "not known")
            _fact("Digest", card.digest)
            for key, value in manifest.provenance.items():
                if isinstance(value, str | int | float):
                    _fact(str(key), str(value))
            _fact("Assumes", manifest.basis.assumes or "–")
            for change in manifest.history:
                _fact(
                    f"{change.what} {change.time.astimezone():%Y-%m-%d}", f"{change.reason} (from {change.parent[:12]})"
                )


def _history(now: ModelsNow) -> None:
    with _section("What judged when"):
        if not now.history:
            ui.label("Nothing was promoted on this line yet.").classes("muted")
        else:
            _table(
                ("Since", "Recipe", "Bundle", "In place of", "By", "Why"),
                [
                    (
                        f"{one.time.astimezone():%Y-%m-%d %H:%M:%S}",
                        place_of(one.recipe, one.view),
                        f"↩ {one.label}" if one.is_rollback else one.label,
                        one.label_before or "–",
                        one.promoted_by + (f", proposed by {one.proposed_by}" if one.proposed_by else ""),
                        one.reason,
                    )
                    for one in now.history[:_SHOWN_HISTORY]
                ],
            )
        if now.uses:
            _table(
                ("Bundle", "First part", "Last part", "Pass", "Reject", "Unknown"),
                [
                    (
                        use.label,
                        f"{use.first_time.astimezone():%Y-%m-%d %H:%M:%S}",
                        f"{use.last_time.astimezone():%Y-%m-%d %H:%M:%S}",
                        *(
                            f"{use.verdicts.get(verdict, 0):,}"
                            for verdict in (Verdict.PASS, Verdict.REJECT, Verdict.UNKNOWN)
                        ),
                    )
                    for use in now.uses[:_SHOWN_HISTORY]
                ],
            )
        ended = [one for one in now.requests if one.state not in OPEN]
        if ended:
            _table(
                ("Proposed", "Bundle", "Recipe", "By", "Why", "Became"),
                [
                    (
                        f"{one.proposed_time.astimezone():%Y-%m-%d %H:%M}",
                        one.proposal.label,
                        place_of(one.proposal.recipe, one.proposal.view),
                        one.proposal.proposed_by,
                        one.proposal.reason,
                        f"{one.state.value} by {one.decided_by}" + (f": {one.note}" if one.note else ""),
                    )
                    for one in ended[:_SHOWN_HISTORY]
                ],
            )


def _section(title: str) -> ui.element:
    section = ui.element("section").classes("model-section")
    with section, ui.element("h2").classes("section-title"):
        ui.label(title)
    return section


def _fact(title: str, text: str) -> None:
    with ui.element("div"):
        with ui.element("dt"):
            ui.label(title)
        with ui.element("dd"):
            ui.label(text)


def _link(target: str, text: str) -> None:
    with ui.element("a").classes("model-link") as link:
        ui.label(text)
    link.props["href"] = target


def _table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    with ui.element("div").classes("table-box"), ui.element("table").classes("rows"):
        with ui.element("thead"), ui.element("tr"):
            for head in heads:
                with ui.element("th"):
                    ui.label(head)
        with ui.element("tbody"):
            for row in rows:
                with ui.element("tr"):
                    for cell in row:
                        with ui.element("td"):
                            ui.label(cell)


PAGE = Page(path="/models", title="Models", icon="inventory_2", role=Role.VIEWER, build=build)
