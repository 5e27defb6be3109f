"""A quality database and an image store with labelled parts, as a line and its people leave them."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from training_pictures import part

from inspector.part import Box, Finding, ImageKind, Inspection, Reason
from inspector.records.entries import Evidence, Settled, StoredImage
from inspector.records.images import ImageStore
from inspector.records.labels import Area, Label, Mask
from inspector.records.store import Store

LINE = "l1"
START = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)


@dataclass(frozen=True)
class LabelledLine:
    """What is written to; `add` and `say` are one part and one label."""

    store: Store
    images: ImageStore
    folder: Path

    def add(self, number: int, pixels: NDArray[np.uint8] | None, part_id: str = "", **changes: object) -> str:
        """An inspection that was rejected, with its picture; returns the picture's SHA-256, empty without one."""
        at = START + timedelta(seconds=number)
        finding = Finding("anomaly", Box(1, 1, 5, 5), 20.0, 0.9)
        inspection = Inspection(
            line=LINE, station="s1", camera="c1", sequence=number, station_sequence=number, trigger=number,
            part_id=part_id, verdict=Reason.SCORE_ABOVE_LIMIT.verdict, reason=Reason.SCORE_ABOVE_LIMIT, detail="",
            score=0.9, limit=0.5, findings=(finding,), recipe="r1", bundle="tiles-1@0123456789ab", capture_time=None,
            receive_time=at, decide_time=at, latency_ms=3.0,
        )  # fmt: skip
        self.store.apply(LINE, [Settled(replace(inspection, **changes))])  # type: ignore[arg-type]
        if pixels is None:
            return ""
        kept = self.images.put(png(pixels), ImageKind.FRAME, "image/png")
        self.store.apply(LINE, [Evidence(number, (kept,), at)])
        return kept.sha256

    def lose(self, number: int, reason: str) -> None:
        """The picture of an inspection was lost."""
        self.store.apply(LINE, [Evidence(number, (StoredImage(ImageKind.FRAME, "", "", 0, reason),), START)])

    def say(self, number: int, what: str, author: str = "anna", areas: tuple[Area, ...] = (), minute: int = 0) -> None:
        """A label."""
        time = START + timedelta(days=1, minutes=minute)
        self.store.add_labels([Label(LINE, number, what, author, time, areas)])

    def mask(self, pixels: NDArray[np.uint8]) -> Mask:
        """A mask in the image store."""
        data = png(pixels)
        return Mask(self.images.keep(data, "image/png"), len(data))


def png(pixels: NDArray[np.uint8]) -> bytes:
    """A PNG file of pixels."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def fill(line: LabelledLine, good: int = 20, defective: int = 6) -> None:
    """Different parts, good first, labelled by anna; a blot is on each defective one."""
    for number in range(1, good + defective + 1):
        bad = number > good
        line.add(number, part(number, defect=bad), f"L{number % 3}-{number:04d}")
        line.say(number, "blot" if bad else "good")
