"""Memory that a camera program and the service share, so that the pixels of a frame need not travel.

The service makes the memory (memfd_create) and seals its size, so that nobody can take pages away under a reader: that is
SIGBUS. It has no name in any file system and is gone with the last process that has it mapped, whoever is killed in what
order. The program beside the camera takes places in it, the lowest free one first, so that no more memory is touched than
frames are under way, and caches stay warm. In front of each place lies its mark, a generation: 0 while pixels are written,
then a number never used before. A reader that finds the same number before and after has read what was sent. The layout is
that of `SharedPixels` in proto/inspector/v1.

What this holds against: a reader never sees a torn frame of a writer that keeps to the marks, and never reads beyond the memory
or dies of it, whatever the writer does. A writer that changes pixels and not the mark deceives it about its own picture only,
which it could have drawn otherwise in the first place.

Ordering: marks are written and read by single eight-byte copies, with system calls of the stream (which are barriers) between
the writer's last mark and the reader's first.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import socket
import struct
import sys
import threading
from bisect import insort
from dataclasses import dataclass, field

from inspector.errors import FrameError, SessionError
from inspector.part import Reason

MARK_BYTES = 64
# Places begin at pages, so that two frames share none.
_PAGE_BYTES = 4096
# Native, which copies eight bytes at once where "<Q" would write one after the other.
_MARK = struct.Struct("@Q")
# struct ucred of unix(7): process, user, group.
_CREDENTIALS = struct.Struct("@3i")
_SEALED = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL if sys.platform == "linux" else 0


def is_supported() -> bool:
    """Whether this system has memory files whose size can be sealed (Linux), and writes numbers as marks have them."""
    return sys.platform == "linux" and hasattr(os, "memfd_create") and sys.byteorder == "little"


def user_of(connection: socket.socket) -> int:
    """The user at the other end of a UNIX socket, as the kernel says. Raises OSError."""
    peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, user, _ = _CREDENTIALS.unpack(peer)
    return int(user)


# The service's side: reads, and believes nothing


class FrameMemory:
    """Memory for the frames of one stream, as its maker and reader sees it."""

    def __init__(self, name: str, size_bytes: int) -> None:
        """Raises OSError if the system has no memory for it; pages are only taken when frames are written."""
        self.name = name
        self.size_bytes = size_bytes
        self.descriptor = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(self.descriptor, size_bytes)
            fcntl.fcntl(self.descriptor, fcntl.F_ADD_SEALS, _SEALED)
            self._map = mmap.mmap(self.descriptor, size_bytes, prot=mmap.PROT_READ)
        except BaseException:
            os.close(self.descriptor)
            raise

    def hand_over(self) -> None:
        """The other side has its own descriptor now: give this one back."""
        os.close(self.descriptor)

    def lend(self, name: str, offset: int, length: int, generation: int) -> tuple[memoryview, PlaceLease]:
        """The pixels at a place that was announced, read-only, and their lease.

        Errors: FrameError FRAME_INVALID if there can be no such place, FRAME_OVERWRITTEN if it holds something else by now.
        """
        if name != self.name:
            raise _invalid(f'they lie in "{name[:64]}", and this stream was given "{self.name}"')
        if offset < MARK_BYTES or offset % MARK_BYTES or offset + length > self.size_bytes:
            raise _invalid(f"{length} bytes at {offset} are no place in a memory of {self.size_bytes} bytes")
        if not generation:
            raise _invalid("generation 0 says that they are being written")
        lease = PlaceLease(self._map, offset, generation)
        lease.check()
        return memoryview(self._map)[offset : offset + length], lease


def _invalid(why: str) -> FrameError:
    return FrameError(
        Reason.FRAME_INVALID, f"the pixels are not where the frame says: {why}; describe places as SharedPixels says"
    )


@dataclass(frozen=True, slots=True)
class PlaceLease:
    """Tells whether a place still holds what was announced."""

    memory: mmap.mmap
    offset: int
    generation: int

    def check(self) -> None:
        """Errors: FrameError FRAME_OVERWRITTEN."""
        (found,) = _MARK.unpack_from(self.memory, self.offset - MARK_BYTES)
        if found != self.generation:
            raise FrameError(
                Reason.FRAME_OVERWRITTEN,
                f"the pixels at {self.offset} were to be generation {self.generation} and "
                f"{f'are {found}' if found else 'are being written'}: the camera program used the place again before it had "
                "the answer; let it keep places until then, or send bytes",
            )


# The camera program's side


@dataclass(eq=False)
class Place:
    """Room for the pixels of one frame, which the camera program fills."""

    ring: FrameRing
    offset: int
    length: int
    generation: int
    pixels: memoryview = field(repr=False)

    def fill(self, data: bytes | memoryview) -> None:
        """Write the pixels and announce them."""
        self.pixels[:] = memoryview(data).cast("B")
        self.publish()

    def publish(self) -> None:
        """The pixels are written."""
        self.ring.mark(self.offset, self.generation)

    def release(self) -> None:
        """The frame is answered; the place is free for another."""
        self.ring.free(self)


class FrameRing:
    """The same memory as its writer sees it. Thread-safe."""

    def __init__(self, descriptor: int, name: str) -> None:
        """Takes the descriptor over. Raises SessionError if it is no memory whose size is sealed."""
        self.name = name
        try:
            size_bytes = os.fstat(descriptor).st_size
            if fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK == 0:
                raise SessionError("the service's memory for frames is not sealed: is it an inspector of this version?")
            self._map = mmap.mmap(descriptor, size_bytes)
        except (OSError, ValueError) as error:
            raise SessionError(
                f"the service's memory for frames cannot be used ({error}): frames go as bytes"
            ) from error
        finally:
            os.close(descriptor)
        self._size = size_bytes
        self._lock = threading.Lock()
        self._generation = 0
        # Places in use as (start, end), mark included, in order.
        self._used: list[tuple[int, int]] = []

    def take(self, length: int) -> Place | None:
        """The lowest free place for so many bytes, marked as being written; None if there is none."""
        needed = -(-(MARK_BYTES + length) // _PAGE_BYTES) * _PAGE_BYTES
        with self._lock:
            start = 0
            for begin, end in self._used:
                if begin - start >= needed:
                    break
                start = end
            if start + needed > self._size:
                return None
            insort(self._used, (start, start + needed))
            self._generation += 1
            generation = self._generation
        offset = start + MARK_BYTES
        self.mark(offset, 0)
        return Place(self, offset, length, generation, memoryview(self._map)[offset : offset + length])

    def mark(self, offset: int, generation: int) -> None:
        """Write the mark of a place."""
        _MARK.pack_into(self._map, offset - MARK_BYTES, generation)

    def free(self, place: Place) -> None:
        """A place is not needed any more. Its mark stays, so that a late reader still finds what was sent."""
        start = place.offset - MARK_BYTES
        with self._lock:
            self._used = [used for used in self._used if used[0] != start]

    @property
    def places(self) -> int:
        """How many are in use."""
        return len(self._used)
