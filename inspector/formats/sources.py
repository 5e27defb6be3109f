"""Where labels are read from: a folder, one file in it, or a ZIP file. Nothing is unpacked, and no name leads out of it."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Protocol

from inspector.errors import LabelInvalid
from inspector.labelling import read_bounded

MAX_FILES = 500_000
MAX_FILE_BYTES = 512 << 20
MAX_TOTAL_BYTES = 4 << 30
_CHUNK = 1 << 20
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError, ValueError)


class Source(Protocol):
    """Files by their names: relative, with forward slashes, sorted."""

    label: str
    names: tuple[str, ...]

    def read(self, name: str, most_bytes: int = MAX_FILE_BYTES) -> bytes:
        """The bytes of a file. Raises LabelInvalid."""


class FolderSource:
    """The files below a folder; links that lead out of it are not followed."""

    def __init__(self, root: Path) -> None:
        self.label = root.name or str(root)
        self._root = root
        self.names = tuple(sorted(_names_below(root)))

    def read(self, name: str, most_bytes: int = MAX_FILE_BYTES) -> bytes:
        path = self._root / inside(name, self.label)
        try:
            out = not path.resolve().is_relative_to(self._root.resolve())
        except (OSError, RuntimeError, ValueError) as error:
            raise LabelInvalid(f"{name!a} cannot be read ({error}): check it and its permissions") from error
        if out:
            raise LabelInvalid(f"{name!a} is a link that leads out of {self.label!a}: put the file itself there")
        return read_bounded(path, most_bytes)


class ZipSource:
    """The files of an archive, read one at a time; what it says of sizes is not believed."""

    def __init__(self, archive: zipfile.ZipFile, label: str) -> None:
        """Raises LabelInvalid for names that lead out of it and more files than there can be labels for."""
        self.label = label
        self._archive = archive
        self._left_bytes = MAX_TOTAL_BYTES
        members = archive.infolist()
        if len(members) > MAX_FILES:
            raise LabelInvalid(f"{label!a} holds {len(members):,} files, at most {MAX_FILES:,} are read: divide it")
        self._members = {inside(one.filename, label): one for one in members if not one.is_dir()}
        self.names = tuple(sorted(self._members))

    def read(self, name: str, most_bytes: int = MAX_FILE_BYTES) -> bytes:
        member = self._members.get(name)
        if member is None:
            raise LabelInvalid(f"there is no file {name!a} in {self.label!a}: add it, or what names it is wrong")
        most = min(most_bytes, self._left_bytes)
        data = bytearray()
        try:
            with self._archive.open(member) as stream:
                while len(data) <= most and (chunk := stream.read(_CHUNK)):
                    data += chunk
        except _DAMAGED as error:
            raise LabelInvalid(
                f"{name!a} in {self.label!a} cannot be unpacked ({error}): make the archive again, without password"
            ) from error
        if len(data) > most:
            raise LabelInvalid(
                f"{name!a} in {self.label!a} unpacks to more than {most >> 20} MiB: is it the right archive?"
            )
        self._left_bytes -= len(data)
        return bytes(data)


@contextmanager
def open_source(path: Path) -> Iterator[tuple[Source, str]]:
    """The files around `path`, and the name of the one that was given, empty for a folder or an archive.

    Raises LabelInvalid.
    """
    if path.is_dir():
        yield FolderSource(path), ""
    elif zipfile.is_zipfile(path):
        try:
            archive = zipfile.ZipFile(path)
        except _DAMAGED as error:
            raise LabelInvalid(f"{path.name!a} is no whole ZIP file ({error}): make it again") from error
        with archive:
            yield ZipSource(archive, path.name), ""
    elif path.is_file():
        yield FileSource(path), path.name
    else:
        raise LabelInvalid(f"there is no file {str(path)!a}: check the path")


class FileSource(FolderSource):
    """One file; others of its folder are read if it names them, and not looked for."""

    def __init__(self, path: Path) -> None:
        self.label = path.name
        self._root = path.parent
        self.names = (path.name,)


def inside(name: str, named_in: str) -> str:
    """A path that must stay below where it is named. Raises LabelInvalid."""
    path = PurePosixPath(name.replace("\\", "/"))
    parts = path.parts
    if not parts or path.is_absolute() or ".." in parts or "\0" in name or parts[0].endswith(":"):
        raise LabelInvalid(f"{named_in!a} names {name[:80]!a}, which is no path below its folder: put it there")
    return path.as_posix()


def _names_below(root: Path) -> Iterator[str]:
    count = 0
    for parent, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            count += 1
            if count > MAX_FILES:
                raise LabelInvalid(f"{root.name!a} holds more than {MAX_FILES:,} files: give the folder of the labels")
            if not name.startswith("."):
                yield Path(parent, name).relative_to(root).as_posix()
