"""The OPC UA program of a line: a client of the service on one side, a server of OPC UA on the other.

service ──stations, verdicts──▶ followers (threads) ──▶ loop ──▶ VisionSystems ──events, values──▶ clients
   ▲                                                     │
   └───────────commands────────── Commander ◀──methods───┴──history, results──▶ quality database
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import grpc
from asyncua import ua

from inspector import __version__
from inspector.access.application import check_application, uri_of
from inspector.access.logins import Logins, read_logins
from inspector.errors import SignalError
from inspector.opcua.door import Doorkeeper, GuardedServer
from inspector.opcua.history import ResultHistory
from inspector.opcua.methods import Methods
from inspector.opcua.model import load_model
from inspector.opcua.recipe_files import RecipeFiles, RecipeSource
from inspector.opcua.states import Link
from inspector.opcua.transfer import Transfers
from inspector.opcua.users import HouseUsers, read_trusted
from inspector.opcua.vision import VisionSystem
from inspector.part import Inspection
from inspector.records.audit import AUDIT_FILE, AuditLog
from inspector.records.auditing import AuditWriter
from inspector.records.store import Store
from inspector.rpc.commander import Commander
from inspector.rpc.follower import Follower, StationFollower
from inspector.signalling.commands import Command, Outcome
from inspector.signalling.signal import StationReport

log = logging.getLogger(__name__)

LOOK_S = 0.5
SILENT_S = 4.0
"""Stations are told once a second; after this long without a word the service counts as lost."""
START_S, STOP_S = 60.0, 10.0
TELL_S = 30.0
STUCK_S = 5.0
COMMANDS_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class OpcUaOptions:
    """What the program needs to know. `trusted` None: every client's certificate will do."""

    line: str
    stations: tuple[str, ...]
    host: str
    port: int
    certificate: Path
    key: Path
    users: Path
    trusted: Path | None
    anonymous: bool
    max_sessions: int
    service: str
    credentials: grpc.ChannelCredentials | None
    database_url: str
    data_dir: Path
    recipes: Mapping[str, RecipeSource]


class OpcUaProgram:
    """The program at work. `start` raises InspectorError if it cannot; `close` ends it."""

    def __init__(self, options: OpcUaOptions) -> None:
        self._options = options
        self.url = f"opc.tcp://{_in_url(options.host)}:{options.port}/{options.line}"
        self._loop: asyncio.AbstractEventLoop
        self._stop: asyncio.Event
        self._systems: dict[str, VisionSystem] = {}
        self._transfers: Transfers
        self._heard_s = 0.0
        self._turned_s = time.monotonic()
        self._link, self._why = Link.NEVER, "the service was not heard of yet"
        self._results_away = "not followed yet"
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Serve; returns once clients can connect."""
        options = self._options
        certificate = check_application(options.certificate, options.key, datetime.now(UTC))
        logins = Logins(read_logins(options.users))
        trusted = None if options.trusted is None else read_trusted(options.trusted)
        ready: Future[None] = Future()
        arguments = (ready, uri_of(certificate), logins, trusted)
        self._thread = threading.Thread(target=self._run, args=arguments, name="opcua", daemon=True)
        self._thread.start()
        try:
            ready.result(START_S)
        except (OSError, ValueError, TimeoutError) as error:
            raise SignalError(
                f"OPC UA cannot be served at {self.url} ({error}): choose an address of this machine and a free port"
            ) from error

    def alive(self) -> bool:
        """Whether the loop turns."""
        return time.monotonic() - self._turned_s < STUCK_S

    def close(self) -> None:
        """End it: clients are hung up on."""
        if self._thread is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(STOP_S)

    def _run(self, ready: Future[None], uri: str, logins: Logins, trusted: frozenset[str] | None) -> None:
        try:
            asyncio.run(self._serve(ready, uri, logins, trusted))
        except Exception as error:  # the thread's outermost edge
            if not ready.done():
                ready.set_exception(error)
            else:
                log.exception("the OPC UA server ended")

    async def _serve(self, ready: Future[None], uri: str, logins: Logins, trusted: frozenset[str] | None) -> None:
        options = self._options
        if not log.isEnabledFor(logging.DEBUG):
            # asyncua tells every connection and every refused request: strangers could fill the log. The door names them.
            logging.getLogger("asyncua").setLevel(logging.CRITICAL)
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        options.data_dir.mkdir(parents=True, exist_ok=True)
        store = Store(options.database_url)
        audit = AuditWriter(AuditLog(options.data_dir / AUDIT_FILE))
        commander = Commander(options.service, options.line, options.credentials)
        pool = ThreadPoolExecutor(COMMANDS_AT_ONCE, thread_name_prefix="command")

        async def give(station: str, command: Command, on_behalf_of: str, recipe: str) -> Outcome:
            return await self._loop.run_in_executor(pool, commander.give, station, command, on_behalf_of, recipe)

        server = await self._make_server(uri, logins, trusted, audit)
        model = await load_model(server)
        files = RecipeFiles(options.line, options.recipes, options.data_dir)
        self._transfers = Transfers(model, files, audit.note, server.iserver.has_session)
        by_node: dict[ua.NodeId, VisionSystem] = {}
        for station in options.stations:
            system = VisionSystem(model, options.line, station, store, give)
            machine = await system.build(server.nodes.objects)
            await Methods(system, self._transfers, audit.refuse).link(machine)
            self._systems[station] = by_node[system.node.nodeid] = system
        server.iserver.history_manager = ResultHistory(server.iserver, by_node)
        await server.start()
        followers = self._follow()
        try:
            audit.note("started OPC UA", options.line, {"version": __version__, "url": self.url}, "opcua")
            ready.set_result(None)
            await self._watch()
        finally:
            for follower in followers:
                await asyncio.to_thread(follower.close)
            await server.stop()
            commander.close()
            pool.shutdown(wait=False, cancel_futures=True)
            store.close()
            audit.note("stopped OPC UA", options.line, {}, "opcua")
            await asyncio.to_thread(audit.close)

    async def _make_server(
        self, uri: str, logins: Logins, trusted: frozenset[str] | None, audit: AuditWriter
    ) -> GuardedServer:
        options = self._options
        users = HouseUsers(logins, options.anonymous, audit.refuse)
        doorkeeper = Doorkeeper(2 * options.max_sessions + 16, trusted, audit.refuse)
        server = GuardedServer(options.host, options.port, users, doorkeeper, options.max_sessions, options.anonymous)
        await server.init()
        await server.set_application_uri(uri)
        server.set_endpoint(self.url)
        server.set_server_name(f"Inspector {options.line}")
        server.application_type = ua.ApplicationType.Server
        server.product_uri = "urn:inspector"
        await server.set_build_info("urn:inspector", "Inspector", "Inspector", __version__, "0", datetime.now(UTC))
        await server.load_certificate(options.certificate, "pem")
        await server.load_private_key(options.key, format="pem")
        return server

    # --------------------------------------------------------------------------------------------------- following the service

    def _follow(self) -> Sequence[Follower | StationFollower]:
        options = self._options
        return (
            StationFollower(options.service, self._on_stations, self._on_state, options.credentials, gives_up=False),
            Follower(
                options.service, options.line, self._on_verdict, self._on_watch, options.credentials, gives_up=False
            ),
        )

    def _on_stations(self, reports: Sequence[StationReport], alive: bool) -> None:
        self._in_loop(lambda: self._hear(reports, alive))

    def _on_state(self, state: str) -> None:
        if state:
            self._in_loop(lambda: self._lose(state))

    def _on_verdict(self, inspection: Inspection) -> None:
        system = self._systems.get(inspection.station)
        if system is not None:
            self._in_loop(lambda: system.tell(inspection))

    def _on_watch(self, state: str) -> None:
        if state != self._results_away:
            self._results_away = state
            (log.warning if state else log.info)("results: %s", state or "followed")

    def _in_loop(self, make: Callable[[], object]) -> None:
        """Do something in the loop and wait for it, so that a fast line cannot fill its memory; from a follower's thread."""

        async def run() -> None:
            await make()  # type: ignore[misc]

        try:
            asyncio.run_coroutine_threadsafe(run(), self._loop).result(TELL_S)
        except concurrent.futures.TimeoutError:
            log.error("clients were not told within %g s: the loop is overloaded", TELL_S)
        except (RuntimeError, concurrent.futures.CancelledError):  # the loop ends
            return
        except Exception:  # the edge of a follower: what cannot be told is on record in the database
            log.exception("clients could not be told")

    async def _hear(self, reports: Sequence[StationReport], alive: bool) -> None:
        if self._results_away:
            # Who cannot tell the results of a station must not say that it works; this is tried again within a second.
            return
        self._heard_s = time.monotonic()
        if self._link is not Link.UP:
            log.info("the service of line %s at %s is there", self._options.line, self._options.service)
        self._link, self._why = Link.UP, ""
        by_name = {report.reading.name: report for report in reports}
        for name, system in self._systems.items():
            report = by_name.get(name)
            why = "" if alive else "the service does not keep its deadlines"
            if report is None:
                why = "the service has no such station: start this program anew with its line file"
            elif report.reading.state.name == "FAULT":
                why = report.fault.name.lower().replace("_", " ")
            await system.hear(Link.UP, report, alive, why)

    async def _lose(self, why: str) -> None:
        if self._link is Link.LOST and why == self._why:
            return
        if self._link is Link.UP or why != self._why:
            log.warning("the service of line %s cannot be heard: %s", self._options.line, why)
        self._link, self._why = (Link.NEVER if self._link is Link.NEVER else Link.LOST), why
        for system in self._systems.values():
            await system.hear(self._link, system.report, False, why)

    async def _watch(self) -> None:
        """Until the stop: say that the loop turns, and notice when the service falls silent."""
        while not self._stop.is_set():
            self._turned_s = time.monotonic()
            await self._transfers.sweep()
            if self._link is Link.UP and self._turned_s - self._heard_s > SILENT_S:
                await self._lose(f"the service said nothing for {SILENT_S:g} s")
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._stop.wait()
            except TimeoutError:
                continue


@contextmanager
def run_opcua(options: OpcUaOptions) -> Iterator[OpcUaProgram]:
    """Serve a line over OPC UA while the context lasts. Raises InspectorError."""
    program = OpcUaProgram(options)
    try:
        program.start()
        yield program
    finally:
        program.close()


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
