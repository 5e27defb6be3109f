"""The end of `inspector demo --web`: the line runs on, and its desk is served, until Ctrl-C."""

from __future__ import annotations

import importlib.util
import os
import secrets
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from inspector.errors import ConfigError
from inspector.sim.demo.processes import Child, Children, DemoFailed, wait_serving, wait_until

RATE_HZ = 2.0
"""Parts per second while people look on; enough to see the line live, and little enough to leave the machine to them."""
PEOPLE = (
    ("olga", "operator", "sees the line, reviews parts"),
    ("erik", "engineer", "labels, trains, compares, asks for a promotion"),
    ("anna", "approver", "the second person: approves and rolls back"),
    ("ada", "admin", "users, audit log, recipes"),
)
_READY_S = 60.0
_LOOK_S = 0.5


def check_web() -> None:
    """Raise ConfigError if the packages of the desk are not installed."""
    missing = [name for name in ("nicegui", "argon2", "scipy") if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(f"the desk needs {', '.join(missing)}: pip install 'inspector[web]', or leave out --web")


def serve_desk(
    line_file: Path,
    target: str,
    camera: Sequence[str],
    url: str,
    logs: Path,
    console: Console,
    wait: Callable[[float], None] = time.sleep,
) -> None:
    """Run service, worker, desk and camera until one of them fails (DemoFailed) or `wait` is interrupted, as by Ctrl-C.

    `camera` is the command of the camera program, which goes on showing the same parts.
    """
    password = secrets.token_urlsafe(9)
    inspector = [sys.executable, "-m", "inspector"]
    with Children() as children:
        serve = children.start("the inspector", [*inspector, "serve", str(line_file)], logs / "serve-again.log")
        wait_serving(target, serve, _READY_S)
        for name, role, _ in PEOPLE:
            _add_user([*inspector, "web-user", str(line_file), name, "--role", role], password)
        desk = children.start("the desk", [*inspector, "web", str(line_file)], logs / "web.log")
        worker = [sys.executable, "-m", "training.cli", "worker", str(line_file)]
        children.start("the worker that fits models", worker, logs / "worker.log")
        children.start("the camera", camera, logs / "camera-again.log")
        _wait_answering(url, desk)
        _tell(url, password, console)
        while True:
            children.check()
            wait(_LOOK_S)


def _add_user(command: Sequence[str], password: str) -> None:
    run = subprocess.run(
        command, env={**os.environ, "INSPECTOR_PASSPHRASE": password}, capture_output=True, text=True, check=False
    )
    if run.returncode:
        raise DemoFailed(f"a user of the desk could not be added: {(run.stderr or run.stdout).strip()[-500:]}")


def _wait_answering(url: str, desk: Child) -> None:
    # Never through a proxy: the desk is on this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def answers() -> bool:
        try:
            with opener.open(f"{url}/healthz", timeout=2.0) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    wait_until(answers, f"the desk to answer at {url}", _READY_S, desk.check)


def _tell(url: str, password: str, console: Console) -> None:
    table = Table(box=None, pad_edge=False)
    for column in ("name", "role", "does"):
        table.add_column(column)
    for row in PEOPLE:
        table.add_row(*row)
    console.print(f"\nThe desk of this line: [b cyan]{url}[/]", highlight=False, soft_wrap=True)
    console.print(f"Log in with the password [b]{password}[/b] as one of", highlight=False)
    console.print(table)
    console.print(f"Parts go past the camera, {RATE_HZ:g} per second. Ctrl-C ends it all.")
