"""`inspector demo`: images, model, line, camera and PLC, each in a process of its own; then the account of all outputs.

prepare images ─▶ fit a bundle ─▶ start serve, PLC, camera ─▶ stream ─▶ stop all in order ─▶ compare ─▶ one table
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import shlex
import shutil
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from inspector.errors import ConfigError, InspectorError
from inspector.inference.bundle import open_bundle
from inspector.sim.demo.accounts import ShownPart
from inspector.sim.demo.desk import RATE_HZ, check_web, serve_desk
from inspector.sim.demo.images import check_folder, lay_out, order_stream, read_split
from inspector.sim.demo.options import DEFAULT_PARTS, ELPV, DemoOptions
from inspector.sim.demo.outputs import count_lines, read_camera, read_database, read_plc
from inspector.sim.demo.processes import (
    Child,
    Children,
    DemoFailed,
    free_ports,
    run_visibly,
    sigterm_like_ctrl_c,
    wait_serving,
    wait_until,
)
from inspector.sim.demo.report import Run, faults_of, print_next_steps, print_report
from inspector.sim.parts import write_data_set

LINE, CAMERA, STATION = "demo", "cam1", "station1"
GOOD_PARTS, PARTS_PER_DEFECT = 966, 36
TEST_SHARE, CALIBRATION_SHARE = 330 / GOOD_PARTS, 486 / GOOD_PARTS
"""Simulated parts: 150 good ones to learn from, 486 to set the limit with, 330 good and 180
defective ones to show.

To promise 1 % false rejects with 95 % confidence, 299 good parts must all stay within the limit, or 473 but for one: that
one, often an odd part, then no longer sets the limit (Wilks, Annals of Mathematical Statistics 12, 1941).
"""
SIMULATED_PX = 224
"""Model input for simulated parts, whose defects can be told at it; with their own 256 px a demo would only take longer."""
POLL_MS = 5.0
_MARKER = ".inspector-demo.json"
_READY_S, _SETTLE_S = 60.0, 20.0


@dataclass(frozen=True, slots=True)
class Files:
    """Where the things of one run lie."""

    folder: Path

    @property
    def marker(self) -> Path:
        return self.folder / _MARKER

    @property
    def parts(self) -> Path:
        return self.folder / "parts"

    @property
    def bundles(self) -> Path:
        return self.folder / "bundles"

    @property
    def bundle(self) -> Path:
        return self.bundles / "demo"

    @property
    def split(self) -> Path:
        return self.folder / "split.json"

    @property
    def line_file(self) -> Path:
        return self.folder / "line.toml"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def stream(self) -> Path:
        return self.folder / "stream"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def camera_results(self) -> Path:
        return self.folder / "camera.jsonl"

    @property
    def plc_results(self) -> Path:
        return self.folder / "plc.jsonl"


def run_demo(options: DemoOptions, console: Console | None = None) -> int:
    """Run the demo. 0 if every trigger got exactly one verdict, the same on all outputs; 1 if not; 130 after Ctrl-C."""
    console = console or Console()
    try:
        with sigterm_like_ctrl_c():
            return _run(options, console)
    except KeyboardInterrupt:
        console.print("[yellow]Stopped; every process of the demo has ended.[/yellow]")
        return 130
    except InspectorError as error:
        console.print(f"[red]The demo failed:[/red] {error}", highlight=False)
        return 1


def _run(options: DemoOptions, console: Console) -> int:
    check_training(options.data)
    if options.web:
        check_web()
    if options.data not in (None, ELPV):
        check_folder(Path(str(options.data)))
    files = Files(options.folder.resolve())
    if prepare_folder(files, options):
        console.print(f"Using the images and the bundle of the last run in {files.folder}.")
    else:
        _make_images(options, files, console)
        _fit(options, files, console)
    count = DEFAULT_PARTS if options.data is None and options.count is None else options.count
    shown = lay_out(order_stream(read_split(files.split), count, options.seed), files.stream)
    if any(part.again for part in shown):
        console.print(f"There are fewer than {len(shown)} test images: some will be shown again.")
    grpc_port, modbus_port, web_port = free_ports(3)
    write_line_file(files, grpc_port, modbus_port, web_port)
    target = f"127.0.0.1:{grpc_port}"
    troubles = _stream(options, files, shown, target, modbus_port, console)
    run = _account(options, files, shown, troubles)
    faults = faults_of(run)
    print_report(run, faults, console)
    status = 0 if run.whole and not faults else 1
    print_next_steps(files.folder, files.line_file, options.data is None, _web_command(options), console)
    if options.web:
        camera = [*_camera(files, target), "--rate", f"{RATE_HZ:g}", "--loop"]
        with contextlib.suppress(KeyboardInterrupt):
            serve_desk(files.line_file, target, camera, f"http://127.0.0.1:{web_port}", files.logs, console)
    return status


def _web_command(options: DemoOptions) -> str:
    """What shows the desk of this run's line."""
    command, plain = "inspector demo --keep --web", DemoOptions()
    for name, value, usual in (
        ("data", options.data, plain.data),
        ("folder", options.folder, plain.folder),
        ("seed", options.seed, plain.seed),
        ("size", options.size_px, plain.size_px),
    ):
        if value != usual:
            command += f" --{name} {shlex.quote(str(value))}"
    return command


def check_training(data: str | None) -> None:
    """Raise ConfigError if the packages that fit a model, or the named images, are not installed."""
    missing = [name for name in ("torch", "timm", "training") if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"the demo fits a model, and {', '.join(missing)} is not installed: pip install 'inspector[training]' "
            "(the inspector itself runs without)"
        )
    if data == ELPV and importlib.util.find_spec("elpv_dataset") is None:
        raise ConfigError("the solar cells are not installed: pip install 'inspector[elpv]'")


def prepare_folder(files: Files, options: DemoOptions) -> bool:
    """Make the run's folder anew; True if images and bundle of the last run were asked for and fit, and so were kept.

    Raises ConfigError for a folder that holds anything but an earlier demo.
    """
    asked = {"data": options.data, "seed": options.seed, "size_px": options.size_px}
    folder = files.folder
    try:
        if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not files.marker.is_file())):
            raise ConfigError(f"{folder} was not made by the demo and is left alone: name another with --folder")
        whole = files.split.is_file() and files.bundle.is_dir()
        keep = options.keep and whole and json.loads(files.marker.read_text(encoding="utf-8")) == asked
        kept = {files.marker, files.parts, files.bundles, files.split} if keep else set()
        for entry in folder.iterdir() if folder.exists() else ():
            if entry not in kept:
                shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        files.logs.mkdir(parents=True)
        files.bundles.mkdir(exist_ok=True)
        files.marker.write_text(json.dumps(asked), encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ConfigError(f"{folder} cannot be made anew ({error}): delete it or name another with --folder") from error
    return keep


def _make_images(options: DemoOptions, files: Files, console: Console) -> None:
    if options.data is not None:
        return
    with _bar("Drawing simulated parts", console) as bar:
        task = bar.add_task("", total=None)
        write_data_set(
            files.parts,
            good=GOOD_PARTS,
            per_defect=PARTS_PER_DEFECT,
            seed=options.seed,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )


def _fit(options: DemoOptions, files: Files, console: Console) -> None:
    data = str(files.parts) if options.data is None else options.data
    command = [sys.executable, "-m", "training.cli", "fit", data, "--out", str(files.bundle), "--name", "demo"]
    command += ["--seed", str(options.seed), "--split-out", str(files.split)]
    if options.data is None:
        command += ["--test-fraction", f"{TEST_SHARE:.4f}", "--calibration-fraction", f"{CALIBRATION_SHARE:.4f}"]
    side_px = SIMULATED_PX if options.size_px is None and options.data is None else options.size_px
    if side_px is not None:
        command += ["--size", f"{side_px}x{side_px}"]
    console.print("Fitting a model on good parts alone …")
    run_visibly(command, "fitting the model", "what it said above tells why")


def write_line_file(files: Files, grpc_port: int, modbus_port: int, web_port: int) -> None:
    """Write the settings of the demo's line; paths in it count from its own folder."""
    files.line_file.write_text(
        f"""\
# Written by `inspector demo`. deploy/line.example.toml shows and explains every setting.

[line]
name = "{LINE}"
data_dir = "{files.data.name}"

[grpc]
listen = "127.0.0.1:{grpc_port}"

[modbus]
listen = "127.0.0.1:{modbus_port}"

[web]
listen = "127.0.0.1:{web_port}"

[records]
pass_sampling = 0.05

[[station]]
name = "{STATION}"
camera = "{CAMERA}"
unit = 1
recipe = "demo"

[recipe.demo]
bundle = "bundles/{files.bundle.name}"
deadline_ms = 500
""",
        encoding="utf-8",
    )


def _camera(files: Files, target: str) -> list[str]:
    """The camera program on the parts of this run."""
    command = [sys.executable, "-m", "inspector", "camera", "folder", str(files.stream), "--line", LINE]
    return [*command, "--camera", CAMERA, "--target", target]


def _stream(
    options: DemoOptions, files: Files, shown: Sequence[ShownPart], target: str, modbus_port: int, console: Console
) -> list[str]:
    """Run the line over the parts; returns what did not go as it should, for the report."""
    inspector, total = [sys.executable, "-m", "inspector"], len(shown)
    with Children() as children:
        serve = children.start("the inspector", [*inspector, "serve", str(files.line_file)], files.logs / "serve.log")
        wait_serving(target, serve, _READY_S)
        plc_command = [
            sys.executable,
            "-m",
            "inspector.sim.plc",
            "--host",
            "127.0.0.1",
            "--port",
            str(modbus_port),
            "--unit",
            "1",
        ]
        plc_command += ["--poll-ms", str(POLL_MS), "--backlog", "--results", str(files.plc_results)]
        plc = children.start("the simulated PLC", plc_command, files.logs / "plc.log")
        ready = b'"READY"'
        wait_until(lambda: count_lines(files.plc_results, ready) > 0, "the PLC to see READY", _READY_S, children.check)
        camera_command = [*_camera(files, target), "--rate", str(options.rate), "--count", str(total)]
        camera_command += ["--results", str(files.camera_results)]
        camera = children.start("the camera", camera_command, files.logs / "camera.log")
        _watch(camera, children, files, total, options.rate, console)
        return _stop_in_order(files, camera, plc, serve, total)


def _watch(camera: Child, children: Children, files: Files, total: int, rate: float, console: Console) -> None:
    """Show progress until the camera program has ended."""
    with _bar("Streaming parts", console) as bar:
        task = bar.add_task("", total=total)

        def ended() -> bool:
            bar.update(task, completed=count_lines(files.camera_results))
            return not camera.running

        wait_until(ended, "the camera to end", 3 * total / rate + 120, children.check)


def _stop_in_order(files: Files, camera: Child, plc: Child, serve: Child, total: int) -> list[str]:
    """Camera first, then the PLC once it has read all, then the inspector, which stores everything before it ends."""
    troubles = []
    try:
        camera.check(may_have_ended=True)
    except DemoFailed as error:
        troubles.append(str(error))
    result = b'"event": "result"'
    try:
        wait_until(
            lambda: count_lines(files.plc_results, result) >= total, "the PLC's last result", _SETTLE_S, plc.check
        )
    except DemoFailed as error:
        troubles.append(str(error))
    for child in (plc, serve):
        try:
            child.check()
            child.stop()
        except DemoFailed as error:
            troubles.append(str(error))
    return troubles


def _account(options: DemoOptions, files: Files, shown: Sequence[ShownPart], troubles: list[str]) -> Run:
    """Read the three outputs; adds to `troubles` what they show beyond single verdicts."""
    camera, plc = read_camera(files.camera_results), read_plc(files.plc_results)
    database, storage = read_database(f"sqlite:///{files.data / 'quality.db'}", LINE)
    if plc.lost:
        troubles.append(f"The PLC lost {plc.lost} results that were overwritten before it read them.")
    for part in shown:
        if camera.files.get(part.trigger, part.file) != part.file:
            troubles.append(f"trigger {part.trigger} showed {camera.files[part.trigger]}, expected {part.file}")
            break
    if storage.without_picture:
        fact = f"{storage.without_picture} parts that were not passed have no picture in the records, and no reason why"
        troubles.append(f"{fact}: {files.logs / 'serve.log'} may tell.")
    notes = []
    if plc.ejected_for_silence:
        held = f"The PLC ejected {plc.ejected_for_silence} passed parts to be safe, because the heartbeat stood still"
        notes.append(f"{held}: this machine was too busy for half a second.")
    return Run(
        shown=shown,
        sent_ns=camera.sent_ns,
        camera=camera.told,
        plc=plc.told,
        database=database,
        ejections=plc.ejections,
        storage=storage,
        promise=open_bundle(files.bundle).manifest.basis.statement,
        rate=options.rate,
        poll_ms=POLL_MS,
        troubles=tuple(troubles),
        notes=tuple(notes),
    )


def _bar(what: str, console: Console) -> AbstractContextManager[Progress]:
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console)
