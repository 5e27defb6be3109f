"""Aravis' fake GigE Vision camera as a process of its own, one at a time on this machine: its control port is fixed."""

from __future__ import annotations

import fcntl
import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from requires import require

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
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


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
    with fake_camera() as camera:
        yield camera
