"""How long a verdict takes on this machine, by provider, from the file's bytes to the verdict."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from inspector.decision.judge import judge
from inspector.errors import InspectorError
from inspector.inference.bundle import Bundle
from inspector.inference.engine import Engine, available_providers
from inspector.part import Frame
from training.data.reading import Preparation
from training.progress import Progress, silent

RUNS = 200
_LEAST_RUNS = 5
"""Of pictures that take many runs of the graph each."""


@dataclass(frozen=True, slots=True)
class ProviderLatency:
    """Of single images: `model` is the graph alone, `verdict` also decoding, locating, resizing and judging; in ms.

    `problem` says why the provider does not run this bundle here; the figures are then None.
    """

    provider: str
    threads: int
    runs: int
    model_p50_ms: float | None
    model_p99_ms: float | None
    verdict_p50_ms: float | None
    verdict_p99_ms: float | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Latency:
    """Of each provider present; `load` is the number of processes that wanted a core before the measurement."""

    machine: str
    cores: int
    load: float
    providers: tuple[ProviderLatency, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def measure_latency(
    bundle: Bundle, preparation: Preparation, frame: Frame, threads: int, runs: int = RUNS, progress: Progress = silent
) -> Latency:
    """Time `runs` verdicts on one frame with each provider, after warming up."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    names = available_providers()
    results = []
    for number, name in enumerate(names):
        progress("Measuring latency", number, len(names))
        results.append(_measure(bundle, preparation, frame, name, threads, runs))
    progress("Measuring latency", len(names), len(names))
    return Latency(_processor(), os.cpu_count() or 1, load, tuple(results))


def _measure(
    bundle: Bundle, preparation: Preparation, frame: Frame, provider: str, threads: int, runs: int
) -> ProviderLatency:
    try:
        engine = Engine(bundle, provider, threads)
        engine.warm_up()
        if engine.tiles is not None:
            runs = max(min(runs, _LEAST_RUNS), runs // len(engine.tiles.boxes))
        times = np.array([_time_one(engine, preparation, frame) for _ in range(runs)]) * 1000
    except InspectorError as error:
        return ProviderLatency(provider, threads, 0, None, None, None, None, str(error))
    (model_50, verdict_50), (model_99, verdict_99) = np.quantile(times, [0.5, 0.99], axis=0).tolist()
    return ProviderLatency(provider, engine.threads, runs, model_50, model_99, verdict_50, verdict_99)


def _time_one(engine: Engine, preparation: Preparation, frame: Frame) -> tuple[float, float]:
    """Seconds of the graph alone and of the whole way."""
    manifest = engine.bundle.manifest
    started = time.perf_counter()
    image = preparation.image(frame)
    region = preparation.region(image)
    model_input = preparation.model_input(image, region)[None]
    before = time.perf_counter()
    scores = engine.infer(model_input)[0]
    after = time.perf_counter()
    judge(scores, manifest.limits, region, manifest.classes)
    return after - before, time.perf_counter() - started


def _processor() -> str:
    """The processor's own name where the system tells it."""
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
