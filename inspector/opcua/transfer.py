"""RecipeTransfer of OPC 40100-1: a recipe as a temporary file (FileType of OPC 10000-20), to be read by its session alone.

GenerateFileForRead ──▶ packed apart from the loop ──▶ node FILE, open ──Read…──▶ Close: node and bytes are gone

A file also goes when its session does, and when nobody has touched it for `IDLE_S`. Bundles come in with the line file and
not over OPC UA, so that GenerateFileForWrite says BadNotSupported.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from asyncua import Node, ua

from inspector.access.identity import Identity, Role
from inspector.errors import InvalidRequest, NotFound, Overloaded
from inspector.opcua import model as types
from inspector.opcua import structures
from inspector.opcua.model import MethodCallback, Model
from inspector.opcua.recipe_files import RecipeFiles
from inspector.opcua.users import caller_host, caller_session
from inspector.signalling.signal import RecipeReading

log = logging.getLogger(__name__)

FILES = 4
"""At once, of all sessions; a session has one."""
HELD_BYTES = 192 << 20
"""In memory, of all files together: a larger recipe is not sent."""
READ_BYTES = 512 << 10
"""In one answer; the standard lets a server return less than was asked for."""
HANDLES = 8
"""Of one file."""
IDLE_S = 60.0
_READ = 1

Note = Callable[[str, str, Mapping[str, Any], str], None]
"""Puts on record: action, subject, details, actor."""
Method = Callable[..., Awaitable[Any]]
Guarded = Callable[[str, Role, int, Method], MethodCallback]
"""Lets a method be called by those who may: name, role, number of arguments, what answers."""


@dataclass(eq=False)
class _File:
    """A temporary file, and where each of its handles stands."""

    session: object
    data: bytes
    node: Node
    parent: Node
    touched_s: float
    places: dict[int, int] = field(default_factory=dict)


class Transfers:
    """The temporary files of all stations. All methods from the loop's thread."""

    def __init__(
        self,
        model: Model,
        files: RecipeFiles,
        note: Note,
        has_session: Callable[[object], bool],
        idle_s: float = IDLE_S,
    ) -> None:
        self._model = model
        self._packer = files
        self._note = note
        self._has_session = has_session
        self._idle_s = idle_s
        self._files: list[_File] = []
        self._making: set[object] = set()
        self._turn = asyncio.Lock()
        self._last = 0

    async def link(
        self, recipes: Node, station: str, recipes_of: Callable[[], tuple[RecipeReading, ...]], guarded: Guarded
    ) -> None:
        """Add RecipeTransfer to a station's RecipeManagement; `recipes_of` tells which recipes it has."""
        transfer = await self._model.instantiate(recipes, types.RECIPE_TRANSFER_TYPE, "RecipeTransfer")
        timeout = await transfer.get_child("0:ClientProcessingTimeout")
        await timeout.write_value(self._idle_s * 1000, ua.VariantType.Double)

        async def read(who: Identity, options: Any) -> Any:
            name, label = _wanted(options, recipes_of())
            return await self._generate(who, station, transfer, name, label, guarded)

        for name, count, method in (
            ("GenerateFileForRead", 1, read),
            ("GenerateFileForWrite", 1, self._never),
            ("CloseAndCommit", 1, self._commit),
        ):
            node = await transfer.get_child(f"0:{name}")
            self._model.server.link_method(node, guarded(name, Role.ENGINEER, count, method))

    async def sweep(self) -> None:
        """Remove the files that were left alone, and those of sessions that are over."""
        now_s = time.monotonic()
        for file in self._files.copy():
            if now_s - file.touched_s > self._idle_s or not self._has_session(file.session):
                try:
                    await self._remove(file)
                except ua.UaError:  # its bytes are gone all the same; the program must go on
                    log.exception("the node of a file cannot be removed")

    async def _generate(
        self, who: Identity, station: str, transfer: Node, recipe: str, label: str, guarded: Guarded
    ) -> list[ua.Variant]:
        session = caller_session()
        await self.sweep()
        if session in self._making or any(one.session == session for one in self._files):
            raise Overloaded("this session has a file already: close that first")
        if len(self._files) + len(self._making) >= FILES:
            raise Overloaded(f"{FILES} files are there, which is the most: ask again later")
        self._making.add(session)
        try:
            # One after the other, since each is held twice for a moment.
            async with self._turn:
                left = HELD_BYTES - sum(len(one.data) for one in self._files)
                data = await asyncio.to_thread(self._packer.pack, recipe, label, left)
                file = await self._publish(session, transfer, data, guarded)
        finally:
            self._making.discard(session)
        actor = f"{who.name} at {caller_host()}"
        self._note("read recipe over OPC UA", recipe, {"station": station, "bundle": label, "bytes": len(data)}, actor)
        (handle,) = file.places
        return [_id(file.node.nodeid), ua.Variant(handle, ua.VariantType.UInt32), _id(ua.NodeId())]

    async def _publish(self, session: object, transfer: Node, data: bytes, guarded: Guarded) -> _File:
        """Make the file's node, with a handle that is open."""
        model = self._model
        self._last += 1
        nodeid = ua.NodeId(f"{transfer.nodeid.Identifier}.File{self._last}", model.own)
        node = await transfer.add_object(
            nodeid, ua.QualifiedName(f"File{self._last}", model.own), types.FILE_TYPE, instantiate_optional=False
        )
        file = _File(session, data, node, transfer, time.monotonic(), {self._last: 0})
        self._files.append(file)
        kinds = ua.VariantType
        await _set(node, "Size", len(data), kinds.UInt64)
        await _set(node, "OpenCount", 1, kinds.UInt16)
        for name in ("Writable", "UserWritable"):
            await _set(node, name, False, kinds.Boolean)
        await node.add_property(
            ua.NodeId(f"{nodeid.Identifier}.MimeType", model.own), ua.QualifiedName("MimeType", 0), "application/x-tar"
        )
        methods: tuple[tuple[str, int, Method], ...] = (
            ("Open", 1, self._open),
            ("Close", 1, self._close),
            ("Read", 2, self._read),
            ("Write", 2, self._write),
            ("GetPosition", 1, self._position),
            ("SetPosition", 2, self._set_position),
        )
        for name, count, method in methods:
            of_file = await node.get_child(f"0:{name}")
            model.server.link_method(of_file, guarded(f"File {name}", Role.ENGINEER, count, _of(file, method)))
        return file

    async def _remove(self, file: _File) -> None:
        if file not in self._files:
            return
        self._files.remove(file)
        file.places.clear()
        file.data = b""
        # Only its parent knows of it: asyncua would look for that through all nodes there are, a quarter of a second.
        await file.parent.delete_reference(file.node, ua.ObjectIds.HasComponent, bidirectional=False)
        await file.node.delete(delete_references=False, recursive=True)

    # ------------------------------------------------------------------------------------------------------- methods of a file

    async def _open(self, file: _File, mode: Any) -> Any:
        if not isinstance(mode, int) or mode != _READ:
            return ua.StatusCode(ua.StatusCodes.BadNotWritable if mode in range(2, 16) else _INVALID)
        if len(file.places) >= HANDLES:
            raise Overloaded(f"the file has {HANDLES} handles, which is the most")
        self._last += 1
        file.places[self._last] = 0
        await _set(file.node, "OpenCount", len(file.places), ua.VariantType.UInt16)
        return [ua.Variant(self._last, ua.VariantType.UInt32)]

    async def _close(self, file: _File, handle: Any) -> Any:
        _place(file, handle)
        del file.places[handle]
        if file.places:
            await _set(file.node, "OpenCount", len(file.places), ua.VariantType.UInt16)
        else:
            await self._remove(file)
        return []

    async def _read(self, file: _File, handle: Any, length: Any) -> Any:
        start = _place(file, handle)
        if not _is_number(length, 1 << 31):
            raise InvalidRequest(f"{length!r:.40} is no length")
        data = file.data[start : start + min(length, READ_BYTES)]
        file.places[handle] = start + len(data)
        return [ua.Variant(data, ua.VariantType.ByteString)]

    async def _write(self, file: _File, handle: Any, data: Any) -> Any:
        return ua.StatusCode(ua.StatusCodes.BadNotWritable)

    async def _position(self, file: _File, handle: Any) -> Any:
        return [ua.Variant(_place(file, handle), ua.VariantType.UInt64)]

    async def _set_position(self, file: _File, handle: Any, place: Any) -> Any:
        _place(file, handle)
        if not _is_number(place, 1 << 64):
            raise InvalidRequest(f"{place!r:.40} is no position")
        file.places[handle] = min(place, len(file.data))
        return []

    # ----------------------------------------------------------------------------------------------------------------- writing

    @staticmethod
    async def _never(who: Identity, options: Any) -> Any:
        return ua.StatusCode(ua.StatusCodes.BadNotSupported)

    async def _commit(self, who: Identity, handle: Any) -> Any:
        """There is no file that was written to."""
        own = any(handle in one.places for one in self._files if one.session == caller_session())
        return ua.StatusCode(ua.StatusCodes.BadInvalidState if own else _INVALID)


_INVALID = ua.StatusCodes.BadInvalidArgument


def _of(file: _File, method: Method) -> Method:
    """A method of a file, for the session that the file was made for."""

    async def call(who: Identity, *arguments: Any) -> Any:
        if caller_session() != file.session:
            return ua.StatusCode(ua.StatusCodes.BadUserAccessDenied)
        file.touched_s = time.monotonic()
        return await method(file, *arguments)

    return call


def _wanted(options: Any, recipes: tuple[RecipeReading, ...]) -> tuple[str, str]:
    """Name and bundle of the recipe that RecipeTransferOptions name; a version, if one is given, must be the bundle's."""
    internal = getattr(options, "InternalId", None)
    name, version = structures.text_of(internal), getattr(internal, "Version", None)
    if not name:
        raise InvalidRequest("the options name no recipe")
    found = next((one for one in recipes if one.name == name), None)
    if found is None or version not in (None, "", found.bundle):
        raise NotFound(f"the station has no recipe {name[:80]!r} of version {version!r:.80}")
    return found.name, found.bundle


def _place(file: _File, handle: Any) -> int:
    """Where a handle stands. InvalidRequest."""
    if not isinstance(handle, int) or handle not in file.places:
        raise InvalidRequest(f"{handle!r:.40} is no handle of this file")
    return file.places[handle]


def _is_number(value: Any, end: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < end


def _id(nodeid: ua.NodeId) -> ua.Variant:
    return ua.Variant(nodeid, ua.VariantType.NodeId)


async def _set(node: Node, name: str, value: Any, kind: ua.VariantType) -> None:
    await (await node.get_child(f"0:{name}")).write_value(value, kind)
