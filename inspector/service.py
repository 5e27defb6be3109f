"""A running line, put together from its settings: the one place that knows every room.

Order of start: quality database, journal, models with their self-test, PLC outputs (NOT_READY), pipeline, gRPC. The line says
READY only when all of it works. Order of stop is the reverse, with the parts in flight judged first.
"""

from __future__ import annotations

import functools
import logging
import platform
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime

import cv2
from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector

from inspector import __version__
from inspector.access.tls import TlsFiles
from inspector.control import REMEMBERED_FILE, ControlDesk, read_memory
from inspector.errors import (
    AuditError,
    InspectorError,
    StoreUnavailable,
)
from inspector.imaging.decode import DecodeLimits
from inspector.inference.batching import Batcher
from inspector.models import Model, load_models, queue_models, setup_of, station_of
from inspector.pipeline import Pipeline
from inspector.promoting import Promoter, promoted_for, promotions_of
from inspector.promotions import Promotion
from inspector.records.audit import AUDIT_FILE, AuditLog
from inspector.records.auditing import AuditWriter
from inspector.records.entries import StationMark
from inspector.records.evidence import EvidenceWriter, record_missing_evidence
from inspector.records.forwarding import Forwarder
from inspector.records.health import RecordsHealth
from inspector.records.images import ImageStore
from inspector.records.journal import Journal
from inspector.records.model_history import GoldenResult, PromotionRecord
from inspector.records.place import image_folder
from inspector.records.retention import RetentionKeeper
from inspector.records.store import Store
from inspector.references import known_of, with_scales
from inspector.registrar import Registrar
from inspector.rpc.door import Door
from inspector.rpc.server import RpcServer
from inspector.settings import LineSettings, ModbusTable
from inspector.signalling.modbus import ModbusSignal, PlcControl
from inspector.station import Setup
from inspector.telemetry.collector import LineCollector, Sources
from inspector.telemetry.server import MetricsServer
from inspector.tuning import spare_the_collector
from inspector.watching import CameraWatch, Care

log = logging.getLogger(__name__)

DRAIN_S = 5.0
HANG_UP_S = 0.5
# A thread that computes gives way to one that answers a camera after this long (CPython's default is 5 ms).
SWITCH_INTERVAL_S = 0.0005


class Service:
    """A line at work, stopped by closing `stack`. Use `run_service`."""

    def __init__(self, settings: LineSettings, stack: ExitStack) -> None:
        settings = with_scales(settings)
        file = settings.file
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        # Frames are small work in many threads; OpenCV's own pool would only take the cores from the model.
        cv2.setNumThreads(1)
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        open_store = functools.partial(Store, settings.database_url)
        store = open_store()
        stack.callback(store.close)
        self.database = store.name
        journal = open_journal(settings, store)
        stack.callback(journal.close)
        record_missing_evidence(journal)
        audit = AuditWriter(_open_audit_log(settings))
        stack.callback(audit.close)
        tls = None if settings.tls_paths is None else TlsFiles(settings.tls_paths)
        if tls is not None:
            tls.watch()
            stack.callback(tls.close)
        try:
            promoted = promoted_for(settings)
            loaded = load_models(settings, promoted)
        except InspectorError as error:
            audit.note("did not start the line", file.line.name, {"why": str(error)})
            raise
        listen = settings.modbus_listen
        plc = _Plc()
        units = {station.name: station.unit for station in file.station}
        modbus = ModbusSignal(
            listen.host,
            listen.port,
            units,
            heartbeat_ms=file.modbus.heartbeat_ms,
            start_history=journal.state.recent,
            allow=file.modbus.allow,
            on_refused=lambda host: audit.refuse(
                host, "Modbus connection", "", "modbus.allow does not name this address"
            ),
            control=plc.control(file.modbus, audit) if file.modbus.write_allow else None,
        )
        images = open_image_store(settings)
        images.discard_unfinished()
        evidence = EvidenceWriter(images, journal)
        # Every station may fill its own bound; the model's queue is never the tighter one.
        waiting = sum(station.max_in_flight * len(station.by_view) for station in file.station)
        queues = queue_models(loaded, settings.inference, waiting)
        registrar = _Registrar(file.line.name)
        promoter = Promoter(settings, loaded, queues, waiting, promoted, audit.note, registrar.tell)
        setups = {name: setup_of(name, table, loaded, queues) for name, table in file.recipe.items() if name in loaded}
        memory = read_memory(settings.data_dir / REMEMBERED_FILE)
        stations = [station_of(table, setups, loaded, memory.get(table.name)) for table in file.station]
        decode_limits = DecodeLimits(file.grpc.max_frame_mib << 20, file.grpc.max_pixels)
        watch = CameraWatch(open_store, file.line.name, _cares(settings), lambda *about: audit.note(*about))
        stack.callback(watch.close)
        self.pipeline = Pipeline(
            file.line.name,
            stations,
            journal,
            [modbus],
            evidence,
            decode_limits=decode_limits,
            pass_sampling=file.records.pass_sampling,
            on_image=watch.look,
        )
        by_station = {station.name: station.setups for station in stations}
        remembered = settings.data_dir / REMEMBERED_FILE
        plc.desk = ControlDesk(self.pipeline, by_station, promoter.check, modbus, audit.note, remembered)
        stack.callback(plc.desk.close)
        modbus.start(self.pipeline.alive)
        stack.callback(modbus.close)
        forwarder = Forwarder(journal, open_store, file.line.name)
        stack.callback(RecordsHealth(journal, forwarder, evidence).stop)
        stack.callback(_stop_forwarder, forwarder)
        stack.callback(_stop_evidence, evidence)
        stack.callback(promoter.close)
        self.server = RpcServer(
            self.pipeline,
            store,
            images,
            host=settings.grpc_listen.host,
            port=settings.grpc_listen.port,
            max_frame_bytes=decode_limits.max_frame_bytes,
            max_streams=file.grpc.max_streams,
            tls=tls,
            door=Door(tls, file.grpc.max_calls_per_s, audit.refuse),
            frames_hz=file.grpc.max_frames_per_s,
            shared_bytes=file.grpc.shared_frames_mib << 20,
            control=plc.desk,
            promotions=promoter,
        )
        stack.callback(self.server.stop, HANG_UP_S)
        running = functools.partial(_running, promoter)
        sources = Sources(file.line.name, self.pipeline, running, modbus, journal, forwarder, evidence, images, watch)
        recipes = {name: table.model_dump(mode="json") for name, table in file.recipe.items()}
        together = {label: labels for setup in setups.values() for label, labels in _together(setup).items()}
        recorder = Registrar(open_store, loaded.bundles, together, recipes)
        registrar.begin(recorder, loaded.models.values(), promotions_of(settings))
        stack.callback(recorder.stop)
        stack.callback(RetentionKeeper(images, open_store).stop)
        # First of all at the stop: cameras still get the verdicts of what is in flight, and UNKNOWN for what comes then.
        stack.callback(self.pipeline.stop, DRAIN_S)
        spare_the_collector()
        self.pipeline.start()
        promoter.serve(plc.desk.take_over)
        self.server.start()
        self._serve_metrics(settings, stack, tls, audit, sources)
        judging = {key: model for key, model in loaded.models.items() if key[0] not in loaded.faults}
        used = {"/".join(filter(None, key)): model.bundle.label for key, model in judging.items()}
        told = {"/".join(filter(None, key)): f"{one.bundle.label}, {one.told}" for key, one in promoted.items()}
        about = {"version": __version__, "bundles": used, "refused": dict(loaded.faults), "promoted": told}
        audit.note("started the line", file.line.name, about)
        stack.callback(audit.note, "stopped the line", file.line.name)

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


class _Registrar:
    """Stands between the promoter, which is made first, and the registrar that puts its promotions on record."""

    registrar: Registrar

    def __init__(self, line: str) -> None:
        self._line = line

    def begin(self, registrar: Registrar, models: Iterable[Model], promoted: Iterable[Promotion]) -> None:
        """What the line starts with; a promotion that was not on record when the service died is now."""
        self.registrar = registrar
        registrar.add_golden(self._line, [_golden(model) for model in models])
        for promotion in promoted:
            registrar.add_promotion(self._line, _promotion_record(promotion))

    def tell(self, promotion: Promotion, model: Model, setup: Setup) -> None:
        """A bundle judges from now on."""
        self.registrar.add([model.bundle], _together(setup))
        self.registrar.add_golden(self._line, [_golden(model)])
        self.registrar.add_promotion(self._line, _promotion_record(promotion))


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


def _golden(model: Model) -> GoldenResult:
    """How a model proved itself here just now."""
    test = model.test
    about = (len(test.checks), sum(not check.holds for check in test.checks), test.largest_difference)
    return GoldenResult(model.bundle.label, platform.node(), model.engine.provider, *about, datetime.now(UTC))


def _promotion_record(one: Promotion) -> PromotionRecord:
    return PromotionRecord(
        recipe=one.recipe,
        view=one.view,
        label=one.bundle.label,
        digest=one.bundle.digest,
        folder=one.bundle.folder,
        label_before="" if one.before is None else one.before.label,
        digest_before="" if one.before is None else one.before.digest,
        promoted_by=one.by,
        proposed_by=one.proposed_by,
        reason=one.reason,
        time=one.time,
        is_rollback=one.is_rollback,
    )


def _together(setup: Setup) -> dict[str, list[str]]:
    """The bundles that judge together by a recipe with several views, under the label that inspections name for them."""
    if not setup.is_usable or len(setup.recipe.views) == 1:
        return {}
    return {setup.recipe.bundle: [view.bundle for view in setup.recipe.views]}


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


def _open_audit_log(settings: LineSettings) -> AuditLog:
    """The line's audit log. A broken one is set aside and told: the line must run all the same."""
    audit_log = AuditLog(settings.data_dir / AUDIT_FILE)
    try:
        log.info("audit log: newest entry %s", audit_log.verify())
    except AuditError as error:
        log.error("%s; it is kept as %s, a new log begins", error, audit_log.set_aside(error))
    return audit_log


def _stop_forwarder(forwarder: Forwarder) -> None:
    if forwarder.stop(DRAIN_S) or not forwarder.lag:
        log.info("every verdict is in the quality database")
    else:
        log.warning(
            "%d verdicts wait in the journal and are stored at the next start: %s", forwarder.lag, forwarder.error
        )


def _stop_evidence(evidence: EvidenceWriter) -> None:
    if lost := evidence.stop(DRAIN_S):
        log.warning("the pictures of %d verdicts could not be stored in time: they are on record as lost", lost)


@contextmanager
def run_service(settings: LineSettings) -> Iterator[Service]:
    """Start the line; leaving the context judges what is in flight and stops it.

    Raises InspectorError if it cannot start.
    """
    with ExitStack() as stack:
        yield Service(settings, stack)


def open_image_store(settings: LineSettings) -> ImageStore:
    """The pictures of a line."""
    records = settings.file.records
    return ImageStore(
        image_folder(settings.data_dir),
        max_age_days=records.image_max_age_days,
        quota_bytes=records.image_quota_mib << 20,
    )


def open_journal(settings: LineSettings, store: Store) -> Journal:
    """The line's journal, which goes on counting where the quality database stands.

    The database may be away if the journal is there; a new journal needs it once, or numbers would be given twice. An empty
    database gets its tables here. Raises SchemaOutdated, JournalError or StoreUnavailable.
    """
    line, folder = settings.file.line.name, settings.data_dir / "journal"
    first_sequence, marks = 1, dict[str, StationMark]()
    try:
        store.create()
        store.check_schema()
        first_sequence, marks = store.last_sequence(line) + 1, store.station_marks(line)
    except StoreUnavailable as error:
        if not Journal.exists(folder):
            raise StoreUnavailable(
                f"{error}; a new journal must once ask the database where the line's numbers stand: start it first"
            ) from error
        log.warning(
            "the line starts without its quality database, the journal keeps the records until it answers: %s", error
        )
    return Journal.open(folder, line, first_sequence=first_sequence, stations=marks)
