"""From a station's state to that of OPC 40100-1, and the ways between them."""

from __future__ import annotations

import itertools

import pytest

from inspector.opcua.states import Link, Vision, Wish, transition_names, vision_state, way
from inspector.signalling.commands import Fault
from inspector.signalling.signal import StationReading, StationReport, StationState

NO_WISH = Wish()


def report(state: StationState) -> StationReport:
    return StationReport(StationReading("s1", {"c1": True}, state, "r", "b@1", 0), Fault.NONE, ())


STATES = [
    pytest.param(Link.NEVER, None, True, NO_WISH, Vision.PREOPERATIONAL, id="the service was not heard of yet"),
    pytest.param(Link.LOST, StationState.READY, True, NO_WISH, Vision.ERROR, id="it was ready when it was last heard"),
    pytest.param(Link.UP, StationState.READY, False, NO_WISH, Vision.ERROR, id="it is stuck"),
    pytest.param(Link.UP, None, True, NO_WISH, Vision.ERROR, id="it has no such station any more"),
    pytest.param(Link.UP, StationState.NOT_READY, True, NO_WISH, Vision.PREOPERATIONAL, id="it starts"),
    pytest.param(Link.UP, StationState.FAULT, True, NO_WISH, Vision.ERROR, id="no bundle"),
    pytest.param(Link.UP, StationState.STOPPING, True, NO_WISH, Vision.HALTED, id="the service stops"),
    pytest.param(Link.UP, StationState.READY, True, NO_WISH, Vision.CONTINUOUS_EXECUTION, id="parts are judged"),
    pytest.param(
        Link.UP, StationState.READY, True, Wish(single=True), Vision.SINGLE_EXECUTION, id="one part is judged"
    ),
    pytest.param(Link.UP, StationState.STOPPED, True, NO_WISH, Vision.READY, id="the station was stopped"),
    pytest.param(Link.UP, StationState.STOPPED, True, Wish(unprepared=True), Vision.INITIALIZED, id="no recipe wanted"),
    pytest.param(Link.UP, StationState.STOPPED, True, Wish(halted=True), Vision.HALTED, id="halted by a client"),
    pytest.param(
        Link.UP,
        StationState.READY,
        True,
        Wish(halted=True),
        Vision.CONTINUOUS_EXECUTION,
        id="halted, then started by a PLC",
    ),
]


@pytest.mark.parametrize(("link", "state", "alive", "wish", "shown"), STATES)
def test_what_is_shown(link: Link, state: StationState | None, alive: bool, wish: Wish, shown: Vision) -> None:
    assert vision_state(link, None if state is None else report(state), alive, wish) is shown


def test_nothing_but_a_ready_station_of_a_service_that_is_there_is_shown_as_executing() -> None:
    wishes = [Wish(*flags) for flags in itertools.product((False, True), repeat=3)]
    for link, state, alive, wish in itertools.product(Link, StationState, (False, True), wishes):
        shown = vision_state(link, report(state), alive, wish)
        assert shown.is_executing is (link is Link.UP and alive and state is StationState.READY), (link, state, alive)


@pytest.mark.parametrize(("start", "end"), list(itertools.permutations(Vision, 2)))
def test_there_is_a_way_from_every_state_to_every_other(start: Vision, end: Vision) -> None:
    found = way(start, end)
    assert found[-1] is end
    assert start not in found
    assert len(set(found)) == len(found)


def test_a_way_to_where_one_is_has_no_steps() -> None:
    assert way(Vision.READY, Vision.READY) == []


def test_after_an_error_parts_are_judged_only_over_the_states_in_between() -> None:
    assert way(Vision.ERROR, Vision.CONTINUOUS_EXECUTION) == [
        Vision.INITIALIZED,
        Vision.READY,
        Vision.CONTINUOUS_EXECUTION,
    ]


NAMES = [
    pytest.param(
        Vision.READY, Vision.CONTINUOUS_EXECUTION, "StartContinuous", "ReadyToContinuousExecution", id="method"
    ),
    pytest.param(Vision.READY, Vision.CONTINUOUS_EXECUTION, "", "ReadyToContinuousExecutionAuto", id="by a PLC"),
    pytest.param(Vision.CONTINUOUS_EXECUTION, Vision.READY, "Stop", "ContinuousExecutionToReadyStop", id="stop"),
    pytest.param(
        Vision.CONTINUOUS_EXECUTION, Vision.ERROR, "", "OperationalToErrorAuto", id="out of the automatic mode"
    ),
    pytest.param(Vision.PREOPERATIONAL, Vision.INITIALIZED, "", "PreoperationalToOperationalAuto", id="into it"),
]


@pytest.mark.parametrize(("start", "end", "method", "name"), NAMES)
def test_transitions_have_the_names_of_the_standard(start: Vision, end: Vision, method: str, name: str) -> None:
    assert transition_names(start, end, method)[0] == name
