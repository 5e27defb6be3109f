"""What the line does now, as its service tells it: followed by threads, read by pages.

service ──verdicts, stations──▶ followers (threads) ──▶ LiveLine ──"something changed"──▶ pages
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import grpc

from inspector.part import Inspection, Verdict
from inspector.rpc.follower import Follower, StationFollower
from inspector.signalling.signal import StationReport

RATE_WINDOW_S = 10.0
SILENT_S = 3.0
"""Stations are told once a second; after this long without a word the service counts as lost."""
STRIP, LAST_REJECTS, LATENCIES, RECENT = 60, 12, 1000, 5000


@dataclass(frozen=True, slots=True)
class StationNow:
    """One station as far as it was followed. Rate in parts per second, latencies in ms over the last parts."""

    name: str
    report: StationReport | None
    strip: tuple[Inspection, ...]
    counts: Mapping[Verdict, int]
    rate_hz: float
    p50_ms: float | None
    p99_ms: float | None
    silent_s: float | None

    @property
    def first_pass_yield(self) -> float | None:
        """Share of this shift's parts that passed, None before the first."""
        total = sum(self.counts.values())
        return self.counts.get(Verdict.PASS, 0) / total if total else None


@dataclass(frozen=True, slots=True)
class LineNow:
    """The line at one moment. `lost` says why nothing can be believed of it, empty while the service is heard."""

    stations: tuple[StationNow, ...]
    rejects: tuple[Inspection, ...]
    lost: str
    heard_s: float | None
    alive: bool


@dataclass
class _Station:
    report: StationReport | None = None
    strip: deque[Inspection] = field(default_factory=lambda: deque(maxlen=STRIP))
    counts: Counter[Verdict] = field(default_factory=Counter)
    times_s: deque[float] = field(default_factory=lambda: deque(maxlen=10_000))
    latencies_ms: deque[float] = field(default_factory=lambda: deque(maxlen=LATENCIES))
    last_s: float | None = None


class LiveLine:
    """Follows a line from `follow` to `close`. Thread-safe; `now` only reads memory."""

    def __init__(self, line: str, stations: Sequence[str], monotonic: Callable[[], float] = time.monotonic) -> None:
        self.line = line
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._stations = {name: _Station() for name in stations}
        self._rejects: deque[Inspection] = deque(maxlen=LAST_REJECTS)
        self._told_s: float | None = None
        self._alive, self._service = False, "its address"
        self._away, self._unfollowed = "not reached yet", "not reached yet"
        self.shift: datetime | None = None
        self._recent: deque[Inspection] = deque(maxlen=RECENT)
        self._listeners: dict[int, Callable[[], None]] = {}
        self._followers: tuple[Follower | StationFollower, ...] = ()

    def follow(self, service: str, credentials: grpc.ChannelCredentials | None) -> None:
        """Begin, from threads of their own."""
        self._service = service
        self._followers = (
            StationFollower(service, self.tell_stations, self.tell_away, credentials, gives_up=False),
            Follower(service, self.line, self.tell, self.tell_unfollowed, credentials, gives_up=False),
        )

    def close(self) -> None:
        """Follow no more."""
        for follower in self._followers:
            follower.close()

    # What is told

    def tell(self, inspection: Inspection) -> None:
        """A verdict, just given."""
        with self._lock:
            station = self._stations.setdefault(inspection.station, _Station())
            self._recent.append(inspection)
            station.strip.append(inspection)
            station.counts[inspection.verdict] += 1
            station.last_s = self._monotonic()
            station.times_s.append(station.last_s)
            station.latencies_ms.append(inspection.latency_ms)
            if inspection.verdict is not Verdict.PASS:
                self._rejects.appendleft(inspection)
        self._changed()

    def tell_stations(self, reports: Sequence[StationReport], alive: bool) -> None:
        """All stations; the service says this once a second."""
        with self._lock:
            self._told_s, self._alive = self._monotonic(), alive
            for report in reports:
                self._stations.setdefault(report.reading.name, _Station()).report = report
        self._changed()

    def tell_away(self, state: str) -> None:
        """Why stations are not told, empty if they are."""
        with self._lock:
            self._away = state
        self._changed()

    def tell_unfollowed(self, state: str) -> None:
        """Why verdicts are not told, empty if they are."""
        with self._lock:
            self._unfollowed = state
        self._changed()

    def seed(self, since: datetime, upto: int, counts: Mapping[str, Mapping[Verdict, int]]) -> None:
        """What the records hold of this shift: counts per station of what was received since then, up to the number `upto`.

        Verdicts with higher numbers that were told are counted on top.
        """
        with self._lock:
            for name in counts:
                self._stations.setdefault(name, _Station())
            for name, station in self._stations.items():
                station.counts = Counter(counts.get(name, {}))
            for seen in self._recent:
                if seen.sequence > upto and seen.receive_time >= since:
                    self._stations[seen.station].counts[seen.verdict] += 1
            self.shift = since
        self._changed()

    def remind(self, last: Sequence[Inspection], rejects: Sequence[Inspection]) -> None:
        """What was judged before this program began, oldest first, for the strips and the rejects."""
        with self._lock:
            told = list(self._recent)
            first = told[0].sequence if told else None
            for station in self._stations.values():
                station.strip.clear()
            for seen in [*_before(first, last), *told]:
                self._stations.setdefault(seen.station, _Station()).strip.append(seen)
            self._rejects.clear()
            for seen in [*_before(first, rejects), *(one for one in told if one.verdict is not Verdict.PASS)]:
                self._rejects.appendleft(seen)
        self._changed()

    # What is seen

    def now(self) -> LineNow:
        """The line at this moment."""
        now_s = self._monotonic()
        with self._lock:
            heard_s = None if self._told_s is None else now_s - self._told_s
            stations = tuple(self._station(name, station, now_s) for name, station in sorted(self._stations.items()))
            return LineNow(stations, tuple(self._rejects), self._lost(heard_s), heard_s, self._alive)

    def listen(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Call `changed` whenever something is told, from any thread, so it must return at once; returns how to stop that."""
        with self._lock:
            key = max(self._listeners, default=0) + 1
            self._listeners[key] = changed

        def stop() -> None:
            with self._lock:
                self._listeners.pop(key, None)

        return stop

    def _lost(self, heard_s: float | None) -> str:
        if self._away.startswith("UNAVAILABLE"):
            return f"nobody answers at {self._service}: the line's service does not run, or cannot be reached"
        if self._away:
            return f"the service does not answer: {self._away}"
        if heard_s is None or heard_s > SILENT_S:
            return (
                "the service says nothing" if heard_s is None else f"the service has said nothing for {heard_s:.0f} s"
            )
        return f"its verdicts cannot be followed: {self._unfollowed}" if self._unfollowed else ""

    def _station(self, name: str, station: _Station, now_s: float) -> StationNow:
        while station.times_s and station.times_s[0] < now_s - RATE_WINDOW_S:
            station.times_s.popleft()
        latencies = sorted(station.latencies_ms)
        return StationNow(
            name=name,
            report=station.report,
            strip=tuple(station.strip),
            counts=dict(station.counts),
            rate_hz=len(station.times_s) / RATE_WINDOW_S,
            p50_ms=_ranked(latencies, 0.5),
            p99_ms=_ranked(latencies, 0.99),
            silent_s=None if station.last_s is None else now_s - station.last_s,
        )

    def _changed(self) -> None:
        with self._lock:
            listeners = list(self._listeners.values())
        for changed in listeners:
            changed()


def _before(first: int | None, seen: Sequence[Inspection]) -> list[Inspection]:
    """Those that were not told too, from the number `first` on."""
    return [one for one in seen if first is None or one.sequence < first]


def _ranked(ordered: Sequence[float], share: float) -> float | None:
    """By nearest rank."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None
