"""What one camera of the camera program has done so far: what was taken and lost, what the service said, how long it took."""

from __future__ import annotations

import json
import logging
import math
import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from inspector.cameras.client import Answer
from inspector.cameras.ledger import MAX_UNANSWERED
from inspector.cameras.sources.source import Grab, Lost
from inspector.errors import ConfigError
from inspector.part import Reason, Verdict

log = logging.getLogger(__name__)

# Of so many parts the latency is known; older ones are forgotten.
_RECENT = 4096
_NS_PER_MS = 1e6


class ResultsFile:
    """One JSON object per answer, of all cameras, written line by line. A disk without room stops no camera.

    `left_out` counts the answers that could not be written when they came.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._lock = threading.Lock()
        self._is_failing = False
        self.left_out = 0

    def write(self, entry: dict[str, Any]) -> None:
        """Never raises: the first of several failures is logged, and how many there were when it goes on."""
        with self._lock:
            try:
                self._out.write(json.dumps(entry) + "\n")
            except OSError as error:
                self.left_out += 1
                self._fails(error)
                return
            if self._is_failing:
                self._is_failing = False
                log.warning("results are written again; %d were left out so far", self.left_out)

    def close(self) -> None:
        """Never raises either."""
        with self._lock:
            try:
                self._out.close()
            except OSError as error:
                self._fails(error)
            if self.left_out:
                log.error("%d results were left out of the file in all; the service has them on record", self.left_out)

    def _fails(self, error: OSError) -> None:
        if not self._is_failing:
            name = getattr(self._out, "name", "their file")
            log.error(
                "results cannot be written to %s (%s), and are left out until they can: make room there; the cameras go on",
                name,
                error.strerror or error,
            )
        self._is_failing = True


@contextmanager
def open_results(path: Path | None) -> Iterator[ResultsFile | None]:
    """The results file, new, written line by line so that others may follow it. Raises ConfigError."""
    if path is None:
        yield None
        return
    try:
        file = path.open("w", encoding="utf-8", buffering=1)
    except OSError as error:
        raise ConfigError(f"results cannot be written to {path} ({error.strerror}): name another file") from error
    results = ResultsFile(file)
    try:
        yield results
    finally:
        results.close()


@dataclass(slots=True)
class Account:
    """Counts of one camera since the program started. Answers come from the client's threads, the rest from the camera's own.

    `taken` are frames, `lost` parts that were announced without one, `crowded_out` frames that were not sent because the
    service was slower than the camera, `unanswered` parts that the service will never tell of, `faults` failures of the source.
    `state` says in a few words what the camera does now, `trouble` what keeps it from streaming.
    """

    camera: str
    out: ResultsFile | None = None
    state: str = "waits for the service"
    trouble: str = ""
    taken: int = 0
    taken_bytes: int = 0
    lost: int = 0
    crowded_out: int = 0
    unanswered: int = 0
    faults: int = 0
    reconnects: int = 0
    waiting: int = 0
    uncertainty_ms: float | None = None
    verdicts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    latencies_ms: deque[float] = field(default_factory=lambda: deque(maxlen=_RECENT))
    lock: threading.Lock = field(default_factory=threading.Lock)
    _origins: OrderedDict[int, str] = field(default_factory=OrderedDict)
    _early: list[Answer] = field(default_factory=list)

    def show(self, trigger: int, grab: Grab) -> None:
        """A part was sent, or announced as lost. Its answer may have come already."""
        with self.lock:
            if isinstance(grab, Lost):
                self.lost += grab.count
                first = trigger - grab.count + 1
            else:
                self.taken += 1
                self.taken_bytes += len(grab.frame.data)
                self.uncertainty_ms = grab.uncertainty_ms
                first = trigger
            for number in range(first, trigger + 1):
                self._origins[number] = grab.origin
            while len(self._origins) > MAX_UNANSWERED:
                self._origins.popitem(last=False)
            early, self._early = self._early, []
            for answer in early:
                self._enter(answer)

    def note(self, answer: Answer) -> None:
        """Take in one answer."""
        with self.lock:
            if answer.trigger in self._origins:
                self._enter(answer)
            else:
                self._early.append(answer)

    def _enter(self, answer: Answer) -> None:
        entry: dict[str, Any] = {"camera": self.camera, "trigger": answer.trigger}
        entry |= {"origin": self._origins.pop(answer.trigger, ""), "sent_ns": answer.sent_ns}
        entry["received_ns"] = answer.received_ns
        told = answer.inspection
        if told is None:
            self.unanswered += 1
            entry |= {"verdict": None, "reason": None, "detail": answer.lost, "score": None, "sequence": None}
        else:
            verdict, reason = Verdict(told.verdict).name, Reason(told.reason).name
            self.verdicts[verdict] += 1
            self.reasons[reason] += 1
            self.latencies_ms.append((answer.received_ns - answer.sent_ns) / _NS_PER_MS)
            score = told.score if told.HasField("score") and math.isfinite(told.score) else None
            entry |= {"verdict": verdict, "reason": reason, "detail": told.detail, "score": score}
            entry["sequence"] = told.sequence
        if self.out is not None:
            self.out.write(entry)

    def percentile_ms(self, share: float) -> float:
        """Latency from showing a part to having its verdict, of the last parts, by nearest rank; NaN if there are none."""
        with self.lock:
            ordered = sorted(self.latencies_ms)
        return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan

    def __str__(self) -> str:
        with self.lock:
            counts = ", ".join(f"{self.verdicts[v.name]} {v.name}" for v in Verdict)
            unknown = [
                f"{n} {name}" for name, n in self.reasons.most_common() if Reason[name].verdict is Verdict.UNKNOWN
            ]
            text = f"{self.camera}: {self.taken} frames and {self.lost} lost: {counts}"
            text += f" ({', '.join(unknown)})" if unknown else ""
            for count, what in (
                (self.unanswered, "without an answer"),
                (self.crowded_out, "not sent, the service was slower"),
                (self.reconnects, "reconnects to the service"),
                (self.faults, "faults of the source"),
            ):
                text += f", {count} {what}" if count else ""
        p50, p99 = self.percentile_ms(0.5), self.percentile_ms(0.99)
        text += f"; latency p50 {p50:.2f} ms, p99 {p99:.2f} ms"
        return f"{text}\n  {self.trouble}" if self.trouble else text
