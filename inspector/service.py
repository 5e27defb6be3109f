"""A running line, put together from its settings: the one place that knows every room.

Order of start: quality database, journal, models with their self-test, PLC outputs (NOT_READY), pipeline, gRPC. The line says
READY only when all of it works. Order of stop is the reverse, with the parts in flight judged first.
"""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector

from inspector import __version__
from inspector.access.tls import TlsFiles
from inspector.control import REMEMBERED_FILE, ControlDesk, StationMemory, read_memory
from inspector.decision.dimensions import check_dimensions
from inspector.errors import (
    AuditError,
    BundleError,
    ConfigError,
    EngineError,
    FrameError,
    InspectorError,
    StoreUnavailable,
)
from inspector.imaging.archive import unarchive
from inspector.imaging.check import CheckSpec
from inspector.imaging.decode import DecodeLimits, decode
from inspector.imaging.locate import locate
from inspector.imaging.location_spec import LocationSpec, NoLocation, location_from_dict
from inspector.imaging.normalise import normalise
from inspector.inference.batching import Batcher
from inspector.inference.bundle import Bundle, open_bundle
from inspector.inference.choice import AUTO, choose_engine
from inspector.inference.engine import Engine
from inspector.inference.queued import QueuedEngine
from inspector.inference.remote import RemoteEngine
from inspector.inference.self_test import SelfTest, self_test
from inspector.inference.signature import check_trust
from inspector.part import Limits
from inspector.pipeline import Pipeline
from inspector.records.audit import AUDIT_FILE, AuditLog
from inspector.records.auditing import AuditWriter
from inspector.records.entries import StationMark
from inspector.records.evidence import EvidenceWriter, record_missing_evidence
from inspector.records.forwarding import Forwarder
from inspector.records.health import RecordsHealth
from inspector.records.images import ImageStore
from inspector.records.journal import Journal
from inspector.records.place import image_folder
from inspector.records.retention import RetentionKeeper
from inspector.records.store import Store
from inspector.registrar import Registrar
from inspector.rpc.door import Door
from inspector.rpc.server import RpcServer
from inspector.settings import LineSettings, ModbusTable, RecipeTable, StationTable
from inspector.signalling.modbus import ModbusSignal, PlcControl
from inspector.station import Recipe, Setup, Station
from inspector.telemetry.collector import LineCollector, Sources
from inspector.telemetry.server import MetricsServer

log = logging.getLogger(__name__)

DRAIN_S = 5.0
HANG_UP_S = 0.5
MAX_HELD_BYTES = 512 << 20
"""Of pictures that are judged by tiles, by the parts in flight of one station: 10 grey ones of 25 megapixels, 3 in colour."""
PROVIDER_CHOICES = "provider-choices.json"
# A thread that computes gives way to one that answers a camera after this long (CPython's default is 5 ms).
SWITCH_INTERVAL_S = 0.0005


@dataclass(frozen=True, slots=True)
class Model:
    """A bundle that passed its self-test on this machine, ready to judge parts located by `location`."""

    bundle: Bundle
    location: LocationSpec
    engine: Engine
    test: SelfTest


def load_model(settings: LineSettings, recipe: RecipeTable) -> Model:
    """Open and self-test the bundle of a recipe, and warm it up. If the line trusts keys, one of them must have signed it.

    Raises BundleError or EngineError if it may not go live here, ConfigError if the recipe's location is wrong.
    """
    inference = settings.file.inference
    bundle = open_bundle(settings.resolve(recipe.bundle))
    check_trust(bundle, settings.trusted_keys)
    if inference.oip:
        engine, test = prove_remote(bundle, inference.oip, recipe.deadline_ms)
    else:
        kept = settings.data_dir / PROVIDER_CHOICES
        engine, test = prove_bundle(bundle, inference.provider, inference.threads, kept)
    engine.warm_up(inference.max_batch)
    if recipe.location is None:
        location = location_from_dict(bundle.manifest.input.location, bundle.path)
    else:
        location = location_from_dict(recipe.location, settings.path.parent)
    return Model(bundle, location, engine, test)


def prove_bundle(
    bundle: Bundle, provider: str = "CPU", threads: int = 0, kept: Path | None = None
) -> tuple[Engine, SelfTest]:
    """An engine whose golden images gave their recorded scores and verdicts here; BundleError or EngineError if not.

    `provider` of "auto" takes the fastest that does so, and keeps the choice in the file `kept`.
    """
    prepare = _golden_preparation(bundle)

    def prove(name: str) -> tuple[Engine, SelfTest]:
        engine = Engine(bundle, provider=name, threads=threads)
        return engine, _golden_test(engine, prepare)

    if provider == AUTO:
        return choose_engine(bundle, prove, threads, kept)
    return prove(provider)


def prove_remote(bundle: Bundle, host: str, timeout_ms: int) -> tuple[Engine, SelfTest]:
    """An engine on the inference server at `host`, which serves the bundle's graph under the bundle's name; proved as here."""
    engine = RemoteEngine(bundle, host, bundle.manifest.name, timeout_ms)
    prepare = _golden_preparation(bundle)
    test = _golden_test(engine, prepare)
    by_score = sorted(bundle.manifest.golden, key=lambda image: image.score)
    # The best and the worst part: a model that scores everything low, or everything high, fails one of them.
    engine.prove_with([(prepare(bundle.read(image.file)), image.score) for image in (by_score[0], by_score[-1])])
    return engine, test


def _golden_preparation(bundle: Bundle) -> Callable[[bytes], NDArray[np.uint8]]:
    location = location_from_dict(bundle.manifest.input.location, bundle.path)
    return functools.partial(_prepare_golden, bundle, location)


def _golden_test(engine: Engine, prepare: Callable[[bytes], NDArray[np.uint8]]) -> SelfTest:
    try:
        return self_test(engine, prepare)
    except FrameError as error:
        raise BundleError(
            f"a golden image of bundle {engine.bundle.label} cannot be read: {error}; export it again"
        ) from error


def _prepare_golden(bundle: Bundle, location: LocationSpec, data: bytes) -> NDArray[np.uint8]:
    """A golden picture file → model input, by the same steps as a frame of the line."""
    image = decode(unarchive(data), DecodeLimits())
    spec = bundle.manifest.input
    return normalise(image, locate(image, location), spec.width_px, spec.height_px, spec.channels)


class Service:
    """A line at work, stopped by closing `stack`. Use `run_service`."""

    def __init__(self, settings: LineSettings, stack: ExitStack) -> None:
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
            models, faults = _load_models(settings)
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
        waiting = sum(station.max_in_flight for station in file.station)
        batchers = {name: _batcher(m.engine, file.inference.max_batch, waiting) for name, m in models.items()}
        setups = {name: _setup(name, file.recipe[name], models, batchers, faults) for name in {**models, **faults}}
        memory = read_memory(settings.data_dir / REMEMBERED_FILE)
        stations = [_station(table, setups, models, memory.get(table.name)) for table in file.station]
        decode_limits = DecodeLimits(file.grpc.max_frame_mib << 20, file.grpc.max_pixels)
        self.pipeline = Pipeline(
            file.line.name,
            stations,
            journal,
            [modbus],
            evidence,
            decode_limits=decode_limits,
            pass_sampling=file.records.pass_sampling,
        )
        by_station = {station.name: station.setups for station in stations}
        check = functools.partial(_check_queued, models, batchers)
        remembered = settings.data_dir / REMEMBERED_FILE
        plc.desk = ControlDesk(self.pipeline, by_station, check, modbus, audit.note, remembered)
        stack.callback(plc.desk.close)
        modbus.start(self.pipeline.alive)
        stack.callback(modbus.close)
        forwarder = Forwarder(journal, open_store, file.line.name)
        stack.callback(RecordsHealth(journal, forwarder, evidence).stop)
        stack.callback(_stop_forwarder, forwarder)
        stack.callback(_stop_evidence, evidence)
        for batcher in batchers.values():
            stack.callback(batcher.close)
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
        )
        stack.callback(self.server.stop, HANG_UP_S)
        running = {
            name: (batcher, models[name].bundle.label, models[name].engine.provider)
            for name, batcher in batchers.items()
        }
        sources = Sources(file.line.name, self.pipeline, running, modbus, journal, forwarder, evidence, images)
        recipes = {name: table.model_dump(mode="json") for name, table in file.recipe.items()}
        stack.callback(Registrar(open_store, [m.bundle for m in models.values()], recipes).stop)
        stack.callback(RetentionKeeper(images, open_store).stop)
        # First of all at the stop: cameras still get the verdicts of what is in flight, and UNKNOWN for what comes then.
        stack.callback(self.pipeline.stop, DRAIN_S)
        self.pipeline.start()
        self.server.start()
        self._serve_metrics(settings, stack, tls, audit, sources)
        used = {recipe: model.bundle.label for recipe, model in models.items()}
        audit.note("started the line", file.line.name, {"version": __version__, "bundles": used, "refused": faults})
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


def _check_queued(models: Mapping[str, Model], batchers: Mapping[str, Batcher], recipe: str) -> SelfTest:
    """Prove the model of a recipe again while it judges parts: through its queue, one image at a time."""
    model = models[recipe]
    queued = QueuedEngine(batchers[recipe], model.bundle, model.engine.provider)
    return self_test(queued, _golden_preparation(model.bundle))


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


def _load_models(settings: LineSettings) -> tuple[dict[str, Model], dict[str, str]]:
    """Models by recipe, and why those that are missing were refused; raises if none is left."""
    models: dict[str, Model] = {}
    refused: dict[str, InspectorError] = {}
    for name in dict.fromkeys(name for station in settings.file.station for name in (station.recipe, *station.recipes)):
        recipe = settings.file.recipe[name]
        try:
            model = load_model(settings, recipe)
            if recipe.dimensions is not None:
                check_dimensions(recipe.dimensions, model.bundle.manifest.classes, model.engine.outlines_classes)
            models[name] = model
            log.info("recipe %s: bundle %s reproduces its golden images", name, models[name].bundle.label)
        except (BundleError, EngineError, ConfigError) as error:
            refused[name] = error
            log.error("recipe %s cannot be used, its stations give UNKNOWN: %s", name, error)
    if not models:
        raise next(iter(refused.values()))
    return models, {name: str(error) for name, error in refused.items()}


def _batcher(engine: Engine, max_batch: int, waiting: int) -> Batcher:
    return Batcher(engine, max_batch, waiting, judge_until=None if engine.tiles is None else engine.judge_until)


def most_in_flight(wanted: int, engine: Engine) -> int:
    """Parts of one station that may be in flight: each holds its frame and what the model gets of it until its verdict."""
    if engine.tiles is None:
        return wanted
    height, width, channels = engine.image_shape
    return min(wanted, max(2, MAX_HELD_BYTES // (2 * height * width * channels)))


def _setup(
    name: str,
    recipe: RecipeTable,
    models: Mapping[str, Model],
    batchers: Mapping[str, Batcher],
    faults: Mapping[str, str],
) -> Setup:
    """A recipe as stations judge by it, with its model if that may be used."""
    model = models.get(name)
    check = recipe.check
    spec = model.bundle.manifest.input if model else None
    judged_by = Recipe(
        name=name,
        bundle=model.bundle.label if model else "",
        classes=model.bundle.manifest.classes if model else (),
        limits=model.bundle.manifest.limits if model else Limits(0.0, 0.0),
        width_px=spec.width_px if spec else 1,
        height_px=spec.height_px if spec else 1,
        channels=spec.channels if spec else 1,
        deadline_ms=recipe.deadline_ms,
        location=model.location if model else NoLocation(),
        check=CheckSpec(check.min_mean, check.max_saturated_share, check.min_sharpness),
        dimensions=recipe.dimensions,
    )
    return Setup(judged_by, batchers.get(name), faults.get(name, ""))


def _station(
    table: StationTable, setups: Mapping[str, Setup], models: Mapping[str, Model], told: StationMemory | None
) -> Station:
    """A station as it was last told to be, or else as the line file says."""
    own = {name: setups[name] for name in (table.recipe, *table.recipes)}
    engines = [models[name].engine for name in own if name in models]
    first = table.recipe
    if told is not None and told.recipe in own:
        first = told.recipe
    elif told is not None:
        log.warning(
            "station %s was told recipe %s, which is no longer its own: it begins with %s",
            table.name,
            told.recipe,
            first,
        )
    return Station(
        name=table.name,
        camera=table.camera,
        setups=own,
        first=first,
        max_in_flight=min(most_in_flight(table.max_in_flight, engine) for engine in engines)
        if engines
        else table.max_in_flight,
        max_gap=table.max_gap,
        stopped=told is not None and told.stopped,
    )
