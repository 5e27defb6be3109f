"""Row 6: PostgreSQL stopped for a minute under steady load, and what a camera notices of it."""

from __future__ import annotations

import itertools
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from inspector.part import PixelFormat
from inspector.records.store import Store
from tests.benchmarks.line import LINE, Camera, service
from tests.benchmarks.model import BenchModel, jpeg_tile
from tests.benchmarks.rows import Row, percentile

sys.path.insert(0, str(Path(__file__).parents[1]))  # the tests' helpers import each other by plain names

from postgres import PostgresServer, postgres_server

_PARTS_PER_S = 40
_WINDOWS = 4
_SHARES = (50.0, 99.0, 99.9)
_CATCH_UP_S = 60.0


class SteadyLoad:
    """A camera that sends a part every 25 ms, whatever the answers take; `window` looks at a stretch of it."""

    def __init__(self, target: str) -> None:
        self._camera = Camera(target)
        self._sent_s: list[float] = []
        self._latencies_ms: list[float] = []
        self._ending = threading.Event()
        self._sender = threading.Thread(target=self._send, name="load-sender", daemon=True)
        self._receiver = threading.Thread(target=self._receive, name="load-receiver", daemon=True)
        self._sender.start()
        self._receiver.start()

    def window(self, seconds: float) -> list[float]:
        """Milliseconds from sending to verdict of the parts sent in the next `seconds`."""
        first = len(self._sent_s)
        time.sleep(seconds)
        last = len(self._sent_s)
        while len(self._latencies_ms) < last:
            if not self._receiver.is_alive():
                raise RuntimeError(f"the stream ended after {len(self._latencies_ms)} answers")
            time.sleep(0.01)
        return self._latencies_ms[first:last]

    def end(self) -> int:
        """Stop sending; returns how many parts were sent, all of them answered."""
        self._ending.set()
        self._sender.join()
        self._receiver.join()
        if len(self._latencies_ms) != len(self._sent_s):
            raise RuntimeError(f"{len(self._latencies_ms)} answers to {len(self._sent_s)} parts")
        return len(self._sent_s)

    def _send(self) -> None:
        tiles = itertools.cycle([jpeg_tile(number) for number in range(16)])
        due_s = time.perf_counter()
        while not self._ending.wait(max(0.0, due_s - time.perf_counter())):
            self._sent_s.append(time.perf_counter())
            self._camera.send(next(tiles), PixelFormat.JPEG)
            due_s += 1 / _PARTS_PER_S
        self._camera.finish()

    def _receive(self) -> None:
        for _ in self._camera.answers():
            number = len(self._latencies_ms)
            self._latencies_ms.append((time.perf_counter() - self._sent_s[number]) * 1000)


def measure(model: BenchModel, folder: Path, quick: bool) -> Iterator[Row]:
    """Windows of equal length: half of the outage's number before it, all through it, half after the database is back."""
    outage_s = 6.0 if quick else 60.0
    try:
        with postgres_server() as server:
            yield from _run(model, folder, server, outage_s)
    except pytest.skip.Exception as missing:
        raise RuntimeError(f"cannot be measured here: {missing}") from None


def _run(model: BenchModel, folder: Path, server: PostgresServer, outage_s: float) -> Iterator[Row]:
    url, window_s = server.create(), outage_s / _WINDOWS
    with service(folder / "outage", model.bundle.path, cameras=1, database=url) as line:
        load = SteadyLoad(line.target)
        load.window(5.0)  # connections, caches and the database's tables settle
        before = [load.window(window_s) for _ in range(_WINDOWS // 2)]
        server.stop()
        during = [load.window(window_s) for _ in range(_WINDOWS)]
        server.start()
        # Its records waited in the journal; what it costs to store them all at once counts as "after".
        after = [load.window(window_s) for _ in range(_WINDOWS // 2)]
        sent = load.end()
        waited_s = _catch_up(url, sent)
        log = (line.folder / "serve.log").read_text()
    if "records wait in the journal" not in log:
        raise RuntimeError("the service did not notice that its database was away: nothing was measured")
    name = f"PostgreSQL stopped for {outage_s:.0f} s"
    for share in _SHARES:
        yield from _compare(name, share, before + after, during)
    yield Row(f"{name}: verdicts in the database afterwards", sent, "rows", f"= {sent} sent", True, sent)
    yield Row(f"{name}: until all of them were there, after the end of the load", waited_s, "s")


def _compare(name: str, share: float, outside: list[list[float]], inside: list[list[float]]) -> Iterator[Row]:
    """A percentile of each window; noise is how far apart windows with the database lie."""
    with_database = [percentile(window, share) for window in outside]
    without = [percentile(window, share) for window in inside]
    change = statistics.median(without) - statistics.median(with_database)
    noise = max(with_database) - min(with_database)
    label = f"p{share:g}"
    count = sum(map(len, outside)) + sum(map(len, inside))
    yield Row(f"{name}: {label} with the database", statistics.median(with_database), "ms", samples=count)
    yield Row(f"{name}: {label} without", statistics.median(without), "ms", samples=count)
    yield Row(f"{name}: {label} rises by", change, "ms", f"≤ {noise:.2f} ms (noise)", change <= noise, samples=count)


def _catch_up(url: str, count: int) -> float:
    """Seconds until the database holds `count` verdicts."""
    begin = time.monotonic()
    store = Store(url)
    try:
        while (stored := store.last_sequence(LINE)) < count:
            if time.monotonic() - begin > _CATCH_UP_S:
                raise RuntimeError(f"{stored} of {count} verdicts are in the database after {_CATCH_UP_S:.0f} s")
            time.sleep(0.1)
    finally:
        store.close()
    if stored > count:
        raise RuntimeError(f"{stored} verdicts are in the database, {count} parts were sent")
    return time.monotonic() - begin
