"""Makes room for new pictures: removes old ones, keeps those of labelled parts, and leaves on record what it removed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice

from inspector.errors import RecordsError
from inspector.records.images import Expired, ImageStore
from inspector.records.store import Store

_CHUNK = 500
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sweep:
    """What one sweep did."""

    removed: int = 0
    freed_bytes: int = 0


def sweep(images: ImageStore, store: Store, now: datetime) -> Sweep:
    """Remove what age and quota allow at `now`.

    Without the database nothing is removed, because it alone knows which parts are labelled. What is removed is on record
    before its file goes; a sweep that dies in between is completed by the next. StoreUnavailable, SchemaOutdated,
    ImageStoreError.
    """
    removed, freed = 0, 0
    for chunk in _chunks(images.expired(store.protected_pictures(), now)):
        for reason in ("age", "quota"):
            candidates = {e.sha256: e for e in chunk if e.reason == reason}
            if not candidates:
                continue
            for sha256 in store.mark_removed(candidates, reason, now):
                if images.remove(candidates[sha256]):
                    removed += 1
                    freed += candidates[sha256].size_bytes
    return Sweep(removed, freed)


def _chunks(expired: Iterable[Expired]) -> Iterator[list[Expired]]:
    iterator = iter(expired)
    while chunk := list(islice(iterator, _CHUNK)):
        yield chunk


class RetentionKeeper:
    """Sweeps every `interval_s` seconds in a thread of its own, until `stop`."""

    def __init__(self, images: ImageStore, open_store: Callable[[], Store], *, interval_s: float = 300.0) -> None:
        self._images = images
        self._open_store = open_store
        self._interval_s = interval_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="retention", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End after the picture in hand."""
        self._stopping.set()
        self._thread.join(5.0)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._sweep()
            except RecordsError as error:
                _log.warning("pictures are kept for now: %s", error)
            except Exception:  # noqa: BLE001 - the edge of the worker: the next sweep may succeed
                _log.exception("retention failed")
            self._stopping.wait(self._interval_s)

    def _sweep(self) -> None:
        store = self._open_store()
        try:
            done = sweep(self._images, store, datetime.now(UTC))
        finally:
            store.close()
        if done.removed:
            _log.info("retention removed %d pictures, %d bytes", done.removed, done.freed_bytes)
