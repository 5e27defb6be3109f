"""Commands over Modbus: who may give them, what is taken, what is answered; by raw bytes and by mbpoll."""

from __future__ import annotations

import re
import struct
import subprocess
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plc_desk import RawClient, wait_until
from requires import require_tool

from inspector.signalling.commands import Answer, Fault, Outcome, PlcWatch, Request, Why
from inspector.signalling.modbus import ModbusSignal
from inspector.signalling.modbus_clients import PlcControl
from inspector.signalling.registers import ANSWER_ADDRESS, ANSWER_BLOCK, ANSWER_SIZE, CONTROL_ADDRESS, CONTROL_BLOCK
from inspector.signalling.signal import StationState

CONTROL = {register.name: CONTROL_ADDRESS + register.address for register in CONTROL_BLOCK}
ANSWER = {register.name: ANSWER_ADDRESS + register.address for register in ANSWER_BLOCK}


class Desk:
    """A Modbus output with what it told of commands."""

    def __init__(self, writers: tuple[str, ...] = ("127.0.0.1",), timeout_s: float = 0.0) -> None:
        self.commands: list[Request] = []
        self.refused: list[str] = []
        self.watched: list[tuple[str, PlcWatch]] = []
        told = PlcControl(
            writers, self.commands.append, self.refused.append, lambda *about: self.watched.append(about), timeout_s
        )
        self.signal = ModbusSignal("127.0.0.1", 0, {"s1": 1, "s2": 2}, heartbeat_ms=10, control=told)
        self.signal.start()
        self.signal.set_station("s1", StationState.READY, "tiles", "tiles@0123456789ab", ())

    def ask(self, pdu: bytes, unit: int = 1) -> bytes:
        """Send one request PDU; gives the response's PDU."""
        with RawClient(self.signal.port) as client:
            client.socket.sendall(struct.pack(">HHHB", 7, 0, 1 + len(pdu), unit) + pdu)
            return client.receive()[7:]

    def read(self, address: int, count: int, unit: int = 1) -> list[int]:
        with RawClient(self.signal.port) as client:
            return client.read(address, count, unit)


def write_many(address: int, *values: int) -> bytes:
    return struct.pack(f">BHHB{len(values)}H", 16, address, len(values), 2 * len(values), *values)


def write_one(address: int, value: int) -> bytes:
    return struct.pack(">BHH", 6, address, value)


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk()
    yield made
    made.signal.close()


def test_the_blocks_are_where_the_readme_says() -> None:
    assert (CONTROL["command_number"], CONTROL["command"], CONTROL["command_recipe"]) == (2000, 2001, 2002)
    assert (CONTROL["plc_heartbeat"], ANSWER["answer_number"], ANSWER_SIZE) == (2004, 2008, 8)


def test_a_command_is_taken_when_its_number_changes(desk: Desk) -> None:
    assert desk.ask(write_many(2000, 1, 3, 0x1234, 0x5678)) == struct.pack(">BHH", 16, 2000, 4)
    assert desk.ask(write_many(2000, 1, 2, 0, 0)) == struct.pack(">BHH", 16, 2000, 4)
    desk.ask(write_many(2000, 2, 2, 0, 0), unit=2)
    assert desk.commands == [
        Request("s1", 1, 3, 0x12345678, "PLC 127.0.0.1"),
        Request("s2", 2, 2, 0, "PLC 127.0.0.1"),
    ]


def test_a_plc_that_writes_single_registers_writes_the_number_last(desk: Desk) -> None:
    for address, value in ((2001, 3), (2002, 0xAAAA), (2003, 0xBBBB)):
        assert desk.ask(write_one(address, value)) == write_one(address, value)
    assert desk.commands == []
    desk.ask(write_one(2000, 9))
    assert desk.commands == [Request("s1", 9, 3, 0xAAAABBBB, "PLC 127.0.0.1")]


def test_answers_faults_and_what_was_written_are_read_back(desk: Desk) -> None:
    desk.ask(write_many(2000, 5, 6, 0, 0))
    desk.signal.answer(desk.commands[0], Outcome(Answer.FAILED, Why.CHECK_FAILED, 12, 3))
    desk.signal.show_fault("s1", Fault.CHECK_FAILED)
    assert desk.read(2000, 16) == [5, 6, 0, 0, 0, 0, 0, 0, 5, 4, 5, 3, 0, 12, 3, 0]
    assert desk.read(2000, 16, unit=2) == [0] * 16
    assert desk.read(0, 1) == [0x5649]


REFUSED = [
    pytest.param(write_many(2008, 1), 2, id="an answer cannot be written"),
    pytest.param(write_many(2007, 1, 1), 2, id="nor across the border to it"),
    pytest.param(write_many(1999, 1, 1), 2, id="nor from before it"),
    pytest.param(write_many(16, 1), 2, id="nor a verdict"),
    pytest.param(write_one(4, 1), 2, id="nor the state"),
    pytest.param(struct.pack(">BHHB", 16, 2000, 0, 0), 3, id="no values"),
    pytest.param(struct.pack(">BHHBH", 16, 2000, 2, 4, 1), 3, id="fewer values than said"),
    pytest.param(struct.pack(">BHHBHH", 16, 2000, 1, 2, 1, 1), 3, id="more values than said"),
    pytest.param(struct.pack(">BHHBH", 16, 2000, 1, 9, 1), 3, id="another byte count"),
    pytest.param(struct.pack(">BHHB", 16, 2000, 200, 0), 3, id="more than fits a message"),
    pytest.param(struct.pack(">BH", 6, 2000), 3, id="half a write"),
    pytest.param(struct.pack(">BHHH", 6, 2000, 1, 1), 3, id="a write and a half"),
    pytest.param(struct.pack(">BHH", 5, 2000, 0xFF00), 1, id="a coil"),
    pytest.param(struct.pack(">BHHHHBH", 23, 2000, 1, 2000, 1, 2, 1), 1, id="read and write at once"),
]


@pytest.mark.parametrize(("pdu", "code"), REFUSED)
def test_everything_else_is_refused_and_changes_nothing(desk: Desk, pdu: bytes, code: int) -> None:
    before = desk.read(2000, 16)
    assert desk.ask(pdu) == bytes([pdu[0] | 0x80, code])
    assert desk.read(2000, 16) == before
    assert desk.commands == []


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.sampled_from([6, 16]), st.binary(max_size=40))
def test_any_write_is_answered_and_leaves_results_alone(desk: Desk, function: int, data: bytes) -> None:
    response = desk.ask(bytes([function]) + data)
    assert response[0] in (function, function | 0x80)
    assert desk.read(0, 2) == [0x5649, 1]
    assert desk.read(4, 1) == [1]


@pytest.mark.parametrize(
    ("make", "told"),
    [
        pytest.param(lambda: Desk(("10.0.0.0/8",)), True, id="an address that is not named"),
        pytest.param(lambda: Desk(()), False, id="nobody is named"),
    ],
)
def test_who_is_not_named_cannot_write_and_may_read(make: Callable[[], Desk], told: bool) -> None:
    desk = make()
    try:
        assert desk.ask(write_many(2000, 1, 2, 0, 0)) == b"\x90\x01"
        assert desk.ask(write_one(2000, 1)) == b"\x86\x01"
        assert desk.read(2000, 16) == [0] * 16
        assert desk.commands == []
        assert bool(desk.refused) is told
    finally:
        desk.signal.close()


def test_two_plcs_at_once_see_each_others_commands(desk: Desk) -> None:
    with RawClient(desk.signal.port) as first, RawClient(desk.signal.port) as second:
        for client, number in ((first, 1), (second, 2), (first, 3)):
            pdu = write_many(2000, number, 1, 0, 0)
            client.socket.sendall(struct.pack(">HHHB", 7, 0, 1 + len(pdu), 1) + pdu)
            client.receive()
        assert first.read(2000, 1) == second.read(2000, 1) == [3]
    assert [request.number for request in desk.commands] == [1, 2, 3]


def test_a_plc_whose_heartbeat_stands_still_is_told_once_and_its_return_too() -> None:
    desk = Desk(timeout_s=0.15)
    try:
        assert desk.read(ANSWER["plc_watch"], 1) == [PlcWatch.OFF]
        desk.ask(write_one(2004, 1))
        wait_until(lambda: desk.watched[-1:] == [("s1", PlcWatch.SILENT)], "the silence")
        assert desk.read(ANSWER["plc_watch"], 1) == [PlcWatch.SILENT]
        desk.ask(write_one(2004, 2))
        wait_until(lambda: len(desk.watched) > 2, "the return")
        assert desk.watched[:3] == [("s1", PlcWatch.ALIVE), ("s1", PlcWatch.SILENT), ("s1", PlcWatch.ALIVE)]
        assert desk.read(ANSWER["plc_watch"], 1, unit=2) == [PlcWatch.OFF]
    finally:
        desk.signal.close()


def test_mbpoll_gives_a_command_and_reads_its_answer(desk: Desk) -> None:
    mbpoll = require_tool("mbpoll")
    target = ["-a", "1", "-p", str(desk.signal.port), "-0", "-t", "4"]
    run = subprocess.run(
        [mbpoll, "-1", "-q", *target, "-r", "2000", "127.0.0.1", "7", "6", "0", "0"],
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert desk.commands == [Request("s1", 7, 6, 0, "PLC 127.0.0.1")]
    desk.signal.answer(desk.commands[0], Outcome(Answer.DONE, checked=12))
    shown = subprocess.run(
        [mbpoll, "-1", "-q", *target, "-r", "2008", "-c", "8", "127.0.0.1"], capture_output=True, text=True, timeout=20
    )
    assert re.findall(r"^\[\d+\]:\s+(\d+)", shown.stdout, re.MULTILINE) == ["7", "1", "0", "0", "0", "12", "0", "0"]
