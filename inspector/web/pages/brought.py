"""Sets of pictures that people bring, and sending more to one."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlencode

from nicegui import ui

from inspector.access.identity import Role
from inspector.errors import InspectorError
from inspector.records.image_sets import ImageSet
from inspector.web.accounts.user import User
from inspector.web.desk import Desk, in_thread
from inspector.web.pages.pieces import told


async def show_sets(desk: Desk, user: User) -> None:
    """All sets; engineers make new ones and send pictures."""
    sets = await in_thread(desk.work.sets.list)
    with ui.element("section").classes("panel"):
        ui.label("Sets of pictures").classes("panel-title")
        if not sets:
            ui.label("None yet. A set holds pictures that no camera of this line took.").classes("muted")
        else:
            _table(sets)
        if user.may(Role.ENGINEER):
            _new_set(desk, user)
    if user.may(Role.ENGINEER) and sets:
        ui.add_head_html('<script src="/static/upload.js" defer></script>')
        _upload(sets)


def _table(sets: Sequence[ImageSet]) -> None:
    with ui.element("table").classes("table"):
        with ui.element("tr"):
            for title in ("set", "pictures", "labelled", "made by", "made"):
                with ui.element("th"):
                    ui.label(title)
        for one in sets:
            with ui.element("tr"):
                with ui.element("td"):
                    link = ui.element("a")
                    link.props["href"] = "/data?" + urlencode({"tab": "pictures", "source": one.name})
                    with link:
                        ui.label(one.name)
                for text in (one.pictures, one.labelled, one.made_by, f"{one.made.astimezone():%Y-%m-%d %H:%M}"):
                    with ui.element("td"):
                        ui.label(str(text))


def _new_set(desk: Desk, user: User) -> None:
    with ui.element("div").classes("row"):
        name = ui.input("Name of a new set").props("outlined dense").classes("grow")

        async def make() -> None:
            def work() -> str:
                made = desk.work.sets.make(name.value or "", user.name, desk.clock())
                desk.audit(user, "made image set", made.name)
                return made.name

            try:
                await in_thread(work)
            except InspectorError as error:
                ui.notify(str(error), type="negative")
                return
            ui.navigate.to("/data?tab=sets")

        name.on("keydown.enter", make)
        ui.button("Make it", on_click=make).props("unelevated no-caps")


def _upload(sets: Sequence[ImageSet]) -> None:
    with ui.element("section").classes("panel upload").props('id="upload"'):
        ui.label("Send pictures").classes("panel-title")
        told(
            "PNG and JPEG files, or ZIP archives of them. What is interrupted goes on when the same file is chosen again; "
            "every file is checked by its content."
        )
        with ui.element("div").classes("filters"):
            with ui.element("label").classes("field"):
                ui.label("To set")
                with ui.element("select").props('id="upload-set"'):
                    for one in sets:
                        option = ui.element("option")
                        option.props["value"] = one.name
                        with option:
                            ui.label(one.name).classes("option-words")
            _field("Label", "upload-label", "none, by folder, good or a class", "upload-labels")
            _field("Lot of all", "upload-lot", "nobody knows")
            _field("Part in the file name", "upload-part", "pattern, such as num_([0-9]+)")
        with ui.element("datalist").props('id="upload-labels"'):
            for value in ("by folder", "good"):
                option = ui.element("option")
                option.props["value"] = value
        with ui.element("label").classes("drop").props('id="upload-drop" tabindex="0"'):
            ui.icon("upload_file")
            ui.label("Choose files, or drop them here")
            ui.element("input").props('type="file" id="upload-files" multiple accept=".png,.jpg,.jpeg,.zip"')
        ui.element("ol").classes("uploads").props('id="upload-list" aria-live="polite"')


def _field(label: str, name: str, hint: str, options: str = "") -> None:
    with ui.element("label").classes("field"):
        ui.label(label)
        field = ui.element("input").props('type="text" autocomplete="off"')
        field.props["id"], field.props["placeholder"] = name, hint
        if options:
            field.props["list"] = options
