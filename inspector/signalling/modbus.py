"""Modbus TCP output: one unit id per station, each with the register map of `registers`.

The server runs in its own thread with its own event loop, so that no PLC can hold up a verdict. pymodbus encodes and
decodes the messages; connections are ours, because a plant network needs what pymodbus' server leaves out: answers to
pipelined requests, exception codes as the specification has them, and a bound on what a flooding or deaf client costs.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import socket
import struct
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
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
from inspector.part import Inspection
from inspector.signalling.commands import Fault, Outcome, PlcWatch, Request
from inspector.signalling.registers import ANSWER_ADDRESS, ANSWER_SIZE, CONTROL_ADDRESS, IMAGE_SIZE
from inspector.signalling.signal import StationState, always_alive
from inspector.signalling.station import StationRegisters

_log = logging.getLogger(__name__)

MAX_CONNECTIONS = 32
_MAX_REGISTERS = 125  # of one answer: MODBUS Application Protocol V1.1b3, sections 6.3 and 6.4
_HEADER = struct.Struct(
    ">HHH"
)  # transaction, protocol (0), length of what follows: Modbus TCP guide V1.0b, section 3.1
_RANGE = struct.Struct(">HH")
_MIN_LENGTH, _MAX_LENGTH = 2, 254
_WRITE_ONE, _WRITE_MANY, _MAX_WRITTEN = 6, 16, 123
_ANSWERS: dict[int, type[ModbusPDU]] = {3: ReadHoldingRegistersResponse, 4: ReadInputRegistersResponse}
# A client that asks more often than 16 times in 5 ms waits: without this a flood would take the interpreter's time from
# the verdicts. A PLC polls some hundred times a second at most.
_REQUESTS_PER_TURN, _TURN_S = 16, 0.005
_DRAIN_S = 5.0
_START_S, _STOP_S = 10.0, 5.0
_NEXT_STEPS = {
    errno.EADDRINUSE: "stop the program that has this port, or choose another port",
    errno.EACCES: "ports below 1024 need the capability CAP_NET_BIND_SERVICE: grant it, or choose a port above 1023",
    errno.EADDRNOTAVAIL: "give an address of this machine, or 0.0.0.0 for all of them",
}


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


class ModbusSignal:
    """Shows verdicts on Modbus TCP registers.

    Args:
        host, port: where to listen; port 0 takes a free one, see `port`.
        stations: unit id (1 to 247) of every station.
        heartbeat_ms: period of the heartbeat, 10 to 60000.
        start_history: results of the last run in order, put in the ring so that a PLC can fetch what it missed.
        allow: addresses and networks that may connect; none: all that reach the port. The protocol has no login.
        control: which clients may write commands, and who takes them; None: nothing can be written.
        on_refused: called with the address of a client that may not connect, from the server's thread; must not block.

    Raises:
        SignalError: a unit id, the port or the heartbeat is out of range, or `allow` names no network.
    """

    def __init__(
        self,
        host: str,
        port: int,
        stations: Mapping[str, int],
        heartbeat_ms: int = 100,
        start_history: Sequence[Inspection] = (),
        allow: Sequence[str] = (),
        on_refused: Callable[[str], None] = lambda _: None,
        control: PlcControl | None = None,
    ) -> None:
        _check(port, stations, heartbeat_ms)
        self._allowed = _Allowed(allow, on_refused)
        self._writers = None if control is None else _Allowed(control.writers, control.on_refused)
        self._control = control
        self._address = (host, port)
        self._heartbeat_s = heartbeat_ms / 1000
        self._stations = {name: StationRegisters(heartbeat_ms) for name in stations}
        self._units = {unit: self._stations[name] for name, unit in stations.items()}
        self._names = {unit: name for name, unit in stations.items()}
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._port = port
        self._unrouted: set[str] = set()
        self._alive_failed = False
        self._beats = 0
        self._connected: Callable[[], int] = lambda: 0
        for inspection in start_history:
            self.publish(inspection)

    @property
    def heartbeats(self) -> int:
        """Beats since the start; stands still while `alive` says no."""
        return self._beats

    @property
    def connections(self) -> int:
        """Clients that are connected now."""
        return self._connected()

    @property
    def port(self) -> int:
        """The port that a PLC connects to."""
        return self._port

    def start(self, alive: Callable[[], bool] = always_alive) -> None:
        """Listen, and beat while `alive` says so.

        Raises:
            SignalError: the address cannot be listened on, or the server was started before.
        """
        if self._thread is not None:
            raise SignalError("the Modbus output was started before: make a new one to start again")
        ready: Future[int] = Future()
        self._thread = threading.Thread(target=self._run, args=(ready, alive), name="modbus", daemon=True)
        self._thread.start()
        try:
            self._port = ready.result(_START_S)
        except (OSError, ValueError, TimeoutError) as error:
            raise SignalError(self._cannot_listen(error)) from error

    def publish(self, inspection: Inspection) -> None:
        station = self._stations.get(inspection.station)
        if station is None:
            self._unrouted.add(inspection.station)
            return
        station.publish(inspection)

    def set_station(
        self,
        station: str,
        state: StationState,
        recipe: str | None = None,
        bundle: str | None = None,
        classes: Sequence[str] = (),
    ) -> None:
        if station not in self._stations:
            self._unrouted.add(station)
            return
        self._stations[station].set(state, recipe, bundle, classes)

    def answer(self, request: Request, outcome: Outcome) -> None:
        """Show the PLC what became of its command. From any thread."""
        self._stations[request.station].answer(request.number, outcome)

    def show_fault(self, station: str, fault: Fault) -> None:
        """Show a station's fault until it is acknowledged, which NONE says. From any thread."""
        self._stations[station].show_fault(fault)

    def close(self) -> None:
        if self._loop is not None and self._stop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stop.set)
        if self._thread is not None:
            self._thread.join(_STOP_S)

    def _cannot_listen(self, error: Exception) -> str:
        host, port = self._address
        step = _NEXT_STEPS.get(getattr(error, "errno", None) or 0, "check host and port of the Modbus output")
        return f"the Modbus output cannot listen on {host}:{port}: {error}; {step}"

    def _run(self, ready: Future[int], alive: Callable[[], bool]) -> None:
        asyncio.run(self._serve(ready, alive))

    async def _serve(self, ready: Future[int], alive: Callable[[], bool]) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        desk = _Desk(self._units, self._allowed, self._control, self._writers, self._names)
        self._connected = lambda: len(desk.connections)
        try:
            server = await self._loop.create_server(lambda: _Connection(desk), *self._address, reuse_address=True)
        except (OSError, ValueError) as error:  # ValueError: a host name that cannot be encoded
            ready.set_exception(error)
            return
        beating = self._loop.create_task(self._beat(desk, alive))
        ready.set_result(server.sockets[0].getsockname()[1])
        await self._stop.wait()
        beating.cancel()
        server.close()
        desk.hang_up()
        await asyncio.sleep(0)  # the turn in which the transports close

    async def _beat(self, desk: _Desk, alive: Callable[[], bool]) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        reported: set[str] = set()
        while True:
            self._watch_plcs(loop.time())
            if self._ask(alive):
                desk.beat()
                self._beats += 1
            for station in set(self._unrouted) - reported:  # told here, because `publish` may not wait for a log
                _log.error("station %s has no Modbus unit: its verdicts reach no PLC, give it one", station)
                reported.add(station)
            # After a pause of the whole process beats are not made up for: each one says that the service lives now.
            due = max(due + self._heartbeat_s, loop.time())
            await asyncio.sleep(due - loop.time())

    def _watch_plcs(self, now_s: float) -> None:
        control = self._control
        if control is None or not control.timeout_s:
            return
        for name, station in self._stations.items():
            if (watch := station.watch_plc(control.timeout_s, now_s)) is not None:
                control.on_watch(name, watch)

    def _ask(self, alive: Callable[[], bool]) -> bool:
        try:
            answer = alive()
        except Exception:  # noqa: BLE001 - the edge of this thread: the heartbeat stops and the log says why, once
            if not self._alive_failed:
                _log.exception("liveness check failed, heartbeat stopped")
            self._alive_failed = True
            return False
        self._alive_failed = False
        return answer


def _check(port: int, stations: Mapping[str, int], heartbeat_ms: int) -> None:
    if not 0 <= port <= 65535:
        raise SignalError(f"got Modbus port {port}, expected 1 to 65535: correct the port (502 is the standard one)")
    if not 10 <= heartbeat_ms <= 60_000:
        raise SignalError(f"got a heartbeat of {heartbeat_ms} ms, expected 10 to 60000: correct heartbeat_ms")
    for name, unit in stations.items():
        if not 1 <= unit <= 247:
            raise SignalError(f"station {name} has Modbus unit {unit}, expected 1 to 247: correct its unit")
    if len(set(stations.values())) != len(stations):
        raise SignalError(f"two stations share a Modbus unit ({dict(stations)}): give each its own")


class _Allowed:
    """Which clients may connect."""

    def __init__(self, networks: Sequence[str], on_refused: Callable[[str], None]) -> None:
        try:
            self._networks = [ipaddress.ip_network(network) for network in networks]
        except ValueError as error:
            raise SignalError(f"{error}: correct the addresses that may read the registers") from error
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


class _Desk:
    """What all connections share: the stations, the heartbeat, who may connect and who is connected."""

    def __init__(
        self,
        units: Mapping[int, StationRegisters],
        allowed: _Allowed,
        control: PlcControl | None = None,
        writers: _Allowed | None = None,
        names: Mapping[int, str] | None = None,
    ) -> None:
        self.units = units
        self.allowed = allowed
        self._control, self._writers, self._names = control, writers, names or {}
        self.heartbeat = 0
        self.connections: set[_Connection] = set()
        self.framer = FramerSocket(DecodePDU(True))

    def beat(self) -> None:
        """Count the heartbeat up in its 16 bits."""
        self.heartbeat = (self.heartbeat + 1) & 0xFFFF

    def admit(self, newcomer: _Connection) -> None:
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


class _Connection(asyncio.Protocol):
    """One client. Costs at most one received chunk, one full send buffer and `_REQUESTS_PER_TURN` answers per turn."""

    def __init__(self, desk: _Desk) -> None:
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
