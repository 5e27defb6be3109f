"""`inspector web` as a process, and ten people who use it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

_START_S, _STOP_S = 60.0, 20.0


@contextmanager
def desk(folder: Path, port: int) -> Iterator[str]:
    """`inspector web` as a process."""
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "inspector", "web", str(folder / "line.toml")]
    with (folder / "web.log").open("ab") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        _wait_answering(address, process, folder / "web.log")
        yield address
    finally:
        process.terminate()
        process.wait(_STOP_S)


def _wait_answering(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{address}/healthz", trust_env=False).status_code == 200:
                return
        time.sleep(0.05)
    raise RuntimeError(f"the desk did not answer:\n{log.read_text()[-3000:]}")


Browse = Callable[[Callable[[], None]], list[tuple[str, float, int]]]


@contextmanager
def users(address: str) -> Iterator[Browse]:
    """`browse(work)` lets ten people use the desk while `work` goes on, and gives what each page took."""
    from inspector.web.pages import PAGES

    paths = [one.path for one in PAGES if one.in_menu and one.role.value <= 3]
    command = [sys.executable, "-m", "tests.benchmarks.web_users", address, *paths]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    stdin, stdout = process.stdin, process.stdout

    def browse(work: Callable[[], None]) -> list[tuple[str, float, int]]:
        print("go", file=stdin, flush=True)
        work()
        print("stop", file=stdin, flush=True)
        return [(path, took, status) for path, took, status in json.loads(stdout.readline())]

    try:
        yield browse
    finally:
        stdin.close()
        process.wait(_STOP_S)
