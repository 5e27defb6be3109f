"""The demo's child processes: started in order, stopped in reverse, never left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from inspector.errors import InspectorError

_STOP_S, _HURRY_S = 20.0, 1.0
_LOOK_S = 0.05


class DemoFailed(InspectorError):
    """A process of the demo did not do its part."""


class Child:
    """One process of the demo; what it prints goes into its log file.

    It runs in a session of its own, so that Ctrl-C reaches only the demo, which then stops the children in order.
    """

    def __init__(self, name: str, command: Sequence[str], log: Path) -> None:
        self.name = name
        self.log = log
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
            )

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def check(self, *, may_have_ended: bool = False) -> None:
        """Raise DemoFailed if the process ended; with `may_have_ended`, only if it failed."""
        code = self._process.poll()
        if code is None or (may_have_ended and code == 0):
            return
        raise DemoFailed(f"{self.name} ended with status {code}; its last lines ({self.log}):\n{tail(self.log)}")

    def stop(self, timeout_s: float = _STOP_S) -> None:
        """Ask the process to end (SIGTERM), and kill it if it does not within `timeout_s`.

        Raises DemoFailed if it had to be killed, or ended with an error. Does nothing if it ended before.
        """
        if not self.running:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise DemoFailed(
                f"{self.name} did not stop within {timeout_s:.0f} s of being asked and was killed; see {self.log}"
            ) from None
        if self._process.returncode not in (0, -signal.SIGTERM):
            self.check()


class Children:
    """All children of one run. Leaving the context stops, the last started first, what still runs."""

    def __init__(self) -> None:
        self._all: list[Child] = []

    def __enter__(self) -> Children:
        return self

    def __exit__(self, *_: object) -> None:
        patience_s = _STOP_S
        while self._all:
            try:
                self._all[-1].stop(patience_s)
            except KeyboardInterrupt:  # once more: somebody is in a hurry, and still nothing is left behind
                patience_s = _HURRY_S
                continue
            except DemoFailed as error:
                print(error, file=sys.stderr)
            self._all.pop()

    def start(self, name: str, command: Sequence[str], log: Path) -> Child:
        """Start a process; raises DemoFailed if it cannot be started at all."""
        try:
            child = Child(name, command, log)
        except OSError as error:
            raise DemoFailed(f"{name} cannot be started ({error}): is the installation whole?") from error
        self._all.append(child)
        return child

    def check(self) -> None:
        """Raise DemoFailed if any of them failed."""
        for child in self._all:
            child.check(may_have_ended=True)


def tail(path: Path, lines: int = 12) -> str:
    """The last lines of a log."""
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    return "\n".join(f"    {line}" for line in text.splitlines()[-lines:]) or "    (nothing)"


def free_ports(count: int) -> list[int]:
    """TCP ports of 127.0.0.1 that nobody uses now, all different."""
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_STREAM) for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
    finally:
        for one in sockets:
            one.close()


def wait_until(done: Callable[[], bool], what: str, timeout_s: float, still_well: Callable[[], None]) -> None:
    """Wait for a condition. Raises DemoFailed after `timeout_s`, and whatever `still_well` raises before."""
    deadline = time.monotonic() + timeout_s
    while not done():
        still_well()
        if time.monotonic() > deadline:
            raise DemoFailed(f"waited {timeout_s:.0f} s for {what}: the logs of the run folder say why")
        time.sleep(_LOOK_S)


def wait_serving(target: str, child: Child, timeout_s: float) -> None:
    """Wait until the service at `target` answers SERVING to a gRPC health check."""

    def serving() -> bool:
        try:
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=1.0)
        except grpc.RpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    with grpc.insecure_channel(target, options=[("grpc.max_reconnect_backoff_ms", 200)]) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        wait_until(serving, f"the inspector to be ready at {target}", timeout_s, child.check)


@contextmanager
def sigterm_like_ctrl_c() -> Iterator[None]:
    """Let SIGTERM end the demo as Ctrl-C does, so that no child outlives it."""

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def run_visibly(command: Sequence[str], what: str, next_step: str) -> None:
    """Run a program to its end on this terminal, so that its progress bars are seen. Raises DemoFailed."""
    process = subprocess.Popen(command, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    try:
        code = process.wait()
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        raise
    if code:
        raise DemoFailed(f"{what} ended with status {code}; {next_step}")
