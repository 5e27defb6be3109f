"""What the service does as more and more is offered: verdict latency and share judged from 10 % to 300 % of what it can do.

Parts come past four cameras at a steady pace with a little jitter, whatever becomes of those before them, as on a belt. The
clock runs from the moment a part is due, so that a sender that falls behind cannot hide a wait (coordinated omission).
Sender and service share the machine: what the sender takes is part of what is measured.
"""

from __future__ import annotations

import random
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from inspector.part import PixelFormat
from inspector.v1 import inspection_pb2
from tests.benchmarks.line import Camera, service
from tests.benchmarks.model import BenchModel, jpeg_tile
from tests.benchmarks.picture import draw_load
from tests.benchmarks.rows import Row, below, percentile

CAMERAS = 4
BUDGET_MS = 100
LOADS = (10, 25, 50, 70, 80, 90, 100, 110, 125, 150, 200, 250, 300)
# So that a thousandth of the parts is at least one, without a day at the lowest load.
PARTS, LEAST_S, MOST_S = 1000, 12.0, 45.0
JITTER = 0.1
PICTURE = Path("build/load.svg")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one part: when it was due (perf_counter), ms from then to its verdict, whether it was judged, why or why
    not, and whether the verdict came too late.
    """

    due_s: float
    latency_ms: float
    judged: bool
    reason: str
    late: bool


@dataclass(frozen=True, slots=True)
class Level:
    """What happened at one load, in percent of the capacity. Times in ms."""

    load: float
    outcomes: Sequence[Outcome]

    @property
    def share_judged(self) -> float:
        """Of the parts offered."""
        return sum(one.judged for one in self.outcomes) / len(self.outcomes)

    @property
    def late(self) -> int:
        """Parts whose verdict, whichever, came after the budget."""
        return sum(one.late for one in self.outcomes)

    def latency_ms(self, share: float, *, judged: bool) -> float | None:
        """A percentile of the parts that were judged, or of those that were told UNKNOWN; None if there are none."""
        times = [one.latency_ms for one in self.outcomes if one.judged is judged]
        return percentile(times, share) if times else None


def measure(model: BenchModel, folder: Path, quick: bool) -> Iterator[Row]:
    """The capacity first, then each load; the knee is the highest load of which nearly every part is judged."""
    capacity_s = 2.0 if quick else 6.0
    with service(folder / "capacity", model.bundle.path, cameras=CAMERAS) as line:
        capacity_hz = capacity(line.target, CAMERAS, capacity_s)
    yield Row("load: parts/s that the service judges at most, 224-px JPEG, four cameras", capacity_hz, "parts/s")
    levels = []
    with service(folder / "load", model.bundle.path, cameras=CAMERAS, deadline_ms=BUDGET_MS) as line:
        cameras = [Camera(line.target, f"cam{number}") for number in range(1, CAMERAS + 1)]
        streams = [Stream(camera, number) for number, camera in enumerate(cameras)]
        for load in LOADS[::4] if quick else LOADS:
            rate_hz = capacity_hz * load / 100
            seconds = 2.0 if quick else min(MOST_S, max(LEAST_S, PARTS / rate_hz))
            levels.append(Level(load, offer(streams, rate_hz, seconds)))
            yield from _rows(levels[-1])
        for stream in streams:
            stream.close()
    knee = max((level.load for level in levels if level.share_judged >= 0.999), default=0.0)
    yield Row("load: knee, the highest load of which 99.9 % of the parts are judged in time", knee, "% of capacity")
    draw_load(levels, capacity_hz, BUDGET_MS, PICTURE)
    with service(folder / "again", model.bundle.path, cameras=CAMERAS) as line:
        yield again("load", capacity_hz, capacity(line.target, CAMERAS, capacity_s))


def again(name: str, before_hz: float, after_hz: float) -> Row:
    """What the machine can do after a long run, of what it could before: loads are shares of that, and a shared one changes."""
    return Row(f"{name}: capacity afterwards, of that before", 100 * after_hz / before_hz, "%")


def _rows(level: Level) -> Iterator[Row]:
    name, count = f"load {level.load:g} %", len(level.outcomes)
    yield Row(f"{name}: parts judged", 100 * level.share_judged, "%", samples=count)
    for share in (50, 99, 99.9):
        yield Row(f"{name}: judged parts, p{share:g}", level.latency_ms(share, judged=True), "ms", samples=count)
    if level.share_judged < 1:
        for share in (50, 99, 99.9):
            yield Row(
                f"{name}: parts told UNKNOWN, p{share:g}", level.latency_ms(share, judged=False), "ms", samples=count
            )
    late = 100 * level.late / count
    yield below(f"{name}: verdicts that came after the budget of {BUDGET_MS} ms", late, "%", 0, count)


class Stream:
    """One camera's part of the load. A thread reads the answers for as long as the stream is open."""

    def __init__(self, camera: Camera, seed: int) -> None:
        self._camera = camera
        self._chance = random.Random(seed)
        self._tiles = [jpeg_tile(seed * 16 + number) for number in range(16)]
        self._due_s: dict[int, float] = {}
        self.sent_s: dict[int, float] = {}
        """When each part was due (perf_counter, which is CLOCK_MONOTONIC on Linux), by trigger."""
        self._outcomes: list[Outcome] = []
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def run(self, period_s: float, phase_s: float, begin_s: float, end_s: float) -> None:
        """Send a part every `period_s`, jittered, from `begin_s + phase_s` until `end_s` (perf_counter)."""
        due_s = begin_s + phase_s
        while due_s < end_s:
            time.sleep(max(0.0, due_s - time.perf_counter()))
            trigger = self._camera.next_trigger
            with self._changed:
                self._due_s[trigger] = self.sent_s[trigger] = due_s
            self._camera.send(self._tiles[trigger % len(self._tiles)], PixelFormat.JPEG)
            due_s += period_s * (1 + JITTER * self._chance.uniform(-1, 1))

    def take(self, patience_s: float) -> list[Outcome]:
        """All outcomes since the last call, once every part sent has its answer. RuntimeError if one has not by then."""
        with self._changed:
            if not self._changed.wait_for(lambda: not self._due_s, patience_s):
                raise RuntimeError(
                    f"{len(self._due_s)} parts have no verdict {patience_s:.0f} s after the last was sent"
                )
            taken, self._outcomes = self._outcomes, []
            return taken

    def close(self) -> None:
        """End the stream."""
        self._camera.finish()
        self._reader.join()
        self._camera.close()

    def _read(self) -> None:
        for inspection in self._camera.told():
            now_s = time.perf_counter()
            with self._changed:
                due_s = self._due_s.pop(inspection.trigger)
                judged = inspection.verdict != inspection_pb2.VERDICT_UNKNOWN
                reason = inspection_pb2.Reason.Name(inspection.reason).removeprefix("REASON_")
                late = inspection.latency_ms > BUDGET_MS + 1
                self._outcomes.append(Outcome(due_s, (now_s - due_s) * 1000, judged, reason, late))
                self._changed.notify_all()


def offer(streams: Sequence[Stream], rate_hz: float, seconds: float) -> list[Outcome]:
    """Offer `rate_hz` parts a second in all for so long, and wait for every verdict."""
    period_s = len(streams) / rate_hz
    begin_s = time.perf_counter() + 0.05
    threads = [
        threading.Thread(
            target=stream.run, args=(period_s, period_s * place / len(streams), begin_s, begin_s + seconds)
        )
        for place, stream in enumerate(streams)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [outcome for stream in streams for outcome in stream.take(30.0)]


def capacity(target: str, count: int, seconds: float) -> float:
    """Parts/s while each of `count` cameras keeps four frames under way: the median of three runs."""
    cameras = [Camera(target, f"cam{number}") for number in range(1, count + 1)]
    rates = []
    for _ in range(3):
        counts = [0] * count
        end_s = time.perf_counter() + seconds / 3

        def stream(index: int, counts: list[int] = counts, end_s: float = end_s) -> None:
            camera, tiles = cameras[index], [jpeg_tile(index * 16 + number) for number in range(16)]
            for number in range(4):
                camera.send(tiles[number], PixelFormat.JPEG)
            while time.perf_counter() < end_s:
                camera.receive()
                counts[index] += 1
                camera.send(tiles[counts[index] % 16], PixelFormat.JPEG)
            for _ in range(4):
                camera.receive()
                counts[index] += 1

        begin_s = time.perf_counter()
        threads = [threading.Thread(target=stream, args=(index,)) for index in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        rates.append(sum(counts) / (time.perf_counter() - begin_s))
    for camera in cameras:
        camera.close()
    return statistics.median(rates)
