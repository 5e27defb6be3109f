"""Aravis' fake GigE Vision camera as a process of its own, one at a time on this machine: its control port is fixed."""

from __future__ import annotations

import fcntl
import importlib.util
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO

import pytest
from requires import require
from rpc_line import wait_for

from inspector.cameras.sources.genicam import GenicamSource
from inspector.cameras.sources.source import Grab, Lost, Taken

DEVICE = "127.0.0.1"


@contextmanager
def alone() -> Iterator[None]:
    """Skip without Aravis; keep other test processes from port 3956 meanwhile."""
    require(importlib.util.find_spec("gi") is not None, "PyGObject is not installed; run deploy/install-test-tools.sh")
    from inspector.cameras.sources.aravis import aravis
    from inspector.errors import SourceError

    try:
        aravis()
    except SourceError as error:
        require(False, str(error))
    with (Path(tempfile.gettempdir()) / "inspector-gige.lock").open("a") as lock:
        wait_for(lambda: _got(lock), "another test process to give port 3956 back", 120)
        yield


def _got(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class FakeCamera:
    """Started at once; `stop` and `start` are its power switch."""

    def __init__(self, *options: str) -> None:
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self, *options: str) -> None:
        """Returns when it answers."""
        command = (sys.executable, "-m", "inspector.sim.gige", *(options or self._options))
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        assert self._process.stdout.readline().startswith(b"Aravis-Fake-"), "the fake camera did not start"

    def stop(self) -> None:
        """As if its plug were pulled."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None


@contextmanager
def fake_camera(*options: str) -> Iterator[FakeCamera]:
    with alone():
        camera = FakeCamera(*options)
        try:
            yield camera
        finally:
            camera.stop()


@pytest.fixture(scope="module")
def gige() -> Iterator[FakeCamera]:
    # It does not count anew at a start, and would after some seconds begin with a small number, as if frames had been lost.
    with fake_camera("--fault", "1:jump") as camera:
        yield camera


# Packets that a loopback interface carries whole.
SMALL = {
    "region": (0, 0, 128, 96),
    "pixel_format": "Mono8",
    "packet_size": 4000,
    "rate_hz": 100.0,
    "exposure_us": 500.0,
}

# Slow enough, and with buffers enough, that a busy machine loses nothing of its own.
EASY = {"rate_hz": 40.0, "buffers": 128}


def source(**options: object) -> GenicamSource:
    return GenicamSource(device=DEVICE, **{**SMALL, **options})


def torn(grab: Grab) -> bool:
    """A frame that lost packets on the way, as happens now and then on a machine that is busy with other tests."""
    return isinstance(grab, Lost) and grab.why.startswith("the frame is incomplete")


def frames(count: int, grabs: Iterator[Grab | None], *, hold: bool = False) -> list[Taken]:
    """The first frames, without those that were torn; any other loss is an error."""
    found: list[Taken] = []
    while len(found) < count:
        (grab,) = first(1, grabs, hold=hold)
        assert isinstance(grab, Taken) or torn(grab), grab
        if isinstance(grab, Taken):
            found.append(grab)
    return found


def first(count: int, grabs: Iterator[Grab | None], patience_s: float = 10.0, *, hold: bool = False) -> list[Grab]:
    """The first grabs that are any; without `hold` their pixels go back to the driver."""
    end_s, found = time.monotonic() + patience_s, []
    while len(found) < count:
        grab = next(grabs)
        assert time.monotonic() < end_s, f"{len(found)} of {count} grabs came"
        if isinstance(grab, Taken) and not hold:
            grab = replace(grab, frame=replace(grab.frame, data=b""))
        if grab is not None:
            found.append(grab)
    return found
