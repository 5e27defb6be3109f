"""Frames of five megapixels through shared memory and as bytes, side by side: from sending to the verdict, without the model.

The model is a toy that takes the mean of its input in some 0.1 ms, so that what is measured is the way there and back; its
time, measured on its own in between, is taken off. *Written in place* is a driver that writes into shared memory while the
camera still transfers, before the frame is sent; *copied* is a program that has the frame elsewhere, whose copy is part of
sending.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inspector.imaging.decode import DecodeLimits, decode
from inspector.imaging.normalise import normalise
from inspector.inference.bundle import Bundle
from inspector.inference.engine import Engine
from inspector.part import Box, Frame, PixelFormat
from tests.benchmarks.latency import Timed
from tests.benchmarks.line import Camera, service
from tests.benchmarks.model import SIZE_PX, mono8_frame
from tests.benchmarks.rows import Row, below
from tests.toys import toy_bundle

WIDTH_PX, HEIGHT_PX = 2592, 1944
_BLOCK = 16
_SHARE_OF_BYTES = 0.1
_NAME = "5-Mpx Mono8"


@dataclass(frozen=True, slots=True)
class _Way:
    """How a frame goes: `send` is timed until it returns, `prepare` before it is not."""

    send: Callable[[], object]
    prepare: Callable[[], object] = lambda: None


def measure(folder: Path, quick: bool) -> Iterator[Row]:
    """The same frames over three streams of one service, in turns."""
    bundle = toy_bundle(folder / "shared-toy", size=SIZE_PX, limit=0.99, with_map=False)
    frames = [mono8_frame(number, WIDTH_PX, HEIGHT_PX) for number in range(4)]
    with service(folder / "shared", bundle.path, cameras=3) as line:
        cameras = [Camera(line.target, "cam1"), *(Camera(line.target, f"cam{n}", shares=True) for n in (2, 3))]
        ways = [_through(cameras[0], frames), _through(cameras[1], frames), _written_there(cameras[2], frames)]
        times = _timed([*ways, _model_alone(bundle), _preprocessing(frames)], rounds=4 if quick else 40)
        for camera in cameras:
            camera.close()
    yield from _rows(*times)


def _through(camera: Camera, frames: Sequence[bytes]) -> _Way:
    following = itertools.cycle(frames)

    def send() -> None:
        camera.send(next(following), PixelFormat.MONO8, WIDTH_PX, HEIGHT_PX)
        camera.receive()

    return _Way(send)


def _written_there(camera: Camera, frames: Sequence[bytes]) -> _Way:
    following = itertools.cycle(frames)
    written: list[memoryview] = []

    def prepare() -> None:
        pixels = camera.reserve(WIDTH_PX * HEIGHT_PX)
        pixels[:] = next(following)
        written.append(pixels)

    def send() -> None:
        camera.send(written.pop(), PixelFormat.MONO8, WIDTH_PX, HEIGHT_PX)
        camera.receive()

    return _Way(send, prepare)


def _model_alone(bundle: Bundle) -> _Way:
    engine, batch = Engine(bundle), np.zeros((1, SIZE_PX, SIZE_PX, 1), np.uint8)
    return _Way(lambda: engine.infer(batch))


def _preprocessing(frames: Sequence[bytes]) -> _Way:
    """What every way has to do: from pixels in memory to the model's input."""
    following, whole = itertools.cycle(frames), Box(0, 0, WIDTH_PX, HEIGHT_PX)

    def see() -> None:
        frame = Frame(1, PixelFormat.MONO8, WIDTH_PX, HEIGHT_PX, 0, next(following))
        normalise(decode(frame, DecodeLimits()), whole, SIZE_PX, SIZE_PX, 1)

    return _Way(see)


def _timed(ways: Sequence[_Way], rounds: int) -> list[Timed]:
    """`_BLOCK` frames of each way in turn; the first of a block warms up and is not counted."""
    blocks: list[list[tuple[float, ...]]] = [[] for _ in ways]
    for number in range(rounds):
        for index in range(len(ways)) if number % 2 == 0 else reversed(range(len(ways))):
            times = []
            for _ in range(_BLOCK + 1):
                ways[index].prepare()
                begin = time.perf_counter()
                ways[index].send()
                times.append((time.perf_counter() - begin) * 1000)
            blocks[index].append(tuple(times[1:]))
    return [Timed(tuple(each)) for each in blocks]


def _rows(as_bytes: Timed, copied: Timed, in_place: Timed, model: Timed, seeing: Timed) -> Iterator[Row]:
    count = len(as_bytes.all_ms)
    for name, way in (("bytes", as_bytes), ("shared, copied", copied), ("shared, written in place", in_place)):
        yield Row(f"{_NAME}, {name}: sent to verdict p50", way.p50, "ms", samples=count)
        yield Row(f"{_NAME}, {name}: sent to verdict p99", way.p99, "ms", samples=count)
    yield Row(f"{_NAME}: the model alone p50", model.p50, "ms", samples=count)
    yield Row(f"{_NAME}: pixels to the model's input p50", seeing.p50, "ms", samples=count, note="in every way")
    for name, way in (("copied", copied), ("written in place", in_place)):
        rest = _share(way, as_bytes, model, seeing)
        note = "without making the model's input, which is the same in every way"
        yield Row(f"{_NAME}, shared, {name} / bytes, the way alone", rest, "×", samples=count, note=note)
        share = _share(way, as_bytes, model)
        yield below(f"{_NAME}, shared, {name} / bytes, without the model", share, "×", _SHARE_OF_BYTES, count)


def _share(way: Timed, as_bytes: Timed, *off: Timed) -> float:
    """The median over neighbouring blocks of the share of medians, the times that are `off` taken from both."""
    shares = []
    for ours, theirs, *others in zip(way.blocks, as_bytes.blocks, *(one.blocks for one in off), strict=True):
        alone = sum(statistics.median(block) for block in others)
        shares.append((statistics.median(ours) - alone) / (statistics.median(theirs) - alone))
    return statistics.median(shares)
