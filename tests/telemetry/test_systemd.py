"""systemd hears that the line is ready, alive and stopping; the unit files are what systemd itself accepts."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from requires import require_tool
from test_service import free_port
from toys import toy_bundle

from inspector.telemetry.systemd import ServiceManager

DEPLOY = Path(__file__).parents[2] / "deploy"


@pytest.fixture
def manager_socket(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(str(tmp_path / "notify"))
        made.settimeout(30)
        yield made


def test_ready_alive_and_stopping_are_told(manager_socket: socket.socket) -> None:
    manager = ServiceManager({"NOTIFY_SOCKET": manager_socket.getsockname(), "WATCHDOG_USEC": "30000"})
    manager.ready(lambda: True, "line l1")
    assert manager_socket.recv(100) == b"READY=1\nSTATUS=line l1"
    assert manager_socket.recv(100) == b"WATCHDOG=1"
    assert manager_socket.recv(100) == b"WATCHDOG=1"
    manager.stopping()
    while (message := manager_socket.recv(100)) == b"WATCHDOG=1":
        pass
    assert message == b"STOPPING=1"


def test_a_line_that_is_stuck_says_nothing(manager_socket: socket.socket) -> None:
    asked: list[int] = []
    manager = ServiceManager({"NOTIFY_SOCKET": manager_socket.getsockname(), "WATCHDOG_USEC": "9000"})
    manager.ready(lambda: len(asked) > 5 or bool(asked.append(1)))
    assert manager_socket.recv(100).startswith(b"READY=1")
    assert manager_socket.recv(100) == b"WATCHDOG=1"
    assert len(asked) == 6
    manager.stopping()


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        pytest.param({}, 0.0, id="no systemd"),
        pytest.param({"WATCHDOG_USEC": "10000000"}, 10.0, id="for whoever is asked"),
        pytest.param({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": str(os.getpid())}, 10.0, id="for this process"),
        pytest.param({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "1"}, 0.0, id="for another process"),
        pytest.param({"WATCHDOG_USEC": "soon"}, 0.0, id="no number"),
    ],
)
def test_the_watchdog_is_served_if_it_is_ours(environment: dict[str, str], seconds: float) -> None:
    assert ServiceManager._asked_for(environment) == seconds


def test_without_systemd_and_without_a_listener_nothing_happens(tmp_path: Path) -> None:
    for environment in ({}, {"NOTIFY_SOCKET": str(tmp_path / "none")}, {"NOTIFY_SOCKET": "@none"}):
        manager = ServiceManager(environment)
        manager.ready(lambda: True)
        manager.stopping()


def test_the_real_service_tells_systemd(manager_socket: socket.socket, tmp_path: Path) -> None:
    toy_bundle(tmp_path / "toy")
    line = tmp_path / "line.toml"
    line.write_text(
        f'[line]\nname = "l1"\n[grpc]\nlisten = "127.0.0.1:{free_port()}"\n[modbus]\nlisten = "127.0.0.1:{free_port()}"\n'
        '[[station]]\nname = "s1"\ncamera = "c1"\nunit = 1\nrecipe = "toy"\n[recipe.toy]\nbundle = "toy"\n'
    )
    environment = {**os.environ, "NOTIFY_SOCKET": manager_socket.getsockname(), "WATCHDOG_USEC": "300000"}
    command = [sys.executable, "-m", "inspector", "serve", str(line), "--log-format", "json"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as service:
        assert manager_socket.recv(100) == b"READY=1\nSTATUS=line l1"
        assert manager_socket.recv(100) == b"WATCHDOG=1"
        service.terminate()
        while (message := manager_socket.recv(100)) == b"WATCHDOG=1":
            pass
        assert message == b"STOPPING=1"
        _, log = service.communicate(timeout=30)
    assert service.returncode == 0
    assert all(line.startswith('{"event"') or '"event":' in line for line in log.splitlines()), log


@pytest.mark.parametrize(
    "unit",
    [
        "inspector@.service",
        "inspector-camera@.service",
        "inspector-opcua@.service",
        "inspector-web@.service",
        "inspector-worker@.service",
    ],
)
def test_systemd_accepts_the_unit_files_and_finds_them_closed(unit: str, tmp_path: Path) -> None:
    analyze = require_tool("systemd-analyze")
    text = re.sub(r"/opt/inspector/.venv/bin/inspector(-train)?", "/bin/true", (DEPLOY / "systemd" / unit).read_text())
    copy = tmp_path / unit
    copy.write_text(text)
    verified = subprocess.run([analyze, "verify", "--man=no", str(copy)], capture_output=True, text=True, timeout=60)
    told = [line for line in verified.stderr.splitlines() if unit.partition("@")[0] in line]
    assert told == []
    judged = subprocess.run(
        [analyze, "security", "--offline=true", "--no-pager", str(copy)], capture_output=True, text=True, timeout=60
    )
    level = re.search(r"exposure level for .*: ([\d.]+)", judged.stdout)
    assert level is not None, judged.stdout + judged.stderr
    assert float(level[1]) < 4.0


@pytest.mark.parametrize("unit", ["inspector@.service", "inspector-web@.service"])
def test_units_let_read_what_the_program_reads_of_the_machine(unit: str) -> None:
    """Without /proc/net/tcp nobody hears of strangers, without /proc/meminfo no promotion is refused for memory: in silence."""
    assert not re.search(r"^ProcSubset=pid", (DEPLOY / "systemd" / unit).read_text(), re.MULTILINE)


def test_the_container_file_copies_and_installs_what_there_is() -> None:
    text = (DEPLOY / "container" / "Containerfile").read_text()
    pyproject = (DEPLOY.parent / "pyproject.toml").read_text()
    for extra in re.findall(r"/source\[(.+?)\]", text)[0].split(","):
        assert re.search(rf"^{extra} = \[", pyproject, re.MULTILINE)
    assert (DEPLOY.parent / "constraints.txt").is_file()
