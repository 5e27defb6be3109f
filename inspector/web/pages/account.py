"""Oneself: password."""

from __future__ import annotations

from nicegui import ui

from inspector.access.identity import Role
from inspector.errors import InspectorError
from inspector.web.accounts.user import User
from inspector.web.desk import Desk, in_thread
from inspector.web.pages.page import Page


def build(desk: Desk, user: User) -> None:
    """Fill the frame."""
    address = ui.context.client.ip
    with ui.element("section").classes("panel narrow"):
        ui.label("Password").classes("panel-title")
        old = ui.input("Old password", password=True).props('autocomplete="current-password" outlined dense')
        new = ui.input("New password, at least 10 characters", password=True)
        new.props('autocomplete="new-password" outlined dense')
        told = ui.label().classes("muted").props('role="status"')

        async def change() -> None:
            def work() -> None:
                desk.accounts.change_own_password(user, old.value or "", new.value or "", address)
                desk.audit(user, "changed own password", user.name)

            try:
                await in_thread(work)
            except InspectorError as error:
                told.text = str(error)
                return
            ui.navigate.to("/login")

        ui.button("Change it and log in again", on_click=change).props("unelevated no-caps")
    with ui.element("section").classes("panel narrow"):
        ui.label("This login").classes("panel-title")
        until = "–" if user.expires is None else f"{user.expires.astimezone():%Y-%m-%d %H:%M}"
        ui.label(f"{user.name}, {user.role.name.lower()}; this login counts until {until}.")


PAGE = Page(path="/account", title="Account", icon="person", role=Role.VIEWER, build=build)
