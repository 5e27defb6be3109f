"""What the cameras of a run announced and what they were told, written down as it happens. Thread-safe."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable

from chaos.account import REPLIES, Announced, Key, Told

from inspector.part import Reason, Verdict
from inspector.v1 import inspection_pb2


class Ledger:
    """The harness's own book. The line never sees it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._announced: dict[Key, Announced] = {}
        self._told: list[Told] = []
        self._replied: Counter[Key] = Counter()
        self._unanswered: dict[str, set[int]] = defaultdict(set)
        self._weather: dict[str, frozenset[Reason]] = defaultdict(frozenset)
        self._last: dict[str, tuple[Reason, float]] = {}

    def announce(self, key: Key, kind: str, allowed: Iterable[Reason], *, frames: int) -> None:
        """A new trigger; `frames` is 0 for one whose part goes past without a frame."""
        with self._changed:
            assert key not in self._announced
            reasons = {*allowed, *self._weather[key[0]]}
            self._announced[key] = Announced(kind, reasons, frames, owed=frames, skipped=not frames)
            if frames:
                self._unanswered[key[0]].add(key[1])

    def sent_again(self, key: Key, *, owed: bool) -> None:
        """One more frame with a number that was announced before, which replaces the first or is `owed` a reply too."""
        with self._changed:
            self._announced[key].frames += 1
            self._announced[key].owed += owed

    def skipped(self, key: Key) -> None:
        """Another camera of the station did not see this part, and may be told of it when it goes on."""
        with self._changed:
            self._announced[key].skipped = True

    def weather(self, station: str, reasons: Collection[Reason]) -> None:
        """From now on, until told otherwise, a fault may also give parts such verdicts; so it may those in flight."""
        with self._changed:
            self._weather[station] = frozenset(reasons)
            for trigger in self._unanswered[station]:
                self._announced[station, trigger].allowed.update(reasons)

    def forget(self, key: Key, reason: Reason) -> None:
        """The camera lost this part's reply and does not ask again; if its frame never arrived, `reason` is its verdict."""
        with self._changed:
            self._announced[key].forgotten = True
            self._announced[key].allowed.add(reason)
            self._unanswered[key[0]].discard(key[1])
            self._changed.notify_all()

    def reply(self, message: inspection_pb2.Inspection) -> None:
        """The camera was told."""
        told = told_by(REPLIES, message)
        with self._changed:
            self._told.append(told)
            self._last[told.station] = (told.reason, message.decide_time.seconds + message.decide_time.nanos / 1e9)
            self._replied[told.key] += 1
            self._unanswered[told.station].discard(told.trigger)
            self._changed.notify_all()

    def unanswered(self, station: str) -> list[int]:
        """Triggers whose frames were sent and got no reply at all, ascending."""
        with self._changed:
            return sorted(self._unanswered[station])

    def wait_answered(self, station: str, timeout_s: float, *, at_most: int = 0) -> bool:
        """Wait until no more than `at_most` triggers of the station are unanswered."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self._unanswered[station]) <= at_most, timeout_s)

    def wait_replies(self, key: Key, timeout_s: float) -> bool:
        """Wait until every reply owed for this number has come."""
        with self._changed:
            return self._changed.wait_for(lambda: self._replied[key] >= self._announced[key].owed, timeout_s)

    def reasons(self, station: str, first: int) -> dict[int, Reason]:
        """What the camera was told of the triggers from `first` on."""
        with self._changed:
            return {
                told.trigger: told.reason for told in self._told if told.station == station and told.trigger >= first
            }

    def last_reason(self, station: str) -> Reason | None:
        """What a station's camera was told last."""
        with self._changed:
            return self._last[station][0] if station in self._last else None

    def decided_s(self, station: str) -> float:
        """When, by the service's clock, the verdict fell that a station's camera was told last; in s since 1970, 0 if none."""
        with self._changed:
            return self._last[station][1] if station in self._last else 0.0

    def snapshot(self) -> tuple[dict[Key, Announced], list[Told]]:
        """All that was announced and all replies, for the account."""
        with self._changed:
            return dict(self._announced), list(self._told)


def told_by(output: str, message: inspection_pb2.Inspection) -> Told:
    """An inspection of the API, as the account knows it."""
    return Told(
        output,
        message.station,
        message.trigger,
        message.station_sequence,
        Verdict(message.verdict),
        Reason(message.reason),
        message.sequence,
    )
