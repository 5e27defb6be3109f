"""Which provider runs a bundle on this machine: the fastest of those that give its golden images their recorded scores.

Measuring takes about a second for each provider, so the choice is kept beside the line's data, for exactly this bundle,
machine and set of versions; the golden self-test is run at every start all the same. Where there is one provider nothing is
measured.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import onnxruntime as ort

import inspector
from inspector.errors import InspectorError
from inspector.inference.bundle import Bundle
from inspector.inference.cores import usable_cores
from inspector.inference.engine import Engine, available_providers
from inspector.inference.open_vino import openvino_version
from inspector.inference.self_test import SelfTest

log = logging.getLogger(__name__)

AUTO = "auto"
DEFAULT = "CPU"
MARGIN = 0.9
"""Another provider than the CPU's is taken only if it needs less than this share of its time: no change without a gain."""
_WARM_RUNS, _RUNS = 3, 15
_MAX_KEPT = 64
_MAX_FILE_BYTES = 1 << 20

Prove = Callable[[str], tuple[Engine, SelfTest]]
Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Measured:
    """What a provider needs for one image of the bundle: the median in ms, or why it cannot be used."""

    provider: str
    median_ms: float = float("inf")
    refused: str = ""

    def __str__(self) -> str:
        return f"{self.provider} {self.refused}" if self.refused else f"{self.provider} {self.median_ms:.2f} ms"


def choose_engine(
    bundle: Bundle,
    prove: Prove,
    threads: int = 0,
    kept: Path | None = None,
    *,
    providers: Sequence[str] | None = None,
    clock: Clock = time.perf_counter,
) -> tuple[Engine, SelfTest]:
    """The engine of the fastest provider that passes the golden self-test; `kept` is the file that remembers choices.

    `prove` opens an engine with a provider and self-tests it; what it raises rules that provider out. Ties, and gains of less
    than a tenth, go to the CPU provider. Raises what the CPU provider raised if none passes.
    """
    candidates = list(available_providers() if providers is None else providers)
    candidates.sort(key=lambda name: name != DEFAULT)
    if len(candidates) == 1:
        return prove(candidates[0])
    key = _key(bundle, threads, candidates)
    remembered = _recall(kept, key)
    if remembered in candidates:
        try:
            engine, test = prove(remembered)
        except InspectorError as error:
            log.warning("provider %s was chosen for bundle %s and fails now: %s", remembered, bundle.label, error)
        else:
            log.info("bundle %s runs on %s, chosen at an earlier start", bundle.label, remembered)
            return engine, test
    best, test, table = _measure(prove, candidates, clock)
    log.info("bundle %s runs on %s: %s", bundle.label, best.provider, ", ".join(map(str, table)))
    _remember(kept, key, best.provider, table)
    return best, test


def _measure(prove: Prove, candidates: Sequence[str], clock: Clock) -> tuple[Engine, SelfTest, list[Measured]]:
    """The best engine, and the table of all. Only two engines are ever held in memory."""
    best: tuple[Engine, SelfTest, float] | None = None
    table: list[Measured] = []
    first: InspectorError | None = None
    for provider in candidates:
        try:
            engine, test = prove(provider)
            median_ms = _median_ms(engine, clock)
        except InspectorError as error:
            first = first or error
            table.append(Measured(provider, refused=f"refused ({str(error).splitlines()[0][:200]})"))
            continue
        except Exception as error:
            if provider == "CPU":
                raise
            # A driver can fail in ways of its own, and must not keep the line from starting on the processor.
            log.exception("provider %s failed while it was tried", provider)
            table.append(Measured(provider, refused=f"failed ({type(error).__name__})"))
            continue
        table.append(Measured(provider, median_ms))
        if best is None or median_ms < best[2] * MARGIN:
            best = (engine, test, median_ms)
    if best is None:
        assert first is not None  # there is at least the CPU provider
        raise first
    return best[0], best[1], table


def _median_ms(engine: Engine, clock: Clock) -> float:
    """Median time of one run on noise, after some to warm up."""
    run = engine.run_on_noise()
    times = []
    for _ in range(_WARM_RUNS + _RUNS):
        begin = clock()
        run()
        times.append((clock() - begin) * 1e3)
    return statistics.median(times[_WARM_RUNS:])


def _key(bundle: Bundle, threads: int, candidates: Sequence[str]) -> str:
    """Changes with everything that a measurement depends on."""
    facts = [bundle.digest, threads or usable_cores(), list(candidates), _processor(), platform.release()]
    facts += [inspector.__version__, ort.__version__, openvino_version(), platform.python_version()]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _processor() -> str:
    with suppress(OSError, StopIteration), open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return platform.processor() or platform.machine()


def _recall(kept: Path | None, key: str) -> str:
    """The provider chosen before, or nothing; whatever the file holds, the worst it can do is to measure again."""
    return str(_read(kept).get(key, {}).get("provider", "")) if kept is not None else ""


def _remember(kept: Path | None, key: str, provider: str, table: Sequence[Measured]) -> None:
    if kept is None:
        return
    others = {other: choice for other, choice in _read(kept).items() if other != key}
    newest = dict(list(others.items())[-(_MAX_KEPT - 1) :])
    measured = [str(each) for each in table]
    text = json.dumps({**newest, key: {"provider": provider, "measured": measured}}, indent=1)
    draft = kept.with_name(f".{kept.name}.{os.getpid()}")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(kept)
    except OSError as error:
        log.warning("the choice of a provider cannot be kept in %s (%s): it is measured at every start", kept, error)


def _read(kept: Path) -> dict[str, dict[str, object]]:
    try:
        if kept.stat().st_size > _MAX_FILE_BYTES:
            return {}
        document = json.loads(kept.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(document, dict):
        return {}
    return {key: choice for key, choice in document.items() if isinstance(choice, dict)}
