"""Every part that the batcher takes is answered exactly once, whatever the model or a callback does."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models import failing_model
from numpy.typing import NDArray
from toys import toy_bundle

from inspector.errors import EngineError, TooLate
from inspector.inference.batching import NICENESS, BatchCounts, Batcher, Device
from inspector.inference.bundle import InputSpec
from inspector.inference.engine import Engine, Model
from inspector.part import Scores

PATIENCE_S = 20


def image(value: int, size: int = 8) -> np.ndarray:
    return np.full((size, size, 1), value, np.uint8)


def never() -> bool:
    return False


class Answers:
    """Collects what `on_done` is called with; waits for a number of answers."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.got: dict[object, list[Scores | EngineError]] = {}

    def of(self, part: object) -> Callable[[Scores | EngineError], None]:
        def on_done(result: Scores | EngineError) -> None:
            with self._changed:
                self.got.setdefault(part, []).append(result)
                self._changed.notify_all()

        return on_done

    def wait(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: sum(map(len, self.got.values())) >= count, PATIENCE_S)

    def score(self, part: object) -> float:
        (result,) = self.got[part]
        assert isinstance(result, Scores)
        return result.score

    def error(self, part: object) -> str:
        (result,) = self.got[part]
        assert isinstance(result, EngineError)
        return str(result)


class GatedEngine:
    """Scores an image as its first pixel; a run starts only when the gate opens. Fails as the test says."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.entered = threading.Semaphore(0)
        self.batches: list[list[int]] = []
        self.poison: dict[int, Exception] = {}

    def infer(self, batch: np.ndarray) -> list[Scores]:
        values = [int(value) for value in batch[:, 0, 0, 0]]
        self.batches.append(values)
        self.entered.release()
        assert self.gate.wait(PATIENCE_S)
        for value in values:
            if value in self.poison:
                raise self.poison[value]
        return [Scores(float(value)) for value in values]

    def wait_entered(self) -> None:
        assert self.entered.acquire(timeout=PATIENCE_S)


@pytest.fixture
def engine() -> GatedEngine:
    return GatedEngine()


@pytest.fixture
def batcher(engine: GatedEngine) -> Iterator[Batcher]:
    batcher = Batcher(engine, max_batch=4, max_waiting=6)
    yield batcher
    engine.gate.set()
    batcher.close()


def test_a_lone_part_is_scored_at_once(tmp_path: Path) -> None:
    batcher = Batcher(Engine(toy_bundle(tmp_path / "toy"), threads=1), max_batch=4, max_waiting=4)
    answers = Answers()
    assert batcher.submit(image(51, 32), answers.of("a"), never)
    answers.wait(1)
    batcher.close()
    assert answers.score("a") == pytest.approx(0.2, abs=1e-4)
    assert batcher.counts == BatchCounts(batches=1, scored=1)


def test_parts_that_arrive_during_a_run_form_the_next_batches(batcher: Batcher, engine: GatedEngine) -> None:
    answers = Answers()
    batcher.submit(image(1), answers.of(1), never)
    engine.wait_entered()
    for value in range(2, 8):
        assert batcher.submit(image(value), answers.of(value), never)
    assert batcher.waiting == 6
    engine.gate.set()
    answers.wait(7)
    assert engine.batches == [[1], [2, 3, 4, 5], [6, 7]]
    assert [answers.score(value) for value in range(1, 8)] == list(range(1, 8))


def test_a_full_queue_says_so_and_calls_nothing(batcher: Batcher, engine: GatedEngine) -> None:
    answers = Answers()
    batcher.submit(image(1), answers.of(1), never)
    engine.wait_entered()
    assert all(batcher.submit(image(2), answers.of(value), never) for value in range(2, 8))
    assert not batcher.submit(image(9), answers.of("refused"), never)
    engine.gate.set()
    answers.wait(7)
    assert "refused" not in answers.got
    assert batcher.submit(image(9), answers.of("later"), never)
    answers.wait(8)


def test_settled_parts_are_dropped_right_before_their_run(batcher: Batcher, engine: GatedEngine) -> None:
    answers = Answers()
    settled = threading.Event()
    batcher.submit(image(1), answers.of(1), settled.is_set)
    engine.wait_entered()
    batcher.submit(image(2), answers.of(2), settled.is_set)
    batcher.submit(image(3), answers.of(3), never)
    settled.set()  # after they were queued; the first runs already and is answered
    engine.gate.set()
    answers.wait(2)
    assert engine.batches == [[1], [3]]
    assert set(answers.got) == {1, 3}
    assert batcher.counts.skipped == 1


def test_nothing_is_run_for_a_batch_of_settled_parts(batcher: Batcher, engine: GatedEngine) -> None:
    answers = Answers()
    engine.gate.set()
    batcher.submit(image(1), answers.of(1), lambda: True)
    batcher.submit(image(2), answers.of(2), never)
    answers.wait(1)
    assert [2] in engine.batches
    assert all(1 not in batch for batch in engine.batches)


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        pytest.param(EngineError("the model said no"), "the model said no", id="engine error"),
        pytest.param(ZeroDivisionError("a bug"), "ZeroDivisionError: a bug", id="a bug in the engine"),
        pytest.param(MemoryError(), "MemoryError", id="out of memory"),
    ],
)
def test_a_poisonous_part_fails_alone(
    batcher: Batcher, engine: GatedEngine, failure: Exception, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    answers = Answers()
    engine.poison[3] = failure
    batcher.submit(image(1), answers.of(1), never)
    engine.wait_entered()
    for value in (2, 3, 4):
        batcher.submit(image(value), answers.of(value), never)
    engine.gate.set()
    answers.wait(4)
    assert [answers.score(value) for value in (1, 2, 4)] == [1, 2, 4]
    assert said in answers.error(3)
    assert engine.batches == [[1], [2, 3, 4], [2], [3], [4]]
    counts = batcher.counts
    assert (counts.scored, counts.failed) == (3, 1)


def test_images_of_other_shapes_fail_alone(tmp_path: Path) -> None:
    model = Model(failing_model(), InputSpec(8, 8, 1), ("a",), threads=1, source="bundle x")
    batcher = Batcher(model, max_batch=8, max_waiting=64)
    answers = Answers()
    inputs = {"good": image(3), "wide": np.zeros((8, 9, 1), np.uint8), "raises": image(255), "also good": image(4)}
    for _ in range(5):
        for name, pixels in inputs.items():
            assert batcher.submit(pixels, answers.of((name, _)), never)
    answers.wait(20)
    batcher.close()
    for (name, _), results in answers.got.items():
        assert len(results) == 1
        assert isinstance(results[0], EngineError) is (name in ("wide", "raises"))


def test_an_engine_that_answers_too_few_is_not_believed(engine: GatedEngine, batcher: Batcher) -> None:
    engine.infer = lambda batch: []  # type: ignore[method-assign]
    answers = Answers()
    batcher.submit(image(1), answers.of(1), never)
    answers.wait(1)
    assert "0 scores for 1 parts" in answers.error(1)


def test_a_callback_that_raises_costs_nobody_else(
    batcher: Batcher, engine: GatedEngine, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: object = None) -> bool:
        raise ValueError("a bug in a caller")

    answers = Answers()
    engine.gate.set()
    batcher.submit(image(1), broken, never)
    batcher.submit(image(2), answers.of(2), broken)
    batcher.submit(image(3), answers.of(3), never)
    answers.wait(2)
    assert (answers.score(2), answers.score(3)) == (2, 3)
    assert batcher.counts.callback_errors == 2
    assert "a bug in a caller" in caplog.text


def test_close_lets_the_running_batch_finish_and_answers_the_rest(batcher: Batcher, engine: GatedEngine) -> None:
    answers = Answers()
    batcher.submit(image(1), answers.of(1), never)
    engine.wait_entered()
    for value in range(2, 8):
        batcher.submit(image(value), answers.of(value), never)
    closing = threading.Thread(target=batcher.close)
    closing.start()
    while batcher.submit(image(9), answers.of("late"), never):  # full at first, then closed: never taken
        pytest.fail("a full or closed batcher took a part")
    engine.gate.set()
    closing.join(PATIENCE_S)
    assert not closing.is_alive()
    assert sum(map(len, answers.got.values())) == 7
    assert answers.score(1) == 1
    assert "late" not in answers.got
    assert not batcher.submit(image(9), answers.of("later"), never)


def test_close_from_a_callback_ends_the_worker(batcher: Batcher, engine: GatedEngine) -> None:
    answers = Answers()
    engine.gate.set()
    batcher.submit(image(1), lambda _: batcher.close(), never)
    batcher.close()
    batcher.close()
    assert not batcher.submit(image(2), answers.of(2), never)


@pytest.mark.parametrize(
    ("max_batch", "max_waiting"), [pytest.param(0, 1, id="no batch"), pytest.param(1, 0, id="no queue")]
)
def test_bounds_are_positive(engine: GatedEngine, max_batch: int, max_waiting: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Batcher(engine, max_batch, max_waiting)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 255), max_size=12), min_size=1, max_size=4),
    st.integers(1, 5),
    st.sets(st.integers(0, 255)),
    st.booleans(),
)
def test_each_part_taken_is_answered_once(
    streams: list[list[int]], max_batch: int, poison: set[int], close_early: bool
) -> None:
    engine = GatedEngine()
    engine.gate.set()
    engine.poison = dict.fromkeys(poison, EngineError("poison"))
    batcher = Batcher(engine, max_batch, max_waiting=1000)
    answers = Answers()
    taken: set[tuple[int, int]] = set()

    def camera(number: int) -> None:
        for trigger, value in enumerate(streams[number]):
            if batcher.submit(image(value), answers.of((number, trigger)), never):
                taken.add((number, trigger))

    cameras = [threading.Thread(target=camera, args=(number,)) for number in range(len(streams))]
    for thread in cameras:
        thread.start()
    if close_early:
        batcher.close()
    for thread in cameras:
        thread.join()
    if not close_early:
        answers.wait(len(taken))
    batcher.close()
    assert set(answers.got) == taken
    for (number, trigger), results in answers.got.items():
        (result,) = results
        value = streams[number][trigger]
        if isinstance(result, Scores):
            assert value not in poison
            assert result.score == value
        else:
            assert value in poison or close_early


def test_models_of_one_device_take_turns_by_deadline() -> None:
    one, other = GatedEngine(), GatedEngine()
    one.gate.set()
    device = Device()
    calm, urgent = (Batcher(engine, 1, 8, device=device) for engine in (other, one))
    answers, order = Answers(), []
    now_s = time.monotonic()

    def note(name: str) -> Callable[[Scores | EngineError], None]:
        def on_done(result: Scores | EngineError) -> None:
            order.append(name)
            answers.of(name)(result)

        return on_done

    calm.submit(image(1), note("first"), never, now_s + 100)
    other.wait_entered()
    calm.submit(image(2), note("calm"), never, now_s + 100)
    urgent.submit(image(3), note("golden"), never)
    urgent.submit(image(3), note("urgent"), never, now_s + 50)
    other.gate.set()
    answers.wait(4)
    calm.close()
    urgent.close()
    device.close()
    assert order == ["first", "urgent", "calm", "golden"]


def test_who_would_be_late_is_told_before_the_deadline() -> None:
    """The model is known to be slow; of three parts that wait, one has time."""
    engine = GatedEngine()
    batcher = Batcher(engine, 1, 8)
    for _ in range(40):
        batcher.times.note(1, 20.0, time.monotonic())
    answers = Answers()
    now_s = time.monotonic()
    batcher.submit(image(1), answers.of("running"), never, now_s + 100)
    engine.wait_entered()
    for name, budget_s in (("hopeless", 15), ("in time", 30), ("hopeless too", 35)):
        batcher.submit(image(2), answers.of(name), never, now_s + budget_s)
    assert not batcher.has_time(now_s + 30)
    assert batcher.has_time(now_s + 200)
    engine.gate.set()
    answers.wait(4)
    batcher.close()
    assert isinstance(answers.got["in time"][0], Scores)
    late = [answers.got[name][0] for name in ("hopeless", "hopeless too")]
    assert all(isinstance(one, TooLate) for one in late)
    assert (batcher.counts.scored, batcher.counts.hopeless, batcher.counts.failed) == (2, 2, 0)


def test_parts_nobody_waits_for_make_nobody_else_late() -> None:
    engine = GatedEngine()
    batcher = Batcher(engine, 1, 8)
    for _ in range(40):
        batcher.times.note(1, 20.0, time.monotonic())
    answers = Answers()
    now_s = time.monotonic()
    batcher.submit(image(1), answers.of("running"), never, now_s + 100)
    engine.wait_entered()
    batcher.submit(image(2), answers.of("rejected by another view"), lambda: True, now_s + 29)
    batcher.submit(image(3), answers.of("in time"), never, now_s + 30)
    engine.gate.set()
    answers.wait(2)
    batcher.close()
    assert answers.score("in time") == 3
    assert (batcher.counts.skipped, batcher.counts.hopeless) == (1, 0)


def test_two_workers_run_two_batches_at_the_same_time() -> None:
    engine = GatedEngine()
    device = Device(workers=2)
    batcher = Batcher(engine, 1, 8, device=device)
    answers = Answers()
    for value in (1, 2):
        batcher.submit(image(value), answers.of(value), never)
        engine.wait_entered()
    engine.gate.set()
    answers.wait(2)
    batcher.close()
    device.close()
    assert sorted(engine.batches) == [[1], [2]]


def test_a_device_has_a_worker() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Device(workers=0)


def test_a_picture_judged_in_many_runs_lets_the_urgent_go_first() -> None:
    device = Device()
    quick = GatedEngine()
    quick.gate.set()
    answers = Answers()
    now_s = time.monotonic()
    order: list[str] = []
    begun, go_on = threading.Event(), threading.Event()

    def judge_until(picture: np.ndarray, is_over: Callable[[], bool]) -> Scores:
        for number in range(3):
            assert not is_over()
            order.append(f"tile {number}")
            begun.set()
            assert go_on.wait(PATIENCE_S)
        return Scores(0.5)

    tiled = Batcher(quick, 1, 8, judge_until=judge_until, device=device)
    urgent = Batcher(quick, 1, 8, device=device)
    tiled.submit(image(1), answers.of("picture"), never, now_s + 100)
    assert begun.wait(PATIENCE_S)

    def answer(result: Scores | EngineError) -> None:
        order.append("urgent")
        answers.of("urgent")(result)

    urgent.submit(image(7), answer, never, now_s + 50)
    urgent.submit(image(8), answers.of("calm"), never, now_s + 200)
    go_on.set()
    answers.wait(3)
    tiled.close()
    urgent.close()
    device.close()
    assert order == ["tile 0", "urgent", "tile 1", "tile 2"]
    assert quick.batches == [[7], [8]]


class Prioritised:
    """An engine that notes the priority of the thread that runs it."""

    def __init__(self) -> None:
        self.priorities: list[int] = []

    def infer(self, batch: NDArray[np.uint8]) -> list[Scores]:
        self.priorities.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        return [Scores(0.0)] * len(batch)


class Placed:
    """An engine that notes on which hardware threads it may run."""

    def __init__(self) -> None:
        self.cores: set[frozenset[int]] = set()

    def infer(self, batch: NDArray[np.uint8]) -> list[Scores]:
        self.cores.add(frozenset(os.sched_getaffinity(0)))
        return [Scores(0.0)] * len(batch)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="threads cannot be kept on a core here")
def test_workers_stay_where_they_are_told_and_nobody_else_does() -> None:
    mine = os.sched_getaffinity(0)
    core = {min(mine)}
    for homes, expected in (([core, core], core), ([{10**4}, {10**4}], mine), ([], mine)):
        engine, scored = Placed(), threading.Event()
        device = Device(2, homes=homes)
        batcher = Batcher(engine, 1, 4, device=device)
        batcher.submit(np.zeros((2, 2, 1), np.uint8), lambda _, done=scored: done.set(), lambda: False)
        assert scored.wait(10)
        batcher.close()
        device.close()
        assert engine.cores == {frozenset(expected)}
    assert os.sched_getaffinity(0) == mine


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priority of their own here")
@pytest.mark.parametrize("gives_way", [True, False])
def test_workers_that_leave_no_core_free_let_others_go_first(gives_way: bool) -> None:
    mine = os.getpriority(os.PRIO_PROCESS, 0)
    engine, scored = Prioritised(), threading.Event()
    device = Device(2, gives_way=gives_way)
    batcher = Batcher(engine, 1, 4, device=device)
    batcher.submit(np.zeros((2, 2, 1), np.uint8), lambda _: scored.set(), lambda: False)
    assert scored.wait(10)
    batcher.close()
    device.close()
    assert engine.priorities == [min(19, mine + NICENESS * gives_way)]
    assert os.getpriority(os.PRIO_PROCESS, 0) == mine, "nobody else is slowed"
