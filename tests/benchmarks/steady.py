"""Two cameras at 70 % of what the machine can do: from a part being due to its result in the PLC's registers.

First alone, then while ten people use the desk, a model is trained at low priority and PostgreSQL is restarted, and
while the stations change their recipe every second. The PLC is a process that polls both stations every few milliseconds,
so that its own interval is part of every time. Cameras and PLCs stand for other machines, and do not wait for the processor.
Beside others the programs share it by niceness alone, and as the units of deploy/systemd let them.
"""

from __future__ import annotations

import itertools
import signal
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from pymodbus.client import ModbusTcpClient

from inspector.control import recipe_code
from inspector.part import Verdict
from inspector.records.store import Store
from inspector.signalling.commands import Command
from inspector.signalling.registers import CONTROL_ADDRESS
from inspector.sim.demo.outputs import count_lines, read_plc
from inspector.sim.demo.processes import free_ports
from tests.benchmarks.line import Camera, Service, service
from tests.benchmarks.load import Outcome, Stream, again, capacity, offer
from tests.benchmarks.machine import Stalls, as_another_machine
from tests.benchmarks.model import BenchModel
from tests.benchmarks.rows import Row, below, percentile
from tests.benchmarks.web_data import add_users
from tests.benchmarks.web_desk import desk, users
from tests.benchmarks.weights import Names, weighed

sys.path.insert(0, str(Path(__file__).parents[1]))  # the tests' helpers import each other by plain names

from postgres import PostgresServer, postgres_server

CAMERAS, SHARE, POLL_MS = 2, 0.70, 4
# The budget is so many medians, and p99.9 may be so many.
BUDGET, TAIL = 5, 3
# What the command lines of the programs say, and the units that have them.
_WEIGHED = {
    "inspector serve": "inspector@.service",
    "inspector web": "inspector-web@.service",
    "be_quiet": "inspector-worker@.service",
    "postgres": "",
}
_AS_A_WORKER = "from inspector.quiet import be_quiet; be_quiet(); from training.cli import main; main()"
ALONE_S, DISTURBED_S, CHANGING_S = 600.0, 180.0, 60.0


@dataclass(frozen=True, slots=True)
class Run:
    """What came of the parts of one run: ms from due to the registers by part, and what the cameras were told."""

    registers_ms: Sequence[float]
    outcomes: Sequence[Outcome]
    stalls: Sequence[tuple[float, float]]
    """Begin and end (perf_counter, s) of the moments in which the machine stood still."""

    @property
    def not_judged(self) -> Sequence[Outcome]:
        """Parts without a verdict in time."""
        return [one for one in self.outcomes if not one.judged]

    def stood_still(self, part: Outcome) -> bool:
        """Whether the machine did, while the part was under way or a second before (the queue it left is not gone at once)."""
        end_s = part.due_s + part.latency_ms / 1000
        return any(begin_s < end_s and part.due_s - 1.0 < over_s for begin_s, over_s in self.stalls)


def measure(model: BenchModel, folder: Path, quick: bool) -> Iterator[Row]:
    """Capacity and median first, which set load and budget; then the three runs."""
    shorter, capacity_s = (0.02, 2.0) if quick else (1.0, 6.0)
    with service(folder / "pilot", model.bundle.path, cameras=CAMERAS) as line:
        capacity_hz = capacity(line.target, CAMERAS, capacity_s)
        rate_hz = SHARE * capacity_hz
        pilot = _run(line, rate_hz, 5.0 if quick else 20.0)
    p50_ms = percentile(pilot.registers_ms, 50)
    budget_ms = round(BUDGET * p50_ms)
    name = f"two cameras, {rate_hz:.0f} parts/s (70 %)"
    yield Row(f"{name}: budget, five medians", budget_ms, "ms", samples=len(pilot.registers_ms))
    with service(folder / "alone", model.bundle.path, cameras=CAMERAS, deadline_ms=budget_ms) as line:
        yield from _rows(f"{name}, alone", _run(line, rate_hz, ALONE_S * shorter))
    beside = f"{name}, desk used, a model trained, database restarted"
    run, _ = _beside_others(model, folder / "plain", rate_hz, budget_ms, shorter, {})
    yield from _rows(f"{beside}, from a terminal", run)
    run, is_weighed = _beside_others(model, folder / "units", rate_hz, budget_ms, shorter, _WEIGHED)
    how = "weighed as the units are" if is_weighed else "as the units, but this machine lets nobody weigh programs"
    yield from _rows(f"{beside}, {how}", run)
    with service(folder / "changing", model.bundle.path, cameras=CAMERAS, deadline_ms=budget_ms) as line:
        with _changing_recipes(line) as changes:
            run = _run(line, rate_hz, CHANGING_S * shorter)
        yield from _rows(f"{name}, a changeover a second", run)
        yield Row(f"{name}: changeovers done meanwhile", changes(), "")
    with service(folder / "again", model.bundle.path, cameras=CAMERAS) as line:
        yield again(name, capacity_hz, capacity(line.target, CAMERAS, capacity_s))


def _rows(name: str, run: Run) -> Iterator[Row]:
    count = len(run.registers_ms)
    p50, p99, tail = (percentile(run.registers_ms, share) for share in (50, 99, 99.9))
    yield Row(f"{name}: due to register, p50", p50, "ms", samples=count)
    yield Row(f"{name}: due to register, p99", p99, "ms", samples=count)
    yield Row(f"{name}: due to register, p99.9", tail, "ms", samples=count)
    yield below(f"{name}: p99.9 / p50", tail / p50, "×", TAIL, count)
    parts = len(run.outcomes)
    why = ", ".join(f"{number} {reason}" for reason, number in Counter(one.reason for one in run.not_judged).items())
    yield below(f"{name}: parts not judged in time", len(run.not_judged), "parts", 0, parts, note=why)
    yield Row(f"{name}: of them when the machine stood still", sum(map(run.stood_still, run.not_judged)), "parts")
    longest_ms = max((end_s - begin_s for begin_s, end_s in run.stalls), default=0.0) * 1000
    yield Row(f"{name}: longest time the machine stood still", longest_ms, "ms", samples=len(run.stalls))


def _run(line: Service, rate_hz: float, seconds: float) -> Run:
    """Offer so many parts a second to a fresh pair of streams, watched by a PLC for each station."""
    with as_another_machine():
        return _offered(line, rate_hz, seconds)


def _offered(line: Service, rate_hz: float, seconds: float) -> Run:
    streams = [Stream(Camera(line.target, f"cam{number}"), number) for number in range(1, CAMERAS + 1)]
    results = [line.folder / f"plc{number}.jsonl" for number in range(1, CAMERAS + 1)]
    with ExitStack() as stack:
        for number, path in enumerate(results, start=1):
            stack.enter_context(_plc(line.modbus_port, number, path))
        watch = stack.enter_context(Stalls())
        outcomes = offer(streams, rate_hz, seconds)
        stalls = watch.seen()
        _wait(lambda: all(_has_all(*pair) for pair in zip(results, streams, strict=True)), "the PLCs to read all")
    for stream in streams:
        stream.close()
    times_ms = [
        told.time_ns / 1e6 - stream.sent_s[told.trigger] * 1e3
        for path, stream in zip(results, streams, strict=True)
        for told in read_plc(path).told
        if told.verdict is not Verdict.UNKNOWN
    ]
    return Run(times_ms, outcomes, stalls)


def _has_all(path: Path, stream: Stream) -> bool:
    return count_lines(path, b'"event": "result"') >= len(stream.sent_s)


@contextmanager
def _plc(port: int, unit: int, results: Path) -> Iterator[None]:
    about = (
        "--port",
        str(port),
        "--unit",
        str(unit),
        "--poll-ms",
        str(POLL_MS),
        "--results",
        str(results),
    )
    process = subprocess.Popen([sys.executable, "-m", "inspector.sim.plc", *about], stdout=subprocess.DEVNULL)
    try:
        _wait(lambda: count_lines(results, b'"state"') > 0, "the PLC to connect")
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def _beside_others(
    model: BenchModel, folder: Path, rate_hz: float, budget_ms: int, shorter: float, units: Names
) -> tuple[Run, bool]:
    """Ten people at the desk, a fit at the lowest priority after another, and a crash of PostgreSQL every 30 s.

    Says too whether the programs were weighed as their `units`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (port,) = free_ports(1)
    extra = f'[web]\nlisten = "127.0.0.1:{port}"\n'
    where = folder / "disturbed"
    try:
        with postgres_server() as server:
            database = server.create()
            _add_people(database)
            with (
                service(
                    where, model.bundle.path, cameras=CAMERAS, deadline_ms=budget_ms, database=database, extra=extra
                ) as line,
                desk(where, port) as address,
                users(address) as browse,
                weighed(units) as is_weighed,
            ):
                runs: list[Run] = []
                with disturbed(folder, server):
                    browse(lambda: runs.append(_run(line, rate_hz, DISTURBED_S * shorter)))
                were_weighed = is_weighed()
    except pytest.skip.Exception as missing:
        raise RuntimeError(f"cannot be measured here: {missing}") from None
    return runs[0], were_weighed


def _add_people(database: str) -> None:
    store = Store(database)
    store.upgrade()
    add_users(store)
    store.close()


@contextmanager
def disturbed(folder: Path, server: PostgresServer) -> Iterator[None]:
    """A fit at the lowest priority after another, and a crash of PostgreSQL every 30 s."""
    ending = threading.Event()
    threads = [
        threading.Thread(target=_train, args=(folder, ending), daemon=True),
        threading.Thread(target=_restart, args=(server, ending), daemon=True),
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ending.set()
        for thread in threads:
            thread.join()


def _train(folder: Path, ending: threading.Event) -> None:
    """A memory bank on the benchmark's own tiles, again and again, at the priority of a worker."""
    tiles = Path("build/bench/tiles")
    for number in itertools.count():
        if ending.is_set():
            return
        out = folder / f"retrained{number}"
        command = [sys.executable, "-c", _AS_A_WORKER, "fit", str(tiles), "--out", str(out)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and not ending.wait(0.2):
            pass
        process.kill()
        process.wait()


def _restart(server: PostgresServer, ending: threading.Event) -> None:
    while not ending.wait(30.0):
        server.stop("immediate")
        ending.wait(2.0)
        server.start()


@contextmanager
def _changing_recipes(line: Service) -> Iterator[Callable[[], int]]:
    """Every second both stations change to the other recipe, as a PLC asks for it."""
    ending = threading.Event()
    done = 0

    def change() -> None:
        nonlocal done
        client = ModbusTcpClient("127.0.0.1", port=line.modbus_port)
        client.connect()
        for number, recipe in enumerate(itertools.cycle(("others", "tiles")), start=1):
            if ending.wait(1.0):
                break
            words = struct.unpack(">HHHH", struct.pack(">HHI", number, Command.CHANGE_RECIPE, recipe_code(recipe)))
            for unit in range(1, CAMERAS + 1):
                done += not client.write_registers(CONTROL_ADDRESS, list(words), device_id=unit).isError()
        client.close()  # type: ignore[no-untyped-call]

    thread = threading.Thread(target=change, daemon=True)
    thread.start()
    try:
        yield lambda: done
    finally:
        ending.set()
        thread.join()


def _wait(condition: Callable[[], bool], what: str) -> None:
    end_s = time.monotonic() + 30.0
    while not condition():
        if time.monotonic() > end_s:
            raise RuntimeError(f"waited 30 s in vain for {what}")
        time.sleep(0.05)
