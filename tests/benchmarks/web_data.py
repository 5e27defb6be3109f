"""A quality database as a line leaves it after weeks: 200,000 inspections, 20,000 of them with a picture, labels and people."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np

from inspector.access.identity import Role
from inspector.imaging.archive import heat_map_png
from inspector.likeness import describe_missing, descriptors_of
from inspector.part import Box, Finding, ImageKind, Inspection, Reason
from inspector.records.entries import Entry, Evidence, Settled, StoredImage
from inspector.records.images import ImageStore
from inspector.records.labels import Label
from inspector.records.store import Store
from inspector.records.users import Users
from inspector.web.accounts.accounts import Accounts
from tests.benchmarks.line import LINE
from tests.benchmarks.model import tile

PASSWORD = "a bench knows no secrets"
USERS = tuple(f"user{number}" for number in range(1, 11))
_BATCH, _LABELLED = 1000, 2000
_CLASSES = ("scratch", "dent", "stain", "crack")
_EVERY_S = 3.0
_MAP_PX = 28


def fill(store: Store, images: ImageStore, count: int, pictured: int) -> None:
    """`count` inspections of station1, the last a minute ago, `pictured` of them with pictures; labels, users, descriptions.

    One in twenty-five is a reject, one in a hundred is not judged; a lot has 3,000 parts.
    """
    draw = random.Random(7)
    begin = datetime.now(UTC) - timedelta(minutes=1, seconds=_EVERY_S * count)
    every = max(1, count // pictured)
    shown: list[int] = []
    for first in range(1, count + 1, _BATCH):
        entries: list[Entry] = []
        for number in range(first, min(first + _BATCH, count + 1)):
            seen = _inspection(number, begin + timedelta(seconds=_EVERY_S * number), draw)
            has_picture = number % every == 0
            entries.append(Settled(seen, evidence_expected=has_picture))
            if has_picture:
                shown.append(number)
                entries.append(Evidence(number, _pictures(images, seen), seen.receive_time))
        store.apply(LINE, entries)
    store.add_labels(_labels(shown, draw))
    add_users(store)
    while describe_missing(descriptors_of(store.database), images, 500):
        pass


def add_users(store: Store) -> None:
    """`USERS`, all engineers."""
    accounts = Accounts(Users(store.database), 12)
    for name in USERS:
        accounts.add(name, Role.ENGINEER, PASSWORD)


def _inspection(number: int, at: datetime, draw: random.Random) -> Inspection:
    chance = draw.random()
    reason = Reason.WITHIN_LIMITS
    if chance < 0.04:
        reason = Reason.SCORE_ABOVE_LIMIT
    elif chance < 0.05:
        reason = Reason.IMAGE_BLURRED
    rejected, judged = reason is Reason.SCORE_ABOVE_LIMIT, reason is not Reason.IMAGE_BLURRED
    finding = Finding(draw.choice(_CLASSES), Box(60, 80, 40, 24), 700.0, 5.0)
    return Inspection(
        line=LINE,
        station="station1",
        camera="cam1",
        sequence=number,
        station_sequence=number,
        trigger=number,
        part_id=f"L{number // 3000:03d}-{number:07d}",
        verdict=reason.verdict,
        reason=reason,
        detail="",
        score=draw.uniform(4.26, 9) if rejected else draw.uniform(1, 4.25) if judged else None,
        limit=4.25 if judged else None,
        findings=(finding,) if rejected else (),
        recipe="tiles",
        bundle="bench-lite0@0123456789ab",
        capture_time=at - timedelta(milliseconds=2),
        receive_time=at,
        decide_time=at + timedelta(milliseconds=9),
        latency_ms=9.0,
    )


def _pictures(images: ImageStore, seen: Inspection) -> tuple[StoredImage, ...]:
    pixels = tile(seen.sequence % 64).copy()
    # No two are the same content.
    pixels[:4] = np.random.default_rng(seen.sequence).integers(0, 256, (4, *pixels.shape[1:]), np.uint8)
    data = cv2.imencode(".jpg", pixels[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
    found = [images.put(data, ImageKind.FRAME, "image/jpeg")]
    if seen.findings:
        anomaly = np.random.default_rng(seen.sequence).uniform(1, 3, (_MAP_PX, _MAP_PX)).astype(np.float32)
        anomaly[10:13, 8:13] = 6.0
        side = pixels.shape[0]
        data = heat_map_png(anomaly, 4.25, Box(0, 0, side, side), (side, side))
        found.append(images.put(data, ImageKind.HEAT_MAP, "image/png"))
    return tuple(found)


def _labels(shown: Sequence[int], draw: random.Random) -> list[Label]:
    """Every tenth picture or so is labelled, a quarter of those by two people."""
    now = datetime.now(UTC)
    labels = []
    for number in draw.sample(shown, min(_LABELLED, len(shown))):
        said = draw.choice(("good", *_CLASSES))
        labels.append(Label(LINE, number, said, "user1", now))
        if draw.random() < 0.25:
            other = said if draw.random() < 0.9 else "good"
            labels.append(Label(LINE, number, other, "user2", now))
    return labels


def image_folder(folder: Path) -> Path:
    """Where a service on a line file in `folder` keeps its pictures."""
    return folder / "var" / "images"
