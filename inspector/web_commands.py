"""`inspector web`: the desk of a line in a browser, and its users."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from datetime import UTC, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from inspector.access_commands import passphrase_of
from inspector.errors import ConfigError
from inspector.settings import LineSettings, WebTable, load_line_file, parse_address, read_line_file
from inspector.telemetry.logs import log_to_stderr

if TYPE_CHECKING:
    from inspector.web.accounts.oidc import OidcOptions
    from inspector.web.program import WebOptions

out = Console()

NICE = 15
"""Many people at the desk must not take the line's time: beside a service at 0 it gets a thirtieth of a core that both want."""


def web(
    line_file: Annotated[Path, typer.Argument(help="The line file; its table [web] says how.", show_default=False)],
    verbose: Annotated[bool, typer.Option(help="Log more.")] = False,
    log_format: Annotated[
        Literal["text", "json"], typer.Option(help="One line or one JSON object per event, on standard error.")
    ] = "text",
    nice: Annotated[
        int, typer.Option(min=0, max=19, help="How far to give way to other programs, above all the line.")
    ] = NICE,
) -> None:
    """Serve the desk of a line to browsers, beside its service and as long as it is not told to stop (Ctrl-C or SIGTERM)."""
    from inspector.quiet import give_way
    from inspector.telemetry.systemd import ServiceManager
    from inspector.web.program import run_web

    give_way(nice)
    settings = load_line_file(line_file)
    log_to_stderr(logging.DEBUG if verbose else logging.INFO, as_json=log_format == "json")
    if not verbose:
        # They tell every web socket, with its secret path.
        for noisy in ("uvicorn", "httpx"):
            logging.getLogger(noisy).setLevel(logging.WARNING)
    # The server ends by these and gives them on; they must not end this process before everything is closed.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    manager = ServiceManager()

    def ready(url: str, alive: Callable[[], bool]) -> None:
        logging.getLogger(__name__).info("the desk of line %s is at %s", settings.file.line.name, url)
        manager.ready(alive, f"Web desk of line {settings.file.line.name}")

    run_web(_options(settings), ready)
    manager.stopping()


def web_user(
    line_file: Annotated[Path, typer.Argument(help="The line file.", show_default=False)],
    name: Annotated[str, typer.Argument(help="Name to log in with.")],
    role: Annotated[
        Literal["viewer", "operator", "engineer", "approver", "admin"], typer.Option(help="What the user may do.")
    ],
) -> None:
    """Add a user of the web desk, or give one a new role and password; the way in for the first admin."""
    from inspector.access.identity import Role
    from inspector.records.audit import AUDIT_FILE, AuditLog
    from inspector.records.store import Store
    from inspector.records.users import Users
    from inspector.web.accounts.accounts import Accounts
    from inspector.web.accounts.user import user_name

    settings = load_line_file(line_file)
    name = user_name(name)
    password = passphrase_of(f"user {name}", wanted=True, confirm=True)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    store = Store(settings.database_url)
    try:
        store.create()
        store.check_schema()
        accounts = Accounts(Users(store.database), _table(settings).session_hours, lambda: datetime.now(UTC))
        known = accounts.users.find(name) is not None
        if known:
            accounts.change(name, role=Role[role.upper()], password=password, is_active=True)
            accounts.users.forgive(name)
        else:
            accounts.add(name, Role[role.upper()], password)
        action = "changed user" if known else "added user"
        AuditLog(settings.data_dir / AUDIT_FILE).append("inspector web-user", action, name, {"role": role})
    finally:
        store.close()
    out.print(f"{name} may log in as {role} at {_options(settings).url}", markup=False, soft_wrap=True)


def _oidc(settings: LineSettings, table: WebTable) -> OidcOptions | None:
    """How people log in at the plant's identity provider, None if they do not. Raises ConfigError."""
    if table.oidc is None:
        return None
    from inspector.access.identity import Role
    from inspector.web.accounts.oidc import OidcOptions

    path = settings.resolve(table.oidc.secret)
    try:
        secret = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"web.oidc.secret: {path} cannot be read ({error}): put the client's secret there") from error
    scheme = "https" if table.certificate else "http"
    return OidcOptions(
        issuer=table.oidc.issuer,
        client=table.oidc.client,
        secret=secret,
        roles={group: Role[role.upper()] for group, role in table.oidc.roles.items()},
        name_claim=table.oidc.name_claim,
        groups_claim=table.oidc.groups_claim,
        redirect=f"{table.address or f'{scheme}://{table.listen}'}/oidc/callback",
        ca=settings.resolve(table.oidc.ca) if table.oidc.ca else None,
    )


def _table(settings: LineSettings) -> WebTable:
    return settings.file.web or WebTable()


def _options(settings: LineSettings) -> WebOptions:
    """What the program needs to know of the line file. Raises ConfigError."""
    from inspector.cameras.connection import ClientTls
    from inspector.web.program import WebOptions

    table = _table(settings)
    address = parse_address(table.listen)
    if settings.file.grpc.tls is not None and not table.grpc_certificate:
        raise ConfigError(
            "the line wants certificates ([grpc.tls]) and the web desk has none to show: issue one with `inspector certs user "
            "--role approver` and name it in [web] as grpc_certificate and grpc_key"
        )
    credentials = None
    if (tls := settings.file.grpc.tls) is not None:
        own = ClientTls(
            settings.resolve(tls.ca), settings.resolve(table.grpc_certificate), settings.resolve(table.grpc_key)
        )
        credentials = own.credentials()
    return WebOptions(
        line=settings.file.line.name,
        line_file=settings.path,
        stations=tuple(station.name for station in settings.file.station),
        host=address.host,
        port=address.port,
        address=table.address,
        certificate=settings.resolve(table.certificate) if table.certificate else None,
        key=settings.resolve(table.key) if table.key else None,
        bundles=settings.resolve(table.bundles),
        folder=settings.resolve(table.folder),
        session_hours=table.session_hours,
        shifts=tuple(time.fromisoformat(text) for text in table.shifts),
        lot_pattern=table.lot_pattern,
        service=table.service or str(settings.grpc_listen.from_here),
        credentials=credentials,
        database_url=settings.database_url,
        data_dir=settings.data_dir,
        worker=table.worker,
        oidc=_oidc(settings, table),
        problems=lambda path: tuple(str(problem) for problem in read_line_file(path).problems),
    )
