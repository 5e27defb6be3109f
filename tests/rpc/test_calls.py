"""The unary calls, pictures, and the server itself, over a live connection."""

from __future__ import annotations

import logging
import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rpc_line import Line, Lines, wait_for
from rpc_twin import TwinPictures, TwinPipeline, TwinRecords, inspection

from inspector.access.strangers import Strangers
from inspector.errors import (
    ConfigError,
    ImageStoreError,
    PageTokenInvalid,
    SchemaOutdated,
    SessionError,
)
from inspector.part import Reason, Verdict
from inspector.records.queries import InspectionFilter
from inspector.rpc.server import RpcServer, check_listen
from inspector.v1 import inspection_pb2 as pb
from inspector.v1 import inspection_service_pb2 as api

SERVICE = "inspector.v1.InspectionService"


def frame_request(trigger: int = 1, line: str = "a", camera: str = "cam1", **fields: object) -> api.InspectFrameRequest:
    frame = pb.Frame(**{"trigger": trigger, "pixel_format": 1, "data": b"\0", **fields})  # type: ignore[arg-type]
    return api.InspectFrameRequest(line=line, camera=camera, frame=frame)


def test_one_frame_one_inspection(line: Line) -> None:
    answer = line.stub.InspectFrame(frame_request(part_id="p")).inspection
    assert (answer.trigger, answer.sequence, answer.verdict) == (1, 1, Verdict.PASS)
    assert line.pipeline.busy == {}


def test_the_answer_is_that_of_the_frame_also_if_triggers_were_skipped(line: Line) -> None:
    answer = line.stub.InspectFrame(frame_request(4)).inspection
    assert (answer.trigger, answer.sequence, answer.reason) == (4, 4, Reason.WITHIN_LIMITS)


def test_a_bad_single_frame_is_an_unknown_part(line: Line) -> None:
    answer = line.stub.InspectFrame(frame_request(part_id="\n")).inspection
    assert (answer.verdict, answer.reason) == (Verdict.UNKNOWN, Reason.FRAME_INVALID)


def test_a_single_frame_may_not_take_a_streaming_cameras_triggers(line: Line) -> None:
    camera = line.camera()
    with pytest.raises(grpc.RpcError) as caught:
        line.stub.InspectFrame(frame_request())
    assert caught.value.code() is grpc.StatusCode.ALREADY_EXISTS
    camera.frame(1, b"\1")
    assert camera.inspection().verdict == Verdict.REJECT


def test_a_client_that_gives_up_frees_the_camera(line: Line) -> None:
    line.pipeline.hold()
    call = line.stub.InspectFrame.future(frame_request())
    wait_for(lambda: line.pipeline.held == 1, "the frame")
    call.cancel()
    wait_for(lambda: not line.pipeline.busy, "the session's end")
    line.pipeline.release()
    assert [one.trigger for one in line.pipeline.inspections] == [1]


WRONG = [
    pytest.param("InspectFrame", frame_request(0), "INVALID_ARGUMENT", "count from 1", id="trigger 0"),
    pytest.param("InspectFrame", api.InspectFrameRequest(), "INVALID_ARGUMENT", "count from 1", id="empty"),
    pytest.param("InspectFrame", frame_request(camera="x"), "NOT_FOUND", "no camera", id="unknown camera"),
    pytest.param("InspectFrame", frame_request(2**64 - 1), "OUT_OF_RANGE", "number from there", id="huge trigger"),
    pytest.param("GetInspection", api.GetInspectionRequest(), "INVALID_ARGUMENT", "got the name", id="no name"),
    pytest.param(
        "GetInspection",
        api.GetInspectionRequest(name="lines/a/inspections/" + "9" * 3_000_000),
        "INVALID_ARGUMENT",
        "got the name",
        id="huge name",
    ),
    pytest.param(
        "GetInspection",
        api.GetInspectionRequest(name="lines/a/inspections/7"),
        "NOT_FOUND",
        "not on record",
        id="not on record",
    ),
    pytest.param(
        "ListInspections", api.ListInspectionsRequest(page_size=-1), "INVALID_ARGUMENT", "page_size", id="size"
    ),
    pytest.param(
        "ListInspections", api.ListInspectionsRequest(verdicts=[9]), "INVALID_ARGUMENT", "verdict 9", id="verdict"
    ),
]


@pytest.mark.parametrize(("method", "request_", "code", "fact"), WRONG)
def test_wrong_requests(line: Line, method: str, request_: object, code: str, fact: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        getattr(line.stub, method)(request_)
    assert caught.value.code().name == code
    assert fact in caught.value.details()


def test_get_and_list(line: Line) -> None:
    line.records.rows = [inspection(n) for n in range(1, 11)]
    name = "lines/a/inspections/4"
    assert line.stub.GetInspection(api.GetInspectionRequest(name=name)).inspection.name == name
    answer = line.stub.ListInspections(api.ListInspectionsRequest(page_size=3, page_token="t", part_id="p"))
    assert [one.sequence for one in answer.inspections] == [10, 9, 8]
    assert line.records.asked == [(InspectionFilter(part_id="p"), 3, "t")]


ERRORS = [
    pytest.param(PageTokenInvalid("the page token is not one"), "INVALID_ARGUMENT", id="page token"),
    pytest.param(SchemaOutdated("run inspector db upgrade"), "FAILED_PRECONDITION", id="schema"),
    pytest.param(SessionError("another line"), "FAILED_PRECONDITION", id="session"),
    pytest.param(ImageStoreError("damaged"), "UNAVAILABLE", id="image store"),
    pytest.param(ConfigError("an error that calls do not foresee"), "INTERNAL", id="unforeseen error of the house"),
    pytest.param(KeyError("x"), "INTERNAL", id="a fault of the code"),
]


@pytest.mark.parametrize(("error", "code"), ERRORS)
def test_errors_and_their_codes(line: Line, monkeypatch: pytest.MonkeyPatch, error: Exception, code: str) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(line.records, "list", fail)
    with pytest.raises(grpc.RpcError) as caught:
        line.stub.ListInspections(api.ListInspectionsRequest())
    assert caught.value.code().name == code
    assert (str(error) in caught.value.details()) == (code != "INTERNAL")


def test_the_database_is_down(line: Line) -> None:
    line.records.down = True
    for call, request in (
        (line.stub.GetInspection, api.GetInspectionRequest(name="lines/a/inspections/1")),
        (line.stub.ListInspections, api.ListInspectionsRequest()),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            call(request)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert line.stub.InspectFrame(frame_request()).inspection.verdict == Verdict.PASS


@pytest.mark.parametrize("size", [0, 1, 256 << 10, (256 << 10) + 1, 5_000_000])
def test_a_picture_comes_in_chunks(line: Line, size: int) -> None:
    data = os.urandom(size)
    line.pictures.pictures["ab" * 32] = (data, "image/png")
    chunks = list(line.stub.GetImage(api.GetImageRequest(sha256="ab" * 32)))
    assert b"".join(chunk.data for chunk in chunks) == data
    assert (chunks[0].media_type, chunks[0].size_bytes) == ("image/png", size)
    assert all(not chunk.media_type and not chunk.size_bytes for chunk in chunks[1:])
    assert max(len(chunk.data) for chunk in chunks) <= 256 << 10


@pytest.mark.parametrize(
    ("key", "code"),
    [("cd" * 32, "NOT_FOUND"), ("", "INVALID_ARGUMENT"), ("../" * 20 + "etc/passwd", "INVALID_ARGUMENT")],
)
def test_pictures_that_are_not_there(line: Line, key: str, code: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        list(line.stub.GetImage(api.GetImageRequest(sha256=key)))
    assert caught.value.code().name == code


def test_too_many_reads_at_once_are_refused_and_cameras_are_not(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, inside = threading.Event(), threading.Semaphore(0)
    listing = line.records.list

    def slow(*arguments: object) -> object:
        inside.release()
        gate.wait(10)
        return listing(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(line.records, "list", slow)
    with ThreadPoolExecutor(16) as pool:
        calls = [pool.submit(line.stub.ListInspections, api.ListInspectionsRequest()) for _ in range(16)]
        for _ in calls:
            assert inside.acquire(timeout=10)
        with pytest.raises(grpc.RpcError) as caught:
            line.stub.ListInspections(api.ListInspectionsRequest())
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        camera = line.camera()
        camera.frame(1)
        assert camera.inspection().trigger == 1
        gate.set()
        assert all(call.result().next_page_token == "" for call in calls)


# The server


@pytest.mark.parametrize("host", ["127.0.0.1", "127.5.6.7", "::1", "localhost"])
def test_loopback_is_allowed(host: str) -> None:
    check_listen(host, secured=False)


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "", "192.168.1.4", "8.8.8.8", "localhost.example.com", "inspector", "*"]
)
def test_nothing_else_is_listened_on_without_certificates(host: str) -> None:
    with pytest.raises(ConfigError, match=r"without TLS: anyone .* \[grpc\.tls\] .* listen on 127\.0\.0\.1"):
        check_listen(host, secured=False)
    check_listen(host, secured=True)
    with pytest.raises(ConfigError, match="may not listen"):
        RpcServer(TwinPipeline(), TwinRecords(), TwinPictures(), host, 0, max_frame_bytes=1 << 20)


def test_a_port_is_not_shared(line: Line) -> None:
    with pytest.raises(ConfigError, match="cannot listen on 127"):
        RpcServer(TwinPipeline(), TwinRecords(), TwinPictures(), "127.0.0.1", line.server.port, max_frame_bytes=1 << 20)


def test_every_method_of_the_api_is_served(line: Line) -> None:
    for method in api.DESCRIPTOR.services_by_name["InspectionService"].methods:
        call = line.channel.stream_stream(f"/{SERVICE}/{method.name}")(iter([b"\xff"]), timeout=10)
        with pytest.raises(grpc.RpcError) as caught:
            list(call)
        assert caught.value.code() is not grpc.StatusCode.UNIMPLEMENTED


def test_health_while_it_serves_and_while_it_stops(line: Line) -> None:
    stub = health_pb2_grpc.HealthStub(line.channel)
    for name in ("", SERVICE):
        answer = stub.Check(health_pb2.HealthCheckRequest(service=name))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(grpc.RpcError) as caught:
        stub.Check(health_pb2.HealthCheckRequest(service="nothing"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    watching = stub.Watch(health_pb2.HealthCheckRequest(service=SERVICE), timeout=30)
    assert next(watching).status == health_pb2.HealthCheckResponse.SERVING
    stopping = threading.Thread(target=line.server.stop)
    stopping.start()
    assert next(watching).status == health_pb2.HealthCheckResponse.NOT_SERVING
    watching.cancel()
    stopping.join(10)
    assert not stopping.is_alive()


def test_stopping_twice_and_before_the_start_is_harmless(lines: Lines) -> None:
    line = lines.make()
    line.server.stop()
    line.server.stop()
    RpcServer(TwinPipeline(), TwinRecords(), TwinPictures(), "127.0.0.1", 0, max_frame_bytes=1 << 20).stop()


def test_garbage_on_the_port_hurts_nobody(line: Line) -> None:
    camera = line.camera()
    pieces = [
        b"",
        b"\0" * 100,
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(500),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 5000,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00" * 100,
        os.urandom(100_000),
    ]
    for piece in pieces:
        with socket.create_connection(("127.0.0.1", line.server.port), timeout=10) as connection:
            try:
                connection.sendall(piece)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass
            except OSError:
                pass  # the server hung up on us, as it should
    camera.frame(1)
    assert camera.inspection().trigger == 1


@pytest.mark.parametrize(
    ("method", "sent", "fact"),
    [
        pytest.param("GetInspection", b"\x00", "1 bytes are no GetInspectionRequest", id="no message"),
        pytest.param("WatchInspections", b"\x07\xff", "are no WatchInspectionsRequest", id="no message, for a stream"),
        pytest.param("GetImage", b"", "expected the 64 lower-case", id="a message that asks for nothing"),
    ],
)
def test_the_log_says_who_sends_what_is_no_request(
    line: Line, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, method: str, sent: bytes, fact: str
) -> None:
    monkeypatch.setattr("inspector.rpc.status._strangers", Strangers(logging.getLogger("inspector.rpc.status")))
    with pytest.raises(grpc.RpcError) as caught:
        list(line.channel.unary_stream(f"/{SERVICE}/{method}")(sent, timeout=10))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    (told,) = caplog.messages
    assert told.startswith("ipv4:127.0.0.1: a call was refused (INVALID_ARGUMENT): ")
    assert fact in told


def test_a_message_beyond_all_limits_ends_only_its_own_stream(lines: Lines) -> None:
    line = lines.make(("cam1", "cam2"))
    good, bad = line.camera(), line.camera("cam2")
    bad.frame(1, bytes(6_000_000))
    assert bad.failure()[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
    good.frame(1)
    assert good.inspection().trigger == 1
    wait_for(lambda: "cam2" not in line.pipeline.busy, "the session's end")


@given(
    st.sampled_from(["InspectFrame", "WatchInspections", "GetInspection", "ListInspections", "GetImage"]),
    st.binary(max_size=60),
)
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_requests_never_break_the_service(line: Line, method: str, message: bytes) -> None:
    call = line.channel.unary_stream(f"/{SERVICE}/{method}")(
        message, timeout=0.3 if method == "WatchInspections" else 10
    )
    try:
        for _ in call:
            pass
    except grpc.RpcError as error:
        codes = {
            "INVALID_ARGUMENT",
            "NOT_FOUND",
            "OUT_OF_RANGE",
            "DEADLINE_EXCEEDED",
            "FAILED_PRECONDITION",
        }
        assert error.code().name in codes  # noqa: PT017
        if error.code() is grpc.StatusCode.INTERNAL:
            assert "deserializing request" in str(error.details())  # noqa: PT017
