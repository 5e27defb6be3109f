"""Rows 1 to 3: the service against the bare loop, one camera and four; its memory and its start."""

from __future__ import annotations

import itertools
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from inspector.part import PixelFormat
from tests.benchmarks.bare import BareLoop
from tests.benchmarks.line import Camera, service
from tests.benchmarks.model import BenchModel, jpeg_tile, mono8_frame
from tests.benchmarks.rows import Row, below, percentile

WIDTH_PX, HEIGHT_PX = 1280, 1024
# Long enough for caches to settle after the turn of the other, short enough that both see the same machine.
_BLOCK = 16
_CAMERAS, _IN_FLIGHT = 4, 4

Step = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Timed:
    """Milliseconds per call of one contestant, in blocks that alternated with those of the others."""

    blocks: tuple[tuple[float, ...], ...]

    @property
    def all_ms(self) -> list[float]:
        return list(itertools.chain.from_iterable(self.blocks))

    @property
    def p50(self) -> float:
        """Median of the medians of the blocks: a burst of other work on the machine weighs as one block."""
        return statistics.median(statistics.median(block) for block in self.blocks)

    @property
    def p99(self) -> float:
        return percentile(self.all_ms, 99)


def interleaved(steps: Sequence[Step], rounds: int, block: int = _BLOCK) -> list[Timed]:
    """Time each step in turn, `block` calls at a time; the first call of a block warms up and is not counted."""
    blocks: list[list[tuple[float, ...]]] = [[] for _ in steps]
    for round_number in range(rounds):
        # Who goes first changes, so that a drift of the machine favours nobody.
        order = range(len(steps)) if round_number % 2 == 0 else reversed(range(len(steps)))
        for index in order:
            steps[index]()
            times = []
            for _ in range(block):
                begin = time.perf_counter()
                steps[index]()
                times.append((time.perf_counter() - begin) * 1000)
            blocks[index].append(tuple(times))
    return [Timed(tuple(each)) for each in blocks]


def excess(service_times: Timed, bare: Timed) -> float:
    """Milliseconds by which the service is slower: the median over neighbouring blocks of the difference of medians."""
    pairs = zip(service_times.blocks, bare.blocks, strict=True)
    return statistics.median(statistics.median(ours) - statistics.median(theirs) for ours, theirs in pairs)


def ratio(service_times: Timed, bare: Timed) -> float:
    """How many times slower the service is, by pairs of neighbouring blocks."""
    pairs = zip(service_times.blocks, bare.blocks, strict=True)
    return statistics.median(statistics.median(ours) / statistics.median(theirs) for ours, theirs in pairs)


def measure(model: BenchModel, folder: Path, quick: bool) -> Iterator[Row]:
    """A line of one camera, which has all cores for each part, and one of several, which is then asked for its memory."""
    bare = BareLoop(model)
    with service(folder / "lone", model.bundle.path, cameras=1) as line:
        camera = Camera(line.target)
        yield from _jpeg(bare, BareLoop(model, spinning=True), camera, rounds=4 if quick else 40)
        yield from _mono8(bare, camera, rounds=4 if quick else 30)
        camera.close()
    with service(folder / "latency", model.bundle.path, cameras=_CAMERAS) as line:
        yield from _saturated(bare, line.target, rounds=2 if quick else 8, window_s=1.0 if quick else 3.0)
        yield below("service resident memory after the runs above", line.resident_mib, "MiB", 350, 1)
    yield from _ready(model, folder, starts=1 if quick else 5)


def _jpeg(bare: BareLoop, spinning: BareLoop, camera: Camera, rounds: int) -> Iterator[Row]:
    tiles = itertools.cycle([jpeg_tile(number) for number in range(16)])
    inner: list[float] = []

    def through_service() -> None:
        camera.send(next(tiles), PixelFormat.JPEG)
        inner.append(camera.receive().latency_ms)

    ours, theirs, same, spun = interleaved(
        [
            through_service,
            lambda: bare.jpeg(next(tiles)),
            lambda: bare.jpeg_uint8(next(tiles)),
            lambda: spinning.jpeg(next(tiles)),
        ],
        rounds,
    )
    count = len(ours.all_ms)
    name = "224-px JPEG, one camera"
    yield Row(f"{name}: bare loop p50", theirs.p50, "ms", samples=count)
    yield Row(f"{name}: bare loop p99", theirs.p99, "ms", samples=count)
    yield Row(f"{name}: bare loop on the uint8 graph p50", same.p50, "ms", samples=count)
    yield Row(f"{name}: bare loop with spinning threads p50", spun.p50, "ms", samples=count)
    yield Row(f"{name}: service p50", ours.p50, "ms", samples=count)
    yield Row(f"{name}: service p99", ours.p99, "ms", samples=count)
    yield Row(f"{name}: service, receipt to verdict p50", statistics.median(inner), "ms", samples=count)
    yield below(f"{name}: service p50 above the bare loop", excess(ours, theirs), "ms", 0.5, count)
    yield Row(f"{name}: service p50 above the uint8 graph", excess(ours, same), "ms", samples=count)
    yield Row(f"{name}: service p50 / bare loop", ratio(ours, theirs), "×", samples=count)


def _mono8(bare: BareLoop, camera: Camera, rounds: int) -> Iterator[Row]:
    frames = itertools.cycle([mono8_frame(number, WIDTH_PX, HEIGHT_PX) for number in range(4)])

    def through_service() -> None:
        camera.send(next(frames), PixelFormat.MONO8, WIDTH_PX, HEIGHT_PX)
        camera.receive()

    ours, theirs, same = interleaved(
        [
            through_service,
            lambda: bare.mono8(next(frames), WIDTH_PX, HEIGHT_PX),
            lambda: bare.mono8_uint8(next(frames), WIDTH_PX, HEIGHT_PX),
        ],
        rounds,
    )
    count = len(ours.all_ms)
    name = "1.3-Mpx Mono8, one camera"
    yield Row(f"{name}: bare loop p50", theirs.p50, "ms", samples=count)
    yield Row(f"{name}: bare loop p99", theirs.p99, "ms", samples=count)
    yield Row(f"{name}: service p50", ours.p50, "ms", samples=count)
    yield Row(f"{name}: service p99", ours.p99, "ms", samples=count)
    yield below(f"{name}: service p50 / bare loop", ratio(ours, theirs), "×", 1.25, count)
    yield Row(f"{name}: service p50 / uint8 graph", ratio(ours, same), "×", samples=count)


def _saturated(bare: BareLoop, target: str, rounds: int, window_s: float) -> Iterator[Row]:
    frames = [mono8_frame(number, WIDTH_PX, HEIGHT_PX) for number in range(_CAMERAS)]
    service_rates, bare_rates = [], []
    cameras = [Camera(target, f"cam{number + 1}") for number in range(_CAMERAS)]
    for _ in range(rounds):
        service_rates.append(_service_rate(cameras, frames, window_s))
        bare_rates.append(_bare_rate(bare, frames, window_s))
    for camera in cameras:
        camera.close()
    name = "1.3-Mpx Mono8, four cameras saturating"
    shares = [100 * ours / theirs for ours, theirs in zip(service_rates, bare_rates, strict=True)]
    yield Row(f"{name}: bare loop", statistics.median(bare_rates), "frames/s", samples=rounds)
    yield Row(f"{name}: service", statistics.median(service_rates), "frames/s", samples=rounds)
    yield below(f"{name}: service / bare loop", statistics.median(shares), "%", 90, rounds, at_least=True)


def _bare_rate(bare: BareLoop, frames: Sequence[bytes], window_s: float) -> float:
    count, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < window_s:
        bare.mono8(frames[count % len(frames)], WIDTH_PX, HEIGHT_PX)
        count += 1
    return count / (time.perf_counter() - begin)


def _service_rate(cameras: Sequence[Camera], frames: Sequence[bytes], window_s: float) -> float:
    """Frames/s answered while every camera keeps `_IN_FLIGHT` frames under way."""
    end = time.perf_counter() + window_s
    answered = [0] * len(cameras)
    failures: list[BaseException] = []

    def stream(index: int) -> None:
        try:
            camera, frame = cameras[index], frames[index]
            for _ in range(_IN_FLIGHT):
                camera.send(frame, PixelFormat.MONO8, WIDTH_PX, HEIGHT_PX)
            while time.perf_counter() < end:
                camera.receive()
                answered[index] += 1
                camera.send(frame, PixelFormat.MONO8, WIDTH_PX, HEIGHT_PX)
            for _ in range(_IN_FLIGHT):
                camera.receive()
        except (RuntimeError, StopIteration) as error:
            failures.append(error)

    begin = time.perf_counter()
    threads = [threading.Thread(target=stream, args=(index,)) for index in range(len(cameras))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise RuntimeError(f"a camera stream failed: {failures[0]}") from failures[0]
    # Everything sent was answered before the clock stopped, the frames of the tail included.
    return (sum(answered) + _IN_FLIGHT * len(cameras)) / (time.perf_counter() - begin)


def _ready(model: BenchModel, folder: Path, starts: int) -> Iterator[Row]:
    fresh: list[float] = []
    again: list[float] = []
    for number in range(starts):
        for times in (fresh, again):
            with service(folder / f"start{number}", model.bundle.path) as line:
                times.append(line.ready_s)
    yield below("start of the process to SERVING, new line", statistics.median(fresh), "s", 3, starts)
    yield below("start of the process to SERVING, restart", statistics.median(again), "s", 3, starts)
