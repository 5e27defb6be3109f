"""The camera program: streams the cameras of a line, each in a thread of its own, until they end or it is told to.

One camera that fails keeps no other from streaming, and is tried again for as long as the program runs: at first after a
quarter of a second, later after half a minute.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from inspector import __version__
from inspector.cameras.account import Account
from inspector.cameras.client import Answer, CameraClient
from inspector.cameras.connection import ClientTls
from inspector.cameras.ledger import Ledger
from inspector.cameras.sources.source import LOOK_S, Grab, Lost, Source, Stage, Taken
from inspector.errors import InspectorError, SessionError, SourceError

log = logging.getLogger(__name__)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 30.0
# A camera that ran well for this long starts with the first pause again.
WELL_S = 10.0
# How long answers are awaited at the end, and how long when the program has been told to end.
ANSWER_TIMEOUT_S, ENDING_TIMEOUT_S = 30.0, 5.0
# Frames without an answer that are held: as many as come within the deadline, but no fewer and no more than these.
FEWEST_IN_FLIGHT, MOST_IN_FLIGHT, USUAL_IN_FLIGHT = 4, 64, 16


@dataclass(frozen=True, slots=True)
class CameraPlan:
    """One camera: where its frames come from and where they go. `max_in_flight` 0: by its rate and the recipe's deadline.

    `max_silence_s` is how long a source may give nothing before it is opened anew, 0: for ever.
    """

    camera: str
    source: Source
    target: str
    line: str
    tls: ClientTls | None = None
    max_in_flight: int = 0
    max_silence_s: float = 0.0
    stages: tuple[Stage, ...] = ()


def run_cameras(plans: Sequence[CameraPlan], accounts: Sequence[Account], ending: threading.Event) -> None:
    """Stream until every source has ended and its parts are answered, or `ending` is set.

    Each plan has its account, in which whoever watches reads what happens.
    """
    workers = [_Worker(plan, account, ending) for plan, account in zip(plans, accounts, strict=True)]
    for worker in workers:
        worker.thread.start()
    for worker in workers:
        while worker.thread.is_alive():
            # In steps, so that signals reach this thread.
            worker.thread.join(LOOK_S)


class _Worker:
    """One camera's thread. Its numbers and its parts without an answer outlive a client that was turned away for good."""

    def __init__(self, plan: CameraPlan, account: Account, ending: threading.Event) -> None:
        self._plan = plan
        self._account = account
        self._ending = ending
        self._pause = _Pause(ending)
        self._losses = _Losses(plan.camera)
        self._ledger = Ledger()
        self._in_hand: Lost | None = None
        self._told = ""
        self.thread = threading.Thread(target=self._run_and_tell, name=f"camera-{plan.camera}", daemon=True)

    def _run(self) -> None:
        while not self._ending.is_set():
            try:
                with self._client() as client:
                    self._account.state = "streams"
                    self._stream(client)
                self._account.state, self._account.trouble = "ended", ""
                return
            except InspectorError as error:
                self._trouble("does not stream", str(error))
            except Exception as error:
                log.exception("camera %s failed", self._plan.camera)
                self._trouble("does not stream", f"a fault in the camera program ({error!r}): its log has it")
            self._pause.wait()
        self._account.state = "ended"

    def _run_and_tell(self) -> None:
        self._run()
        for shown in self._ledger.clear():
            why = "the camera program stopped before the answer came"
            log.error("camera %s: trigger %d has no answer: %s", self._plan.camera, shown.trigger, why)
            self._account.note(Answer(shown.trigger, shown.shown_ns, time.monotonic_ns(), None, why))

    def _client(self) -> AbstractContextManager[CameraClient]:
        plan = self._plan
        in_flight = plan.max_in_flight or USUAL_IN_FLIGHT
        about = (plan.target, plan.line, plan.camera, self._account.note)
        name = f"inspector camera {__version__}"
        return CameraClient(*about, client=name, max_in_flight=in_flight, tls=plan.tls, ledger=self._ledger)

    def _stream(self, client: CameraClient) -> None:
        """Send what the source gives until it ends; a source that fails is opened again. Raises SessionError."""
        source, plan = self._plan.source, self._plan
        begun_reconnects, begun_crowded = self._account.reconnects, self._account.crowded_out
        crowd = _Crowd(plan.camera)
        if (lost := self._in_hand) is not None:
            self._in_hand = None
            self._account.show(self._send(client, lost), lost)
        while not self._ending.is_set():
            try:
                source.open()
                if not plan.max_in_flight:
                    client.max_in_flight = in_flight(source.rate_hz, client.session.deadline_ms)
                log.info("camera %s: %s; %d frames may wait", plan.camera, source.describe(), client.max_in_flight)
                self._account.trouble, self._account.state = "", "streams"
                for grab in self._grabs(client):
                    trigger = self._send(client, grab)
                    self._account.show(trigger, grab)
                    self._account.reconnects = begun_reconnects + client.reconnects
                    self._account.crowded_out = begun_crowded + client.crowded_out
                    self._account.waiting = client.unanswered
                    crowd.look(client.crowded_out)
                self._account.state = "waits for its last answers"
                self._await_answers(client)
                return
            except SourceError as error:
                self._account.faults += 1
                self._trouble("has no frames", str(error))
            finally:
                source.close()
            self._pause.wait()

    def _grabs(self, client: CameraClient) -> Iterator[Grab]:
        """What the source gives, until it ends or the program is to. Raises SourceError, SessionError."""
        source, limit_s = self._plan.source, self._plan.max_silence_s
        heard_s = time.monotonic()
        for grab in source.grabs():
            if self._ending.is_set():
                return
            self._losses.tell()
            if grab is None:
                self._account.waiting = client.unanswered
                if limit_s and time.monotonic() - heard_s > limit_s:
                    raise SourceError(
                        f"nothing came for {limit_s:g} s (max_silence_s): look at power, cable and trigger"
                    )
                continue
            heard_s = time.monotonic()
            self._pause.well()
            self._told = ""
            for stage in self._plan.stages:
                grab = stage(grab)
            while source.waits and not client.wait_for_room(LOOK_S):
                if self._ending.is_set():
                    return
            yield grab

    def _send(self, client: CameraClient, grab: Grab) -> int:
        try:
            if isinstance(grab, Lost):
                trigger = client.announce(grab.why, count=grab.count, trigger=grab.trigger, part_id=grab.part_id)
                self._losses.note(grab)
                return trigger
            return client.send(grab.frame, grab.trigger)
        except SessionError as error:
            # Sources whose parts wait give this one again. Others do not: the next client tells that it passed.
            if client.is_refused and not self._plan.source.waits:
                self._in_hand = grab if isinstance(grab, Lost) else _passed(grab, str(error))
            raise

    def _await_answers(self, client: CameraClient) -> None:
        started_s = time.monotonic()
        while not client.wait_answered(LOOK_S):
            if time.monotonic() - started_s > (ENDING_TIMEOUT_S if self._ending.is_set() else ANSWER_TIMEOUT_S):
                return

    def _trouble(self, what: str, why: str) -> None:
        """Into the log once for each reason, not at every try."""
        if self._told != why:
            log.error("camera %s %s: %s", self._plan.camera, what, why)
        self._told = self._account.trouble = why
        self._account.state = what


def _passed(taken: Taken, why: str) -> Lost:
    """A part whose frame nobody took."""
    told = f"it passed while the service turned this camera away: {why}"
    return Lost(told, origin=taken.origin, trigger=taken.trigger, part_id=taken.frame.part_id)


class _Pause:
    """Longer after every failure, short again after the camera ran well for a while."""

    def __init__(self, ending: threading.Event) -> None:
        self._ending = ending
        self._pause_s = FIRST_PAUSE_S
        self._well_since_s = math.inf

    def well(self) -> None:
        """A part came."""
        self._well_since_s = min(self._well_since_s, time.monotonic())

    def wait(self) -> None:
        """Until the next try, or the end of the program."""
        if time.monotonic() - self._well_since_s > WELL_S:
            self._pause_s = FIRST_PAUSE_S
        self._well_since_s = math.inf
        self._ending.wait(self._pause_s)
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)


class _Losses:
    """Tells of parts without a frame, in no more than a line a second; each is on record at the service with its own reason."""

    def __init__(self, camera: str) -> None:
        self._camera = camera
        self._count = 0
        self._why = ""
        self._told_s = -math.inf

    def note(self, lost: Lost) -> None:
        self._count += lost.count
        self._why = lost.why
        self.tell()

    def tell(self) -> None:
        if self._count and time.monotonic() - self._told_s >= 1.0:
            log.warning("camera %s: %d parts without a frame, the last: %s", self._camera, self._count, self._why)
            self._count, self._told_s = 0, time.monotonic()


class _Crowd:
    """Tells when the service is slower than the camera: at the first frame that was not sent, the second, fourth, eighth, …"""

    def __init__(self, camera: str) -> None:
        self._camera = camera
        self._told_at = 1

    def look(self, crowded_out: int) -> None:
        if crowded_out >= self._told_at:
            log.warning(
                "camera %s: the service is slower than the camera, %d frames were not sent so far and their parts are UNKNOWN: "
                "fewer parts per second, a smaller region, or a faster machine",
                self._camera,
                crowded_out,
            )
            self._told_at = 2 * crowded_out


def in_flight(rate_hz: float | None, deadline_ms: int) -> int:
    """Frames without an answer that are worth holding: those that come within the deadline. More would only be late."""
    if rate_hz is None:
        return USUAL_IN_FLIGHT
    return max(FEWEST_IN_FLIGHT, min(MOST_IN_FLIGHT, math.ceil(rate_hz * deadline_ms / 1000) + 1))
