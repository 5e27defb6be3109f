"""Takes model inputs from all cameras, scores them in the order of their deadlines, and answers each part exactly once."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from inspector.errors import EngineError, Interrupted, TooLate
from inspector.inference.schedule import RunTimes, Schedule, Turn
from inspector.part import Scores

log = logging.getLogger(__name__)

OnDone = Callable[[Scores | EngineError], None]
JudgeUntil = Callable[[NDArray[np.uint8], Callable[[], bool]], Scores]
"""Scores one picture, uint8 (h, w, c), in many runs; raises Interrupted once the function says that nobody waits for it."""

FOR_EVER = float("inf")

NICENESS = 3
"""Of a thread that runs models beside another; DECISIONS.md says what was measured."""


class InferringEngine(Protocol):
    """What the batcher needs of an engine."""

    def infer(self, batch: NDArray[np.uint8]) -> list[Scores]: ...


@dataclass(frozen=True, slots=True)
class BatchCounts:
    """What a batcher has done since it started.

    `scored` + `failed` + `skipped` + `hopeless` parts have left it; `callback_errors` are callers' callbacks that raised.
    """

    batches: int = 0
    scored: int = 0
    failed: int = 0
    skipped: int = 0
    callback_errors: int = 0
    hopeless: int = 0


@dataclass(frozen=True, slots=True)
class _Item:
    model_input: NDArray[np.uint8]
    on_done: OnDone
    skip: Callable[[], bool]


class Batcher:
    """A model before which parts wait, on a device that it shares with other models.

    It never waits to fill a batch: a lone part is scored at once, and parts that arrive during a run form the next
    batch. Running the model in the caller's thread when the worker is idle would save the hop to the worker, but the
    caller is a camera's reader: it could not take the next frame meanwhile, so that frame would be received late and
    decoded late. Measured on 2 cores the hop adds 40 to 90 µs, of a budget of 500, and buys that one part is decoded
    while the part before it is scored.
    """

    def __init__(
        self,
        engine: InferringEngine,
        max_batch: int,
        max_waiting: int,
        *,
        judge_until: JudgeUntil | None = None,
        device: Device | None = None,
    ) -> None:
        """`max_batch` bounds a run, `max_waiting` the parts that wait for one (both ≥ 1). Without `device`, on one of its own.

        With `judge_until`, which asks between the runs that one picture takes whether anybody still waits for it, parts are
        scored one by one by that: a part past its deadline gives way after one run, and any to a more urgent one of another
        model.
        """
        if max_batch < 1 or max_waiting < 1:
            raise ValueError(f"got max_batch {max_batch} and max_waiting {max_waiting}, expected both at least 1")
        self.max_batch = max_batch if judge_until is None else 1
        self.gives_way = judge_until is not None
        self.times = RunTimes()
        self._engine = engine
        self._judge_until = judge_until
        self._max_waiting = max_waiting
        self._owns_device = device is None
        self.device = device or Device()
        self._closed = False
        self._waiting = self._running = 0
        self._counting = threading.Lock()
        self._counts = BatchCounts()

    def submit(
        self, model_input: NDArray[np.uint8], on_done: OnDone, skip: Callable[[], bool], deadline_s: float = FOR_EVER
    ) -> bool:
        """Queue one model input, uint8 (h, w, c); False if `max_waiting` parts wait already or the batcher is closed.

        After True, exactly one of two things happens: `on_done` is called once, mostly in a worker's thread, with the scores
        or with why there are none (TooLate: it would not be in time for `deadline_s`, on the monotonic clock); or `skip()`,
        asked whenever a run begins, returns true (its verdict is settled already) and nothing more is called. Both must be
        quick and must not raise; `skip` must take no lock. `model_input` must not change until then.
        """
        with self.device.changed:
            if self._closed or self._waiting >= self._max_waiting:
                return False
            self._waiting += 1
            self.device.schedule.add(self, deadline_s, _Item(model_input, on_done, skip))
            self.device.changed.notify_all()
            return True

    def has_time(self, deadline_s: float) -> bool:
        """Whether a part that came now could be expected to be scored by then."""
        return self.device.has_time(self, deadline_s)

    @property
    def waiting(self) -> int:
        """Parts that wait for a worker now."""
        return self._waiting

    @property
    def counts(self) -> BatchCounts:
        """What has been done so far."""
        return self._counts

    def close(self) -> None:
        """Let what runs finish, answer every waiting part with EngineError, and end a device of its own. Idempotent."""
        with self.device.changed:
            self._closed = True
            left = self.device.schedule.take_out(lambda one: one.judge is self)
            self._waiting -= len(left)
        stopped = "the model was stopped before it scored this part; start the service again"
        for one in left:
            self._answer(one.item, EngineError(stopped))
        if not self.device.is_worker():
            with self.device.changed:
                self.device.changed.wait_for(lambda: not self._running)
        if self._owns_device:
            self.device.close()

    def _count(self, **more: int) -> None:
        """Several workers may run this model at the same time."""
        with self._counting:
            before = self._counts
            self._counts = replace(before, **{name: getattr(before, name) + one for name, one in more.items()})

    # Called by the device's workers.

    def leave(self, parts: int) -> None:
        """Some of the waiting parts were taken out to be run or given up. The device's lock is held."""
        self._waiting -= parts

    def begin(self) -> None:
        """A run begins. The device's lock is held."""
        self._running += 1

    def end(self) -> None:
        """A run ended. The device's lock is held."""
        self._running -= 1

    def is_settled(self, part: _Item) -> bool:
        """Whether nobody waits for this part any more; counted where it is so."""
        try:
            settled = part.skip()
        except Exception:  # a caller's mistake must not stop the line: score the part
            self._count(callback_errors=1)
            log.exception("the skip callback of a waiting part raised; the part is scored")
            return False
        self._count(skipped=settled)
        return settled

    def give_up(self, part: _Item) -> None:
        """The part would be late."""
        self._count(hopeless=1)
        self._answer(part, TooLate("more is offered than can be judged in time: this part would have been late"))

    def score(self, parts: list[_Item], give_way: Callable[[], float]) -> None:
        """Run the model for these parts, answer them, and note how long it took.

        `give_way` is called between the runs that one picture takes; it lets more urgent parts go first and says how many
        seconds that took.
        """
        begun_s = time.monotonic()
        self._count(batches=1)
        result, elsewhere_s = self._infer(parts, give_way)
        if isinstance(result, Interrupted):
            return  # `skip` said so: nothing more is called
        if isinstance(result, EngineError):
            if len(parts) == 1:
                self._answer(parts[0], result)
                return
            # One poisonous part must not take down its neighbours.
            for part in parts:
                self.score([part], give_way)
            return
        now_s = time.monotonic()
        with self.device.changed:
            self.times.note(len(parts), now_s - begun_s - elsewhere_s, now_s)
        for part, scores in zip(parts, result, strict=True):
            self._answer(part, scores)

    def _infer(self, parts: list[_Item], give_way: Callable[[], float]) -> tuple[list[Scores] | EngineError, float]:
        elsewhere_s = 0.0

        def is_over(part: _Item) -> bool:
            nonlocal elsewhere_s
            elsewhere_s += give_way()
            return self.is_settled(part)

        try:
            if self._judge_until is not None:
                (part,) = parts
                return [self._judge_until(part.model_input, lambda: is_over(part))], elsewhere_s
            inputs = [part.model_input for part in parts]
            # A batch of one is a view: no copy for the lone camera.
            scores = self._engine.infer(inputs[0][None] if len(inputs) == 1 else np.stack(inputs))
            if len(scores) != len(parts):
                fault = f"the model gave {len(scores)} scores for {len(parts)} parts; export the bundle again"
                return EngineError(fault), elsewhere_s
        except EngineError as error:
            return error, elsewhere_s
        except Exception as error:  # the worker's outermost edge: whatever it was, each part gets an answer
            log.exception("inference raised an unexpected error")
            told = f"inference raised {type(error).__name__}: {error}; see the log for the traceback"
            return EngineError(told), elsewhere_s
        return scores, elsewhere_s

    def _answer(self, part: _Item, result: Scores | EngineError) -> None:
        if isinstance(result, Scores):
            self._count(scored=1)
        elif not isinstance(result, TooLate):
            self._count(failed=1)
        try:
            part.on_done(result)
        except Exception:  # the worker's outermost edge: the next part must still be scored
            self._count(callback_errors=1)
            log.exception("the callback of a scored part raised")


@dataclass(eq=False)
class _Worker:
    """A thread of a device. The device's lock guards what changes.

    `free_s` is when its run is expected to end; a time that is past while it is idle. A run that gives way to parts with
    deadlines before `way_to_s` does so again at `stops_s`, as far as can be expected.
    """

    thread: threading.Thread = field(init=False)
    free_s: float = 0.0
    way_to_s: float = 0.0
    stops_s: float = 0.0

    def free_for(self, deadline_s: float) -> float:
        """When it is expected to be free for a part with this deadline."""
        return min(self.free_s, self.stops_s) if deadline_s < self.way_to_s else self.free_s


class Device:
    """The processor before which models take turns: each of its workers runs one batch at a time, the most urgent first.

    A batch is not stopped once it runs (but see `Batcher`, pictures that are judged by tiles): a recipe's budget must cover
    the longest run of any model beside its own. With `gives_way` its workers let the process's other threads go first.
    `homes` are the hardware threads that each of them stays on; none of them has one if it is empty.
    """

    def __init__(self, workers: int = 1, *, gives_way: bool = False, homes: Sequence[Collection[int]] = ()) -> None:
        if workers < 1:
            raise ValueError(f"got {workers} workers, expected at least 1")
        self._gives_way = gives_way
        self.changed = threading.Condition(threading.Lock())
        self.schedule: Schedule[Batcher, _Item] = Schedule()
        self._closing = False
        self._workers = [_Worker() for _ in range(workers)]
        for number, worker in enumerate(self._workers):
            arguments, name = (worker, homes[number] if homes else ()), f"inference-{number}"
            worker.thread = threading.Thread(target=self._work, args=arguments, name=name, daemon=True)
            worker.thread.start()

    def has_time(self, batcher: Batcher, deadline_s: float) -> bool:
        """Whether a part for `batcher` that came now could be expected to be scored by then."""
        with self.changed:
            free_s = [worker.free_for(deadline_s) for worker in self._workers]
            return self.schedule.has_time(batcher, deadline_s, time.monotonic(), free_s)

    def is_worker(self) -> bool:
        """Whether the caller is one of the device's own threads."""
        current = threading.current_thread()
        return any(worker.thread is current for worker in self._workers)

    def close(self) -> None:
        """End the workers, once nothing waits. Idempotent; its batchers are closed first."""
        with self.changed:
            self._closing = True
            self.changed.notify_all()
        if not self.is_worker():
            for worker in self._workers:
                worker.thread.join()

    def _work(self, worker: _Worker, home: Collection[int]) -> None:
        if self._gives_way:
            _let_others_first()
        if home and hasattr(os, "sched_setaffinity"):
            with contextlib.suppress(OSError):  # a core that was taken away meanwhile
                os.sched_setaffinity(0, home)
        others = [one for one in self._workers if one is not worker]
        while True:
            with self.changed:
                worker.free_s = worker.way_to_s = 0.0
                self.changed.wait_for(lambda: len(self.schedule) or self._closing)
                if not len(self.schedule):
                    return
                self._drop_settled()
                turn = self.schedule.next_turn(time.monotonic(), [one.free_s for one in others])
                self._note_taken(turn, worker)
            self._run(turn, worker)

    def _drop_settled(self) -> None:
        """Take out whom nobody waits for any more, so that nobody is refused because of them. Caller holds the lock."""
        for one in self.schedule.take_out(lambda one: one.judge.is_settled(one.item)):
            one.judge.leave(1)

    def _note_taken(self, turn: Turn[Batcher, _Item], worker: _Worker) -> None:
        """Caller holds the lock."""
        for one in (*turn.batch, *turn.hopeless):
            one.judge.leave(1)
        if turn.batch:
            batcher = turn.batch[0].judge
            batcher.begin()
            now_s = time.monotonic()
            worker.free_s = now_s + batcher.times.expect_s(len(turn.batch), now_s)

    def _run(self, turn: Turn[Batcher, _Item], worker: _Worker) -> None:
        for one in turn.hopeless:
            one.judge.give_up(one.item)
        if not turn.batch:
            return
        batcher, deadline_s = turn.batch[0].judge, turn.batch[0].deadline_s
        way = _Way(self, worker, deadline_s)
        try:
            batcher.score([one.item for one in turn.batch], way.give)
        finally:
            with self.changed:
                batcher.end()
                self.changed.notify_all()

    def run_urgent(self, worker: _Worker, deadline_s: float, step_s: float) -> None:
        """Run what is more urgent than a part with this deadline, whose run stops again after `step_s`."""
        others = [one for one in self._workers if one is not worker]
        while True:
            begun_s = time.monotonic()
            with self.changed:
                after_s = worker.free_s
                self._drop_settled()
                turn = self.schedule.urgent_turn(begun_s, deadline_s, [one.free_s for one in others])
                worker.way_to_s = 0.0
                self._note_taken(turn, worker)
            self._run(turn, worker)
            now_s = time.monotonic()
            with self.changed:
                worker.free_s = after_s + (now_s - begun_s)
                worker.way_to_s, worker.stops_s = deadline_s, now_s + step_s
            if not turn.batch:
                return


class _Way:
    """A run that one picture takes, and how long its steps are."""

    def __init__(self, device: Device, worker: _Worker, deadline_s: float) -> None:
        self._device = device
        self._worker = worker
        self._deadline_s = deadline_s
        self._last_s = time.monotonic()
        self._step_s = 0.0

    def give(self) -> float:
        """Between two steps: let more urgent parts go first; returns how many seconds that took."""
        begun_s = time.monotonic()
        self._step_s = begun_s - self._last_s
        self._device.run_urgent(self._worker, self._deadline_s, self._step_s)
        self._last_s = time.monotonic()
        return self._last_s - begun_s


def _let_others_first() -> None:
    """Runs on every core leave none for the threads that take frames in and keep deadlines: these go first, for the fraction
    of a millisecond that they take. On Linux a thread has a priority of its own.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), os.getpriority(os.PRIO_PROCESS, 0) + NICENESS)
