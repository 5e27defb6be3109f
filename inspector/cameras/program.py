"""The camera program: shows pictures to the service at a set rate and writes down what was said of them."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inspector import __version__
from inspector.cameras.account import ResultsFile, open_results
from inspector.cameras.client import Answer, CameraClient
from inspector.cameras.connection import ClientTls
from inspector.cameras.pacing import Pacer
from inspector.cameras.sources.folder import Picture
from inspector.ending import call_at_signals
from inspector.errors import ConfigError
from inspector.part import Reason, Verdict

# Without a rate the next part comes as soon as one is answered; a few in flight keep the service busy.
IN_FLIGHT_UNPACED, IN_FLIGHT_PACED = 4, 64
# How long answers are awaited at the end, and how long when the program has been told to end.
ANSWER_TIMEOUT_S, ENDING_TIMEOUT_S = 30.0, 5.0
LOOK_S = 0.1
_NS_PER_MS = 1e6


@dataclass(frozen=True, slots=True)
class CameraRun:
    """What a run gave. Latencies in ms from showing a part to having its verdict, by nearest rank; NaN if there are none.

    `unanswered` counts parts that the service will never tell of, `late` ticks that came visibly late.
    """

    shown: int
    verdicts: Counter[str]
    reasons: Counter[str]
    unanswered: int
    p50_ms: float
    p99_ms: float
    worst_ms: float
    late: int
    worst_late_ms: float
    reconnects: int
    interrupted: bool

    def __str__(self) -> str:
        counts = ", ".join(f"{self.verdicts[v.name]} {v.name}" for v in Verdict)
        text = f"{self.shown} parts shown: {counts}"
        if self.verdicts["UNKNOWN"]:
            reasons = (f"{n} {name}" for name, n in self.reasons.most_common() if name in _UNKNOWN_REASONS)
            text += f" ({', '.join(reasons)})"
        if self.unanswered:
            text += f", {self.unanswered} without an answer"
        text += f"\nlatency p50 {self.p50_ms:.2f} ms, p99 {self.p99_ms:.2f} ms, worst {self.worst_ms:.2f} ms"
        if self.late:
            text += f"\n{self.late} parts came late, by up to {self.worst_late_ms:.1f} ms: the machine is too busy"
        if self.reconnects:
            text += f"\nreconnected {self.reconnects} times"
        return text


_UNKNOWN_REASONS = {reason.name for reason in Reason if reason.verdict is Verdict.UNKNOWN}


def run_camera(
    target: str,
    line: str,
    camera: str,
    pictures: Iterable[Picture],
    *,
    rate_hz: float | None = None,
    count: int | None = None,
    results: Path | None = None,
    max_in_flight: int | None = None,
    stop: threading.Event | None = None,
    tls: ClientTls | None = None,
) -> CameraRun:
    """Show `pictures`, at most `count`, and wait for their verdicts. SIGTERM, Ctrl-C and `stop` end the showing cleanly.

    `results` gets one JSON object per answer: trigger, file, sent_ns, received_ns (both CLOCK_MONOTONIC), verdict, reason,
    score, sequence; without an answer the last four are null and `lost` says why. Raises SessionError if the service
    does not answer or refuses, ConfigError if the results cannot be written.
    """
    if rate_hz is not None and not (math.isfinite(rate_hz) and rate_hz > 0):
        raise ConfigError(f"got a rate of {rate_hz} parts per second, expected more than 0")
    if count is not None and count < 0:
        raise ConfigError(f"got a count of {count} parts, expected 0 or more")
    in_flight = max_in_flight or (IN_FLIGHT_UNPACED if rate_hz is None else IN_FLIGHT_PACED)
    with _ending(stop or threading.Event()) as ending, open_results(results) as out:
        book = _Book(out)
        pacer = None if rate_hz is None else Pacer(rate_hz, ending.wait)
        about = f"inspector camera {__version__}"
        with CameraClient(target, line, camera, book.note, client=about, max_in_flight=in_flight, tls=tls) as client:
            _show(client, pictures, pacer, count, ending, book)
            _await_answers(client, ending)
        return book.run(pacer, client.reconnects, ending.is_set())


def _show(
    client: CameraClient,
    pictures: Iterable[Picture],
    pacer: Pacer | None,
    count: int | None,
    ending: threading.Event,
    book: _Book,
) -> None:
    """Send one picture per tick. At a rate no part waits for room, as none would on a belt."""
    source = iter(pictures)
    ticks = iter(range(1 << 62)) if pacer is None else pacer.ticks()
    # Read ahead of the tick, so that the disk does not make the part late.
    picture = next(source, None) if count != 0 else None
    for number in ticks if picture is not None else ():
        if picture is None or ending.is_set():
            return
        while pacer is None and not client.wait_for_room(LOOK_S):
            if ending.is_set():
                return
        book.show(client, picture)
        picture = next(source, None) if count is None or number + 1 < count else None
        if picture is None:
            return


def _await_answers(client: CameraClient, ending: threading.Event) -> None:
    started_s = time.monotonic()
    while not client.wait_answered(LOOK_S):
        if time.monotonic() - started_s > (ENDING_TIMEOUT_S if ending.is_set() else ANSWER_TIMEOUT_S):
            return


@dataclass(slots=True)
class _Book:
    """Which file was which trigger, and what was said of it. Answers come from the client's threads."""

    out: ResultsFile | None
    lock: threading.Lock = field(default_factory=threading.Lock)
    files: dict[int, Path] = field(default_factory=dict)
    early: list[Answer] = field(default_factory=list)
    shown: int = 0
    lost: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    latencies_ms: list[float] = field(default_factory=list)

    def show(self, client: CameraClient, picture: Picture) -> None:
        """Send a picture. Its answer may come before `send` returns, when no trigger has a file yet."""
        trigger = client.send(picture.frame)
        with self.lock:
            self.shown += 1
            self.files[trigger] = picture.file
            early, self.early = self.early, []
            for answer in early:
                self._enter(answer)

    def note(self, answer: Answer) -> None:
        """Take in one answer."""
        with self.lock:
            if answer.trigger in self.files:
                self._enter(answer)
            else:
                self.early.append(answer)

    def _enter(self, answer: Answer) -> None:
        file = self.files.pop(answer.trigger)
        entry: dict[str, Any] = {"trigger": answer.trigger, "file": str(file), "sent_ns": answer.sent_ns}
        entry["received_ns"] = answer.received_ns
        told = answer.inspection
        if told is None:
            self.lost += 1
            entry |= {"verdict": None, "reason": None, "score": None, "sequence": None, "lost": answer.lost}
        else:
            verdict, reason = Verdict(told.verdict).name, Reason(told.reason).name
            self.verdicts[verdict] += 1
            self.reasons[reason] += 1
            self.latencies_ms.append((answer.received_ns - answer.sent_ns) / _NS_PER_MS)
            score = told.score if told.HasField("score") and math.isfinite(told.score) else None
            entry |= {"verdict": verdict, "reason": reason, "score": score, "sequence": told.sequence}
        if self.out is not None:
            self.out.write(entry)

    def run(self, pacer: Pacer | None, reconnects: int, interrupted: bool) -> CameraRun:
        """The account, when all answers are in."""
        ordered = sorted(self.latencies_ms)
        p50, p99, worst = (
            ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan for share in (0.5, 0.99, 1.0)
        )
        late, worst_late_s = (pacer.late, pacer.worst_late_s) if pacer is not None else (0, 0.0)
        return CameraRun(
            shown=self.shown,
            verdicts=self.verdicts,
            reasons=self.reasons,
            unanswered=self.lost,
            p50_ms=p50,
            p99_ms=p99,
            worst_ms=worst,
            late=late,
            worst_late_ms=worst_late_s * 1000,
            reconnects=reconnects,
            interrupted=interrupted,
        )


@contextmanager
def _ending(stop: threading.Event) -> Iterator[threading.Event]:
    """`stop`, which SIGTERM and Ctrl-C set; a second Ctrl-C interrupts as usual. Signals only reach the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    end = call_at_signals(stop.set, interrupts=stop.is_set)
    try:
        yield stop
    finally:
        end()
