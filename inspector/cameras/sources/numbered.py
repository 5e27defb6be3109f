"""A camera whose parts a PLC counts: each frame gets the part that it shows, by the rule of `part_count.py`."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace

from inspector.cameras.sources.part_count import Count, Missed, PartCount
from inspector.cameras.sources.plc_readers import PlcReader
from inspector.cameras.sources.source import LOOK_S, Grab, Lost, Source, Taken
from inspector.errors import SourceError

log = logging.getLogger(__name__)

_JOIN_S = 5.0


class NumberedSource:
    """`source` with parts as a PLC counts them. With `as_triggers` the PLC's numbers are the triggers of the station, which
    all its cameras then share; else only its steps count, and parts are numbered from where the service stands."""

    def __init__(
        self,
        source: Source,
        reader: PlcReader,
        *,
        as_triggers: bool = False,
        poll_ms: int = 5,
        delay_ms: float = 0.0,
        late_ms: float = 50.0,
        frame_ms: float = 1000.0,
    ) -> None:
        self._source = source
        self._as_triggers = as_triggers
        self._sampler = _Sampler(reader, poll_ms / 1000)
        self._reader = reader
        self._count = PartCount(delay_ms / 1000, late_ms / 1000, frame_ms / 1000)
        self._camera_says = ""
        self.waits = False

    @property
    def rate_hz(self) -> float | None:
        return self._source.rate_hz

    @property
    def doubles(self) -> int:
        """Frames that were not shown, because the PLC counted no part for them."""
        return self._count.doubles

    def open(self) -> None:
        """Open the camera and ask the PLC. Raises SourceError."""
        self._source.open()
        try:
            self._sampler.start()
        except SourceError:
            self._source.close()
            raise

    def close(self) -> None:
        self._sampler.stop()
        self._source.close()

    def describe(self) -> str:
        return f"{self._source.describe()}; parts are counted by {self._reader.describe()}"

    def grabs(self) -> Iterator[Grab | None]:
        """What the source gives, as parts of the PLC's count."""
        for grab in self._source.grabs():
            yield from self._look()
            if isinstance(grab, Lost):
                # Its part is one that the PLC counts: it is told of when its frame is overdue, with this reason.
                self._camera_says = grab.why
            elif grab is not None:
                yield from self._shows(grab)
            yield from self._lost(self._count.overdue(time.monotonic(), self._camera_says))
            yield None

    def _look(self) -> Iterator[Lost]:
        for count in self._sampler.new():
            yield from self._lost(self._count.counted(count))

    def _shows(self, taken: Taken) -> Iterator[Grab | None]:
        exposed_s = _exposed_s(taken)
        settled_s = self._count.settled_s(exposed_s)
        while not self._sampler.wait(settled_s, LOOK_S):
            yield from self._look()
            yield None
        yield from self._look()
        missed, count = self._count.match(exposed_s)
        yield from self._lost(missed)
        if count is None:
            if not missed and self._count.doubles & (self._count.doubles - 1) == 0:
                log.warning(
                    "frame %s is of no part that %s counted and that waits for a frame: not shown (%d so far); "
                    "a double trigger, or later than late_ms?",
                    taken.origin,
                    self._reader.describe(),
                    self._count.doubles,
                )
            return
        self._camera_says = ""
        frame = replace(taken.frame, part_id=count.part_id) if count.part_id else taken.frame
        yield replace(taken, frame=frame, trigger=count.number if self._as_triggers else None)

    def _lost(self, missed: Iterable[Missed]) -> Iterator[Lost]:
        for one in missed:
            trigger = one.number if self._as_triggers else None
            yield Lost(one.why, one.count, f"part {one.number} of the PLC", trigger, one.part_id)


def _exposed_s(taken: Taken) -> float:
    """When the frame was exposed, on the monotonic clock; when it came, if the camera does not say."""
    now_s = time.monotonic()
    return now_s if taken.exposed_s is None else min(taken.exposed_s, now_s)


class _Sampler:
    """Asks the PLC again and again, in a thread, and keeps what changed."""

    def __init__(self, reader: PlcReader, poll_s: float) -> None:
        self._reader = reader
        self._poll_s = poll_s
        self._changed = threading.Condition()
        self._ending = threading.Event()
        self._seen: deque[Count] = deque()
        # When the last read began that has ended. The first part ever was counted at any time before.
        self._began_s = -math.inf
        self._fault: SourceError | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Raises SourceError if the PLC does not answer."""
        self._ending.clear()
        self._fault = None
        self._reader.open()
        try:
            first = self._read(None)
        except SourceError:
            self._reader.close()
            raise
        self._thread = threading.Thread(target=self._run, args=(first,), name="plc-count", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._ending.set()
        if self._thread is not None:
            self._thread.join(_JOIN_S)
            self._thread = None

    def new(self) -> list[Count]:
        """What was counted since the last call. Raises SourceError if the PLC answers no more."""
        with self._changed:
            seen = list(self._seen)
            self._seen.clear()
            if self._fault is not None and not seen:
                raise self._fault
            return seen

    def wait(self, since_s: float, timeout_s: float) -> bool:
        """Until a read that began then, or later, has ended, or the PLC answers no more, or that long; whether it was read."""
        with self._changed:
            self._changed.wait_for(lambda: self._began_s >= since_s or self._fault, timeout_s)
            return self._began_s >= since_s

    def _read(self, last: int | None) -> int:
        """Ask once. The PLC counted after it was asked before, which is what that answer is sure of, and before this answer."""
        began_s = time.monotonic()
        reading = self._reader.read()
        with self._changed:
            if reading.number != last:
                self._seen.append(Count(reading.number, reading.part_id, self._began_s, time.monotonic()))
            self._began_s = began_s
            self._changed.notify_all()
        return reading.number

    def _run(self, last: int) -> None:
        try:
            while not self._ending.wait(self._poll_s):
                last = self._read(last)
        except Exception as error:  # the sampler's outermost edge: told to whoever asks next
            if isinstance(error, SourceError):
                fault = error
            else:
                log.exception("asking the PLC failed")
                fault = SourceError(f"asking the PLC failed ({error!r}): the log has the fault")
            with self._changed:
                self._fault = fault
                self._changed.notify_all()
        finally:
            self._reader.close()
