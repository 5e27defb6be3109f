"""Earliest deadline first; who would be late is told at once, and nobody else is late because of it."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.inference.schedule import RESERVE_S, RunTimes, Schedule, Waiting

EVER = float("inf")


def ahead_of(schedule: Schedule[Toy, int], one: Waiting[Toy, int]) -> list[Waiting[Toy, int]]:
    """Those still waiting who come before one that was taken out."""
    return [other for other in schedule._waiting if other.order < one.order]


def steady(*times_s: float) -> RunTimes:
    """Run times of batches of 1, 2, …, known so well that nothing is added for doubt."""
    times = RunTimes()
    for size, seconds in enumerate(times_s, start=1):
        for _ in range(80):
            times.note(size, seconds, 0.0)
    return times


@dataclass(eq=False)
class Toy:
    times: RunTimes = field(default_factory=RunTimes)
    max_batch: int = 1
    gives_way: bool = False


@pytest.mark.parametrize(
    ("notes", "size", "expected_s"),
    [
        pytest.param([], 1, 0.0, id="nothing known: nobody is refused"),
        pytest.param([(1, 0.010)], 1, 0.020, id="one run is no certainty: its half again is the deviation, twice"),
        pytest.param([(1, 0.010)] * 80, 1, 0.010, id="many equal ones are"),
        pytest.param([(1, 0.010)] * 80, 4, 0.040, id="four at once, never run, take four times one"),
        pytest.param([(1, 0.020)] * 80 + [(4, 0.024)] * 80, 2, 0.024, id="two at once take no longer than four"),
        pytest.param([(1, 0.010)] * 80 + [(4, 0.500)], 3, 0.030, id="nor than twice one and one"),
    ],
)
def test_run_times_are_expected_with_doubt(notes: list[tuple[int, float]], size: int, expected_s: float) -> None:
    times = RunTimes()
    for note in notes:
        times.note(*note, 0.0)
    assert times.expect_s(size, 0.0) == pytest.approx(expected_s, rel=1e-3)


def test_what_a_part_adds_is_its_share_of_the_cheapest_run() -> None:
    assert steady(0.010, 0.016).part_s(0.0) == pytest.approx(0.008, rel=1e-3)
    assert RunTimes().part_s(0.0) == 0.0


def test_parts_that_wait_count_by_the_mean_so_that_doubt_is_not_added_up() -> None:
    times = RunTimes()
    for seconds in (0.010, 0.030) * 40:
        times.note(1, seconds, 0.0)
    assert times.part_s(0.0) == pytest.approx(0.020, rel=0.1)
    assert times.expect_s(1, 0.0) > 0.035
    schedule: Schedule[Toy, str] = Schedule()
    model = Toy(times)
    for number in range(4):
        schedule.add(model, 0.1, str(number))
    # A worker is free after 40 ms; four before it take 80 ms in all likelihood, and it 40 at most.
    assert schedule.has_time(model, 0.175, 0.0, [0.040])
    assert not schedule.has_time(model, 0.150, 0.0, [0.040])


def test_a_model_that_became_fast_again_is_believed_soon() -> None:
    times = steady(0.010)
    times.note(1, 0.500, 0.0)
    assert 0.012 < times.expect_s(1, 0.0) < 0.04, "a pause of the machine is not how long the model takes"
    for _ in range(8):
        times.note(1, 0.010, 0.0)
    assert times.expect_s(1, 0.0) < 0.018


def test_a_model_that_is_never_run_is_not_refused_for_ever() -> None:
    """It was slow once, and the worker before it is always busy with another's part."""
    busy, slow = Toy(steady(0.080)), Toy(RunTimes())
    slow.times.note(1, 0.080, 0.0)
    schedule: Schedule[Toy, str] = Schedule()
    for _ in range(40):
        busy.times.note(1, 0.080, 5.0)
    assert not schedule.has_time(slow, 0.230, 0.0, [0.075])
    assert schedule.has_time(slow, 5.230, 5.0, [5.075])
    schedule.add(busy, 5.2, "busy")
    schedule.add(slow, 5.25, "slow")
    turn = schedule.next_turn(5.0)
    assert [one.item for one in (*turn.batch, *turn.hopeless)] == ["busy"]
    assert len(schedule) == 1


def test_the_earliest_deadline_is_first_whoever_came_first() -> None:
    slow, fast = Toy(steady(0.01)), Toy(steady(0.01))
    schedule: Schedule[Toy, str] = Schedule()
    for judge, deadline_s, item in [(slow, 9.0, "c"), (fast, 5.0, "a"), (slow, 5.0, "b"), (fast, EVER, "d")]:
        schedule.add(judge, deadline_s, item)
    turns = [schedule.next_turn(0.0) for _ in range(4)]
    assert ["".join(one.item for one in turn.batch) for turn in turns] == ["a", "b", "c", "d"]
    assert schedule.next_turn(0.0).batch == []


@pytest.mark.parametrize(
    ("waiting", "batch", "hopeless"),
    [
        pytest.param("A1.000 A1.000 A1.000", "AA", "", id="time enough: as many as a run takes"),
        pytest.param("A0.012 A1.000", "A", "", id="the company would make the first late"),
        pytest.param("A1.000 B0.030 A1.000", "B", "", id="another's turn comes first"),
        pytest.param("A0.030 B0.033 A1.000", "A", "", id="the company would make the one between late"),
        pytest.param("A0.030 B0.050 A1.000", "AA", "", id="the one between has time for that"),
        pytest.param("A0.005 A0.030", "A", "A", id="late already: the next is judged instead"),
        pytest.param("A0.005", "A", "", id="late, and nobody else waits: it is tried"),
        pytest.param("A0.005 A0.006", "A", "A", id="all late: the one with most time left is tried"),
        pytest.param(
            "A0.012 A0.013 A0.030", "A", "A", id="the second would be late after the first, the third would not"
        ),
    ],
)
def test_a_run_is_filled_as_long_as_nobody_is_late(waiting: str, batch: str, hopeless: str) -> None:
    """Runs of A take 10 ms for one part and 18 for two, those of B 15 ms."""
    judges = {"A": Toy(steady(0.010, 0.018), max_batch=2), "B": Toy(steady(0.015))}
    schedule: Schedule[Toy, str] = Schedule()
    for word in waiting.split():
        schedule.add(judges[word[0]], float(word[1:]), word[0])
    turn = schedule.next_turn(0.0)
    assert "".join(one.item for one in turn.batch) == batch
    assert "".join(one.item for one in turn.hopeless) == hopeless


@pytest.mark.parametrize(
    ("waiting", "free_s", "deadline_s", "has_time"),
    [
        pytest.param([], [0.0], 0.001, True, id="an idle worker takes any part, to learn whether it is still so slow"),
        pytest.param([], [0.004], 0.016, True, id="after the run that goes on"),
        pytest.param([], [0.004], 0.014, False, id="not in time after that"),
        pytest.param([1.0, 1.0], [0.0], 0.012, True, id="others wait, but for later"),
        pytest.param([0.01, 0.02], [0.0], 0.032, True, id="after two that are more urgent"),
        pytest.param([0.01, 0.02], [0.0], 0.030, False, id="too late after them"),
        pytest.param([0.01, 0.02], [0.0, 0.0], 0.022, True, id="two workers share them"),
    ],
)
def test_a_part_is_taken_only_if_its_turn_comes_in_time(
    waiting: list[float], free_s: list[float], deadline_s: float, has_time: bool
) -> None:
    """Runs take 10 ms."""
    judge = Toy(steady(0.010))
    schedule: Schedule[Toy, int] = Schedule()
    for one in waiting:
        schedule.add(judge, one, 0)
    assert schedule.has_time(judge, deadline_s, 0.0, free_s) is has_time


def test_only_the_more_urgent_stop_a_run() -> None:
    quick, tiled = Toy(steady(0.01)), Toy(steady(0.2), gives_way=True)
    schedule: Schedule[Toy, str] = Schedule()
    schedule.add(quick, 3.0, "as urgent")
    assert schedule.urgent_turn(0.0, than_s=3.0).batch == []
    schedule.add(tiled, 1.0, "stops too")
    assert schedule.urgent_turn(0.0, than_s=3.0).batch == []
    schedule.add(quick, 0.5, "urgent")
    assert [one.item for one in schedule.urgent_turn(0.0, than_s=3.0).batch] == ["urgent"]
    assert len(schedule) == 2


@given(
    st.lists(st.tuples(st.integers(0, 400), st.integers(1, 200), st.booleans()), max_size=40),
    st.integers(1, 4),
    st.sampled_from([(0.010, 0.010), (0.010, 0.030), (0.003, 0.050)]),
)
def test_whoever_is_run_is_in_time_and_everybody_is_answered(
    arrivals: list[tuple[int, int, bool]], max_batch: int, costs_s: tuple[float, float]
) -> None:
    """A worker whose runs take exactly what was expected, before arrivals of (ms, budget in ms, which model)."""
    judges = [Toy(steady(*(cost * (1 + 0.8 * n) for n in range(max_batch))), max_batch) for cost in costs_s]
    schedule: Schedule[Toy, int] = Schedule()
    todo = sorted((at / 1000, budget / 1000, which, n) for n, (at, budget, which) in enumerate(arrivals))
    now_s, run, told = 0.0, [], []
    while todo or len(schedule):
        if not len(schedule):
            now_s = max(now_s, todo[0][0])
        while todo and todo[0][0] <= now_s:
            at_s, budget_s, which, number = todo.pop(0)
            schedule.add(judges[which], at_s + budget_s, number)
        waiting = len(schedule)
        turn = schedule.next_turn(now_s)
        told += [one.item for one in turn.hopeless]
        for one in turn.hopeless:
            earlier = [other for other in turn.batch if other.order < one.order]
            work_s = sum(other.judge.times.part_s(now_s) for other in (*earlier, *ahead_of(schedule, one)))
            alone_s = one.judge.times.expect_s(1, now_s)
            assert now_s + work_s + alone_s + RESERVE_S > one.deadline_s - 1e-9, "it would have been in time"
        now_s += turn.batch[0].judge.times.expect_s(len(turn.batch), 0.0)
        run += [one.item for one in turn.batch]
        tried_alone = len(turn.hopeless) == waiting - 1
        assert tried_alone or all(now_s <= one.deadline_s - RESERVE_S + 1e-9 for one in turn.batch)
    assert sorted(run + told) == list(range(len(arrivals)))
