"""Row 5: what journal and signal add to a verdict, in one process: the settle step with both against the same without."""

from __future__ import annotations

import gc
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from inspector.admission import Part
from inspector.part import Inspection, Judgement, Reason
from inspector.records.entries import Admission
from inspector.records.journal import Journal
from inspector.records.ledger import JournalState
from inspector.settlement import Settlement
from inspector.signalling.modbus import ModbusSignal
from tests.benchmarks.model import BenchModel
from tests.benchmarks.rows import Row, below, percentile

_BLOCK = 100
# A PLC that polls a hundred times a second, in a process of its own: the whole block of a station, by FC 4.
_POLLER = """
import socket, struct, sys, time
plc = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
while True:
    plc.sendall(struct.pack(">HHHBBHH", 1, 0, 6, 1, 4, 0, 100))
    if not plc.recv(4096):
        break
    time.sleep(0.01)
"""


class NoJournal:
    """Takes everything and keeps nothing."""

    def __init__(self, state: JournalState) -> None:
        self.state = state

    def admit(self, admission: Admission) -> None:
        """Forget it."""

    def settle(self, inspection: Inspection, *, evidence_expected: bool = False) -> None:
        """Forget it."""


def measure(_model: BenchModel, folder: Path, quick: bool) -> Iterator[Row]:
    """Two settlements take turns; parts come a millisecond apart, as caches are not warm between parts of a line."""
    journal = Journal.open(folder / "settling" / "journal", "bench")
    nothing = NoJournal(journal.state)
    modbus = ModbusSignal("127.0.0.1", 0, {"station1": 1})
    modbus.start()
    poller = subprocess.Popen([sys.executable, "-c", _POLLER, str(modbus.port)], stderr=subprocess.DEVNULL)
    settlements: dict[str, tuple[Journal | NoJournal, Settlement]] = {
        "with": (journal, Settlement("bench", journal, [modbus], pass_sampling=0.0, on_journal=_ignore)),
        "without": (nothing, Settlement("bench", nothing, [], pass_sampling=0.0, on_journal=_ignore)),  # type: ignore[arg-type]
    }
    times_ms: dict[str, list[float]] = {name: [] for name in settlements}
    triggers = dict.fromkeys(settlements, 0)
    try:
        for _ in range(10 if quick else 60):
            for name, (book, settlement) in settlements.items():
                gc.collect()
                for _ in range(_BLOCK):
                    triggers[name] += 1
                    times_ms[name].append(_settle_ms(book, settlement, triggers[name]))
                    time.sleep(0.001)
    finally:
        poller.terminate()
        poller.wait()
        modbus.close()
        journal.close()
    count = len(times_ms["with"])
    name = "journal + signal"
    for share, label in ((50, "p50"), (99, "p99"), (99.9, "p99.9")):
        ours, theirs = (percentile(times_ms[key], share) for key in ("with", "without"))
        yield Row(f"settling with {name} {label}", ours, "ms", samples=count)
        yield Row(f"settling without {label}", theirs, "ms", samples=count)
        if share == 99:
            yield below(f"{name} add to a verdict, p99", ours - theirs, "ms", 0.3, count)
        else:
            yield Row(f"{name} add to a verdict, {label}", ours - theirs, "ms", samples=count)


def _settle_ms(journal: Journal | NoJournal, settlement: Settlement, trigger: int) -> float:
    """Milliseconds of the journal's and the settlement's part in one verdict."""
    now, now_s = datetime.now(UTC), time.monotonic()
    part = Part("cam1", trigger, f"P{trigger:08d}", now, now, now_s, now_s + 60, None)
    judgement = Judgement(Reason.WITHIN_LIMITS, "", 0.25, 0.5)
    begin = time.perf_counter()
    journal.admit(Admission("station1", "cam1", trigger, part.part_id, now, now))
    settlement.enter(part, judgement, "station1", "tiles", "bench-lite0@0123456789ab")
    return (time.perf_counter() - begin) * 1000


def _ignore(_: bool) -> None:
    """No station to show a failing journal on."""
