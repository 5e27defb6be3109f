"""What the numbers and the clock of a camera say, and what they cannot say."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.cameras.sources.clocks import CameraClock, WallClock, time_of_day
from inspector.cameras.sources.counting import FrameCounter, Step

MS = 1_000_000


def steps(*numbers: int, taken_ns: int | None = None) -> list[Step]:
    counter = FrameCounter()
    return [counter.step(n, at if taken_ns is None else taken_ns) for at, n in enumerate(numbers, 1)]


@pytest.mark.parametrize(
    ("numbers", "lost"),
    [
        pytest.param((1, 2, 3), [0, 0, 0], id="none"),
        pytest.param((400, 401), [0, 0], id="the first may be any"),
        pytest.param((1, 2, 5), [0, 0, 2], id="two"),
        pytest.param((65534, 65535, 1, 2), [0, 0, 0, 0], id="GigE Vision counts from 65535 to 1"),
        pytest.param((65533, 2), [0, 3], id="lost over the end of the count"),
        pytest.param((65535, 65536, 65538), [0, 0, 1], id="extended ids have no end"),
        pytest.param((0, 1, 2), [0, 0, 0], id="USB3 Vision counts from 0"),
    ],
)
def test_lost_frames_are_counted(numbers: tuple[int, ...], lost: list[int]) -> None:
    found = steps(*numbers)
    assert [step.lost for step in found] == lost
    assert not any(step.odd or step.again for step in found)


@pytest.mark.parametrize(
    ("begins_at", "number", "lost"),
    [
        pytest.param(1, 1, 0, id="GigE Vision, none"),
        pytest.param(1, 4, 3, id="GigE Vision, three"),
        pytest.param(0, 0, 0, id="USB3 Vision, none"),
        pytest.param(0, 1, 1, id="USB3 Vision, one"),
        pytest.param(1, 0, 0, id="a GigE camera that uses zero"),
        pytest.param(None, 4, 0, id="a count of which the begin is not known"),
    ],
)
def test_frames_lost_right_after_a_start_are_counted(begins_at: int | None, number: int, lost: int) -> None:
    counter = FrameCounter()
    counter.step(900, 1)
    counter.restart(begins_at)
    step = counter.step(number, 2)
    assert step.lost == lost
    assert bool(step.why) == bool(lost)
    assert not step.odd
    assert not step.unsure
    assert counter.step(number + 1, 3) == Step()


def test_a_large_number_after_a_start_is_told_as_unsure() -> None:
    counter = FrameCounter()
    counter.restart(1)
    step = counter.step(65_300, 1)
    assert (step.lost, step.odd) == (0, "")
    assert "the first frame since the start has id 65300 and not 1" in step.unsure


def test_a_camera_that_uses_zero_is_known_by_it() -> None:
    counter = FrameCounter()
    for number in (65534, 65535, 0, 1):
        assert counter.step(number, number + 1).lost == 0
    for number in range(2, 65_000, 900):
        counter.step(number, number + 1)
    assert counter.step(65_000, 1).lost == 65_000 - number - 1
    assert counter.step(65_535, 2).lost == 534
    assert counter.step(0, 3).lost == 0


@pytest.mark.parametrize(
    ("numbers", "says"),
    [
        pytest.param((500, 400), "ran backwards from 500 to 400", id="backwards"),
        pytest.param((40_000, 1), "ran backwards from 40000 to 1", id="restarted"),
        pytest.param((1, 5001), "jumped from 1 to 5001", id="too far to be lost"),
        pytest.param((70_000, 1), "ran backwards from 70000 to 1", id="extended ids, restarted"),
        pytest.param((7, 7), "its counter stands still", id="another frame under the same id"),
    ],
)
def test_what_is_no_loss_is_told_as_odd(numbers: tuple[int, ...], says: str) -> None:
    assert says in steps(*numbers)[-1].odd


def test_the_same_frame_again_is_no_part() -> None:
    assert steps(7, 7, taken_ns=5)[-1] == Step(again=True)
    assert not steps(7, 7, taken_ns=0)[-1].again, "without a clock nothing says that it is the same"


@given(st.integers(1, 65535), st.lists(st.integers(1, 900), max_size=200))
def test_however_it_is_cut_the_count_is_that_of_the_pulses(first: int, strides: list[int]) -> None:
    """Property: frames lost and frames come together are what the camera was triggered for, over any number of wraps."""
    counter, pulse, seen = FrameCounter(), 0, 1
    counter.step(first, 1)
    for stride in strides:
        pulse += stride
        step = counter.step((first - 1 + pulse) % 65535 + 1, pulse + 1)
        assert not step.odd
        seen += step.lost + 1
    assert seen == pulse + 1


def test_a_latch_bounds_the_offset_by_its_round_trip() -> None:
    clock = CameraClock()
    clock.latch(5 * MS, 1000 * MS, 1004 * MS)
    at = clock.to_host(5 * MS)
    assert at is not None
    assert (at.at_ns, at.uncertainty_ms) == (1002 * MS, 2.0)
    later = clock.to_host(5 * MS + 10_000 * MS)
    assert later is not None
    assert later.uncertainty_ms == pytest.approx(3.0), "ten seconds later two quartz clocks may differ by another ms"
    clock.latch(10_005 * MS, 11_001 * MS, 11_002 * MS)
    best = clock.to_host(10_005 * MS)
    assert best is not None
    assert best.uncertainty_ms == pytest.approx(0.5)


@pytest.mark.parametrize("seed", range(5))
def test_without_a_latch_the_truth_lies_within_what_is_stated(seed: int) -> None:
    """A camera whose clock began elsewhere and drifts by 40 ppm; frames take 3 ms of exposure and 0 to 9 ms of travel."""
    rng, clock = random.Random(seed), CameraClock(unseen_ms=3.0)
    for number in range(600):
        true_ns = number * 33 * MS
        camera_ns = 777 * MS + round(true_ns * (1 + 40e-6))
        clock.arrival(camera_ns, true_ns + 3 * MS + round(rng.random() ** 4 * 9 * MS))
        at = clock.to_host(camera_ns)
        if number < 7:
            assert at is None, "nothing is known yet"
            continue
        assert at is not None
        assert abs(at.at_ns - true_ns) / MS <= at.uncertainty_ms
        assert at.uncertainty_ms < 13


def test_a_clock_that_goes_back_is_told_and_learned_anew() -> None:
    clock = CameraClock()
    for number in range(10):
        assert clock.arrival(number * MS, 1000 * MS + number * MS) == ""
    assert clock.to_host(0) is not None
    assert "the camera's clock went back by 0.008 s" in clock.arrival(1 * MS, 1010 * MS)
    assert clock.to_host(1 * MS) is None


@pytest.mark.parametrize("step_ns", [0, 3_600_000 * MS, -3_600_000 * MS, 40 * MS, -40 * MS])
def test_a_wall_clock_that_is_set_moves_no_arrival(step_ns: int) -> None:
    """Stamps by the wall clock, of frames that came 5 ms before they are looked at; it is set between stamp and look, too."""
    clock, ahead_ns = WallClock(), 1_700_000_000_000 * MS
    for number in range(2000):
        now_ns = number * 10 * MS
        set_ns = step_ns if number >= 1000 else 0
        stamp_ns = now_ns - 5 * MS + ahead_ns + (step_ns if number > 1003 else 0)
        at_ns = clock.to_monotonic(stamp_ns, now_ns, now_ns + ahead_ns + set_ns)
        late_ns = 5 * MS if step_ns and number >= 1000 else 0
        assert at_ns == now_ns - 5 * MS + late_ns
    later_ns = now_ns + 10_000 * MS
    stamp_ns = later_ns - 5 * MS + ahead_ns + step_ns
    assert clock.to_monotonic(stamp_ns, later_ns, later_ns + ahead_ns + step_ns) == later_ns - 5 * MS, "trusted again"


def test_a_wall_clock_that_is_hastened_is_trusted() -> None:
    clock = WallClock()
    for number in range(1000):
        now_ns = number * 100 * MS
        ahead_ns = round(5e-4 * now_ns)
        assert clock.to_monotonic(now_ns + ahead_ns - 5 * MS, now_ns, now_ns + ahead_ns) == now_ns - 5 * MS


def test_the_time_of_day_is_that_of_the_wall_clock_now() -> None:
    assert time_of_day(3_000 * MS, 5_000 * MS, 100_000 * MS) == datetime.fromtimestamp(98, UTC)
