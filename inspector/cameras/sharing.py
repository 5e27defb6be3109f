"""Frames in memory shared with a service on this host, where it offers that; see `inspector/ring.py`."""

from __future__ import annotations

import logging
import os
import re
import socket
import threading

from inspector.errors import SessionError
from inspector.part import Frame, PixelFormat
from inspector.ring import FrameRing, Place, is_supported, user_of
from inspector.v1.inspection_service_pb2 import FrameMemory

log = logging.getLogger(__name__)

_SOCKET_NAME = re.compile(r"inspector-frames-[0-9a-f]{32}")
_FETCH_TIMEOUT_S = 1.0
# Below this size a copy through gRPC costs no more than the detour.
_WORTH_SHARING_BYTES = 1 << 16
_FILES = (PixelFormat.JPEG, PixelFormat.PNG)


class FrameSharer:
    """What one stream shares. Until memory was fetched, and where there is no room, frames go as bytes. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ring: FrameRing | None = None
        self._by_trigger: dict[int, Place] = {}
        self._reserved: list[Place] = []

    @property
    def shares(self) -> bool:
        """Whether frames go through memory."""
        return self._ring is not None

    def accept(self, offer: FrameMemory) -> None:
        """Fetch what the service offers. It is no error if that fails: the service may be elsewhere, or another user's."""
        if not is_supported() or self._ring is not None:
            return
        try:
            self._ring = _fetch(offer)
        except (OSError, SessionError) as error:
            log.info("frames go as bytes, not through shared memory: %s", error)
        else:
            log.info("frames go through %d MiB of memory shared with the service", offer.size_bytes >> 20)

    def reserve(self, length: int) -> Place | None:
        """A place for a frame that is yet to be written, so that a camera can write it there itself; None if there is none.

        It is the caller's until its frame is sent, or `release` is called.
        """
        place = None if self._ring is None else self._ring.take(length)
        if place is not None:
            with self._lock:
                self._reserved.append(place)
        return place

    def put(self, frame: Frame, max_bytes: int) -> Place | None:
        """Where the frame's pixels lie in shared memory, copied there if they do not yet; None if they must go as bytes."""
        if (
            self._ring is None
            or frame.pixel_format in _FILES
            or not _WORTH_SHARING_BYTES <= len(frame.data) <= max_bytes
        ):
            return None
        place = self._claim(frame)
        if place is not None:
            place.publish()
        else:
            place = self._ring.take(len(frame.data))
            if place is None:
                return None
            place.fill(frame.data)
        with self._lock:
            before = self._by_trigger.get(frame.trigger)
            self._by_trigger[frame.trigger] = place
        if before is not None:
            before.release()
        return place

    def answered(self, trigger: int) -> None:
        """The service has read the frame of this trigger for the last time."""
        with self._lock:
            place = self._by_trigger.pop(trigger, None)
        if place is not None:
            place.release()

    def abandon(self, frame: Frame) -> None:
        """The frame will not be sent: if it was written into a reserved place, that is free again."""
        place = self._claim(frame)
        if place is not None:
            place.release()

    def _claim(self, frame: Frame) -> Place | None:
        """The reserved place that the frame was written into, if it was."""
        with self._lock:
            for place in self._reserved:
                if place.pixels is frame.data:
                    self._reserved.remove(place)
                    return place
        return None


def _fetch(offer: FrameMemory) -> FrameRing:
    """Raises OSError and SessionError."""
    if not _SOCKET_NAME.fullmatch(offer.socket):
        raise SessionError(f"the service names the socket {offer.socket[:64]!a}: is it an inspector of this version?")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as service:
        service.settimeout(_FETCH_TIMEOUT_S)
        service.connect(f"\0{offer.socket}")
        if (user := user_of(service)) != os.geteuid():
            raise SessionError(f"the service runs as user {user} and this program as {os.geteuid()}")
        service.sendall(offer.token)
        _, descriptors, _, _ = socket.recv_fds(service, 1, 1)
    if not descriptors:
        raise SessionError("the service did not hand it over; its log says why")
    return FrameRing(descriptors[0], offer.name)
