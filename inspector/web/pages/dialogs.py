"""Asking and telling: forms in a dialog, errors in the words of the house, and a reason for what changes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from nicegui import ui

from inspector.errors import InspectorError

Work = Callable[[], Awaitable[None]]


async def told(work: Work, done: str = "") -> bool:
    """Do it and say so; an error of the house is shown until it is dismissed. Returns whether it was done."""
    try:
        await work()
    except InspectorError as error:
        ui.notify(str(error), type="negative", multi_line=True, timeout=0, close_button="OK")
        return False
    if done:
        ui.notify(done, type="positive")
    return True


async def confirmed(question: str, action: str) -> bool:
    """Ask before something that cannot be undone."""
    with ui.dialog() as dialog, ui.element("div").classes("panel dialog"):
        ui.label(question)
        with ui.element("div").classes("dialog-buttons"):
            button("Cancel", lambda: dialog.submit(False), second=True)
            button(action, lambda: dialog.submit(True))
    answer = await dialog
    dialog.delete()
    return bool(answer)


async def shown_once(title: str, secret: str, note: str) -> None:
    """Show something that is never shown again."""
    with ui.dialog().props("persistent") as dialog, ui.element("div").classes("panel dialog"):
        ui.label(title).classes("panel-title")
        ui.label(note)
        ui.label(secret).classes("secret mono")
        with ui.element("div").classes("dialog-buttons"):
            button("I have kept it", lambda: dialog.submit(True))
    await dialog
    dialog.delete()


def button(text: str, on_click: Callable[[], object], *, second: bool = False) -> ui.element:
    """A button of the desk's own look; a coroutine is awaited."""
    made = ui.element("button").classes("desk-button second" if second else "desk-button").props('type="button"')
    made.on("click", lambda: on_click())
    with made:
        ui.label(text)
    return made
