"""A camera's stream against a live server: the protocol, its violations, and clients that vanish or do not read."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rpc_line import Camera, Line, Lines, wait_for

from inspector.errors import JournalError
from inspector.part import PixelFormat, Reason, Verdict
from inspector.v1 import inspection_pb2 as pb
from inspector.v1 import inspection_service_pb2 as api

GARBAGE = b"\xff\xff\xff\xff"


def test_hello_session_frames_inspections(line: Line) -> None:
    camera = line.camera()
    assert camera.session == api.Session(
        station="s1", recipe="r", bundle="b@0123456789ab", deadline_ms=30_000, max_frame_bytes=2_000_000, next_trigger=1
    )
    for trigger in (1, 2, 3):
        camera.frame(trigger, bytes([trigger]))
        assert camera.inspection().trigger == trigger
    assert [frame.trigger for frame in line.pipeline.frames] == [1, 2, 3]
    assert [one.verdict for one in line.pipeline.inspections] == [Verdict.REJECT, Verdict.PASS, Verdict.REJECT]
    camera.half_close()
    assert camera.rest() == []
    assert camera.call.code() is grpc.StatusCode.OK


def test_answers_come_as_parts_are_decided_also_after_the_last_frame(line: Line) -> None:
    camera = line.camera()
    line.pipeline.hold()
    camera.frame(1)
    camera.frame(2)
    camera.half_close()
    wait_for(lambda: line.pipeline.held == 2, "both frames")
    line.pipeline.release()
    assert [one.trigger for one in camera.rest()] == [1, 2]


def test_skipped_triggers_are_answered_on_the_stream(line: Line) -> None:
    camera = line.camera()
    camera.frame(3)
    camera.half_close()
    answers = camera.rest()
    assert [(one.trigger, one.reason) for one in answers] == [
        (1, Reason.TRIGGER_GAP),
        (2, Reason.TRIGGER_GAP),
        (3, Reason.WITHIN_LIMITS),
    ]


def test_a_repeated_trigger_is_answered_with_its_first_inspection(line: Line) -> None:
    camera = line.camera()
    camera.frame(1, b"\0")
    first = camera.inspection()
    camera.frame(1, b"\1")
    assert camera.inspection() == first


FAULTS = [
    pytest.param({"pixel_format": 99}, Reason.FRAME_INVALID, id="unknown pixel format"),
    pytest.param({"pixel_format": 0}, Reason.FRAME_INVALID, id="no pixel format"),
    pytest.param({"part_id": "x" * 129}, Reason.FRAME_INVALID, id="part id too long"),
    pytest.param({"part_id": "\x07"}, Reason.FRAME_INVALID, id="part id with a control character"),
    pytest.param({"capture_time": Timestamp(seconds=2**60)}, Reason.FRAME_INVALID, id="time out of range"),
    pytest.param({"data": bytes(2_000_001)}, Reason.FRAME_TOO_LARGE, id="a byte too large"),
    pytest.param({"data": bytes(3_400_000)}, Reason.FRAME_TOO_LARGE, id="much too large, and the stream lives"),
]


@pytest.mark.parametrize(("fields", "reason"), FAULTS)
def test_a_bad_frame_is_an_unknown_part_and_the_stream_goes_on(line: Line, fields: dict, reason: Reason) -> None:
    camera = line.camera()
    camera.frame(1, **fields)
    answer = camera.inspection()
    assert (answer.trigger, answer.verdict, answer.reason) == (1, Verdict.UNKNOWN, reason)
    camera.frame(2)
    assert camera.inspection().verdict == Verdict.PASS


def test_large_pixels_reach_the_pipeline_whole(line: Line) -> None:
    pixels = bytes(range(256)) * 4096
    camera = line.camera()
    camera.frame(1, pixels, width=1024, height=1024)
    camera.frame(2, pixels, int(PixelFormat.PNG))
    camera.inspection()
    camera.inspection()
    raw, file = line.pipeline.frames
    assert bytes(raw.data) == file.data == pixels
    assert (raw.width_px, raw.height_px) == (1024, 1024)


VIOLATIONS = [
    pytest.param([api.InspectRequest()], "INVALID_ARGUMENT", "must be hello", id="empty oneof first"),
    pytest.param(
        [api.InspectRequest(frame=pb.Frame(trigger=1))], "INVALID_ARGUMENT", "must be hello", id="frame before hello"
    ),
    pytest.param([GARBAGE], "INVALID_ARGUMENT", "is no InspectRequest", id="garbage first"),
    pytest.param(["hello", api.InspectRequest()], "INVALID_ARGUMENT", "neither hello nor frame", id="empty oneof"),
    pytest.param(["hello", b""], "INVALID_ARGUMENT", "neither hello nor frame", id="empty message"),
    pytest.param(["hello", "hello"], "FAILED_PRECONDITION", "hello came twice", id="hello twice"),
    pytest.param(["hello", GARBAGE], "INVALID_ARGUMENT", "is no InspectRequest", id="garbage later"),
    pytest.param(["hello", api.InspectRequest(frame=pb.Frame())], "INVALID_ARGUMENT", "count from 1", id="trigger 0"),
    pytest.param(
        ["hello", api.InspectRequest(frame=pb.Frame(trigger=2**64 - 1, pixel_format=1))],
        "OUT_OF_RANGE",
        "number from there",
        id="the largest trigger there is",
    ),
    pytest.param(
        ["hello", api.InspectRequest(frame=pb.Frame(trigger=2**63, part_id="\n"))],
        "OUT_OF_RANGE",
        "number from there",
        id="a trigger far ahead in a bad frame",
    ),
    pytest.param(
        [api.InspectRequest(hello=api.Hello(line="a", camera="nobody"))], "NOT_FOUND", "no camera", id="unknown camera"
    ),
    pytest.param(
        [api.InspectRequest(hello=api.Hello(line="a", camera="c" * 3_000_000))],
        "INVALID_ARGUMENT",
        "no name",
        id="huge name",
    ),
    pytest.param([api.InspectRequest(hello=api.Hello())], "NOT_FOUND", "no camera", id="empty hello"),
    pytest.param(
        [api.InspectRequest(hello=api.Hello(line="a", camera="cam1", client="\r\n"))],
        "INVALID_ARGUMENT",
        "hello.client",
        id="control characters for the log",
    ),
]


@pytest.mark.parametrize(("messages", "code", "fact"), VIOLATIONS)
def test_a_broken_protocol_ends_the_stream_with_what_to_do(line: Line, messages: list, code: str, fact: str) -> None:
    camera = Camera(line.channel)
    for message in messages:
        if message == "hello":
            camera.hello()
        else:
            camera.raw(message if isinstance(message, bytes) else message.SerializeToString())
    status, details = camera.failure()
    assert status.name == code
    assert fact in details
    assert len(details) <= 1024
    wait_for(lambda: not line.pipeline.busy, "the session's end")
    line.camera().call.cancel()


def test_answers_owed_come_before_the_error(line: Line) -> None:
    camera = line.camera()
    line.pipeline.hold()
    camera.frame(1)
    wait_for(lambda: line.pipeline.held == 1, "the frame")
    camera.hello()
    line.pipeline.release()
    assert camera.inspection().trigger == 1
    assert camera.failure()[0] is grpc.StatusCode.FAILED_PRECONDITION


def test_one_client_per_camera(lines: Lines) -> None:
    line = lines.make(("cam1", "cam2"))
    first = line.camera()
    second = Camera(line.channel)
    second.hello()
    status, details = second.failure()
    assert status is grpc.StatusCode.ALREADY_EXISTS
    assert 'already streams from "test 1"' in details
    line.camera("cam2").call.cancel()
    first.frame(1)
    assert first.inspection().trigger == 1


def test_a_client_that_vanishes_mid_part_loses_no_verdict_and_frees_its_camera(line: Line) -> None:
    camera = line.camera()
    line.pipeline.hold()
    camera.frame(1)
    wait_for(lambda: line.pipeline.held == 1, "the frame")
    camera.call.cancel()
    wait_for(lambda: not line.pipeline.busy, "the session's end")
    line.pipeline.release()
    assert [one.trigger for one in line.pipeline.inspections] == [1]
    again = line.camera()
    assert again.session.next_trigger == 2
    again.frame(1)
    assert again.inspection().sequence == 1
    assert _camera_threads() <= 1


def test_the_next_stream_learns_of_a_frame_that_is_being_taken(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the camera's next part gets the same number, and so the verdict of another part."""
    submit, taking, left = line.pipeline.submit, threading.Event(), threading.Event()
    free_while_taking: list[bool] = []

    def slow_submit(*arguments: Any) -> None:
        taking.set()
        left.wait(10)
        # Long enough for the stream to end, if it were to end before its last frame is taken.
        with contextlib.suppress(AssertionError):
            wait_for(lambda: not line.pipeline.busy, "the session's end", timeout_s=0.5)
        free_while_taking.append(not line.pipeline.busy)
        submit(*arguments)

    monkeypatch.setattr(line.pipeline, "submit", slow_submit)
    camera = line.camera()
    camera.frame(1)
    assert taking.wait(10)
    camera.call.cancel()
    left.set()
    wait_for(lambda: not line.pipeline.busy and bool(line.pipeline.inspections), "frame and session to end")
    assert free_while_taking == [False]
    assert line.camera().session.next_trigger == 2


def test_threads_end_with_their_streams(line: Line) -> None:
    for _ in range(5):
        camera = line.camera()
        camera.frame(line.pipeline.next_trigger["cam1"])
        camera.inspection()
        camera.call.cancel()
        wait_for(lambda: not line.pipeline.busy, "the session's end")
    wait_for(lambda: _camera_threads() == 0, "the reader threads to end")


def _camera_threads() -> int:
    return sum(thread.name == "camera-cam1" for thread in threading.enumerate())


def test_more_streams_than_allowed_are_refused_at_once(lines: Lines) -> None:
    line = lines.make(("cam1", "cam2"), max_streams=1)
    first = line.camera()
    second = Camera(line.channel)
    second.hello("a", "cam2")
    status, details = second.failure()
    assert status is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "1 camera streams are open" in details
    first.call.cancel()
    wait_for(lambda: not line.pipeline.busy, "the session's end")


def test_a_client_that_never_reads_is_cut_off(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTP/2 stops the service from sending, and answers must not pile up."""
    monkeypatch.setattr(line.server._servicer._cameras, "_max_unread", 50)
    monkeypatch.setattr("inspector.rpc.camera_stream.OVERFLOW_GRACE_S", 0.05)
    camera = line.camera()
    trigger = 0
    while line.pipeline.busy and trigger < 20_000:
        trigger += 1
        camera.frame(trigger, part_id="x" * 128)
        if trigger % 100 == 0:
            sent = trigger
            wait_for(lambda: len(line.pipeline.frames) >= sent or not line.pipeline.busy, "frames taken")  # noqa: B023
    wait_for(lambda: not line.pipeline.busy, "the stream to be cut off")
    assert trigger < 20_000
    taken = line.pipeline.next_trigger["cam1"] - 1
    assert [one.trigger for one in line.pipeline.inspections] == list(range(1, taken + 1))
    assert camera.failure()[0] in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.CANCELLED)


def test_a_client_that_reads_again_is_told_why(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line.server._servicer._cameras, "_max_unread", 50)
    camera = line.camera()
    line.pipeline.hold()
    for trigger in range(1, 102):
        camera.frame(trigger)
    wait_for(lambda: line.pipeline.held == 101, "the frames")
    with line.pipeline._lock:  # nothing is read while the verdicts come, as in a burst
        line.pipeline.release()
    status, details = camera.failure()
    assert status is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "50 answers wait unread" in details


def test_a_client_that_says_nothing_is_not_waited_for(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inspector.rpc.camera_stream.HELLO_TIMEOUT_S", 0.05)
    assert Camera(line.channel).failure()[0] is grpc.StatusCode.CANCELLED


def test_a_fault_of_the_service_tells_an_id_and_no_internals(line: Line, caplog: pytest.LogCaptureFixture) -> None:
    camera = line.camera()
    line.pipeline.fault = ZeroDivisionError("secret detail")
    camera.frame(1)
    status, details = camera.failure()
    assert status is grpc.StatusCode.INTERNAL
    assert "secret" not in details
    fault = details.split()[1]
    (entry,) = [record for record in caplog.records if fault in record.getMessage()]
    assert entry.exc_info is not None
    assert isinstance(entry.exc_info[1], ZeroDivisionError)


def test_a_full_journal_makes_the_service_unavailable(line: Line) -> None:
    camera = line.camera()
    line.pipeline.fault = JournalError("the journal takes no more verdicts: free space on its disk")
    camera.frame(1)
    assert camera.failure() == (
        grpc.StatusCode.UNAVAILABLE,
        "the journal takes no more verdicts: free space on its disk",
    )


def test_stopping_answers_what_is_in_flight_and_takes_no_more(line: Line) -> None:
    camera = line.camera()
    line.pipeline.hold()
    camera.frame(1)
    wait_for(lambda: line.pipeline.held == 1, "the frame")
    stopping = threading.Thread(target=line.server.stop)
    stopping.start()
    wait_for(lambda: not line.server._servicer._cameras._open or line.server._servicer._cameras._stopping, "the stop")
    camera.frame(2)
    line.pipeline.release()
    assert camera.inspection().trigger == 1
    status, details = camera.failure()
    assert status is grpc.StatusCode.UNAVAILABLE
    assert "being stopped" in details
    stopping.join(10)
    assert not stopping.is_alive()


@given(st.lists(st.binary(max_size=80), max_size=4))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_messages_never_break_the_service(line: Line, messages: list[bytes]) -> None:
    camera = Camera(line.channel)
    camera.hello()
    camera.read()
    for message in messages:
        camera.raw(message)
    camera.half_close()
    try:
        camera.rest()
    except grpc.RpcError as error:
        assert error.code() in (  # noqa: PT017
            grpc.StatusCode.INVALID_ARGUMENT,
            grpc.StatusCode.FAILED_PRECONDITION,
            grpc.StatusCode.OUT_OF_RANGE,
        )
    wait_for(lambda: not line.pipeline.busy, "the session's end")
