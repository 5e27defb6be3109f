"""The PLC's decisions: every result once, fail-safe when nobody vouches for the parts."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.signalling.registers import STATION_BLOCK_SIZE, StationBlock, unpack_block
from inspector.sim.ejector import Ejection, Ejector, Follower, HeartbeatWatch, News

EMPTY = unpack_block([0] * STATION_BLOCK_SIZE)


def block(sequence: int, ring_count: int = 64) -> StationBlock:
    return dataclasses.replace(EMPTY, sequence=sequence, ring_count=ring_count, verdict=1)


@pytest.mark.parametrize(
    ("looks", "news"),
    [
        pytest.param([EMPTY], None, id="nothing judged yet"),
        pytest.param([EMPTY, block(1, 1)], News(1, 1), id="the first result after an empty station is new"),
        pytest.param([EMPTY, block(3, 3)], News(1, 3), id="three at once"),
        pytest.param([block(90)], None, id="what was there before this program is not for it"),
        pytest.param([block(90), block(90)], None, id="no change"),
        pytest.param([block(90), block(91)], News(91, 1), id="the next one"),
        pytest.param([block(90), block(154)], News(91, 64), id="a full ring"),
        pytest.param([block(90), block(155)], News(92, 64, lost=1), id="one more than the ring holds"),
        pytest.param([block(2**32 - 1), block(1)], News(0, 2), id="the sequence wraps"),
        pytest.param([block(90), EMPTY, block(92, 2)], News(91, 2), id="restart without history, count goes on"),
        pytest.param([block(90), block(95, 2)], News(94, 2, lost=3), id="restart without history, three unseen"),
        pytest.param([block(90), block(2, 2)], News(1, 2, restarted=True), id="the station counts anew"),
    ],
)
def test_news(looks: list[StationBlock], news: News | None) -> None:
    follower = Follower()
    assert [follower.look(one) for one in looks][-1] == news


def test_backlog_takes_what_the_ring_holds() -> None:
    assert Follower(backlog=True).look(block(90)) == News(27, 64)


@given(start=st.integers(0, 2**32 - 1), steps=st.lists(st.integers(0, 64), max_size=50))
def test_no_result_is_missed_or_taken_twice(start: int, steps: list[int]) -> None:
    follower, sequence, taken = Follower(), start, []
    follower.look(block(sequence))
    for step in steps:
        sequence += step
        news = follower.look(block(sequence % 2**32))
        if news is not None:
            taken += [(news.first + i) % 2**32 for i in range(news.count)]
            assert (news.lost, news.restarted) == (0, False)
    assert taken == [(start + 1 + i) % 2**32 for i in range(sum(steps))]


def test_heartbeat_is_stale_until_it_was_seen_to_move() -> None:
    watch = HeartbeatWatch(stale_ns=100)
    assert watch.stale(0)
    watch.see(7, 10)
    assert watch.stale(11), "one value proves nothing: the server may have died right after it"
    watch.see(8, 20)
    assert not watch.stale(120)
    watch.see(8, 119)
    assert watch.stale(121), "reads of the same value do not count"
    watch.see(0, 130)
    assert not watch.stale(131), "it may wrap"


def test_ejector_lets_only_vouched_passes_through() -> None:
    ejector = Ejector(delay_ns=100)
    for sequence, verdict in enumerate((1, 2, 3, 0, 9, 1), start=1):
        ejector.add(sequence, verdict, now_ns=sequence)
    assert ejector.next_due_ns == 101
    assert ejector.act(100, stale=False) == [], "no part is there yet"
    assert ejector.act(105, stale=False) == [
        Ejection(1, False, ""),
        Ejection(2, True, "verdict"),
        Ejection(3, True, "verdict"),
        Ejection(4, True, "verdict"),
        Ejection(5, True, "verdict"),
    ]
    assert ejector.act(106, stale=True) == [Ejection(6, True, "stale heartbeat")]
    assert ejector.next_due_ns is None
