"""Bad input on every port: the service lives, passes nothing because of it, and its log says who it was.

A fault is one message of a stranger. After every few a good and a defective part must be judged as ever.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import grpc
from chaos import pictures
from chaos.account import Fault
from chaos.cable import Cable
from chaos.camera import CannotMeasure
from chaos.hostile import (
    STRANGER,
    http2_bytes,
    http_bytes,
    knock,
    mbap,
    modbus_requests,
    serialised,
    shower,
    tls_bytes,
    write_registers,
)
from chaos.kinds import Kind, clear_up, come_to_rest, finish
from chaos.line import FUZZED, LINE, STRANGERS, Line
from chaos.processes import wait_for
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st

from inspector.part import Reason
from inspector.records.audit import AUDIT_FILE
from inspector.signalling.commands import Answer, Command
from inspector.signalling.registers import ANSWER_ADDRESS, CONTROL_ADDRESS
from inspector.v1 import inspection_pb2, inspection_service_pb2, station_service_pb2

# Messages between two looks at whether the line still judges.
_EACH = 25
# A watch that is let in says nothing for long.
_EACH_WATCH = 3
_METHODS = (
    *inspection_service_pb2.DESCRIPTOR.services_by_name["InspectionService"].methods,
    *station_service_pb2.DESCRIPTOR.services_by_name["StationService"].methods,
)
_FAST_UNIT = 1


def grpc_messages(line: Line, rng: random.Random, count: int) -> int:
    """Messages of every call with any values, and damaged ones; streams and single frames in the name of a camera."""
    cable, numbers = Cable(line.grpc_port, STRANGER), _Numbers()
    with _names_the_stranger(line, GRPC_MESSAGES), grpc.insecure_channel(f"127.0.0.1:{cable.port}") as channel:
        calls = [(method, _requests_of(method, numbers), _examples(method)) for method in _METHODS]
        for _ in range(count):
            for method, requests, examples in calls:
                shower(requests, lambda sent, m=method: _call(channel, m, sent, numbers), examples, _number(rng))
            _still_judges(line, GRPC_MESSAGES, rng)
    cable.close()
    return count * sum(examples for _, _, examples in calls)


def _examples(method: Any) -> int:
    return _EACH_WATCH if method.name.startswith("Watch") else _EACH


@dataclass(slots=True)
class _Numbers:
    """Where the station counts, so that many frames of a stranger are of parts that are to be judged."""

    next_trigger: int = 1

    def learn(self, answer: bytes) -> None:
        """From an answer to a stream."""
        response = inspection_service_pb2.InspectResponse.FromString(answer)
        told = response.session.next_trigger or response.inspection.trigger + 1
        self.next_trigger = max(self.next_trigger, told)


def _requests_of(method: Any, numbers: _Numbers) -> st.SearchStrategy[list[bytes]]:
    """What is sent in one call: one message, or for a stream any number, most with a hello before them."""
    station = st.just(f"lines/{LINE}/stations/{FUZZED.name}")
    fixed = {
        "line": st.just(LINE),
        "camera": st.just(f"cam-{FUZZED.name}"),
        "name": st.one_of(station, st.text(max_size=30)),
    }
    named = {name: strategy for name, strategy in fixed.items() if name in method.input_type.fields_by_name}
    one = serialised(method.input_type, **named)
    if "frame" in method.input_type.fields_by_name:
        request = GetMessageClass(method.input_type)
        about = {"line": LINE, "camera": f"cam-{FUZZED.name}"} if "camera" in named else {}
        usual = _frames(numbers).map(lambda frame: request(frame=frame, **about).SerializeToString())
        one = st.one_of(usual, usual, usual, one)
    if not method.client_streaming:
        return one.map(lambda data: [data])
    hello = inspection_service_pb2.Hello(line=LINE, camera=f"cam-{FUZZED.name}", client="stranger")
    opening = inspection_service_pb2.InspectRequest(hello=hello).SerializeToString()
    frames = st.lists(one, max_size=5)
    return st.one_of(frames, frames.map(lambda some: [opening, *some]), frames.map(lambda some: [opening, *some]))


def _frames(numbers: _Numbers) -> st.SearchStrategy[inspection_pb2.Frame]:
    """Frames of parts about where the station counts; many can be judged, others lie about themselves."""
    size = pictures.SIZE
    return st.builds(
        lambda offset, kind, width, data, more: inspection_pb2.Frame(
            trigger=max(0, numbers.next_trigger + offset),
            pixel_format=kind,
            width=width,
            height=size,
            data=data * (size * size) if len(data) == 1 else data,
            stride=more,
        ),
        st.integers(-2, 6),
        _mostly(st.just(inspection_pb2.PIXEL_FORMAT_MONO8), st.integers(0, 14)),
        _mostly(st.just(size), st.integers(0, 2**32 - 1)),
        _mostly(st.sampled_from([b"\x10", b"\x40", b"\xa0"]), st.binary(max_size=100)),
        _mostly(st.just(0), st.integers(0, 99)),
    )


def _mostly(usual: st.SearchStrategy[Any], other: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(usual, usual, usual, usual, other)


def _call(channel: grpc.Channel, method: Any, requests: Sequence[bytes], numbers: _Numbers) -> None:
    """Make a call and read what comes for a moment. What the client is told is for the tests of the calls."""
    kind = f"{'stream' if method.client_streaming else 'unary'}_{'stream' if method.server_streaming else 'unary'}"
    call = getattr(channel, kind)(f"/{method.containing_service.full_name}/{method.name}", _as_it_is, _as_it_is)
    with suppress(grpc.RpcError):
        answer = call(requests[0], timeout=0.3) if not method.client_streaming else call(iter(requests), timeout=2)
        if not method.server_streaming:
            return
        for data in answer:
            if method.client_streaming:
                numbers.learn(data)


def _as_it_is(data: bytes) -> bytes:
    return data


def bytes_on_grpc(line: Line, rng: random.Random, count: int) -> int:
    """Bytes that are no HTTP/2, or only begin as such."""
    return _knocks(line, rng, count, GRPC_BYTES, line.grpc_port, http2_bytes())


def bytes_on_metrics(line: Line, rng: random.Random, count: int) -> int:
    """Bytes that are no HTTP, and requests for what there is not."""
    return _knocks(line, rng, count, METRICS_BYTES, line.metrics_port, http_bytes())


def bytes_on_modbus(line: Line, rng: random.Random, count: int) -> int:
    """Requests for any unit, function and address, and bytes that are no Modbus."""
    # Random writes of function 6 and 16 may stop the station, as they would from a PLC that is allowed to.
    line.cameras["fast"].weather({Reason.STATION_STOPPED, Reason.NOT_READY})
    return _knocks(line, rng, count, MODBUS_BYTES, line.modbus_port, modbus_requests(), lambda: _start(line, rng))


def bytes_on_tls(line: Line, rng: random.Random, count: int) -> int:
    """Bytes that are no TLS, handshakes that make no sense, and plain HTTP/2, on the port that asks for certificates."""
    return _knocks(line, rng, count, TLS_BYTES, line.grpc_port, st.one_of(tls_bytes(), http2_bytes()))


def modbus_commands(line: Line, rng: random.Random, count: int) -> int:
    """A PLC that may give commands writes anything to the registers of commands and beside them, while parts come."""
    kind, camera = MODBUS_COMMANDS, line.cameras["fast"]
    places = st.integers(CONTROL_ADDRESS - 2, ANSWER_ADDRESS + 10)
    small = st.one_of(st.integers(0, 8), st.integers(0, 65535))
    writes = st.one_of(
        st.builds(write_registers, st.just(_FAST_UNIT), places, st.lists(small, max_size=20)),
        st.builds(lambda at, value: mbap(_FAST_UNIT, struct.pack(">BHH", 6, at, value)), places, small),
    )

    def write(request: bytes) -> None:
        knock(line.modbus_port, request, patience_s=0.5)
        camera.send(kind, pictures.sound(rng))

    for _ in range(count):
        camera.weather({Reason.STATION_STOPPED, Reason.NOT_READY})
        shower(writes, write, _EACH, _number(rng))
        _start(line, rng)
        _still_judges(line, kind, rng)
    finish(camera, kind, rng)
    return count * _EACH


def _start(line: Line, rng: random.Random) -> None:
    """Bring the station back, as its PLC would: a golden check of its own, then start."""
    come_to_rest(line.cameras["fast"], rng)
    for command in (Command.RESET, Command.START):
        wait_for(lambda c=command: _is_done(line, c, rng), f"the station does not answer {command.name} with DONE")
    clear_up([line.cameras["fast"]], rng)


def _is_done(line: Line, command: Command, rng: random.Random) -> bool:
    number = rng.randrange(1, 1 << 16)
    knock(line.modbus_port, write_registers(_FAST_UNIT, CONTROL_ADDRESS, [number, command, 0, 0]), patience_s=0.5)
    answers = (Answer.DONE, Answer.REFUSED, Answer.FAILED)
    wait_for(lambda: _answer(line)[0] == number and _answer(line)[1] in answers, f"no answer to {command.name}")
    return _answer(line)[1] == Answer.DONE


def _answer(line: Line) -> tuple[int, int]:
    """Number and answer of the last command."""
    told = knock(line.modbus_port, mbap(_FAST_UNIT, struct.pack(">BHH", 3, ANSWER_ADDRESS, 2)), patience_s=1)
    return struct.unpack(">HH", told[-4:]) if len(told) == 13 else (0, 0)


def _knocks(
    line: Line,
    rng: random.Random,
    count: int,
    kind: str,
    port: int,
    data: st.SearchStrategy[bytes],
    afterwards: Callable[[], None] = lambda: None,
) -> int:
    with _names_the_stranger(line, kind):
        for _ in range(count):
            shower(data, lambda sent: knock(port, sent, patience_s=0.02, until_closed=True), _EACH, _number(rng))
            afterwards()
            _still_judges(line, kind, rng)
    return count * _EACH


def _still_judges(line: Line, kind: str, rng: random.Random) -> None:
    """One part that must pass and one that must not."""
    camera = line.cameras["fast"]
    camera.send(kind, pictures.good(rng))
    camera.send(kind, pictures.defective(rng))
    come_to_rest(camera, rng)


@contextmanager
def _names_the_stranger(line: Line, kind: str) -> Iterator[None]:
    """Enter a broken promise if neither log nor audit log says where all of it came from."""
    before = len(_told(line))
    yield
    with suppress(CannotMeasure):
        wait_for(lambda: STRANGER in _told(line)[before:], "the log", timeout_s=5)
    if STRANGER not in _told(line)[before:]:
        line.complain(Fault("unnamed", kind, ("", 0), f"the log does not name {STRANGER}"))


def _told(line: Line) -> str:
    audit = line.data_dir / AUDIT_FILE
    return line.log_text() + (audit.read_text(errors="replace") if audit.exists() else "")


def _number(rng: random.Random) -> int:
    return rng.getrandbits(32)


GRPC_MESSAGES = STRANGERS
GRPC_BYTES = "fuzz: bytes on the gRPC port"
MODBUS_BYTES = "fuzz: bytes on the Modbus port"
MODBUS_COMMANDS = "fuzz: Modbus commands"
METRICS_BYTES = "fuzz: bytes on the metrics port"
TLS_BYTES = "fuzz: bytes on the gRPC port with TLS"
FUZZ = (
    Kind(GRPC_MESSAGES, grpc_messages),
    Kind(GRPC_BYTES, bytes_on_grpc),
    Kind(MODBUS_BYTES, bytes_on_modbus),
    Kind(MODBUS_COMMANDS, modbus_commands),
    Kind(METRICS_BYTES, bytes_on_metrics),
)
TLS = Kind(TLS_BYTES, bytes_on_tls)
