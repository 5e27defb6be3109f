"""The Modbus register map of one station, as data.

The server, the simulated PLC and the README's table are all made from it. Addresses are those on the wire, counted
from 0 (some PLCs and tools count from 1, or write 40001 and 30001 for address 0). The same registers answer function 3
(holding registers) and function 4 (input registers). Values of more than one register are big-endian, the most
significant register first; text is ASCII, two characters a register, the first in the high byte, padded with zeros.

    0 … 81       station block: one request reads heartbeat, state, the latest result, recipe and bundle
    82 … 127     spare, reads 0
    128 … 1151   ring of the last 64 results: the entry of sequence s starts at 128 + 16 × (s mod 64)
    2000 … 2007  commands, the only registers that can be written, by PLCs that the line file names
    2008 … 2015  answers to them, the latched fault, and whether the PLC is seen to live

Source of the conventions: MODBUS Application Protocol Specification V1.1b3, sections 4.2 (big-endian), 6.3 and 6.4.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from inspector.part import Inspection

MAGIC = 0x5649  # "VI" in ASCII: tells a visual inspection station from another device at the same address
MAP_VERSION = 1
RING_SIZE = 64
RING_ADDRESS = 128
ENTRY_SIZE = 16
IMAGE_SIZE = RING_ADDRESS + RING_SIZE * ENTRY_SIZE
SEQUENCE_MODULUS = 2**32  # a multiple of RING_SIZE, so the ring position stays right when the sequence wraps
CONTROL_ADDRESS, ANSWER_ADDRESS = 2000, 2008
CLASS_NONE = 0
CLASS_UNLISTED = 0xFFFF
_FLOAT32_MAX = 3.4028234663852886e38

# type: (number of registers, struct code)
TYPES = {
    "u16": (1, "H"),
    "u32": (2, "I"),
    "u64": (4, "Q"),
    "float32": (2, "f"),
    "bytes6": (3, "6s"),
    "ascii32": (16, "32s"),
    "spare": (1, "2x"),
}


@dataclass(frozen=True, slots=True)
class Register:
    """One value of the map; `address` counts from the start of its block."""

    name: str
    address: int
    type: str
    meaning: str

    @property
    def count(self) -> int:
        """Number of 16-bit registers."""
        return TYPES[self.type][0]


def _block(*rows: tuple[str, str, str]) -> tuple[Register, ...]:
    """Give the rows consecutive addresses from 0."""
    block: list[Register] = []
    for name, kind, meaning in rows:
        address = block[-1].address + block[-1].count if block else 0
        block.append(Register(name, address, kind, meaning))
    return tuple(block)


STATION_BLOCK = _block(
    ("magic", "u16", "0x5649 (ASCII `VI`); anything else is not this map"),
    ("map_version", "u16", "1; changes when an address or a meaning changes"),
    (
        "heartbeat",
        "u16",
        "counts up every `heartbeat_ms`, wraps; stands still when the inspector is dead or stuck: reject",
    ),
    ("heartbeat_ms", "u16", "period of the heartbeat in ms"),
    (
        "state",
        "u16",
        "0 NOT_READY, 1 READY, 2 STOPPING, 3 FAULT, 4 STOPPED (by command); unless 1 no part is judged, so none may pass",
    ),
    ("ring_address", "u16", "address of the ring, 128"),
    ("ring_size", "u16", "entries in the ring, 64"),
    ("ring_entry_size", "u16", "registers of one entry, 16"),
    ("ring_count", "u16", "entries filled so far, 0 to 64; the oldest has sequence − ring_count + 1"),
    ("spare_9", "spare", "reads 0"),
    ("sequence", "u32", "number of the latest result of this station, without gaps, wraps to 0 after 4294967295"),
    ("trigger", "u64", "trigger number of its part, as the camera sent it"),
    ("verdict", "u16", "0 no result yet, 1 PASS, 2 REJECT, 3 UNKNOWN; reject unless 1"),
    ("reason", "u16", "why, see the table of reasons"),
    ("defect_class", "u16", "place in the bundle's class list from 1; 0 none; 65535 not in the list"),
    ("spare_19", "spare", "reads 0"),
    ("score", "float32", "the model's score; NaN if the part was not judged"),
    ("limit", "float32", "what the score was held against; NaN if the part was not judged"),
    ("latency_us", "u32", "from receipt of the frame to the verdict, in µs"),
    ("spare_26", "spare", "reads 0"),
    ("spare_27", "spare", "reads 0"),
    ("defect_class_name", "ascii32", "class of the strongest finding"),
    ("recipe", "ascii32", "name of the recipe in use"),
    ("recipe_code", "u32", "CRC-32 (IEEE 802.3) of the recipe's whole name in UTF-8; 0 without recipe"),
    ("bundle_digest", "bytes6", "first 6 bytes of the digest of the bundle in use"),
    ("spare_65", "spare", "reads 0"),
    ("bundle", "ascii32", "name of the bundle in use"),
)

RING_ENTRY = _block(
    ("sequence", "u32", "number of this result; not the one looked for: it was never written or is overwritten"),
    ("trigger", "u64", "trigger number of its part"),
    ("verdict", "u16", "0 never written, 1 PASS, 2 REJECT, 3 UNKNOWN"),
    ("reason", "u16", "why, see the table of reasons"),
    ("defect_class", "u16", "as in the station block"),
    ("spare_9", "spare", "reads 0"),
    ("score", "float32", "as in the station block"),
    ("latency_us", "u32", "as in the station block"),
    ("sequence_again", "u32", "equals `sequence`, unless two requests read the halves of two different results"),
)


CONTROL_BLOCK = _block(
    (
        "command_number",
        "u16",
        "any number other than the one before: the command is taken when it changes; write it last",
    ),
    ("command", "u16", "1 START, 2 STOP, 3 CHANGE_RECIPE, 4 ACKNOWLEDGE, 5 RESET, 6 CHECK (golden images)"),
    ("command_recipe", "u32", "recipe of CHANGE_RECIPE: CRC-32 of its name, as `recipe_code`"),
    ("plc_heartbeat", "u16", "count it up; with `plc_timeout_ms` a PLC that lets it stand still is told as silent"),
    ("spare_5", "spare", "ignored"),
    ("spare_6", "spare", "ignored"),
    ("spare_7", "spare", "ignored"),
)

ANSWER_BLOCK = _block(
    ("answer_number", "u16", "number of the command that this answers"),
    ("answer", "u16", "0 none yet, 1 DONE, 2 ACCEPTED (being done), 3 REFUSED, 4 FAILED"),
    (
        "answer_reason",
        "u16",
        "0 none, 1 unknown command, 2 unknown recipe, 3 no usable bundle, 4 busy with a command, 5 golden check failed, "
        "6 the fault persists, 7 a fault in the inspector",
    ),
    (
        "fault",
        "u16",
        "latched until ACKNOWLEDGE: 0 none, 1 no usable bundle, 2 the journal fails, 3 golden check failed",
    ),
    ("plc_watch", "u16", "0 not watched, 1 the PLC's heartbeat moves, 2 it stands still"),
    ("checked", "u16", "golden images that the last CHECK or RESET looked at"),
    ("check_failed", "u16", "how many of them did not score as recorded"),
    ("spare_7", "spare", "reads 0"),
)


def _codec(block: Iterable[Register]) -> struct.Struct:
    return struct.Struct(">" + "".join(TYPES[register.type][1] for register in block))


def _slice(first: str, last: str) -> tuple[int, struct.Struct]:
    """Byte offset and codec of the station block's registers from `first` to `last`."""
    names = [register.name for register in STATION_BLOCK]
    part = STATION_BLOCK[names.index(first) : names.index(last) + 1]
    return part[0].address * 2, _codec(part)


ADDRESS = {register.name: register.address for register in STATION_BLOCK}
_BLOCK_CODEC = _codec(STATION_BLOCK)
_BLOCK_NAMES = [register.name for register in STATION_BLOCK if register.type != "spare"]
_TEXTS = {register.name for register in STATION_BLOCK if register.type.startswith("ascii")}
_ENTRY_CODEC = _codec(RING_ENTRY)
_FIXED_OFFSET, _FIXED = _slice("magic", "ring_entry_size")
_RESULT_OFFSET, _RESULT = _slice("ring_count", "defect_class_name")
_IDENTITY_OFFSET, _IDENTITY = _slice("recipe", "bundle")
STATION_BLOCK_SIZE = _BLOCK_CODEC.size // 2
_CONTROL_CODEC = _codec(CONTROL_BLOCK)
_ANSWER_CODEC = _codec(ANSWER_BLOCK)
CONTROL_SIZE, ANSWER_SIZE = _CONTROL_CODEC.size // 2, _ANSWER_CODEC.size // 2


@dataclass(frozen=True, slots=True)
class StationBlock:
    """The station block as a PLC reads it; fields are named as in `STATION_BLOCK`."""

    magic: int
    map_version: int
    heartbeat: int
    heartbeat_ms: int
    state: int
    ring_address: int
    ring_size: int
    ring_entry_size: int
    ring_count: int
    sequence: int
    trigger: int
    verdict: int
    reason: int
    defect_class: int
    score: float
    limit: float
    latency_us: int
    defect_class_name: str
    recipe: str
    recipe_code: int
    bundle_digest: bytes
    bundle: str


@dataclass(frozen=True, slots=True)
class RingEntry:
    """One result of the ring."""

    sequence: int
    trigger: int
    verdict: int
    reason: int
    defect_class: int
    score: float
    latency_us: int


def ring_position(sequence: int) -> int:
    """Address of the ring entry of a sequence number."""
    return RING_ADDRESS + sequence % RING_SIZE * ENTRY_SIZE


def pack_fixed(image: bytearray, heartbeat_ms: int) -> None:
    """Write what never changes. The heartbeat itself is laid over each answer by the server."""
    values = (MAGIC, MAP_VERSION, 0, min(heartbeat_ms, 0xFFFF), 0, RING_ADDRESS, RING_SIZE, ENTRY_SIZE)
    _FIXED.pack_into(image, _FIXED_OFFSET, *values)


def pack_state(image: bytearray, state: int) -> None:
    """Write the state of the station."""
    struct.pack_into(">H", image, ADDRESS["state"] * 2, state)


def pack_identity(image: bytearray, recipe: str, bundle: str) -> None:
    """Write what the station judges by; `bundle` is a label, "name@digest12"."""
    name, _, digest = bundle.rpartition("@") if "@" in bundle else (bundle, "", "")
    code = zlib.crc32(recipe.encode("utf-8", "replace")) if recipe else 0
    _IDENTITY.pack_into(image, _IDENTITY_OFFSET, _text(recipe), code, _digest(digest), _text(name))


def pack_result(image: bytearray, inspection: Inspection, class_number: int, ring_count: int) -> None:
    """Write a result as the latest one and as its ring entry. Takes any inspection without raising."""
    sequence = inspection.station_sequence % SEQUENCE_MODULUS
    trigger = inspection.trigger & 0xFFFF_FFFF_FFFF_FFFF
    score, latency = _float32(inspection.score), _latency_us(inspection.latency_ms)
    verdict, reason = inspection.verdict, inspection.reason
    name = _text(inspection.defect_class) if class_number != CLASS_NONE else b""
    limit = _float32(inspection.limit)
    _RESULT.pack_into(
        image, _RESULT_OFFSET, ring_count, sequence, trigger, verdict, reason, class_number, score, limit, latency, name
    )
    _ENTRY_CODEC.pack_into(
        image, ring_position(sequence) * 2, sequence, trigger, verdict, reason, class_number, score, latency, sequence
    )


def unpack_control(data: bytes) -> tuple[int, int, int, int]:
    """Command number, command, recipe code and the PLC's heartbeat of a control block."""
    number, command, recipe_code, heartbeat = _CONTROL_CODEC.unpack(data)
    return number, command, recipe_code, heartbeat


def pack_answer(number: int, answer: int, why: int, fault: int, watch: int, checked: int, failed: int) -> bytes:
    """The answer block."""
    return _ANSWER_CODEC.pack(number, answer, why, fault, watch, min(checked, 0xFFFF), min(failed, 0xFFFF))


def unpack_block(registers: Sequence[int]) -> StationBlock:
    """Read the station block from its registers, address 0 first; more than it needs may be given.

    Raises:
        ValueError: fewer than `STATION_BLOCK_SIZE` registers, or one that is not 16-bit.
    """
    values = _BLOCK_CODEC.unpack(_to_bytes(registers, STATION_BLOCK_SIZE))
    fields: dict[str, Any] = dict(zip(_BLOCK_NAMES, values, strict=True))
    for name in _TEXTS:
        fields[name] = _string(fields[name])
    return StationBlock(**fields)


def unpack_entry(registers: Sequence[int]) -> RingEntry | None:
    """Read one ring entry, or None if it was never written or its two sequence numbers differ.

    Raises:
        ValueError: fewer than `ENTRY_SIZE` registers, or one that is not 16-bit.
    """
    *values, sequence_again = _ENTRY_CODEC.unpack(_to_bytes(registers, ENTRY_SIZE))
    entry = RingEntry(*values)
    return entry if entry.verdict and entry.sequence == sequence_again else None


def register_table(block: Sequence[Register], start: int = 0) -> str:
    """The block as a Markdown table with addresses from `start`."""
    lines = ["| address | name | type | meaning |", "|---|---|---|---|"]
    for register in block:
        if register.type != "spare":
            first = register.address + start
            span = f"{first}" if register.count == 1 else f"{first}–{first + register.count - 1}"
            lines.append(f"| {span} | `{register.name}` | {register.type} | {register.meaning} |")
    return "\n".join(lines)


def _to_bytes(registers: Sequence[int], count: int) -> bytes:
    if len(registers) < count:
        raise ValueError(f"got {len(registers)} registers, expected {count}: read the whole block in one request")
    try:
        return struct.pack(f">{count}H", *registers[:count])
    except struct.error as error:
        raise ValueError(f"got a register that is not a 16-bit number: {error}") from error


def _float32(value: float | None) -> float:
    """NaN for no value; infinite where float32 ends, since `struct` refuses to pack larger numbers."""
    if value is None:
        return math.nan
    return math.copysign(math.inf, value) if abs(value) > _FLOAT32_MAX else value


def _latency_us(latency_ms: float) -> int:
    # Written so that NaN, which compares false, becomes 0.
    return int(min(latency_ms * 1000.0, 4294967295.0)) if latency_ms > 0 else 0


def _text(text: str) -> bytes:
    return text.encode("ascii", "replace")[:32]


def _string(data: bytes) -> str:
    return data.rstrip(b"\0").decode("ascii", "replace")


def _digest(digest: str) -> bytes:
    try:
        return bytes.fromhex(digest)[:6]
    except ValueError:  # a label without a digest names no bundle on disk
        return b""
