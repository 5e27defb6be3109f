"""Memory shared by a camera program and the service: places, marks, and what a hostile writer can and cannot do."""

from __future__ import annotations

import fcntl
import mmap
import os
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from requires import require

from inspector.errors import FrameError, SessionError
from inspector.part import Reason
from inspector.ring import MARK_BYTES, FrameMemory, FrameRing, Place, PlaceLease, is_supported

SIZE = 1 << 20


@pytest.fixture(autouse=True)
def _linux() -> None:
    require(is_supported(), "memory files whose size can be sealed: Linux")


@pytest.fixture
def memory() -> FrameMemory:
    return FrameMemory("frames-1", SIZE)


@pytest.fixture
def ring(memory: FrameMemory) -> Iterator[FrameRing]:
    yield FrameRing(os.dup(memory.descriptor), "frames-1")
    memory.hand_over()


def lend(memory: FrameMemory, place: Place, **changes: object) -> tuple[memoryview, PlaceLease]:
    about = {"name": "frames-1", "offset": place.offset, "length": place.length, "generation": place.generation}
    return memory.lend(**{**about, **changes})  # type: ignore[arg-type]


def filled(ring: FrameRing, data: bytes) -> Place:
    place = ring.take(len(data))
    assert place is not None
    place.fill(data)
    return place


def test_what_one_side_writes_the_other_reads_where_it_lies(memory: FrameMemory, ring: FrameRing) -> None:
    place = filled(ring, b"pixels" * 1000)
    pixels, lease = lend(memory, place)
    assert pixels == b"pixels" * 1000
    assert pixels.readonly
    lease.check()


def _scribble(place: Place) -> None:
    place.pixels[:3] = b"new"


OVERWRITTEN: list[tuple[str, Callable[[FrameRing, Place], object]]] = [
    ("it is being written", lambda ring, place: ring.mark(place.offset, 0)),
    ("another frame is there by now", lambda ring, place: (place.release(), filled(ring, b"x" * place.length))),
    (
        "its pages were taken out by a hole, which reads as zeros",
        lambda ring, place: ring._map.madvise(mmap.MADV_REMOVE, 0, SIZE),
    ),
]


@pytest.mark.parametrize(("why", "harm"), OVERWRITTEN, ids=[why for why, _ in OVERWRITTEN])
@pytest.mark.parametrize("when", ["before", "while"])
def test_a_place_used_again_is_seen(
    memory: FrameMemory, ring: FrameRing, why: str, harm: Callable[[FrameRing, Place], object], when: str
) -> None:
    place = filled(ring, bytes(5000))
    if when == "before":
        harm(ring, place)
        with pytest.raises(FrameError) as caught:
            lend(memory, place)
    else:
        pixels, lease = lend(memory, place)
        harm(ring, place)
        assert len(bytes(pixels)) == 5000, "reading goes on to be safe"
        with pytest.raises(FrameError) as caught:
            lease.check()
    assert caught.value.reason is Reason.FRAME_OVERWRITTEN


LIES = [
    ("the memory of another stream", {"name": "frames-2"}),
    ("a path instead of a name", {"name": "../../etc/passwd"}),
    ("no name", {"name": ""}),
    ("no room for a mark before it", {"offset": 0}),
    ("not where a mark can be", {"offset": MARK_BYTES + 1}),
    ("one byte beyond the end", {"offset": SIZE - MARK_BYTES, "length": MARK_BYTES + 1}),
    ("an offset beyond the end", {"offset": SIZE, "length": 1}),
    ("the largest numbers of the wire", {"offset": (1 << 64) - MARK_BYTES, "length": (1 << 64) - 1}),
    ("a length beyond the end", {"length": 1 << 63}),
    ("the mark of a place that is written", {"generation": 0}),
]


@pytest.mark.parametrize(("why", "lie"), LIES, ids=[why for why, _ in LIES])
def test_a_description_that_cannot_be_is_refused(
    memory: FrameMemory, ring: FrameRing, why: str, lie: dict[str, object]
) -> None:
    with pytest.raises(FrameError) as caught:
        lend(memory, filled(ring, bytes(100)), **lie)
    assert caught.value.reason is Reason.FRAME_INVALID


def test_nobody_can_take_the_memory_away_under_a_reader(memory: FrameMemory, ring: FrameRing) -> None:
    """A page that is gone is SIGBUS for who reads it: the size is sealed, whoever has the descriptor."""
    for size in (0, SIZE - 1, SIZE + 1):
        with pytest.raises(PermissionError):
            os.ftruncate(memory.descriptor, size)
    with pytest.raises(PermissionError):
        fcntl.fcntl(memory.descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)


def test_the_other_side_maps_only_what_is_sealed() -> None:
    plain = os.memfd_create("plain", os.MFD_ALLOW_SEALING)
    os.ftruncate(plain, SIZE)
    with pytest.raises(SessionError, match="not sealed"):
        FrameRing(plain, "plain")
    pipe, other = os.pipe()
    with pytest.raises(SessionError, match="cannot be used"):
        FrameRing(pipe, "a pipe")
    os.close(other)


@given(st.lists(st.one_of(st.integers(1, 60_000), st.none()), max_size=60))
def test_places_never_overlap_and_generations_never_return(steps: list[int | None]) -> None:
    """Take so many bytes, or None: give the oldest back."""
    memory = FrameMemory("frames-1", 1 << 18)
    ring = FrameRing(os.dup(memory.descriptor), "frames-1")
    memory.hand_over()
    held: list[Place] = []
    generations: list[int] = []
    for length in steps:
        if length is None:
            if held:
                held.pop(0).release()
            continue
        place = ring.take(length)
        if place is None:
            # Only if it really has no gap that large.
            edges = [
                0,
                *(
                    e
                    for p in sorted(held, key=lambda p: p.offset)
                    for e in (p.offset - MARK_BYTES, p.offset + p.length)
                ),
            ]
            edges.append(1 << 18)
            assert all(
                end - start < length + MARK_BYTES + 2 * 4096 for start, end in zip(edges[::2], edges[1::2], strict=True)
            )
            continue
        generations.append(place.generation)
        spans = sorted((p.offset - MARK_BYTES, p.offset + p.length) for p in [*held, place])
        assert all(end <= start for (_, end), (start, _) in pairwise(spans))
        held.append(place)
    assert generations == sorted(set(generations))
    for place in held:
        place.release()
    assert ring.places == 0


def test_the_lowest_free_place_is_taken(ring: FrameRing) -> None:
    """Memory is touched for as many frames as are under way, however many pass."""
    first = ring.take(5000)
    assert first is not None
    first.release()
    for _ in range(100):
        place = ring.take(5000)
        assert place is not None
        assert place.offset == first.offset
        place.release()


def test_nothing_is_left_when_both_sides_are_gone() -> None:
    def open_memories() -> int:
        return sum(
            "memfd:frames-" in os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if _is_open(fd)
        )

    before = open_memories()
    memory = FrameMemory("frames-1", SIZE)
    ring = FrameRing(os.dup(memory.descriptor), "frames-1")
    memory.hand_over()
    assert open_memories() > before
    del memory, ring
    assert open_memories() == before


def _is_open(descriptor: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{descriptor}")
