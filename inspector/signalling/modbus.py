"""Modbus TCP output: one unit id per station, each with the register map of `registers`.

The server runs in its own thread with its own event loop, so that no PLC can hold up a verdict. Its
clients are the matter of `modbus_clients`.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future

from inspector.errors import SignalError
from inspector.part import Inspection
from inspector.signalling.commands import Fault, Outcome, Request
from inspector.signalling.modbus_clients import Allowed, Connection, ModbusDesk, PlcControl
from inspector.signalling.signal import StationState, always_alive
from inspector.signalling.station import StationRegisters

_log = logging.getLogger(__name__)

_START_S, _STOP_S = 10.0, 5.0
_NEXT_STEPS = {
    errno.EADDRINUSE: "stop the program that has this port, or choose another port",
    errno.EACCES: "ports below 1024 need the capability CAP_NET_BIND_SERVICE: grant it, or choose a port above 1023",
    errno.EADDRNOTAVAIL: "give an address of this machine, or 0.0.0.0 for all of them",
}


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
        self._allowed = Allowed(allow, on_refused)
        self._writers = None if control is None else Allowed(control.writers, control.on_refused)
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
        desk = ModbusDesk(self._units, self._allowed, self._control, self._writers, self._names)
        self._connected = lambda: len(desk.connections)
        try:
            server = await self._loop.create_server(lambda: Connection(desk), *self._address, reuse_address=True)
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

    async def _beat(self, desk: ModbusDesk, alive: Callable[[], bool]) -> None:
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
