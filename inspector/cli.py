"""The `inspector` command. Each command reads its settings, calls one function of the house and prints what it returned."""

from __future__ import annotations

import functools
import gc
import logging
import math
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.live import Live

from inspector import __version__
from inspector.access_commands import audit_app, certs_app, passphrase_of
from inspector.camera_commands import camera_app, client_tls
from inspector.ending import call_at_signals
from inspector.errors import InspectorError
from inspector.health_commands import camera_health
from inspector.label_commands import export_labels, import_labels, label, labels
from inspector.opcua_commands import opcua, opcua_certificate, opcua_user
from inspector.promotion_commands import promote, rollback
from inspector.settings import LineSettings, load_line_file
from inspector.setup_commands import camera_board, camera_setup
from inspector.telemetry.logs import log_to_stderr
from inspector.web_commands import web, web_user

if TYPE_CHECKING:
    from inspector.part import Inspection
    from inspector.records.store import Store
    from inspector.top import LineView

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)
bundle_app = typer.Typer(no_args_is_help=True, help="Look at bundles and prove them on this machine.")
db_app = typer.Typer(no_args_is_help=True, help="Look after the quality database.")
app.add_typer(camera_app, name="camera")
app.add_typer(bundle_app, name="bundle")
app.add_typer(db_app, name="db")
app.add_typer(certs_app, name="certs")
app.add_typer(audit_app, name="audit")
camera_app.command("health")(camera_health)
camera_app.command("setup")(camera_setup)
camera_app.command("board")(camera_board)
app.command("label")(label)
app.command("labels")(labels)
app.command("import-labels")(import_labels)
app.command("export-labels")(export_labels)
app.command("promote")(promote)
app.command("rollback")(rollback)
app.command("opcua")(opcua)
app.command("opcua-certificate")(opcua_certificate)
app.command("opcua-user")(opcua_user)
app.command("web")(web)
app.command("web-user")(web_user)

LineFile = Annotated[
    Path, typer.Argument(help="The line file, such as deploy/line.example.toml of the source.", show_default=False)
]
out = Console()
err = Console(stderr=True)


def main() -> None:
    """Entry point: an `InspectorError` is one message and exit status 2, an interrupt is 130."""
    try:
        app()
    except InspectorError as error:
        err.print(f"inspector: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def _print_version(wanted: bool) -> None:
    if wanted:
        out.print(f"inspector {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def _options(
    # Called while the options are read, before the question which command is meant.
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Real-time visual inspection: camera frame to PLC verdict and quality record."""


@app.command()
def demo(
    data: Annotated[
        str | None, typer.Option(help="Your images: good/ and a folder per defect, MVTec AD, or elpv.")
    ] = None,
    folder: Annotated[Path, typer.Option(help="Where everything is written.")] = Path("demo-run"),
    count: Annotated[
        int | None, typer.Option(help="Parts to stream.  [default: 500, or every test image once]")
    ] = None,
    rate: Annotated[float, typer.Option(help="Parts per second.")] = 20.0,
    seed: Annotated[int, typer.Option(help="Decides the parts, the split and their order.")] = 0,
    size: Annotated[int | None, typer.Option(help="Side of the model's input in pixels.")] = None,
    keep: Annotated[bool, typer.Option(help="Use the images and the bundle of the last run.")] = False,
    web: Annotated[bool, typer.Option("--web", help="Then serve the line's desk to a browser, until Ctrl-C.")] = False,
) -> None:
    """Run a whole line on this machine: data, model, service, camera and PLC, and account for every part."""
    from inspector.sim.demo.options import DemoOptions
    from inspector.sim.demo.run import run_demo

    raise typer.Exit(run_demo(DemoOptions(data, folder, count, rate, seed, size, keep, web), out))


@app.command()
def serve(
    line_file: LineFile,
    verbose: Annotated[bool, typer.Option(help="Log every part.")] = False,
    log_format: Annotated[
        Literal["text", "json"], typer.Option(help="One line or one JSON object per event, on standard error.")
    ] = "text",
    oip: Annotated[
        str,
        typer.Option(
            metavar="HOST:PORT", help="Inference server (Open Inference Protocol, gRPC) that runs the models."
        ),
    ] = "",
) -> None:
    """Run the line until it is told to stop (Ctrl-C or SIGTERM)."""
    from inspector.service import run_service
    from inspector.telemetry.systemd import ServiceManager

    log_to_stderr(logging.DEBUG if verbose else logging.INFO, as_json=log_format == "json")
    manager = ServiceManager()
    settings = load_line_file(line_file)
    if oip:
        settings = settings.with_oip(oip)
    for warning in settings.warnings():
        logging.getLogger(__name__).warning("%s", warning)
    stopped = threading.Event()
    call_at_signals(stopped.set)
    with run_service(settings) as service:
        # What the start made lives as long as the process. Without this every full collection goes through these 90,000
        # objects with the interpreter's lock held, which keeps all verdicts waiting for 30 ms and more.
        gc.freeze()
        logging.getLogger(__name__).info(
            "line %s is ready: gRPC on %s, Modbus TCP on %s, database %s",
            settings.file.line.name,
            settings.grpc_listen,
            settings.modbus_listen,
            service.database,
        )
        manager.ready(service.pipeline.alive, f"line {settings.file.line.name}")
        stopped.wait()
        manager.stopping()


@app.command()
def top(
    line_files: Annotated[list[Path], typer.Argument(help="Line files of the lines to watch.")],
    ca: Annotated[Path | None, typer.Option(help="ca.pem of the plant, if the services want certificates.")] = None,
    cert: Annotated[Path | None, typer.Option(help="Certificate with a role; its key lies beside it.")] = None,
    seconds: Annotated[float | None, typer.Option(min=0.1, help="Stop after this long.")] = None,
) -> None:
    """Show what lines do now: stations, rates, latencies, the last rejects. Ends with Ctrl-C."""
    from inspector.rpc.follower import Follower
    from inspector.top import LineView, screen

    tls = client_tls(ca, cert)
    settings = [load_line_file(path) for path in line_files]
    views = [
        LineView(
            s.file.line.name, str(s.grpc_listen), [(one.name, tuple(one.by_view.values())) for one in s.file.station]
        )
        for s in settings
    ]
    followers = []
    for view in views:
        tell = functools.partial(_tell, view)
        followers.append(Follower(view.target, view.name, tell, view.tell_state, tls.credentials() if tls else None))
    end_s = math.inf if seconds is None else time.monotonic() + seconds
    try:
        with Live(console=out, auto_refresh=False, screen=out.is_terminal and seconds is None) as live:
            while (now_s := time.monotonic()) < end_s:
                live.update(screen(views, now_s), refresh=True)
                time.sleep(min(0.5, max(0.0, end_s - now_s)))
            live.update(screen(views, time.monotonic()), refresh=True)
    finally:
        for follower in followers:
            follower.close()


@app.command()
def check(line_file: LineFile) -> None:
    """Say everything that would keep the line from running here: file, key, fact and next step."""
    from inspector.checkup import check_line

    with out.status("checking the line file and what it names"):
        checkup = check_line(line_file)
    for note in checkup.notes:
        out.print(f"  {note}", markup=False, highlight=False, soft_wrap=True)
    for problem in checkup.problems:
        out.print(f"✗ {problem}", style="red", markup=False, highlight=False, soft_wrap=True)
    if checkup.problems:
        out.print(f"{len(checkup.problems)} problem(s)")
        raise typer.Exit(1)
    out.print("no problems: start it with `inspector serve`", style="green", markup=False)


@app.command()
def rejects(
    line_file: LineFile,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most this many, newest first.")] = 20,
    since: Annotated[datetime | None, typer.Option(help="Received at or after this time (UTC unless it says).")] = None,
    defect_class: Annotated[str, typer.Option("--class", help="Only this class of the strongest finding.")] = "",
    unknown: Annotated[bool, typer.Option(help="Also parts that were not judged.")] = True,
) -> None:
    """List the parts that were not passed."""
    from inspector import reports

    with _store(line_file) as (settings, store):
        page = reports.not_passed(store, settings.file.line.name, limit, since, defect_class, unknown)
    out.print(reports.inspection_table(page))


@app.command()
def show(
    part: Annotated[str, typer.Argument(help="A part id, or the number of an inspection as #123.")],
    line_file: Annotated[Path, typer.Option("--line", help="The line file.")] = Path("line.toml"),
    save: Annotated[Path | None, typer.Option(help="Save the pictures to this folder.")] = None,
) -> None:
    """Tell everything about a part: verdict, reason, score, limit, findings, bundle and pictures."""
    from inspector import reports
    from inspector.line_records import open_image_store
    from inspector.records.parts import find_part

    with _store(line_file) as (settings, store):
        found = find_part(store, settings.file.line.name, part)
        for stored in found:
            out.print(reports.inspection_card(store.labels(settings.file.line.name, stored.inspection.sequence)))
        if save is not None:
            for told in reports.save_pictures(found, open_image_store(settings), save):
                out.print(told, markup=False, highlight=False, soft_wrap=True)


@bundle_app.command("info")
def bundle_info(path: Annotated[Path, typer.Argument(help="The bundle's folder.")]) -> None:
    """Print what a bundle is, what it was fitted on and what its limits promise."""
    from inspector import reports
    from inspector.inference.bundle import open_bundle

    out.print(reports.bundle_card(open_bundle(path)))


@bundle_app.command("verify")
def bundle_verify(
    path: Annotated[Path, typer.Argument(help="The bundle's folder.")],
    provider: Annotated[str, typer.Option(help="Execution provider, or auto for the fastest that passes.")] = "CPU",
    trust: Annotated[
        list[Path] | None, typer.Option(help="Public key, one of which must have signed it; may be given again.")
    ] = None,
) -> None:
    """Prove that a bundle is untouched and scores its golden images here as recorded."""
    from inspector.inference.bundle import open_bundle
    from inspector.inference.signature import check_trust
    from inspector.models import prove_bundle

    bundle = open_bundle(path)
    if signature := check_trust(bundle, trust or []):
        out.print(
            f"signed by {signature.signer} on {signature.time}, key {signature.key}", markup=False, highlight=False
        )
    _, test = prove_bundle(bundle, provider)
    out.print(test.table(), markup=False, highlight=False)
    out.print(f"{bundle.label} may go live on this machine with provider {test.provider}", style="green", markup=False)


@bundle_app.command("key")
def bundle_key(
    path: Annotated[Path, typer.Argument(help="File for the private key; the public one gets the ending .pub.")],
    passphrase: Annotated[bool, typer.Option(help="Ask for a passphrase that protects the key.")] = True,
) -> None:
    """Make a pair of keys for signing bundles (Ed25519)."""
    from inspector.inference.signature import make_key_pair

    private, public, name = make_key_pair(path, passphrase_of("the new key", wanted=passphrase, confirm=True))
    out.print(
        f"key {name}: sign with {private}, and name {public} in [inference] trust of the line file",
        markup=False,
        soft_wrap=True,
    )


@bundle_app.command("sign")
def bundle_sign(
    path: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The bundle's folder.")],
    key: Annotated[Path, typer.Option(help="Private key of `inspector bundle key`.")],
    by: Annotated[str, typer.Option(help="Who vouches for it.")],
    passphrase: Annotated[bool, typer.Option(help="Ask for the key's passphrase.")] = True,
) -> None:
    """Vouch for a bundle, so that lines which trust this key load it."""
    from inspector.inference.bundle import open_bundle
    from inspector.inference.signature import sign_bundle

    bundle = open_bundle(path)
    made = sign_bundle(bundle, key, by, passphrase_of(str(key), wanted=passphrase))
    out.print(f"{bundle.label} is signed by {made.signer}, key {made.key}", markup=False, highlight=False)


@bundle_app.command("export")
def bundle_export(
    path: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The bundle's folder.")],
    triton: Annotated[Path, typer.Option(metavar="DIR", help="Model repository; made if it is not there.")],
) -> None:
    """Put a bundle's graph into a model repository for Triton, which OpenVINO Model Server reads too."""
    from inspector.inference.bundle import open_bundle
    from inspector.inference.triton import write_repository

    bundle = open_bundle(path)
    made = write_repository(bundle, triton)
    out.print(
        f"{bundle.label} is in {made}: `inspector serve LINE --oip HOST:PORT` runs on it", markup=False, soft_wrap=True
    )


@db_app.command("upgrade")
def db_upgrade(line_file: LineFile) -> None:
    """Create the tables, or bring them to this program's version."""
    from inspector.records.store import Store

    store = Store(load_line_file(line_file).database_url)
    before = store.upgrade()
    out.print(f"{store.name}: {'created' if before is None else f'was at version {before}'}, now current", markup=False)


@db_app.command("stats")
def db_stats(line_file: LineFile) -> None:
    """Print what the quality database holds."""
    from inspector import reports

    with _store(line_file) as (_, store):
        out.print(reports.stats_table(store.stats()))


def _tell(view: LineView, seen: Inspection) -> None:
    view.tell(seen, time.monotonic())


@contextmanager
def _store(line_file: Path) -> Iterator[tuple[LineSettings, Store]]:
    from inspector.records.store import Store

    settings = load_line_file(line_file)
    store = Store(settings.database_url)
    try:
        store.check_schema()
        yield settings, store
    finally:
        store.close()
