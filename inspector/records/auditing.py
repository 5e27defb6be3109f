"""Audit entries from a running service: handed over without waiting, written by a thread, floods counted instead of kept."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from inspector.errors import AuditError
from inspector.records.audit import MAX_TEXT, AuditLog, EntryRefused

log = logging.getLogger(__name__)

MAX_WAITING = 1000
MAX_REFUSED_KINDS = 256
TOLD_EVERY_S = 60.0
RETRY_S = 5.0
SERVICE = "service"


class AuditWriter:
    """Writes to an `AuditLog` from a thread of its own. `note` and `refuse` only touch memory.

    While the log cannot be written entries wait; beyond `MAX_WAITING` the newest are left out, and how many goes on record.
    """

    def __init__(self, audit: AuditLog, told_every_s: float = TOLD_EVERY_S) -> None:
        self._audit = audit
        self._told_every_s = told_every_s
        self._waiting: deque[tuple[str, str, str, dict[str, Any]]] = deque()
        self._refused: dict[tuple[str, str, str], int] = {}
        self._left_out = 0
        self._changed = threading.Condition(threading.Lock())
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="audit", daemon=True)
        self._thread.start()

    def note(
        self, action: str, subject: str = "", details: Mapping[str, Any] | None = None, actor: str = SERVICE
    ) -> None:
        """Put something on record soon. Never waits, never raises."""
        with self._changed:
            self._add(actor, action, subject, dict(details or {}))
            self._changed.notify()

    def refuse(self, actor: str, action: str, subject: str, why: str) -> None:
        """Put a refusal on record: the first at once, repetitions of it once a minute with their number."""
        key = (actor[:MAX_TEXT], action[:MAX_TEXT], subject[:MAX_TEXT])
        with self._changed:
            if key in self._refused:
                self._refused[key] += 1
                return
            if len(self._refused) >= MAX_REFUSED_KINDS:
                self._left_out += 1
                return
            self._refused[key] = 0
            self._add(key[0], f"refused {key[1]}", key[2], {"why": why[:MAX_TEXT]})
            self._changed.notify()

    def close(self, patience_s: float = 2.0) -> None:
        """Write what waits, for up to `patience_s`, and end the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(patience_s)
        if self._waiting:
            log.warning("%d audit entries could not be written before the stop", len(self._waiting))

    def _add(self, actor: str, action: str, subject: str, details: dict[str, Any]) -> None:
        if len(self._waiting) >= MAX_WAITING:
            self._left_out += 1
        else:
            self._waiting.append((actor, action, subject, details))

    def _work(self) -> None:
        due_s = time.monotonic() + self._told_every_s
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing, due_s - time.monotonic())
                if self._closing or time.monotonic() >= due_s:
                    self._sum_up()
                    due_s = time.monotonic() + self._told_every_s
                batch = list(self._waiting)
                closing = self._closing
            if not self._write(batch):
                with self._changed:
                    if closing:
                        return
                    self._changed.wait_for(lambda: self._closing, RETRY_S)
            elif closing:
                return

    def _write(self, batch: list[tuple[str, str, str, dict[str, Any]]]) -> bool:
        for actor, action, subject, details in batch:
            try:
                self._audit.append(actor, action, subject, details)
            except EntryRefused as error:
                log.error("an audit entry is left out: %s", error)
                with self._changed:
                    self._left_out += 1
            except AuditError as error:
                log.error("audit entries wait in memory: %s", error)
                return False
            with self._changed:
                self._waiting.popleft()
        return True

    def _sum_up(self) -> None:
        """What was only counted becomes entries. Caller holds the lock."""
        repeated = [(key, count) for key, count in self._refused.items() if count]
        self._refused = {}
        for (actor, action, subject), count in repeated:
            self._add(actor, f"refused {action} again", subject, {"times": count})
        if self._left_out and len(self._waiting) < MAX_WAITING:
            self._waiting.append((SERVICE, "left out audit entries", "", {"count": self._left_out}))
            self._left_out = 0
