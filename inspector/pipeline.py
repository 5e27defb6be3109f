"""The path of one part, top to bottom. Read this module first.

    camera ──▶ submit ─▶ admit ─▶ see ─▶ infer ─▶ decide ─▶ settle ─▶ journal, signal ─▶ reply, evidence, subscribers
                 │         │                                  ▲
                 │         └─ gap, duplicate, overload ───────┤
                 └─ deadline clock, model fault, stop ────────┘

`submit` runs in the camera's own thread up to the queue of the model, `_decide` in the model's thread. Every way out leads
through `_settle`, which the first caller wins: one trigger, one verdict. What `_settle` does under the lock only
touches memory (the journal is a mapped file), so that no verdict waits for a disk, a database or a client.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

import numpy as np
from numpy.typing import NDArray

from inspector.admission import Part, Reply, TriggerBook
from inspector.backlog import RECONNECT_S, Backlog
from inspector.deadlines import Deadlines
from inspector.decision.judge import judge
from inspector.errors import CameraBusy, ConfigError, EngineError, FrameError, JournalError, SessionError, UnknownCamera
from inspector.imaging.archive import archive, heat_map_png
from inspector.imaging.check import check_exposure, check_sharpness
from inspector.imaging.decode import DecodeLimits, decode
from inspector.imaging.locate import locate
from inspector.imaging.normalise import normalise
from inspector.meter import Meter
from inspector.part import Frame, ImageKind, Inspection, Judgement, Reason, Scores, Verdict
from inspector.records.entries import Admission
from inspector.records.evidence import EvidenceWriter
from inspector.records.journal import Journal
from inspector.settlement import Settlement
from inspector.signalling.signal import Signal, StationReading, StationState
from inspector.station import SessionInfo, Setup, Station

log = logging.getLogger(__name__)

# A watcher thread silent for this long means that deadlines are not kept: the heartbeat must stop.
STUCK_S = 1.0
# Skipped triggers entered under one hold of the lock: some 0.3 ms.
ENTERED_AT_ONCE = 32
# How long the verdicts of parts without a frame may still keep the PLC's pace when the time to stop is over.
LAST_WORDS_S = 0.2


class Pipeline:
    """Judges the parts of one line. All methods may be called from any thread."""

    def __init__(
        self,
        line: str,
        stations: Sequence[Station],
        journal: Journal,
        signals: Sequence[Signal],
        evidence: EvidenceWriter,
        *,
        decode_limits: DecodeLimits,
        pass_sampling: float = 0.0,
        meter: Meter | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.line = line
        self._journal = journal
        self._signals = signals
        self._evidence = evidence
        self._decode_limits = decode_limits
        self.meter = meter or Meter()
        self._clock = clock
        self._now = now
        self._stations = {station.camera: station for station in stations}
        self._setups = {station.name: station.setups[station.first] for station in stations}
        self._stopped = {station.name for station in stations if station.stopped}
        self._lock = threading.Lock()
        self._idle = threading.Condition(self._lock)
        state = journal.state
        self._books: dict[str, TriggerBook] = {}
        for station in stations:
            mark = state.stations.get(station.name)
            recent = [i for i in state.recent if i.station == station.name]
            first = mark.next_trigger if mark else 1
            self._books[station.name] = TriggerBook(station.name, first, station.max_gap, recent)
        self._settlement = Settlement(
            line,
            journal,
            signals,
            pass_sampling=pass_sampling,
            on_journal=self._show_states,
            clock=clock,
            now=now,
        )
        self._streaming: dict[str, str] = {}
        self._started = self._stopping = False
        self._faults = 0
        self._deadlines: Deadlines[Part] = Deadlines(self._expire, clock)
        self._backlog = Backlog(clock)

    # ---------------------------------------------------------------------------------------------- start and stop

    def start(self) -> None:
        """Give the parts that were in flight when the service last died their verdict, then say READY."""
        now, now_s = self._now(), self._clock()
        restarted = Judgement(Reason.SERVICE_RESTARTED, "the service died before this part was judged")
        owed: list[Callable[[], None]] = []
        for admission in self._journal.state.unsettled:
            station, setup = self._owing(admission)
            part = Part(
                camera=admission.camera,
                trigger=admission.trigger,
                part_id=admission.part_id,
                capture_time=admission.capture_time,
                receive_time=admission.receive_time,
                received_s=now_s - max(0.0, (now - admission.receive_time).total_seconds()),
                deadline_s=now_s,
                frame=None,
                setup=setup,
            )
            if admission.station in self._books:
                self._books[admission.station].restore(part)
            owed.append(partial(self._settle, station, part, restarted))
        self._backlog.tell(owed, pause_s=RECONNECT_S)
        self._started = True
        self._show_states()

    def alive(self) -> bool:
        """Whether deadlines are being kept; the heartbeat to the PLC stops when they are not."""
        return self.silent_s < STUCK_S

    def stop(self, drain_s: float) -> None:
        """Take in no more parts, let those in flight finish for up to `drain_s`, give the rest their verdict."""
        until_s = self._clock() + drain_s
        with self._lock:
            self._stopping = True
            self._show_states()
        with self._idle:
            self._idle.wait_for(lambda: not any(book.in_flight for book in self._books.values()), timeout=drain_s)
            left = [(s, part) for s in self._stations.values() for part in self._books[s.name].in_flight.values()]
        stopped = Judgement(Reason.SERVICE_STOPPING, "the service was stopped before the part was judged")
        self._backlog.tell([partial(self._settle, station, part, stopped) for station, part in left])
        self._backlog.close(max(LAST_WORDS_S, until_s - self._clock()))
        self._deadlines.close()

    # ------------------------------------------------------------------------------------------------- camera side

    @contextmanager
    def open_session(self, line: str, camera: str, client: str) -> Iterator[SessionInfo]:
        """A camera's stream, for as long as the context lasts.

        Raises:
            SessionError: another line's camera; UnknownCamera: no station has it; CameraBusy: it already streams.
        """
        station = self._station_of(camera)
        if line != self.line:
            raise SessionError(
                f'this service inspects line "{self.line}", not "{line}": connect to that line\'s service'
            )
        with self._lock:
            if camera in self._streaming:
                raise CameraBusy(
                    f'camera "{camera}" already streams from client "{self._streaming[camera]}": stop that one first, '
                    "or give this camera its own name in the line file"
                )
            self._streaming[camera] = client
            next_trigger = self._books[station.name].next_trigger
        try:
            recipe = self._setups[station.name].recipe
            max_bytes = self._decode_limits.max_frame_bytes
            yield SessionInfo(station.name, recipe.name, recipe.bundle, recipe.deadline_ms, max_bytes, next_trigger)
        finally:
            with self._lock:
                del self._streaming[camera]

    def submit(self, camera: str, frame: Frame, reply: Reply) -> int:
        """Take in one frame. Returns once it waits for the model or has its verdict: how often `reply` is called in all.

        `reply` is called from any thread with the inspection of this trigger, and with those of the triggers that this
        one skipped: before it if they are few, soon if they are many. Raises TriggerOutOfRange or UnknownCamera, and
        JournalError if verdicts can no longer be kept.
        """
        station = self._station_of(camera)
        part, answers = self._admit(station, frame.trigger, frame.part_id, frame.capture_time, frame, reply)
        if part is None:
            return answers
        try:
            model_input = self._see(station, part, frame)
        except FrameError as error:
            self._settle(station, part, Judgement(error.reason, str(error)))
        except Exception:  # noqa: BLE001 told with its traceback by _log_fault
            self._log_fault("prepared", station, part)
            self._settle(
                station, part, Judgement(Reason.INTERNAL_ERROR, "preparing the image failed; the log has the fault")
            )
        else:
            part.prepared_s = self._clock()
            self._infer(station, part, model_input)
        return answers

    def submit_fault(self, camera: str, trigger: int, part_id: str, reason: Reason, detail: str, reply: Reply) -> int:
        """As `submit`, for a trigger whose frame cannot even be described; it is UNKNOWN with that reason."""
        station = self._station_of(camera)
        part, answers = self._admit(station, trigger, part_id, None, None, reply)
        if part is not None:
            self._settle(station, part, Judgement(reason, detail))
        return answers

    def subscribe(self, on_inspection: Callable[[Inspection], None]) -> Callable[[], None]:
        """Call `on_inspection` with every verdict from now on, in sequence; it may only enqueue. Returns the end of it."""
        with self._lock:
            self._settlement.subscribers.append(on_inspection)

        def unsubscribe() -> None:
            with self._lock:
                self._settlement.subscribers.remove(on_inspection)

        return unsubscribe

    def replay(self, after_sequence: int) -> Iterator[Inspection]:
        """Verdicts after `after_sequence` that the journal still holds, in sequence."""
        return self._journal.replay(after_sequence)

    # ------------------------------------------------------------------------------------------------------ control

    def run_station(self, name: str, running: bool) -> None:
        """Start or stop a station. While it is stopped its parts are UNKNOWN/STATION_STOPPED; those in flight are judged."""
        station = self._station_named(name)
        with self._lock:
            (self._stopped.discard if running else self._stopped.add)(station.name)
            self._show_states()

    def change_recipe(self, name: str, setup: Setup) -> None:
        """Let a station judge by `setup` from its next part on; parts that are in flight are judged by what they came under."""
        station = self._station_named(name)
        with self._lock:
            self._setups[station.name] = setup
            self._show_states()

    def setup_of(self, name: str) -> Setup:
        """What a station judges by now."""
        return self._setups[self._station_named(name).name]

    @property
    def journal_works(self) -> bool:
        """Whether every verdict so far is in the journal."""
        return self._settlement.works

    def is_running(self, name: str) -> bool:
        """Whether a station was not told to stop."""
        return self._station_named(name).name not in self._stopped

    # -------------------------------------------------------------------------------------------- 1. admit the part

    def _admit(
        self,
        station: Station,
        trigger: int,
        part_id: str,
        capture_time: datetime | None,
        frame: Frame | None,
        reply: Reply,
    ) -> tuple[Part | None, int]:
        """Enter a new part, and the skipped ones before it; None if it came before, or was refused and has its verdict.

        Also returns how often `reply` is called in all. Only one stream at a time submits for a station.
        """
        receive_time, received_s = self._now(), self._clock()
        setup = self._setups[station.name]
        deadline_s = received_s + setup.recipe.deadline_ms / 1000

        def new(number: int) -> Part:
            if number == trigger:
                about = (part_id, capture_time, receive_time, received_s, deadline_s, frame, setup)
            else:
                about = ("", None, receive_time, received_s, deadline_s, None, setup)
            return Part(station.camera, number, *about, [reply])

        lost: list[Part] = []
        refusal: Judgement | None = None
        part = known = None
        while part is None and known is None:
            with self._lock:
                book = self._books[station.name]
                known = book.again(trigger)
                if isinstance(known, Part):
                    known.replies.append(reply)
                elif known is None:
                    skipped = book.skipped(trigger)
                    if not lost:  # once some are entered, all of them get their verdict
                        self._refuse_if_full()
                    lost += [self._enter(station, book, new(number)) for number in skipped[:ENTERED_AT_ONCE]]
                    if len(skipped) <= ENTERED_AT_ONCE:
                        refusal = self._refusal(station, setup, book.judging)
                        part = self._enter(station, book, new(trigger))
        gap = f"was skipped: trigger {trigger} came next, so this part passed without a frame"
        verdicts = [Judgement(Reason.TRIGGER_GAP, f"trigger {p.trigger} {gap}") for p in lost]
        self._backlog.tell([partial(self._settle, station, p, v) for p, v in zip(lost, verdicts, strict=True)])
        if isinstance(known, Inspection):
            reply(known)
        if part is not None and refusal is not None:
            self._settle(station, part, refusal)
        elif part is not None:
            self._deadlines.add(part)
        return (None if refusal is not None else part), 1 + len(lost)

    def _refuse_if_full(self) -> None:
        if self._settlement.full:
            raise JournalError(
                "the journal takes no more verdicts: free space on its disk; parts are rejected until then"
            )

    def _enter(self, station: Station, book: TriggerBook, part: Part) -> Part:
        book.enter(part)
        self._note_admission(station, part)
        return part

    def _refusal(self, station: Station, setup: Setup, in_flight: int) -> Judgement | None:
        if self._stopping:
            return Judgement(Reason.SERVICE_STOPPING, "the service is stopping")
        if station.name in self._stopped:
            return Judgement(Reason.STATION_STOPPED, "the station was told to stop; start it to judge parts")
        if setup.batcher is None:
            return Judgement(Reason.NOT_READY, setup.fault or "the station has no bundle")
        if in_flight >= station.max_in_flight:
            return Judgement(Reason.QUEUE_FULL, f"{in_flight} parts are in flight, the most is {station.max_in_flight}")
        return None

    def _note_admission(self, station: Station, part: Part) -> None:
        """So that the part gets a verdict even if this process dies now. A failing journal is told by the settlement."""
        try:
            self._journal.admit(
                Admission(station.name, part.camera, part.trigger, part.part_id, part.receive_time, part.capture_time)
            )
        except JournalError as error:
            log.debug("admission of trigger %d not journalled: %s", part.trigger, error)

    # --------------------------------------------------------------------------------------------- 2. see the image

    def _see(self, station: Station, part: Part, frame: Frame) -> NDArray[np.uint8]:
        """Frame → model input, uint8 (height, width, channels). Raises FrameError with the reason for UNKNOWN."""
        recipe = part.setup.recipe
        image = decode(frame, self._decode_limits)
        part.frame_size = (image.width_px, image.height_px)
        check_exposure(image, recipe.check)
        part.region = locate(image, recipe.location)
        check_sharpness(image, part.region, recipe.check)
        return normalise(image, part.region, recipe.width_px, recipe.height_px, recipe.channels)

    # ----------------------------------------------------------------------------------------------------- 3. infer

    def _infer(self, station: Station, part: Part, model_input: NDArray[np.uint8]) -> None:
        assert part.setup.batcher is not None
        taken = part.setup.batcher.submit(
            model_input,
            lambda outcome: self._decide(station, part, outcome),
            lambda: part.done,
        )
        if not taken:
            self._settle(station, part, Judgement(Reason.QUEUE_FULL, "the model's queue is full"))

    # ---------------------------------------------------------------------------------------------------- 4. decide

    def _decide(self, station: Station, part: Part, outcome: Scores | EngineError) -> None:
        part.scored_s = self._clock()
        if isinstance(outcome, EngineError):
            self._settle(station, part, Judgement(Reason.MODEL_FAILED, str(outcome)))
            return
        try:
            assert part.region is not None
            recipe = part.setup.recipe
            judgement = judge(outcome, recipe.limits, part.region, recipe.classes, recipe.dimensions)
        except Exception:  # noqa: BLE001 told with its traceback by _log_fault
            self._log_fault("decided", station, part)
            judgement = Judgement(Reason.INTERNAL_ERROR, "the decision failed; the log has the fault")
        self._settle(station, part, judgement, outcome)

    def _expire(self, part: Part) -> None:
        """The deadline came first."""
        self._settle(self._stations[part.camera], part, self._too_late(part))

    @staticmethod
    def _too_late(part: Part) -> Judgement:
        budget_ms = part.setup.recipe.deadline_ms
        return Judgement(Reason.DEADLINE_EXCEEDED, f"not judged within {budget_ms} ms of receipt")

    # ---------------------------------------------------------------------------------------------------- 5. settle

    def _settle(self, station: Station, part: Part, judgement: Judgement, scores: Scores | None = None) -> None:
        """Make `judgement` the part's verdict on every output, unless it already has one."""
        score = judgement.score
        with self._lock:
            won = part.inspection is None
            if won:
                if judgement.verdict is not Verdict.UNKNOWN and self._clock() >= part.deadline_s:
                    judgement, scores = self._too_late(part), None
                recipe = part.setup.recipe
                inspection, kept = self._settlement.enter(part, judgement, station.name, recipe.name, recipe.bundle)
                part.inspection = inspection
                if station.name in self._books:
                    self._books[station.name].leave(inspection)
                self._idle.notify_all()
                replies, part.replies = part.replies, []
                frame, part.frame = part.frame, None
        if won:
            self._tell_apart(part, inspection)
        else:
            assert part.inspection is not None
            inspection, kept, replies, frame = part.inspection, False, [], None
        if score is not None and inspection.score is None:
            self._note_late_score(inspection, score)
        for reply in replies:
            try:
                reply(inspection)
            except Exception:  # the verdict stands on every other output; the other clients must hear of it too
                log.exception("%s could not be answered", inspection.name)
        if kept and frame is not None:
            self._keep_evidence(part, frame, inspection, scores)

    def _tell_apart(self, part: Part, inspection: Inspection) -> None:
        """Count the part and, with --verbose, log it; the signal is out already."""
        self.meter.settled(part, inspection, self._clock())
        if log.isEnabledFor(logging.DEBUG):
            about = {"station": inspection.station, "trigger": inspection.trigger, "part_id": inspection.part_id}
            about |= {"verdict": inspection.verdict.name, "reason": inspection.reason.name, "score": inspection.score}
            log.debug("%s", inspection.name, extra={**about, "latency_ms": round(inspection.latency_ms, 3)})

    # ------------------------------------------------------------------------------- 6. after the signal: the evidence

    def _keep_evidence(self, part: Part, frame: Frame, inspection: Inspection, scores: Scores | None) -> None:
        region, frame_size = part.region, part.frame_size
        jobs: list[tuple[ImageKind, Callable[[], tuple[bytes, str]]]] = [(ImageKind.FRAME, lambda: archive(frame))]
        size_bytes = len(frame.data)
        if inspection.verdict is Verdict.REJECT and scores is not None and scores.anomaly_map is not None and region:
            anomaly_map, limit = scores.anomaly_map, part.setup.recipe.limits.region
            size_bytes += anomaly_map.nbytes
            jobs.append(
                (ImageKind.HEAT_MAP, lambda: (heat_map_png(anomaly_map, limit, region, frame_size), "image/png"))
            )
        self._evidence.submit(inspection.sequence, size_bytes, jobs)

    def _note_late_score(self, inspection: Inspection, score: float) -> None:
        try:
            self._journal.late_score(inspection.sequence, score)
        except JournalError as error:
            log.debug("late score %.4g of trigger %d not journalled: %s", score, inspection.trigger, error)

    def _log_fault(self, what: str, station: Station, part: Part) -> None:
        """With its traceback, but not for every part that has the same fault: at the first, second, fourth, eighth, …"""
        self._faults += 1
        if self._faults & (self._faults - 1) == 0:
            about = {"station": station.name, "trigger": part.trigger, "part_id": part.part_id}
            log.exception("the part could not be %s (fault %d)", what, self._faults, extra=about)

    # ------------------------------------------------------------------------------------------------------- states

    @property
    def stations(self) -> Sequence[StationReading]:
        """How the stations are now, for those who watch."""
        with self._lock:
            return [
                StationReading(
                    station.name,
                    station.camera,
                    self._state(station),
                    self._setups[station.name].recipe.name,
                    self._setups[station.name].recipe.bundle,
                    len(self._books[station.name].in_flight),
                    station.camera in self._streaming,
                )
                for station in self._stations.values()
            ]

    @property
    def silent_s(self) -> float:
        """How long ago the thread that keeps deadlines looked at its clock; the heartbeat stops beyond `STUCK_S`."""
        return self._clock() - self._deadlines.last_tick_s

    def _station_named(self, name: str) -> Station:
        for station in self._stations.values():
            if station.name == name:
                return station
        raise ConfigError(f'line "{self.line}" has no station "{name}": correct the name or the line file')

    def _station_of(self, camera: str) -> Station:
        station = self._stations.get(camera)
        if station is None:
            known = ", ".join(sorted(self._stations))
            raise UnknownCamera(
                f'line "{self.line}" has no camera "{camera}"; it has {known}: correct the name or the line file'
            )
        return station

    def _owing(self, admission: Admission) -> tuple[Station, Setup]:
        """The station that owes a verdict since before the restart, under the name that it had then, and its recipe."""
        for station in self._stations.values():
            if station.name == admission.station:
                return station, self._setups[station.name]
        nameless = Setup(replace(next(iter(self._setups.values())).recipe, name="", bundle="", classes=()), None)
        return Station(admission.station, admission.camera, {"": nameless}, ""), nameless

    def _show_states(self) -> None:
        for station in self._stations.values():
            recipe = self._setups[station.name].recipe
            for signal in self._signals:
                signal.set_station(station.name, self._state(station), recipe.name, recipe.bundle, recipe.classes)

    def _state(self, station: Station) -> StationState:
        if self._stopping:
            return StationState.STOPPING
        if self._setups[station.name].batcher is None or not self._settlement.works:
            return StationState.FAULT
        if station.name in self._stopped:
            return StationState.STOPPED
        return StationState.READY if self._started else StationState.NOT_READY
