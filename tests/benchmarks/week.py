"""Row 4: what a week of passes costs in the embedded database, written as the forwarder writes them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from inspector.part import Inspection, Reason, Verdict
from inspector.records.entries import Position, Settled
from inspector.records.store import Store
from tests.benchmarks.model import BenchModel
from tests.benchmarks.rows import Row, below

WEEK_ROWS = 7 * 24 * 3600
_BATCH = 500
_START = datetime(2026, 1, 5, tzinfo=UTC)


def measure(_model: BenchModel, folder: Path, quick: bool) -> Iterator[Row]:
    """One part a second with a serial number of its own. `quick` writes a hundredth and multiplies."""
    count = WEEK_ROWS // 100 if quick else WEEK_ROWS
    file = folder / "week.db"
    store = Store(f"sqlite:///{file}")
    store.upgrade()
    empty_bytes = _size(file)
    begin = time.perf_counter()
    for first in range(1, count + 1, _BATCH):
        entries = [Settled(_pass(number)) for number in range(first, min(first + _BATCH, count + 1))]
        store.apply("bench", entries, Position("0" * 32, 1, first))
    seconds = time.perf_counter() - begin
    stored = store.last_sequence("bench")
    store.close()
    if stored != count:
        raise RuntimeError(f"{stored} of {count} rows are on record")
    size_mib = (empty_bytes + (_size(file) - empty_bytes) * WEEK_ROWS / count) / (1 << 20)
    said = f"from {count:,} rows" if quick else f"all {count:,} rows written"
    yield below(f"SQLite of a week of passes, 1 part/s ({said})", size_mib, "MiB", 200, count)
    yield Row("rows stored per second", count / seconds, "rows/s", samples=count)


def _size(file: Path) -> int:
    """Bytes of the database and of what SQLite keeps beside it."""
    return sum(path.stat().st_size for path in file.parent.glob(f"{file.name}*"))


def _pass(number: int) -> Inspection:
    received = _START + timedelta(seconds=number, microseconds=number * 7919 % 1000)
    latency_ms = 8.0 + number * 7919 % 4096 / 1024
    return Inspection(
        line="bench",
        station="station1",
        camera="cam1",
        sequence=number,
        station_sequence=number,
        trigger=number,
        part_id=f"P{number:09d}",
        verdict=Verdict.PASS,
        reason=Reason.WITHIN_LIMITS,
        detail="",
        score=2.0 + number * 104729 % 65536 / 65536,
        limit=4.25,
        findings=(),
        recipe="tiles",
        bundle="bench-lite0@0123456789ab",
        capture_time=received - timedelta(milliseconds=2),
        receive_time=received,
        decide_time=received + timedelta(milliseconds=latency_ms),
        latency_ms=latency_ms,
    )
