"""How a program learns from signals that it is to end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from queue import SimpleQueue
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


def call_at_signals(call: Callable[[], None], interrupts: Callable[[], bool] = lambda: False) -> Callable[[], None]:
    """Call `call`, which must not raise, in a thread of its own each time that SIGTERM or Ctrl-C comes; returns what ends that.

    A handler interrupts the main thread wherever it is, also while that holds the lock of the very event that it waits for: to
    set the event in the handler would then wait for ever, and the program could not be ended. What the handler does here takes
    no lock, nor may `interrupts`, which says that Ctrl-C raises KeyboardInterrupt as usual. Only the main thread may call this.
    """
    came: SimpleQueue[bool] = SimpleQueue()

    def work() -> None:
        while came.get():
            call()

    def handle(number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGINT and interrupts():
            raise KeyboardInterrupt
        came.put(True)

    before = {number: signal.signal(number, handle) for number in SIGNALS}
    threading.Thread(target=work, name="signals", daemon=True).start()

    def end() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)
        came.put(False)

    return end
