"""A folder of pictures as one of the cameras of a line file."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Iterator
from pathlib import Path

from inspector.cameras.sources.folder import FolderSource, RawFormat
from inspector.cameras.sources.source import LOOK_S, Grab, Taken
from inspector.errors import ConfigError, SourceError

log = logging.getLogger(__name__)


class FolderCamera:
    """The pictures of a folder, each once and in natural order; with `loop` again and again."""

    def __init__(self, folder: Path, rate_hz: float = 0.0, loop: bool = False, raw: RawFormat | None = None) -> None:
        self._folder = folder
        self._loop = loop
        self._raw = raw
        self._rate_hz = rate_hz
        self._source: FolderSource | None = None
        self._shown = 0
        self.waits = not rate_hz

    @property
    def rate_hz(self) -> float | None:
        return self._rate_hz or None

    def open(self) -> None:
        """List the folder."""
        try:
            self._source = FolderSource(self._folder, raw=self._raw, loop=self._loop, on_note=log.warning)
        except ConfigError as error:
            raise SourceError(str(error)) from error

    def grabs(self) -> Iterator[Grab | None]:
        """Its pictures, at its rate; opened again it goes on with the next one."""
        assert self._source is not None, "open it first"
        pictures = iter(self._source)
        for _ in range(self._shown % len(self._source.files) if self._loop else self._shown):
            next(pictures, None)
        # Read ahead of the tick, so that the disk does not make the part late.
        picture, start_s = next(pictures, None), time.monotonic()
        for number in itertools.count():
            if picture is None:
                return
            while not self.waits and (left_s := start_s + number / self._rate_hz - time.monotonic()) > 0:
                time.sleep(min(left_s, LOOK_S))
                if left_s > LOOK_S:
                    yield None
            # At a rate it has passed now, whatever becomes of it. Else it counts once it is on its way: see `Source.waits`.
            self._shown += not self.waits
            yield Taken(picture.frame, str(picture.file))
            self._shown += self.waits
            picture = next(pictures, None)

    def close(self) -> None:
        """Nothing is held."""

    def describe(self) -> str:
        count = 0 if self._source is None else len(self._source.files)
        pace = f"{self._rate_hz:g} a second" if self._rate_hz else "as fast as they are judged"
        return f"{count} pictures of {self._folder}, {pace}"
