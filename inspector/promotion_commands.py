"""`inspector promote` and `inspector rollback`: another bundle for a recipe of a running line, and the one before again."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from inspector.errors import ConfigError
from inspector.promotions import ViewReading, Wish
from inspector.settings import load_line_file

if TYPE_CHECKING:
    from inspector.cameras.connection import ClientTls

LineFile = Annotated[Path, typer.Argument(help="The line file.", show_default=False)]
Recipe = Annotated[str, typer.Argument(help="The recipe that it judges by.")]
Reason = Annotated[str, typer.Option(help="Why, for the record.", show_default=False)]
View = Annotated[str, typer.Option(help="The view, of a recipe that has several.")]
By = Annotated[str, typer.Option(help="Who decides, for the record.  [default: the user of this machine]")]
Ca = Annotated[Path | None, typer.Option(help="ca.pem of the plant, if the service wants certificates.")]
Cert = Annotated[Path | None, typer.Option(help="Certificate with the role approver; its key lies beside it.")]
out = Console()


def promote(
    line_file: LineFile,
    recipe: Recipe,
    bundle: Annotated[Path, typer.Argument(help="The bundle's folder.")],
    reason: Reason,
    view: View = "",
    by: By = "",
    proposed_by: Annotated[str, typer.Option(help="Who proposed it, where the recipe wants two persons.")] = "",
    ca: Ca = None,
    cert: Cert = None,
) -> None:
    """Let another bundle judge by a recipe of a running line, from the next part on."""
    # What is not here may be on the service's machine, where relative folders begin at the line file.
    folder = str(bundle.resolve()) if bundle.exists() else str(bundle)
    _ask(line_file, Wish(recipe, view, folder, reason, "", by or getpass.getuser(), proposed_by), ca, cert)


def rollback(
    line_file: LineFile,
    recipe: Recipe,
    reason: Reason,
    view: View = "",
    by: By = "",
    ca: Ca = None,
    cert: Cert = None,
) -> None:
    """Let the bundle before the last promotion judge again, from the next part on."""
    _ask(line_file, Wish(recipe, view, "", reason, "", by or getpass.getuser()), ca, cert)


def _ask(line_file: Path, wish: Wish, ca: Path | None, cert: Path | None) -> None:
    from inspector.rpc.commander import Commander

    settings = load_line_file(line_file)
    tls = _client_tls(ca, cert)
    commander = Commander(
        str(settings.grpc_listen), settings.file.line.name, tls.credentials() if tls is not None else None
    )
    try:
        with out.status("the service loads and proves the bundle beside the one that judges"):
            now = commander.promote(wish)
    finally:
        commander.close()
    for told in _words(now):
        out.print(told, markup=False, highlight=False, soft_wrap=True)


def _words(now: ViewReading) -> list[str]:
    label = now.bundle.label if now.bundle is not None else "nothing"
    where = f"recipe {now.recipe}{f', view {now.view}' if now.view else ''}"
    what = f"is ready, and no part is judged yet: {now.fault}" if now.fault else "judges from the next part on"
    told = [f"{where}: {label} {what}; {now.checked} golden images hold on that machine"]
    if now.promotion is not None and now.promotion.before is not None:
        warm = "loaded" if now.before_is_warm else "not loaded, for want of memory"
        told.append(
            f"before it {now.promotion.before.label} judged, which is {warm}: `inspector rollback` goes back to it"
        )
    return told


def _client_tls(ca: Path | None, cert: Path | None) -> ClientTls | None:
    """Both or none. ConfigError."""
    from inspector.cameras.connection import ClientTls

    if ca is None and cert is None:
        return None
    if ca is None or cert is None:
        raise ConfigError("a service with certificates needs --ca and --cert; give both or none")
    return ClientTls(ca, cert, cert.with_suffix(".key"))
