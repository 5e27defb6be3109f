"""Between the messages about stations and the values of the house, in both directions. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC
from typing import cast

from inspector.errors import InvalidRequest
from inspector.promotions import BundleAt, Promotion, ViewReading, Wish
from inspector.rpc.convert import MAX_TEXT, is_sound_text, later_version
from inspector.signalling.commands import Answer, Fault, Outcome, Why
from inspector.signalling.signal import RecipeReading, StationReading, StationReport, StationState
from inspector.v1 import station_pb2, station_service_pb2

_NAME = re.compile(r"lines/([^/]{1,256})/stations/([^/]{1,256})")
_RECIPE = re.compile(r"lines/([^/]{1,256})/recipes/([^/]{1,256})")
_DIGEST = re.compile(r"([0-9a-f]{12,64})?")
_MAX_FOLDER = 4096
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


def recipe_name(line: str, recipe: str) -> str:
    """The resource name of a recipe."""
    return f"lines/{line}/recipes/{recipe}"


def wish_of(request: station_service_pb2.PromoteBundleRequest, line: str, who: str) -> Wish:
    """A promotion as a client asks for it; `who` is the client. InvalidRequest."""
    folder = request.bundle_folder
    if not 0 < len(folder) <= _MAX_FOLDER or not folder.isprintable():
        raise InvalidRequest(f"bundle_folder is no path of up to {_MAX_FOLDER} characters: send the bundle's folder")
    if not is_sound_text(request.proposed_by):
        raise InvalidRequest(f"proposed_by is no name: send up to {MAX_TEXT} characters that print")
    about = _wish_about(request, line, who)
    return Wish(**about, folder=folder, proposed_by=request.proposed_by, digest=_digest_of(request.digest))


def way_back_of(request: station_service_pb2.RollbackBundleRequest, line: str, who: str) -> Wish:
    """A rollback as a client asks for it; `who` is the client. InvalidRequest."""
    return Wish(**_wish_about(request, line, who), folder="")


def _wish_about(
    request: station_service_pb2.PromoteBundleRequest | station_service_pb2.RollbackBundleRequest, line: str, who: str
) -> dict[str, str]:
    match = _RECIPE.fullmatch(request.name)
    if match is None or match[1] != line:
        raise InvalidRequest(f'got the name {request.name[:80]!a}, expected "lines/{line}/recipes/RECIPE"')
    client = client_of(request.on_behalf_of, who)
    about = {"recipe": match[2], "view": request.view, "reason": request.reason, "client": client}
    return {**about, "by": request.on_behalf_of or who, "replaces": _digest_of(request.replaced_digest)}


def _digest_of(text: str) -> str:
    if _DIGEST.fullmatch(text) is None:
        raise InvalidRequest(f"{text[:80]!a} is no digest: send 12 to 64 hexadecimal digits, or nothing")
    return text


def recipe_view_message(line: str, reading: ViewReading) -> station_pb2.RecipeView:
    """What judges a view of a recipe, as the API tells it."""
    message = station_pb2.RecipeView(
        name=recipe_name(line, reading.recipe),
        view=reading.view,
        provider=reading.provider,
        golden_count=reading.checked,
        golden_difference=reading.difference,
        fault=reading.fault,
        approval_count=reading.approvals,
    )
    if reading.bundle is not None:
        message.bundle.CopyFrom(_folder_message(reading.bundle))
    if (promotion := reading.promotion) is not None:
        told = message.promotion
        told.bundle.CopyFrom(_folder_message(promotion.bundle))
        if promotion.before is not None:
            told.bundle_before.CopyFrom(_folder_message(promotion.before))
        told.bundle_before_warm = reading.before_is_warm
        told.promoted_by, told.proposed_by, told.reason = promotion.by, promotion.proposed_by, promotion.reason
        told.promote_time.FromDatetime(promotion.time)
        told.rollback = promotion.is_rollback
    return message


def view_reading_of(message: station_pb2.RecipeView) -> ViewReading:
    """What judges a view, as a client was told. SessionError if the service is of a later version."""
    match = _RECIPE.fullmatch(message.name)
    if match is None:
        raise later_version(ValueError(f"{message.name[:80]!a} is no name of a recipe"))
    told, promotion = message.promotion, None
    if message.HasField("promotion"):
        before = _bundle_at(told.bundle_before) if told.HasField("bundle_before") else None
        time = told.promote_time.ToDatetime(UTC)
        about = ("", told.promoted_by, told.proposed_by, told.reason, time, told.rollback)
        promotion = Promotion(match[2], message.view, _bundle_at(told.bundle), before, *about)
    return ViewReading(
        recipe=match[2],
        view=message.view,
        bundle=_bundle_at(message.bundle) if message.HasField("bundle") else None,
        provider=message.provider,
        checked=message.golden_count,
        difference=message.golden_difference,
        fault=message.fault,
        approvals=message.approval_count,
        promotion=promotion,
        before_is_warm=told.bundle_before_warm,
    )


def _folder_message(bundle: BundleAt) -> station_pb2.BundleFolder:
    return station_pb2.BundleFolder(folder=bundle.folder, bundle=bundle.label, digest=bundle.digest)


def _bundle_at(message: station_pb2.BundleFolder) -> BundleAt:
    return BundleAt(message.folder, message.bundle, message.digest)


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
