"""The path of one part, top to bottom. Read this module first.

    camera ──▶ submit ─▶ admit ─▶ see ─▶ infer ─▶ decide ─▶ settle ─▶ journal, signal ─▶ reply, evidence, subscribers
                 │         │                                  ▲
                 │         └─ gap, duplicate, overload ───────┤
                 └─ deadline clock, model fault, stop ────────┘

What a frame is and whether its part is taken in, the first step, is found out by `Reception` (reception.py); what comes of it
is done here. `submit` runs in the camera's own thread up to the queue of the model, `_decide` in the model's thread. Every
way out leads through `_settle`, which the first caller wins: one trigger, one verdict. What `_settle` does under the lock only
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

from inspector.admission import Look, Part, Reply, Settled
from inspector.arrivals import Admitted, Arrival, Found
from inspector.backlog import RECONNECT_S, Backlogs, Tell
from inspector.deadlines import Deadlines
from inspector.decision.judge import judge
from inspector.decision.views import decide, decide_at_deadline
from inspector.errors import EngineError, FrameError, TooLate
from inspector.imaging.check import check_exposure, check_sharpness
from inspector.imaging.decode import DecodeLimits, decode
from inspector.imaging.lent import claim, own_array
from inspector.imaging.locate import locate
from inspector.imaging.normalise import normalise
from inspector.keeping import Keeping
from inspector.meter import Meter
from inspector.part import Frame, Image, Inspection, Judgement, Reason, Scores, Verdict
from inspector.reception import Reception
from inspector.records.evidence import EvidenceWriter
from inspector.records.journal import Journal
from inspector.settlement import Settlement
from inspector.signalling.signal import Signal, StationReading
from inspector.station import SessionInfo, Setup, Station

log = logging.getLogger(__name__)

# A watcher thread silent for this long means that deadlines are not kept: the heartbeat must stop.
STUCK_S = 1.0
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
        self._lock = threading.Lock()
        self._idle = threading.Condition(self._lock)
        self._settlement = Settlement(
            line,
            journal,
            signals,
            pass_sampling=pass_sampling,
            on_journal=self._show_states,
            clock=clock,
            now=now,
        )
        about = (line, stations, journal, self._settlement)
        self._reception = Reception(*about, lock=self._lock, max_frame_bytes=decode_limits.max_frame_bytes)
        self._faults = 0
        self._deadlines: Deadlines[Part] = Deadlines(self._expire, clock)
        self._backlogs = Backlogs([station.name for station in stations], clock)

    # ---------------------------------------------------------------------------------------------- start and stop

    def start(self) -> None:
        """Give the parts that were in flight when the service last died their verdict, then say READY."""
        now, now_s = self._now(), self._clock()
        restarted = Judgement(Reason.SERVICE_RESTARTED, "the service died before this part was judged")
        owed: defaultdict[str, list[Tell]] = defaultdict(list)
        for station, part in self._reception.restore(now, now_s):
            owed[station.name].append(partial(self._settle, station, part, restarted, part.looks[0]))
        for name, verdicts in owed.items():
            self._backlogs.tell(name, verdicts, pause_s=RECONNECT_S)
        self._reception.begin()
        self._show_states()

    def alive(self) -> bool:
        """Whether deadlines are being kept; the heartbeat to the PLC stops when they are not."""
        return self.silent_s < STUCK_S

    def stop(self, drain_s: float) -> None:
        """Take in no more parts, let those in flight finish for up to `drain_s`, give the rest their verdict."""
        until_s = self._clock() + drain_s
        with self._lock:
            self._reception.end()
            self._show_states()
        with self._idle:
            self._idle.wait_for(lambda: self._reception.is_empty, timeout=drain_s)
            left = self._reception.in_flight()
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
        session = self._reception.begin_session(line, camera, client)
        try:
            yield session
        finally:
            self._reception.end_session(camera)

    def submit(self, camera: str, frame: Frame, reply: Reply) -> int:
        """Take in one frame. Returns once it waits for the model or has its verdict: how often `reply` is called in all.

        `reply` is called from any thread with the inspection of this trigger, and with those of the triggers that this
        one skipped: before it if they are few, soon if they are many. Raises TriggerOutOfRange or UnknownCamera, and
        JournalError if verdicts can no longer be kept.
        """
        station = self._reception.station_of(camera)
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
        station = self._reception.station_of(camera)
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
        station = self._reception.station_named(name)
        with self._lock:
            self._reception.run(station.name, running)
            self._show_states()

    def change_recipe(self, name: str, setup: Setup) -> None:
        """Let a station judge by `setup` from its next part on; parts that are in flight are judged by what they came under."""
        station = self._reception.station_named(name)
        with self._lock:
            self._reception.change(station.name, setup)
            self._show_states()

    def setup_of(self, name: str) -> Setup:
        """What a station judges by now."""
        return self._reception.setup_of(name)

    @property
    def journal_works(self) -> bool:
        """Whether every verdict so far is in the journal."""
        return self._settlement.works

    def is_running(self, name: str) -> bool:
        """Whether a station was not told to stop."""
        return self._reception.is_running(name)

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
        found = self._reception.find_or_enter(station, arrival)
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

    def _join(self, station: Station, part: Part, arrival: Arrival) -> Look | None:
        """The view of a part announced before that this frame is, if it is to be judged."""
        joined = self._reception.join(station, part, arrival)
        if joined.late:
            self._keep_late_view(station, arrival)
        if joined.look is None or joined.judgement is None:
            return joined.look
        if joined.of_part:
            self._settle(station, part, joined.judgement, joined.look)
        else:
            self._judged(station, part, joined.look, joined.judgement)
        return None

    def _keep_late_view(self, station: Station, arrival: Arrival) -> None:
        """A view that came after the verdict is kept beside it, once."""
        settled = self._reception.take_late_view(station, arrival)
        if settled is not None and arrival.frame is not None:
            view = station.view_of(arrival.camera)
            self._keeping.keep_late_view(settled.inspection, list(station.cameras).index(view), view, arrival.frame)

    def _tell_skipped(self, station: Station, found: Found) -> None:
        """Parts that a camera did not show: those that no other view can come of have their verdict, the rest a deadline."""
        over = []
        new = {part.trigger for part in found.skipped}
        for part in (*found.missed, *found.skipped):
            outcome = self._reception.outcome_without(station, part)
            if outcome is not None:
                look, judgement = outcome
                over.append(partial(self._settle, station, part, judgement, look))
            elif part.trigger in new:
                self._deadlines.add(part)
        self._backlogs.tell(station.name, over)

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
            part.expiry_s,
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
        """It was not judged in time for its deadline. Of many parts without a frame the verdicts keep the PLC's pace."""
        station = self._reception.station_of(part.looks[0].camera)
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
                self._reception.leave(station, inspection)
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
        return self._reception.readings()

    @property
    def silent_s(self) -> float:
        """How long ago the thread that keeps deadlines looked at its clock; the heartbeat stops beyond `STUCK_S`."""
        return self._clock() - self._deadlines.last_tick_s

    def _show_states(self) -> None:
        for name, setup in self._reception.setups.items():
            recipe = setup.recipe
            for signal in self._signals:
                signal.set_station(name, self._reception.state(name), recipe.name, recipe.bundle, recipe.classes)


def _too_late(part: Part) -> Judgement:
    return Judgement(
        Reason.DEADLINE_EXCEEDED,
        f"not judged in time for its deadline, {part.setup.recipe.deadline_ms} ms from receipt",
    )


def _tell(reply: Reply, inspection: Inspection) -> None:
    try:
        reply(inspection)
    except Exception:  # the verdict stands on every other output; the other clients must hear of it too
        log.exception("%s could not be answered", inspection.name)
