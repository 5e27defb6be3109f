"""A whole line for tests of cameras: `inspector serve` and `inspector camera run` as processes, and what they told."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from toys import toy_bundle

from inspector.records.store import Store
from inspector.settings import load_line_file
from inspector.sim.demo.processes import free_ports

INSPECTOR = (sys.executable, "-c", "from inspector.cli import main; main()")
# For each condition: a machine that runs other things beside may take long to start programs.
PATIENCE_S = 60


def line_file(folder: Path, camera: str, *, deadline_ms: int, checks: str = "") -> Path:
    """A line with one station and the toy bundle; `camera` is its table [camera.c1], `checks` its [recipe.toy.check]."""
    toy_bundle(folder / "toy")
    grpc, modbus = free_ports(2)
    path = folder / "line.toml"
    path.write_text(
        f"""
[line]
name = "l1"
[grpc]
listen = "127.0.0.1:{grpc}"
[modbus]
listen = "127.0.0.1:{modbus}"
[[station]]
name = "s1"
camera = "c1"
unit = 1
recipe = "toy"
[recipe.toy]
bundle = "toy"
deadline_ms = {deadline_ms}
[recipe.toy.check]
{checks}
[camera.c1]
{camera}
"""
    )
    return path


@contextmanager
def process(log: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as out:
        run = subprocess.Popen([*INSPECTOR, *arguments], stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        yield run
    finally:
        run.send_signal(signal.SIGCONT)
        run.terminate()
        run.wait(30)
        # Shown if the test fails.
        print(f"{log.name}, its end:\n{log.read_text()[-8000:]}")


def entries(results: Path) -> list[dict[str, Any]]:
    whole = results.read_text().rpartition("\n")[0] if results.exists() else ""
    return [json.loads(text) for text in whole.splitlines()]


def is_said(log: Path, *words: str) -> Callable[[], bool]:
    return lambda: log.exists() and all(word in log.read_text() for word in words)


def recorded(path: Path) -> Sequence[Any]:
    """All parts of the quality database."""
    store = Store(load_line_file(path).database_url)
    try:
        return [stored.inspection for stored in store.after("l1", 0, limit=100_000)]
    finally:
        store.close()
