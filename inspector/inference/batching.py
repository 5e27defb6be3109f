"""Takes model inputs from all cameras, scores whatever waits as one batch, and answers each part exactly once."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from inspector.errors import EngineError, Interrupted
from inspector.part import Scores

log = logging.getLogger(__name__)

OnDone = Callable[[Scores | EngineError], None]
JudgeUntil = Callable[[NDArray[np.uint8], Callable[[], bool]], Scores]
"""Scores one picture, uint8 (h, w, c), in many runs; raises Interrupted once the function says that nobody waits for it."""


class InferringEngine(Protocol):
    """What the batcher needs of an engine."""

    def infer(self, batch: NDArray[np.uint8]) -> list[Scores]: ...


@dataclass(frozen=True, slots=True)
class BatchCounts:
    """What a batcher has done since it started.

    `scored` + `failed` + `skipped` parts have left it; `callback_errors` are callers' callbacks that raised.
    """

    batches: int = 0
    scored: int = 0
    failed: int = 0
    skipped: int = 0
    callback_errors: int = 0


@dataclass(frozen=True, slots=True)
class _Waiting:
    model_input: NDArray[np.uint8]
    on_done: OnDone
    skip: Callable[[], bool]


class Batcher:
    """One worker thread before one engine.

    It never waits to fill a batch: a lone part is scored at once, and parts that arrive during a run form the next
    batch. Running the model in the caller's thread when the worker is idle would save the hop to the worker, but the
    caller is a camera's reader: it could not take the next frame meanwhile, so that frame would be received late and
    decoded late. Measured on 2 cores the hop adds 40 to 90 µs, of a budget of 500, and buys that one part is decoded
    while the part before it is scored.
    """

    def __init__(
        self, engine: InferringEngine, max_batch: int, max_waiting: int, *, judge_until: JudgeUntil | None = None
    ) -> None:
        """Start the worker. `max_batch` bounds a run, `max_waiting` the parts that wait for one (both ≥ 1).

        With `judge_until`, which asks between the runs that one picture takes whether anybody still waits for it, parts are
        scored one by one by that, in the order they came: a part past its deadline gives way to the next after one run.
        """
        if max_batch < 1 or max_waiting < 1:
            raise ValueError(f"got max_batch {max_batch} and max_waiting {max_waiting}, expected both at least 1")
        self._engine = engine
        self._max_batch = max_batch if judge_until is None else 1
        self._judge_until = judge_until
        self._max_waiting = max_waiting
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._submit_lock = threading.Lock()
        self._closed = False
        self._batches = self._scored = self._failed = self._skipped = self._callback_errors = 0
        self._worker = threading.Thread(target=self._work, name="inference", daemon=True)
        self._worker.start()

    def submit(self, model_input: NDArray[np.uint8], on_done: OnDone, skip: Callable[[], bool]) -> bool:
        """Queue one model input, uint8 (h, w, c); False if `max_waiting` parts wait already or the batcher is closed.

        After True, exactly one of two things happens: `on_done` is called once, in the worker thread, with the scores
        or with why there are none; or `skip()`, asked right before the part would be scored, returns true (its verdict
        is settled already) and nothing more is called. Both must be quick and must not raise. `model_input` must not
        change until then.
        """
        with self._submit_lock:
            if self._closed or self._queue.qsize() >= self._max_waiting:
                return False
            self._queue.put(_Waiting(model_input, on_done, skip))
            return True

    @property
    def waiting(self) -> int:
        """Parts that wait for the worker now."""
        return self._queue.qsize()

    @property
    def counts(self) -> BatchCounts:
        """What has been done so far."""
        return BatchCounts(self._batches, self._scored, self._failed, self._skipped, self._callback_errors)

    def close(self) -> None:
        """Let the running batch finish, answer every waiting part with EngineError, and end the worker. Idempotent."""
        with self._submit_lock:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        if threading.current_thread() is not self._worker:
            self._worker.join()

    def _work(self) -> None:
        ended = False
        while not ended:
            batch, ended = self._take()
            if self._closed:
                self._refuse(batch)
                continue
            if wanted := [part for part in batch if not self._is_settled(part)]:
                self._score(wanted)

    def _take(self) -> tuple[list[_Waiting], bool]:
        """What waits, up to `max_batch`, waiting for the first only; and whether this was the last."""
        batch: list[_Waiting] = []
        try:
            item = self._queue.get()
            while item is not None:
                batch.append(item)
                if len(batch) == self._max_batch:
                    return batch, False
                item = self._queue.get_nowait()
        except Empty:
            return batch, False
        return batch, True

    def _is_settled(self, part: _Waiting) -> bool:
        try:
            settled = part.skip()
        except Exception:  # a caller's mistake must not stop the line: score the part
            self._callback_errors += 1
            log.exception("the skip callback of a waiting part raised; the part is scored")
            return False
        self._skipped += settled
        return settled

    def _refuse(self, parts: list[_Waiting]) -> None:
        for part in parts:
            self._answer(part, EngineError("the model was stopped before it scored this part; start the service again"))

    def _score(self, parts: list[_Waiting]) -> None:
        self._batches += 1
        result = self._infer(parts)
        if isinstance(result, Interrupted):
            return  # `skip` said so: nothing more is called
        if isinstance(result, EngineError):
            if len(parts) == 1:
                self._answer(parts[0], result)
                return
            # One poisonous part must not take down its neighbours.
            for part in parts:
                self._score([part])
            return
        for part, scores in zip(parts, result, strict=True):
            self._answer(part, scores)

    def _infer(self, parts: list[_Waiting]) -> list[Scores] | EngineError:
        try:
            if self._judge_until is not None:
                (part,) = parts
                return [self._judge_until(part.model_input, lambda: self._is_settled(part))]
            inputs = [part.model_input for part in parts]
            # A batch of one is a view: no copy for the lone camera.
            scores = self._engine.infer(inputs[0][None] if len(inputs) == 1 else np.stack(inputs))
            if len(scores) != len(parts):
                return EngineError(
                    f"the model gave {len(scores)} scores for {len(parts)} parts; export the bundle again"
                )
        except EngineError as error:
            return error
        except Exception as error:  # the worker's outermost edge: whatever it was, each part gets an answer
            log.exception("inference raised an unexpected error")
            return EngineError(f"inference raised {type(error).__name__}: {error}; see the log for the traceback")
        return scores

    def _answer(self, part: _Waiting, result: Scores | EngineError) -> None:
        if isinstance(result, EngineError):
            self._failed += 1
        else:
            self._scored += 1
        try:
            part.on_done(result)
        except Exception:  # the worker's outermost edge: the next part must still be scored
            self._callback_errors += 1
            log.exception("the callback of a scored part raised")
