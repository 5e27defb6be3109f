"""The audit log: every entry is kept, and no change, removal or insertion goes unseen."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rpc_line import wait_for

from inspector.errors import AuditError
from inspector.records.audit import GENESIS, MAX_ENTRY_BYTES, AuditLog, Head, parse_head
from inspector.records.auditing import MAX_REFUSED_KINDS, AuditWriter


@pytest.fixture
def log(tmp_path: Path) -> AuditLog:
    made = AuditLog(tmp_path / "audit.jsonl")
    for number in range(1, 6):
        made.append("anna", "promoted", f"tiles-{number}", {"reason": "better", "number": number})
    return made


def test_entries_are_read_as_they_were_written(log: AuditLog) -> None:
    entries = list(log.entries())
    assert [(e.number, e.actor, e.action, e.subject) for e in entries] == [
        (number, "anna", "promoted", f"tiles-{number}") for number in range(1, 6)
    ]
    assert entries[0].previous == GENESIS
    assert log.verify() == Head(5, entries[-1].hash)


def test_an_empty_log_is_whole(tmp_path: Path) -> None:
    assert AuditLog(tmp_path / "none").verify() == Head(0, GENESIS)
    (tmp_path / "empty").touch()
    assert AuditLog(tmp_path / "empty").verify() == Head(0, GENESIS)


def edited(change: Callable[[dict[str, object]], None]) -> Callable[[list[bytes]], list[bytes]]:
    def edit(lines: list[bytes]) -> list[bytes]:
        entry = json.loads(lines[2])
        change(entry)
        return [*lines[:2], json.dumps(entry, separators=(",", ":")).encode() + b"\n", *lines[3:]]

    return edit


TAMPERINGS: list[tuple[str, Callable[[list[bytes]], list[bytes]], str]] = [
    ("another actor", edited(lambda e: e.update(actor="bert")), "entry 3 .* was changed"),
    ("another time", edited(lambda e: e.update(time="2020-01-01T00:00:00.000000+00:00")), "entry 3 .* was changed"),
    ("another detail", edited(lambda e: e["details"].update(reason="x")), "entry 3 .* was changed"),  # type: ignore[attr-defined]
    ("an additional key", edited(lambda e: e.update(more=1)), "no entry after entry 2"),
    ("a removed entry", lambda lines: lines[:2] + lines[3:], "entry 4 does not follow"),
    ("the first entry removed", lambda lines: lines[1:], "broken at its beginning"),
    ("two exchanged", lambda lines: [lines[0], lines[2], lines[1], *lines[3:]], "does not follow"),
    ("one repeated", lambda lines: [lines[0], *lines], "does not follow"),
    ("a line that is no JSON", lambda lines: [lines[0], b"hello\n", *lines[1:]], "no entry after entry 1"),
    ("an empty line", lambda lines: [lines[0], b"\n", *lines[1:]], "no entry after entry 1"),
    ("an endless line", lambda lines: [lines[0], b"x" * (2 * MAX_ENTRY_BYTES)], "unfinished line after entry 1"),
    ("nested JSON", lambda lines: [b"[" * 60_000 + b"\n"], "no entry at its beginning"),
    ("half of the last line", lambda lines: [*lines[:4], lines[4][:20]], "unfinished line after entry 4"),
]


@pytest.mark.parametrize(("tamper", "message"), [pytest.param(t, m, id=name) for name, t, m in TAMPERINGS])
def test_every_tampering_is_seen_and_named(
    log: AuditLog, tamper: Callable[[list[bytes]], list[bytes]], message: str
) -> None:
    log.path.write_bytes(b"".join(tamper(log.path.read_bytes().splitlines(keepends=True))))
    with pytest.raises(AuditError, match=message):
        log.verify()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_any_changed_byte_is_seen(log: AuditLog, data: st.DataObject) -> None:
    whole = log.path.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != whole[place]))
    log.path.write_bytes(whole[:place] + bytes([byte]) + whole[place + 1 :])
    try:
        with pytest.raises(AuditError):
            log.verify()
    finally:
        log.path.write_bytes(whole)


def test_a_log_cut_off_or_written_anew_is_seen_against_a_noted_head(log: AuditLog) -> None:
    noted = log.verify()
    log.append("bert", "rolled back", "tiles-5")
    assert log.verify(parse_head(str(noted))).number == 6
    lines = log.path.read_bytes().splitlines(keepends=True)
    log.path.write_bytes(b"".join(lines[:3]))
    assert log.verify().number == 3
    with pytest.raises(AuditError, match="no longer holds entry 5"):
        log.verify(noted)
    log.path.unlink()
    for number in range(6):
        log.append("mallory", "promoted", str(number))
    with pytest.raises(AuditError, match="no longer holds entry 5"):
        log.verify(noted)


def test_a_torn_last_line_is_taken_off_and_told(log: AuditLog) -> None:
    whole = log.path.read_bytes()
    log.path.write_bytes(whole + b'{"number":6,"time"')
    entry = log.append("anna", "promoted", "tiles-6")
    assert entry.number == 6
    assert entry.details["torn_bytes_before"] == 18
    assert log.verify().number == 6


def test_nothing_is_appended_to_a_log_whose_end_was_changed_and_it_can_be_set_aside(log: AuditLog) -> None:
    log.path.write_bytes(log.path.read_bytes().replace(b"tiles-5", b"tiles-9"))
    with pytest.raises(AuditError, match="was changed") as broken:
        log.append("anna", "promoted", "tiles-6")
    aside = log.set_aside(broken.value)
    assert aside is not None
    assert b"tiles-9" in aside.read_bytes()
    (first,) = log.entries()
    assert (first.action, first.subject) == ("began a new audit log", aside.name)


def _append_many(path: Path, actor: str) -> None:
    for number in range(25):
        AuditLog(path).append(actor, "did", str(number))


def test_several_processes_append_one_chain(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_append_many, args=(path, f"p{n}")) for n in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    assert AuditLog(path).verify().number == 75


def _fill_disk(path: Path) -> None:
    size = path.stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 40, resource.RLIM_INFINITY))
    import signal

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        AuditLog(path).append("anna", "promoted", "tiles-6")
    except AuditError as error:
        os._exit(7 if "cannot be written" in str(error) else 8)
    os._exit(0)


def test_a_full_disk_leaves_the_log_as_it_was(log: AuditLog) -> None:
    before = log.path.read_bytes()
    child = multiprocessing.get_context("spawn").Process(target=_fill_disk, args=(log.path,))
    child.start()
    child.join(60)
    assert child.exitcode == 7
    assert log.path.read_bytes() == before
    assert log.append("anna", "promoted", "tiles-6").number == 6


@pytest.mark.parametrize(
    ("details", "message"),
    [
        pytest.param({"score": float("nan")}, "not plain JSON", id="not a number"),
        pytest.param({"what": object()}, "not plain JSON", id="no JSON value"),
        pytest.param({"text": [["x" * 512] * 64] * 4}, "too large", id="too large"),
    ],
)
def test_what_cannot_be_an_entry_is_refused_and_leaves_no_trace(
    log: AuditLog, details: dict[str, object], message: str
) -> None:
    before = log.path.read_bytes()
    with pytest.raises(AuditError, match=message):
        log.append("anna", "promoted", "x", details)
    assert log.path.read_bytes() == before


@given(st.text(max_size=100))
def test_any_text_is_a_head_or_refused(text: str) -> None:
    with pytest.raises(AuditError):
        parse_head(text)


class TestWriter:
    """Entries from a service."""

    def test_notes_are_written_in_order(self, tmp_path: Path) -> None:
        log = AuditLog(tmp_path / "audit.jsonl")
        writer = AuditWriter(log)
        for number in range(50):
            writer.note("did", str(number))
        writer.close(20)
        assert [entry.subject for entry in log.entries()] == [str(number) for number in range(50)]

    def test_a_flood_of_refusals_becomes_two_entries(self, tmp_path: Path) -> None:
        log = AuditLog(tmp_path / "audit.jsonl")
        writer = AuditWriter(log)
        for _ in range(10_000):
            writer.refuse("10.0.0.9", "stream", "a/cam1", "no certificate")
        writer.close(20)
        first, again = log.entries()
        assert (first.actor, first.action, first.subject) == ("10.0.0.9", "refused stream", "a/cam1")
        assert (again.action, again.details) == ("refused stream again", {"times": 9_999})

    def test_a_flood_from_many_addresses_is_bounded_and_counted(self, tmp_path: Path) -> None:
        log = AuditLog(tmp_path / "audit.jsonl")
        writer = AuditWriter(log)
        threads = [
            threading.Thread(target=lambda n=n: [writer.refuse(f"{n}.{m}", "stream", "", "no") for m in range(500)])
            for n in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        writer.close(20)
        entries = list(log.entries())
        assert len(entries) == MAX_REFUSED_KINDS + 1
        assert entries[-1].details == {"count": 2000 - MAX_REFUSED_KINDS}

    def test_entries_wait_while_the_log_cannot_be_written(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("inspector.records.auditing.RETRY_S", 0.01)
        folder = tmp_path / "away"
        log = AuditLog(folder / "audit.jsonl")
        writer = AuditWriter(log)
        writer.note("did", "1")
        writer.note("did", "2")
        folder.mkdir()
        wait_for(lambda: log.path.exists() and log.verify().number == 2, "both entries")
        writer.close()
