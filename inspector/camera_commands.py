"""`inspector camera`: programs that stand beside cameras and stream their frames."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from inspector.ending import call_at_signals
from inspector.errors import ConfigError, SourceError
from inspector.part import Box
from inspector.settings import Address, CameraBase, LineSettings, load_line_file, parse_address
from inspector.telemetry.logs import log_to_stderr

if TYPE_CHECKING:
    from inspector.cameras.account import Account
    from inspector.cameras.connection import ClientTls
    from inspector.cameras.run import CameraPlan
    from inspector.cameras.sources.source import Source, Stage

camera_app = typer.Typer(no_args_is_help=True, help="Programs that stand beside a camera and stream its frames.")
out = Console()
log = logging.getLogger(__name__)


@camera_app.command("run")
def camera_run(
    line_file: Annotated[Path, typer.Argument(help="The line file, with tables [camera.NAME].", show_default=False)],
    camera: Annotated[
        list[str] | None, typer.Option(help="Only this camera; may be given again.  [default: all with a table]")
    ] = None,
    seconds: Annotated[float | None, typer.Option(min=0.1, help="Stop after this long.")] = None,
    results: Annotated[Path | None, typer.Option(help="Write one JSON line a verdict to this file.")] = None,
    metrics: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Serve metrics for Prometheus there, on this machine.")
    ] = "",
    log_format: Annotated[
        Literal["text", "json"], typer.Option(help="One line or one JSON object per event, on standard error.")
    ] = "text",
) -> None:
    """Stream the cameras of a line until they end or the program is told to stop (Ctrl-C or SIGTERM)."""
    from inspector.cameras.account import Account, open_results
    from inspector.cameras.run import run_cameras

    settings = load_line_file(line_file)
    plans = _plans(settings, camera or list(settings.file.camera))
    log_to_stderr(logging.INFO, as_json=log_format == "json")
    ending = threading.Event()
    call_at_signals(ending.set)
    if seconds is not None:
        timer = threading.Timer(seconds, ending.set)
        timer.daemon = True
        timer.start()
    with open_results(results) as file:
        accounts = [Account(plan.camera, file) for plan in plans]
        with _served(metrics, settings.file.line.name, accounts):
            run_cameras(plans, accounts, ending)
    for account in accounts:
        out.print(str(account), markup=False, highlight=False, soft_wrap=True)
    if any(account.trouble for account in accounts):
        raise typer.Exit(1)


@camera_app.command("list")
def camera_list() -> None:
    """Find cameras that this machine reaches, and say what to write as `device` in the line file."""
    from inspector.cameras.sources.registry import DISCOVERERS

    table = Table("source", "device", "model", "address")
    notes = []
    for kind, discover in DISCOVERERS.items():
        try:
            found = discover()
        except SourceError as error:
            notes.append(str(error))
            continue
        if not found:
            notes.append(f"{kind}: none answers")
        for one in found:
            table.add_row(one.kind, one.device, one.model, one.address)
    if table.row_count:
        out.print(table)
    for note in notes:
        out.print(note, markup=False, highlight=False, soft_wrap=True)


@camera_app.command("folder")
def camera_folder(
    folder: Annotated[Path, typer.Argument(help="PNG and JPEG files, shown in natural order.")],
    line: Annotated[str, typer.Option(help="The line's name.")],
    camera: Annotated[str, typer.Option(help="The camera's name in the line file.")],
    target: Annotated[str, typer.Option(help="Address of the service.")] = "127.0.0.1:50051",
    rate: Annotated[float | None, typer.Option(help="Parts per second.  [default: as fast as they are judged]")] = None,
    count: Annotated[int | None, typer.Option(help="Stop after this many.  [default: all]")] = None,
    loop: Annotated[bool, typer.Option(help="Begin again at the end.")] = False,
    raw: Annotated[Literal["Mono8", "RGB8"] | None, typer.Option(help="Decode here and send raw pixels.")] = None,
    results: Annotated[Path | None, typer.Option(help="Write one JSON line a verdict to this file.")] = None,
    ca: Annotated[Path | None, typer.Option(help="ca.pem of the plant, if the service wants certificates.")] = None,
    cert: Annotated[Path | None, typer.Option(help="Certificate of this camera; its key lies beside it.")] = None,
) -> None:
    """Stream the images of a folder as if a camera saw them; every picture is a trigger."""
    from inspector.cameras.program import run_camera
    from inspector.cameras.sources.folder import FolderSource

    tls = client_tls(ca, cert)
    log_to_stderr(logging.INFO)
    source = FolderSource(folder, raw=raw, loop=loop, on_note=logging.getLogger(__name__).warning)
    run = run_camera(target, line, camera, source, rate_hz=rate, count=count, results=results, tls=tls)
    out.print(str(run), markup=False, highlight=False)


def client_tls(ca: Path | None, cert: Path | None) -> ClientTls | None:
    """Both or none. Raises ConfigError."""
    from inspector.cameras.connection import ClientTls

    if ca is None and cert is None:
        return None
    if ca is None or cert is None:
        raise ConfigError("a service with certificates needs --ca and --cert; give both or none")
    return ClientTls(ca, cert, cert.with_suffix(".key"))


def _plans(settings: LineSettings, names: list[str]) -> list[CameraPlan]:
    """What the line file says of these cameras. Raises ConfigError."""
    known = settings.file.camera
    if not known:
        raise ConfigError(
            f"{settings.path} has no table [camera.NAME]: add one for each camera to be streamed from here"
        )
    for name in names:
        if name not in known:
            raise ConfigError(
                f"{settings.path} has no table [camera.{name}]; it has {', '.join(known)}: name one of them"
            )
    return [_plan(settings, name, known[name]) for name in dict.fromkeys(names)]


def _plan(settings: LineSettings, name: str, table: CameraBase) -> CameraPlan:
    from inspector.cameras.connection import ClientTls
    from inspector.cameras.run import CameraPlan

    tls = None
    if (served := settings.file.grpc.tls) is not None:
        own = (settings.resolve(path) for path in (served.ca, table.certificate, table.key))
        tls = ClientTls(*own)
    recipes = (one.recipe for one in settings.file.station if name in one.by_view.values())
    deadline_ms = max(settings.file.recipe[recipe].deadline_ms for recipe in recipes)
    return CameraPlan(
        camera=name,
        source=_source(settings, table, deadline_ms),
        target=table.service or _reachable(settings.grpc_listen),
        line=settings.file.line.name,
        tls=tls,
        max_in_flight=table.max_in_flight,
        max_silence_s=table.max_silence_s,
        stages=(*_stages(table), *_corrections(settings, name)),
    )


def _source(settings: LineSettings, table: CameraBase, deadline_ms: int) -> Source:
    """The camera, its rows joined and its parts counted as the line file says."""
    from inspector.cameras.sources.registry import count_by_plc, join_rows, make_source

    source = make_source(table.source, table.options(settings.resolve, deadline_ms))
    if table.line_scan is not None:
        source = join_rows(source, table.line_scan.model_dump())
    if table.plc is not None:
        plc = table.plc
        files = [settings.resolve(path) if path else None for path in (plc.certificate, plc.key)]
        source = count_by_plc(source, {**plc.model_dump(), "certificate": files[0], "key": files[1]})
    return source


def _stages(table: CameraBase) -> tuple[Stage, ...]:
    """What gives the parts their ids. Raises ConfigError."""
    from inspector.cameras.sources.registry import read_codes
    from inspector.cameras.stages import without_part_id

    stages: tuple[Stage, ...] = () if table.part_id == "source" else (without_part_id,)
    if table.code is not None:
        region = table.code.region
        box = None if region is None else Box(region.x_px, region.y_px, region.width_px, region.height_px)
        stages = (*stages, read_codes(table.code.formats, box))
    return stages


def _corrections(settings: LineSettings, name: str) -> tuple[Stage, ...]:
    """What is taken out of the pictures of a camera. Raises ConfigError."""
    from inspector.cameras.correcting import Corrector
    from inspector.references import correction_of

    correction = correction_of(settings, name)
    return () if correction is None else (Corrector(correction),)


def _reachable(address: Address) -> str:
    """Where this machine reaches a service that listens there."""
    anywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}
    return str(Address(anywhere.get(address.host, address.host), address.port))


@contextmanager
def _served(listen: str, line: str, accounts: Sequence[Account]) -> Iterator[None]:
    """Metrics at `listen` while the context lasts; "": none. Raises ConfigError."""
    if not listen:
        yield
        return
    from prometheus_client.registry import CollectorRegistry

    from inspector.cameras.metrics import CameraCollector
    from inspector.telemetry.server import MetricsServer

    try:
        address = parse_address(listen)
    except ValueError as error:
        raise ConfigError(f"--metrics: {error}") from error
    registry = CollectorRegistry()
    registry.register(CameraCollector(line, accounts))
    server = MetricsServer(address.host, address.port, registry)
    server.start()
    try:
        yield
    finally:
        server.stop()
