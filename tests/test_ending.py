"""A program that is told to end by a signal ends, whatever its main thread does just then."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from inspector.ending import SIGNALS, call_at_signals


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_that_comes_while_the_main_thread_holds_the_lock_of_its_event_sets_it(number: signal.Signals) -> None:
    stop = threading.Event()
    call_at_signals(stop.set)
    with stop._cond:  # type: ignore[attr-defined]  # as at the beginning and at the end of every wait
        signal.raise_signal(number)
        assert not stop.is_set()
    assert stop.wait(10)


def test_every_signal_calls() -> None:
    called, thrice = [], threading.Event()

    def call() -> None:
        called.append(threading.current_thread())
        if len(called) == 3:
            thrice.set()

    call_at_signals(call)
    for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
        signal.raise_signal(number)
    assert thrice.wait(10)
    assert threading.main_thread() not in called


def test_another_ctrl_c_interrupts_where_that_was_asked_for() -> None:
    stop = threading.Event()
    call_at_signals(stop.set, interrupts=stop.is_set)
    signal.raise_signal(signal.SIGINT)
    assert stop.wait(10)
    signal.raise_signal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_its_end_gives_the_signals_back_and_leaves_no_thread() -> None:
    before, threads = [signal.getsignal(number) for number in SIGNALS], threading.active_count()
    end = call_at_signals(lambda: None)
    assert [signal.getsignal(number) for number in SIGNALS] != before
    thread = next(one for one in threading.enumerate() if one.name == "signals")
    end()
    thread.join(10)
    assert [signal.getsignal(number) for number in SIGNALS] == before
    assert threading.active_count() == threads
