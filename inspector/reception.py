"""The first step of the pipeline: what a frame is, and whether its part can be judged.

A reception keeps what the stations are told to do and counts their parts in. It gives no verdict: what comes of its findings
the pipeline does.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from inspector.admission import Look, Part, Settled, TriggerBook, expiry_s
from inspector.arrivals import Arrival, Found, Joined, looks_of, skipped_by
from inspector.decision.views import decide
from inspector.errors import CameraBusy, ConfigError, JournalError, Overloaded, SessionError, UnknownCamera
from inspector.inference.batching import Batcher
from inspector.part import Inspection, Judgement, Reason
from inspector.records.entries import Admission
from inspector.records.journal import Journal
from inspector.settlement import Settlement
from inspector.signalling.signal import StationReading, StationState
from inspector.station import Recipe, SessionInfo, Setup, Station

log = logging.getLogger(__name__)

# Skipped triggers entered under one hold of the lock: some 0.3 ms.
ENTERED_AT_ONCE = 32
# Parts of a station without a verdict beyond which no more are taken in; only counters that run wild come so far.
MAX_OWED = 20_000


class Reception:
    """The stations of a line as their parts come in: how each counts, what it judges by, and whether it judges at all.

    `lock`, which the pipeline shares, guards what changes. It cannot be taken twice: methods take it themselves, unless they
    say that the caller holds it.
    """

    def __init__(
        self,
        line: str,
        stations: Sequence[Station],
        journal: Journal,
        settlement: Settlement,
        lock: threading.Lock,
        max_frame_bytes: int,
    ) -> None:
        self._line = line
        self._journal = journal
        self._settlement = settlement
        self._lock = lock
        self._max_frame_bytes = max_frame_bytes
        self._by_camera = {camera: station for station in stations for camera in station.cameras.values()}
        self._streaming: dict[str, str] = {}
        self._stations = {station.name: station for station in stations}
        self._setups = {station.name: station.setups[station.first] for station in stations}
        self._stopped = {station.name for station in stations if station.stopped}
        self._started = self._stopping = False
        self._books: dict[str, TriggerBook] = {}
        for station in stations:
            mark = journal.state.stations.get(station.name)
            recent = [i for i in journal.state.recent if i.station == station.name]
            first = mark.next_trigger if mark else 1
            self._books[station.name] = TriggerBook(
                station.name, list(station.cameras.values()), first, station.max_gap, recent
            )

    def station_named(self, name: str) -> Station:
        """Raises ConfigError if there is none."""
        if name not in self._stations:
            raise ConfigError(f'line "{self._line}" has no station "{name}": correct the name or the line file')
        return self._stations[name]

    def station_of(self, camera: str) -> Station:
        """Where a camera stands. Raises UnknownCamera."""
        station = self._by_camera.get(camera)
        if station is None:
            known = ", ".join(sorted(self._by_camera))
            raise UnknownCamera(
                f'line "{self._line}" has no camera "{camera}"; it has {known}: correct the name or the line file'
            )
        return station

    # ----------------------------------------------------------------------------------------------------- sessions

    def begin_session(self, line: str, camera: str, client: str) -> SessionInfo:
        """A camera's stream begins. Raises SessionError, UnknownCamera or CameraBusy, see `Pipeline.open_session`."""
        station = self.station_of(camera)
        if line != self._line:
            raise SessionError(
                f'this service inspects line "{self._line}", not "{line}": connect to that line\'s service'
            )
        recipe, view = self._setups[station.name].recipe, station.view_of(camera)
        about = (station.name, recipe.name, recipe.bundle, recipe.deadline_ms, self._max_frame_bytes)
        with self._lock:
            if camera in self._streaming:
                raise CameraBusy(
                    f'camera "{camera}" already streams from client "{self._streaming[camera]}": stop that one first, '
                    "or give this camera its own name in the line file"
                )
            next_trigger = self._books[station.name].begin(camera)
            self._streaming[camera] = client
        return SessionInfo(*about, next_trigger, view)

    def end_session(self, camera: str) -> None:
        """Another stream may begin for this camera."""
        with self._lock:
            del self._streaming[camera]

    # -------------------------------------------------------------------------------------------------------- parts

    def restore(self, now: datetime, now_s: float) -> Iterator[tuple[Station, Part]]:
        """The parts that were in flight when the service last died, in flight again, with the station that owes the verdict.

        Before anything is taken in: no lock.
        """
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
            yield station, part

    def _owing(self, admission: Admission) -> tuple[Station, Setup]:
        """The station under the name that it had when the service died, and its recipe."""
        if admission.station in self._stations:
            return self._stations[admission.station], self._setups[admission.station]
        view = replace(next(iter(self._setups.values())).recipe.views[0], name="", bundle="", classes=())
        nameless = Setup(Recipe("", 1, (view,)), {})
        return Station(admission.station, {"": admission.camera}, {"": nameless}, ""), nameless

    @property
    def is_empty(self) -> bool:
        """Whether no part is in flight. Caller holds the lock."""
        return not any(book.in_flight for book in self._books.values())

    def in_flight(self) -> list[tuple[Station, list[Part]]]:
        """All parts without a verdict, by station. Caller holds the lock."""
        return [(station, list(self._books[name].in_flight.values())) for name, station in self._stations.items()]

    def find_or_enter(self, station: Station, arrival: Arrival) -> Found:
        """What is known of the trigger, or a new part for it; with the parts before it that this camera did not show.

        Raises TriggerOutOfRange, or Overloaded and JournalError if no more verdicts can be owed.
        """
        view = station.view_of(arrival.camera)
        found = Found()
        while found.part is None and found.known is None:
            setup = self._setups[station.name]
            deadline_s = arrival.received_s + setup.recipe.deadline_ms / 1000
            in_time = not setup.is_usable or setup.batchers[view].has_time(expiry_s(arrival.received_s, deadline_s))
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

    def join(self, station: Station, part: Part, arrival: Arrival) -> Joined:
        """A frame of a part that was announced before."""
        look = part.look_of(arrival.camera)
        batcher = part.setup.batchers.get(look.view.name)
        in_time = batcher is None or batcher.has_time(part.expiry_s)
        with self._lock:
            # It comes again. With one view a skipped part is decided, even if not yet told: what comes late is no view of it.
            if look.came or (look.lost and len(part.looks) == 1):
                return Joined()
            if part.done:
                return Joined(late=True)
            book = self._books[station.name]
            # What was in flight with a frame before the station was stopped is judged; what nobody has shown yet is not.
            refusal = None if part.counted else self._refusal(station, part.setup, look.view.name, book.judging, True)
            look.take(arrival.frame)
            book.count(part)
            mixed = bool(arrival.part_id and part.part_id) and arrival.part_id != part.part_id
            part.part_id = part.part_id or arrival.part_id
            part.capture_time = part.capture_time or arrival.capture_time
        if mixed:
            fault = f"view {look.view.name} is of part {arrival.part_id}, and another view of this trigger of {part.part_id}"
            step = "the cameras do not count the same parts: number triggers by one counter"
            return Joined(look, Judgement(Reason.FRAME_INVALID, f"{fault}; {step}"), of_part=True)
        if refusal is None and batcher is not None and not in_time:
            refusal = _overloaded(batcher, part.setup)
        return Joined(look, refusal)

    def take_late_view(self, station: Station, arrival: Arrival) -> Settled | None:
        """The part whose verdict did not wait for this view, which is missing no more; None if there is no such part."""
        if arrival.frame is None or not arrival.frame.data:
            return None
        with self._lock:
            settled = self._books[station.name].again(arrival.trigger)
            if not isinstance(settled, Settled) or arrival.camera not in settled.missing:
                return None
            settled.missing.discard(arrival.camera)
        return settled

    def outcome_without(self, station: Station, part: Part) -> tuple[Look, Judgement] | None:
        """What decides a part of which a camera showed nothing; None if another view of it may come."""
        with self._lock:
            outcome = decide([look.state for look in part.looks])
            crowded = len(self._books[station.name].in_flight) > station.max_in_flight + station.max_gap
            stopping = self._stopping
        if outcome is not None:
            place, judgement = outcome
            return part.looks[place], judgement
        lost = next((look for look in part.looks if look.lost), part.looks[0])
        if stopping:
            return lost, Judgement(Reason.SERVICE_STOPPING, "the service is stopping")
        return (lost, Judgement(Reason.TRIGGER_GAP, lost.lost)) if crowded else None

    def _refuse_if_full(self, book: TriggerBook) -> None:
        """Raises Overloaded or JournalError. Caller holds the lock."""
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
        """In flight, and journalled, so that the part gets a verdict even if this process dies now. Caller holds the lock."""
        book.enter(part)
        camera = next((look.camera for look in part.looks if look.came or look.lost), part.looks[0].camera)
        try:
            self._journal.admit(
                Admission(station.name, camera, part.trigger, part.part_id, part.receive_time, part.capture_time)
            )
        except JournalError as error:  # told by the settlement
            log.debug("admission of trigger %d not journalled: %s", part.trigger, error)
        return part

    def _refusal(self, station: Station, setup: Setup, view: str, in_flight: int, in_time: bool) -> Judgement | None:
        """Why a part is not judged, if so. Caller holds the lock."""
        if self._stopping:
            return Judgement(Reason.SERVICE_STOPPING, "the service is stopping")
        if station.name in self._stopped:
            return Judgement(Reason.STATION_STOPPED, "the station was told to stop; start it to judge parts")
        if not setup.is_usable:
            return Judgement(Reason.NOT_READY, setup.fault or "the station has no bundle")
        if in_flight >= station.max_in_flight:
            return Judgement(Reason.QUEUE_FULL, f"{in_flight} parts are in flight, the most is {station.max_in_flight}")
        return None if in_time else _overloaded(setup.batchers[view], setup)

    def leave(self, station: Station, inspection: Inspection) -> None:
        """A part has its verdict. Caller holds the lock."""
        if station.name in self._books:
            self._books[station.name].leave(inspection)

    # ------------------------------------------------------------------------------------------------------- states

    def begin(self) -> None:
        """Stations are ready from now on."""
        self._started = True

    def end(self) -> None:
        """Parts that come from now on are refused. Caller holds the lock."""
        self._stopping = True

    def run(self, name: str, running: bool) -> None:
        """Start or stop a station. Caller holds the lock."""
        (self._stopped.discard if running else self._stopped.add)(name)

    def is_running(self, name: str) -> bool:
        """Whether a station was not told to stop. Raises ConfigError if there is none."""
        return self.station_named(name).name not in self._stopped

    def change(self, name: str, setup: Setup) -> None:
        """A station judges by `setup` from its next part on. Caller holds the lock."""
        self._setups[name] = setup

    def setup_of(self, name: str) -> Setup:
        """What a station judges by now. Raises ConfigError if there is none."""
        return self._setups[self.station_named(name).name]

    @property
    def setups(self) -> Mapping[str, Setup]:
        """What every station judges by now."""
        return self._setups

    def state(self, name: str) -> StationState:
        """What a station's PLC is told of it. Caller holds the lock, or has not taken anything in yet."""
        if self._stopping:
            return StationState.STOPPING
        if not self._setups[name].is_usable or not self._settlement.works:
            return StationState.FAULT
        if name in self._stopped:
            return StationState.STOPPED
        return StationState.READY if self._started else StationState.NOT_READY

    def readings(self) -> list[StationReading]:
        """How the stations are now, for those who watch."""
        with self._lock:
            return [
                StationReading(
                    name,
                    {camera: camera in self._streaming for camera in station.cameras.values()},
                    self.state(name),
                    self._setups[name].recipe.name,
                    self._setups[name].recipe.bundle,
                    len(self._books[name].in_flight),
                )
                for name, station in self._stations.items()
            ]


def _overloaded(batcher: Batcher, setup: Setup) -> Judgement:
    waiting, budget_ms = batcher.waiting, setup.recipe.deadline_ms
    return Judgement(
        Reason.OVERLOADED, f"{waiting} parts wait for the model: this one would not be judged within {budget_ms} ms"
    )
