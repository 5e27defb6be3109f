"""Users with their roles, who is locked out, and the tokens of programs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from nicegui import ui

from inspector.access.identity import Role
from inspector.records.users import TokenRow, UserRow
from inspector.web.accounts.accounts import FAILURES, LOCKED
from inspector.web.accounts.user import ROLES, User, parse_role, role_name
from inspector.web.desk import Desk, in_thread
from inspector.web.managing import add_user, change_user, revoke, unlock
from inspector.web.pages.dialogs import button, confirmed, told
from inspector.web.pages.page import Page
from inspector.web.pages.tables import table

_ROLE_NAMES = [role_name(role) for role in ROLES]
RIGHTS = {
    "viewer": "sees the line, its data, models, traces and reports",
    "operator": "also starts, stops and acknowledges; judges and labels parts (Review, Label)",
    "engineer": "also takes data in, trains and proposes bundles; changes recipes and reads the audit log (Recipes, Audit)",
    "approver": "also lets a bundle go live",
    "admin": "also manages users and tokens (Admin)",
}
"""What each role may do that the one before may not; pages that it adds stand in brackets."""


async def build(desk: Desk, user: User) -> None:
    """Fill the frame."""
    people = ui.element("section").classes("panel")
    tokens = ui.element("section").classes("panel")

    async def show() -> None:
        everybody = await in_thread(desk.accounts.users.all)
        locked = await in_thread(desk.accounts.users.locked, FAILURES, desk.clock() - LOCKED)
        every_token = await in_thread(desk.accounts.users.tokens)
        people.clear()
        with people:
            _people(desk, user, everybody, show)
            _locked(desk, user, [(name, address) for name, address, _ in locked], show)
        tokens.clear()
        with tokens:
            _tokens(desk, user, every_token, show)

    await show()


Show = Callable[[], object]


def _people(desk: Desk, user: User, everybody: tuple[UserRow, ...], show: Show) -> None:
    with ui.element("div").classes("panel-head"):
        ui.label("Users").classes("panel-title")
        ui.element("div").classes("spacer")
        button("Add a user", lambda: _add_dialog(desk, user, show))
    rows = []
    for row in everybody:
        seen = "never" if row.last_login is None else f"{row.last_login.astimezone():%Y-%m-%d %H:%M}"
        way = "password" if row.password else "plant's account"
        rows.append(
            (
                row.name,
                partial(_role_choice, desk, user, row, show),
                "active" if row.is_active else "locked out by an admin",
                way,
                seen,
                partial(_person_buttons, desk, user, row, show),
            )
        )
    table(("Name", "Role", "State", "Logs in by", "Last login", ""), rows)


def _role_choice(desk: Desk, user: User, row: UserRow, show: Show) -> None:
    choice = ui.select(_ROLE_NAMES, value=role_name(row.role)).props(f'dense outlined aria-label="Role of {row.name}"')
    choice.classes("role-choice")

    async def change() -> None:
        async def work() -> None:
            await in_thread(change_user, desk, user, row.name, role=parse_role(str(choice.value)))

        await told(work, f"{row.name} is {choice.value} now, and logs in again")
        await _again(show)

    choice.on_value_change(change)


def _person_buttons(desk: Desk, user: User, row: UserRow, show: Show) -> None:
    async def lock() -> None:
        if row.is_active and not await confirmed(f"Lock {row.name} out? They are logged out at once.", "Lock out"):
            return

        async def work() -> None:
            await in_thread(change_user, desk, user, row.name, is_active=not row.is_active)

        await told(work, f"{row.name} is {'locked out' if row.is_active else 'active again'}")
        await _again(show)

    with ui.element("div").classes("row-buttons"):
        button("New password", lambda: _password_dialog(desk, user, row.name, show), second=True)
        button("Lock out" if row.is_active else "Let in again", lock, second=True)


def _add_dialog(desk: Desk, user: User, show: Show) -> None:
    with ui.dialog(value=True) as dialog, ui.element("div").classes("panel dialog"):
        ui.label("Add a user").classes("panel-title")
        name = ui.input("Name").props('dense outlined autocomplete="off"')
        role = ui.select(_ROLE_NAMES, value="operator", label="Role").props("dense outlined")
        what = ui.label(RIGHTS["operator"]).classes("muted")
        role.on_value_change(lambda: what.set_text(RIGHTS[str(role.value)]))
        password = ui.input("First password, at least 10 characters", password=True)
        password.props('dense outlined autocomplete="new-password"')

        async def add() -> None:
            async def work() -> None:
                await in_thread(
                    add_user, desk, user, name.value or "", parse_role(str(role.value)), password.value or ""
                )

            if await told(work, f"{name.value} may log in"):
                dialog.close()
                await _again(show)

        with ui.element("div").classes("dialog-buttons"):
            button("Cancel", dialog.close, second=True)
            button("Add", add)


def _password_dialog(desk: Desk, user: User, name: str, show: Show) -> None:
    with ui.dialog(value=True) as dialog, ui.element("div").classes("panel dialog"):
        ui.label(f"New password of {name}").classes("panel-title")
        ui.label("They are logged out everywhere, and log in with this one.").classes("muted")
        password = ui.input("At least 10 characters", password=True).props('dense outlined autocomplete="new-password"')

        async def change() -> None:
            async def work() -> None:
                await in_thread(change_user, desk, user, name, password=password.value or "")

            if await told(work, f"{name} has a new password"):
                dialog.close()
                await _again(show)

        with ui.element("div").classes("dialog-buttons"):
            button("Cancel", dialog.close, second=True)
            button("Set it", change)


def _locked(desk: Desk, user: User, locked: list[tuple[str, str]], show: Show) -> None:
    if not locked:
        return
    ui.label("Waiting after wrong passwords").classes("panel-title")

    def buttons(name: str) -> None:
        async def let_in() -> None:
            async def work() -> None:
                await in_thread(unlock, desk, user, name)

            await told(work, f"{name} may try again")
            await _again(show)

        button("Let in again", let_in, second=True)

    table(("Name", "From", ""), [(name, address, partial(buttons, name)) for name, address in locked])


def _tokens(desk: Desk, user: User, every: tuple[TokenRow, ...], show: Show) -> None:
    ui.label("Tokens of programs").classes("panel-title")
    ui.label("Everybody makes their own, under Account. Who leaves takes none along: lock the user out.").classes(
        "muted"
    )
    if not every:
        return
    table(TOKEN_TITLES, [token_row(desk, user, row, show) for row in every])


TOKEN_TITLES = ("User", "For", "Role", "Made", "Ends", "Last used", "")


def token_row(desk: Desk, user: User, row: TokenRow, show: Show) -> tuple[object, ...]:
    """A token as cells, with a button that ends it."""
    made, ends, used = (
        "never" if time is None else f"{time.astimezone():%Y-%m-%d %H:%M}"
        for time in (row.created, row.expires, row.used)
    )

    def end() -> None:
        if row.revoked is not None:
            ui.label(f"revoked {row.revoked.astimezone():%Y-%m-%d}").classes("muted")
            return

        async def go() -> None:
            if not await confirmed(
                f"Revoke the token for {row.name}? Programs that use it are refused at once.", "Revoke"
            ):
                return

            async def work() -> None:
                await in_thread(revoke, desk, user, row.number)

            await told(work, "The token counts no more")
            await _again(show)

        button("Revoke", go, second=True)

    return row.user.name, row.name, role_name(row.role), made, ends, used, end


async def _again(show: Show) -> None:
    result = show()
    if hasattr(result, "__await__"):
        await result


PAGE = Page(path="/admin", title="Admin", icon="admin_panel_settings", role=Role.ADMIN, build=build)
