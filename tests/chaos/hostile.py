"""Strangers: programs that send to the ports of a line what no sound client would, from an address of their own."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

STRANGER = "127.0.0.66"
_MBAP = struct.Struct(">HHHB")  # Modbus TCP guide V1.0b, section 3.1
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"  # RFC 9113, section 3.4

T = TypeVar("T")


def shower(strategy: st.SearchStrategy[T], send: Callable[[T], object], count: int, number: int) -> None:
    """Send `count` examples of `strategy`; `number` seeds them."""

    @seed(number)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def send_each(example: T) -> None:
        send(example)

    send_each()


def knock(
    port: int, data: bytes, patience_s: float = 0.05, host: str = "127.0.0.1", *, until_closed: bool = False
) -> bytes:
    """Connect, send, and read what comes within `patience_s`, or until the other side hangs up."""
    answer = b""
    try:
        with socket.create_connection((host, port), timeout=5, source_address=(STRANGER, 0)) as connection:
            connection.sendall(data)
            connection.settimeout(patience_s)
            while more := connection.recv(1 << 16):
                answer += more
                if not until_closed:
                    break
    except OSError:
        pass
    return answer


# Messages of gRPC


def serialised(descriptor: Descriptor, **fixed: st.SearchStrategy[Any]) -> st.SearchStrategy[bytes]:
    """Messages of that type with any values, those `fixed` from their own strategies; some are damaged after."""
    sound = messages(descriptor, fixed).map(lambda message: message.SerializeToString())
    return st.one_of(sound, sound, sound.flatmap(_damaged), st.binary(max_size=200))


def _damaged(data: bytes) -> st.SearchStrategy[bytes]:
    def damage(place: int, byte: int, end: bytes, keep: bool) -> bytes:
        spoilt = bytearray(data)
        if spoilt:
            spoilt[place % len(spoilt)] = byte
        return bytes(spoilt if keep else spoilt[: place % (len(spoilt) + 1)]) + end

    return st.builds(damage, st.integers(0, 5000), st.integers(0, 255), st.binary(max_size=4), st.booleans())


def messages(descriptor: Descriptor, fixed: Mapping[str, st.SearchStrategy[Any]] | None = None, depth: int = 0) -> Any:
    """Messages of that type with any values, those `fixed` from their own strategies."""
    fixed = fixed or {}
    fields = {
        field.name: fixed[field.name] if field.name in fixed else _values(field, depth)
        for field in descriptor.fields
        if depth < 3 or field.message_type is None
    }
    make = GetMessageClass(descriptor)

    def build(values: dict[str, Any]) -> Message:
        message = make()
        for name, value in values.items():
            # Some values fit into no field, such as an enum's beyond 32 bits: leave them out.
            with contextlib.suppress(ValueError, TypeError, OverflowError):
                message.MergeFrom(make(**{name: value}))
        return message

    always = {name: strategy for name, strategy in fields.items() if name in fixed}
    return st.fixed_dictionaries(always, optional={k: v for k, v in fields.items() if k not in fixed}).map(build)


def _values(field: FieldDescriptor, depth: int) -> st.SearchStrategy[Any]:
    one = _value(field, depth)
    return st.lists(one, max_size=4) if field.is_repeated else one


def _value(field: FieldDescriptor, depth: int) -> st.SearchStrategy[Any]:
    integers = {
        FieldDescriptor.CPPTYPE_INT32: st.integers(-(2**31), 2**31 - 1),
        FieldDescriptor.CPPTYPE_INT64: st.integers(-(2**63), 2**63 - 1),
        FieldDescriptor.CPPTYPE_UINT32: st.integers(0, 2**32 - 1),
        FieldDescriptor.CPPTYPE_UINT64: st.integers(0, 2**64 - 1),
        FieldDescriptor.CPPTYPE_ENUM: st.integers(-2, 16),
    }
    if field.message_type is not None:
        return messages(field.message_type, depth=depth + 1)
    if field.cpp_type in integers:
        return st.one_of(st.integers(0, 9), integers[field.cpp_type])
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return st.booleans()
    if field.cpp_type in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
        return st.floats()
    return st.binary(max_size=300) if field.type == FieldDescriptor.TYPE_BYTES else st.text(max_size=300)


# Bytes on TCP ports


def http2_bytes() -> st.SearchStrategy[bytes]:
    """What may come to a port that speaks HTTP/2: bytes, its preface with frames that make no sense, other protocols."""
    frame = st.builds(
        lambda length, kind, flags, stream, data: struct.pack(">I", length)[1:] + bytes((kind, flags)) + stream + data,
        st.integers(0, 100),
        st.integers(0, 12),
        st.integers(0, 255),
        st.binary(min_size=4, max_size=4),
        st.binary(max_size=100),
    )
    frames = st.lists(frame, max_size=6).map(lambda some: _PREFACE + b"".join(some))
    return st.one_of(st.binary(max_size=300), frames, frames, http_bytes(), tls_bytes())


def http_bytes() -> st.SearchStrategy[bytes]:
    """Requests of HTTP/1, and what only begins as one."""
    line = st.builds(
        lambda method, path, end: method + b" " + path + b" HTTP/1.1\r\n" + end,
        st.sampled_from([b"GET", b"POST", b"PUT", b"A" * 70, b"\x00"]),
        st.one_of(st.sampled_from([b"/metrics", b"/", b"*", b"/" + b"x" * 70_000]), st.binary(max_size=60)),
        st.one_of(st.just(b"\r\n"), st.binary(max_size=200), st.just(b"Content-Length: 9999999999\r\n\r\n")),
    )
    return st.one_of(line, st.binary(max_size=300))


def tls_bytes() -> st.SearchStrategy[bytes]:
    """Records of TLS whose content makes no sense (RFC 8446, section 5.1)."""
    return st.builds(
        lambda kind, length, data: bytes((kind, 3, 1)) + struct.pack(">H", length) + data,
        st.sampled_from([20, 21, 22, 23, 99]),
        st.integers(0, 2**16 - 1),
        st.binary(max_size=300),
    )


def modbus_requests() -> st.SearchStrategy[bytes]:
    """Requests of Modbus TCP for any unit and function, and bytes that are none."""
    return st.one_of(
        st.binary(max_size=300),
        st.builds(mbap, st.integers(0, 255), st.binary(min_size=1, max_size=252)),
        st.builds(
            lambda unit, function, address, count, more: mbap(unit, bytes((function,)) + address + count + more),
            st.integers(0, 6),
            st.integers(0, 43),
            st.binary(min_size=2, max_size=2),
            st.binary(min_size=2, max_size=2),
            st.binary(max_size=40),
        ),
    )


def mbap(unit: int, request: bytes) -> bytes:
    """A request, function code first, as it goes over the wire."""
    return _MBAP.pack(1, 0, len(request) + 1, unit) + request


def write_registers(unit: int, address: int, values: list[int]) -> bytes:
    """A request that writes registers (function 16)."""
    head = struct.pack(">BHHB", 16, address, len(values), 2 * len(values) & 255)
    return mbap(unit, head + struct.pack(f">{len(values)}H", *values))
