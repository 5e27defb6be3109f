"""A program that is told to end by a signal ends, whatever its main thread does just then."""

from __future__ import annotations

import signal
import threading

import pytest

from inspector.ending import SIGNALS, call_at_signals


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_that_comes_while_the_main_thread_holds_the_lock_of_its_event_sets_it(number: signal.Signals) -> None:
    stop = threading.Event()
    end = call_at_signals(stop.set)
    with stop._cond:  # type: ignore[attr-defined]  # as at the beginning and at the end of every wait
        signal.raise_signal(number)
        assert not stop.is_set()
    assert stop.wait(10)
    end()


def test_every_signal_calls() -> None:
    called, thrice = [], threading.Event()

    def call() -> None:
        called.append(threading.current_thread())
        if len(called) == 3:
            thrice.set()

    end = call_at_signals(call)
    for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
        signal.raise_signal(number)
    assert thrice.wait(10)
    assert threading.main_thread() not in called
    end()


def test_another_ctrl_c_interrupts_where_that_was_asked_for() -> None:
    stop = threading.Event()
    end = call_at_signals(stop.set, interrupts=stop.is_set)
    signal.raise_signal(signal.SIGINT)
    assert stop.wait(10)
    signal.raise_signal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    end()


def test_its_end_gives_the_signals_back_and_leaves_no_thread() -> None:
    before, threads = [signal.getsignal(number) for number in SIGNALS], set(threading.enumerate())
    end = call_at_signals(lambda: None)
    assert [signal.getsignal(number) for number in SIGNALS] != before
    (thread,) = (one for one in set(threading.enumerate()) - threads if one.name == "signals")
    end()
    thread.join(10)
    assert not thread.is_alive()
    assert [signal.getsignal(number) for number in SIGNALS] == before
