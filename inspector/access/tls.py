"""The certificate files of a listener, read anew when they change: a renewal needs no restart."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from pathlib import Path

from inspector.access.certificates import check_pair, read_bounded, read_certificate, revoked_serials
from inspector.errors import AccessError

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class TlsPaths:
    """Where the files of a listener are, PEM; `revoked` None: nothing that the authority issued was revoked."""

    certificate: Path
    key: Path
    authority: Path
    revoked: Path | None = None


@dataclass(frozen=True, slots=True)
class TlsMaterial:
    """What the files held: certificate, its private key and the authority of clients, PEM; serials that count no more."""

    certificate: bytes
    key: bytes
    authority: bytes
    revoked: frozenset[int]


class TlsFiles:
    """The newest sound content of the files. What is half copied or does not fit together is not taken up, and logged.

    Nobody who asks waits for a disk: `watch` lets a thread look once a second.
    """

    def __init__(self, paths: TlsPaths) -> None:
        """Read them. Raises AccessError that names the file at fault."""
        self._paths = paths
        self._stamp = self._look()
        self._material = self._read()
        self._told = ""
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def material(self) -> TlsMaterial:
        """The content as it was last looked at."""
        return self._material

    def is_revoked(self, serial: int) -> bool:
        """Whether a certificate counts no more."""
        return serial in self._material.revoked

    def watch(self) -> None:
        """Look once a second from now on, in a thread of its own, until `close`."""
        self._thread = threading.Thread(target=self._run, name="certificates", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(LOOK_EVERY_S):
            self.look()

    def look(self) -> None:
        """Take up what changed, if it is sound. From one thread at a time."""
        stamp = self._look()
        if stamp == self._stamp:
            return
        try:
            self._material = self._read()
        except AccessError as error:
            if str(error) != self._told:
                log.error("the new certificate files are not taken up, the old ones stay in use: %s", error)
                self._told = str(error)
            return
        self._stamp, self._told = stamp, ""
        log.info("certificate files read anew: %s", self._paths.certificate)

    def _look(self) -> tuple[object, ...]:
        """What changes when a file does."""
        paths = self._paths
        found: list[object] = []
        for path in (paths.certificate, paths.key, paths.authority, paths.revoked):
            try:
                status = None if path is None else path.stat()
            except OSError:
                status = None
            found.append(None if status is None else (status.st_mtime_ns, status.st_size, status.st_ino))
        return tuple(found)

    def _read(self) -> TlsMaterial:
        paths = self._paths
        certificate, key = read_bounded(paths.certificate), read_bounded(paths.key)
        check_pair(certificate, key, paths.certificate)
        read_certificate(paths.authority)
        revoked = frozenset[int]() if paths.revoked is None else revoked_serials(paths.revoked, paths.authority)
        return TlsMaterial(certificate, key, read_bounded(paths.authority), revoked)
