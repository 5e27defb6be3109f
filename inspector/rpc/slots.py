"""How many calls of a kind run at once: the next is refused at once, it does not wait unseen."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from inspector.errors import Overloaded


class Slots:
    """A fixed number of places for one kind of call."""

    def __init__(self, kind: str, count: int, next_step: str) -> None:
        self._free = threading.BoundedSemaphore(count)
        self._message = f"{count} {kind} are open, which is the most: {next_step}"

    @contextmanager
    def one(self) -> Iterator[None]:
        """Hold a place. Raises Overloaded if there is none."""
        if not self._free.acquire(blocking=False):
            raise Overloaded(self._message)
        try:
            yield
        finally:
            self._free.release()
