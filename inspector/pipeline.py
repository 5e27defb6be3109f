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
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

import numpy as np
from numpy.typing import NDArray

from inspector.admission import Look, Part, Reply, Settled, TriggerBook
from inspector.arrivals import Admitted, Arrival, Found, looks_of, skipped_by
from inspector.backlog import RECONNECT_S, Backlogs, Tell
from inspector.deadlines import Deadlines
from inspector.decision.judge import judge
from inspector.decision.views import decide, decide_at_deadline
from inspector.errors import (
    CameraBusy,
    ConfigError,
    EngineError,
    FrameError,
    JournalError,
    Overloaded,
    SessionError,
    TooLate,
    UnknownCamera,
)
from inspector.imaging.check import check_exposure, check_sharpness
from inspector.imaging.decode import DecodeLimits, decode
from inspector.imaging.lent import claim, own_array
from inspector.imaging.locate import locate
from inspector.imaging.normalise import normalise
from inspector.inference.batching import Batcher
from inspector.keeping import Keeping
from inspector.meter import Meter
from inspector.part import Frame, Image, Inspection, Judgement, Reason, Scores, Verdict
from inspector.records.entries import Admission
from inspector.records.evidence import EvidenceWriter
from inspector.records.journal import Journal
from inspector.settlement import Settlement
from inspector.signalling.signal import Signal, StationReading, StationState
from inspector.station import Recipe, SessionInfo, Setup, Station

log = logging.getLogger(__name__)

# A watcher thread silent for this long means that deadlines are not kept: the heartbeat must stop.
STUCK_S = 1.0
# Skipped triggers entered under one hold of the lock: some 0.3 ms.
ENTERED_AT_ONCE = 32
# Parts of a station without a verdict beyond which no more are taken in; only counters that run wild come so far.
MAX_OWED = 20_000
# How long the verdicts of parts without a frame may still keep the PLC's pace when the time to stop is over.
LAST_WORDS_S = 0.2
# Parts refused at the same time whose frames are kept in memory until their verdicts are told.
MOST_WAITING_FRAMES = 64


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
        on_image: Callable[[str, Image], None] = lambda camera, image: None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`on_image` is shown every decoded picture with its camera; it may only enqueue."""
        self.line = line
        self._journal = journal
        self._signals = signals
        self._keeping = Keeping(journal, evidence)
        self._decode_limits = decode_limits
        self.meter = meter or Meter()
        self._on_image = on_image
        self._clock = clock
        self._now = now
        self._stations = {station.name: station for station in stations}
        self._by_camera = {camera: station for station in stations for camera in station.cameras.values()}
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
            cameras = list(station.cameras.values())
            self._books[station.name] = TriggerBook(station.name, cameras, first, station.max_gap, recent)
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
        self._backlogs = Backlogs(list(self._stations), clock)

    # ---------------------------------------------------------------------------------------------- start and stop

    def start(self) -> None:
        """Give the parts that were in flight when the service last died their verdict, then say READY."""
        now, now_s = self._now(), self._clock()
        restarted = Judgement(Reason.SERVICE_RESTARTED, "the service died before this part was judged")
        owed: defaultdict[str, list[Tell]] = defaultdict(list)
        for admission in self._journal.state.unsettled:
            station, setup = self._owing(admission)
            part = Part(
                trigger=admission.trigger,
                part_id=admission.part_id,
                capture_time=admission.capture_time,
                receive_time=admission.receive_time,
                received_s=now_s - max(0.0, (now - admission.receive_time).total_seconds()),
                deadline_s=now_s,
                setup=setup,
                looks=looks_of(station, setup),
            )
            if admission.station in self._books:
                self._books[admission.station].restore(part)
            owed[station.name].append(partial(self._settle, station, part, restarted, part.looks[0]))
        for name, verdicts in owed.items():
            self._backlogs.tell(name, verdicts, pause_s=RECONNECT_S)
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
            left = [(s, list(self._books[s.name].in_flight.values())) for s in self._stations.values()]
        stopped = Judgement(Reason.SERVICE_STOPPING, "the service was stopped before the part was judged")
        for station, parts in left:
            verdicts = [partial(self._settle, station, part, stopped, part.looks[0]) for part in parts]
            self._backlogs.tell(station.name, verdicts)
        self._backlogs.close(max(self._clock() + LAST_WORDS_S, until_s), self._clock)
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
            next_trigger = self._books[station.name].begin(camera)
        try:
            recipe = self._setups[station.name].recipe
            max_bytes = self._decode_limits.max_frame_bytes
            about = (station.name, recipe.name, recipe.bundle, recipe.deadline_ms, max_bytes, next_trigger)
            yield SessionInfo(*about, station.view_of(camera))
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
        admitted = self._admit(station, camera, frame.trigger, frame.part_id, frame.capture_time, frame, reply)
        part, look = admitted.part, admitted.look
        if part is None or look is None:
            return admitted.answers
        try:
            model_input = self._see(part, look, frame)
        except FrameError as error:
            self._judged(station, part, look, Judgement(error.reason, str(error)))
        except Exception:  # noqa: BLE001 told with its traceback by _log_fault
            self._log_fault("prepared", station, part)
            fault = "preparing the image failed; the log has the fault"
            self._judged(station, part, look, Judgement(Reason.INTERNAL_ERROR, fault))
        else:
            look.prepared_s = self._clock()
            self._infer(station, part, look, model_input)
        return admitted.answers

    def submit_fault(self, camera: str, trigger: int, part_id: str, reason: Reason, detail: str, reply: Reply) -> int:
        """As `submit`, for a trigger whose frame cannot even be described; it is UNKNOWN with that reason."""
        station = self._station_of(camera)
        admitted = self._admit(station, camera, trigger, part_id, None, None, reply)
        if admitted.part is not None and admitted.look is not None:
            self._judged(station, admitted.part, admitted.look, Judgement(reason, detail))
        return admitted.answers

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
        camera: str,
        trigger: int,
        part_id: str,
        capture_time: datetime | None,
        frame: Frame | None,
        reply: Reply,
    ) -> Admitted:
        """Enter a new part, and the skipped ones before it, or find the part whose other views came before.

        Only one stream at a time submits for a camera.
        """
        about = (camera, trigger, part_id, capture_time, frame, reply)
        arrival = Arrival(*about, self._now(), self._clock())
        found = self._find_or_enter(station, arrival)
        part, known = found.part, found.known
        if part is not None and found.refusal is None:
            self._deadlines.add(part)
        self._tell_skipped(station, found)
        for inspection in found.told:
            _tell(reply, inspection)
        answers = 1 + len(found.skipped) + len(found.missed) + len(found.told)
        if isinstance(known, Settled):
            self._keep_late_view(station, arrival)
            _tell(reply, known.inspection)
            return Admitted(None, None, answers)
        if known is not None:
            return Admitted(known, self._join(station, known, arrival), answers)
        assert part is not None
        look = part.look_of(camera)
        if found.refusal is not None:
            self._refuse(station, part, look, found.refusal)
            return Admitted(None, None, answers)
        return Admitted(part, look, answers)

    def _refuse(self, station: Station, part: Part, look: Look, refusal: Judgement) -> None:
        """UNKNOWN at once; of many that are refused at the same time the verdicts keep the PLC's pace, as those of a gap do.

        None waits past its deadline.
        """
        if self._backlogs.waiting(station.name) > MOST_WAITING_FRAMES and look.frame is not None:
            look.frame = None
            refusal = replace(refusal, detail=f"{refusal.detail}; its picture was not kept: too many wait to be told")
        with self._lock:
            look.judgement = refusal
        self._deadlines.add(part)
        self._backlogs.tell(station.name, [partial(self._settle, station, part, refusal, look)])

    def _find_or_enter(self, station: Station, arrival: Arrival) -> Found:
        """What is known of the trigger, or a new part for it; with the parts before it that this camera did not show."""
        view = station.view_of(arrival.camera)
        found = Found()
        while found.part is None and found.known is None:
            setup = self._setups[station.name]
            deadline_s = arrival.received_s + setup.recipe.deadline_ms / 1000
            in_time = not setup.is_usable or setup.batchers[view].has_time(deadline_s)
            with self._lock:
                if self._setups[station.name] is not setup:
                    continue  # changed meanwhile, and another camera's later part may be entered by the new one already
                book = self._books[station.name]
                found.known = book.again(arrival.trigger)
                if found.known is None:
                    skipped = book.skipped(arrival.trigger)
                    if not found.skipped:  # once some are entered, all of them get their verdict
                        self._refuse_if_full(book)
                    for number in skipped[:ENTERED_AT_ONCE]:
                        found.skipped.append(self._enter(station, book, arrival.part(station, setup, number)))
                    if len(skipped) <= ENTERED_AT_ONCE:
                        found.refusal = self._refusal(station, setup, view, book.judging, in_time)
                        found.part = self._enter(station, book, arrival.part(station, setup, arrival.trigger))
                        if found.refusal is not None:
                            book.discount(found.part)
                elif isinstance(found.known, Part):
                    found.known.replies.append(arrival.reply)
                if found.part is not None or found.known is not None:
                    found.missed, found.told = book.missed(arrival.camera, arrival.trigger)
                    for part in found.missed:
                        part.look_of(arrival.camera).lost = skipped_by(arrival.trigger, part.trigger)
                        part.replies.append(arrival.reply)
        return found

    def _join(self, station: Station, part: Part, arrival: Arrival) -> Look | None:
        """A frame of a part that was announced before: its view, or None if it comes again or need not be judged."""
        look = part.look_of(arrival.camera)
        batcher = part.setup.batchers.get(look.view.name)
        in_time = batcher is None or batcher.has_time(part.deadline_s)
        with self._lock:
            # With one view a skipped part is decided, even if not yet told: what comes late under its number is no view of it.
            if look.came or (look.lost and len(part.looks) == 1):
                return None
            is_late = part.done
            if not is_late:
                book = self._books[station.name]
                # What was in flight with a frame before the station was stopped is judged; what nobody has shown yet is not.
                refusal = (
                    None if part.counted else self._refusal(station, part.setup, look.view.name, book.judging, True)
                )
                look.take(arrival.frame)
                book.count(part)
                mixed = bool(arrival.part_id and part.part_id) and arrival.part_id != part.part_id
                part.part_id = part.part_id or arrival.part_id
                part.capture_time = part.capture_time or arrival.capture_time
        if is_late:
            self._keep_late_view(station, arrival)
        elif mixed:
            fault = f"view {look.view.name} is of part {arrival.part_id}, and another view of this trigger of {part.part_id}"
            step = "the cameras do not count the same parts: number triggers by one counter"
            self._settle(station, part, Judgement(Reason.FRAME_INVALID, f"{fault}; {step}"), look)
        elif refusal is not None:
            self._judged(station, part, look, refusal)
        elif batcher is not None and not in_time:
            self._judged(station, part, look, _overloaded(batcher, part.setup))
        else:
            return look
        return None

    def _keep_late_view(self, station: Station, arrival: Arrival) -> None:
        """A view that came after the verdict is kept beside it, once."""
        if arrival.frame is None or not arrival.frame.data:
            return
        with self._lock:
            settled = self._books[station.name].again(arrival.trigger)
            if not isinstance(settled, Settled) or arrival.camera not in settled.missing:
                return
            settled.missing.discard(arrival.camera)
        view = station.view_of(arrival.camera)
        self._keeping.keep_late_view(settled.inspection, list(station.cameras).index(view), view, arrival.frame)

    def _tell_skipped(self, station: Station, found: Found) -> None:
        """Parts that a camera did not show: those that no other view can come of have their verdict, the rest a deadline."""
        over = []
        new = {part.trigger for part in found.skipped}
        for part in (*found.missed, *found.skipped):
            with self._lock:
                outcome = decide([look.state for look in part.looks])
                crowded = len(self._books[station.name].in_flight) > station.max_in_flight + station.max_gap
                stopping = self._stopping
            lost = next((place for place, look in enumerate(part.looks) if look.lost), 0)
            if outcome is None and stopping:
                outcome = lost, Judgement(Reason.SERVICE_STOPPING, "the service is stopping")
            elif outcome is None and crowded:
                outcome = lost, Judgement(Reason.TRIGGER_GAP, part.looks[lost].lost)
            if outcome is not None:
                place, judgement = outcome
                over.append(partial(self._settle, station, part, judgement, part.looks[place]))
            elif part.trigger in new:
                self._deadlines.add(part)
        self._backlogs.tell(station.name, over)

    def _refuse_if_full(self, book: TriggerBook) -> None:
        if len(book.in_flight) > MAX_OWED:
            raise Overloaded(
                f"{len(book.in_flight)} parts of station {book.station} wait for their verdict: the camera counts faster than "
                "a PLC can be told; number every part once"
            )
        if self._settlement.full:
            raise JournalError(
                "the journal takes no more verdicts: free space on its disk; parts are rejected until then"
            )

    def _enter(self, station: Station, book: TriggerBook, part: Part) -> Part:
        book.enter(part)
        self._note_admission(station, part)
        return part

    def _refusal(self, station: Station, setup: Setup, view: str, in_flight: int, in_time: bool) -> Judgement | None:
        if self._stopping:
            return Judgement(Reason.SERVICE_STOPPING, "the service is stopping")
        if station.name in self._stopped:
            return Judgement(Reason.STATION_STOPPED, "the station was told to stop; start it to judge parts")
        if not setup.is_usable:
            return Judgement(Reason.NOT_READY, setup.fault or "the station has no bundle")
        if in_flight >= station.max_in_flight:
            return Judgement(Reason.QUEUE_FULL, f"{in_flight} parts are in flight, the most is {station.max_in_flight}")
        return None if in_time else _overloaded(setup.batchers[view], setup)

    def _note_admission(self, station: Station, part: Part) -> None:
        """So that the part gets a verdict even if this process dies now. A failing journal is told by the settlement."""
        camera = next((look.camera for look in part.looks if look.came or look.lost), part.looks[0].camera)
        try:
            self._journal.admit(
                Admission(station.name, camera, part.trigger, part.part_id, part.receive_time, part.capture_time)
            )
        except JournalError as error:
            log.debug("admission of trigger %d not journalled: %s", part.trigger, error)

    # --------------------------------------------------------------------------------------------- 2. see the image

    def _see(self, part: Part, look: Look, frame: Frame) -> NDArray[np.uint8]:
        """Frame → model input, uint8 (height, width, channels). Raises FrameError with the reason for UNKNOWN."""
        view = look.view
        if view.name and frame.view not in ("", view.name):
            raise FrameError(
                Reason.FRAME_INVALID,
                f'a frame of view "{frame.view}" came from the camera of view "{view.name}": give the frame that name or none',
            )
        try:
            model_input = self._prepare(look, frame)
        except FrameError:
            if frame.lease is not None:
                # What was wrong with pixels that are no longer those that were sent says nothing of the part.
                frame.lease.check()
            raise
        if frame.lease is not None:
            model_input = own_array(model_input, frame)
            frame.lease.check()
        return model_input

    def _prepare(self, look: Look, frame: Frame) -> NDArray[np.uint8]:
        view = look.view
        image = decode(frame, self._decode_limits)
        look.frame_size = (image.width_px, image.height_px)
        self._on_image(look.camera, image if frame.lease is None else replace(image, lease=frame.lease))
        check_exposure(image, view.check)
        look.region = locate(image, view.location)
        check_sharpness(image, look.region, view.check)
        return normalise(image, look.region, view.width_px, view.height_px, view.channels)

    # ----------------------------------------------------------------------------------------------------- 3. infer

    def _infer(self, station: Station, part: Part, look: Look, model_input: NDArray[np.uint8]) -> None:
        taken = part.setup.batchers[look.view.name].submit(
            model_input,
            lambda outcome: self._decide(station, part, look, outcome),
            lambda: part.done,
            part.deadline_s,
        )
        if not taken:
            self._judged(station, part, look, Judgement(Reason.QUEUE_FULL, "the model's queue is full"))

    # ---------------------------------------------------------------------------------------------------- 4. decide

    def _decide(self, station: Station, part: Part, look: Look, outcome: Scores | EngineError) -> None:
        look.scored_s = self._clock()
        if isinstance(outcome, EngineError):
            reason = Reason.OVERLOADED if isinstance(outcome, TooLate) else Reason.MODEL_FAILED
            self._judged(station, part, look, Judgement(reason, str(outcome)))
            return
        try:
            assert look.region is not None
            view = look.view
            judgement = judge(outcome, view.limits, look.region, view.classes, view.dimensions)
        except Exception:  # noqa: BLE001 told with its traceback by _log_fault
            self._log_fault("decided", station, part)
            judgement = Judgement(Reason.INTERNAL_ERROR, "the decision failed; the log has the fault")
        self._judged(station, part, look, judgement, outcome)

    def _judged(
        self, station: Station, part: Part, look: Look, judgement: Judgement, scores: Scores | None = None
    ) -> None:
        """A view has its judgement; so has the part, if that decides it."""
        with self._lock:
            look.judgement = judgement
            if part.done:
                outcome = None
            else:
                look.scores = scores
                outcome = decide([one.state for one in part.looks])
        if outcome is not None:
            place, of_part = outcome
            self._settle(station, part, of_part, part.looks[place])
        elif part.done:
            self._settle(station, part, judgement, look)

    def _expire(self, part: Part) -> None:
        """The deadline came first. Of many parts without a frame the verdicts keep the PLC's pace."""
        station = self._station_of(part.looks[0].camera)
        with self._lock:
            states = [look.state for look in part.looks]
        place, judgement = decide_at_deadline(states, part.setup.recipe.deadline_ms)
        settle = partial(self._settle, station, part, judgement, part.looks[place])
        if part.came:
            settle()
        else:
            self._backlogs.tell(station.name, [settle])

    # ---------------------------------------------------------------------------------------------------- 5. settle

    def _settle(self, station: Station, part: Part, judgement: Judgement, look: Look) -> bool:
        """Make `judgement`, which `look` decided, the part's verdict on every output; False if it already has one."""
        score = judgement.score
        with self._lock:
            won = part.inspection is None
            if won:
                if judgement.verdict is not Verdict.UNKNOWN and self._clock() >= part.deadline_s:
                    judgement = _too_late(part)
                inspection, kept = self._settlement.enter(part, look, judgement, station.name)
                part.inspection = inspection
                if station.name in self._books:
                    self._books[station.name].leave(inspection)
                self._idle.notify_all()
                replies, part.replies = part.replies, []
                frames = [(one, one.frame) for one in part.looks if one.frame is not None]
                for one in part.looks:
                    one.frame = None
        if won:
            self._tell_apart(part, inspection)
        else:
            assert part.inspection is not None
            inspection, kept, replies, frames = part.inspection, False, [], []
        if score is not None and inspection.score is None and score > part.late_score:
            part.late_score = score
            self._keeping.note_late_score(inspection, score)
        if kept:
            # An answer lets the camera program use lent pixels for another part.
            frames = [(one, claim(frame)) for one, frame in frames]
        for reply in replies:
            _tell(reply, inspection)
        if kept:
            self._keeping.keep(inspection, frames)
        if won:
            for one in part.looks:
                one.scores = None
        return won

    def _tell_apart(self, part: Part, inspection: Inspection) -> None:
        """Count the part and, with --verbose, log it; the signal is out already."""
        self.meter.settled(part, inspection, self._clock())
        if log.isEnabledFor(logging.DEBUG):
            about = {"station": inspection.station, "trigger": inspection.trigger, "part_id": inspection.part_id}
            about |= {"verdict": inspection.verdict.name, "reason": inspection.reason.name, "score": inspection.score}
            log.debug("%s", inspection.name, extra={**about, "latency_ms": round(inspection.latency_ms, 3)})

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
                    {camera: camera in self._streaming for camera in station.cameras.values()},
                    self._state(station),
                    self._setups[station.name].recipe.name,
                    self._setups[station.name].recipe.bundle,
                    len(self._books[station.name].in_flight),
                )
                for station in self._stations.values()
            ]

    @property
    def silent_s(self) -> float:
        """How long ago the thread that keeps deadlines looked at its clock; the heartbeat stops beyond `STUCK_S`."""
        return self._clock() - self._deadlines.last_tick_s

    def _station_named(self, name: str) -> Station:
        if name not in self._stations:
            raise ConfigError(f'line "{self.line}" has no station "{name}": correct the name or the line file')
        return self._stations[name]

    def _station_of(self, camera: str) -> Station:
        station = self._by_camera.get(camera)
        if station is None:
            known = ", ".join(sorted(self._by_camera))
            raise UnknownCamera(
                f'line "{self.line}" has no camera "{camera}"; it has {known}: correct the name or the line file'
            )
        return station

    def _owing(self, admission: Admission) -> tuple[Station, Setup]:
        """The station that owes a verdict since before the restart, under the name that it had then, and its recipe."""
        if admission.station in self._stations:
            return self._stations[admission.station], self._setups[admission.station]
        view = replace(next(iter(self._setups.values())).recipe.views[0], name="", bundle="", classes=())
        nameless = Setup(Recipe("", 1, (view,)), {})
        return Station(admission.station, {"": admission.camera}, {"": nameless}, ""), nameless

    def _show_states(self) -> None:
        for station in self._stations.values():
            recipe = self._setups[station.name].recipe
            for signal in self._signals:
                signal.set_station(station.name, self._state(station), recipe.name, recipe.bundle, recipe.classes)

    def _state(self, station: Station) -> StationState:
        if self._stopping:
            return StationState.STOPPING
        if not self._setups[station.name].is_usable or not self._settlement.works:
            return StationState.FAULT
        if station.name in self._stopped:
            return StationState.STOPPED
        return StationState.READY if self._started else StationState.NOT_READY


def _overloaded(batcher: Batcher, setup: Setup) -> Judgement:
    waiting, budget_ms = batcher.waiting, setup.recipe.deadline_ms
    return Judgement(
        Reason.OVERLOADED, f"{waiting} parts wait for the model: this one would not be judged within {budget_ms} ms"
    )


def _too_late(part: Part) -> Judgement:
    return Judgement(Reason.DEADLINE_EXCEEDED, f"not judged within {part.setup.recipe.deadline_ms} ms of receipt")


def _tell(reply: Reply, inspection: Inspection) -> None:
    try:
        reply(inspection)
    except Exception:  # the verdict stands on every other output; the other clients must hear of it too
        log.exception("%s could not be answered", inspection.name)
