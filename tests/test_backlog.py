"""Verdicts of parts without a frame, at the PLC's pace."""

from __future__ import annotations

import threading
import time

from inspector.backlog import GROUP, Backlog


def test_what_is_told_after_the_close_is_told_at_once() -> None:
    told: list[int] = []
    backlog = Backlog(time.monotonic)
    backlog.close(0)
    backlog.tell([lambda n=n: told.append(n) for n in range(100)])  # type: ignore[misc]
    assert told == list(range(100))


def test_the_close_tells_what_its_patience_did_not_last_for() -> None:
    told: list[int] = []
    backlog = Backlog(time.monotonic)
    backlog.tell([lambda n=n: told.append(n) for n in range(5000)])  # type: ignore[misc]
    assert len(told) == GROUP
    backlog.close(0)
    assert told == list(range(5000))


def test_one_that_raises_does_not_keep_the_others_from_being_told() -> None:
    told = threading.Event()
    backlog = Backlog(time.monotonic)

    def broken() -> None:
        raise RuntimeError("no thread left")

    backlog.tell([broken] * (GROUP + 1) + [told.set])
    assert told.wait(10)
    backlog.close(10)


def test_what_was_told_elsewhere_costs_a_group_nothing() -> None:
    told = threading.Event()
    backlog = Backlog(time.monotonic, pause_s=0.01)
    backlog.tell([lambda: True] * GROUP)
    backlog.tell([lambda: False] * (100 * GROUP) + [told.set])
    assert told.wait(10)
    backlog.close(10)
