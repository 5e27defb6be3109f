"""Oneself: password, this login, and the tokens of one's programs."""

from __future__ import annotations

from nicegui import ui

from inspector.access.identity import Role
from inspector.web.accounts.user import ROLES, User, parse_role, role_name
from inspector.web.desk import Desk, in_thread
from inspector.web.managing import make_token
from inspector.web.pages.admin import TOKEN_TITLES, token_row
from inspector.web.pages.dialogs import button, shown_once, told
from inspector.web.pages.page import Page
from inspector.web.pages.tables import table


async def build(desk: Desk, user: User) -> None:
    """Fill the frame."""
    with ui.element("div").classes("two-columns"):
        _password(desk, user)
        with ui.element("section").classes("panel stack"):
            ui.label("This login").classes("panel-title")
            until = "–" if user.expires is None else f"{user.expires.astimezone():%Y-%m-%d %H:%M}"
            ui.label(f"{user.name}, {user.role.name.lower()}; this login counts until {until}.")
    tokens = ui.element("section").classes("panel stack")

    async def show() -> None:
        rows = await in_thread(desk.accounts.users.tokens, user.name)
        tokens.clear()
        with tokens:
            with ui.element("div").classes("panel-head"):
                ui.label("Tokens of your programs").classes("panel-title")
                ui.element("div").classes("spacer")
                button("New token", lambda: _token_dialog(desk, user, show))
            ui.label(
                "A program sends Authorization: Bearer TOKEN to /api/v1; what it may do is in /api/v1/openapi.json."
            ).classes("muted")
            if rows:
                table(TOKEN_TITLES, [token_row(desk, user, row, show) for row in rows])

    await show()


def _password(desk: Desk, user: User) -> None:
    address = ui.context.client.ip
    with ui.element("section").classes("panel stack"):
        ui.label("Password").classes("panel-title")
        # Password managers look for a form with a name in it.
        with ui.element("form").props('onsubmit="return false"').classes("stack"):
            name = ui.element("input").props('type="text" autocomplete="username" hidden')
            name.props["value"] = user.name
            old = ui.input("Old password", password=True).props('autocomplete="current-password" outlined dense')
            new = ui.input("New password, at least 10 characters", password=True)
            new.props('autocomplete="new-password" outlined dense')

        async def change() -> None:
            async def work() -> None:
                await in_thread(desk.accounts.change_own_password, user, old.value or "", new.value or "", address)
                await in_thread(desk.audit, user, "changed own password", user.name)

            if await told(work):
                ui.navigate.to("/login")

        button("Change it and log in again", change)


def _token_dialog(desk: Desk, user: User, show: object) -> None:
    may = [role_name(role) for role in ROLES if user.may(role)]
    with ui.dialog(value=True) as dialog, ui.element("div").classes("panel dialog"):
        ui.label("New token").classes("panel-title")
        name = ui.input("What for? Such as: MES line 1").props("dense outlined maxlength=64")
        role = ui.select(may, value="viewer", label="What it may do").props("dense outlined")
        days = ui.number("Counts for days", value=365, min=1, max=3650, precision=0).props("dense outlined")

        async def make() -> None:
            secrets: list[str] = []

            async def work() -> None:
                span = None if days.value is None else int(days.value)
                made = await in_thread(make_token, desk, user, name.value or "", parse_role(str(role.value)), span)
                secrets.append(made[1])

            if await told(work):
                dialog.close()
                await shown_once(
                    "The new token", secrets[0], "It is shown this once: put it where the program finds it."
                )
                await show()  # type: ignore[operator]

        with ui.element("div").classes("dialog-buttons"):
            button("Cancel", dialog.close, second=True)
            button("Make it", make)


PAGE = Page(path="/account", title="Account", icon="person", role=Role.VIEWER, build=build, in_menu=False)
