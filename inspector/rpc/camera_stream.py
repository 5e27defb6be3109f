"""One camera's stream: hello, session, then frames in and inspections out.

A reader thread takes the frames and submits them, decoding included; the call's own thread sends what comes into the outbox.
When the client goes away the reader ends with the call, and parts already submitted are judged all the same.
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections.abc import Iterator

import grpc

from inspector.access.identity import Identity
from inspector.access.pace import Bucket
from inspector.errors import InvalidRequest, ServiceStopping, SessionError
from inspector.rpc.convert import FrameFault, frame_of, inspection_message, is_sound_text, session_message
from inspector.rpc.door import Door
from inspector.rpc.outbox import Outbox
from inspector.rpc.ports import Inspector
from inspector.rpc.sharing import FrameOffer, FrameSharing
from inspector.v1 import inspection_service_pb2
from inspector.wire import decode_request

log = logging.getLogger(__name__)

HELLO_TIMEOUT_S = 10.0
# A client that reads nothing may start again within this time and is then told why; else the call is cut.
OVERFLOW_GRACE_S = 2.0
_STOPPING = "the service is being stopped: connect again, and send again what was not answered"


class CameraStreams:
    """Serves the `Inspect` call and knows the streams that are open."""

    def __init__(
        self, inspector: Inspector, door: Door, max_unread: int, frames_hz: float, sharing: FrameSharing
    ) -> None:
        """`frames_hz` bounds the messages that are taken from one stream; the sender then waits. 0: no bound."""
        self._inspector = inspector
        self._door = door
        self._frames_hz = frames_hz
        self._max_unread = max_unread
        self._sharing = sharing
        self._lock = threading.Lock()
        self._open: set[Outbox] = set()
        self._stopping = False

    def serve(
        self, requests: Iterator[bytes], context: grpc.ServicerContext
    ) -> Iterator[inspection_service_pb2.InspectResponse]:
        """The answers to one stream of serialised InspectRequests. Raises the error that it ends with."""
        hello = _read_hello(requests, context)
        if hello is None:
            return
        who = self._door.camera(context, hello.line, hello.camera)
        with (
            self._inspector.open_session(hello.line, hello.camera, hello.client) as session,
            self._sharing.offer() as offer,
        ):
            outbox = Outbox(self._max_unread, lambda: _cut_off(context, hello.camera))
            submitting = threading.Lock()
            self._enlist(outbox)
            try:
                if not context.add_callback(outbox.abandon):
                    return
                log.info("camera %s streams, client %s", hello.camera, hello.client)
                yield inspection_service_pb2.InspectResponse(session=session_message(session, offer.message))
                arguments = (requests, hello.camera, who, outbox, submitting, offer)
                name = f"camera-{hello.camera}"
                threading.Thread(target=self._read, args=arguments, name=name, daemon=True).start()
                for inspection in outbox:
                    yield inspection_service_pb2.InspectResponse(inspection=inspection_message(inspection))
            finally:
                outbox.abandon()
                with submitting:
                    # The last frame has its trigger before the camera's next stream is told the next one. Without this that
                    # number could be given twice, and the second part would get the first one's verdict.
                    pass
                with self._lock:
                    self._open.discard(outbox)
                log.info("camera %s streams no more", hello.camera)

    def stop(self) -> None:
        """Take in no more frames; every stream ends when its parts in flight are answered."""
        with self._lock:
            self._stopping = True
            streams = list(self._open)
        for outbox in streams:
            outbox.finish(ServiceStopping(_STOPPING))

    def _enlist(self, outbox: Outbox) -> None:
        with self._lock:
            if self._stopping:
                raise ServiceStopping(_STOPPING)
            self._open.add(outbox)

    def _read(
        self,
        requests: Iterator[bytes],
        camera: str,
        who: Identity | None,
        outbox: Outbox,
        submitting: threading.Lock,
        offer: FrameOffer,
    ) -> None:
        """The reader thread: until the client has sent all, broke the protocol, went away or is no longer let in."""
        hz = self._frames_hz
        bucket = Bucket(hz, max(1.0, hz), time.monotonic()) if hz else None
        try:
            for message in requests:
                self._door.check(who)
                while bucket is not None and (wait_s := bucket.take(time.monotonic())):
                    time.sleep(wait_s)
                with submitting:
                    taken = self._take(message, camera, outbox, offer)
                if not taken:
                    return
            outbox.finish()
        except grpc.RpcError as error:  # the call is over
            # gRPC keeps it with the call, and its traceback would keep what this thread knows, the call too: a cycle, which
            # stays until the garbage collector looks. On a service that has nothing to do that may be never.
            error.with_traceback(None)
            outbox.abandon()
        except Exception as error:  # noqa: BLE001 the reader's outermost edge: the call tells client and log
            # The frame that it came with is not kept with it.
            traceback.clear_frames(error.__traceback__)
            outbox.finish(error)

    def _take(self, message: bytes, camera: str, outbox: Outbox, offer: FrameOffer) -> bool:
        """Submit one message; False if the stream takes no more."""
        if not outbox.begin():
            return False
        try:
            outbox.owe(self._submit(message, camera, outbox, offer))
        except Exception:
            outbox.forgive()
            raise
        return True

    def _submit(self, message: bytes, camera: str, outbox: Outbox, offer: FrameOffer) -> int:
        request, pixels = decode_request(message)
        kind = request.WhichOneof("message")
        if kind == "hello":
            raise SessionError("hello came twice: one stream is one camera; open another stream for another camera")
        if kind is None:
            raise InvalidRequest("a message with neither hello nor frame came: set one of them")
        frame = frame_of(request.frame, pixels, offer.lend)
        if isinstance(frame, FrameFault):
            about = (frame.trigger, frame.part_id, frame.reason, frame.detail)
            return self._inspector.submit_fault(camera, *about, outbox.reply)
        return self._inspector.submit(camera, frame, outbox.reply)


def _read_hello(requests: Iterator[bytes], context: grpc.ServicerContext) -> inspection_service_pb2.Hello | None:
    """The first message; None if the client left without one. Raises InvalidRequest."""
    patience = threading.Timer(HELLO_TIMEOUT_S, context.cancel)
    patience.daemon = True
    patience.start()
    try:
        message = next(requests, None)
    finally:
        patience.cancel()
    if message is None:
        return None
    request, _ = decode_request(message)
    if request.WhichOneof("message") != "hello":
        raise InvalidRequest("the first message must be hello, with line and camera: send it before any frame")
    if not is_sound_text(request.hello.client):
        raise InvalidRequest("hello.client has characters that do not print, or too many: send program and version")
    if not is_sound_text(request.hello.line) or not is_sound_text(request.hello.camera):
        raise InvalidRequest("hello.line or hello.camera is no name: send those of the line file")
    return request.hello


def _cut_off(context: grpc.ServicerContext, camera: str) -> None:
    log.warning("camera %s sends but reads no answers: its stream is cut off", camera)
    timer = threading.Timer(OVERFLOW_GRACE_S, context.cancel)
    timer.daemon = True
    timer.start()
