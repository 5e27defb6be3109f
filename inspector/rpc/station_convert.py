"""Between the messages about stations and the values of the house, in both directions. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import cast

from inspector.errors import InvalidRequest
from inspector.rpc.convert import MAX_TEXT, is_sound_text, later_version
from inspector.signalling.commands import Answer, Fault, Outcome, Why
from inspector.signalling.signal import RecipeReading, StationReading, StationReport, StationState
from inspector.v1 import station_pb2

_NAME = re.compile(r"lines/([^/]{1,256})/stations/([^/]{1,256})")
_STATES = {state: station_pb2.StationState.Value(f"STATION_STATE_{state.name}") for state in StationState}
_STATE_OF = {number: state for state, number in _STATES.items()}


def station_name(line: str, station: str) -> str:
    """The resource name of a station."""
    return f"lines/{line}/stations/{station}"


def station_of(name: str, line: str) -> str:
    """The station of a resource name, which may be none of this line's. InvalidRequest."""
    match = _NAME.fullmatch(name)
    if match is None or match[1] != line:
        raise InvalidRequest(f'got the name {name[:80]!a}, expected "lines/{line}/stations/STATION"')
    return match[2]


def client_of(on_behalf_of: str, who: str) -> str:
    """A client as the audit log names it: who connected, and for whom. InvalidRequest."""
    if not is_sound_text(on_behalf_of):
        raise InvalidRequest(f"on_behalf_of is no name: send up to {MAX_TEXT} characters that print")
    return f"{who} for {on_behalf_of}" if on_behalf_of else who


def station_message(line: str, report: StationReport) -> station_pb2.Station:
    """A station as the API tells it."""
    reading = report.reading
    recipes = [station_pb2.StationRecipe(name=one.name, bundle=one.bundle, fault=one.fault) for one in report.recipes]
    return station_pb2.Station(
        name=station_name(line, reading.name),
        cameras=[station_pb2.StationCamera(name=name, streaming=here) for name, here in reading.cameras.items()],
        state=cast(station_pb2.StationState, _STATES[reading.state]),
        fault=cast(station_pb2.StationFault, report.fault),
        recipe=reading.recipe,
        bundle=reading.bundle,
        recipes=recipes,
        in_flight_count=reading.in_flight,
    )


def outcome_message(outcome: Outcome) -> station_pb2.CommandOutcome:
    """What became of a command, in the API's words."""
    return station_pb2.CommandOutcome(
        answer=cast(station_pb2.CommandAnswer, outcome.answer),
        reason=cast(station_pb2.CommandReason, outcome.why),
        checked_count=outcome.checked,
        failed_count=outcome.failed,
    )


def reports_of(messages: Iterable[station_pb2.Station]) -> Sequence[StationReport]:
    """Stations as a client was told them. SessionError if the service is of a later version."""
    return [_report_of(message) for message in messages]


def _report_of(message: station_pb2.Station) -> StationReport:
    match = _NAME.fullmatch(message.name)
    try:
        if match is None:
            raise ValueError(f"{message.name[:80]!a} is no name of a station")
        state, fault = _STATE_OF[message.state], Fault(message.fault)
    except (ValueError, KeyError) as error:
        raise later_version(error) from error
    cameras = {camera.name: camera.streaming for camera in message.cameras}
    reading = StationReading(match[2], cameras, state, message.recipe, message.bundle, message.in_flight_count)
    return StationReport(
        reading, fault, tuple(RecipeReading(one.name, one.bundle, one.fault) for one in message.recipes)
    )


def outcome_of(message: station_pb2.CommandOutcome) -> Outcome:
    """What a client was told of its command. SessionError if the service is of a later version."""
    try:
        return Outcome(Answer(message.answer), Why(message.reason), message.checked_count, message.failed_count)
    except ValueError as error:
        raise later_version(error) from error
