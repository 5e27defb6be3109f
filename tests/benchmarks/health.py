"""What camera health costs: processor time of measuring frames of 1.3 megapixels, and of what is done once a minute."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np

from inspector.imaging.health.compare import compare
from inspector.imaging.health.measure import measure as measure_frame
from inspector.imaging.health.reference import build_reference
from inspector.imaging.health.window import KEPT_FRAMES, summarise
from inspector.part import Image
from tests.benchmarks.rows import Row, below

FRAMES_PER_S = 30
_SIZE_PX = (1280, 1024)
# So many different frames that the processor's cache holds none of them when it comes again.
_FRAMES = 48


def measure(_folder: Path, quick: bool) -> Iterator[Row]:
    """On frames with edges, texture and noise; time of this thread's processor, whatever else runs."""
    cv2.setNumThreads(1)
    rounds = 2 if quick else 12
    for name, channels in (("Mono8", 1), ("RGB8", 3)):
        images = [Image(_frame(seed, channels)) for seed in range(_FRAMES)]
        for image in images[:4]:
            measure_frame(image)
        begin = time.thread_time()
        for _ in range(rounds):
            for image in images:
                measure_frame(image)
        each_ms = (time.thread_time() - begin) * 1000 / (rounds * _FRAMES)
        count = rounds * _FRAMES
        yield Row(f"camera health, 1.3 megapixels {name}: measuring a frame", each_ms, "ms", samples=count)
        share = each_ms / 1000 * FRAMES_PER_S * 100
        yield below(f"camera health, 1.3 megapixels {name}: {FRAMES_PER_S} frames/s", share, "% of a core", 5, count)
    yield from _a_minute(rounds)


def _a_minute(rounds: int) -> Iterator[Row]:
    now = datetime.now(UTC)
    images = [Image(_frame(seed, 1)) for seed in range(32)]
    reference = build_reference(summarise([measure_frame(image, probe=True) for image in images], now, now, 32))
    frames = [measure_frame(images[number % len(images)]) for number in range(KEPT_FRAMES)]
    begin = time.thread_time()
    for _ in range(rounds):
        compare(summarise(frames, now, now, len(frames)), reference)
    each_ms = (time.thread_time() - begin) * 1000 / rounds
    yield Row("camera health: summing up and comparing, once a minute", each_ms, "ms", samples=rounds)


def _frame(seed: int, channels: int) -> np.typing.NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    width, height = _SIZE_PX
    picture = np.full((height, width), 70.0, np.float32)
    x, y = rng.integers(200, 500, 2)
    cv2.rectangle(picture, (int(x), int(y)), (int(x) + 500, int(y) + 350), 150.0, -1)
    cv2.circle(picture, (int(x) + 250, int(y) + 170), 60, 100.0, -1)
    picture += rng.standard_normal((height, width), np.float32) * 2
    grey = np.clip(picture, 0, 255).astype(np.uint8)
    return grey if channels == 1 else np.ascontiguousarray(np.repeat(grey[..., None], 3, axis=2))
