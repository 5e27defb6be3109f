"""Hands memory for frames to camera programs on this host that run as this service's own user.

The offer goes out with the session; who fetches it proves both by doing so: a UNIX socket in the abstract namespace ends at
this host, and the kernel names the user at its other end. Such a socket has no file that a crash could leave behind.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from inspector.errors import FrameError
from inspector.part import Lease, Reason
from inspector.ring import FrameMemory, is_supported, user_of
from inspector.v1 import inspection_pb2, inspection_service_pb2

log = logging.getLogger(__name__)

_TOKEN_BYTES = 16
# A client has its whole request ready when it connects.
_REQUEST_TIMEOUT_S = 0.5
_BACKLOG = 32
# After a failure of the socket itself, such as no free descriptors.
_PAUSE_S = 1.0


@dataclass(slots=True, eq=False)
class FrameOffer:
    """Memory offered to one stream, and fetched or not."""

    message: inspection_service_pb2.FrameMemory | None = None
    memory: FrameMemory | None = field(default=None, repr=False)

    def lend(self, shared: inspection_pb2.SharedPixels) -> tuple[memoryview, Lease]:
        """The pixels of a frame that says they are here. Errors: FrameError."""
        memory = self.memory
        if memory is None:
            raise FrameError(
                Reason.FRAME_INVALID,
                "the frame says that its pixels are in shared memory, and this stream has fetched none: send them as data",
            )
        return memory.lend(shared.name, shared.offset, shared.length, shared.generation)


class FrameSharing:
    """Offers memory to streams. `size_bytes` is for each of them; with 0, and where it cannot be done, nothing is offered."""

    def __init__(self, size_bytes: int) -> None:
        self._size_bytes = size_bytes
        self._lock = threading.Lock()
        self._offers: dict[bytes, FrameOffer] = {}
        self._socket: socket.socket | None = None
        self._stopping = threading.Event()
        self._name = ""

    def start(self) -> None:
        """Begin to hand out memory, in a thread of its own."""
        if not self._size_bytes or not is_supported():
            return
        self._name = f"inspector-frames-{secrets.token_hex(16)}"
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.bind(f"\0{self._name}")
            listener.listen(_BACKLOG)
        except OSError as error:
            log.warning("no memory is shared with cameras (%s): frames come as bytes", error)
            listener.close()
            return
        self._socket = listener
        threading.Thread(target=self._serve, args=(listener,), name="frame-sharing", daemon=True).start()

    def stop(self) -> None:
        """Hand out no more; memory that streams have stays theirs."""
        self._stopping.set()
        if self._socket is not None:
            # Wakes the thread, which closes it, and has done so already if somebody came just then.
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    @contextmanager
    def offer(self) -> Iterator[FrameOffer]:
        """What one stream is offered, for as long as the stream lasts."""
        if self._socket is None:
            yield FrameOffer()
            return
        token, name = secrets.token_bytes(_TOKEN_BYTES), f"frames-{secrets.token_hex(8)}"
        offer = FrameOffer(
            inspection_service_pb2.FrameMemory(socket=self._name, token=token, name=name, size_bytes=self._size_bytes)
        )
        with self._lock:
            self._offers[token] = offer
        try:
            yield offer
        finally:
            with self._lock:
                self._offers.pop(token, None)
                # Mapped from here on for as long as a frame in it is held, whoever still knows the stream.
                offer.memory = None

    def _serve(self, listener: socket.socket) -> None:
        with listener:
            while not self._stopping.is_set():
                try:
                    client, _ = listener.accept()
                except OSError as error:
                    if not self._stopping.is_set():
                        log.warning("memory for frames cannot be handed out now (%s): new streams send bytes", error)
                        self._stopping.wait(_PAUSE_S)
                    continue
                with client:
                    self._answer(client)

    def _answer(self, client: socket.socket) -> None:
        try:
            user = user_of(client)
            if user != os.geteuid():
                log.warning("memory for frames was asked for by user %d and is only for user %d", user, os.geteuid())
                return
            client.settimeout(_REQUEST_TIMEOUT_S)
            self._hand_over(client, client.recv(_TOKEN_BYTES, socket.MSG_WAITALL))
        except OSError as error:
            log.warning("a camera program did not get its memory for frames (%s): it sends bytes", error)

    def _hand_over(self, client: socket.socket, token: bytes) -> None:
        memory = None
        with self._lock:
            # Once: the second who comes with the same token is not the camera program.
            offer = self._offers.pop(token, None)
            if offer is not None and offer.message is not None:
                # In place before the other side knows: its first frame may come at once.
                memory = offer.memory = FrameMemory(offer.message.name, self._size_bytes)
        if memory is None:
            log.warning("memory for frames was asked for without an offer that is open")
            return
        try:
            socket.send_fds(client, [b"\1"], [memory.descriptor])
        finally:
            memory.hand_over()
