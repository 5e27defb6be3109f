"""`inspector certs` and `inspector audit`: a plant's certificates, and the log of who did what."""

from __future__ import annotations

import getpass
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from inspector.errors import ConfigError

if TYPE_CHECKING:
    from inspector.access.certificates import Authority, Issued
    from inspector.records.audit import AuditLog

certs_app = typer.Typer(no_args_is_help=True, help="A plant's own certificates: authority, servers, cameras, people.")
audit_app = typer.Typer(no_args_is_help=True, help="The log of who did what.")
out = Console()

PASSPHRASE_VARIABLE = "INSPECTOR_PASSPHRASE"

Folder = Annotated[Path, typer.Argument(metavar="PLANT_DIR", help="Folder of the plant's authority.")]
Days = Annotated[int, typer.Option(min=1, max=3650, help="How long it counts.")]
Name = Annotated[str, typer.Argument(help="Name of the certificate and of its files.")]
Asks = Annotated[bool, typer.Option(help="Ask for the passphrase of the authority's key.")]
LogFile = Annotated[Path, typer.Argument(metavar="LINE_FILE|AUDIT_FILE", help="A line file, or an audit log itself.")]


def passphrase_of(what: str, *, wanted: bool, confirm: bool = False) -> str:
    """A passphrase from the environment or the keyboard; empty if none is wanted. Raises typer.Abort."""
    if not wanted:
        return ""
    if given := os.environ.get(PASSPHRASE_VARIABLE):
        return given
    asked: str = typer.prompt(
        f"Passphrase of {what}", hide_input=True, confirmation_prompt=confirm, default="" if not confirm else None
    )
    return asked


@certs_app.command("init")
def init(
    folder: Folder,
    plant: Annotated[str, typer.Option(help="Name of the plant, shown in every certificate.")],
    passphrase: Annotated[bool, typer.Option(help="Ask for a passphrase that protects the authority's key.")] = True,
) -> None:
    """Make a plant's authority, which all its certificates come from."""
    from inspector.access.certificates import init_authority

    made = init_authority(folder, plant, passphrase_of("the new authority", wanted=passphrase, confirm=True))
    _record(folder, "made the authority", plant, made)
    out.print(
        f"{made.certificate} goes to every machine, {made.key} to none: keep it where the line cannot reach it",
        markup=False,
        soft_wrap=True,
    )


@certs_app.command("server")
def server(
    folder: Folder,
    name: Name,
    host: Annotated[list[str], typer.Option(help="Name or address that clients connect to; may be given again.")],
    days: Days = 730,
    passphrase: Asks = True,
) -> None:
    """Issue a certificate for a service."""
    made = _authority(folder, passphrase).issue_server(name, host, days)
    _issued(folder, made, "issued a server", {"hosts": host})


@certs_app.command("camera")
def camera(
    folder: Folder,
    name: Name,
    line: Annotated[str, typer.Option(help="The line's name.")],
    camera: Annotated[list[str], typer.Option(help="Camera that it may stream as; may be given again.")],
    days: Days = 730,
    passphrase: Asks = True,
) -> None:
    """Issue a certificate for a camera program, which may then stream as these cameras and as no other."""
    made = _authority(folder, passphrase).issue_camera(name, line, camera, days)
    _issued(folder, made, "issued a camera", {"line": line, "cameras": camera})


@certs_app.command("user")
def user(
    folder: Folder,
    name: Name,
    role: Annotated[
        Literal["viewer", "operator", "engineer", "approver", "admin"], typer.Option(help="What it may do.")
    ],
    days: Days = 730,
    passphrase: Asks = True,
) -> None:
    """Issue a certificate for a person or a program that reads the line."""
    from inspector.access.identity import Role

    made = _authority(folder, passphrase).issue_user(name, Role[role.upper()], days)
    _issued(folder, made, "issued a user", {"role": role})


@certs_app.command("renew")
def renew(
    folder: Folder,
    certificate: Annotated[Path, typer.Argument(help="The certificate; its files are replaced.")],
    days: Days = 730,
    passphrase: Asks = True,
) -> None:
    """Replace a certificate by one that says the same and counts longer. A running service takes it up by itself."""
    made = _authority(folder, passphrase).renew(certificate, days)
    _issued(folder, made, "renewed", {})


@certs_app.command("revoke")
def revoke(
    folder: Folder, certificate: Annotated[Path, typer.Argument(help="The certificate.")], passphrase: Asks = True
) -> None:
    """Let a certificate count no more, once the new list is on the service's machine."""
    listed = _authority(folder, passphrase).revoke(certificate)
    _audit(folder).append(getpass.getuser(), "revoked", certificate.name)
    out.print(
        f"{certificate.name} counts no more where {listed} is known: copy it to grpc.tls.revoked of the line file",
        markup=False,
        soft_wrap=True,
    )


@certs_app.command("list")
def list_certificates(folder: Folder) -> None:
    """Show every certificate of the folder: what it may do, and how long it counts."""
    from inspector.access.certificates import CA_CERTIFICATE, REVOKED, names_of, read_certificate, revoked_serials

    revoked = revoked_serials(folder / REVOKED, folder / CA_CERTIFICATE)
    table = Table("certificate", Column("may", overflow="fold"), "counts until", "days left", box=None)
    for path in sorted(folder.glob("*.pem")):
        if path.name in (REVOKED, CA_CERTIFICATE):
            continue
        certificate = read_certificate(path)
        end = certificate.not_valid_after_utc
        left = "revoked" if certificate.serial_number in revoked else str((end - datetime.now(UTC)).days)
        table.add_row(path.name, Text(", ".join(names_of(path))), f"{end:%Y-%m-%d}", left)
    out.print(table)


@audit_app.command("verify")
def verify(
    log: LogFile,
    head: Annotated[str, typer.Option(help="Head noted earlier, number:hash; the log must still hold it.")] = "",
) -> None:
    """Prove that no entry of the audit log was changed, removed or inserted; prints its head."""
    from inspector.records.audit import parse_head

    noted = parse_head(head) if head else None
    found = _log_of(log).verify(noted)
    out.print(f"{found.number} entries, unbroken; head {found}", markup=False, highlight=False, soft_wrap=True)


@audit_app.command("list")
def list_entries(
    log: LogFile, last: Annotated[int, typer.Option(min=1, help="At most this many, newest last.")] = 50
) -> None:
    """Show who did what."""
    from collections import deque

    table = Table("entry", "time (UTC)", "who", "did", "to", "details", box=None)
    for entry in deque(_log_of(log).entries(), maxlen=last):
        details = ", ".join(f"{key}: {value}" for key, value in entry.details.items())
        cells = (str(entry.number), entry.time[:19], entry.actor, entry.action, entry.subject, details)
        table.add_row(*(Text("".join(c if c.isprintable() else "?" for c in cell)) for cell in cells))
    out.print(table)


def _authority(folder: Path, asks: bool) -> Authority:
    from inspector.access.certificates import CA_KEY, Authority, is_there, read_bounded

    key = folder / CA_KEY
    locked = is_there(key) and b"ENCRYPTED" in read_bounded(key)
    return Authority(folder, passphrase_of(str(key), wanted=asks and locked))


def _issued(folder: Path, made: Issued, action: str, details: dict[str, object]) -> None:
    _record(folder, action, made.certificate.stem, made, details)
    out.print(
        f"{made.certificate} and {made.key}, until {made.expires:%Y-%m-%d}: copy both to the machine that shows them, "
        "and ca.pem beside them",
        markup=False,
        soft_wrap=True,
    )


def _record(folder: Path, action: str, subject: str, made: Issued, details: dict[str, object] | None = None) -> None:
    about = {"serial": f"{made.serial:x}", "until": f"{made.expires:%Y-%m-%d}", **(details or {})}
    _audit(folder).append(getpass.getuser(), action, subject, about)


def _audit(folder: Path) -> AuditLog:
    from inspector.records.audit import AUDIT_FILE, AuditLog

    return AuditLog(folder / AUDIT_FILE)


def _log_of(path: Path) -> AuditLog:
    """The log itself, or the one of a line. Raises ConfigError, and AccessError if it cannot be looked at."""
    from inspector.access.certificates import is_there
    from inspector.records.audit import AUDIT_FILE, AuditLog
    from inspector.settings import load_line_file

    found = path if path.suffix == ".jsonl" else load_line_file(path).data_dir / AUDIT_FILE
    if not (is_there(found) and found.is_file()):
        raise ConfigError(f"there is no audit log at {found}: a line begins one when it first starts")
    return AuditLog(found)
