"""After the signal: what is kept of a part beside its verdict. Never blocks the way to the next one."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from inspector.admission import Look
from inspector.errors import JournalError
from inspector.imaging.archive import archive, heat_map_png
from inspector.imaging.lent import claim, own
from inspector.part import Box, Frame, ImageKind, Inspection, Verdict
from inspector.records.evidence import EvidenceWriter, Job
from inspector.records.journal import Journal

log = logging.getLogger(__name__)


class Keeping:
    """Hands pictures and late scores to those who keep them."""

    def __init__(self, journal: Journal, evidence: EvidenceWriter) -> None:
        self._journal = journal
        self._evidence = evidence

    def keep(self, inspection: Inspection, frames: Sequence[tuple[Look, Frame]]) -> None:
        """The frames that a part was judged by, and the heat map of the view that rejects it."""
        jobs: list[Job] = []
        size_bytes = 0
        for look, frame in frames:
            size_bytes += len(frame.data)
            jobs.append((ImageKind.FRAME, look.view.name, partial(_archive, frame)))
            anomaly_map = look.scores.anomaly_map if look.scores is not None else None
            rejects = look.judgement is not None and look.judgement.verdict is Verdict.REJECT
            if inspection.verdict is Verdict.REJECT and rejects and anomaly_map is not None and look.region is not None:
                size_bytes += anomaly_map.nbytes
                about = (anomaly_map, look.view.limits.region, look.region, look.frame_size)
                jobs.append((ImageKind.HEAT_MAP, look.view.name, partial(_heat_map, *about)))
        self._evidence.submit(inspection.sequence, size_bytes, jobs)

    def keep_late_view(self, inspection: Inspection, place: int, view: str, frame: Frame) -> None:
        """A frame of the view at `place` that came after the verdict."""
        frame = claim(frame)
        jobs: list[Job] = [(ImageKind.FRAME, view, partial(_archive, frame))]
        self._evidence.submit(inspection.sequence, len(frame.data), jobs, late_view=place + 1)

    def note_late_score(self, inspection: Inspection, score: float) -> None:
        """A score that came after the verdict."""
        try:
            self._journal.late_score(inspection.sequence, score)
        except JournalError as error:
            log.debug("late score %.4g of trigger %d not journalled: %s", score, inspection.trigger, error)


def _archive(frame: Frame) -> tuple[bytes, str]:
    return archive(own(frame))


def _heat_map(
    anomaly_map: NDArray[np.float32], limit: float, region: Box, frame_size: tuple[int, int]
) -> tuple[bytes, str]:
    return heat_map_png(anomaly_map, limit, region, frame_size), "image/png"
