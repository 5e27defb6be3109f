"""Frames without copies: the same bytes and the same values as protobuf's own."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from inspector.errors import InvalidRequest
from inspector.part import Frame, PixelFormat
from inspector.v1 import inspection_pb2
from inspector.v1.inspection_service_pb2 import Hello, InspectRequest
from inspector.wire import decode_request, encode_frame, encode_hello

BIG = 1 << 17
texts = st.text(max_size=20)
frames = st.builds(
    Frame,
    trigger=st.integers(0, 2**64 - 1),
    pixel_format=st.sampled_from(PixelFormat),
    width_px=st.integers(0, 2**32 - 1),
    height_px=st.integers(0, 2**32 - 1),
    stride_bytes=st.integers(0, 2**32 - 1),
    data=st.sampled_from([b"", b"x", b"\x4a" * 200, bytes(BIG), b"\x12\x4a" * BIG]),
    part_id=texts,
    view=texts,
    capture_time=st.none() | st.just(datetime(2026, 3, 1, 1, 2, 3, 456789, UTC)),
)


def whole(message: bytes) -> InspectRequest:
    """What decode_request found, with the pixels put back."""
    request, pixels = decode_request(message)
    if isinstance(pixels, memoryview):
        assert request.frame.data == b""
        request.frame.data = bytes(pixels)
    return request


@given(frames)
@settings(max_examples=60, deadline=None)
def test_protobuf_reads_what_was_encoded_and_gives_the_same_bytes(frame: Frame) -> None:
    message = encode_frame(frame, 1 << 30)
    request = InspectRequest.FromString(message)
    assert request.WhichOneof("message") == "frame"
    sent = request.frame
    assert (sent.trigger, sent.part_id, sent.view) == (frame.trigger, frame.part_id, frame.view)
    assert (sent.pixel_format, sent.width, sent.height) == (frame.pixel_format, frame.width_px, frame.height_px)
    assert (sent.stride, sent.data) == (frame.stride_bytes, frame.data)
    assert sent.HasField("capture_time") == (frame.capture_time is not None)
    if frame.capture_time is not None:
        assert sent.capture_time.ToDatetime(UTC) == frame.capture_time
    assert whole(message) == request


def test_large_pixels_are_a_view_of_the_message() -> None:
    message = encode_frame(Frame(1, PixelFormat.MONO8, 512, 256, 0, bytes(BIG)), 1 << 30)
    request, pixels = decode_request(message)
    assert isinstance(pixels, memoryview)
    assert pixels.obj is message
    assert pixels.readonly
    assert len(pixels) == BIG
    assert request.frame.trigger == 1


def test_a_frame_beyond_the_limit_is_sent_one_byte_too_long() -> None:
    message = encode_frame(Frame(1, PixelFormat.MONO8, 512, 256, 0, bytes(range(256)) * 4), 300)
    assert InspectRequest.FromString(message).frame.data == bytes(range(256)) + bytes(range(45))


def test_hello_is_that_of_protobuf() -> None:
    expected = InspectRequest(hello=Hello(line="a", camera="b", client="c"))
    assert InspectRequest.FromString(encode_hello("a", "b", "c")) == expected


def frame_bytes(body: bytes, tag: int = 0x12) -> bytes:
    length = len(body)
    varint = b""
    while length > 127:
        varint += bytes([length & 127 | 128])
        length >>= 7
    return bytes([tag]) + varint + bytes([length]) + body


DATA = inspection_pb2.Frame(data=bytes(BIG)).SerializeToString()
UNUSUAL = [
    pytest.param(frame_bytes(DATA + b"\x08\x07"), id="the trigger follows the data, as a hand-written client may send"),
    pytest.param(frame_bytes(b"\x4a\x01x" + DATA), id="data twice: the last counts"),
    pytest.param(frame_bytes(DATA) + frame_bytes(b"\x08\x07"), id="two frames in one message are merged"),
    pytest.param(frame_bytes(b"\x08\x07" + b"\xfa\x01\x03abc" + DATA), id="an unknown field before the data"),
    pytest.param(frame_bytes(b"\x08\x07" * 40 + DATA), id="more fields than a frame has"),
    pytest.param(frame_bytes(b"\x12" + b"\x88\x27" + b"p" * 5000 + DATA), id="a part id of 5000 characters"),
    pytest.param(frame_bytes(b"\x7d\x00\x00\x00\x00\x79" + bytes(8) + DATA), id="unknown fixed32 and fixed64 fields"),
    pytest.param(frame_bytes(b"\xca\x00" + DATA[1:]), id="the data's tag with a needless byte"),
    pytest.param(frame_bytes(b"\x88\x00\x07" + DATA), id="the trigger's tag with a needless byte"),
    pytest.param(frame_bytes(b"\x08" + b"\xff" * 9 + b"\x01" + DATA), id="the largest trigger"),
    pytest.param(
        b"\x0a\x02\x0a\x00" + frame_bytes(DATA), id="hello and frame in one message: the last of a oneof counts"
    ),
    pytest.param(frame_bytes(DATA) + b"\x0a\x00", id="frame and then hello"),
    pytest.param(b"\x1a\x01x" + frame_bytes(DATA), id="an unknown field before the frame"),
    pytest.param(frame_bytes(b"\x0b\x0c" + DATA), id="an empty group"),
]


@pytest.mark.parametrize("message", UNUSUAL)
def test_unusual_messages_are_read_as_protobuf_reads_them(message: bytes) -> None:
    assert whole(message) == InspectRequest.FromString(message)


BROKEN = [
    pytest.param(frame_bytes(DATA)[:-1], id="cut off within the pixels"),
    pytest.param(frame_bytes(DATA[:-1]), id="the data are shorter than they say"),
    pytest.param(frame_bytes(b"\x08" + b"\xff" * 11 + DATA), id="a varint without end"),
    pytest.param(frame_bytes(b"\x12\x02\xff\xfe" + DATA), id="a part id that is not UTF-8"),
    pytest.param(frame_bytes(b"\x0f\x00" + DATA), id="wire type 7, which does not exist"),
    pytest.param(b"\x12\xff\xff\xff\xff\x0f" + bytes(BIG), id="a frame longer than the message"),
    pytest.param(b"\xff" * BIG, id="only 0xff"),
    pytest.param(b"\x12", id="a tag alone"),
    pytest.param(b"\x00", id="field number 0"),
]


@pytest.mark.parametrize("message", BROKEN)
def test_broken_messages_are_refused(message: bytes) -> None:
    with pytest.raises(DecodeError):
        InspectRequest.FromString(message)
    with pytest.raises(InvalidRequest, match=f"a message of {len(message)} bytes is no InspectRequest"):
        decode_request(message)


@given(st.binary(max_size=60), st.binary(max_size=10), st.booleans())
@settings(max_examples=400, deadline=None)
def test_any_head_before_large_data_is_read_as_protobuf_reads_it(head: bytes, end: bytes, framed: bool) -> None:
    body = head + DATA + end
    message = frame_bytes(body) if framed else body
    try:
        expected = InspectRequest.FromString(message)
    except DecodeError:
        with pytest.raises(InvalidRequest):
            decode_request(message)
    else:
        assert whole(message) == expected
