"""Files that people send become pictures of a set: whole or continued, checked by content, and never believed by their names.

begin ─▶ append, append, … (a broken connection goes on where it stopped) ─▶ finish: hash, type, size ─▶ image store, set

A file is a picture or a ZIP archive of pictures. Nothing is unpacked to disk: the entries of an archive are read one by one,
with their number, their sizes and all bytes together limited, and what an entry claims of its size is not believed.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import IO, Any

from inspector.errors import ConfigError, FrameError, ImageStoreError, InvalidRequest, LabelInvalid
from inspector.imaging.archive import unarchive
from inspector.imaging.decode import DecodeLimits, decode
from inspector.imaging.png import PNG_MAGIC
from inspector.records.image_sets import Added, ImageSets, NewPicture
from inspector.records.images import ImageStore
from inspector.records.labels import label_name
from inspector.records.patterns import check_pattern, found_in
from inspector.records.room import check_room
from inspector.records.text import printable
from inspector.records.uploads import Upload, Uploads, UploadState

MAX_UPLOAD_BYTES = 4 << 30
MAX_CHUNK_BYTES = 8 << 20
MAX_ENTRIES = 20_000
MAX_UNPACKED_BYTES = 8 << 30
MAX_RATIO = 200
"""How many times as large as its archive an unpacked whole may be; pictures hardly shrink."""
_LIMITS = DecodeLimits()
_BATCH, _BATCH_BYTES = 50, 128 << 20
"""How many pictures of an archive, and how much of them, are in memory before they are put into the set."""
_SILENT = timedelta(hours=1)
"""What was announced and did not go on for so long keeps no room for itself any more."""
_ZIP_MAGIC = b"PK\x03\x04"
_TOLD = 50
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ASIDE = re.compile(r"(^|/)(__MACOSX/|\.DS_Store$|Thumbs\.db$|\.)", re.IGNORECASE)
"""What operating systems leave in archives."""
_MASK_FOLDERS = frozenset({"ground_truth", "masks", "mask"})
_PLACES = frozenset({"train", "test", "val", "valid", "images", "imgs"})
"""Folders that say what a picture is for, and not what is on it."""
BY_FOLDER = "by folder"


@dataclass(frozen=True, slots=True)
class IntakeOptions:
    """What to make of a file: `label` is what its pictures are labelled, empty for nothing, or `BY_FOLDER`.

    `part_pattern` finds the part in a file's name: its first group, or all that it matches. `lot` is that of all.
    """

    label: str = ""
    part_pattern: str = ""
    lot: str = ""

    def __post_init__(self) -> None:
        """Raises ConfigError, LabelInvalid."""
        if self.label and self.label != BY_FOLDER and label_name(self.label) != self.label:
            raise LabelInvalid(f"the label {self.label!r} is to be written {label_name(self.label)!r}")
        check_pattern(self.part_pattern, "parts", "exp._num_([0-9]+)")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a file: pictures new in the set, there already, and files that are none of its pictures, with the reason."""

    added: int = 0
    already: int = 0
    refused: tuple[tuple[str, str], ...] = ()
    refused_count: int = 0
    error: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {**asdict(self), "refused": [list(one) for one in self.refused]}


class Refused(InvalidRequest):
    """A file that is not taken in, as a whole."""


class Intake:
    """Uploads to the sets of a line. Thread-safe; files of unfinished uploads lie in `folder`."""

    def __init__(
        self, uploads: Uploads, sets: ImageSets, images: ImageStore, folder: Path, clock: Callable[[], datetime]
    ) -> None:
        self._uploads = uploads
        self._sets = sets
        self._images = images
        self._folder = folder
        self._clock = clock
        self._busy: dict[str, threading.Lock] = {}
        self._guard = threading.Lock()

    def begin(
        self, set_name: str, file_name: str, options: IntakeOptions, size_bytes: int, sha256: str, by: str
    ) -> tuple[Upload, int]:
        """An upload, new or still open, and how many of its bytes are here. InvalidRequest, NotFound, ImageStoreError."""
        if not 0 < size_bytes <= MAX_UPLOAD_BYTES:
            raise Refused(
                f"{printable(file_name[:80])} has {size_bytes} bytes: send 1 to {MAX_UPLOAD_BYTES >> 30} GiB, larger archives "
                "in parts"
            )
        if not _SHA256.fullmatch(sha256):
            raise Refused("an upload needs the SHA-256 of its file, 64 lower-case hexadecimal digits")
        found = self._sets.get(set_name)
        name = file_name.replace("\\", "/").rpartition("/")[2][:256] or "file"
        upload = self._uploads.begin(found.id, name, asdict(options), size_bytes, sha256, by, self._clock())
        here = self._size(upload.id)
        try:
            self._check_room(upload)
        except ImageStoreError as error:
            if not here:
                self._uploads.end(upload.id, UploadState.REFUSED, Outcome(error=str(error)).to_json(), self._clock())
            raise
        return upload, here

    def offset(self, number: str) -> tuple[Upload, int]:
        """An upload and how many of its bytes are here. NotFound."""
        upload = self._uploads.get(number)
        return upload, self._size(number) if upload.state is UploadState.OPEN else upload.size_bytes

    def append(self, number: str, offset: int, data: bytes, by: str) -> int:
        """Add bytes that begin at `offset`, which must be where the last ones ended; returns how many are here now.

        Raises InvalidRequest, NotFound, ImageStoreError.
        """
        upload = self._own(number, by)
        if len(data) > MAX_CHUNK_BYTES:
            raise Refused(f"a piece of {len(data)} bytes is too much at once: send at most {MAX_CHUNK_BYTES >> 20} MiB")
        with self._one_at_a_time(number):
            here = self._size(number)
            if offset != here:
                raise Refused(f"this piece begins at {offset} and {here} bytes are here: go on from {here}")
            if here + len(data) > upload.size_bytes:
                raise Refused(f"the file is longer than the {upload.size_bytes} bytes announced: begin it anew")
            self._check_room(upload)
            self._write(number, data)
        self._uploads.touch(number, self._clock())
        return here + len(data)

    def finish(self, number: str, by: str) -> Upload:
        """Check what has come and put its pictures in the set. What cannot be taken ends with the reason in its outcome.

        Raises InvalidRequest if it is not complete yet, NotFound, ImageStoreError, and what the database raises.
        """
        upload = self._own(number, by)
        with self._one_at_a_time(number):
            upload = self._uploads.get(number)
            if upload.state is not UploadState.OPEN:
                return upload
            here = self._size(number)
            if here < upload.size_bytes:
                raise Refused(f"{here} of {upload.size_bytes} bytes are here: send the rest first")
            try:
                outcome, state = self._take_in(upload), UploadState.DONE
            except (Refused, LabelInvalid, ConfigError) as error:
                outcome, state = Outcome(error=str(error)), UploadState.REFUSED
            ended = self._uploads.end(number, state, outcome.to_json(), self._clock())
            self._path(number).unlink(missing_ok=True)
            return ended

    def give_up(self, number: str, by: str) -> Upload:
        """The sender does not want it any more. InvalidRequest, NotFound."""
        self._own(number, by)
        with self._one_at_a_time(number):
            outcome = Outcome(error=f"given up by {by}")
            ended = self._uploads.end(number, UploadState.REFUSED, outcome.to_json(), self._clock())
            self._path(number).unlink(missing_ok=True)
            return ended

    def sweep(self, older_than_s: float) -> int:
        """Remove files of uploads that nobody went on with for so long; returns how many."""
        removed = 0
        now = self._clock()
        for path in self._folder.glob("*.part"):
            if now.timestamp() - path.stat().st_mtime > older_than_s:
                self._uploads.end(
                    path.stem, UploadState.REFUSED, Outcome(error="nobody went on with it").to_json(), now
                )
                path.unlink(missing_ok=True)
                removed += 1
        return removed

    # Pictures

    def _take_in(self, upload: Upload) -> Outcome:
        path = self._path(upload.id)
        with path.open("rb") as stream:
            if hashlib.file_digest(stream, "sha256").hexdigest() != upload.sha256:
                raise Refused("what arrived is not the file that was announced (another SHA-256): send it again")
        options = IntakeOptions(**upload.options)
        with path.open("rb") as stream:
            is_archive = stream.read(4) == _ZIP_MAGIC
        if is_archive:
            return self._take_archive(upload, options, path)
        data = path.read_bytes() if upload.size_bytes <= _LIMITS.max_frame_bytes else b""
        (part,) = found_in(options.part_pattern, [upload.file_name])
        picture, why = self._picture(data, upload.size_bytes, upload.file_name, "", options, part)
        if picture is None:
            raise Refused(why)
        return _outcome(self._add(upload, [(picture, data)]), [])

    def _take_archive(self, upload: Upload, options: IntakeOptions, path: Path) -> Outcome:
        added, already, held, refused = 0, 0, 0, []
        batch: list[tuple[NewPicture, bytes]] = []
        names = sorted({PurePosixPath(name).name for name in entry_names(path)})
        parts = dict(zip(names, found_in(options.part_pattern, names), strict=True))
        for name, data, size in entries(path):
            file_name = PurePosixPath(name).name
            picture, why = self._picture(data, size, file_name, name, options, parts[file_name])
            if picture is None:
                refused.append((printable(name)[:200], why))
                continue
            batch.append((picture, data))
            held += len(data)
            if len(batch) >= _BATCH or held >= _BATCH_BYTES:
                done = self._add(upload, batch)
                added, already, batch, held = added + done.added, already + done.already, [], 0
        done = self._add(upload, batch)
        if not added + already + done.added + done.already:
            first = f"; the first, {refused[0][0]}: {refused[0][1]}" if refused else ""
            raise Refused(f"the archive holds no picture that can be used{first}")
        return _outcome(Added(added + done.added, already + done.already), refused)

    def _picture(
        self, data: bytes, size: int, file_name: str, path: str, options: IntakeOptions, part: str
    ) -> tuple[NewPicture | None, str]:
        """What a file is as a picture, or why it is none."""
        if size > _LIMITS.max_frame_bytes:
            return None, f"{size >> 20} MiB are more than the {_LIMITS.max_frame_bytes >> 20} MiB of a picture"
        label, why = _label(path, options)
        if why:
            return None, why
        try:
            shown = decode(unarchive(data, _LIMITS), _LIMITS)
        except FrameError as error:
            return None, str(error)
        media_type = "image/png" if data.startswith(PNG_MAGIC) else "image/jpeg"
        width, height = shown.width_px, shown.height_px
        sha256 = hashlib.sha256(data).hexdigest()
        return NewPicture(sha256, media_type, len(data), width, height, file_name, part, options.lot, label), ""

    def _add(self, upload: Upload, batch: list[tuple[NewPicture, bytes]]) -> Added:
        if not batch:
            return Added(0, 0)
        for picture, data in batch:
            self._images.keep(data, picture.media_type)
        done = self._sets.add(upload.set_name, [picture for picture, _ in batch], upload.sent_by, self._clock())
        # From here on they are protected. Should a sweep have taken one in between, it is there again.
        for picture, data in batch:
            self._images.keep(data, picture.media_type)
        return done

    # Files

    def _own(self, number: str, by: str) -> Upload:
        upload = self._uploads.get(number)
        if upload.sent_by != by:
            raise Refused(f"this upload was begun by {upload.sent_by}: begin one of your own")
        return upload

    def _path(self, number: str) -> Path:
        return self._folder / f"{number}.part"

    def _size(self, number: str) -> int:
        try:
            return self._path(number).stat().st_size
        except FileNotFoundError:
            return 0

    def _check_room(self, upload: Upload) -> None:
        """Raise ImageStoreError if this upload and all that go on now would fill the disk."""
        announced = dict(self._uploads.announced(self._clock() - _SILENT)) | {upload.id: upload.size_bytes}
        check_room(self._folder, sum(max(0, size - self._size(number)) for number, size in announced.items()))

    def _write(self, number: str, data: bytes) -> None:
        path = self._path(number)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            before = self._size(number)
            with path.open("ab") as stream:
                try:
                    stream.write(data)
                    stream.flush()
                    os.fdatasync(stream.fileno())
                except OSError:
                    os.truncate(path, before)  # a full disk may have taken half of it
                    raise
        except OSError as error:
            raise ImageStoreError(
                f"this piece cannot be written to {self._folder}: {error.strerror}: free space and go on"
            ) from error

    def _one_at_a_time(self, number: str) -> threading.Lock:
        with self._guard:
            return self._busy.setdefault(number, threading.Lock())


def entries(path: Path) -> Iterator[tuple[str, bytes, int]]:
    """Name, bytes and size of every file in an archive; of one that is too large for a picture no bytes.

    Raises Refused for an archive that is damaged, encrypted, wants to write elsewhere, or would grow beyond all measure.
    """
    with _opened(path) as archive:
        left = min(MAX_UNPACKED_BYTES, MAX_RATIO * path.stat().st_size)
        for info in _files(archive):
            with archive.open(info) as stream:
                data, left = _read_bounded(stream, info, left)
            yield info.filename, data, info.file_size


def entry_names(path: Path) -> list[str]:
    """The names of the files that `entries` gives. Raises Refused."""
    with _opened(path) as archive:
        return [info.filename for info in _files(archive)]


def _files(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    return [info for info in archive.infolist() if not info.is_dir() and not _ASIDE.search(info.filename)]


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            _check_archive(archive.infolist(), path.stat().st_size)
            yield archive
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError, ValueError) as error:
        raise Refused(
            f"the archive is damaged or of a kind that is not read ({error}): pack it again as plain ZIP"
        ) from error


def _check_archive(infos: list[zipfile.ZipInfo], size_bytes: int) -> None:
    if len(infos) > MAX_ENTRIES:
        raise Refused(f"the archive holds {len(infos)} files, at most {MAX_ENTRIES} are taken: send it in parts")
    for info in infos:
        name = info.filename.replace("\\", "/")
        if name.startswith("/") or ".." in name.split("/") or re.match(r"[A-Za-z]:", name):
            raise Refused(
                f"the archive holds {printable(info.filename)[:120]!r}, which points outside of it: nothing was taken, pack "
                "it again"
            )
        if info.flag_bits & 1:
            raise Refused("the archive is encrypted: pack it without a password")
        if stat.S_ISLNK(info.external_attr >> 16):
            raise Refused(f"the archive holds a link, {printable(info.filename)[:120]!r}: pack the files themselves")
    claimed = sum(info.file_size for info in infos)
    if claimed > min(MAX_UNPACKED_BYTES, MAX_RATIO * size_bytes):
        raise Refused(
            f"the archive of {size_bytes} bytes would grow to {claimed}: at most {MAX_RATIO} times as much and "
            f"{MAX_UNPACKED_BYTES >> 30} GiB are taken; send it in parts"
        )


def _read_bounded(stream: IO[bytes], info: zipfile.ZipInfo, left: int) -> tuple[bytes, int]:
    """The bytes of an entry and how many may still follow. What it claims of its size is not believed."""
    if info.file_size > _LIMITS.max_frame_bytes:
        return b"", left
    data = stream.read(info.file_size + 1)
    if len(data) > info.file_size or len(data) > left:
        raise Refused(
            f"the archive holds {printable(info.filename)[:120]!r}, which is larger than it says: nothing more was taken"
        )
    return data, left - len(data)


def _label(path: str, options: IntakeOptions) -> tuple[str, str]:
    """What a file is labelled, or why it is no picture to label."""
    folders = PurePosixPath(path.replace("\\", "/")).parts[:-1]
    if any(folder.casefold() in _MASK_FOLDERS for folder in folders):
        return "", "it lies in a folder of masks, which are not taken in: draw on the picture instead"
    if options.label != BY_FOLDER:
        return options.label, ""
    named = [folder for folder in folders if folder.casefold() not in _PLACES]
    if not named:
        return "", ""
    try:
        return label_name(named[-1]), ""
    except LabelInvalid as error:
        return "", str(error)


def _outcome(added: Added, refused: list[tuple[str, str]]) -> Outcome:
    return Outcome(added.added, added.already, tuple(refused[:_TOLD]), len(refused))


def options_of(values: Mapping[str, Any]) -> IntakeOptions:
    """Options as a request gives them. ConfigError, LabelInvalid."""
    label = str(values.get("label", ""))
    if label and label != BY_FOLDER:
        label = label_name(label)
    return IntakeOptions(label, str(values.get("part_pattern", "")), str(values.get("lot", "")))
