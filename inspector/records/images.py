"""Pictures on disk, named by what they contain: the same bytes are kept once, and a damaged file gives itself away.

DIRECTORY/ab/cd/abcd…(64 digits).png
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import math
import os
import re
import threading
from collections import Counter
from collections.abc import Iterator, Set
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from inspector.errors import ImageStoreError, NotFound
from inspector.part import ImageKind
from inspector.records.entries import StoredImage

_SUFFIXES = {"image/png": ".png", "image/jpeg": ".jpg", "application/octet-stream": ".bin"}
_MEDIA_TYPES = {suffix: media_type for media_type, suffix in _SUFFIXES.items()}
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FOLDER = re.compile(r"[0-9a-f]{2}")
_SECONDS_PER_DAY = 86_400
# A sweep clears somewhat more than it must, so that the next picture does not need the next sweep.
_SWEEP_TO = 0.95
# Pictures come faster than sweeps; past this multiple of the quota they are lost, before the disk is full for the journal.
_HARD_LIMIT = 1.1


@dataclass(frozen=True, slots=True)
class Expired:
    """A picture that retention may remove. `reason` is "age" or "quota"."""

    sha256: str
    size_bytes: int
    changed_s: float
    reason: str


class ImageStore:
    """A folder of pictures. Thread-safe; `max_age_days` and `quota_bytes` of None keep everything."""

    def __init__(self, directory: Path, *, max_age_days: float | None = None, quota_bytes: int | None = None) -> None:
        """ImageStoreError if the folder cannot be used."""
        self._directory = directory
        self._max_age_days = max_age_days
        self._quota_bytes = quota_bytes
        self._incoming = directory / "incoming"
        self._counter = itertools.count()
        self._lock = threading.Lock()
        self._usage_bytes: int | None = None
        self._prepare()

    def discard_unfinished(self) -> None:
        """Remove what a process that died was writing. Only for the one that writes, before it does. ImageStoreError."""
        self._prepare(clear=True)

    def _prepare(self, *, clear: bool = False) -> None:
        try:
            self._incoming.mkdir(parents=True, exist_ok=True)
            for leftover in self._incoming.iterdir() if clear else ():
                leftover.unlink(missing_ok=True)
        except OSError as error:
            raise ImageStoreError(
                f"image folder {self._directory} cannot be used: {error.strerror}: check the path and its permissions"
            ) from error

    @property
    def usage_bytes(self) -> int | None:
        """Bytes of all pictures; None until `measure` or a sweep has counted them."""
        return self._usage_bytes

    def put(self, data: bytes, kind: ImageKind, media_type: str) -> StoredImage:
        """`keep` a picture of an inspection."""
        return StoredImage(kind, self.keep(data, media_type), media_type, len(data))

    def keep(self, data: bytes, media_type: str) -> str:
        """Keep a picture and return its SHA-256; a second time only makes it young again.

        ImageStoreError, with the OSError as its cause, if it cannot be written or the quota is used up.
        """
        if media_type not in _SUFFIXES:
            raise ImageStoreError(f"media type {media_type!r} is not kept: expected one of {', '.join(_SUFFIXES)}")
        sha256 = hashlib.sha256(data).hexdigest()
        path = self._path(sha256, _SUFFIXES[media_type])
        try:
            if not self._renew(path, len(data)):
                self._check_quota(len(data))
                self._write(path, data)
        except OSError as error:
            raise ImageStoreError(
                f"picture {sha256[:12]} cannot be written to {self._directory}: {error.strerror}: free some disk space"
            ) from error
        return sha256

    def _renew(self, path: Path, size_bytes: int) -> bool:
        """Whether the picture is there already and whole; then its age starts again."""
        with self._lock:
            try:
                if path.stat().st_size != size_bytes:
                    return False
                os.utime(path)
            except FileNotFoundError:
                return False
            return True

    def _check_quota(self, size_bytes: int) -> None:
        if self._quota_bytes is None or self._usage_bytes is None:
            return
        if self._usage_bytes + size_bytes > self._quota_bytes * _HARD_LIMIT:
            raise ImageStoreError(
                f"image quota of {self._quota_bytes >> 20} MiB in {self._directory} is used up: "
                "raise it, shorten the retention, or see why no sweep can run"
            ) from OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    def _write(self, path: Path, data: bytes) -> None:
        incoming = self._incoming / f"{os.getpid()}-{next(self._counter)}"
        try:
            with incoming.open("wb") as file:
                file.write(data)
                file.flush()
                os.fdatasync(file.fileno())
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._lock:
                os.replace(incoming, path)
                if self._usage_bytes is not None:
                    self._usage_bytes += len(data)
        except OSError:
            with contextlib.suppress(OSError):
                incoming.unlink()
            raise

    def path(self, sha256: str) -> tuple[Path, str]:
        """File and media type of a picture. NotFound, also for a key that is no SHA-256."""
        if not _SHA256.fullmatch(sha256):
            raise NotFound(f"{sha256[:80]!r} is no picture key: expected 64 lower-case hexadecimal digits")
        for suffix, media_type in _MEDIA_TYPES.items():
            path = self._path(sha256, suffix)
            if path.is_file():
                return path, media_type
        raise NotFound(
            f"picture {sha256} is not in {self._directory}: it was never stored here, or retention removed it"
        )

    def get(self, sha256: str) -> tuple[bytes, str]:
        """Bytes and media type of a picture. NotFound; ImageStoreError if the file is damaged or unreadable."""
        path, media_type = self.path(sha256)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ImageStoreError(f"picture {path} cannot be read: {error.strerror}: check the disk") from error
        if hashlib.sha256(data).hexdigest() != sha256:
            raise ImageStoreError(f"picture {path} is damaged: its content no longer gives its name: restore a backup")
        return data, media_type

    def measure(self) -> int:
        """Count the bytes of all pictures. ImageStoreError."""
        total = sum(size for _, size, _ in self._files())
        with self._lock:
            self._usage_bytes = total
        return total

    def expired(self, protected: Set[str], now: datetime) -> Iterator[Expired]:
        """What retention may remove at `now`: first by age, then the oldest until the quota holds. Never `protected`.

        Goes through the folder twice and keeps only sums per minute between, so that its memory does not grow with the number
        of pictures. ImageStoreError.
        """
        oldest = -math.inf if self._max_age_days is None else now.timestamp() - self._max_age_days * _SECONDS_PER_DAY
        cutoff = self._quota_cutoff(protected, oldest)
        for sha256, size, changed in self._files():
            if sha256 in protected:
                continue
            if changed < oldest:
                yield Expired(sha256, size, changed, "age")
            elif changed < cutoff:
                yield Expired(sha256, size, changed, "quota")

    def _quota_cutoff(self, protected: Set[str], oldest: float) -> float:
        """Changes before this time must go for the quota, once those before `oldest` are gone."""
        total, kept = 0, 0
        removable: Counter[int] = Counter()
        for sha256, size, changed in self._files():
            total += size
            if changed >= oldest:
                kept += size
                removable[int(changed) // 60] += 0 if sha256 in protected else size
        with self._lock:
            self._usage_bytes = total
        if self._quota_bytes is None or kept <= self._quota_bytes:
            return -math.inf
        excess = kept - self._quota_bytes * _SWEEP_TO
        for minute in sorted(removable):
            excess -= removable[minute]
            if excess <= 0:
                return (minute + 1) * 60
        return math.inf

    def remove(self, expired: Expired) -> bool:
        """Delete a picture, unless it was stored anew since the sweep saw it. ImageStoreError."""
        with self._lock:
            try:
                path, _ = self.path(expired.sha256)
                if path.stat().st_mtime > expired.changed_s:
                    return False
                path.unlink()
            except (NotFound, FileNotFoundError):
                return False
            except OSError as error:
                raise ImageStoreError(
                    f"picture {expired.sha256} cannot be removed: {error.strerror}: check the permissions of "
                    f"{self._directory}"
                ) from error
            if self._usage_bytes is not None:
                self._usage_bytes -= expired.size_bytes
            return True

    def _path(self, sha256: str, suffix: str) -> Path:
        return self._directory / sha256[:2] / sha256[2:4] / f"{sha256}{suffix}"

    def _files(self) -> Iterator[tuple[str, int, float]]:
        """(SHA-256, size in bytes, time of last change) of every picture."""
        try:
            for outer in _folders(self._directory):
                for inner in _folders(Path(outer.path)):
                    for file in os.scandir(inner.path):
                        sha256, suffix = os.path.splitext(file.name)
                        if suffix in _MEDIA_TYPES and _SHA256.fullmatch(sha256):
                            status = file.stat(follow_symlinks=False)
                            yield sha256, status.st_size, status.st_mtime
        except OSError as error:
            raise ImageStoreError(
                f"image folder {self._directory} cannot be read: {error.strerror}: check its permissions"
            ) from error


def _folders(directory: Path) -> Iterator[os.DirEntry[str]]:
    with os.scandir(directory) as entries:
        yield from (e for e in entries if _FOLDER.fullmatch(e.name) and e.is_dir(follow_symlinks=False))
