"""Frames for a toy line: dark is good, bright is defective, and one that no model can judge. Each is a little different."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper
from PIL import Image
from toys import TOY_LIMIT, serialise, toy_golden, toy_manifest, toy_model

from inspector.inference.bundle import write_bundle
from inspector.part import Reason
from inspector.v1 import inspection_pb2

SIZE = 32
DARK, BRIGHT = 20, 200
# The toy's graph raises for images whose first pixel has this value; neither dark nor bright images reach it.
FATAL = 77
GOOD, BAD = frozenset({Reason.WITHIN_LIMITS}), frozenset({Reason.SCORE_ABOVE_LIMIT})
Frame = inspection_pb2.Frame


def write_fragile_bundle(path: Path, *, delay_loops: int = 0, limit: float = TOY_LIMIT) -> None:
    """A toy bundle that passes its self-test, and whose graph raises at run time for a `fatal` image."""
    model = onnx.load_from_string(toy_model(size=SIZE, delay_loops=delay_loops))
    nodes, constants = list(model.graph.node), list(model.graph.initializer)
    for node in nodes:
        node.output[:] = ["sound_score" if name == "score" else name for name in node.output]
    nodes += [
        helper.make_node("Reshape", ["floats", "rows_shape"], ["rows"]),
        helper.make_node("Gather", ["rows", "first_column"], ["first"], axis=1),
        helper.make_node("Equal", ["first", "fatal"], ["is_fatal"]),
        helper.make_node("Cast", ["is_fatal"], ["table_row"], to=TensorProto.INT64),
        # The table has one row: row 1 is out of range.
        helper.make_node("Gather", ["table", "table_row"], ["zero_or_error"]),
        helper.make_node("Add", ["sound_score", "zero_or_error"], ["score"]),
    ]
    constants += [
        onnx.numpy_helper.from_array(np.array([-1, SIZE * SIZE], np.int64), "rows_shape"),
        onnx.numpy_helper.from_array(np.array(0, np.int64), "first_column"),
        onnx.numpy_helper.from_array(np.array(FATAL, np.float32), "fatal"),
        onnx.numpy_helper.from_array(np.zeros(1, np.float32), "table"),
    ]
    graph = helper.make_graph(nodes, "fragile", list(model.graph.input), list(model.graph.output), constants)
    write_bundle(path, toy_manifest(size=SIZE, limit=limit), serialise(graph), toy_golden(size=SIZE))


def sound(rng: random.Random) -> tuple[Frame, frozenset[Reason]]:
    """A frame that can be judged, in one of several formats, and the only reason that its verdict can have."""
    value, reasons = (DARK, GOOD) if rng.random() < 0.7 else (BRIGHT, BAD)
    return rng.choice((mono8, mono8, mono16, png))(noise(rng, value)), reasons


def good(rng: random.Random) -> tuple[Frame, frozenset[Reason]]:
    """A frame that passes."""
    return mono8(noise(rng, DARK)), GOOD


def defective(rng: random.Random) -> tuple[Frame, frozenset[Reason]]:
    """A frame that is rejected, so that its pictures are kept."""
    return mono8(noise(rng, BRIGHT)), BAD


def fatal(rng: random.Random) -> tuple[Frame, frozenset[Reason]]:
    """A frame on which the graph raises."""
    pixels = noise(rng, DARK)
    pixels[0, 0] = FATAL
    return mono8(pixels), frozenset({Reason.MODEL_FAILED})


def noise(rng: random.Random, value: int) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    """uint8 (SIZE, SIZE) around `value`."""
    return np.random.default_rng(rng.getrandbits(64)).integers(value - 5, value + 6, (SIZE, SIZE)).astype(np.uint8)


def mono8(pixels: np.ndarray) -> Frame:
    return _raw(inspection_pb2.PIXEL_FORMAT_MONO8, pixels)


def mono16(pixels: np.ndarray) -> Frame:
    return _raw(inspection_pb2.PIXEL_FORMAT_MONO16, pixels.astype("<u2") * 257)


def png(pixels: np.ndarray) -> Frame:
    return Frame(pixel_format=inspection_pb2.PIXEL_FORMAT_PNG, data=_file(pixels, "PNG"))


def _raw(pixel_format: inspection_pb2.PixelFormat, pixels: np.ndarray) -> Frame:
    return Frame(pixel_format=pixel_format, width=SIZE, height=SIZE, data=pixels.tobytes())


def _file(pixels: np.ndarray, kind: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


# Corrupt frames


def corrupt(rng: random.Random) -> tuple[Frame, frozenset[Reason]]:
    """A frame that was damaged on its way or that lies about itself, and the reason that its verdict must have."""
    spoil = rng.choice(_SPOILS)
    return spoil(rng)


def corrupt_quickly(rng: random.Random) -> tuple[Frame, frozenset[Reason]]:
    """As `corrupt`, and told at once."""
    return _short_raw(rng)


def _invalid(frame: Frame) -> tuple[Frame, frozenset[Reason]]:
    return frame, frozenset({Reason.FRAME_INVALID})


def _cut_png(rng: random.Random) -> tuple[Frame, frozenset[Reason]]:
    data = _file(noise(rng, DARK), "PNG")
    return _invalid(Frame(pixel_format=inspection_pb2.PIXEL_FORMAT_PNG, data=data[: rng.randrange(len(data) - 12)]))


def _cut_jpeg(rng: random.Random) -> tuple[Frame, frozenset[Reason]]:
    data = _file(noise(rng, DARK), "JPEG")
    return _invalid(
        Frame(pixel_format=inspection_pb2.PIXEL_FORMAT_JPEG, data=data[: rng.randrange(len(data) * 3 // 4)])
    )


def _flipped_png(rng: random.Random) -> tuple[Frame, frozenset[Reason]]:
    """One bit of the compressed pixels is wrong: the chunk's CRC tells."""
    data = bytearray(_file(noise(rng, DARK), "PNG"))
    start = data.index(b"IDAT") + 4
    at = rng.randrange(start, data.index(b"IEND") - 8)
    data[at] ^= 1 << rng.randrange(8)
    return _invalid(Frame(pixel_format=inspection_pb2.PIXEL_FORMAT_PNG, data=bytes(data)))


def _garbage(rng: random.Random) -> tuple[Frame, frozenset[Reason]]:
    pixel_format = rng.choice((inspection_pb2.PIXEL_FORMAT_PNG, inspection_pb2.PIXEL_FORMAT_JPEG))
    return _invalid(Frame(pixel_format=pixel_format, data=rng.randbytes(rng.randrange(2000))))


def _short_raw(rng: random.Random) -> tuple[Frame, frozenset[Reason]]:
    frame = mono8(noise(rng, DARK))
    frame.data = frame.data[: rng.randrange(len(frame.data))]
    return _invalid(frame)


def _false_size(rng: random.Random) -> tuple[Frame, frozenset[Reason]]:
    frame = png(noise(rng, DARK))
    frame.width, frame.height = SIZE + rng.randint(1, 99), SIZE
    return _invalid(frame)


def _false_stride(rng: random.Random) -> tuple[Frame, frozenset[Reason]]:
    frame = mono8(noise(rng, DARK))
    frame.stride = rng.choice((1, SIZE - 1, SIZE + 1, (1 << 32) - 1))
    return _invalid(frame)


def _unknown_format(rng: random.Random) -> tuple[Frame, frozenset[Reason]]:
    frame = mono8(noise(rng, DARK))
    frame.pixel_format = rng.choice((0, 13, 99, -1, 2**31 - 1))
    return _invalid(frame)


def _too_large(rng: random.Random) -> tuple[Frame, frozenset[Reason]]:
    """More bytes than the line file of the tests takes (1 MiB)."""
    side = 1100
    data = bytes(side * side)
    frame = Frame(pixel_format=inspection_pb2.PIXEL_FORMAT_MONO8, width=side, height=side, data=data)
    return frame, frozenset({Reason.FRAME_TOO_LARGE})


def _bomb(rng: random.Random) -> tuple[Frame, frozenset[Reason]]:
    """Few bytes, and more pixels than the line file takes (1 million)."""
    data = _file(np.zeros((1500, 1500), np.uint8), "PNG")
    frame = Frame(pixel_format=inspection_pb2.PIXEL_FORMAT_PNG, data=data)
    return frame, frozenset({Reason.FRAME_TOO_LARGE})


_SPOILS: tuple[Callable[[random.Random], tuple[Frame, frozenset[Reason]]], ...] = (
    _cut_png,
    _cut_jpeg,
    _flipped_png,
    _garbage,
    _short_raw,
    _false_size,
    _false_stride,
    _unknown_format,
    _too_large,
    _bomb,
)
