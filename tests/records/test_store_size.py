"""A week of passed parts at one a second must cost under 200 MiB of SQLite."""

from __future__ import annotations

import random
from contextlib import closing
from datetime import timedelta
from pathlib import Path

from record_samples import LINE, inspection

from inspector.records.entries import Settled
from inspector.records.store import Store

WEEK = 604_800
LIMIT_BYTES = 200 << 20


def test_a_week_of_passed_parts_stays_small(tmp_path: Path) -> None:
    rows = 20_000
    chance = random.Random(7)
    with closing(Store(f"sqlite:///{tmp_path / 'quality.db'}")) as store:
        store.upgrade()
        empty = store.stats().size_bytes
        for first in range(1, rows, 500):
            batch = []
            for n in range(first, first + 500):
                # Serial numbers in no order: what an index takes worst.
                part = f"P{chance.randrange(10**11):011d}"
                late = timedelta(microseconds=chance.randrange(100_000))
                verdict = inspection(n, part_id=part, score=chance.random() / 2)
                batch.append(
                    Settled(inspection(n, part_id=part, score=verdict.score, receive_time=verdict.receive_time + late))
                )
            store.apply(LINE, batch)
        per_row = (store.stats().size_bytes - empty) / rows
    # Numbers grow to three bytes in a week and pages split: half as much again is left for it.
    assert per_row * WEEK * 1.5 < LIMIT_BYTES, f"{per_row:.0f} bytes per row"
