"""The books of a long run: what every output told of every trigger, held against what the cameras sent."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from chaos.pump import Pump

from inspector.part import Reason, Verdict

Told = tuple[np.ndarray, np.ndarray]
"""Of one station on one output, by trigger: how many verdicts, and the reason of the last."""


@dataclass(frozen=True, slots=True)
class Books:
    """Counts of triggers, by output. `restarted` were in flight when the service was killed, and are UNKNOWN for that."""

    triggers: int
    defective: int
    restarted: int
    lost: dict[str, int] = field(default_factory=dict)
    doubled: dict[str, int] = field(default_factory=dict)
    wrong: dict[str, int] = field(default_factory=dict)
    escaped: dict[str, int] = field(default_factory=dict)
    pictures_stored: int = 0
    pictures_removed: int = 0

    @property
    def are_even(self) -> bool:
        """Whether every output told exactly one verdict of every trigger, the right one."""
        return not any(sum(one.values()) for one in (self.lost, self.doubled, self.wrong, self.escaped))


def close_books(pumps: Sequence[Pump], plc_results: Sequence[Path], database: Path) -> Books:
    """Hold every output against what every camera sent."""
    told = {
        "reply": [(pump.replies, pump.reasons) for pump in pumps],
        "PLC": [_of_plc(results, pump.count) for results, pump in zip(plc_results, pumps, strict=True)],
        "database": _of_database(database, [pump.count for pump in pumps]),
    }
    books = Books(
        triggers=sum(pump.count for pump in pumps),
        defective=sum(int(pump.defective.sum()) for pump in pumps),
        restarted=sum(int((pump.reasons == Reason.SERVICE_RESTARTED).sum()) for pump in pumps),
        **_pictures(database),
    )
    for output, stations in told.items():
        books.lost[output] = books.doubled[output] = books.wrong[output] = books.escaped[output] = 0
        for (counts, reasons), pump in zip(stations, pumps, strict=True):
            # A camera that asked again after the kill may have got a reply to each of its frames.
            most = pump.frames if output == "reply" else np.ones_like(pump.frames)
            books.lost[output] += int((counts[1:] == 0).sum())
            books.doubled[output] += int((counts[1:] > most[1:]).sum())
            books.wrong[output] += int((~_is_right(reasons, pump) & (counts > 0))[1:].sum())
            books.escaped[output] += int((pump.defective & (reasons == Reason.WITHIN_LIMITS)).sum())
    return books


def _pictures(database: Path) -> dict[str, int]:
    with sqlite3.connect(database) as connection:
        stored, removed = connection.execute("SELECT count(*), count(removed_us) FROM pictures").fetchone()
    return {"pictures_stored": int(stored), "pictures_removed": int(removed)}


def _is_right(reasons: np.ndarray, pump: Pump) -> np.ndarray:
    """Whether each trigger's reason is the one of its picture, or was in flight when the service was killed."""
    expected = np.where(pump.defective, Reason.SCORE_ABOVE_LIMIT, Reason.WITHIN_LIMITS)
    return (reasons == expected) | (pump.excused & (reasons == Reason.SERVICE_RESTARTED))


def _of_plc(results: Path, count: int) -> Told:
    """How often a PLC read of each trigger, and the reason that it read last."""
    counts, reasons = np.zeros(count + 1, np.uint32), np.zeros(count + 1, np.uint32)
    with results.open("rb") as file:
        for row in file:
            if row.startswith(b'{"event": "result"'):
                event = json.loads(row)
                counts[event["trigger"]] += 1
                reasons[event["trigger"]] = Reason[event["reason"]]
    return counts, reasons


def _of_database(path: Path, counts_of: Sequence[int]) -> list[Told]:
    """By station."""
    found = [(np.zeros(count + 1, np.uint32), np.zeros(count + 1, np.uint32)) for count in counts_of]
    with sqlite3.connect(path) as database:
        rows = database.execute(
            "SELECT stations.name, trigger, verdict, reason FROM inspections JOIN stations ON stations.id = station_id"
        )
        for name, trigger, verdict, reason in rows:
            counts, reasons = found[int(name.removeprefix("station")) - 1]
            counts[trigger] += 1
            # A verdict that is not its reason's counts as wrong.
            reasons[trigger] = reason if Reason(reason).verdict is Verdict(verdict) else 0
    return found
