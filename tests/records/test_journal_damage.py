"""Bytes of a journal are cut off, flipped and overwritten: everything else must come back, and the damage must be told."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from record_samples import LINE, admission, inspection, picture

from inspector.records.codec import PREFIX_BYTES
from inspector.records.journal import Journal
from inspector.records.segment import Damage, Record, scan

FILE = "journal-0000000001.seg"
SEGMENT = 64 << 10


def write(folder: Path, verdicts: int) -> None:
    with closing(Journal.open(folder, LINE, segment_bytes=SEGMENT)) as journal:
        for sequence in range(1, verdicts + 1):
            journal.admit(admission(sequence))
            journal.settle(inspection(sequence, detail="x" * (sequence * 37 % 100)), evidence_expected=True)
            journal.evidence(sequence, [picture(sequence)])


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("intact")
    write(folder, 20)
    return (folder / FILE).read_bytes()


@pytest.fixture(scope="module")
def records(intact: bytes) -> list[Record]:
    found = list(scan(intact, FILE))
    assert len(found) == 61
    assert all(isinstance(item, Record) for item in found)
    return [item for item in found if isinstance(item, Record)]


def payload_end(data: bytes, record: Record) -> int:
    return record.offset + PREFIX_BYTES + int.from_bytes(data[record.offset + 4 : record.offset + 8], "little")


@contextmanager
def journal_of(data: bytes) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="inspector-damage-"))
    try:
        (folder / FILE).write_bytes(data)
        yield folder
    finally:
        shutil.rmtree(folder)


@given(data=st.data())
@settings(deadline=None)
def test_a_cut_loses_only_what_was_cut(intact: bytes, records: list[Record], data: st.DataObject) -> None:
    size = data.draw(st.integers(0, records[-1].end))
    cut = intact[:size]
    found = [item for item in scan(cut, FILE) if isinstance(item, Record)]
    damage = [item for item in scan(cut, FILE) if isinstance(item, Damage)]
    whole = [r for r in records if payload_end(intact, r) <= size]
    assert found == whole
    end = whole[-1].end if whole else 0
    if cut[end:].strip(b"\0"):
        assert [(d.offset, d.offset + d.size_bytes <= size) for d in damage] == [(end, True)]
    else:
        assert damage == []


@given(data=st.data())
@settings(deadline=None)
def test_a_burst_of_wrong_bytes_loses_only_the_entries_it_hits(
    intact: bytes, records: list[Record], data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, records[-1].end - 1), label="start")
    mask = data.draw(st.binary(min_size=1, max_size=1500), label="mask")
    harmed = bytearray(intact)
    for index, flip in enumerate(mask):
        harmed[start + index] ^= flip
    found = [item for item in scan(bytes(harmed), FILE) if isinstance(item, Record)]
    damage = [item for item in scan(bytes(harmed), FILE) if isinstance(item, Damage)]
    hit = [r for r in records if harmed[r.offset : payload_end(intact, r)] != intact[r.offset : payload_end(intact, r)]]
    assert found == [r for r in records if r not in hit]
    for record in hit:
        assert any(d.offset <= record.offset < d.offset + d.size_bytes for d in damage), "damage was passed over"
    followed = [d.entries_lost for d in damage if d.entries_lost is not None]
    assert sum(followed) <= len(hit)


@given(st.binary(max_size=4096))
def test_scanning_any_bytes_ends(data: bytes) -> None:
    for item in scan(data, FILE):
        assert isinstance(item, Damage)


@given(data=st.data())
@settings(deadline=None, max_examples=30)
def test_a_damaged_journal_opens_goes_on_and_tells(intact: bytes, records: list[Record], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(records) - 1), label="entry")
    harmed = bytearray(intact)
    harmed[data.draw(st.integers(records[index].offset, payload_end(intact, records[index]) - 1))] ^= 0xFF
    with journal_of(bytes(harmed)) as folder:
        with closing(Journal.open(folder, LINE, segment_bytes=SEGMENT)) as journal:
            assert len(journal.damage) == 1
            assert journal.damage[0].offset == records[index].offset
            following = journal.next_sequence
            assert following in (20, 21)
            journal.settle(inspection(following, station_sequence=journal.state.stations["top"].next_station_sequence))
            assert journal.end.segment == 2, "the damaged segment is left as it is"
            sequences = [i.sequence for i in journal.replay(0)]
            assert sequences == sorted(set(sequences))
            assert len(sequences) >= 20
            assert len(journal.damage) == 1, "the same damage is told once"
        with closing(Journal.open(folder, LINE, segment_bytes=SEGMENT)) as journal:
            assert journal.next_sequence == following + 1


def test_zeros_in_the_middle_are_told(intact: bytes, records: list[Record]) -> None:
    """What a machine that lost power leaves: a page that never reached the disk, and later ones that did."""
    harmed = bytearray(intact)
    first, last = records[10], records[19]
    harmed[first.offset : last.end] = bytes(last.end - first.offset)
    damage = [item for item in scan(bytes(harmed), FILE) if isinstance(item, Damage)]
    assert damage == [Damage(FILE, first.offset, last.end - first.offset, 10, "damaged entries")]


def test_a_missing_segment_is_told(tmp_path: Path) -> None:
    with closing(Journal.open(tmp_path, LINE, segment_bytes=8 << 10)) as journal:
        for sequence in range(1, 101):
            journal.settle(inspection(sequence))
        assert journal.end.segment > 3
    (tmp_path / "journal-0000000002.seg").unlink()
    with closing(Journal.open(tmp_path, LINE, segment_bytes=8 << 10)) as journal:
        assert journal.next_sequence == 101
        assert [d.what for d in journal.damage] == ["entries missing before this segment", "1 segment files missing"]
        assert journal.damage[0].entries_lost


def test_a_segment_with_a_damaged_header_does_not_hold_up_the_others(tmp_path: Path) -> None:
    with closing(Journal.open(tmp_path, LINE, segment_bytes=8 << 10)) as journal:
        for sequence in range(1, 6001):
            journal.settle(inspection(sequence))
    with (tmp_path / "journal-0000000002.seg").open("r+b") as file:
        file.write(b"????")
    with closing(Journal.open(tmp_path, LINE, segment_bytes=8 << 10)) as journal:
        assert journal.next_sequence == 6001
        assert [i.sequence for i in journal.replay(0)] == list(range(1, 6001))
        assert [str(d) for d in journal.damage] == [
            f"journal-0000000002.seg: damaged entries at byte 0, {journal.damage[0].size_bytes} bytes"
        ]
        assert journal.discard_before(journal.end) > 2
        assert not (tmp_path / "journal-0000000002.seg").exists()


def test_a_segment_that_was_never_begun_is_passed_over(tmp_path: Path) -> None:
    """The process died between giving the prepared segment its name and writing its first entry."""
    write(tmp_path, 3)
    (tmp_path / "journal-0000000002.seg").write_bytes(bytes(SEGMENT))
    with closing(Journal.open(tmp_path, LINE, segment_bytes=SEGMENT)) as journal:
        assert journal.damage == []
        journal.settle(inspection(4))
        assert [i.sequence for i in journal.replay(0)] == [1, 2, 3, 4]
    with closing(Journal.open(tmp_path, LINE, segment_bytes=SEGMENT)) as journal:
        assert journal.next_sequence == 5
        assert journal.damage == []


def test_damage_is_told_in_its_place(intact: bytes, records: list[Record]) -> None:
    harmed = bytearray(intact)
    harmed[records[5].offset + 30] ^= 1
    items = list(scan(bytes(harmed), FILE))
    assert isinstance(items[5], Damage)
    assert items[5].entries_lost == 1
    assert len(items) == 61
