"""A running line, put together from its settings: the one place that knows every room.

Order of start: quality database, journal, models with their self-test, PLC outputs (NOT_READY), pipeline, gRPC. The line says
READY only when all of it works. Order of stop is the reverse, with the parts in flight judged first.
"""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

import cv2
from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector

from inspector import __version__
from inspector.access.tls import TlsFiles
from inspector.control import REMEMBERED_FILE, ControlDesk, read_memory
from inspector.errors import InspectorError
from inspector.imaging.decode import DecodeLimits
from inspector.inference.batching import Batcher
from inspector.line_records import DRAIN_S, LineRecords, forward, open_records
from inspector.model_record import ModelRecord, together
from inspector.models import Loaded, load_models, queue_models, setup_of, station_of
from inspector.pipeline import Pipeline
from inspector.promoting import Promoter, promoted_for, promotions_of
from inspector.promotions import Promotion, ViewKey
from inspector.records.auditing import AuditWriter
from inspector.records.evidence import EvidenceWriter
from inspector.records.retention import RetentionKeeper
from inspector.references import known_of, with_scales
from inspector.registrar import Registrar
from inspector.rpc.door import Door
from inspector.rpc.server import RpcServer
from inspector.settings import LineSettings, ModbusTable
from inspector.signalling.modbus import ModbusSignal
from inspector.signalling.modbus_clients import PlcControl
from inspector.station import Setup
from inspector.telemetry.collector import LineCollector, Sources
from inspector.telemetry.server import MetricsServer
from inspector.tuning import spare_the_collector
from inspector.watching import CameraWatch, Care

log = logging.getLogger(__name__)

HANG_UP_S = 0.5
# A thread that computes gives way to one that answers a camera after this long (CPython's default is 5 ms).
SWITCH_INTERVAL_S = 0.0005


class Service:
    """A line at work, stopped by closing `stack`. Use `run_service`."""

    def __init__(self, settings: LineSettings, stack: ExitStack) -> None:
        settings = with_scales(settings)
        file = settings.file
        _tune_process()
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        records = open_records(settings, stack)
        self.database = records.store.name
        tls = _open_tls(settings, stack)
        promoted, loaded = _load(settings, records.audit)
        plc = _Plc()
        modbus = _modbus(settings, records, plc)
        evidence = EvidenceWriter(records.images, records.journal)
        # Every station may fill its own bound; the model's queue is never the tighter one.
        waiting = sum(station.max_in_flight * len(station.by_view) for station in file.station)
        queues = queue_models(loaded, settings.inference, waiting)
        model_record = ModelRecord(file.line.name)
        promoter = Promoter(settings, loaded, queues, waiting, promoted, records.audit.note, model_record.tell)
        setups = {name: setup_of(name, table, loaded, queues) for name, table in file.recipe.items() if name in loaded}
        remembered = settings.data_dir / REMEMBERED_FILE
        memory = read_memory(remembered)
        stations = [station_of(table, setups, loaded, memory.get(table.name)) for table in file.station]
        watch = CameraWatch(records.open_store, file.line.name, _cares(settings), records.audit.note)
        stack.callback(watch.close)
        self.pipeline = Pipeline(
            file.line.name,
            stations,
            records.journal,
            [modbus],
            evidence,
            decode_limits=_decode_limits(settings),
            pass_sampling=file.records.pass_sampling,
            on_image=watch.look,
        )
        by_station = {station.name: station.setups for station in stations}
        desk = ControlDesk(self.pipeline, by_station, promoter.check, modbus, records.audit.note, remembered)
        plc.desk = desk
        stack.callback(desk.close)
        modbus.start(self.pipeline.alive)
        stack.callback(modbus.close)
        forwarder = forward(records, evidence, file.line.name, stack)
        stack.callback(promoter.close)
        self.server = _server(settings, self.pipeline, records, tls, desk, promoter)
        stack.callback(self.server.stop, HANG_UP_S)
        recorder = _registrar(settings, records, loaded, setups)
        model_record.begin(recorder, loaded.models.values(), promotions_of(settings))
        stack.callback(recorder.stop)
        stack.callback(RetentionKeeper(records.images, records.open_store).stop)
        # First of all at the stop: cameras still get the verdicts of what is in flight, and UNKNOWN for what comes then.
        stack.callback(self.pipeline.stop, DRAIN_S)
        spare_the_collector()
        self.pipeline.start()
        promoter.serve(desk.take_over)
        self.server.start()
        running = functools.partial(_running, promoter)
        kept = (records.journal, forwarder, evidence, records.images)
        sources = Sources(file.line.name, self.pipeline, running, modbus, *kept, watch)
        self._serve_metrics(settings, stack, tls, records.audit, sources)
        _note_start(file.line.name, loaded, promoted, records.audit)
        stack.callback(records.audit.note, "stopped the line", file.line.name)

    def _serve_metrics(
        self, settings: LineSettings, stack: ExitStack, tls: TlsFiles | None, audit: AuditWriter, sources: Sources
    ) -> None:
        """Let Prometheus read, where the line file says so."""
        if (address := settings.metrics_listen) is None:
            return
        registry = CollectorRegistry()
        registry.register(LineCollector(sources))
        ProcessCollector(registry=registry)
        GCCollector(registry=registry)
        own = None if address.is_loopback else tls
        server = MetricsServer(address.host, address.port, registry, own, audit.refuse)
        server.start()
        stack.callback(server.stop)
        log.info("metrics for Prometheus on %s", address)


class _Plc:
    """Stands between the Modbus output, which is made first, and the desk that carries out its commands."""

    desk: ControlDesk

    def control(self, table: ModbusTable, audit: AuditWriter) -> PlcControl:
        """What the Modbus output is told of commands."""
        return PlcControl(
            writers=table.write_allow,
            on_command=lambda request: self.desk.submit(request),
            on_refused=lambda host: audit.refuse(
                host, "Modbus write", "", "modbus.write_allow does not name this address"
            ),
            on_watch=lambda station, watch: self.desk.tell_watch(station, watch),
            timeout_s=table.plc_timeout_ms / 1000,
        )


def _tune_process() -> None:
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    # Frames are small work in many threads; OpenCV's own pool would only take the cores from the model.
    cv2.setNumThreads(1)


def _open_tls(settings: LineSettings, stack: ExitStack) -> TlsFiles | None:
    """The line's certificates, looked at again and again for renewed ones."""
    if settings.tls_paths is None:
        return None
    tls = TlsFiles(settings.tls_paths)
    tls.watch()
    stack.callback(tls.close)
    return tls


def _load(settings: LineSettings, audit: AuditWriter) -> tuple[Mapping[ViewKey, Promotion], Loaded]:
    """The promotions that hold and all models, each proved by its golden images. A start that fails here is on record."""
    try:
        promoted = promoted_for(settings)
        return promoted, load_models(settings, promoted)
    except InspectorError as error:
        audit.note("did not start the line", settings.file.line.name, {"why": str(error)})
        raise


def _modbus(settings: LineSettings, records: LineRecords, plc: _Plc) -> ModbusSignal:
    """The registers that the PLC reads, with the last results of before in their ring."""
    listen, table, audit = settings.modbus_listen, settings.file.modbus, records.audit
    return ModbusSignal(
        listen.host,
        listen.port,
        {station.name: station.unit for station in settings.file.station},
        heartbeat_ms=table.heartbeat_ms,
        start_history=records.journal.state.recent,
        allow=table.allow,
        on_refused=lambda host: audit.refuse(host, "Modbus connection", "", "modbus.allow does not name this address"),
        control=plc.control(table, audit) if table.write_allow else None,
    )


def _decode_limits(settings: LineSettings) -> DecodeLimits:
    table = settings.file.grpc
    return DecodeLimits(table.max_frame_mib << 20, table.max_pixels)


def _server(
    settings: LineSettings,
    pipeline: Pipeline,
    records: LineRecords,
    tls: TlsFiles | None,
    desk: ControlDesk,
    promoter: Promoter,
) -> RpcServer:
    """The gRPC server, not started yet."""
    table, listen = settings.file.grpc, settings.grpc_listen
    return RpcServer(
        pipeline,
        records.store,
        records.images,
        host=listen.host,
        port=listen.port,
        max_frame_bytes=_decode_limits(settings).max_frame_bytes,
        max_streams=table.max_streams,
        tls=tls,
        door=Door(tls, table.max_calls_per_s, records.audit.refuse),
        frames_hz=table.max_frames_per_s,
        shared_bytes=table.shared_frames_mib << 20,
        control=desk,
        promotions=promoter,
    )


def _registrar(settings: LineSettings, records: LineRecords, loaded: Loaded, setups: Mapping[str, Setup]) -> Registrar:
    """Puts the bundles and recipes in use on record."""
    recipes = {name: table.model_dump(mode="json") for name, table in settings.file.recipe.items()}
    all_together = {label: labels for setup in setups.values() for label, labels in together(setup).items()}
    return Registrar(records.open_store, loaded.bundles, all_together, recipes)


def _note_start(line: str, loaded: Loaded, promoted: Mapping[ViewKey, Promotion], audit: AuditWriter) -> None:
    """What judges from now on, in the audit log."""
    judging = {key: model for key, model in loaded.models.items() if key[0] not in loaded.faults}
    used = {"/".join(filter(None, key)): model.bundle.label for key, model in judging.items()}
    told = {"/".join(filter(None, key)): f"{one.bundle.label}, {one.told}" for key, one in promoted.items()}
    about = {"version": __version__, "bundles": used, "refused": dict(loaded.faults), "promoted": told}
    audit.note("started the line", line, about)


def _running(promoter: Promoter) -> dict[str, tuple[Batcher, str, str]]:
    """The models that judge now, for the metrics."""
    loaded, batchers = promoter.loaded, promoter.queues.batchers
    faults = loaded.faults
    return {
        "/".join(filter(None, key)): (batchers[key], model.bundle.label, model.engine.provider)
        for key, model in loaded.models.items()
        if key[0] not in faults
    }


def _cares(settings: LineSettings) -> dict[str, Care]:
    """How each camera is watched. A reference that cannot be used is told: the line runs all the same."""
    cameras = [camera for station in settings.file.station for camera in station.by_view.values()]
    known = {camera: known_of(settings, camera) for camera in cameras}
    for camera, one in known.items():
        if one.fault:
            log.error("the health of camera %s is measured but not judged: %s", camera, one.fault)
    return {camera: one.care for camera, one in known.items()}


@contextmanager
def run_service(settings: LineSettings) -> Iterator[Service]:
    """Start the line; leaving the context judges what is in flight and stops it.

    Raises InspectorError if it cannot start.
    """
    with ExitStack() as stack:
        yield Service(settings, stack)
