"""A camera program of the tests' own: generated stub, raw stream, no code of `inspector.cameras`.

It numbers its triggers itself, as a sensor on the belt does, and keeps what it sent until it is answered. When the stream
breaks it connects again and, as the test chooses, sends the unanswered frames again or forgets them and goes on counting.
"""

from __future__ import annotations

import queue
import random
import threading
import time
from collections.abc import Callable, Collection, Iterator

import grpc
from chaos.ledger import Ledger

from inspector.part import Reason
from inspector.v1 import inspection_pb2, inspection_service_pb2

TIMEOUT_S = 30.0
_RETRY_S = 0.02
Request = inspection_service_pb2.InspectRequest
Picture = tuple[inspection_pb2.Frame, frozenset[Reason]]


class CannotMeasure(Exception):
    """The harness or the line does not work at all, so nothing can be counted."""


class NotPossibleHere(CannotMeasure):
    """This machine or this user cannot do that to a line: no rights, no program, no kernel for it."""


def open_channel(target: str, credentials: grpc.ChannelCredentials | None) -> grpc.Channel:
    """A connection of its own. A channel remembers failed attempts and waits longer each time; a new one tries at once."""
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
    # A service that went without a word is given up, as a camera program must.
    options += [("grpc.keepalive_time_ms", 6000), ("grpc.keepalive_timeout_ms", 4000)]
    if credentials is None:
        return grpc.insecure_channel(target, options=options)
    return grpc.secure_channel(target, credentials, options=options)


class _Stream:
    """One call: a queue of requests out, a thread that reads answers."""

    def __init__(
        self, channel: grpc.Channel, ledger: Ledger, hello: inspection_service_pb2.Hello, timeout_s: float
    ) -> None:
        """Raises grpc.RpcError if the service does not take the camera."""
        self.ended = threading.Event()
        self.error: grpc.RpcError | None = None
        self._requests: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._channel = channel
        try:
            self._open(hello, ledger, timeout_s)
        except BaseException:
            self._channel.close()
            raise

    def _open(self, hello: inspection_service_pb2.Hello, ledger: Ledger, timeout_s: float) -> None:
        method = f"/{inspection_service_pb2.DESCRIPTOR.services_by_name['InspectionService'].full_name}/Inspect"
        # Requests are bytes, so that a test can send some that are no message at all.
        call = self._channel.stream_stream(method, lambda data: data, inspection_service_pb2.InspectResponse.FromString)
        self.call = call(self._outgoing(), wait_for_ready=False)
        self.put(Request(hello=hello).SerializeToString())
        patience = threading.Timer(timeout_s, self.call.cancel)
        patience.start()
        try:
            first = next(self.call)
        except StopIteration:
            raise CannotMeasure("the service ended the stream before it answered the hello") from None
        finally:
            patience.cancel()
        if first.WhichOneof("message") != "session":
            raise CannotMeasure(f"the first answer is no session: {first}")
        self.session = first.session
        self._reader = threading.Thread(target=self._read, args=(ledger,), daemon=True)
        self._reader.start()

    def put(self, request: bytes) -> None:
        self._requests.put(request)

    def cancel(self) -> None:
        """End it from this side without a word to the service's application."""
        self.call.cancel()
        self.close()

    def close(self) -> None:
        """Half-close, read what is still owed, hang up."""
        self._requests.put(None)
        self._reader.join(TIMEOUT_S)
        self._channel.close()

    def _outgoing(self) -> Iterator[bytes]:
        while (request := self._requests.get()) is not None:
            yield request

    def _read(self, ledger: Ledger) -> None:
        try:
            for answer in self.call:
                ledger.reply(answer.inspection)
        except grpc.RpcError as error:
            self.error = error
        finally:
            self._requests.put(None)
            self.ended.set()


def camera_name(station: str, view: str = "") -> str:
    """Of the camera of a station, or of one of its views."""
    return f"cam-{station}-{view}" if view else f"cam-{station}"


class Camera:
    """The camera of one station, or of one of its views. Not thread-safe, except `weather` and what the ledger does."""

    def __init__(
        self,
        target: str,
        line: str,
        station: str,
        ledger: Ledger,
        credentials: grpc.ChannelCredentials | None = None,
        view: str = "",
    ) -> None:
        self.station = station
        self.target = target
        self._credentials = credentials
        self._hello = inspection_service_pb2.Hello(line=line, camera=camera_name(station, view), client="chaos")
        self._ledger = ledger
        self._stream: _Stream | None = None
        self._sent: dict[int, bytes] = {}
        self.count = 0
        self.reconnects = 0

    @property
    def connected(self) -> bool:
        return self._stream is not None and not self._stream.ended.is_set()

    # Connecting

    def connect(self, timeout_s: float = TIMEOUT_S, given_up: Callable[[], bool] = lambda: False) -> None:
        """Open a stream, trying again while the service is away. CannotMeasure if it does not come back."""
        end = time.monotonic() + timeout_s
        while not given_up():
            try:
                channel = open_channel(self.target, self._credentials)
                self._stream = _Stream(channel, self._ledger, self._hello, max(0.1, end - time.monotonic()))
                break
            except grpc.RpcError as error:
                # ALREADY_EXISTS: the service has not noticed yet that the last stream is dead.
                again = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.ALREADY_EXISTS)
                if error.code() not in again or time.monotonic() > end:
                    raise CannotMeasure(f"camera {self._hello.camera} cannot connect: {error}") from error
                threading.Event().wait(_RETRY_S)
        else:
            return
        expected = self._stream.session.next_trigger
        if expected > self.count + 1:
            raise CannotMeasure(f"the service expects trigger {expected}, the camera is at {self.count}")

    def recover(self, rng: random.Random, given_up: Callable[[], bool] = lambda: False) -> None:
        """Connect again; send what was not answered again, in order, or forget some or all of it."""
        self.hang_up()
        self.connect(given_up=given_up)
        if not self.connected:
            return
        self.reconnects += 1
        forgetful = rng.random() < 0.4
        for trigger in self._ledger.unanswered(self.station):
            if forgetful and rng.random() < 0.8:
                self._ledger.forget((self.station, trigger), Reason.TRIGGER_GAP)
            else:
                self._ledger.sent_again((self.station, trigger), owed=False)
                self._put(trigger)

    def cut(self) -> None:
        """Cancel the call with whatever is in flight."""
        if self._stream is not None:
            self._stream.cancel()
            self._stream = None

    def drop(self) -> None:
        """The camera's program starts anew: its call ends. From any thread; whoever sends sees that and recovers."""
        if (stream := self._stream) is not None:
            stream.call.cancel()

    def hang_up(self) -> None:
        """End the stream in good order."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    # Sending

    def send(self, kind: str, picture: Picture, part_id: str = "") -> int:
        """Announce the next trigger and send its frame; returns the trigger."""
        frame, reasons = picture
        self.count += 1
        frame.trigger, frame.part_id = self.count, part_id or f"{self.station}-{self.count}"
        self._sent[self.count] = Request(frame=frame).SerializeToString()
        self._ledger.announce((self.station, self.count), kind, reasons, frames=1)
        self._put(self.count)
        return self.count

    def send_garbage(self, kind: str, data: bytes, picture: Picture) -> None:
        """Announce the next trigger and send bytes that are no message; sent again after a reconnect it is `picture`."""
        frame, reasons = picture
        self.count += 1
        frame.trigger = self.count
        self._sent[self.count] = Request(frame=frame).SerializeToString()
        self._ledger.announce((self.station, self.count), kind, reasons, frames=1)
        if self._stream is not None:
            self._stream.put(data)

    def send_view(self, trigger: int, picture: Picture) -> None:
        """Another look at a part that another camera has announced."""
        frame, _ = picture
        self.count = frame.trigger = trigger
        frame.part_id = f"{self.station}-{trigger}"
        self._ledger.sent_again((self.station, trigger), owed=True)
        if self._stream is not None:
            self._stream.put(Request(frame=frame).SerializeToString())

    def skip(self, kind: str, count: int) -> None:
        """Triggers whose frames never come: the next frame leaves a gap."""
        for _ in range(count):
            self.count += 1
            self._ledger.announce((self.station, self.count), kind, {Reason.TRIGGER_GAP}, frames=0)

    def send_again(self, trigger: int, frame: inspection_pb2.Frame | None = None) -> None:
        """Send a trigger that was announced before, with its own frame or another."""
        self._ledger.sent_again((self.station, trigger), owed=True)
        if frame is None:
            self._put(trigger)
        elif self._stream is not None:
            frame.trigger = trigger
            self._stream.put(Request(frame=frame).SerializeToString())

    def _put(self, trigger: int) -> None:
        if self._stream is not None:
            self._stream.put(self._sent[trigger])

    # Faults

    def weather(self, reasons: Collection[Reason]) -> None:
        """From now on, until told otherwise, a fault may also give parts such verdicts; so it may those in flight."""
        self._ledger.weather(self.station, reasons)

    def settle(self, timeout_s: float = TIMEOUT_S) -> bool:
        """Wait until every frame that is owed a reply has one, or the stream breaks."""
        end = time.monotonic() + timeout_s
        while self.connected and time.monotonic() < end:
            if self._ledger.wait_answered(self.station, 0.1):
                return True
        return not self._ledger.unanswered(self.station)


Habit = Callable[["Camera", str, random.Random], None]
"""What a camera does when it is its turn: sends a frame, or does what cameras should not do. Named by the kind of fault."""


class Feeder:
    """Keeps a camera sending in a thread of its own, reconnecting by itself, until stopped.

    `pause_s` is the longest pause between frames.
    """

    def __init__(
        self,
        camera: Camera,
        kind: str,
        picture: Callable[[random.Random], Picture],
        rng: random.Random,
        pause_s: float,
        habit: Habit | None = None,
    ) -> None:
        self._camera = camera
        self._kind = kind
        self._picture = picture
        self._habit = habit
        self._rng = random.Random(rng.getrandbits(64))
        self._pause_s = pause_s
        self._stop = threading.Event()
        self._sent = threading.Condition()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __enter__(self) -> Feeder:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(TIMEOUT_S)
        if self._failure is not None:
            raise CannotMeasure(f"the camera failed: {self._failure}") from self._failure

    def wait_sent(self, count: int) -> None:
        """Wait until `count` more frames were sent."""
        with self._sent:
            goal = self._camera.count + count
            done = self._sent.wait_for(lambda: self._camera.count >= goal or self._failure is not None, TIMEOUT_S)
        if not done or self._failure is not None:
            raise CannotMeasure(f"the camera sends nothing any more: {self._failure}")

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                if not self._camera.connected:
                    self._camera.recover(self._rng, self._stop.is_set)
                    continue
                if self._habit is None:
                    self._camera.send(self._kind, self._picture(self._rng))
                else:
                    self._habit(self._camera, self._kind, self._rng)
                with self._sent:
                    self._sent.notify_all()
                self._stop.wait(self._rng.random() * self._pause_s)
        except BaseException as error:  # noqa: BLE001 - told to the test's own thread
            self._failure = error
            with self._sent:
                self._sent.notify_all()
