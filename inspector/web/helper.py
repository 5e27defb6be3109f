"""The worker that a desk keeps, if it is told to: a process of its own, started again when it ends, and ended with the desk."""

from __future__ import annotations

import importlib.util
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from inspector.errors import ConfigError

log = logging.getLogger(__name__)

AGAIN_S = 10.0
_GOODBYE_S = 30.0


@contextmanager
def keeping_worker(line_file: Path) -> Iterator[None]:
    """Keep `inspector-train worker` running, at low priority, while the context lasts. ConfigError if it is not installed."""
    if importlib.util.find_spec("training") is None or importlib.util.find_spec("torch") is None:
        raise ConfigError(
            "web.worker is true and the training package is not installed here: pip install 'inspector[training]', or set "
            "it to false and run `inspector-train worker` on a machine that has it"
        )
    stopping = threading.Event()
    thread = threading.Thread(target=_keep, args=(line_file, stopping), name="worker", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join(_GOODBYE_S + 5)


def _keep(line_file: Path, stopping: threading.Event) -> None:
    while not stopping.is_set():
        # A session of its own: Ctrl-C at a terminal is for the desk, which ends the worker in its own way.
        command = [sys.executable, "-m", "training.cli", "worker", str(line_file), "--with-parent"]
        try:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
        except OSError as error:
            log.error("the worker cannot be started, trying again: %s", error)
        else:
            status = _wait(process, stopping)
            if not stopping.is_set():
                log.warning("the worker ended with status %s and is started again in %g s", status, AGAIN_S)
        stopping.wait(AGAIN_S)


def _wait(process: subprocess.Popen[bytes], stopping: threading.Event) -> int:
    while process.poll() is None and not stopping.wait(0.5):
        pass
    if process.poll() is None:
        process.terminate()  # it gives its job back
        try:
            process.wait(_GOODBYE_S)
        except subprocess.TimeoutExpired:
            process.kill()
    return process.wait()
