"""A model behind its queue, for whoever must not run it beside the parts of a line."""

from __future__ import annotations

import threading
import time
from functools import partial

import numpy as np
from numpy.typing import NDArray

from inspector.errors import EngineError, Overloaded, TooLate
from inspector.inference.batching import Batcher
from inspector.inference.bundle import Bundle
from inspector.part import Scores

PATIENCE_S = 30.0
# An image that could wait for ever would never have its turn on a busy line, and one that is urgent would delay parts.
TURN_S = 1.0


class QueuedEngine:
    """Scores images one at a time through a batcher: between two of them the parts that wait have their turn."""

    def __init__(self, batcher: Batcher, bundle: Bundle, provider: str) -> None:
        self.bundle = bundle
        self.provider = provider
        self._batcher = batcher

    def infer(self, batch: NDArray[np.uint8]) -> list[Scores]:
        """As `Engine.infer`. Raises Overloaded if the queue is full or does not answer in time."""
        return [self._one(image) for image in batch]

    def _one(self, image: NDArray[np.uint8]) -> Scores:
        answered = threading.Event()
        answers: list[Scores | EngineError] = []

        def note(outcome: Scores | EngineError) -> None:
            answers.append(outcome)
            answered.set()

        many = "too many parts wait for the model: look at the golden images again when fewer do"
        now_s = time.monotonic()
        turn_s = max(TURN_S, 2 * self._batcher.times.expect_s(1, now_s))
        if not self._batcher.submit(image, note, partial(bool, False), now_s + turn_s):
            raise Overloaded(many)
        if not answered.wait(PATIENCE_S):
            raise Overloaded(f"the model gave no answer within {PATIENCE_S:.0f} s: look at the service's log")
        if isinstance(answers[0], TooLate):
            raise Overloaded(many)
        if isinstance(answers[0], EngineError):
            raise answers[0]
        return answers[0]
