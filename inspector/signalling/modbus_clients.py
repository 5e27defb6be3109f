"""The clients of the Modbus TCP output: who may connect, what their requests are answered with, and what each may cost.

pymodbus encodes and decodes the messages; connections are ours, because a plant network needs what pymodbus' server leaves
out: answers to pipelined requests, exception codes as the specification has them, and a bound on what a flooding or deaf
client costs.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pymodbus.constants import ExcCodes
from pymodbus.framer import FramerSocket
from pymodbus.pdu import DecodePDU, ExceptionResponse, ModbusPDU
from pymodbus.pdu.register_message import (
    ReadHoldingRegistersResponse,
    ReadInputRegistersResponse,
    WriteMultipleRegistersResponse,
    WriteSingleRegisterResponse,
)

from inspector.errors import SignalError
from inspector.signalling.commands import PlcWatch, Request
from inspector.signalling.registers import ANSWER_ADDRESS, ANSWER_SIZE, CONTROL_ADDRESS, IMAGE_SIZE
from inspector.signalling.station import StationRegisters

_log = logging.getLogger(__name__)

MAX_CONNECTIONS = 32
_MAX_REGISTERS = 125  # of one answer: MODBUS Application Protocol V1.1b3, sections 6.3 and 6.4
# Transaction, protocol (0), length of what follows: Modbus TCP guide V1.0b, section 3.1.
_HEADER = struct.Struct(">HHH")
_RANGE = struct.Struct(">HH")
_MIN_LENGTH, _MAX_LENGTH = 2, 254
_WRITE_ONE, _WRITE_MANY, _MAX_WRITTEN = 6, 16, 123
_ANSWERS: dict[int, type[ModbusPDU]] = {3: ReadHoldingRegistersResponse, 4: ReadInputRegistersResponse}
# A client that asks more often than 16 times in 5 ms waits: without this a flood would take the interpreter's time from
# the verdicts. A PLC polls some hundred times a second at most.
_REQUESTS_PER_TURN, _TURN_S = 16, 0.005
_DRAIN_S = 5.0


@dataclass(frozen=True, slots=True)
class PlcControl:
    """Which PLCs may give commands, by address or network, and what is called then: from the server's thread, must not block.

    A PLC whose heartbeat stands still for `timeout_s` is told as silent; 0 watches none.
    """

    writers: Sequence[str]
    on_command: Callable[[Request], None]
    on_refused: Callable[[str], None]
    on_watch: Callable[[str, PlcWatch], None]
    timeout_s: float = 0.0


class Allowed:
    """Which clients may connect, or may write."""

    def __init__(self, networks: Sequence[str], on_refused: Callable[[str], None]) -> None:
        try:
            self._networks = [ipaddress.ip_network(network) for network in networks]
        except ValueError as error:
            raise SignalError(f"{error}: correct the addresses in [modbus] of the line file") from error
        self._on_refused = on_refused

    def __contains__(self, host: str) -> bool:
        if not self._networks:
            return True
        try:
            address = ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return False
        # A socket for both families shows IPv4 clients as ::ffff:a.b.c.d.
        address = getattr(address, "ipv4_mapped", None) or address
        return any(address in network for network in self._networks)

    def refuse(self, host: str) -> None:
        """Tell of a client that is turned away."""
        self._on_refused(host)


class ModbusDesk:
    """What all connections share: the stations, the heartbeat, who may connect and who is connected."""

    def __init__(
        self,
        units: Mapping[int, StationRegisters],
        allowed: Allowed,
        control: PlcControl | None = None,
        writers: Allowed | None = None,
        names: Mapping[int, str] | None = None,
    ) -> None:
        self.units = units
        self.allowed = allowed
        self._control, self._writers, self._names = control, writers, names or {}
        self.heartbeat = 0
        self.connections: set[Connection] = set()
        self.framer = FramerSocket(DecodePDU(True))

    def beat(self) -> None:
        """Count the heartbeat up in its 16 bits."""
        self.heartbeat = (self.heartbeat + 1) & 0xFFFF

    def admit(self, newcomer: Connection) -> None:
        """Take a client in; when full, in place of one that never asked properly, or else of the longest silent."""
        if len(self.connections) >= MAX_CONNECTIONS:
            quietest = min(self.connections, key=lambda connection: (connection.answered, connection.last_heard))
            quietest.drop("more than the allowed number of connections, and the quietest")
        self.connections.add(newcomer)

    def hang_up(self) -> None:
        """End every connection."""
        for connection in tuple(self.connections):
            connection.hang_up()

    def answer(self, unit: int, request: bytes, host: str, now_s: float) -> ModbusPDU:
        """The response to one request (function code and data), as in chapter 6 and 7 of the specification."""
        function = request[0]
        if unit not in self.units:
            return ExceptionResponse(function, ExcCodes.GATEWAY_NO_RESPONSE)
        if function in (_WRITE_ONE, _WRITE_MANY):
            return self._write(unit, request, host, now_s)
        if function not in _ANSWERS:
            return ExceptionResponse(function, ExcCodes.ILLEGAL_FUNCTION)
        if len(request) != 1 + _RANGE.size:
            return ExceptionResponse(function, ExcCodes.ILLEGAL_VALUE)
        address, count = _RANGE.unpack_from(request, 1)
        if not 1 <= count <= _MAX_REGISTERS:
            return ExceptionResponse(function, ExcCodes.ILLEGAL_VALUE)
        if address >= CONTROL_ADDRESS and address + count <= ANSWER_ADDRESS + ANSWER_SIZE:
            return _ANSWERS[function](registers=self.units[unit].read_control(address, count))
        if address + count > IMAGE_SIZE:
            return ExceptionResponse(function, ExcCodes.ILLEGAL_ADDRESS)
        return _ANSWERS[function](registers=self.units[unit].read(address, count, self.heartbeat))

    def _write(self, unit: int, request: bytes, host: str, now_s: float) -> ModbusPDU:
        """Take a command of a PLC that may give one; for all others the registers cannot be written."""
        function = request[0]
        if self._control is None or self._writers is None or not self._control.writers:
            return ExceptionResponse(function, ExcCodes.ILLEGAL_FUNCTION)
        if host not in self._writers:
            self._writers.refuse(host)
            return ExceptionResponse(function, ExcCodes.ILLEGAL_FUNCTION)
        if function == _WRITE_ONE:
            if len(request) != 1 + _RANGE.size:
                return ExceptionResponse(function, ExcCodes.ILLEGAL_VALUE)
            address, value = _RANGE.unpack_from(request, 1)
            values: tuple[int, ...] = (value,)
        else:
            address, count = _RANGE.unpack_from(request, 1) if len(request) > _RANGE.size + 1 else (0, 0)
            # Section 6.12 of the specification: address, quantity, byte count, values.
            if not 1 <= count <= _MAX_WRITTEN or len(request) != 6 + 2 * count or request[5] != 2 * count:
                return ExceptionResponse(function, ExcCodes.ILLEGAL_VALUE)
            values = struct.unpack_from(f">{count}H", request, 6)
        if not CONTROL_ADDRESS <= address <= address + len(values) <= ANSWER_ADDRESS:
            return ExceptionResponse(function, ExcCodes.ILLEGAL_ADDRESS)
        if (told := self.units[unit].write(address, values, now_s)) is not None:
            number, command, recipe_code = told
            self._control.on_command(Request(self._names[unit], number, command, recipe_code, f"PLC {host}"))
        if function == _WRITE_ONE:
            return WriteSingleRegisterResponse(address=address, registers=list(values))
        return WriteMultipleRegistersResponse(address=address, count=len(values))


class Connection(asyncio.Protocol):
    """One client. Costs at most one received chunk, one full send buffer and `_REQUESTS_PER_TURN` answers per turn."""

    def __init__(self, desk: ModbusDesk) -> None:
        self._desk = desk
        self._loop = asyncio.get_running_loop()
        self._received = b""
        self._waiting: asyncio.TimerHandle | None = None
        self._deaf: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport
        self._host = ""
        self.answered = False
        self.last_heard = self._loop.time()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        peer = transport.get_extra_info("peername")
        self._host = str(peer[0]) if peer else ""
        if self._host not in self._desk.allowed:
            self._desk.allowed.refuse(self._host)
            transport.abort()
            return
        _keep_alive(transport.get_extra_info("socket"))
        self._desk.admit(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._desk.connections.discard(self)
        for timer in (self._waiting, self._deaf):
            if timer is not None:
                timer.cancel()

    def data_received(self, data: bytes) -> None:
        self._received += data
        self.last_heard = self._loop.time()
        if self._waiting is None and self._deaf is None:
            self._work()

    def pause_writing(self) -> None:
        # The client does not read its answers: listen to it no more, and give it up if that goes on.
        self._transport.pause_reading()
        self._deaf = self._loop.call_later(_DRAIN_S, self.drop, "does not read its answers")

    def resume_writing(self) -> None:
        if self._deaf is not None:
            self._deaf.cancel()
            self._deaf = None
        if self._waiting is None:
            self._work()

    def drop(self, why: str) -> None:
        """End the connection of a client that misbehaves, or that another needs the place of."""
        _log.warning("Modbus client %s dropped: %s", self._transport.get_extra_info("peername"), why)
        self.hang_up()

    def hang_up(self) -> None:
        """End the connection at once."""
        self._desk.connections.discard(self)
        self._transport.abort()

    def _work(self) -> None:
        """Answer the complete requests received so far, in order."""
        self._waiting = None
        for _ in range(_REQUESTS_PER_TURN):
            if self._transport.is_closing() or self._deaf is not None:
                return
            if not self._answer_next():
                self._transport.resume_reading()
                return
        self._transport.pause_reading()
        self._waiting = self._loop.call_later(_TURN_S, self._work)

    def _answer_next(self) -> bool:
        """Answer one request; False if none is complete."""
        if len(self._received) < _HEADER.size:
            return False
        _, protocol, length = _HEADER.unpack_from(self._received)
        if protocol != 0 or not _MIN_LENGTH <= length <= _MAX_LENGTH:
            self.drop("what it sent is not Modbus TCP")
            return False
        size = _HEADER.size + length
        if len(self._received) < size:
            return False
        message, self._received = self._received[:size], self._received[size:]
        _, unit, transaction, request = self._desk.framer.decode(message)
        response = self._desk.answer(unit, request, self._host, self._loop.time())
        response.dev_id, response.transaction_id = unit, transaction
        self._transport.write(self._desk.framer.buildFrame(response))
        self.answered = True
        return True


def _keep_alive(connection: socket.socket) -> None:
    """Let the kernel find clients that vanished (cable pulled, power off) within half a minute."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, option):  # not on every system
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
