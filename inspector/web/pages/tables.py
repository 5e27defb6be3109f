"""Tables and lists of facts, of plain text from anywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from nicegui import ui

Cell = str | Callable[[], None]
"""Text, or what builds the cell."""


def table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> ui.element:
    """A table; scrolls sideways by itself on a narrow screen."""
    with ui.element("div").classes("sheet-box") as box, ui.element("table").classes("sheet"):
        with ui.element("thead"), ui.element("tr"):
            for title in titles:
                with ui.element("th"):
                    ui.label(title)
        with ui.element("tbody"):
            for row in rows:
                with ui.element("tr"):
                    for cell in row:
                        with ui.element("td"):
                            if callable(cell):
                                cell()
                            else:
                                ui.label(str(cell))
    return box


def facts(*pairs: tuple[str, str]) -> None:
    """Names and what they are."""
    with ui.element("dl").classes("fact-list"):
        for name, value in pairs:
            with ui.element("dt"):
                ui.label(name)
            with ui.element("dd"):
                ui.label(value)
