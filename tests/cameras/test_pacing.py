"""Ticks do not drift, whatever the machine does between them."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.cameras.pacing import Pacer


class Clock:
    """Time that passes only while somebody waits or works. Each wait lasts longer than asked, as on a real machine."""

    def __init__(self, oversleep_s: float = 0.0) -> None:
        self.now_s = 1000.0
        self.oversleep_s = oversleep_s
        self.ends_at_s = float("inf")

    def __call__(self) -> float:
        return self.now_s

    def wait(self, seconds: float) -> bool:
        self.now_s += seconds + (self.oversleep_s if seconds > 0 else 0.0)
        return self.now_s >= self.ends_at_s


def test_ticks_come_at_their_time() -> None:
    clock = Clock()
    pacer = Pacer(4, clock.wait, clock)
    times = [clock.now_s for _ in itertools.islice(pacer.ticks(), 5)]
    assert times == [1000.0, 1000.25, 1000.5, 1000.75, 1001.0]
    assert (pacer.late, pacer.worst_late_s) == (0, 0.0)


def test_oversleeping_does_not_add_up() -> None:
    clock = Clock(oversleep_s=0.002)
    pacer = Pacer(50, clock.wait, clock)
    for _ in itertools.islice(pacer.ticks(), 10_001):
        pass
    assert clock.now_s - 1000 == pytest.approx(200.002)
    assert pacer.late == 0


def test_late_ticks_are_counted_and_none_is_left_out() -> None:
    clock = Clock()
    pacer = Pacer(10, clock.wait, clock)
    times = []
    for number in itertools.islice(pacer.ticks(), 6):
        times.append(round(clock.now_s - 1000, 3))
        if number == 1:
            clock.now_s += 0.35
    assert times == [0, 0.1, 0.45, 0.45, 0.45, 0.5]
    assert pacer.late == 3
    assert pacer.worst_late_s == pytest.approx(0.25)


def test_it_ends_while_waiting_and_while_late() -> None:
    clock = Clock()
    clock.ends_at_s = 1000.95
    assert list(Pacer(10, clock.wait, clock).ticks()) == list(range(10))
    clock.ends_at_s = 0
    assert list(Pacer(10, clock.wait, clock).ticks()) == []


@given(st.floats(0.01, 1e4), st.lists(st.floats(0, 3), max_size=30))
def test_no_tick_is_ever_early(rate_hz: float, work_s: list[float]) -> None:
    clock = Clock()
    for number, work in zip(Pacer(rate_hz, clock.wait, clock).ticks(), work_s, strict=False):
        assert clock.now_s >= 1000 + number / rate_hz - 1e-9
        clock.now_s += work
