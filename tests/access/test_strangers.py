"""Who sends nonsense is named in the log; how much of it he sends does not matter."""

from __future__ import annotations

import logging

import pytest

from inspector.access.strangers import MAX_KINDS, TOLD_EVERY_S, Strangers

LOG = logging.getLogger("inspector.test.strangers")


class _Time:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_a_flood_is_one_line_a_minute_and_says_how_much_it_was(caplog: pytest.LogCaptureFixture) -> None:
    time = _Time()
    strangers = Strangers(LOG, time)

    for _ in range(1000):
        strangers.tell("10.0.0.7", "garbage", "sent garbage")
    time.now_s = TOLD_EVERY_S
    strangers.tell("10.0.0.7", "garbage", "sent garbage")

    assert caplog.messages == ["10.0.0.7: sent garbage", "10.0.0.7: sent garbage (999 more of these in the meantime)"]


def test_another_sender_and_another_kind_are_told_beside_a_flood(caplog: pytest.LogCaptureFixture) -> None:
    strangers = Strangers(LOG, _Time())

    for _ in range(3):
        strangers.tell("10.0.0.7", "garbage", "sent garbage")
        strangers.tell("10.0.0.8", "garbage", "sent garbage")
        strangers.tell("10.0.0.7", "no call", "made a call that there is not")

    assert [message.partition(":")[0] for message in caplog.messages] == ["10.0.0.7", "10.0.0.8", "10.0.0.7"]


def test_the_memory_of_strangers_is_bounded_and_those_of_long_ago_make_room(caplog: pytest.LogCaptureFixture) -> None:
    time = _Time()
    strangers = Strangers(LOG, time)

    for number in range(2 * MAX_KINDS):
        strangers.tell(f"host-{number}", "garbage", "sent garbage")
    assert len(caplog.messages) == MAX_KINDS
    time.now_s = TOLD_EVERY_S
    strangers.tell("newcomer", "garbage", "sent garbage")

    assert caplog.messages[-1] == "newcomer: sent garbage"
