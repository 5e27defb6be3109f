"""The client that camera programs use: numbers every part that passes, and brings its verdict.

    with CameraClient("127.0.0.1:50051", "line1", "cam1", on_answer) as camera:
        trigger = camera.send(Frame(0, PixelFormat.MONO8, 1280, 1024, 0, pixels))
        camera.wait_answered(timeout_s=5)

A part that passes while the service cannot be reached still gets its number. When the connection is back, frames within
their deadline are sent, older ones are left out, and the service then gives those parts their UNKNOWN. A part of which the
camera got no frame is told by `announce`: its UNKNOWN, with the reason, does not wait for the next part.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from types import TracebackType
from typing import Self

import grpc

from inspector.cameras.connection import ClientTls, Connection, translate
from inspector.cameras.ledger import NO_CONNECTION, Ledger, Shown
from inspector.errors import CameraBusy, ConfigError, SessionError, TriggerOutOfRange
from inspector.part import Frame
from inspector.ring import Place
from inspector.v1 import inspection_pb2, inspection_service_pb2
from inspector.wire import encode_loss

log = logging.getLogger(__name__)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 2.0
GOODBYE_S = 1.0
# Steps in which a long run of numbers without frames is told to the service, which takes no larger gap than its max_gap.
STRIDE = 100
# Of a longer run of lost parts only the last is told with its reason; the service sees the others by the gap before it.
MAX_TOLD_APART = 16
_OVERDUE = "too many parts passed while the service could not be reached"


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one trigger. Times are CLOCK_MONOTONIC in ns: when the part was shown, when its answer came.

    `inspection` is None if the service will never tell, and then `lost` says why.
    """

    trigger: int
    sent_ns: int
    received_ns: int
    inspection: inspection_pb2.Inspection | None
    lost: str = ""


class CameraClient:
    """One camera's stream to the service. `on_answer` is called once for every trigger, from the client's own threads; what it
    raises is logged, and the stream goes on.

    `max_in_flight` bounds the frames held here without an answer. A camera that another client streams as is tried for
    `busy_patience_s`, because the service may need that long to see that our own last connection is dead.

    With a `ledger` of the caller's numbers go on where an earlier client left them, and parts without an answer stay there for
    the next client when this one ends: the caller tells of those that nobody asks for any more. Only parts whose numbers the
    service can never take are told as lost all the same.
    """

    def __init__(
        self,
        target: str,
        line: str,
        camera: str,
        on_answer: Callable[[Answer], None],
        *,
        client: str = "",
        max_in_flight: int = 64,
        connect_timeout_s: float = 10.0,
        busy_patience_s: float = 20.0,
        tls: ClientTls | None = None,
        ledger: Ledger | None = None,
    ) -> None:
        """Raises ConfigError if a file of `tls` cannot be read."""
        if tls is not None:
            tls.credentials()
        self._connect = partial(Connection, target, line, camera, client, connect_timeout_s, tls)
        self._target = target
        self._on_answer = on_answer
        self.max_in_flight = max_in_flight
        self._connect_timeout_s = connect_timeout_s
        self._busy_patience_s = busy_patience_s
        self._state = threading.Condition(threading.Lock())
        self._sending = threading.Lock()
        self._hands_on = ledger is not None
        self._ledger = Ledger() if ledger is None else ledger
        self._session: inspection_service_pb2.Session | None = None
        self._attempt: Connection | None = None
        self._link: Connection | None = None
        self._pause_s = FIRST_PAUSE_S
        self._told = 0
        self._stride = STRIDE
        self._fetches = True
        self._refused_again = False
        self._tried, self._tries, self._faults = "", 0, 0
        self._busy_since_s: float | None = None
        self._error: SessionError | None = None
        self._closing = threading.Event()
        self._streamer = threading.Thread(target=self._run, name=f"camera-client-{camera}", daemon=True)
        self.reconnects = 0
        self.crowded_out = 0

    # ---------------------------------------------------------------------------------------------- for the program

    def __enter__(self) -> Self:
        """Connect. Raises SessionError if the service does not answer or refuses this camera."""
        self._started_s = time.monotonic()
        self._streamer.start()
        with self._state:
            self._state.wait_for(lambda: self._session is not None or self._error is not None)
        try:
            self._check()
        except SessionError:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def session(self) -> inspection_service_pb2.Session:
        """What the service said last of the station: recipe, bundle, deadline, largest frame."""
        assert self._session is not None, "enter the client first"
        return self._session

    @property
    def is_refused(self) -> bool:
        """Whether this client has given up: what passes now is to be told by another."""
        return self._error is not None

    @property
    def unanswered(self) -> int:
        """Parts numbered and not yet answered."""
        return len(self._ledger)

    def wait_for_room(self, timeout_s: float) -> bool:
        """Wait until fewer than `max_in_flight` frames are unanswered; False if that takes longer. Raises SessionError."""
        with self._state:
            self._state.wait_for(lambda: self._has_room() or self._error is not None, timeout_s)
            self._check()
            return self._has_room()

    def reserve(self, length: int) -> Place | None:
        """Memory shared with the service, for one frame's pixels: write them there and send a frame whose `data` is `pixels`.

        So a camera driver writes where the service reads. None where nothing is shared, or no place is free: then send bytes.
        A place whose frame is not sent must be given back by `release`.
        """
        with self._state:
            link = self._link
        return None if link is None else link.sharer.reserve(length)

    def send(self, frame: Frame, trigger: int | None = None) -> int:
        """Number the part that passes now and send its frame; returns the trigger (that of `frame` is not looked at).

        `trigger` is the part's number where something counts for all cameras of the station, as parts with several views need
        it; numbers left out are parts that this camera did not see. Without it parts are counted here, from where the service
        stands.

        Never waits: if there is no room (counted in `crowded_out`), or no connection by its deadline, the part keeps its
        number but its frame is not sent, and so it will be UNKNOWN. Raises SessionError if the service refused this camera for
        good, or `trigger` was passed already.
        """
        with self._sending:
            with self._state:
                shown = self._enter(frame.part_id, trigger)
                if self._has_room():
                    self._ledger.hold(shown, replace(frame, trigger=shown.trigger))
                elif self._link is not None:
                    shown.lost = (
                        f"{self._ledger.frames_held} frames wait for the service, which is slower than this camera"
                    )
                    self.crowded_out += 1
                given_up = self._ledger.overdue()
                link = self._link
                if link is not None and shown.frame is None:
                    link.sharer.abandon(frame)
                if link is not None and shown.lost:
                    self._put(link, shown, shown.announcement())
            self._lose(given_up, _OVERDUE)
            held = shown.frame
            if held is not None and link is not None:
                message = link.encode(held, self.session.max_frame_bytes)
                with self._state:
                    # Otherwise the connection broke meanwhile, or was made anew and has sent it.
                    if self._link is link and shown.sent_on is None:
                        self._put(link, shown, message)
            return shown.trigger

    def announce(self, why: str, *, count: int = 1, trigger: int | None = None, part_id: str = "") -> int:
        """Number `count` parts of which this camera has no frame, and tell the service why; returns the last one's trigger.

        `trigger` is that of the last one, `part_id` its own. Never waits, and raises SessionError as `send` does.
        """
        with self._sending, self._state:
            for left in range(count - 1, -1, -1):
                shown = self._enter(part_id if left == 0 else "", None if trigger is None else trigger - left)
                shown.lost = why
                if self._link is not None and (left == 0 or count <= MAX_TOLD_APART):
                    self._put(self._link, shown, shown.announcement())
            given_up = self._ledger.overdue()
        self._lose(given_up, _OVERDUE)
        return shown.trigger

    def _enter(self, part_id: str, trigger: int | None) -> Shown:
        """Number a part that passes now. Caller locks. Raises SessionError."""
        self._check()
        if trigger is not None and trigger < self._ledger.next_trigger:
            raise SessionError(
                f"trigger {trigger} came where {self._ledger.next_trigger} is the next: the counter of this station "
                "ran backwards or was started anew; let it go on from there"
            )
        return self._ledger.enter(part_id, time.monotonic_ns(), trigger)

    def wait_answered(self, timeout_s: float) -> bool:
        """Wait until every part is answered; False if some are not by then. Raises SessionError as `send` does."""
        with self._sending, self._state:
            if self._link is not None:
                self._announce_last(self._link)
            self._state.wait_for(lambda: not len(self._ledger) or self._error is not None, timeout_s)
            if self._error is not None:
                raise self._error
            return not len(self._ledger)

    def close(self) -> None:
        """End the stream. Parts without an answer are told as lost, or stay in the caller's ledger; the service judges what it
        has received."""
        with self._state:
            self._closing.set()
            link, is_even = self._attempt, self._session is not None and not len(self._ledger)
            self._state.notify_all()
        if link is not None and is_even:
            # Ended by both sides, so that the service has freed the camera when this returns.
            link.finish()
            self._streamer.join(GOODBYE_S)
        if link is not None:
            link.cancel()
        if self._streamer.ident is not None:
            self._streamer.join()

    # ------------------------------------------------------------------------------------------- the client's thread

    def _run(self) -> None:
        try:
            while not self._closing.is_set() and self._error is None:
                try:
                    self._stream()
                except grpc.RpcError as error:
                    self._judge_failure(error)
                except ConfigError as error:  # certificates that are being renewed: tried again as a lost connection is
                    log.warning("no new connection yet: %s", error)
                if self._error is None:
                    self._closing.wait(self._pause_s)
                    self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
        except Exception as error:
            log.exception("the camera client failed")
            self._fail(SessionError(f"the camera client failed ({error!r}): its log has the fault"))
        finally:
            with self._state:
                stays = self._hands_on and not isinstance(self._error, TriggerOutOfRange)
                left = [] if stays else self._ledger.clear()
                self._state.notify_all()
            why = str(self._error) if self._error is not None else "the camera program stopped before the answer came"
            self._lose(left, why)

    def _stream(self) -> None:
        """One connection until it ends. Raises grpc.RpcError."""
        link = self._connect()
        with self._state:
            self._attempt = link
            if self._closing.is_set():
                link.cancel()
        try:
            for response in link:
                kind = response.WhichOneof("message")
                if kind == "session":
                    if response.session.HasField("frame_memory"):
                        link.sharer.accept(response.session.frame_memory)
                    self._resume(link, response.session)
                    log.info("connected to %s, next trigger %d", self._target, response.session.next_trigger)
                elif kind == "inspection":
                    link.sharer.answered(response.inspection.trigger)
                    self._answered(response.inspection)
        finally:
            with self._state:
                self._link = self._attempt = None
            link.close()

    def _resume(self, link: Connection, session: inspection_service_pb2.Session) -> None:
        """A session begins: go on where the service's numbering and ours stand."""
        lost: list[tuple[Shown, str]] = []
        with self._state:
            self.reconnects += self._session is not None
            first, self._session, self._ledger.is_begun = not self._ledger.is_begun, session, True
            self._busy_since_s, self._pause_s, self._tried = None, FIRST_PAUSE_S, ""
            expected = session.next_trigger
            if first or expected <= self._ledger.highest_answered:
                lost += self._renumber(expected, first)
            self._told = expected - 1
            if not session.view:
                # With several cameras the service may stand where others went on: this one still counts its own parts.
                self._ledger.next_trigger = max(self._ledger.next_trigger, expected)
            for shown in self._ledger:
                if session.view and shown.frame is not None and shown.sent_on is None:
                    self._put(link, shown, link.encode(shown.frame, session.max_frame_bytes))
                elif shown.trigger < expected:
                    why = self._fetch(link, shown)
                    if why:
                        lost.append((shown, why))
                        self._ledger.take(shown)
                elif self._is_fresh(shown) and shown.frame is not None:
                    self._put(link, shown, link.encode(shown.frame, session.max_frame_bytes))
                else:
                    self._ledger.drop_frame(shown)
            self._announce_last(link)
            self._link = link
            self._state.notify_all()
        for shown, why in lost:
            self._lose([shown], why)

    def _renumber(self, expected: int, first: bool) -> list[tuple[Shown, str]]:
        """Count from `expected`; what is unanswered was counted otherwise and can never be told."""
        self._ledger.next_trigger, self._ledger.highest_answered = expected, 0
        if first:
            return []
        log.warning("the service counts from %d again, as if its journal were new; so does this camera", expected)
        left = list(self._ledger)
        for shown in left:
            self._ledger.take(shown)
        return [(shown, "the service lost its numbering, and with it this part") for shown in left]

    def _fetch(self, link: Connection, shown: Shown) -> str:
        """Ask again for the verdict of a trigger that the service knows; a repeat needs no pixels. Returns why not, if not."""
        if shown.sent_on is None and shown.frame is not None:
            return "another client used this trigger number while this camera was not connected"
        if not self._fetches:
            return "the service no longer has this part in memory; its record has the verdict"
        link.put(shown.announcement())
        shown.sent_on = link
        return ""

    def _is_fresh(self, shown: Shown) -> bool:
        assert self._session is not None
        return time.monotonic_ns() - shown.shown_ns < self._session.deadline_ms * 1_000_000

    def _put(self, link: Connection, shown: Shown, message: bytes) -> None:
        """Hand a message to the connection, and before it enough numbers that no gap is too large. Caller locks."""
        # A jump of a counter that others keep is for the service to judge, which takes no larger one than its max_gap.
        while not shown.is_given and shown.trigger - self._told > self._stride:
            self._told += self._stride
            link.put(encode_loss(self._told, "", NO_CONNECTION))
        link.put(message)
        shown.sent_on = link
        self._told = max(self._told, shown.trigger)

    def _announce_last(self, link: Connection) -> None:
        """Tell of the newest part if no frame of it was sent: then all parts before it get their verdict too."""
        last = self._ledger.next_trigger - 1
        for shown in self._ledger:
            if shown.trigger == last > self._told:
                self._put(link, shown, shown.announcement())

    def _answered(self, inspection: inspection_pb2.Inspection) -> None:
        received_ns = time.monotonic_ns()
        with self._state:
            shown = self._ledger.answer(inspection.trigger)
            self._stride, self._refused_again, self._fetches = STRIDE, False, True
            self._state.notify_all()
        if shown is not None:
            self._answer(Answer(shown.trigger, shown.shown_ns, received_ns, inspection))

    def _lose(self, parts: list[Shown], why: str) -> None:
        for shown in parts:
            log.error("trigger %d has no answer: %s", shown.trigger, why)
            self._answer(Answer(shown.trigger, shown.shown_ns, time.monotonic_ns(), None, why))

    def _answer(self, answer: Answer) -> None:
        """A fault of the program's own code ends no stream: it is logged the first, second, fourth, eighth … time."""
        try:
            self._on_answer(answer)
        except Exception:
            self._faults += 1
            if self._faults & (self._faults - 1) == 0:
                log.exception("on_answer failed at trigger %d; %d times so far", answer.trigger, self._faults)

    # ------------------------------------------------------------------------------------------------------ failures

    def _judge_failure(self, failure: grpc.RpcError) -> None:
        """Whether to try again (return) or to give up (`_fail`)."""
        error, is_final = translate(failure, self._target)
        if self._closing.is_set():
            return
        now_s = time.monotonic()
        if isinstance(error, CameraBusy):
            self._busy_since_s = self._busy_since_s or now_s
            is_final = now_s - self._busy_since_s > self._busy_patience_s
        elif isinstance(error, TriggerOutOfRange):
            # Once with smaller steps and without asking for old triggers; if that does not help, nothing will.
            is_final, self._refused_again = self._refused_again, True
            self._stride, self._fetches = 1, False
        elif self._session is None:
            is_final = is_final or now_s - self._started_s > self._connect_timeout_s
        if is_final:
            self._fail(error)
        else:
            self._warn(str(error))

    def _warn(self, why: str) -> None:
        """Once per reason and outage; that it goes on is told at the second, fourth, eighth … try."""
        self._tries = self._tries + 1 if why == self._tried else 1
        self._tried = why
        if self._tries == 1:
            log.warning("%s; trying again", why)
        elif self._tries & (self._tries - 1) == 0:
            log.warning("still no stream to %s after %d tries", self._target, self._tries)

    def _fail(self, error: SessionError) -> None:
        with self._state:
            self._error = error
            self._state.notify_all()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error
        if self._closing.is_set():
            raise SessionError("the camera client is closed: make a new one")

    def _has_room(self) -> bool:
        return self._ledger.frames_held < self.max_in_flight
