"""Inspections and small file systems for the tests of this room."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from requires import require

from inspector.part import Box, Finding, ImageKind, Inspection, Reason
from inspector.records.entries import Admission, StoredImage
from inspector.records.labels import Label

START = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)
LINE = "tiles"


def inspection(sequence: int, reason: Reason = Reason.WITHIN_LIMITS, **changes: Any) -> Inspection:
    """Verdict number `sequence`, one second after the one before; rejects have a finding of class "crack"."""
    at = START + timedelta(seconds=sequence)
    finding = Finding("crack", Box(4, 5, 30, 20), 412.5, 0.75)
    judged = reason in (Reason.WITHIN_LIMITS, Reason.SCORE_ABOVE_LIMIT)
    values = Inspection(
        line=LINE,
        station="top",
        camera="cam-1",
        sequence=sequence,
        station_sequence=sequence,
        trigger=sequence,
        part_id=f"P{sequence:06d}",
        verdict=reason.verdict,
        reason=reason,
        detail="" if judged else f"because of {reason.name}",
        score=0.25 + (0.5 if reason is Reason.SCORE_ABOVE_LIMIT else 0.0) if judged else None,
        limit=0.5 if judged else None,
        findings=(finding,) if reason is Reason.SCORE_ABOVE_LIMIT else (),
        recipe="tiles-a",
        bundle="tiles-7@0123456789ab",
        capture_time=at - timedelta(milliseconds=3),
        receive_time=at,
        decide_time=at + timedelta(microseconds=4321),
        latency_ms=4.321,
    )
    return replace(values, **changes)


def label(sequence: int, what: str = "good", author: str = "anna", *, minute: int = 0, **changes: Any) -> Label:
    """What an author says of an inspection, some minutes after the line began."""
    return replace(Label(LINE, sequence, what, author, START + timedelta(minutes=minute)), **changes)


def admission(trigger: int, station: str = "top") -> Admission:
    return Admission(station, "cam-1", trigger, f"P{trigger:06d}", START + timedelta(seconds=trigger))


def picture(number: int, kind: ImageKind = ImageKind.FRAME) -> StoredImage:
    return StoredImage(kind, f"{number:064x}", "image/png", 1000 + number)


@contextlib.contextmanager
def tiny_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of `size` ("1m") of its own; skips the test where it cannot be mounted."""
    require(os.geteuid() == 0, "only root can mount a small file system")
    folder.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=False, capture_output=True
    )
    require(mounted.returncode == 0, f"no small file system can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
