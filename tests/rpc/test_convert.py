"""Between messages and values: what comes in is checked, what goes out says everything."""

from __future__ import annotations

import dataclasses
import math
from datetime import UTC, datetime

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st
from rpc_twin import TIME, inspection

from inspector.errors import InvalidRequest
from inspector.part import Box, Finding, Frame, ImageKind, Millimetres, PixelFormat, Reason, Verdict, ViewResult
from inspector.records.entries import StoredImage
from inspector.records.queries import InspectionFilter, StoredInspection
from inspector.rpc import convert
from inspector.rpc.convert import FrameFault, frame_of
from inspector.v1 import inspection_pb2 as pb
from inspector.v1 import inspection_service_pb2 as api


def test_a_frame_keeps_every_field() -> None:
    message = pb.Frame(trigger=7, part_id="P 7/ä", view="top", pixel_format="PIXEL_FORMAT_MONO12", width=4, height=3)
    message.stride = 10
    message.capture_time.FromNanoseconds(1_772_366_400_123_456_789)
    frame = frame_of(message, b"pixels")
    assert frame == Frame(
        7, PixelFormat.MONO12, 4, 3, 10, b"pixels", "P 7/ä", "top", datetime(2026, 3, 1, 12, 0, 0, 123456, UTC)
    )


def test_pixels_stay_a_view_only_where_nothing_but_an_array_is_made_of_them() -> None:
    view = memoryview(b"abc")
    raw = frame_of(pb.Frame(trigger=1, pixel_format="PIXEL_FORMAT_RGB8"), view)
    file = frame_of(pb.Frame(trigger=1, pixel_format="PIXEL_FORMAT_JPEG"), view)
    assert isinstance(raw, Frame)
    assert isinstance(file, Frame)
    assert raw.data is view
    assert file.data == b"abc"
    assert isinstance(file.data, bytes)


def frame_message(**changes: object) -> pb.Frame:
    return pb.Frame(**{"trigger": 5, "part_id": "p", "pixel_format": 1, **changes})  # type: ignore[arg-type]


FAULTS = [
    pytest.param(frame_message(pixel_format=0), "p", "pixel format 0 is unknown", id="format left out"),
    pytest.param(frame_message(pixel_format=13), "p", "pixel format 13 is unknown", id="format of a later version"),
    pytest.param(frame_message(pixel_format=-(2**31)), "p", "pixel format -2147483648", id="format below zero"),
    pytest.param(frame_message(part_id="x" * 129), "", "129 characters, the most is 128", id="part id too long"),
    pytest.param(frame_message(part_id="x" * 10_000_000), "", "10000000 characters", id="huge part id"),
    pytest.param(frame_message(part_id="a\nb"), "", "part_id 'a\\\\nb' has characters", id="line break in the part id"),
    pytest.param(frame_message(part_id="\0"), "", "do not print", id="NUL, which PostgreSQL refuses"),
    pytest.param(frame_message(part_id="\x1b[31m"), "", "do not print", id="terminal escape"),
    pytest.param(frame_message(part_id="a\u202eb"), "", "do not print", id="writing direction override"),
    pytest.param(frame_message(view="\x7f"), "p", "view '\\\\x7f' has characters", id="control character in the view"),
    pytest.param(frame_message(capture_time=Timestamp(seconds=2**62)), "p", "no time between", id="time far ahead"),
    pytest.param(frame_message(capture_time=Timestamp(seconds=-(2**63))), "p", "no time", id="time far back"),
    pytest.param(frame_message(capture_time=Timestamp(nanos=-1)), "p", "no time between", id="nanos below zero"),
    pytest.param(frame_message(capture_time=Timestamp(nanos=10**9)), "p", "no time between", id="a second of nanos"),
]


@pytest.mark.parametrize(("message", "part_id", "detail"), FAULTS)
def test_a_frame_that_contradicts_the_api_keeps_its_trigger(message: pb.Frame, part_id: str, detail: str) -> None:
    fault = frame_of(message, b"")
    assert isinstance(fault, FrameFault)
    assert (fault.trigger, fault.part_id, fault.reason) == (5, part_id, Reason.FRAME_INVALID)
    assert detail.replace("\\\\", "\\") in fault.detail
    assert len(fault.detail) < 600


def test_trigger_0_numbers_no_part() -> None:
    with pytest.raises(InvalidRequest, match="count from 1"):
        frame_of(pb.Frame(pixel_format=1), b"")


def test_the_longest_part_id_and_the_ends_of_time_are_taken() -> None:
    first = frame_of(frame_message(part_id="x" * 128, capture_time=Timestamp(seconds=-62_135_596_800)), b"")
    last = frame_of(frame_message(capture_time=Timestamp(seconds=253_402_300_799, nanos=999_999_999)), b"")
    assert isinstance(first, Frame)
    assert isinstance(last, Frame)
    assert first.capture_time == datetime(1, 1, 1, tzinfo=UTC)
    assert last.capture_time == datetime.max.replace(tzinfo=UTC)


@given(st.binary(max_size=300))
@settings(max_examples=300, deadline=None)
def test_any_bytes_that_are_a_frame_become_a_frame_or_a_fault(data: bytes) -> None:
    try:
        message = pb.Frame.FromString(data)
    except Exception:  # noqa: BLE001 protobuf's business
        return
    if message.trigger:
        assert isinstance(frame_of(message, message.data), Frame | FrameFault)


NAMES = [
    pytest.param("", id="empty"),
    pytest.param("lines/a/inspections/", id="no number"),
    pytest.param("lines/a/inspections/0", id="number 0"),
    pytest.param("lines/a/inspections/-1", id="below zero"),
    pytest.param("lines/a/inspections/9223372036854775808", id="past the database's integers"),
    pytest.param("lines/a/inspections/" + "9" * 5000, id="thousands of digits"),
    pytest.param("lines/a/inspections/٣", id="digits of another script"),
    pytest.param("lines//inspections/1", id="no line"),
    pytest.param("lines/a/b/inspections/1", id="a slash in the line"),
    pytest.param("lines/a/inspections/1\n", id="a line break at the end"),
    pytest.param("stations/a/inspections/1", id="another collection"),
]


@pytest.mark.parametrize("name", NAMES)
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(InvalidRequest, match="expected"):
        convert.name_of(name)


def test_a_name_is_line_and_number() -> None:
    assert convert.name_of("lines/tiles/inspections/9223372036854775807") == ("tiles", 2**63 - 1)


@pytest.mark.parametrize("key", ["", "ab", "A" * 64, "g" * 64, "../" * 21 + "a", "a" * 64 + "\n"])
def test_picture_keys_that_are_none(key: str) -> None:
    with pytest.raises(InvalidRequest, match="64 lower-case"):
        convert.sha256_of(key)


def test_page_sizes() -> None:
    assert [convert.page_size_of(size) for size in (0, 1, 1000, 1001, 2**31 - 1)] == [50, 1, 1000, 1000, 1000]
    with pytest.raises(InvalidRequest, match="got page_size -1"):
        convert.page_size_of(-1)


def test_a_filter_keeps_every_field() -> None:
    request = api.ListInspectionsRequest(line="l", part_id="p", verdicts=[2, 3], defect_class="scratch", bundle="b")
    request.start_time.FromDatetime(TIME)
    expected = InspectionFilter("l", "p", frozenset({Verdict.REJECT, Verdict.UNKNOWN}), "scratch", "b", TIME, None)
    assert convert.filter_of(request) == expected
    assert convert.filter_of(api.ListInspectionsRequest()) == InspectionFilter()


FILTERS = [
    pytest.param(api.ListInspectionsRequest(verdicts=[0]), "verdict 0", id="unspecified verdict"),
    pytest.param(api.ListInspectionsRequest(verdicts=[1, 4]), "verdict 4", id="unknown verdict"),
    pytest.param(api.ListInspectionsRequest(part_id="x" * 300), "300 characters", id="huge part id"),
    pytest.param(api.ListInspectionsRequest(start_time=Timestamp(seconds=2**62)), "start_time", id="start far ahead"),
    pytest.param(api.ListInspectionsRequest(end_time=Timestamp(nanos=-5)), "end_time", id="end with negative nanos"),
]


@pytest.mark.parametrize(("request_", "fact"), FILTERS)
def test_filters_that_are_none(request_: api.ListInspectionsRequest, fact: str) -> None:
    with pytest.raises(InvalidRequest, match=fact):
        convert.filter_of(request_)


def test_resuming() -> None:
    assert convert.after_of(api.WatchInspectionsRequest()) is None
    assert convert.after_of(api.WatchInspectionsRequest(after_sequence=0)) == 0
    with pytest.raises(InvalidRequest, match="no sequence number"):
        convert.after_of(api.WatchInspectionsRequest(after_sequence=2**64 - 1))


def test_an_inspection_keeps_every_field() -> None:
    finding = Finding(
        "scratch",
        Box(1, 2, 3, 4),
        6.5,
        0.75,
        5.0,
        (2.5, 4.0),
        Millimetres(length_mm=0.5, area_mm2=0.065, x_mm=0.25, y_mm=0.4),
        "side",
    )
    views = (
        ViewResult("top", "cam1", "a@1", Reason.WITHIN_LIMITS, "", 0.1, 0.5),
        ViewResult("side", "cam2", "b@2", Reason.SCORE_ABOVE_LIMIT, "above", 0.75, 0.5),
        ViewResult("back", "cam3", "c@3", Reason.MISSING_VIEW, "skipped"),
    )
    value = dataclasses.replace(
        inspection(9, 11, Reason.SCORE_ABOVE_LIMIT),
        findings=(finding,),
        capture_time=TIME,
        detail="why",
        view="side",
        views=views,
    )
    message = convert.inspection_message(value)
    for field in ("name", "sequence", "line", "station", "camera", "station_sequence", "trigger", "part_id", "detail"):
        assert getattr(message, field) == getattr(value, field), field
    for field in ("verdict", "reason", "score", "limit", "defect_class", "recipe", "bundle", "latency_ms"):
        assert getattr(message, field) == getattr(value, field), field
    for field in ("capture_time", "receive_time", "decide_time"):
        assert getattr(message, field).ToDatetime(UTC) == getattr(value, field), field
    (sent,) = message.findings
    assert (sent.defect_class, sent.area_px, sent.score) == ("scratch", 6.5, 0.75)
    assert (sent.box.x_px, sent.box.y_px, sent.box.width_px, sent.box.height_px) == (1, 2, 3, 4)
    assert (sent.length_px, sent.centre.x_px, sent.centre.y_px) == (5.0, 2.5, 4.0)
    assert (sent.size.length_mm, sent.size.area_mm2, sent.size.x_mm, sent.size.y_mm) == (0.5, 0.065, 0.25, 0.4)
    assert sent.view == message.view == "side"
    for seen, one in zip(message.views, views, strict=True):
        assert (seen.view, seen.camera, seen.bundle, seen.reason, seen.detail) == (
            *(one.view, one.camera, one.bundle),
            *(one.reason, one.detail),
        )
        scores = tuple(getattr(seen, name) if seen.HasField(name) else None for name in ("score", "limit"))
        assert scores == (one.score, one.limit)
    assert {field.name for field, _ in sent.ListFields()} == set(pb.Finding.DESCRIPTOR.fields_by_name)
    assert not message.HasField("late_score")
    assert not message.images
    filled = {field.name for field, _ in message.ListFields()}
    assert filled == set(pb.Inspection.DESCRIPTOR.fields_by_name) - {"late_score", "images"}


def test_a_finding_that_was_not_measured_has_no_length() -> None:
    value = dataclasses.replace(inspection(1), findings=(Finding("scratch", Box(1, 2, 3, 4), 6.5, 0.75),))
    (sent,) = convert.inspection_message(value).findings
    assert not any(sent.HasField(name) for name in ("length_px", "centre", "size"))


def test_what_is_not_known_is_not_set() -> None:
    value = dataclasses.replace(inspection(1, 1, Reason.TRIGGER_GAP), score=None, limit=None)
    message = convert.inspection_message(value)
    assert not message.HasField("score")
    assert not message.HasField("limit")
    assert not message.HasField("capture_time")


def test_times_before_1970_and_scores_that_are_no_number_go_out_as_they_are() -> None:
    value = dataclasses.replace(inspection(1), capture_time=datetime(1, 1, 1, 0, 0, 0, 1, UTC), score=math.nan)
    message = convert.inspection_message(value)
    assert (message.capture_time.seconds, message.capture_time.nanos) == (-62_135_596_800, 1000)
    assert math.isnan(message.score)


def test_a_stored_inspection_has_its_pictures_and_late_score() -> None:
    images = (
        StoredImage(ImageKind.FRAME, "ab" * 32, "image/png", 12),
        StoredImage(ImageKind.HEAT_MAP, "", "", 0, "disk full"),
    )
    message = convert.stored_message(StoredInspection(inspection(1), images, 0.0))
    assert message.HasField("late_score")
    assert [(i.kind, i.sha256, i.media_type, i.size_bytes, i.lost_reason) for i in message.images] == [
        (1, "ab" * 32, "image/png", 12, ""),
        (2, "", "", 0, "disk full"),
    ]
