"""Tells systemd that the line is ready, alive and stopping: sd_notify(3), WatchdogSec= of systemd.service(5).

The protocol is one datagram to a socket named in the environment; the packages that wrap it are older than the systemd that we
test with, or compile against libsystemd.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable, Mapping

log = logging.getLogger(__name__)


class ServiceManager:
    """Does nothing where systemd did not start this process as Type=notify."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        self._watchdog_s = self._asked_for(environment)
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    @staticmethod
    def _asked_for(environment: Mapping[str, str]) -> float:
        """Seconds after which systemd takes silence for death; 0 if it does not, or means another process."""
        pid, period = environment.get("WATCHDOG_PID", ""), environment.get("WATCHDOG_USEC", "")
        if not period.isdecimal() or (pid and pid != str(os.getpid())):
            return 0.0
        return int(period) / 1e6

    def ready(self, alive: Callable[[], bool], status: str = "") -> None:
        """The line judges parts. From now on say so three times in each watchdog period, as long as `alive` does."""
        self._say(f"READY=1\nSTATUS={status}")
        if self._watchdog_s and self._address:
            self._thread = threading.Thread(target=self._watch, args=(alive,), name="watchdog", daemon=True)
            self._thread.start()

    def stopping(self) -> None:
        """The line was told to stop."""
        self._stopped.set()
        self._say("STOPPING=1")

    def _watch(self, alive: Callable[[], bool]) -> None:
        while not self._stopped.wait(self._watchdog_s / 3):
            if alive():
                self._say("WATCHDOG=1")

    def _say(self, message: str) -> None:
        if not self._address:
            return
        # A leading @ stands for the zero byte of an abstract address.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notify:
                notify.settimeout(1.0)
                notify.sendto(message.encode(), address)
        except OSError as error:
            log.warning("systemd does not hear this service: %s", error)
