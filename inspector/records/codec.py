"""Journal entries as bytes: one JSON object per entry in a checked frame, readable with `strings`.

Frame, little-endian, starting at a multiple of eight bytes, zero-padded to the next one:

    offset  size  field
         0     4  marker, A5 4A 52 4E ("¥JRN"); its first byte never occurs in the ASCII payload
         4     4  payload length n
         8     8  ordinal of the entry, counted through all segments of the journal
        16     4  CRC-32 (zlib) over payload, then bytes 4 to 15
        20     n  payload, ASCII JSON

Times are microseconds since 1970 UTC. Keys with default values are left out.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from inspector.part import Box, Finding, ImageKind, Inspection, Millimetres, Reason, Verdict, ViewResult
from inspector.records.entries import (
    Admission,
    Entry,
    Evidence,
    LateScore,
    SegmentHeader,
    Settled,
    StationMark,
    StoredImage,
)

FORMAT_VERSION = 1
MARKER = b"\xa5JRN"
ALIGNMENT = 8
PREFIX_BYTES = 20
MAX_PAYLOAD_BYTES = 1 << 20
# A segment's header names every part in flight; this leaves room behind it in a segment of 4 MiB.
MAX_HEADER_BYTES = 7 << 19
LARGEST_NUMBER = (1 << 63) - 1

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_NUMBERS = struct.Struct("<IQ")
_CRC = struct.Struct("<I")
_dumps = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


class CodecError(ValueError):
    """Bytes that are no entry, or a value that cannot become one."""


class FormatTooNew(CodecError):
    """The segment was written by a later version of this program."""


def to_microseconds(time: datetime) -> int:
    """Microseconds since 1970 UTC of an aware datetime, exactly."""
    return (time - _EPOCH) // _MICROSECOND


def from_microseconds(value: int) -> datetime:
    """Aware UTC datetime; inverse of `to_microseconds`."""
    return _EPOCH + timedelta(microseconds=value)


def frame_bytes(payload_bytes: int) -> int:
    """Size of the frame around a payload, padding included."""
    return (PREFIX_BYTES + payload_bytes + ALIGNMENT - 1) & -ALIGNMENT


def frame(payload: bytes, payload_crc: int, ordinal: int) -> bytes:
    """The frame, without its padding."""
    numbers = _NUMBERS.pack(len(payload), ordinal)
    return b"".join((MARKER, numbers, _CRC.pack(zlib.crc32(numbers, payload_crc)), payload))


def unframe(data: bytes, offset: int) -> tuple[bytes, int] | None:
    """(payload, ordinal) of the frame at `offset`, or None if there is no whole and unharmed one."""
    if data[offset : offset + 4] != MARKER or offset + PREFIX_BYTES > len(data):
        return None
    length, ordinal = _NUMBERS.unpack_from(data, offset + 4)
    if length > MAX_HEADER_BYTES or offset + PREFIX_BYTES + length > len(data):
        return None
    payload = data[offset + PREFIX_BYTES : offset + PREFIX_BYTES + length]
    crc = zlib.crc32(data[offset + 4 : offset + 16], zlib.crc32(payload))
    return (payload, ordinal) if _CRC.unpack_from(data, offset + 16)[0] == crc else None


def encode(entry: Entry | SegmentHeader) -> bytes:
    """Payload of an entry. CodecError if it is too large, or a number or time cannot be kept."""
    try:
        payload = _dumps(_to_dict(entry)).encode("ascii")
    except (TypeError, ValueError, OverflowError) as error:
        raise CodecError(f"a {type(entry).__name__} entry cannot be written: {error}") from error
    limit = MAX_HEADER_BYTES if isinstance(entry, SegmentHeader) else MAX_PAYLOAD_BYTES
    if len(payload) > limit:
        raise CodecError(f"a {type(entry).__name__} entry of {len(payload)} bytes is over {limit} bytes")
    return payload


def admission_bytes(admission: Admission) -> int:
    """What a part in flight takes of a segment's header, in bytes."""
    return len(_dumps(_admission_to_dict(admission))) + 1


def decode(payload: bytes) -> Entry | SegmentHeader:
    """Inverse of `encode`. CodecError if the payload is none of its results."""
    try:
        data = json.loads(payload)
        return _DECODERS[data["k"]](data)
    except CodecError:
        raise
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError, RecursionError) as error:
        raise CodecError(f"not a journal entry: {type(error).__name__}: {error}") from error


def _to_dict(entry: Entry | SegmentHeader) -> dict[str, Any]:
    if isinstance(entry, Settled):
        return _settled_to_dict(entry)
    if isinstance(entry, Admission):
        return {"k": "admit", **_admission_to_dict(entry)}
    if isinstance(entry, Evidence):
        images = [_image_to_list(image) for image in entry.images]
        data = {"k": "evidence", "seq": _number(entry.sequence), "at": to_microseconds(entry.time), "images": images}
        return data | {"late": entry.late_view} if entry.late_view else data
    if isinstance(entry, LateScore):
        return {"k": "late", "seq": _number(entry.sequence), "score": float(entry.score)}
    return {
        "k": "segment",
        "version": FORMAT_VERSION,
        "journal": entry.journal,
        "line": entry.line,
        "number": entry.number,
        "next": entry.next_sequence,
        "stations": {name: [m.next_trigger, m.next_station_sequence] for name, m in entry.stations.items()},
        "unsettled": [_admission_to_dict(a) for a in entry.unsettled],
        "awaiting": list(entry.awaiting_evidence),
    }


def _number(value: int) -> int:
    if not 0 <= value <= LARGEST_NUMBER:
        raise ValueError(f"number {value} is outside 0 to 2^63-1")
    return int(value)


def _admission_to_dict(entry: Admission) -> dict[str, Any]:
    data: dict[str, Any] = {
        "st": entry.station,
        "cam": entry.camera,
        "trig": _number(entry.trigger),
        "part": entry.part_id,
        "recv": to_microseconds(entry.receive_time),
    }
    if entry.capture_time is not None:
        data["capt"] = to_microseconds(entry.capture_time)
    return data


def _settled_to_dict(entry: Settled) -> dict[str, Any]:
    i = entry.inspection
    data: dict[str, Any] = {
        "k": "settle",
        "seq": _number(i.sequence),
        "line": i.line,
        "st": i.station,
        "cam": i.camera,
        "stseq": _number(i.station_sequence),
        "trig": _number(i.trigger),
        "part": i.part_id,
        "verdict": int(i.verdict),
        "reason": int(i.reason),
        "detail": i.detail,
        "recipe": i.recipe,
        "bundle": i.bundle,
        "recv": to_microseconds(i.receive_time),
        "dec": to_microseconds(i.decide_time),
        "ms": float(i.latency_ms),
    }
    if i.score is not None:
        data["score"] = float(i.score)
    if i.limit is not None:
        data["limit"] = float(i.limit)
    if i.capture_time is not None:
        data["capt"] = to_microseconds(i.capture_time)
    if i.findings:
        data["find"] = [_finding_to_list(f) for f in i.findings]
        # Where all are of one view that needs no name, which is nearly always, this is left out.
        if any(f.view for f in i.findings):
            data["findv"] = [f.view for f in i.findings]
    if i.view:
        data["view"] = i.view
    if i.views:
        data["views"] = [_view_to_list(v) for v in i.views]
    if entry.evidence_expected:
        data["ev"] = 1
    return data


def _finding_to_list(f: Finding) -> list[Any]:
    box = f.box
    corners = [int(box.x_px), int(box.y_px), int(box.width_px), int(box.height_px)]
    # What follows the score came later and is left out where it is not known: older entries have seven values.
    known = [f.defect_class, *corners, float(f.area_px), float(f.score)]
    if f.length_px is None or f.centre_px is None:
        return known
    known += [float(f.length_px), *map(float, f.centre_px)]
    if f.size is not None:
        known += [float(f.size.length_mm), float(f.size.area_mm2), float(f.size.x_mm), float(f.size.y_mm)]
    return known


def _view_to_list(v: ViewResult) -> list[Any]:
    score, limit = (None if x is None else float(x) for x in (v.score, v.limit))
    return [v.view, v.camera, v.bundle, int(v.reason), v.detail, score, limit]


def _view_of(values: Sequence[Any]) -> ViewResult:
    view, camera, bundle, reason, *rest = values
    return ViewResult(view, camera, bundle, Reason(reason), *rest)


def _image_to_list(image: StoredImage) -> list[Any]:
    known = [int(image.kind), image.sha256, image.media_type, image.size_bytes, image.lost_reason]
    return [*known, image.view] if image.view else known


def _finding_of(values: Sequence[Any], view: str) -> Finding:
    name, x, y, width, height, area, score, *measured = values
    box = Box(x, y, width, height)
    if not measured:
        return Finding(name, box, area, score, view=view)
    length, centre_x, centre_y, *millimetres = measured
    size = Millimetres(*millimetres) if millimetres else None
    return Finding(name, box, area, score, length, (centre_x, centre_y), size, view)


def _optional_time(data: Mapping[str, Any], key: str) -> datetime | None:
    return from_microseconds(data[key]) if key in data else None


def _decode_admission(data: Mapping[str, Any]) -> Admission:
    return Admission(
        data["st"],
        data["cam"],
        data["trig"],
        data["part"],
        from_microseconds(data["recv"]),
        _optional_time(data, "capt"),
    )


def _decode_settled(data: Mapping[str, Any]) -> Settled:
    told = data.get("find", ())
    views = data.get("findv") or [""] * len(told)
    findings = tuple(_finding_of(values, view) for values, view in zip(told, views, strict=True))
    inspection = Inspection(
        line=data["line"],
        station=data["st"],
        camera=data["cam"],
        sequence=data["seq"],
        station_sequence=data["stseq"],
        trigger=data["trig"],
        part_id=data["part"],
        verdict=Verdict(data["verdict"]),
        reason=Reason(data["reason"]),
        detail=data["detail"],
        score=data.get("score"),
        limit=data.get("limit"),
        findings=findings,
        recipe=data["recipe"],
        bundle=data["bundle"],
        capture_time=_optional_time(data, "capt"),
        receive_time=from_microseconds(data["recv"]),
        decide_time=from_microseconds(data["dec"]),
        latency_ms=data["ms"],
        view=data.get("view", ""),
        views=tuple(_view_of(values) for values in data.get("views", ())),
    )
    return Settled(inspection, "ev" in data)


def _decode_evidence(data: Mapping[str, Any]) -> Evidence:
    images = tuple(
        StoredImage(ImageKind(kind), sha256, media_type, size, lost, *view)
        for kind, sha256, media_type, size, lost, *view in data["images"]
    )
    return Evidence(data["seq"], images, from_microseconds(data["at"]), data.get("late", 0))


def _decode_late(data: Mapping[str, Any]) -> LateScore:
    return LateScore(data["seq"], data["score"])


def _decode_header(data: Mapping[str, Any]) -> SegmentHeader:
    if data["version"] != FORMAT_VERSION:
        raise FormatTooNew(f"journal format {data['version']}, this program writes and reads {FORMAT_VERSION}")
    return SegmentHeader(
        journal=data["journal"],
        line=data["line"],
        number=data["number"],
        next_sequence=data["next"],
        stations={name: StationMark(trigger, count) for name, (trigger, count) in data["stations"].items()},
        unsettled=tuple(_decode_admission(a) for a in data["unsettled"]),
        awaiting_evidence=tuple(data["awaiting"]),
    )


_DECODERS: dict[str, Callable[[Mapping[str, Any]], Entry | SegmentHeader]] = {
    "admit": _decode_admission,
    "settle": _decode_settled,
    "evidence": _decode_evidence,
    "late": _decode_late,
    "segment": _decode_header,
}
