"""`inspector opcua`: OPC UA for a line, its certificate and its users."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from inspector.access_commands import passphrase_of
from inspector.ending import call_at_signals
from inspector.errors import ConfigError
from inspector.settings import LineSettings, OpcUaTable, load_line_file, parse_address
from inspector.telemetry.logs import log_to_stderr

if TYPE_CHECKING:
    from inspector.opcua.run import OpcUaOptions

out = Console()


def opcua(
    line_file: Annotated[Path, typer.Argument(help="The line file, with a table [opcua].", show_default=False)],
    verbose: Annotated[bool, typer.Option(help="Log every call.")] = False,
    log_format: Annotated[
        Literal["text", "json"], typer.Option(help="One line or one JSON object per event, on standard error.")
    ] = "text",
) -> None:
    """Serve a line over OPC UA, beside its service and as long as it is not told to stop (Ctrl-C or SIGTERM)."""
    from inspector.opcua.run import run_opcua
    from inspector.telemetry.systemd import ServiceManager

    settings = load_line_file(line_file)
    table = settings.file.opcua
    if table is None:
        raise ConfigError(f"{line_file} has no table [opcua]: add one (deploy/line.example.toml shows it)")
    log_to_stderr(logging.DEBUG if verbose else logging.INFO, as_json=log_format == "json")
    stopped = threading.Event()
    call_at_signals(stopped.set)
    options = _options(settings, table)
    manager = ServiceManager()
    with run_opcua(options) as server:
        logging.getLogger(__name__).info("line %s is served over OPC UA at %s", options.line, server.url)
        manager.ready(server.alive, f"OPC UA of line {options.line}")
        stopped.wait()
        manager.stopping()


def opcua_user(
    users: Annotated[Path, typer.Argument(metavar="USERS_FILE", help="The file of users; made if it is not there.")],
    name: Annotated[str, typer.Argument(help="Name to log in with.")],
    role: Annotated[Literal["viewer", "operator", "engineer"], typer.Option(help="What the user may do.")],
) -> None:
    """Add a user for OPC UA, or give one a new role and password."""
    from inspector.access.identity import Role
    from inspector.access.logins import write_login

    write_login(users, name, Role[role.upper()], passphrase_of(f"user {name}", wanted=True, confirm=True))
    out.print(f"{name} may log in as {role} once `inspector opcua` is started anew", markup=False, soft_wrap=True)


def opcua_certificate(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where the files go.")],
    name: Annotated[str, typer.Argument(help="Name of the files.")],
    line: Annotated[str, typer.Option(help="The line's name.")],
    host: Annotated[list[str], typer.Option(help="Name or address that clients connect to; may be given again.")],
    days: Annotated[int, typer.Option(min=1, max=3650, help="How long it counts.")] = 730,
) -> None:
    """Make the certificate that the OPC UA server of a line shows (RSA, self-signed)."""
    from inspector.access.application import make_application

    made = make_application(folder, name, line, host, days)
    out.print(
        f"{made.certificate} and {made.key}, until {made.expires:%Y-%m-%d}: name both in [opcua] of the line file, and let "
        f"clients trust {made.certificate.with_suffix('.der')}",
        markup=False,
        soft_wrap=True,
    )


def _options(settings: LineSettings, table: OpcUaTable) -> OpcUaOptions:
    """What the program needs to know of the line file. Raises ConfigError."""
    from inspector.cameras.connection import ClientTls
    from inspector.opcua.recipe_files import RecipeSource
    from inspector.opcua.run import OpcUaOptions
    from inspector.web.recipes import read_recipe_file, whole_sections

    texts = whole_sections(read_recipe_file(settings.path).text)
    address = parse_address(table.listen)
    credentials = None
    if (tls := settings.file.grpc.tls) is not None:
        own = ClientTls(
            settings.resolve(tls.ca), settings.resolve(table.grpc_certificate), settings.resolve(table.grpc_key)
        )
        credentials = own.credentials()
    return OpcUaOptions(
        line=settings.file.line.name,
        stations=tuple(station.name for station in settings.file.station),
        host=address.host,
        port=address.port,
        certificate=settings.resolve(table.certificate),
        key=settings.resolve(table.key),
        users=settings.resolve(table.users),
        trusted=settings.resolve(table.trusted) if table.trusted else None,
        anonymous=table.anonymous,
        max_sessions=table.max_sessions,
        service=table.service or str(settings.grpc_listen.from_here),
        credentials=credentials,
        database_url=settings.database_url,
        data_dir=settings.data_dir,
        recipes={
            name: RecipeSource(
                texts.get(name, ""), {view: settings.resolve(one.bundle) for view, one in table.by_view.items()}
            )
            for name, table in settings.file.recipe.items()
        },
    )
