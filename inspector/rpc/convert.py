"""Between the messages of the API and the values of the house. Pure; everything that comes in is checked here, once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import cast

from google.protobuf.timestamp_pb2 import Timestamp

from inspector.errors import FrameError, InvalidRequest, SessionError
from inspector.part import (
    Box,
    Finding,
    Frame,
    Inspection,
    Lease,
    Millimetres,
    PixelFormat,
    Reason,
    Verdict,
    ViewResult,
)
from inspector.records.queries import InspectionFilter, StoredInspection
from inspector.station import SessionInfo
from inspector.v1 import inspection_pb2, inspection_service_pb2

MAX_TEXT = 128
MAX_SEQUENCE = (1 << 63) - 1
DEFAULT_PAGE, MAX_PAGE = 50, 1000
WATCHING = ("inspector-watching", "1")
"""Header of a watch that misses nothing from then on."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_S, _LAST_S = -62_135_596_800, 253_402_300_799  # years 1 to 9999: google/protobuf/timestamp.proto
_PIXEL_FORMATS = frozenset(int(one) for one in PixelFormat)
_NAME = re.compile(r"lines/([^/]{1,256})/inspections/([0-9]{1,19})", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class FrameFault:
    """A frame that contradicts the API, or never came. Its trigger is real, so its part is UNKNOWN for `reason`."""

    trigger: int
    part_id: str
    reason: Reason
    detail: str


# In


Lend = Callable[[inspection_pb2.SharedPixels], tuple[memoryview, Lease]]
"""Finds the pixels of a frame in shared memory, or raises FrameError."""


def frame_of(message: inspection_pb2.Frame, pixels: bytes | memoryview, lend: Lend | None = None) -> Frame | FrameFault:
    """A camera's frame, or why it cannot be judged. `pixels` stand for `message.data`, `lend` for those in shared memory.

    Raises InvalidRequest for trigger 0, which numbers no part.
    """
    if message.trigger == 0:
        raise InvalidRequest("trigger 0 came, and triggers count from 1: set the frame's trigger number")
    part_id_is_sound = is_sound_text(message.part_id)
    part_id = message.part_id if part_id_is_sound else ""
    fault = _frame_fault(message, part_id_is_sound)
    if fault is not None:
        return FrameFault(message.trigger, part_id, Reason.FRAME_INVALID, fault)
    if message.lost_reason and (len(pixels) or message.HasField("shared")):
        came = len(pixels) or message.shared.length
        fault = f"lost_reason says that no frame came, and {came} bytes of one did: send one of the two"
        return FrameFault(message.trigger, part_id, Reason.FRAME_INVALID, fault)
    if message.lost_reason:
        return FrameFault(message.trigger, part_id, Reason.TRIGGER_GAP, message.lost_reason)
    try:
        pixels, lease = _pixels_of(message, pixels, lend)
    except FrameError as error:
        return FrameFault(message.trigger, part_id, error.reason, str(error))
    return Frame(
        trigger=message.trigger,
        pixel_format=PixelFormat(message.pixel_format),
        width_px=message.width,
        height_px=message.height,
        stride_bytes=message.stride,
        # Raw pixels stay a view of the received message: decoding wraps them in an array and never asks for more.
        data=cast(bytes, pixels),
        part_id=part_id,
        view=message.view,
        capture_time=_time_of(message.capture_time) if message.HasField("capture_time") else None,
        lease=lease,
    )


def _pixels_of(
    message: inspection_pb2.Frame, pixels: bytes | memoryview, lend: Lend | None
) -> tuple[bytes | memoryview, Lease | None]:
    """The pixels, and their lease if they are lent. Errors: FrameError."""
    lease = None
    if message.HasField("shared"):
        if len(pixels):
            raise FrameError(
                Reason.FRAME_INVALID, "the frame has pixels as data and in shared memory: send one of them"
            )
        if lend is None:
            raise FrameError(
                Reason.FRAME_INVALID, "pixels in shared memory are taken from streams only: send them as data"
            )
        pixels, lease = lend(message.shared)
    if PixelFormat(message.pixel_format) in (PixelFormat.JPEG, PixelFormat.PNG) and isinstance(pixels, memoryview):
        # Files are read back and forth by their decoders, which must not see them change.
        pixels = bytes(pixels)
        if lease is not None:
            lease.check()
        lease = None
    return pixels, lease


def _frame_fault(message: inspection_pb2.Frame, part_id_is_sound: bool) -> str | None:
    if not part_id_is_sound:
        return _text_fault("part_id", message.part_id)
    if not is_sound_text(message.view):
        return _text_fault("view", message.view)
    if not is_sound_text(message.lost_reason):
        return _text_fault("lost_reason", message.lost_reason)
    if message.pixel_format not in _PIXEL_FORMATS:
        known = ", ".join(f"{one.name} = {int(one)}" for one in PixelFormat)
        return f"pixel format {message.pixel_format} is unknown: expected one of {known}"
    if message.HasField("capture_time") and not _is_sound_time(message.capture_time):
        at = message.capture_time
        return (
            f"capture_time of {at.seconds} s and {at.nanos} ns is no time between the years 1 and 9999: check the clock"
        )
    return None


def is_sound_text(text: str) -> bool:
    """Whether a camera's text can go on record and on screens as it is."""
    return len(text) <= MAX_TEXT and (not text or text.isprintable())


def _text_fault(field: str, text: str) -> str:
    if len(text) > MAX_TEXT:
        return f"{field} has {len(text)} characters, the most is {MAX_TEXT}: send the id alone"
    return f"{field} {text[:MAX_TEXT]!a} has characters that do not print: send plain text"


def _is_sound_time(at: Timestamp) -> bool:
    return _FIRST_S <= at.seconds <= _LAST_S and 0 <= at.nanos < 1_000_000_000


def _time_of(at: Timestamp) -> datetime:
    return _EPOCH + timedelta(seconds=at.seconds, microseconds=at.nanos // 1000)


def name_of(name: str) -> tuple[str, int]:
    """Line and sequence number of a resource name. InvalidRequest."""
    match = _NAME.fullmatch(name)
    if match is None or not 1 <= int(match[2]) <= MAX_SEQUENCE:
        raise InvalidRequest(
            f'got the name {name[:80]!a}, expected "lines/LINE/inspections/SEQUENCE" with a number from 1'
        )
    return match[1], int(match[2])


def check_line(asked: str, line: str) -> None:
    """Raise InvalidRequest unless `asked` is the line of this service, or empty."""
    if asked not in ("", line):
        raise InvalidRequest(f'this service inspects line "{line}", not {asked[:80]!a}: ask that line\'s service')


def sha256_of(text: str) -> str:
    """The key of a stored picture. InvalidRequest."""
    if not _SHA256.fullmatch(text):
        raise InvalidRequest(
            f"got the picture key {text[:80]!a}, expected the 64 lower-case hexadecimal digits of ImageReference.sha256"
        )
    return text


def verdicts_of(values: Iterable[int]) -> frozenset[Verdict]:
    """A filter by verdict; empty means all. InvalidRequest."""
    found = set(values)
    unknown = found - set(Verdict)
    if unknown:
        raise InvalidRequest(f"got verdict {min(unknown)} to filter by, expected any of 1 PASS, 2 REJECT, 3 UNKNOWN")
    return frozenset(Verdict(value) for value in found)


def after_of(request: inspection_service_pb2.WatchInspectionsRequest) -> int | None:
    """The sequence number to resume from, if any. InvalidRequest."""
    if not request.HasField("after_sequence"):
        return None
    if request.after_sequence > MAX_SEQUENCE:
        raise InvalidRequest(
            f"after_sequence {request.after_sequence} is no sequence number: the most is {MAX_SEQUENCE}"
        )
    return request.after_sequence


def page_size_of(size: int) -> int:
    """0 means the default; more than the most means the most. InvalidRequest."""
    if size < 0:
        raise InvalidRequest(f"got page_size {size}, expected 0 for {DEFAULT_PAGE}, or up to {MAX_PAGE}")
    return min(size or DEFAULT_PAGE, MAX_PAGE)


def filter_of(request: inspection_service_pb2.ListInspectionsRequest) -> InspectionFilter:
    """Which inspections to list. InvalidRequest."""
    for field in ("line", "part_id", "defect_class", "bundle"):
        if len(getattr(request, field)) > 2 * MAX_TEXT:
            length = len(getattr(request, field))
            raise InvalidRequest(f"{field} has {length} characters, and none on record has more than {2 * MAX_TEXT}")
    times = {}
    for field in ("start_time", "end_time"):
        at = getattr(request, field)
        if request.HasField(field) and not _is_sound_time(at):
            raise InvalidRequest(f"{field} of {at.seconds} s and {at.nanos} ns is no time between the years 1 and 9999")
        times[field] = _time_of(at) if request.HasField(field) else None
    return InspectionFilter(
        line=request.line,
        part_id=request.part_id,
        verdicts=verdicts_of(request.verdicts),
        defect_class=request.defect_class,
        bundle=request.bundle,
        **times,
    )


def inspection_of(message: inspection_pb2.Inspection) -> Inspection:
    """An inspection as a client was told it. SessionError if the service is of a later version."""
    try:
        verdict, reason = Verdict(message.verdict), Reason(message.reason)
        views = tuple(_view_of(view) for view in message.views)
    except ValueError as error:
        raise later_version(error) from error
    return Inspection(
        line=message.line,
        station=message.station,
        camera=message.camera,
        sequence=message.sequence,
        station_sequence=message.station_sequence,
        trigger=message.trigger,
        part_id=message.part_id,
        verdict=verdict,
        reason=reason,
        detail=message.detail,
        score=message.score if message.HasField("score") else None,
        limit=message.limit if message.HasField("limit") else None,
        findings=tuple(_finding_of(finding) for finding in message.findings),
        recipe=message.recipe,
        bundle=message.bundle,
        capture_time=_time_of(message.capture_time) if message.HasField("capture_time") else None,
        receive_time=_time_of(message.receive_time),
        decide_time=_time_of(message.decide_time),
        latency_ms=message.latency_ms,
        view=message.view,
        views=views,
    )


def _view_of(message: inspection_pb2.ViewResult) -> ViewResult:
    return ViewResult(
        message.view,
        message.camera,
        message.bundle,
        Reason(message.reason),
        message.detail,
        message.score if message.HasField("score") else None,
        message.limit if message.HasField("limit") else None,
    )


def _finding_of(message: inspection_pb2.Finding) -> Finding:
    box, size = message.box, message.size
    return Finding(
        message.defect_class,
        Box(box.x_px, box.y_px, box.width_px, box.height_px),
        message.area_px,
        message.score,
        message.length_px if message.HasField("length_px") else None,
        (message.centre.x_px, message.centre.y_px) if message.HasField("centre") else None,
        Millimetres(size.length_mm, size.area_mm2, size.x_mm, size.y_mm) if message.HasField("size") else None,
        message.view,
    )


def later_version(error: Exception) -> SessionError:
    """The service tells something that this version does not know."""
    return SessionError(f"the service tells what this version does not know ({error}): update this program")


# Out


def session_message(
    session: SessionInfo, memory: inspection_service_pb2.FrameMemory | None = None
) -> inspection_service_pb2.Session:
    """What a camera is told when its stream opens; `memory` is what it is offered for its frames."""
    return inspection_service_pb2.Session(
        station=session.station,
        recipe=session.recipe,
        bundle=session.bundle,
        deadline_ms=session.deadline_ms,
        max_frame_bytes=session.max_frame_bytes,
        next_trigger=session.next_trigger,
        view=session.view,
        frame_memory=memory,
    )


def inspection_message(inspection: Inspection) -> inspection_pb2.Inspection:
    """An inspection, without what only the database knows."""
    message = inspection_pb2.Inspection(
        name=inspection.name,
        sequence=inspection.sequence,
        line=inspection.line,
        station=inspection.station,
        camera=inspection.camera,
        station_sequence=inspection.station_sequence,
        trigger=inspection.trigger,
        part_id=inspection.part_id,
        verdict=cast(inspection_pb2.Verdict, inspection.verdict),
        reason=cast(inspection_pb2.Reason, inspection.reason),
        detail=inspection.detail,
        score=inspection.score,
        limit=inspection.limit,
        defect_class=inspection.defect_class,
        recipe=inspection.recipe,
        bundle=inspection.bundle,
        latency_ms=inspection.latency_ms,
        view=inspection.view,
    )
    message.views.extend(_view_message(one) for one in inspection.views)
    message.findings.extend(_finding_message(finding) for finding in inspection.findings)
    if inspection.capture_time is not None:
        _set_time(message.capture_time, inspection.capture_time)
    _set_time(message.receive_time, inspection.receive_time)
    _set_time(message.decide_time, inspection.decide_time)
    return message


def _view_message(one: ViewResult) -> inspection_pb2.ViewResult:
    return inspection_pb2.ViewResult(
        view=one.view,
        camera=one.camera,
        bundle=one.bundle,
        reason=cast(inspection_pb2.Reason, one.reason),
        detail=one.detail,
        score=one.score,
        limit=one.limit,
    )


def _finding_message(finding: Finding) -> inspection_pb2.Finding:
    box, size = finding.box, finding.size
    message = inspection_pb2.Finding(
        defect_class=finding.defect_class,
        box=inspection_pb2.Box(x_px=box.x_px, y_px=box.y_px, width_px=box.width_px, height_px=box.height_px),
        area_px=finding.area_px,
        score=finding.score,
        length_px=finding.length_px,
        view=finding.view,
    )
    if finding.centre_px is not None:
        message.centre.x_px, message.centre.y_px = finding.centre_px
    if size is not None:
        message.size.length_mm, message.size.area_mm2 = size.length_mm, size.area_mm2
        message.size.x_mm, message.size.y_mm = size.x_mm, size.y_mm
    return message


def stored_message(stored: StoredInspection) -> inspection_pb2.Inspection:
    """An inspection with its pictures and late score."""
    message = inspection_message(stored.inspection)
    if stored.late_score is not None:
        message.late_score = stored.late_score
    for image in stored.images:
        message.images.add(
            kind=cast(inspection_pb2.ImageKind, image.kind),
            sha256=image.sha256,
            media_type=image.media_type,
            size_bytes=image.size_bytes,
            lost_reason=image.lost_reason,
            view=image.view,
        )
    return message


def _set_time(at: Timestamp, time: datetime) -> None:
    since = time - _EPOCH
    at.seconds, at.nanos = since.days * 86_400 + since.seconds, since.microseconds * 1000
