"""The simulated PLC as a program of its own, against the real Modbus output."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from plc_desk import inspection, wait_until

from inspector.part import Inspection, Reason
from inspector.signalling.modbus import ModbusSignal
from inspector.signalling.signal import StationState, always_alive


class PlcProgram:
    """A running `python -m inspector.sim.plc`."""

    def __init__(self, port: int, results: Path, *options: str) -> None:
        self.results = results
        command = [sys.executable, "-m", "inspector.sim.plc", "--port", str(port), "--results", str(results)]
        self.process = subprocess.Popen(
            [*command, "--poll-ms", "2", "--stale-ms", "300", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def events(self, kind: str = "") -> list[dict[str, Any]]:
        text = self.results.read_text() if self.results.exists() else ""
        lines = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
        return [line for line in lines if kind in ("", line["event"])]

    def wait_for(self, kind: str, count: int = 1) -> None:
        wait_until(lambda: len(self.events(kind)) >= count or self.process.poll() is not None, f"{count} × {kind}")
        assert self.process.poll() is None, self.process.communicate()

    def end(self, number: int = signal.SIGTERM) -> tuple[str, str]:
        self.process.send_signal(number)
        output = self.process.communicate(timeout=20)
        assert self.process.returncode == 0, output
        return output


StartPlc = Callable[..., PlcProgram]


@pytest.fixture
def start_plc(results: Path) -> Iterator[StartPlc]:
    """Starts the program; whatever the test does, it does not outlive it."""
    started: list[PlcProgram] = []

    def start(port: int, *options: str) -> PlcProgram:
        started.append(PlcProgram(port, results, *options))
        return started[-1]

    yield start
    for program in started:
        program.process.kill()
        program.process.communicate()


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "plc.jsonl"


@pytest.fixture
def output() -> Iterator[ModbusSignal]:
    made = serve()
    yield made
    made.close()


def serve(port: int = 0, history: list[Inspection] | None = None) -> ModbusSignal:
    made = ModbusSignal("127.0.0.1", port, {"st1": 1}, heartbeat_ms=20, start_history=history or [])
    made.start()
    made.set_station("st1", StationState.READY, "tiles", "tiles@0123456789ab")
    return made


def some(n: int) -> Inspection:
    reasons = (Reason.WITHIN_LIMITS, Reason.SCORE_ABOVE_LIMIT, Reason.DEADLINE_EXCEEDED)
    return inspection(n, reason=reasons[n % 3], score=None if n % 3 == 2 else n / 4)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_every_result_once_then_a_summary(output: ModbusSignal, start_plc: StartPlc, number: int) -> None:
    plc = start_plc(output.port)
    plc.wait_for("heartbeat_ok")
    begin = time.monotonic_ns()
    published = [some(n) for n in range(1, 61)]
    for one in published:
        output.publish(one)
    plc.wait_for("ejector", 60)
    stdout, _ = plc.end(number)
    rows = plc.events("result")
    assert [(row["sequence"], row["trigger"], row["verdict"], row["reason"], row["score"]) for row in rows] == [
        (one.sequence, one.trigger, one.verdict.name, one.reason.name, one.score) for one in published
    ]
    assert all(begin < row["read_ns"] < time.monotonic_ns() for row in rows)
    assert [(row["sequence"], row["action"]) for row in plc.events("ejector")] == [
        (one.sequence, "eject" if one.sequence % 3 else "let_through") for one in published
    ]
    summary = plc.events()[-1]
    assert (summary["event"], summary["results"], summary["ejected"], summary["let_through"]) == ("summary", 60, 40, 20)
    assert (summary["pass"], summary["reject"], summary["unknown"]) == (20, 20, 20)
    assert "60 results" in stdout


def test_a_restarted_server_gives_nothing_twice_and_nothing_lost(output: ModbusSignal, start_plc: StartPlc) -> None:
    plc = start_plc(output.port)
    plc.wait_for("heartbeat_ok")
    history = [some(n) for n in range(1, 6)]
    for one in history:
        output.publish(one)
    plc.wait_for("result", 5)
    output.close()
    plc.wait_for("disconnected")
    plc.wait_for("heartbeat_stale")
    # Results 6 to 8 were settled by the dying service and come to light with its journal.
    again = serve(output.port, [*history, *(some(n) for n in range(6, 9))])
    plc.wait_for("connected", 2)
    plc.wait_for("heartbeat_ok", 2)
    again.publish(some(9))
    plc.wait_for("result", 9)
    plc.end()
    again.close()
    assert [row["sequence"] for row in plc.events("result")] == list(range(1, 10))
    assert "lost" not in plc.events()[-1]


def test_a_service_that_stands_still_has_every_part_ejected(start_plc: StartPlc) -> None:
    stuck = threading.Event()
    output = ModbusSignal("127.0.0.1", 0, {"st1": 1}, heartbeat_ms=20)
    output.start(lambda: not stuck.is_set())
    plc = start_plc(output.port, "--eject-delay-ms", "1000")
    plc.wait_for("heartbeat_ok")
    output.publish(inspection(1))
    plc.wait_for("result")
    stuck.set()
    plc.wait_for("ejector")
    plc.end()
    output.close()
    assert plc.events("heartbeat_stale")
    [ejection] = plc.events("ejector")
    assert (ejection["action"], ejection["cause"]) == ("eject", "stale heartbeat")
    [row] = plc.events("result")
    assert ejection["time_ns"] - row["read_ns"] >= 1_000_000_000, "the part travels to the ejector first"


def test_overwritten_results_are_told_loudly(output: ModbusSignal, start_plc: StartPlc) -> None:
    output.publish(some(1))
    plc = start_plc(output.port, "--backlog")
    plc.wait_for("result")
    plc.process.send_signal(signal.SIGSTOP)
    stopped = psutil.Process(plc.process.pid)
    wait_until(lambda: stopped.status() == psutil.STATUS_STOPPED, "PLC stands still")
    for n in range(2, 102):
        output.publish(some(n))
    plc.process.send_signal(signal.SIGCONT)
    plc.wait_for("lost")
    plc.wait_for("result", 65)
    _, stderr = plc.end()
    assert sum(row["count"] for row in plc.events("lost")) == 36
    assert [row["sequence"] for row in plc.events("result")] == [1, *range(38, 102)]
    assert "36 results were overwritten" in stderr


def test_waits_for_a_server_that_is_not_there_yet(start_plc: StartPlc) -> None:
    first = serve()
    port = first.port
    first.close()
    plc = start_plc(port)
    wait_until(plc.results.exists, "PLC runs")
    output = serve(port)
    plc.wait_for("connected")
    output.publish(some(1))
    plc.wait_for("result")
    plc.end()
    output.close()


def test_ends_by_itself_after_max_seconds(start_plc: StartPlc) -> None:
    plc = start_plc(1, "--max-seconds", "0.2")
    plc.process.communicate(timeout=30)
    assert plc.process.returncode == 0
    assert [row["event"] for row in plc.events()] == ["summary"]


def test_another_device_at_the_address_is_no_station(start_plc: StartPlc) -> None:
    output = ModbusSignal("127.0.0.1", 0, {"st1": 7}, heartbeat_ms=20)
    output.start(always_alive)
    output.publish(some(1))
    plc = start_plc(output.port, "--max-seconds", "0.5", "--backlog")
    plc.process.communicate(timeout=30)
    output.close()
    assert plc.process.returncode == 0
    assert [row["event"] for row in plc.events()] == ["summary"], "unit 1 answers with an exception"
