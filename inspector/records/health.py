"""Tells of what the records lose or hold up: one log line a minute while there is something to tell, none otherwise."""

from __future__ import annotations

import logging
import threading

from inspector.records.evidence import EvidenceWriter
from inspector.records.forwarding import Forwarder
from inspector.records.journal import Journal

# The forwarder stores several times a second; a database that takes longer than this is away or too slow.
LATE_S = 10.0

_log = logging.getLogger(__name__)


class RecordsHealth:
    """Looks at the journal, the forwarder and the evidence writer until `stop`, in a thread of its own."""

    def __init__(
        self, journal: Journal, forwarder: Forwarder, evidence: EvidenceWriter, *, interval_s: float = 60.0
    ) -> None:
        self._journal = journal
        self._forwarder = forwarder
        self._evidence = evidence
        self._interval_s = interval_s
        self._told: dict[str, int] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="records-health", daemon=True)
        self._thread.start()

    def check(self) -> str:
        """What is wrong now or was lost since the last call, logged as one warning; empty if all is well."""
        told = "; ".join(self._held_up() + self._lost())
        if told:
            _log.warning("records: %s", told)
        return told

    def stop(self) -> None:
        """End the thread, after a last look. A second call does nothing."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._thread.join()
        self.check()

    def _run(self) -> None:
        while not self._stopping.wait(self._interval_s):
            self.check()

    def _held_up(self) -> list[str]:
        """What may still come right, told as long as it lasts."""
        found = []
        forwarder, evidence = self._forwarder, self._evidence
        lag_s = forwarder.lag_s
        if lag_s > LATE_S:
            reason = f" ({forwarder.error})" if forwarder.error else ""
            found.append(f"{forwarder.lag} verdicts wait for the database, the oldest for {lag_s:.0f} s{reason}")
        if evidence.journal_failures:
            found.append(
                f"the pictures of {evidence.journal_failures} verdicts are not noted in the journal, "
                f"{evidence.waiting_bytes >> 20} MiB of pictures wait"
            )
        return found

    def _lost(self) -> list[str]:
        """What is lost or went wrong for good, told when it grows."""
        counts = {
            "entries refused by the database": self._forwarder.rejected,
            "verdicts on record with another content": self._forwarder.conflicting,
            "journal flushes failed": self._journal.sync_failures,
        }
        counts |= {f"pictures lost ({reason})": count for reason, count in self._evidence.lost.items()}
        grown = [
            f"{what}: {count}, {count - self._told.get(what, 0)} of them new"
            for what, count in counts.items()
            if count > self._told.get(what, 0)
        ]
        self._told = counts
        return grown
