"""The register map: exact places and bytes, and that any inspection fits into it."""

from __future__ import annotations

import math
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plc_desk import inspection

from inspector.part import Inspection, Reason
from inspector.signalling import registers
from inspector.signalling.registers import RING_ENTRY, STATION_BLOCK, ring_position, unpack_block, unpack_entry
from inspector.signalling.signal import StationState
from inspector.signalling.station import StationRegisters


def station(*published: Inspection, classes: tuple[str, ...] = ("crack", "scratch")) -> StationRegisters:
    made = StationRegisters(100)
    made.set(StationState.READY, "tiles", "tiles@0123456789ab", classes)
    for one in published:
        made.publish(one)
    return made


@pytest.mark.parametrize(
    ("name", "address"),
    [
        pytest.param("heartbeat", 2, id="a PLC program has the heartbeat's address in it"),
        pytest.param("state", 4, id="and that of the state"),
        pytest.param("sequence", 10, id="and those of the result"),
        pytest.param("trigger", 12, id="trigger"),
        pytest.param("verdict", 16, id="verdict"),
        pytest.param("reason", 17, id="reason"),
        pytest.param("score", 20, id="score"),
        pytest.param("recipe", 44, id="recipe"),
        pytest.param("bundle_digest", 62, id="bundle digest"),
    ],
)
def test_addresses_never_move(name: str, address: int) -> None:
    assert registers.ADDRESS[name] == address


def test_blocks_fill_their_space_without_gap_or_overlap() -> None:
    for block, size in ((STATION_BLOCK, registers.STATION_BLOCK_SIZE), (RING_ENTRY, registers.ENTRY_SIZE)):
        end = 0
        for register in block:
            assert register.address == end, register.name
            end += register.count
        assert end == size
    assert registers.STATION_BLOCK_SIZE <= 125, "the block must fit into one request"
    assert registers.STATION_BLOCK_SIZE <= registers.RING_ADDRESS


def test_big_endian_words() -> None:
    words = station(inspection(0x01020304, trigger=0x1112131415161718, score=1.5)).read(0, 125, heartbeat=9)
    assert words[10:12] == [0x0102, 0x0304]
    assert words[12:16] == [0x1112, 0x1314, 0x1516, 0x1718]
    assert words[20:22] == [0x3FC0, 0x0000]  # 1.5 in IEEE 754
    assert words[44:47] == [0x7469, 0x6C65, 0x7300]  # "tiles"
    assert words[62:65] == [0x0123, 0x4567, 0x89AB]


def test_block_says_what_was_published() -> None:
    made = station(inspection(7, reason=Reason.SCORE_ABOVE_LIMIT, defect_class="scratch", score=2.5))
    block = unpack_block(made.read(0, 82, heartbeat=41))
    assert (block.magic, block.map_version, block.heartbeat, block.heartbeat_ms) == (0x5649, 1, 41, 100)
    assert (block.state, block.ring_count, block.sequence, block.trigger) == (1, 1, 7, 70)
    assert (block.verdict, block.reason, block.defect_class) == (2, 2, 2)
    assert (block.score, block.limit, block.latency_us) == (2.5, 1.0, 3250)
    assert (block.defect_class_name, block.recipe, block.bundle) == ("scratch", "tiles", "tiles")
    assert block.recipe_code == zlib.crc32(b"tiles")
    assert block.bundle_digest.hex() == "0123456789ab"


def test_start_state_is_not_ready_and_no_result() -> None:
    block = unpack_block(StationRegisters(100).read(0, 82, heartbeat=0))
    assert (block.state, block.verdict, block.ring_count) == (StationState.NOT_READY, 0, 0)


def test_a_result_without_class_wipes_the_last_class_name() -> None:
    made = station(inspection(1, reason=Reason.SCORE_ABOVE_LIMIT, defect_class="crack"), inspection(2))
    block = unpack_block(made.read(0, 82, heartbeat=0))
    assert (block.defect_class, block.defect_class_name) == (0, "")


def test_ring_keeps_the_last_64_across_the_wrap_of_the_sequence() -> None:
    made = StationRegisters(100)
    first = 2**32 - 70
    for n in range(first, first + 100):
        made.publish(inspection(n, trigger=n))
    for n in range(first + 36, first + 100):
        entry = unpack_entry(made.read(ring_position(n % 2**32), 16, heartbeat=0))
        assert entry is not None
        assert (entry.sequence, entry.trigger) == (n % 2**32, n)
    assert unpack_block(made.read(0, 82, heartbeat=0)).ring_count == 64


@pytest.mark.parametrize(
    ("bundle", "classes", "defect_class", "number"),
    [
        pytest.param("tiles@0123456789ab", ("crack", "scratch"), "", 0, id="no finding"),
        pytest.param("tiles@0123456789ab", ("crack", "scratch"), "crack", 1, id="first of the list"),
        pytest.param("tiles@0123456789ab", ("crack",), "dent", 65535, id="not in the list"),
        pytest.param("older@000000000000", ("crack",), "crack", 65535, id="of a bundle whose list was never told"),
    ],
)
def test_defect_class_number(bundle: str, classes: tuple[str, ...], defect_class: str, number: int) -> None:
    made = station(inspection(bundle=bundle, defect_class=defect_class), classes=classes)
    assert unpack_block(made.read(0, 82, heartbeat=0)).defect_class == number


def test_a_passed_part_names_no_defect_though_it_has_a_finding_within_its_limits() -> None:
    made = station(inspection(reason=Reason.WITHIN_LIMITS, defect_class="scratch"), classes=("crack", "scratch"))
    block = unpack_block(made.read(0, 82, heartbeat=0))
    assert (block.defect_class, block.defect_class_name) == (0, "")


def test_parts_of_the_old_bundle_keep_their_class_numbers_after_a_changeover() -> None:
    made = station(classes=("crack", "scratch"))
    made.set(StationState.READY, "caps", "caps@ffffffffffff", ("dent",))
    made.publish(inspection(1, bundle="tiles@0123456789ab", defect_class="scratch"))
    block = unpack_block(made.read(0, 82, heartbeat=0))
    assert (block.defect_class, block.bundle) == (2, "caps")


def test_a_state_alone_leaves_recipe_and_bundle() -> None:
    made = station()
    made.set(StationState.STOPPING)
    block = unpack_block(made.read(0, 82, heartbeat=0))
    assert (block.state, block.recipe, block.bundle) == (2, "tiles", "tiles")


@pytest.mark.parametrize(
    ("recipe", "bundle", "shown_recipe", "shown_bundle", "digest"),
    [
        pytest.param("", "", "", "", bytes(6), id="nothing in use"),
        pytest.param("r" * 40, "b" * 40 + "@" + "a" * 12, "r" * 32, "b" * 32, b"\xaa" * 6, id="too long is cut"),
        pytest.param("Größe", "b@c", "Gr??e", "b", bytes(6), id="not ASCII, digest not hexadecimal"),
        pytest.param("\ud800", "a@b@" + "0" * 12, "?", "a@b", bytes(6), id="lone surrogate, two at signs"),
    ],
)
def test_names(recipe: str, bundle: str, shown_recipe: str, shown_bundle: str, digest: bytes) -> None:
    made = StationRegisters(100)
    made.set(StationState.READY, recipe, bundle)
    block = unpack_block(made.read(0, 82, heartbeat=0))
    assert (block.recipe, block.bundle, block.bundle_digest) == (shown_recipe, shown_bundle, digest)


@given(
    sequence=st.integers(0, 2**70),
    trigger=st.integers(0, 2**64 - 1),
    score=st.none() | st.floats(),
    limit=st.none() | st.floats(),
    latency_ms=st.floats(),
    reason=st.sampled_from(Reason),
    defect_class=st.text(max_size=40),
)
def test_any_inspection_can_be_published(
    sequence: int,
    trigger: int,
    score: float | None,
    limit: float | None,
    latency_ms: float,
    reason: Reason,
    defect_class: str,
) -> None:
    made = station(
        inspection(
            sequence,
            trigger=trigger,
            reason=reason,
            defect_class=defect_class,
            score=score,
            limit=limit,
            latency_ms=latency_ms,
        )
    )
    block = unpack_block(made.read(0, 82, heartbeat=0))
    entry = unpack_entry(made.read(ring_position(sequence % 2**32), 16, heartbeat=0))
    assert entry is not None
    assert entry.sequence == block.sequence == sequence % 2**32
    assert entry.trigger == block.trigger == trigger
    assert (entry.verdict, entry.reason) == (reason.verdict, reason)
    assert math.isnan(block.score) == (score is None or math.isnan(score))
    if score is not None and math.isfinite(score) and abs(score) < 3e38:
        assert block.score == struct.unpack(">f", struct.pack(">f", score))[0]


def test_a_torn_or_empty_entry_is_no_entry() -> None:
    made = station(inspection(64), inspection(65))
    whole = made.read(ring_position(64), 32, heartbeat=0)
    assert unpack_entry(whole[:16]) is not None
    assert unpack_entry(whole[:8] + whole[24:]) is None, "halves of two results"
    assert unpack_entry([0] * 16) is None, "never written"


@pytest.mark.parametrize(
    "words",
    [
        pytest.param([], id="empty"),
        pytest.param([0] * 81, id="one short"),
        pytest.param([0] * 81 + [65536], id="not 16 bits"),
        pytest.param([-1] * 82, id="negative"),
    ],
)
def test_unpack_refuses_what_is_no_block(words: list[int]) -> None:
    with pytest.raises(ValueError, match="register"):
        unpack_block(words)
