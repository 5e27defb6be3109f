from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from record_samples import LINE, inspection, tiny_disk

from inspector.errors import FrameError
from inspector.part import ImageKind, Reason
from inspector.records.entries import Evidence, StoredImage
from inspector.records.evidence import (
    LOST_AT_STOP,
    LOST_DISK_FULL,
    LOST_IN_CRASH,
    LOST_IN_QUEUE,
    LOST_QUOTA,
    NICENESS,
    EvidenceWriter,
    Job,
    is_sampled,
    lost_image,
    record_missing_evidence,
)
from inspector.records.images import ImageStore
from inspector.records.journal import Journal

FRAME, HEAT_MAP = ImageKind.FRAME, ImageKind.HEAT_MAP


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with closing(Journal.open(tmp_path / "journal", LINE, segment_bytes=64 << 10)) as journal:
        for sequence in range(1, 11):
            journal.settle(inspection(sequence, Reason.SCORE_ABOVE_LIMIT), evidence_expected=True)
        yield journal


def evidence(journal: Journal) -> dict[int, tuple[StoredImage, ...]]:
    return {entry.sequence: entry.images for _, entry in journal.read() if isinstance(entry, Evidence)}


def job(data: bytes, kind: ImageKind = FRAME) -> Job:
    return kind, "", lambda: (data, "image/png")


def test_pictures_are_stored_and_noted(tmp_path: Path, journal: Journal) -> None:
    images = ImageStore(tmp_path / "images")
    writer = EvidenceWriter(images, journal)
    writer.submit(1, 1000, [job(b"frame"), job(b"map", HEAT_MAP)])
    writer.submit(2, 1000, [])
    assert writer.wait_idle(10)
    assert writer.stop(10) == 0
    found = evidence(journal)
    assert found[2] == ()
    assert [(i.kind, images.get(i.sha256)) for i in found[1]] == [
        (FRAME, (b"frame", "image/png")),
        (HEAT_MAP, (b"map", "image/png")),
    ]
    assert (writer.stored, dict(writer.lost), writer.waiting_bytes) == (2, {}, 0)


def test_the_thread_gives_way_as_those_that_run_models_do(tmp_path: Path, journal: Journal) -> None:
    writer = EvidenceWriter(ImageStore(tmp_path / "images"), journal)
    priorities: list[int] = []

    def ask() -> tuple[bytes, str]:
        priorities.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        return b"x", "image/png"

    mine = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    writer.submit(1, 0, [(FRAME, "", ask)])
    writer.stop(10)
    assert priorities == [min(19, mine + NICENESS)]
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == mine


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        pytest.param(FrameError(Reason.FRAME_INVALID, "torn"), "could not be encoded: FrameError", id="own-error"),
        pytest.param(ValueError("bad"), "could not be encoded: ValueError", id="any-error"),
        pytest.param(MemoryError(), "could not be encoded: MemoryError", id="no-memory"),
    ],
)
def test_a_picture_that_cannot_be_made_costs_only_itself(
    tmp_path: Path, journal: Journal, error: Exception, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> tuple[bytes, str]:
        raise error

    writer = EvidenceWriter(ImageStore(tmp_path / "images"), journal)
    writer.submit(1, 0, [(HEAT_MAP, "", fail), job(b"frame")])
    writer.submit(2, 0, [job(b"next")])
    writer.stop(10)
    found = evidence(journal)
    assert found[1][0] == lost_image(HEAT_MAP, reason)
    assert found[1][1].sha256
    assert found[2][0].sha256
    assert writer.lost == {reason: 1}
    assert any(record.exc_info for record in caplog.records), "the traceback is in the log"


def test_a_full_disk_loses_pictures_and_says_so(
    tmp_path: Path, journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    with tiny_disk(tmp_path / "disk", "64k") as disk, caplog.at_level(logging.ERROR):
        writer = EvidenceWriter(ImageStore(disk), journal)
        for sequence in range(1, 9):
            writer.submit(sequence, 0, [job(os.urandom(100_000))])
        writer.submit(9, 0, [job(b"small")])
        writer.stop(10)
    found = evidence(journal)
    assert [found[n] for n in range(1, 9)] == [(lost_image(FRAME, LOST_DISK_FULL),)] * 8
    assert found[9][0].sha256
    assert writer.lost == {LOST_DISK_FULL: 8}
    assert len(caplog.records) == 4, "the first, second, fourth and eighth"


def test_a_used_up_quota_loses_pictures_and_says_so(tmp_path: Path, journal: Journal) -> None:
    writer = EvidenceWriter(ImageStore(tmp_path / "images", quota_bytes=1000), journal)
    writer.submit(1, 0, [job(b"a" * 900)])
    writer.submit(2, 0, [job(b"b" * 900)])
    writer.stop(10)
    assert evidence(journal)[2] == (lost_image(FRAME, LOST_QUOTA),)


class Gate:
    """A job that says when it runs and waits to be let through."""

    def __init__(self) -> None:
        self.entered, self.opened = threading.Event(), threading.Event()

    def __call__(self) -> tuple[bytes, str]:
        self.entered.set()
        assert self.opened.wait(30)
        return b"gate", "image/png"


def test_what_finds_no_room_is_lost_at_once(tmp_path: Path, journal: Journal) -> None:
    writer = EvidenceWriter(ImageStore(tmp_path / "images"), journal, max_bytes=100_000)
    gate = Gate()
    writer.submit(1, 60_000, [(FRAME, "", gate)])
    assert gate.entered.wait(10)
    writer.submit(2, 60_000, [job(b"two"), job(b"map", HEAT_MAP)])
    assert evidence(journal)[2] == (lost_image(FRAME, LOST_IN_QUEUE), lost_image(HEAT_MAP, LOST_IN_QUEUE))
    writer.submit(3, 10_000, [job(b"three")])
    gate.opened.set()
    assert writer.stop(10) == 0
    assert evidence(journal)[3][0].sha256
    assert writer.lost == {LOST_IN_QUEUE: 2}


def test_many_small_pictures_are_bounded_too(tmp_path: Path, journal: Journal) -> None:
    writer = EvidenceWriter(ImageStore(tmp_path / "images"), journal, max_bytes=20_000)
    gate = Gate()
    writer.submit(1, 0, [(FRAME, "", gate)])
    assert gate.entered.wait(10)
    for sequence in range(2, 11):
        for _ in range(100):
            writer.submit(sequence, 0, [job(b"x")])
    assert writer.waiting_bytes <= 20_000
    gate.opened.set()
    writer.stop(10)


def test_what_is_left_at_the_stop_is_noted_as_lost(tmp_path: Path, journal: Journal) -> None:
    writer = EvidenceWriter(ImageStore(tmp_path / "images"), journal)
    gate = Gate()
    writer.submit(1, 0, [(FRAME, "", gate)])
    writer.submit(2, 0, [job(b"two")])
    assert gate.entered.wait(10)
    opener = threading.Timer(0.3, gate.opened.set)
    opener.start()
    assert writer.stop(0.05) == 1
    opener.join()
    assert evidence(journal)[2] == (lost_image(FRAME, LOST_AT_STOP),)
    writer.submit(3, 0, [job(b"three")])
    assert evidence(journal)[3] == (lost_image(FRAME, LOST_AT_STOP),)
    assert writer.lost == {LOST_AT_STOP: 2}


def test_a_journal_that_fails_does_not_stop_the_writer(tmp_path: Path, journal: Journal) -> None:
    writer = EvidenceWriter(ImageStore(tmp_path / "images"), journal)
    writer.submit(99, 0, [job(b"not settled")])
    writer.submit(1, 0, [job(b"settled")])
    writer.stop(10)
    assert writer.journal_failures == 1
    assert evidence(journal)[1][0].sha256


def test_notes_wait_for_a_verdict_that_the_journal_took_late(tmp_path: Path, journal: Journal) -> None:
    writer = EvidenceWriter(ImageStore(tmp_path / "images"), journal)
    for sequence in (11, 12):
        writer.submit(sequence, 0, [job(b"early")])
    assert writer.wait_idle(10)
    assert writer.journal_failures == 2
    for sequence in (11, 12):
        journal.settle(inspection(sequence), evidence_expected=True)
    writer.submit(1, 0, [job(b"next")])
    writer.stop(10)
    assert writer.journal_failures == 0
    assert set(evidence(journal)) == {1, 11, 12}


def test_notes_that_wait_are_bounded(tmp_path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inspector.records.evidence._MAX_UNNOTED", 3)
    writer = EvidenceWriter(ImageStore(tmp_path / "images"), journal)
    for sequence in range(11, 21):
        writer.submit(sequence, 0, [])
    writer.stop(10)
    assert writer.journal_failures == 10
    assert len(writer._unnoted) == 3


def test_pictures_owed_by_a_process_that_died_are_noted_as_lost(tmp_path: Path, journal: Journal) -> None:
    journal.evidence(3, [lost_image(FRAME, LOST_DISK_FULL)])
    journal.close()
    with closing(Journal.open(tmp_path / "journal", LINE, segment_bytes=64 << 10)) as after:
        assert record_missing_evidence(after) == 9
        found = evidence(after)
        assert found[1] == (lost_image(FRAME, LOST_IN_CRASH),)
        assert found[3] == (lost_image(FRAME, LOST_DISK_FULL),)
    with closing(Journal.open(tmp_path / "journal", LINE, segment_bytes=64 << 10)) as again:
        assert record_missing_evidence(again) == 0


@pytest.mark.parametrize("share", [0.0, 0.01, 0.1, 0.5, 1.0])
def test_the_sample_has_its_share_and_is_always_the_same(share: float) -> None:
    chosen = [n for n in range(1, 100_001) if is_sampled(n, share)]
    assert abs(len(chosen) - share * 100_000) <= 4 * (100_000 * share * (1 - share)) ** 0.5
    assert chosen == [n for n in range(1, 100_001) if is_sampled(n, share)]


def test_a_larger_sample_contains_the_smaller_one() -> None:
    assert all(is_sampled(n, 0.2) for n in range(1, 10_000) if is_sampled(n, 0.1))
