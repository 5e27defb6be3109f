"""Where a judgement becomes the record: its place in the sequence, the journal, the signal. The caller holds the lock."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from inspector.admission import Look, Part
from inspector.errors import JournalError
from inspector.part import Inspection, Judgement, Reason, Verdict
from inspector.records.evidence import is_sampled
from inspector.records.journal import Journal
from inspector.signalling.signal import Signal

log = logging.getLogger(__name__)

# Verdicts kept in memory while the journal cannot take them; beyond it no frame is taken in.
MAX_UNWRITTEN = 10_000


class Settlement:
    """Numbers verdicts, journals them and signals them, in one order for all.

    While the journal cannot be written every verdict is UNKNOWN/JOURNAL_FAILED, is signalled as that, and waits in memory
    for the journal to work again; `on_journal` is called when that begins and when it ends, see `works`.
    """

    def __init__(
        self,
        line: str,
        journal: Journal,
        signals: Sequence[Signal],
        *,
        pass_sampling: float,
        on_journal: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._line = line
        self._journal = journal
        self._signals = signals
        self._pass_sampling = pass_sampling
        self._on_journal = on_journal
        self._clock = clock
        self._now = now
        self._next_sequence = journal.state.next_sequence
        self._next_station_sequence = {
            name: mark.next_station_sequence for name, mark in journal.state.stations.items()
        }
        self._unwritten: deque[tuple[Inspection, bool]] = deque()
        self.subscribers: list[Callable[[Inspection], None]] = []

    @property
    def works(self) -> bool:
        """Whether every verdict so far is in the journal."""
        return not self._unwritten

    @property
    def full(self) -> bool:
        """Whether so many verdicts wait for the journal that no more parts may be taken in."""
        return len(self._unwritten) >= MAX_UNWRITTEN

    def enter(self, part: Part, look: Look, judgement: Judgement, station: str) -> tuple[Inspection, bool]:
        """Make `judgement`, which `look` decided, the part's inspection on every output.

        Returns it, and whether its images are kept.
        """
        recipe = part.setup.recipe
        results = [one.result or (one.as_judged(judgement) if one is look else None) for one in part.looks]
        if not self._write_waiting():
            detail = "the verdict could not be journalled"
            judgement = Judgement(Reason.JOURNAL_FAILED, detail, judgement.score, judgement.limit)
        station_sequence = self._next_station_sequence.get(station, 1)
        inspection = Inspection(
            line=self._line,
            station=station,
            camera=look.camera,
            sequence=self._next_sequence,
            station_sequence=station_sequence,
            trigger=part.trigger,
            part_id=part.part_id,
            verdict=judgement.verdict,
            reason=judgement.reason,
            detail=judgement.detail,
            score=judgement.score,
            limit=judgement.limit,
            findings=judgement.findings,
            recipe=recipe.name,
            bundle=recipe.bundle,
            capture_time=part.capture_time,
            receive_time=part.receive_time,
            decide_time=self._now(),
            latency_ms=(self._clock() - part.received_s) * 1000,
            view=look.view.name if len(part.looks) > 1 else "",
            views=tuple(one for one in results if one is not None) if len(part.looks) > 1 else (),
        )
        sampled = inspection.verdict is not Verdict.PASS or is_sampled(inspection.sequence, self._pass_sampling)
        kept = sampled and any(one.frame is not None for one in part.looks)
        inspection = self._write(inspection, kept)
        self._next_sequence += 1
        self._next_station_sequence[station] = station_sequence + 1
        for signal in self._signals:
            signal.publish(inspection)
        for on_inspection in self.subscribers:
            on_inspection(inspection)
        return inspection, kept

    def _write(self, inspection: Inspection, kept: bool) -> Inspection:
        """Journal the inspection; if that fails it becomes UNKNOWN and waits in memory."""
        if not self._unwritten:
            try:
                self._journal.settle(inspection, evidence_expected=kept)
                return inspection
            except JournalError as error:
                log.error("the journal fails, every part is UNKNOWN until it can be written: %s", error)
                inspection = replace(
                    inspection,
                    verdict=Verdict.UNKNOWN,
                    reason=Reason.JOURNAL_FAILED,
                    detail=str(error),
                    findings=(),
                )
        self._unwritten.append((inspection, kept))
        if len(self._unwritten) == 1:
            self._on_journal()
        return inspection

    def _write_waiting(self) -> bool:
        """Journal what waits in memory, in sequence; False if it still cannot be written."""
        if not self._unwritten:
            return True
        while self._unwritten:
            inspection, kept = self._unwritten[0]
            try:
                self._journal.settle(inspection, evidence_expected=kept)
            except JournalError:
                return False
            self._unwritten.popleft()
        log.warning("the journal can be written again; no verdict was lost")
        self._on_journal()
        return True
