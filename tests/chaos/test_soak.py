"""The books of a long run: what is missing, twice, wrong or growing must be found, or a million triggers prove nothing."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from chaos.pump import Pump
from chaos.soak_books import close_books
from chaos.soak_memory import Sample, growth_of

from inspector.part import Reason

COUNT = 200  # of which 100 and 200 are defective
Told = list[tuple[int, Reason]]


def _right() -> Told:
    return [
        (trigger, Reason.WITHIN_LIMITS if trigger % 100 else Reason.SCORE_ABOVE_LIMIT)
        for trigger in range(1, COUNT + 1)
    ]


def _without(trigger: int) -> Callable[[Told], Told]:
    return lambda told: [one for one in told if one[0] != trigger]


def _instead(trigger: int, reason: Reason) -> Callable[[Told], Told]:
    return lambda told: [(number, reason if number == trigger else said) for number, said in told]


def _same(told: Told) -> Told:
    return told


@pytest.mark.parametrize(
    ("change", "found"),
    [
        pytest.param(_same, {}, id="all is well"),
        pytest.param(_without(7), {"lost": 1}, id="one is missing"),
        pytest.param(lambda told: [*told, told[6]], {"doubled": 1}, id="one twice"),
        pytest.param(_instead(7, Reason.SCORE_ABOVE_LIMIT), {"wrong": 1}, id="a good part rejected"),
        pytest.param(_instead(100, Reason.WITHIN_LIMITS), {"wrong": 1, "escaped": 1}, id="a defective part passed"),
        pytest.param(_instead(7, Reason.SERVICE_RESTARTED), {"wrong": 1}, id="a restart that never was"),
        pytest.param(_instead(9, Reason.SERVICE_RESTARTED), {}, id="in flight when the service was killed"),
        pytest.param(_instead(9, Reason.QUEUE_FULL), {"wrong": 1}, id="in flight, and told something else"),
    ],
)
@pytest.mark.parametrize("output", ["reply", "PLC", "database"])
def test_every_output_is_held_against_what_was_sent(
    tmp_path: Path, output: str, change: Callable[[Told], Told], found: dict[str, int]
) -> None:
    told = {name: change(_right()) if name == output else _right() for name in ("reply", "PLC", "database")}
    pump = Pump("nowhere", "soak", "station1", COUNT)
    pump.excused[9] = True
    pump.frames[1:] = 1
    for trigger, reason in told["reply"]:
        pump.replies[trigger] += 1
        pump.reasons[trigger] = reason
    plc, database = _plc(tmp_path, told["PLC"]), _database(tmp_path, told["database"])

    books = close_books([pump], [plc], database)

    for outcome in ("lost", "doubled", "wrong", "escaped"):
        expected = {"reply": 0, "PLC": 0, "database": 0, output: found.get(outcome, 0)}
        assert getattr(books, outcome) == expected, outcome
    assert books.are_even is (not found)
    assert books.defective == 2


def _plc(folder: Path, told: Told) -> Path:
    path = folder / "plc.jsonl"
    rows = [{"event": "result", "time_ns": 1, "trigger": trigger, "reason": reason.name} for trigger, reason in told]
    path.write_text("".join(json.dumps(row) + "\n" for row in [{"event": "connected"}, *rows, {"event": "summary"}]))
    return path


def _database(folder: Path, told: Told) -> Path:
    path = folder / "quality.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE stations (id, name)")
        database.execute("CREATE TABLE inspections (station_id, trigger, verdict, reason)")
        database.execute("CREATE TABLE pictures (removed_us)")
        database.execute("INSERT INTO stations VALUES (1, 'station1')")
        rows = [(1, trigger, reason.verdict, reason) for trigger, reason in told]
        database.executemany("INSERT INTO inspections VALUES (?, ?, ?, ?)", rows)
    return path


@pytest.mark.parametrize(
    ("leak_mib", "handles", "is_flat"),
    [
        pytest.param(0.0, 0.0, True, id="nothing grows"),
        pytest.param(2.0, 0.0, True, id="within a twentieth"),
        pytest.param(20.0, 0.0, False, id="memory grows"),
        pytest.param(0.0, 50.0, False, id="handles grow"),
    ],
)
def test_what_grows_in_the_last_life_is_found(leak_mib: float, handles: float, is_flat: bool) -> None:
    def sample(at: int) -> Sample:
        share = at / 1000
        return Sample(at, at * 1000, 2, 250.0, 100.0 + leak_mib * share, round(30 + handles * share), 20)

    # The life before it does not count, and neither does its own beginning.
    before = [Sample(at, at, 1, 900.0, 900.0, 900, 900) for at in range(50)]
    warming_up = [Sample(at, at * 1000, 2, 100.0, 50.0, 10, 5) for at in range(100)]

    growth = growth_of([*before, *warming_up, *(sample(at) for at in range(100, 1000))])

    assert growth.is_flat is is_flat
    assert growth.anonymous_mib_per_million == pytest.approx(leak_mib, abs=0.1)
