"""The demo's desk: users may log in, the line runs on, and what fails is told."""

from __future__ import annotations

import io
import re
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from rich.console import Console
from toys import toy_bundle, toy_png

from inspector.records.store import Store
from inspector.sim.demo import DemoOptions
from inspector.sim.demo import desk as demo_desk
from inspector.sim.demo.desk import PEOPLE, serve_desk
from inspector.sim.demo.processes import free_ports
from inspector.sim.demo.run import LINE, Files, _camera, _web_command, write_line_file

COMMANDS = [
    pytest.param(DemoOptions(), "inspector demo --keep --web", id="as it comes"),
    pytest.param(DemoOptions(web=True, keep=True, rate=5), "inspector demo --keep --web", id="what changes no image"),
    pytest.param(
        DemoOptions(data="my parts", folder=Path("/tmp/x"), seed=3, size_px=128),
        "inspector demo --keep --web --data 'my parts' --folder /tmp/x --seed 3 --size 128",
        id="what the images depend on",
    ),
]


@pytest.mark.parametrize(("options", "command"), COMMANDS)
def test_the_command_that_is_offered_uses_this_run_again(options: DemoOptions, command: str) -> None:
    assert _web_command(options) == command


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """A run's folder with a toy for its model and two parts to show."""
    files = Files(tmp_path)
    for folder in (files.logs, files.stream, files.bundles):
        folder.mkdir()
    toy_bundle(files.bundle)
    for number, value in enumerate((20, 240)):
        (files.stream / f"{number}.png").write_bytes(toy_png(value))
    return files


def test_the_desk_of_the_demo_shows_a_line_that_runs(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("nicegui")
    # Each user takes a process of a second or two.
    monkeypatch.setattr(demo_desk, "PEOPLE", PEOPLE[1:2])
    grpc_port, modbus_port, web_port = free_ports(3)
    write_line_file(files, grpc_port, modbus_port, web_port)
    target = f"127.0.0.1:{grpc_port}"
    camera = [*_camera(files, target), "--rate", "20", "--loop"]
    told, url = io.StringIO(), f"http://127.0.0.1:{web_port}"

    def look_and_leave(_seconds: float) -> None:
        """In place of the wait for Ctrl-C: see verdicts come, log in as each of those named, and leave."""
        with closing(Store(f"sqlite:///{files.data / 'quality.db'}")) as store:
            if store.last_sequence(LINE) < 3:
                return
        password = re.search(r"password (\S+) as", told.getvalue())
        assert password is not None, told.getvalue()
        for name, role, _ in demo_desk.PEOPLE:
            with httpx.Client(base_url=url, headers={"Origin": url}, trust_env=False) as client:
                assert client.post("/login", data={"name": name, "password": password[1]}).status_code == 303
                assert client.get("/api/v1/me").json()["role"] == role
        raise KeyboardInterrupt

    console = Console(file=told, width=120)
    with pytest.raises(KeyboardInterrupt):
        serve_desk(files.line_file, target, camera, url, files.logs, console, look_and_leave)
    assert url in told.getvalue()
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{url}/healthz", trust_env=False)
