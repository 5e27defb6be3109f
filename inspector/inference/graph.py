"""Looks at an ONNX file before ONNX Runtime does: whole, in one file, and of operators that every runtime knows.

A graph may name other files to load its weights from, by any path, and a node may name a compiled engine on disk. A
bundle's hashes would not cover those, so such graphs are refused. The runtime has no `onnx` package (it is an extra of
training), so the few needed fields are read from the protobuf wire format here.

Sources: onnx.proto (ONNX IR version 13) for field numbers; "Encoding", protobuf.dev, for the wire format; contrib
operator EPContext in ONNX Runtime's documentation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from inspector.errors import BundleError

_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
"""Operators built into ONNX Runtime. Any other domain needs a library of code, which a bundle cannot bring."""

_CHILDREN: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_NODE_OP, _NODE_DOMAIN, _FUNCTION_DOMAIN = 4, 7, 10
_TENSOR_EXTERNAL_DATA, _TENSOR_DATA_LOCATION = 13, 14
_MAX_DEPTH = 64
"""Message levels; a graph inside a node inside a graph takes three. Real exports stay under ten."""


@dataclass(slots=True)
class _Seen:
    """What one pass over the file has met."""

    graphs: int = 0
    domains: set[str] = field(default_factory=set)
    local_domains: set[str] = field(default_factory=set)


def check_graph(model: bytes, source: str) -> None:
    """Raise BundleError unless `model` is a whole ONNX file without external data and without foreign operators."""
    seen = _Seen()
    try:
        _scan(memoryview(model), "model", seen, 0)
    except _Malformed as error:
        raise BundleError(f"{source} is no whole ONNX file: {error}; export or copy the bundle again") from None
    except _Refused as error:
        raise BundleError(f"{source} is refused: {error}") from None
    if not seen.graphs:
        raise BundleError(f"{source} is no ONNX file: it has no graph; export the bundle again")
    if foreign := sorted(seen.domains - _DOMAINS - seen.local_domains):
        raise BundleError(
            f"{source} uses operators of {', '.join(foreign[:5])}, which ONNX Runtime does not have: "
            "export with standard operators only"
        )


class _Malformed(Exception):
    """The bytes are not protobuf messages of these lengths."""


class _Refused(Exception):
    """A well-formed graph that reaches outside its file."""


def _scan(message: memoryview, kind: str, seen: _Seen, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise _Malformed(f"messages are nested more than {_MAX_DEPTH} deep")
    children = _CHILDREN[kind]
    for number, value in _fields(message):
        if isinstance(value, memoryview):
            if number in children:
                seen.graphs += children[number] == "graph"
                _scan(value, children[number], seen, depth + 1)
            elif kind == "node" and number == _NODE_DOMAIN:
                seen.domains.add(_text(value))
            elif kind == "node" and number == _NODE_OP and _text(value) == "EPContext":
                raise _Refused("it holds an engine compiled for one machine (EPContext); export the plain graph")
            elif kind == "function" and number == _FUNCTION_DOMAIN:
                seen.local_domains.add(_text(value))
            elif kind == "tensor" and number == _TENSOR_EXTERNAL_DATA:
                raise _Refused("it keeps weights in another file (external data); export the model as one file")
        elif kind == "tensor" and number == _TENSOR_DATA_LOCATION and value == 1:
            raise _Refused("it keeps weights in another file (external data); export the model as one file")


def _text(value: memoryview) -> str:
    return bytes(value[:256]).decode("utf-8", "replace")


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """Field numbers with values: a view for length-delimited fields, an integer for varints; fixed ones are skipped."""
    position, end = 0, len(message)
    while position < end:
        key, position = _varint(message, position)
        number, wire_type = key >> 3, key & 7
        if number == 0:
            raise _Malformed("a field has number 0")
        if wire_type == 0:
            value, position = _varint(message, position)
            yield number, value
            continue
        if wire_type == 2:
            length, position = _varint(message, position)
        elif wire_type in (1, 5):
            length = 8 if wire_type == 1 else 4
        else:
            raise _Malformed(f"a field has wire type {wire_type}")
        if length > end - position:
            raise _Malformed("it ends early")
        if wire_type == 2:
            yield number, message[position : position + length]
        position += length


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    """A base-128 integer of at most ten bytes, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(message):
            raise _Malformed("it ends early")
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise _Malformed("a number has more than ten bytes")
