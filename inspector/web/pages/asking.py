"""A dialog that asks for what an action needs, shows how it goes, and says in words why it did not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from nicegui import ui

from inspector.errors import InspectorError


@dataclass(frozen=True, slots=True)
class Field:
    """One thing that is asked for: a line of text, or one of `options`."""

    name: str
    title: str
    options: Mapping[str, str] = field(default_factory=dict)
    value: str = ""


def ask(
    title: str,
    text: str,
    fields: Sequence[Field],
    word: str,
    go: Callable[[dict[str, str]], Awaitable[None]],
    on_failure: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Open the dialog; `word` does `go` with what was given. An error of the house is told and leaves the dialog open."""
    # Not inside what the action may draw anew.
    with ui.context.client.content, ui.dialog() as dialog, ui.card().classes("ask-card"):
        ui.label(title).classes("panel-title")
        if text:
            ui.label(text).classes("muted")
        asked = {one.name: _input(one) for one in fields}
        told = ui.label().classes("bad-words").props('role="alert"')
        told.visible = False
        with ui.element("div").classes("model-actions"):
            button = ui.button(word).props("unelevated no-caps")
            close = ui.button("Cancel", on_click=dialog.close).props("flat no-caps")

        async def run() -> None:
            button.props("loading")
            close.disable()
            try:
                await go({name: str(one.value or "") for name, one in asked.items()})
            except InspectorError as error:
                told.text, told.visible = str(error), True
                if on_failure is not None:
                    await on_failure()
            else:
                dialog.close()
            finally:
                button.props(remove="loading")
                close.enable()

        button.on_click(run)
        for one in asked.values():
            if isinstance(one, ui.input):
                one.on("keydown.enter", run)
    dialog.on("hide", dialog.delete)
    dialog.open()


def _input(one: Field) -> ui.input | ui.select:
    if one.options:
        return ui.select(dict(one.options), label=one.title, value=one.value).props("outlined dense options-dense")
    entry = ui.input(one.title, value=one.value).props("outlined dense maxlength=500 autocomplete=off")
    entry.props("autofocus")
    return entry
