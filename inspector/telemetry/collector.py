"""The metrics of a line, put together when they are asked for: nothing of this runs on the way from frame to signal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from inspector import __version__
from inspector.imaging.health.kinds import Kind
from inspector.imaging.health.words import NAMES
from inspector.inference.batching import Batcher
from inspector.meter import BOUNDS_S, MARGIN, Histogram, Reading
from inspector.part import Reason
from inspector.pipeline import Pipeline
from inspector.records.evidence import LOST_REASONS, EvidenceWriter
from inspector.records.forwarding import Forwarder
from inspector.records.images import ImageStore
from inspector.records.journal import Journal
from inspector.signalling.modbus import ModbusSignal
from inspector.signalling.signal import StationReading, StationState
from inspector.watching import CameraWatch


@dataclass(frozen=True, slots=True)
class Sources:
    """The parts of a running line that are looked at.

    `models` gives those that judge now, by recipe: what queues for each, its bundle and provider.
    """

    line: str
    pipeline: Pipeline
    models: Callable[[], Mapping[str, tuple[Batcher, str, str]]]
    modbus: ModbusSignal
    journal: Journal
    forwarder: Forwarder
    evidence: EvidenceWriter
    images: ImageStore
    watch: CameraWatch


class LineCollector(Collector):
    """Gives Prometheus what it asks for. Names follow its conventions: base units, `_total` for what only grows."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def describe(self) -> list[Metric]:
        """Nothing ahead of time, so that registering does not collect."""
        return []

    def collect(self) -> Iterator[Metric]:
        sources = self._sources
        about = GaugeMetricFamily("inspector_build_info", "Version of the program.", labels=["line", "version"])
        about.add_metric([sources.line, __version__], 1)
        yield about
        reading = sources.pipeline.meter.read()
        yield self._verdicts(reading)
        yield from self._times(reading)
        yield from self._stations(sources.pipeline.stations)
        yield from self._models()
        yield from self._signalling()
        yield from self._records()
        yield from self._cameras()

    def _verdicts(self, reading: Reading) -> Metric:
        family = CounterMetricFamily(
            "inspector_inspections",
            "Verdicts since the start, one for every trigger.",
            labels=["line", "station", "verdict", "reason"],
        )
        # Each from zero on: of a series that is not there before its first part, Prometheus sees no increase.
        known = {(one.name, reason.verdict, reason): 0 for one in self._sources.pipeline.stations for reason in Reason}
        for (station, verdict, reason), count in sorted((known | dict(reading.verdicts)).items()):
            family.add_metric([self._sources.line, station, verdict.name, reason.name], count)
        return family

    def _times(self, reading: Reading) -> Iterator[Metric]:
        stages = HistogramMetricFamily(
            "inspector_stage_seconds",
            "Time of a part: prepare (decode, check, locate), model (waiting and running), settle, total from receipt.",
            labels=["line", "station", "stage"],
        )
        margins = HistogramMetricFamily(
            "inspector_deadline_margin_seconds",
            "Time left when a judged part had its verdict, to the moment at which it would have been told UNKNOWN.",
            labels=["line", "station"],
        )
        for (station, stage), histogram in sorted(reading.stages.items()):
            if stage == MARGIN:
                margins.add_metric([self._sources.line, station], _buckets(histogram), histogram.total_s)
            else:
                stages.add_metric([self._sources.line, station, stage], _buckets(histogram), histogram.total_s)
        yield stages
        yield margins

    def _stations(self, stations: Sequence[StationReading]) -> Iterator[Metric]:
        yield self._gauge(
            "inspector_station_ready",
            "1 if the station judges parts; otherwise the PLC rejects them.",
            {(one.name,): one.state is StationState.READY for one in stations},
            ["station"],
        )
        yield self._gauge(
            "inspector_parts_in_flight",
            "Parts with a trigger and no verdict yet.",
            {(one.name,): one.in_flight for one in stations},
            ["station"],
        )
        yield self._gauge(
            "inspector_camera_streaming",
            "1 while the camera's program is connected.",
            {(one.name, camera): streams for one in stations for camera, streams in one.cameras.items()},
            ["station", "camera"],
        )

    def _models(self) -> Iterator[Metric]:
        models = self._sources.models()
        yield self._gauge(
            "inspector_bundle_info",
            "Bundle in use for a recipe, and the provider that runs it.",
            {(recipe, bundle, provider): 1 for recipe, (_, bundle, provider) in models.items()},
            ["recipe", "bundle", "provider"],
        )
        yield self._gauge(
            "inspector_model_waiting_parts",
            "Parts that wait for the model.",
            {(recipes,): batcher.waiting for recipes, batcher in _queues(models)},
            ["recipe"],
        )
        runs = CounterMetricFamily("inspector_model_runs", "Runs of the model.", labels=["line", "recipe"])
        parts = CounterMetricFamily(
            "inspector_model_parts",
            "Parts that left the model: scored, failed, hopeless (too late), or skipped: they had their verdict already.",
            labels=["line", "recipe", "outcome"],
        )
        for recipes, batcher in _queues(models):
            counts = batcher.counts
            runs.add_metric([self._sources.line, recipes], counts.batches)
            for outcome in ("scored", "failed", "hopeless", "skipped"):
                parts.add_metric([self._sources.line, recipes, outcome], getattr(counts, outcome))
        yield runs
        yield parts

    def _signalling(self) -> Iterator[Metric]:
        modbus, pipeline = self._sources.modbus, self._sources.pipeline
        yield self._counter("inspector_heartbeats", "Beats shown to the PLC.", lambda: modbus.heartbeats)
        yield self._plain(
            "inspector_watch_silence_seconds",
            "How long ago the thread that keeps deadlines last ran; beyond 1 s the heartbeat stops.",
            lambda: pipeline.silent_s,
        )
        yield self._plain("inspector_modbus_connections", "Clients on Modbus TCP.", lambda: modbus.connections)

    def _records(self) -> Iterator[Metric]:
        journal, forwarder, evidence = self._sources.journal, self._sources.forwarder, self._sources.evidence
        yield self._plain(
            "inspector_journal_lag_inspections", "Verdicts not yet in the database.", lambda: forwarder.lag
        )
        yield self._plain("inspector_journal_lag_seconds", "Age of the oldest of them.", lambda: forwarder.lag_s)
        yield self._plain("inspector_journal_bytes", "Size of the journal on disk.", lambda: journal.size_bytes)
        yield self._counter(
            "inspector_journal_sync_failures", "Flushes of the journal that failed.", lambda: journal.sync_failures
        )
        yield self._counter(
            "inspector_records_rejected", "Entries that the database refused.", lambda: forwarder.rejected
        )
        yield self._counter("inspector_pictures_stored", "Pictures kept since the start.", lambda: evidence.stored)
        lost = CounterMetricFamily(
            "inspector_pictures_lost", "Pictures lost since the start.", labels=["line", "reason"]
        )
        for reason, count in sorted((dict.fromkeys(LOST_REASONS, 0) | dict(evidence.lost)).items()):
            lost.add_metric([self._sources.line, reason], count)
        yield lost
        yield self._plain(
            "inspector_pictures_waiting_bytes", "Pixels that wait to be kept.", lambda: evidence.waiting_bytes
        )
        usage_bytes = self._sources.images.usage_bytes
        if usage_bytes is not None:
            yield self._plain("inspector_image_store_bytes", "Size of the kept pictures.", lambda: usage_bytes)

    def _cameras(self) -> Iterator[Metric]:
        readings = self._sources.watch.readings
        frames = CounterMetricFamily(
            "inspector_camera_frames",
            "Frames of a camera that camera health measured, or left out because it had no time.",
            labels=["line", "camera", "outcome"],
        )
        for one in readings:
            frames.add_metric([self._sources.line, one.camera, "measured"], one.measured)
            frames.add_metric([self._sources.line, one.camera, "left_out"], one.left_out)
        yield frames
        yield self._gauge(
            "inspector_camera_level",
            "Mean grey level of the camera's pictures over the newest minute, 0 to 255.",
            {(one.camera,): one.level for one in readings if one.level is not None},
            ["camera"],
        )
        yield self._gauge(
            "inspector_camera_change",
            "How far the picture is from the reference of the commissioning, in the unit of that kind's limit.",
            {(one.camera, NAMES[kind]): change.value for one in readings for kind, change in one.latest.items()},
            ["camera", "kind"],
        )
        yield self._gauge(
            "inspector_camera_alarm",
            "1 while the picture is beyond a limit of camera health.",
            {(one.camera, NAMES[kind]): kind in one.alarms for one in readings if one.has_reference for kind in Kind},
            ["camera", "kind"],
        )

    def _gauge(
        self, name: str, text: str, values: Mapping[tuple[str, ...], float], labels: Sequence[str]
    ) -> GaugeMetricFamily:
        family = GaugeMetricFamily(name, text, labels=["line", *labels])
        for key, value in values.items():
            family.add_metric([self._sources.line, *key], float(value))
        return family

    def _plain(self, name: str, text: str, value: Callable[[], float]) -> GaugeMetricFamily:
        return self._gauge(name, text, {(): value()}, [])

    def _counter(self, name: str, text: str, value: Callable[[], float]) -> CounterMetricFamily:
        family = CounterMetricFamily(name, text, labels=["line"])
        family.add_metric([self._sources.line], float(value()))
        return family


def _queues(models: Mapping[str, tuple[Batcher, str, str]]) -> list[tuple[str, Batcher]]:
    """Each queue once, with the recipes and views that share it, so that sums over recipes count no part twice."""
    shared: dict[int, tuple[list[str], Batcher]] = {}
    for recipe, (batcher, _, _) in models.items():
        shared.setdefault(id(batcher), ([], batcher))[0].append(recipe)
    return [("+".join(recipes), batcher) for recipes, batcher in shared.values()]


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    """Cumulated counts by upper bound, as Prometheus wants them."""
    names = [*(f"{bound:g}" for bound in BOUNDS_S), "+Inf"]
    return list(zip(names, accumulate(histogram.counts), strict=True))
