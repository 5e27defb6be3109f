"""Whether the PLC was told in time that the inspector does not answer, by its own record of its watch over the heartbeat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chaos.account import Fault

# What the tests' PLC lets the heartbeat stand still, and when it must have seen it: a scan that waits for an answer, and
# a machine that is busy with everything else, come on top.
STALE_MS = 500
WATCHDOG_S = 1.0


@dataclass(frozen=True, slots=True)
class Silence:
    """For so long nobody at the other end of the PLC's cable answered. Times of CLOCK_MONOTONIC in ns."""

    kind: str
    began_ns: int
    ended_ns: int

    @property
    def seconds(self) -> float:
        return (self.ended_ns - self.began_ns) / 1e9

    @property
    def must_be_told(self) -> bool:
        """Whether it was long enough that the PLC must have seen it."""
        return self.seconds > WATCHDOG_S


def look(
    silences: Sequence[Silence], events: Mapping[str, Sequence[Mapping[str, object]]]
) -> tuple[list[Fault], dict[str, float]]:
    """What each PLC (by station) did not see in time, and how long it took at most, in ms by kind."""
    faults: list[Fault] = []
    longest_ms: dict[str, float] = {}
    for silence in silences:
        if not silence.must_be_told:
            continue
        for station, told in events.items():
            seen_ns = _stale_since(told, silence)
            if seen_ns is None:
                detail = f"the PLC saw no stale heartbeat in {silence.seconds:.1f} s"
                faults.append(Fault("untold", silence.kind, (station, 0), detail))
                continue
            delay_ms = max(0.0, (seen_ns - silence.began_ns) / 1e6)
            longest_ms[silence.kind] = max(longest_ms.get(silence.kind, 0.0), delay_ms)
            if delay_ms > WATCHDOG_S * 1000:
                detail = f"the PLC saw the stale heartbeat after {delay_ms:.0f} ms"
                faults.append(Fault("untold", silence.kind, (station, 0), detail))
    return faults, longest_ms


def _stale_since(events: Sequence[Mapping[str, object]], silence: Silence) -> int | None:
    """When in a silence the PLC took the inspector for dead; a time before it if it did all along; None if never.

    A beat that was on its way when the silence began may still arrive, and so may the first one before it is over.
    """
    stale_ns: int | None = 0
    for event in events:
        at = event["time_ns"]
        assert isinstance(at, int)
        if at > silence.ended_ns:
            break
        if event["event"] == "heartbeat_stale" and stale_ns is None:
            stale_ns = at
        elif event["event"] == "heartbeat_ok":
            if stale_ns is not None and at > silence.began_ns + WATCHDOG_S * 1e9:
                return stale_ns
            stale_ns = None
    return stale_ns
