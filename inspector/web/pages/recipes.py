"""Recipes and their limits, changed with a check, a look at what changes, and a reason; and what wrong verdicts cost."""

from __future__ import annotations

from collections.abc import Mapping

from nicegui import ui

from inspector.access.identity import Role
from inspector.errors import InspectorError
from inspector.records.recipe_costs import RecipeCosts, recipe_costs
from inspector.records.trace import recipe_names
from inspector.web.accounts.user import User
from inspector.web.desk import Desk, in_thread
from inspector.web.pages.dialogs import button, told
from inspector.web.pages.page import Page
from inspector.web.pages.tables import table
from inspector.web.recipe_changes import change_costs, change_recipe
from inspector.web.recipes import Draft, RecipeFile, make_draft, read_recipe_file

COUNTS_LATER = "The service takes it up when it is started next; until then the line judges as before."
NOT_HERE = "Bundles are promoted on Models; approvals are changed in the line file by whoever holds it."


async def build(desk: Desk, user: User) -> None:
    """Fill the frame."""
    try:
        file = await in_thread(read_recipe_file, desk.line_file)
        costs = await in_thread(recipe_costs, desk.database)
        names = await in_thread(recipe_names, desk.database)
    except InspectorError as error:
        ui.label(str(error)).classes("error-box").props('role="alert"')
        return
    _Editor(desk, user, file)
    _costs(desk, user, sorted({*file.recipes, *names, *costs}), costs)


class _Editor:
    """One recipe at a time: its tables as text, what is wrong with them, and what would change."""

    def __init__(self, desk: Desk, user: User, file: RecipeFile) -> None:
        self._desk, self._user, self._file = desk, user, file
        self._draft: Draft | None = None
        names = list(file.recipes)
        asked = ui.context.client.request.query_params.get("recipe", "")
        with ui.element("section").classes("panel stack"):
            with ui.element("div").classes("panel-head"):
                ui.label("Recipes of the line file").classes("panel-title")
                ui.element("div").classes("spacer")
                self._name = ui.select(names, value=asked if asked in names else (names[0] if names else None))
                self._name.props('dense outlined aria-label="Recipe"').classes("role-choice")
                self._name.on_value_change(self._load)
            ui.label(f"{COUNTS_LATER} Every key is explained in deploy/line.example.toml. {NOT_HERE}").classes("muted")
            self._text = ui.textarea().props(
                'outlined autogrow spellcheck="false" input-class="mono" aria-label="Recipe"'
            )
            self._told = ui.element("div").props('role="status"')
            self._reason = ui.input("Why? It goes on the audit log.").props("dense outlined maxlength=500")
            with ui.element("div").classes("row-buttons"):
                button("Check and show what changes", self._check, second=True)
                button("Save for the next start", self._save)
        self._load()

    def _load(self) -> None:
        self._draft = None
        self._told.clear()
        self._text.value = self._file.recipes.get(str(self._name.value), "")

    async def _check(self) -> None:
        self._draft = None
        self._told.clear()
        try:
            args = (self._file, str(self._name.value), self._text.value or "", self._desk.problems)
            draft = await in_thread(make_draft, *args)
        except InspectorError as error:
            with self._told:
                ui.label(str(error)).classes("error-box").props('role="alert"')
            return
        with self._told:
            for problem in draft.problems:
                ui.label(problem).classes("error-box").props('role="alert"')
            if not draft.diff:
                ui.label("Nothing changes.").classes("muted")
            elif not draft.problems:
                ui.label("✓ The line would start with this.").classes("good-box")
            if draft.diff:
                _difference(draft)
        self._draft = draft

    async def _save(self) -> None:
        await self._check()
        draft = self._draft
        if draft is None or draft.problems or not draft.diff:
            return

        async def work() -> None:
            reason = self._reason.value or ""
            await in_thread(change_recipe, self._desk, self._user, draft, self._file.version, reason)
            self._file = await in_thread(read_recipe_file, self._desk.line_file)

        if await told(work, f"Saved. {COUNTS_LATER}"):
            self._reason.value = ""
            self._load()


def _difference(draft: Draft) -> None:
    kinds = {"+": "added", "-": "removed", "@": "place"}
    with ui.element("div").classes("diff mono"):
        for line in draft.diff[2:]:
            ui.label(line).classes(f"diff-line {kinds.get(line[:1], '')}")


def _costs(desk: Desk, user: User, names: list[str], costs: Mapping[str, RecipeCosts]) -> None:
    with ui.element("section").classes("panel stack"):
        ui.label("What a wrong verdict costs").classes("panel-title")
        ui.label(
            "Reports weigh false rejects and escapes with these. Nothing is overwritten: the newest counts."
        ).classes("muted")
        rows = []
        for name in names:
            known = costs.get(name)
            said = "–" if known is None else f"{known.author}, {known.set.astimezone():%Y-%m-%d}"
            figures = ("–", "–") if known is None else (_money(known.false_reject, known), _money(known.escape, known))
            rows.append((name, *figures, said))
        table(("Recipe", "False reject", "Escape", "Said by"), rows)
        with ui.element("div").classes("form-row"):
            recipe = ui.select(names, value=names[0] if names else None, label="Recipe").props("dense outlined")
            rejected = ui.number("False reject", min=0, value=None).props("dense outlined")
            escaped = ui.number("Escape", min=0, value=None).props("dense outlined")
            currency = ui.input("Currency", value=next(iter(costs.values())).currency if costs else "EUR")
            currency.props("dense outlined maxlength=3")

            async def save() -> None:
                async def work() -> None:
                    amounts = (_amount(rejected.value), _amount(escaped.value))
                    await in_thread(
                        change_costs, desk, user, str(recipe.value), *amounts, (currency.value or "").upper()
                    )

                if await told(work):
                    ui.navigate.reload()

            button("Set costs", save)


def _amount(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _money(value: float, costs: RecipeCosts) -> str:
    return f"{value:,.2f} {costs.currency}"


PAGE = Page(path="/recipes", title="Recipes", icon="tune", role=Role.ENGINEER, build=build)
