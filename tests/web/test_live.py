"""The live line without a service: what is counted once, what is remembered, and when nothing can be believed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import pytest
from record_samples import START, inspection

from inspector.part import Reason, Verdict
from inspector.signalling.commands import Fault
from inspector.signalling.signal import StationReading, StationReport, StationState
from inspector.web.live import RATE_WINDOW_S, SILENT_S, STRIP, LiveLine
from inspector.web.words import line_state


@dataclass
class Clock:
    """A monotonic clock that the test turns."""

    now_s: float = 100.0

    def __call__(self) -> float:
        return self.now_s


def report(state: StationState = StationState.READY, fault: Fault = Fault.NONE) -> StationReport:
    return StationReport(StationReading("top", {"cam-1": True}, state, "tiles-a", "b@0123456789ab", 0), fault, ())


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def line(clock: Clock) -> LiveLine:
    return LiveLine("tiles", ["top"], clock)


def counts(line: LiveLine) -> dict[Verdict, int]:
    return dict(line.now().stations[0].counts)


def test_verdicts_are_counted_once_whether_told_before_or_after_the_records_were_read(line: LiveLine) -> None:
    for number in (8, 9, 10, 11):
        line.tell(inspection(number))
    line.seed(START, 9, {"top": {Verdict.PASS: 7, Verdict.REJECT: 2}})
    assert counts(line) == {Verdict.PASS: 7 + 2, Verdict.REJECT: 2}
    line.tell(inspection(12, Reason.SCORE_ABOVE_LIMIT))
    assert counts(line) == {Verdict.PASS: 9, Verdict.REJECT: 3}
    assert line.now().stations[0].first_pass_yield == 9 / 12


def test_a_new_shift_begins_at_nothing(line: LiveLine) -> None:
    line.tell(inspection(1))
    line.seed(START + timedelta(hours=8), 1, {})
    assert counts(line) == {}
    assert line.now().stations[0].first_pass_yield is None


def test_what_was_judged_before_stands_before_what_is_told_and_is_bounded(line: LiveLine) -> None:
    line.tell(inspection(51, Reason.SCORE_ABOVE_LIMIT))
    before = [inspection(number) for number in range(1, 52)]
    line.remind(before, [inspection(4, Reason.IMAGE_BLURRED), inspection(51, Reason.SCORE_ABOVE_LIMIT)])
    now = line.now()
    assert [seen.sequence for seen in now.stations[0].strip] == list(range(1, 52))
    assert [seen.sequence for seen in now.rejects] == [51, 4]
    for number in range(52, 52 + STRIP):
        line.tell(inspection(number))
    assert len(line.now().stations[0].strip) == STRIP


def test_rates_are_of_the_last_seconds(line: LiveLine, clock: Clock) -> None:
    for number in range(1, 21):
        line.tell(inspection(number, latency_ms=float(number)))
        clock.now_s += 0.25
    station = line.now().stations[0]
    assert (station.rate_hz, station.p50_ms, station.p99_ms) == (2.0, 11.0, 20.0)
    clock.now_s += RATE_WINDOW_S
    station = line.now().stations[0]
    assert (station.rate_hz, station.silent_s) == (0.0, RATE_WINDOW_S + 0.25)
    clock.now_s += 60
    assert line.now().stations[0].silent_s == RATE_WINDOW_S + 60.25


@pytest.mark.parametrize(
    ("told", "word"),
    [
        pytest.param([], "NO CONTACT", id="nothing was heard yet"),
        pytest.param(["stations"], "NO CONTACT", id="stations, but no verdicts could come"),
        pytest.param(["stations", "followed"], "READY", id="all is heard"),
        pytest.param(["stations", "followed", "silence"], "NO CONTACT", id="a frozen service breaks no connection"),
        pytest.param(["stations", "followed", "away"], "NO CONTACT", id="the connection broke"),
        pytest.param(["slow", "followed"], "TOO SLOW", id="deadlines are not kept: the PLC rejects all"),
        pytest.param(["fault", "followed"], "FAULT", id="a station has a fault"),
        pytest.param(["stopped", "followed"], "STOPPED", id="a station was stopped"),
    ],
)
def test_the_state_is_what_can_be_believed(line: LiveLine, clock: Clock, told: list[str], word: str) -> None:
    for what in told:
        match what:
            case "followed":
                line.tell_unfollowed("")
            case "silence":
                clock.now_s += SILENT_S + 0.1
            case "away":
                line.tell_away("UNAVAILABLE: connection refused")
            case _:
                line.tell_away("")
                state = {"fault": StationState.FAULT, "stopped": StationState.STOPPED}.get(what, StationState.READY)
                line.tell_stations([report(state)], what != "slow")
    assert line_state(line.now()).word == word


def test_listeners_are_told_until_they_stop(line: LiveLine) -> None:
    told = []
    stop = line.listen(lambda: told.append(1))
    line.tell(inspection(1))
    stop()
    line.tell(inspection(2))
    assert len(told) == 1
