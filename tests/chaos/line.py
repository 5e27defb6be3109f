"""A line under test: one `inspector serve`, one PLC and one camera per station, a watcher, and the books of them all."""

from __future__ import annotations

import contextlib
import random
import signal
import threading
from dataclasses import dataclass
from pathlib import Path

import grpc
from chaos.account import PLC, REPLIES, Fault, Key, Told, reconcile
from chaos.camera import TIMEOUT_S, Camera, CannotMeasure
from chaos.ledger import Ledger, told_by
from chaos.pictures import write_fragile_bundle
from chaos.processes import INSPECTOR, PlcProcess, Process, free_port, wait_for

from inspector.part import Inspection
from inspector.records.journal import Journal
from inspector.records.queries import StoredInspection
from inspector.records.store import Store
from inspector.v1 import inspection_service_pb2, inspection_service_pb2_grpc

LINE = "chaos"
DATABASE, JOURNAL, WATCH = "database", "journal", "watch"
_PAGE = 500


@dataclass(frozen=True, slots=True)
class Station:
    """A station of the line file. `loops` slow the model down, some 0.2 ms each and more on a busy machine."""

    name: str
    deadline_ms: int = 20_000
    max_in_flight: int = 48
    loops: int = 0


FAST = Station("fast")
# Slow enough to have parts in flight whenever a fault comes.
SLOW = Station("slow", max_in_flight=8, loops=60)
TIGHT = Station("tight", max_in_flight=48, loops=60, deadline_ms=60)


class Line:
    """Use as a context: starts all processes, stops them at the end. `books` then tells what broke."""

    def __init__(self, folder: Path, stations: tuple[Station, ...], rng: random.Random, database: str = "") -> None:
        self.folder = folder
        self.data_dir = folder / "var"
        self.ledger = Ledger()
        self.rng = rng
        self._stations = stations
        self._database = database
        self.grpc_port, self.modbus_port = free_port(), free_port()
        self.cameras = {s.name: Camera(self.target, LINE, s.name, self.ledger) for s in stations}
        self.service: Process | None = None
        self._plcs: dict[str, PlcProcess] = {}
        self._watcher = _Watcher(self.target)

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.grpc_port}"

    @property
    def database_url(self) -> str:
        return self._database or f"sqlite:///{self.data_dir / 'quality.db'}"

    def __enter__(self) -> Line:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write_line_file()
        try:
            self.start()
            for unit, station in enumerate(self._stations, 1):
                self._plcs[station.name] = PlcProcess(station.name, self.modbus_port, unit, self.folder)
            for camera in self.cameras.values():
                camera.connect()
            for plc in self._plcs.values():
                wait_for(plc.has_looked, f"{plc.name} reads nothing: {plc.tail()}")
            self._watcher.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._watcher.stop()
        for process in (*self._plcs.values(), self.service):
            if process is not None:
                process.kill()
        for camera in self.cameras.values():
            camera.hang_up()

    # The service

    def start(self) -> None:
        """`inspector serve`; does not wait for it."""
        command = (*INSPECTOR, "serve", str(self.folder / "line.toml"))
        self.service = Process("inspector serve", command, self.folder / "serve.log")

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

    # The books

    def close_books(self) -> tuple[list[Fault], dict[Key, Told], list[StoredInspection]]:
        """Wait until every output has all it will have, stop all, and compare.

        Returns every broken promise, the verdicts on record by trigger, and all records.
        """
        for station, camera in self.cameras.items():
            if not camera.connected:
                camera.recover(self.rng)
            camera.settle()
            last = self._last_told(station)
            with contextlib.suppress(CannotMeasure):  # what does not come is a fault of the account, not of the harness
                wait_for(lambda s=station, t=last: not t or self._plcs[s].has_read(t), f"PLC of {station}", 10, 0.1)
            camera.hang_up()
        with contextlib.suppress(CannotMeasure):
            wait_for(lambda: len(self._watcher.told()) >= len(self.ledger.snapshot()[0]), "watch stream", 5, 0.1)
        self._watcher.stop()
        self.terminate()
        for plc in self._plcs.values():
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
        told += [one for plc in self._plcs.values() for one in plc.told()]
        faults = reconcile(announced, told, (REPLIES, PLC, JOURNAL, DATABASE, WATCH))
        return faults, {one.key: one for one in in_database}, records

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
listen = "127.0.0.1:{self.modbus_port}"
[records]
database = "{self._database}"
[inference]
threads = 1
"""
        for unit, station in enumerate(self._stations, 1):
            bundle = self.folder / f"bundle-{station.name}"
            write_fragile_bundle(bundle, delay_loops=station.loops)
            text += f"""
[[station]]
name = "{station.name}"
camera = "cam-{station.name}"
unit = {unit}
recipe = "{station.name}"
max_in_flight = {station.max_in_flight}
[recipe.{station.name}]
bundle = "{bundle}"
deadline_ms = {station.deadline_ms}
"""
        (self.folder / "line.toml").write_text(text)


class _Watcher:
    """Follows WatchInspections through every restart, from where it stands."""

    def __init__(self, target: str) -> None:
        self._target = target
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
            with grpc.insecure_channel(self._target, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
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
