"""The real processes of a line under test: started, watched, killed, never left behind."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from chaos.account import PLC, Told
from chaos.camera import TIMEOUT_S, CannotMeasure
from chaos.watchdog import STALE_MS

from inspector.part import Reason, Verdict

_LOOK_S = 0.02
# The entry point of the console script, with the interpreter that runs the tests.
INSPECTOR = (sys.executable, "-c", "from inspector.cli import main; main()")


class Process:
    """A program whose output goes to a file."""

    def __init__(
        self, name: str, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.log = log
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                env={**os.environ, **(environment or {})},
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """SIGSTOP, and SIGCONT at the end, also of one that is killed meanwhile."""
        self.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.signal(signal.SIGCONT)

    def signal(self, number: signal.Signals) -> None:
        """Nothing happens to one that has ended."""
        self._process.send_signal(number)

    def wait(self, timeout_s: float = TIMEOUT_S) -> int:
        """Exit status; CannotMeasure, after killing it, if it does not end in time."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise CannotMeasure(f"{self.name} did not end within {timeout_s:.0f} s: {self.tail()}") from None

    def stop(self) -> int:
        """SIGTERM, and its exit status."""
        if self.running:
            self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """kill -9."""
        if self.running:
            self._process.kill()
        self._process.wait()

    def tail(self) -> str:
        """The last lines of its output."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-12:])


class PlcProcess(Process):
    """`python -m inspector.sim.plc` on one station."""

    def __init__(
        self, station: str, port: int, unit: int, folder: Path, *, host: str = "127.0.0.1", poll_ms: int = 5
    ) -> None:
        self.station = station
        self.results = folder / f"plc-{station}.jsonl"
        self._events: list[dict[str, object]] = []
        self._read_to = 0
        module = (sys.executable, "-m", "inspector.sim.plc", "--backlog")
        pace = ("--poll-ms", str(poll_ms), "--stale-ms", str(STALE_MS))
        where = ("--host", host, "--port", str(port), "--unit", str(unit), "--results", str(self.results))
        super().__init__(f"PLC of {station}", (*module, *pace, *where), folder / f"plc-{station}.log")

    def events(self) -> list[dict[str, object]]:
        """What it wrote so far; a line that is not complete is left for the next time."""
        if self.results.exists():
            with self.results.open("rb") as file:
                file.seek(self._read_to)
                whole = file.read().rpartition(b"\n")[0]
            self._read_to += len(whole) + 1 if whole else 0
            self._events += [json.loads(line) for line in whole.splitlines()]
        return self._events

    def told(self) -> list[Told]:
        """The results that it read."""
        return [_told(self.station, event) for event in self.events() if event["event"] == "result"]

    def has_read(self, trigger: int) -> bool:
        """Whether a verdict of that trigger has arrived."""
        return any(event["event"] == "result" and event["trigger"] == trigger for event in reversed(self.events()))

    def has_looked(self) -> bool:
        """Whether it reads the station's registers."""
        return any(event["event"] == "state" for event in self.events())


def _told(station: str, event: dict[str, object]) -> Told:
    sequence, trigger = event["sequence"], event["trigger"]
    assert isinstance(sequence, int)
    assert isinstance(trigger, int)
    return Told(PLC, station, trigger, sequence, Verdict[str(event["verdict"])], Reason[str(event["reason"])])


def wait_for(condition: Callable[[], bool], what: str, timeout_s: float = TIMEOUT_S, step_s: float = _LOOK_S) -> None:
    """Look until the condition holds; CannotMeasure if it does not in time."""
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            raise CannotMeasure(f"waited {timeout_s:.0f} s in vain: {what}")
        pause(step_s)


def pause(seconds: float) -> None:
    """Let time pass, where the time itself is the fault: how long a database is away, when a process is killed."""
    threading.Event().wait(seconds)


def free_port() -> int:
    """A port that nobody has, outside the range from which outgoing connections take theirs while the service is down.

    By true chance: two runs with the same seed must not take each other's while a service restarts.
    """
    rng = random.SystemRandom()
    for _ in range(1000):
        port = rng.randrange(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise CannotMeasure("no free port between 20000 and 32000")
