"""A line under test: one `inspector serve`, one PLC and one camera per station, a watcher, and the books of them all."""

from __future__ import annotations

import contextlib
import random
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from chaos import watchdog
from chaos.account import PLC, REPLIES, Announced, Fault, Key, Told, reconcile
from chaos.cable import Cable
from chaos.camera import TIMEOUT_S, Camera, CannotMeasure, camera_name, open_channel
from chaos.hostile import STRANGER
from chaos.ledger import Ledger, told_by
from chaos.pictures import write_fragile_bundle
from chaos.processes import INSPECTOR, PlcProcess, Process, free_port, wait_for
from chaos.watchdog import Silence
from plant import Plant
from toys import TOY_LIMIT

from inspector.part import Inspection, Reason, Verdict
from inspector.records.journal import Journal
from inspector.records.queries import StoredInspection
from inspector.records.store import Store
from inspector.v1 import inspection_service_pb2, inspection_service_pb2_grpc

LINE = "chaos"
STRANGERS = "fuzz: gRPC messages"
DATABASE, JOURNAL, WATCH = "database", "journal", "watch"
_PAGE = 500


@dataclass(frozen=True, slots=True)
class Station:
    """A station of the line file. `loops` slow the model down, some 0.2 ms each and more on a busy machine."""

    name: str
    deadline_ms: int = 20_000
    max_in_flight: int = 48
    loops: int = 0
    limit: float = TOY_LIMIT
    max_gap: int = 1000
    views: tuple[str, ...] = ()

    @property
    def recipe(self) -> str:
        """Stations that judge alike share one."""
        views = "".join(f"-{view}" for view in self.views)
        return f"loops{self.loops}-{self.deadline_ms}ms-{round(100 * self.limit)}{views}"


FAST = Station("fast")
# Slow enough to have parts in flight whenever a fault comes.
SLOW = Station("slow", max_in_flight=8, loops=60)
TIGHT = Station("tight", max_in_flight=48, loops=60, deadline_ms=60)
# Long enough for both looks at a part on a busy machine, and not long to wait for one that does not come.
VIEWS = Station("views", deadline_ms=1500, views=("top", "side"))
# In whose camera's name strangers send what they like. Whatever is bright enough to be judged is above its limit, so that
# nothing there may pass.
FUZZED = Station("fuzzed", limit=0.01, max_gap=20)
_NOT_PASSED = frozenset(reason for reason in Reason if reason.verdict is not Verdict.PASS)


@dataclass(frozen=True, slots=True)
class Site:
    """Where the service runs and how it is reached. `client` is the address that it sees us at."""

    host: str = "127.0.0.1"
    client: str = "127.0.0.1"
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    plant: Plant | None = None


@dataclass(frozen=True, slots=True)
class Books:
    """What became of a run: broken promises, what was announced, the verdicts on record, and all records.

    `told_ms` is how long the PLC took at most to see that nobody answers, by kind.
    """

    announced: dict[Key, Announced]
    broken: list[Fault]
    verdicts: dict[Key, Told]
    records: list[StoredInspection]
    told_ms: dict[str, float]


class Line:
    """Use as a context: starts all processes, stops them at the end. `close_books` then tells what broke."""

    def __init__(
        self,
        folder: Path,
        stations: tuple[Station, ...],
        rng: random.Random,
        *,
        database: str = "",
        site: Site | None = None,
        plc_poll_ms: int = 5,
    ) -> None:
        self.folder = folder
        self.data_dir = folder / "var"
        self.ledger = Ledger()
        self.rng = rng
        self.site = site or Site()
        self._stations = stations
        self._database = database
        self._plc_poll_ms = plc_poll_ms
        self.grpc_port, self.modbus_port, self.metrics_port = free_port(), free_port(), free_port()
        self.cameras = {s.name: self._camera(s, *s.views[:1]) for s in stations if s is not FUZZED}
        # Of the stations with several views the others; the first is among `cameras`.
        self.view_cameras = {s.name: {view: self._camera(s, view) for view in s.views[1:]} for s in stations if s.views}
        self.service: Process | None = None
        self.plcs: dict[str, PlcProcess] = {}
        self._plc_cable: Cable | None = None
        self._silences: list[Silence] = []
        self._complaints: list[Fault] = []
        self._watcher = _Watcher(self.target, self._credentials(None))

    @property
    def target(self) -> str:
        return f"{self.site.host}:{self.grpc_port}"

    @property
    def database_url(self) -> str:
        return self._database or f"sqlite:///{self.data_dir / 'quality.db'}"

    @property
    def plc_cable(self) -> Cable:
        """What all PLCs of a line on this machine are connected through."""
        assert self._plc_cable is not None
        return self._plc_cable

    def __enter__(self) -> Line:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write_line_file()
        try:
            self.start()
            port = self.modbus_port
            if not self.site.command:
                self._plc_cable = Cable(self.modbus_port)
                port = self._plc_cable.port
            for unit, station in enumerate(self._stations, 1):
                pace = {"host": self.site.host, "poll_ms": self._plc_poll_ms}
                self.plcs[station.name] = PlcProcess(station.name, port, unit, self.folder, **pace)
            for camera in self._all_cameras():
                camera.connect()
            for plc in self.plcs.values():
                wait_for(plc.has_looked, f"{plc.name} reads nothing: {plc.tail()}")
            self._watcher.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._watcher.stop()
        for process in (*self.plcs.values(), self.service):
            if process is not None:
                process.kill()
        for camera in self._all_cameras():
            camera.hang_up()
        if self._plc_cable is not None:
            self._plc_cable.close()

    # The service

    def start(self) -> None:
        """`inspector serve`; does not wait for it."""
        command = (*self.site.command, *INSPECTOR, "serve", str(self.folder / "line.toml"))
        self.service = Process("inspector serve", command, self.folder / "serve.log", self.site.environment)

    def terminate(self) -> None:
        """SIGTERM with whatever is in flight; the service must end in good order."""
        assert self.service is not None
        status = self.service.stop()
        if status != 0:
            raise CannotMeasure(f"the service ended with status {status} on SIGTERM: {self.service.tail()}")

    def kill(self) -> None:
        """kill -9."""
        assert self.service is not None
        self.service.signal(signal.SIGKILL)
        self.service.wait()

    @contextmanager
    def silence(self, kind: str) -> Iterator[None]:
        """While the context lasts the PLCs get no answers; they must see that in time."""
        began_ns = time.monotonic_ns()
        try:
            yield
        finally:
            self._silences.append(Silence(kind, began_ns, time.monotonic_ns()))

    def complain(self, fault: Fault) -> None:
        """Enter a broken promise that the outputs do not show."""
        self._complaints.append(fault)

    def log_text(self) -> str:
        """All that the service has logged."""
        return (self.folder / "serve.log").read_text(errors="replace")

    # The books

    def close_books(self) -> Books:
        """Wait until every output has all it will have, stop all, and compare."""
        for station, camera in self.cameras.items():
            if not camera.connected:
                camera.recover(self.rng)
            camera.settle()
            last = self._last_told(station)
            with contextlib.suppress(CannotMeasure):  # what does not come is a fault of the account, not of the harness
                wait_for(lambda s=station, t=last: not t or self.plcs[s].has_read(t), f"PLC of {station}", 10, 0.1)
            camera.hang_up()
        with contextlib.suppress(CannotMeasure):
            wait_for(lambda: len(self._watcher.told()) >= len(self.ledger.snapshot()[0]), "watch stream", 5, 0.1)
        with contextlib.suppress(CannotMeasure):  # a stop only waits so long for the database; the journal has the rest
            wait_for(lambda: len(self.records()) >= len(self.ledger.snapshot()[0]), "quality database", 20, 0.2)
        self._watcher.stop()
        self.terminate()
        for plc in self.plcs.values():
            plc.stop()
        announced, told = self.ledger.snapshot()
        records = self.records()
        journal = Journal.open(self.data_dir / "journal", LINE)
        try:
            told += [_told_in(JOURNAL, inspection) for inspection in journal.replay(0)]
        finally:
            journal.close()
        in_database = [_told_in(DATABASE, stored.inspection) for stored in records]
        told += in_database + self._watcher.told()
        told += [one for plc in self.plcs.values() for one in plc.told()]
        for key in {one.key for one in told if one.station == FUZZED.name}:
            # Of a stranger's parts it is only known that none may pass; he may not have waited for his replies.
            announced[key] = Announced(STRANGERS, set(_NOT_PASSED), frames=1 << 20, owed=0)
        broken = reconcile(announced, told, (REPLIES, PLC, JOURNAL, DATABASE, WATCH))
        untold, told_ms = watchdog.look(self._silences, {name: plc.events() for name, plc in self.plcs.items()})
        verdicts = {one.key: one for one in in_database}
        return Books(announced, [*broken, *untold, *self._complaints], verdicts, records, told_ms)

    def records(self) -> list[StoredInspection]:
        """All inspections in the quality database, ascending."""
        store = Store(self.database_url)
        try:
            found: list[StoredInspection] = []
            while page := store.after(LINE, found[-1].inspection.sequence if found else 0, _PAGE):
                found += page
            return found
        finally:
            store.close()

    def _last_told(self, station: str) -> int:
        """The highest trigger of which the camera was told; the last one sent in good weather."""
        return max(self.ledger.reasons(station, 1), default=0)

    def _camera(self, station: Station, view: str = "") -> Camera:
        return Camera(self.target, LINE, station.name, self.ledger, self._credentials(station.name), view)

    def _all_cameras(self) -> Iterator[Camera]:
        yield from self.cameras.values()
        for others in self.view_cameras.values():
            yield from others.values()

    def _credentials(self, station: str | None) -> grpc.ChannelCredentials | None:
        """Of the camera of a station, or of one who may read; None where the service asks for none."""
        plant = self.site.plant
        if plant is None:
            return None
        issued = plant.user("watcher") if station is None else plant.camera(station, f"cam-{station}", line=LINE)
        return plant.client(issued).credentials()

    def _write_line_file(self) -> None:
        text = f"""
[line]
name = "{LINE}"
data_dir = "{self.data_dir}"
[grpc]
listen = "{self.target}"
max_frame_mib = 1
max_pixels = 1000000
[modbus]
listen = "{self.site.host}:{self.modbus_port}"
allow = ["{self.site.client}", "{STRANGER}"]
write_allow = ["{self.site.client}", "{STRANGER}"]
[metrics]
listen = "{self.site.host}:{self.metrics_port}"
[records]
database = "{self._database}"
[inference]
threads = 1
"""
        if self.site.plant is not None:
            paths = self.site.plant.paths
            text += f"""
[grpc.tls]
certificate = "{paths.certificate}"
key = "{paths.key}"
ca = "{paths.authority}"
"""
        for unit, station in enumerate(self._stations, 1):
            views = ", ".join(f'{view} = "{camera_name(station.name, view)}"' for view in station.views)
            text += f"""
[[station]]
name = "{station.name}"
{f"cameras = {{ {views} }}" if views else f'camera = "{camera_name(station.name)}"'}
unit = {unit}
recipe = "{station.recipe}"
max_in_flight = {station.max_in_flight}
max_gap = {station.max_gap}
"""
        for station in {station.recipe: station for station in self._stations}.values():
            bundle = self.folder / f"bundle-{station.recipe}"
            write_fragile_bundle(bundle, delay_loops=station.loops, limit=station.limit)
            text += f"""
[recipe.{station.recipe}]
deadline_ms = {station.deadline_ms}
"""
            if not station.views:
                text += f'bundle = "{bundle}"\n'
            for view in station.views:
                text += f'[recipe.{station.recipe}.view.{view}]\nbundle = "{bundle}"\n'
        (self.folder / "line.toml").write_text(text)


class _Watcher:
    """Follows WatchInspections through every restart, from where it stands."""

    def __init__(self, target: str, credentials: grpc.ChannelCredentials | None) -> None:
        self._target = target
        self._credentials = credentials
        self._told: list[Told] = []
        self._stop = threading.Event()
        self._call: grpc.Call | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._call is not None:
            self._call.cancel()
        if self._thread.is_alive():
            self._thread.join(TIMEOUT_S)

    def told(self) -> list[Told]:
        return list(self._told)

    def _run(self) -> None:
        while not self._stop.is_set():
            with open_channel(self._target, self._credentials) as channel:
                stub = inspection_service_pb2_grpc.InspectionServiceStub(channel)
                after = self._told[-1].sequence if self._told else 0
                request = inspection_service_pb2.WatchInspectionsRequest(after_sequence=after)
                with contextlib.suppress(grpc.RpcError):
                    self._call = stub.WatchInspections(request)
                    for answer in self._call:
                        self._told.append(told_by(WATCH, answer.inspection))
            self._stop.wait(0.05)


def _told_in(output: str, inspection: Inspection) -> Told:
    return Told(
        output,
        inspection.station,
        inspection.trigger,
        inspection.station_sequence,
        inspection.verdict,
        inspection.reason,
        inspection.sequence,
    )
