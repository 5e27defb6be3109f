"""Label Studio's brush strokes: run lengths of bits, over the four channels of a picture (its converter, brush.py).

32 bits: how many values there are; 5: bits of a value, less one; four times 4: bits of a length, less one. Then blocks: one
bit, whether a value is repeated; two, which of the four lengths follows; the length, less one; and the value or values.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from inspector.errors import LabelInvalid
from inspector.imaging.raster import Marked

_LENGTH_BITS = (3, 4, 8, 16)
_CHANNELS = 4
_MAX_BYTES = 64 << 20


def encode_brush(marked: Marked) -> list[int]:
    """Marked pixels, bool (height, width), as bytes; the same pixels always give the same ones."""
    flat = np.ascontiguousarray(marked).ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    starts = np.concatenate(([0], edges))
    lengths = np.diff(np.concatenate((starts, [flat.size]))) * _CHANNELS
    bits = [f"{flat.size * _CHANNELS:032b}", f"{7:05b}", *(f"{size - 1:04b}" for size in _LENGTH_BITS)]
    for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
        value = f"{255 if flat[start] else 0:08b}"
        while length > 0:
            part = min(length, 1 << _LENGTH_BITS[-1])
            index = next(i for i, size in enumerate(_LENGTH_BITS) if part <= 1 << size)
            bits.append(f"1{index:02b}{part - 1:0{_LENGTH_BITS[index]}b}{value}")
            length -= part
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return list(int(text, 2).to_bytes(len(text) // 8, "big"))


def decode_brush(data: Sequence[int], width_px: int, height_px: int, where: str) -> Marked:
    """What the bytes mark in a picture of that size: bool (height_px, width_px). Raises LabelInvalid."""
    if len(data) > _MAX_BYTES or not all(type(byte) is int and 0 <= byte < 256 for byte in data):
        raise LabelInvalid(f"{where} has brush strokes that are no bytes: export it again")
    total = width_px * height_px * _CHANNELS
    bits = _Bits(bytes(data), where)
    if bits.take(32) != total:
        raise LabelInvalid(
            f"{where} has brush strokes of another size than {width_px} × {height_px} px: export it again"
        )
    value_bits = bits.take(5) + 1
    length_bits = [bits.take(4) + 1 for _ in range(4)]
    values = np.zeros(total, np.bool_)
    for start, end, value in _blocks(bits, total, value_bits, length_bits):
        if value:
            values[start:end] = True
    return values.reshape(height_px, width_px, _CHANNELS)[:, :, 3]


def _blocks(bits: _Bits, total: int, value_bits: int, length_bits: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Start, end and value of each stretch of equal values. Raises LabelInvalid if they go beyond `total`."""
    at = 0
    while at < total:
        repeated = bits.take(1)
        end = at + 1 + bits.take(length_bits[bits.take(2)])
        if end > total:
            raise LabelInvalid(f"{bits.where} has brush strokes that go beyond the picture: export it again")
        if repeated:
            yield at, end, bits.take(value_bits)
        else:
            for place in range(at, end):
                yield place, place + 1, bits.take(value_bits)
        at = end


class _Bits:
    """Reads numbers of so many bits."""

    def __init__(self, data: bytes, where: str) -> None:
        self.where = where
        self._data = data
        self._at = 0

    def take(self, count: int) -> int:
        first, last = self._at >> 3, (self._at + count + 7) >> 3
        if last > len(self._data):
            raise LabelInvalid(f"{self.where} has brush strokes that end early: export it again")
        value = int.from_bytes(self._data[first:last], "big") >> ((last << 3) - self._at - count)
        self._at += count
        return value & ((1 << count) - 1)
