"""`inspector top`: what lines do now, in a terminal. Everything shown is what the service tells any watcher."""

from __future__ import annotations

import math
import threading
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from inspector.part import Inspection, Verdict

WINDOW_S = 10.0
LATENCIES = 1000
LAST_REJECTS = 10
_STYLES = {Verdict.PASS: "green", Verdict.REJECT: "bold red", Verdict.UNKNOWN: "yellow"}


@dataclass
class StationView:
    """One station as far as it was followed. Times on the monotonic clock."""

    cameras: tuple[str, ...] = ()
    verdicts: Counter[Verdict] = field(default_factory=Counter)
    times_s: deque[float] = field(default_factory=lambda: deque(maxlen=10_000))
    latencies_ms: deque[float] = field(default_factory=lambda: deque(maxlen=LATENCIES))
    last_s: float = -math.inf

    def rate_hz(self, now_s: float) -> float:
        """Parts per second over the last `WINDOW_S`."""
        while self.times_s and self.times_s[0] < now_s - WINDOW_S:
            self.times_s.popleft()
        return len(self.times_s) / WINDOW_S


class LineView:
    """What a follower told of one line. May be told and shown from different threads."""

    def __init__(self, name: str, target: str, stations: Iterable[tuple[str, tuple[str, ...]]] = ()) -> None:
        """`stations` are (name, cameras) that are known before they judge anything."""
        self.name, self.target = name, target
        self._lock = threading.Lock()
        self._state = "connecting"
        self._stations = {station: StationView(cameras) for station, cameras in stations}
        self._rejects: deque[Inspection] = deque(maxlen=LAST_REJECTS)

    def tell_state(self, state: str) -> None:
        """Empty: the line is followed; otherwise why it is not."""
        with self._lock:
            self._state = state

    def tell(self, seen: Inspection, now_s: float) -> None:
        """Count one verdict."""
        with self._lock:
            station = self._stations.setdefault(seen.station, StationView())
            if seen.camera not in station.cameras:
                station.cameras = (*station.cameras, seen.camera)
            station.verdicts[seen.verdict] += 1
            station.times_s.append(now_s)
            station.latencies_ms.append(seen.latency_ms)
            station.last_s = now_s
            if seen.verdict is not Verdict.PASS:
                self._rejects.appendleft(seen)

    def view(self, now_s: float) -> RenderableType:
        """The line as a panel."""
        with self._lock:
            tables = Group(self._station_table(now_s), Text(), self._reject_table())
            title = Text.assemble((f" {_plain(self.name)} ", "bold"), (f"{_plain(self.target)} ", "dim"))
            if self._state:
                note = Text(f"not followed: {_plain(self._state)}", style="bold white on red")
                return Panel(Group(note, tables), title=title, border_style="red")
            return Panel(tables, title=title, border_style="green")

    def _station_table(self, now_s: float) -> Table:
        table = Table(box=None, expand=True, padding=(0, 1))
        table.add_column("station")
        table.add_column("camera")
        for name in ("parts/s", "PASS", "REJECT", "UNKNOWN", "p50 ms", "p99 ms", "last"):
            table.add_column(name, justify="right", no_wrap=True)
        for name, station in sorted(self._stations.items()):
            counts = [Text(f"{station.verdicts[verdict]:,}", style=_STYLES[verdict]) for verdict in Verdict]
            latencies = sorted(station.latencies_ms)
            silent_s = now_s - station.last_s
            last = "never" if math.isinf(silent_s) else f"{silent_s:.0f} s ago"
            table.add_row(
                Text(_plain(name)),
                Text(_plain(", ".join(station.cameras))),
                f"{station.rate_hz(now_s):.1f}",
                *counts,
                _percentile(latencies, 0.5),
                _percentile(latencies, 0.99),
                Text(last, style="yellow" if silent_s > WINDOW_S else ""),
            )
        return table

    def _reject_table(self) -> RenderableType:
        if not self._rejects:
            return Text("no rejects since this began", style="dim")
        table = Table(box=None, expand=True, padding=(0, 1))
        for name in ("last rejects", "station", "trigger", "part", "why", "class", "score / limit"):
            table.add_column(name, overflow="ellipsis", no_wrap=True)
        for seen in self._rejects:
            scores = "–"
            if seen.score is not None and seen.limit is not None:
                scores = f"{seen.score:.4g} / {seen.limit:.4g}"
            table.add_row(
                f"#{seen.sequence}",
                Text(_plain(seen.station)),
                str(seen.trigger),
                Text(_plain(seen.part_id) or "–"),
                Text(seen.reason.name, style=_STYLES[seen.verdict]),
                Text(_plain(seen.defect_class) or "–"),
                scores,
            )
        return table


def screen(lines: Sequence[LineView], now_s: float) -> RenderableType:
    """All lines, one below the other."""
    return Group(*(line.view(now_s) for line in lines), Text("counts since this began · Ctrl-C ends", style="dim"))


def _percentile(ordered: Sequence[float], share: float) -> str:
    """By nearest rank."""
    return f"{ordered[max(0, math.ceil(share * len(ordered)) - 1)]:.1f}" if ordered else "–"


def _plain(text: str) -> str:
    """Text from outside must not move the cursor."""
    return "".join(character if character.isprintable() else "?" for character in text)
