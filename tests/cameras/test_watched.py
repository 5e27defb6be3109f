"""A folder that something writes into: whole files only, in order, never the same twice, whatever happens to them."""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from toys import toy_png

from inspector.cameras.sources.shown_files import Look, ShownFiles
from inspector.cameras.sources.source import Lost, Taken
from inspector.cameras.sources.watched import WatchedFolder
from inspector.errors import SourceError

_VALUES = itertools.count()


def picture() -> bytes:
    """A PNG file unlike all others."""
    number = next(_VALUES)
    return toy_png(number % 256, 8 + number // 256)


class Share:
    """A folder, a clock that only sleeping moves, and what happens at which second."""

    def __init__(self, root: Path) -> None:
        self.folder, self.memory = root / "share", root / "state" / "shown.jsonl"
        self.folder.mkdir()
        self.now_s = 0.0
        self.locked: set[str] = set()
        self._script: list[tuple[float, Callable[[], object]]] = []

    def at(self, second: float, act: Callable[[], object]) -> None:
        self._script.append((second, act))
        self._script.sort(key=lambda step: step[0])

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        while self._script and self._script[0][0] <= self.now_s:
            self._script.pop(0)[1]()

    def read(self, path: Path) -> bytes:
        if path.name in self.locked:
            raise PermissionError(13, "Permission denied", str(path))
        return path.read_bytes()

    def write(self, name: str, data: bytes | None = None) -> None:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(picture() if data is None else data)

    def put(self, name: str) -> None:
        """Whole at once, as by a rename."""
        (self.folder / "passing").write_bytes(picture())
        (self.folder / "passing").rename(self.folder / name)

    def append(self, name: str, data: bytes) -> None:
        with (self.folder / name).open("ab") as file:
            file.write(data)

    def rename(self, old: str, new: str) -> None:
        (self.folder / old).rename(self.folder / new)

    def remove(self, name: str) -> None:
        (self.folder / name).unlink()

    def source(self, **options: object) -> WatchedFolder:
        about = {"clock": lambda: self.now_s, "sleep": self.sleep, "read": self.read, **options}
        return WatchedFolder(self.folder, self.memory, **about)  # type: ignore[arg-type]

    def watch(self, seconds: float = 20.0, **options: object) -> list[str]:
        """What is shown, as the file's name, or lost, as "-name: why", until so many seconds have passed."""
        source, until_s = self.source(**options), self.now_s + seconds
        source.open()
        told = []
        for grab in source.grabs():
            if isinstance(grab, Taken):
                told.append(str(Path(grab.origin).relative_to(self.folder)))
            elif isinstance(grab, Lost):
                assert grab.count == 1
                told.append(f"-{grab.origin}: {grab.why}")
            elif self.now_s > until_s:
                break
        source.close()
        return told


@pytest.fixture
def share(tmp_path: Path) -> Share:
    return Share(tmp_path)


HALF = picture()[:40]


def _slowly(share: Share) -> None:
    data = picture()
    share.at(1, lambda: share.write("1.png", data[:20]))
    share.at(1.2, lambda: share.put("2.png"))
    for step in range(1, 8):
        share.at(1 + step / 2, lambda step=step: share.append("1.png", data[20 * step : 20 * (step + 1)]))
    share.at(5, lambda: share.append("1.png", data[160:]))


def _grows_for_long(share: Share) -> None:
    data = picture()
    share.at(0, lambda: share.write("1.png", data[:10]))
    share.at(0, lambda: share.put("2.png"))
    for step in range(40):
        share.at(step / 2, lambda: share.append("1.png", b"x"))
    share.at(20, lambda: share.append("1.png", data[10:]))
    share.at(25, lambda: share.put("3.png"))


def _renamed_while_written(share: Share) -> None:
    data = picture()
    share.at(0, lambda: share.write("tmp.png", data[:30]))
    share.at(0.45, lambda: share.append("tmp.png", data[30:]))
    share.at(0.5, lambda: share.rename("tmp.png", "1.png"))


def _locked_for_a_while(share: Share) -> None:
    share.locked.add("1.png")
    share.at(0, lambda: (share.put("1.png"), share.put("2.png")))
    share.at(3, share.locked.clear)


def _oddities(share: Share) -> None:
    (share.folder / "folder.png").mkdir()
    os.mkfifo(share.folder / "pipe.png")
    (share.folder / "link.png").symlink_to("/dev/zero")
    share.write(".hidden.png")
    share.write("notes.txt", b"")
    share.write("1.png.part")
    share.at(1, lambda: share.put("1.png"))


CASES: list[tuple[str, Callable[[Share], object], list[str]]] = [
    ("nothing comes", lambda s: None, []),
    (
        "what was there, in natural order",
        lambda s: [s.put(n) for n in ("10.png", "2.png", "1.png")],
        ["1.png", "2.png", "10.png"],
    ),
    ("one by one", lambda s: [s.at(n, lambda n=n: s.put(f"{n}.png")) for n in (1, 2, 3)], ["1.png", "2.png", "3.png"]),
    ("in folders for each day", lambda s: [s.write(n) for n in ("b/1.png", "a/2.png")], ["a/2.png", "b/1.png"]),
    ("written slowly: those behind it wait", _slowly, ["1.png", "2.png"]),
    ("left half written: sent as it is, for the service to judge", lambda s: s.write("1.png", HALF), ["1.png"]),
    (
        "written for longer than the patience, and whole in the end",
        _grows_for_long,
        [
            "-1.png: 1.png is still being written after 10 s: its part is lost, and those after it go on",
            "2.png",
            "3.png",
        ],
    ),
    (
        "empty for good",
        lambda s: (s.write("1.png", b""), s.put("2.png")),
        ["-1.png: 1.png is empty after 10 s: its part is lost, and those after it go on", "2.png"],
    ),
    ("locked for a while", _locked_for_a_while, ["1.png", "2.png"]),
    (
        "locked for good",
        lambda s: (s.locked.add("1.png"), s.put("1.png"), s.put("2.png")),
        [
            "-1.png: 1.png cannot be read (Permission denied) after 10 s: its part is lost, and those after it go on",
            "2.png",
        ],
    ),
    (
        "vanished while it was written",
        lambda s: (s.write("1.png", HALF), s.at(0.5, lambda: s.remove("1.png")), s.at(1, lambda: s.put("2.png"))),
        [
            "-1.png: 1.png vanished before it could be read: whoever takes pictures away must wait for them to be shown",
            "2.png",
        ],
    ),
    ("written under a passing name and renamed", _renamed_while_written, ["1.png"]),
    (
        "renamed after it was shown",
        lambda s: (s.put("1.png"), s.at(2, lambda: s.rename("1.png", "1-done.png"))),
        ["1.png"],
    ),
    (
        "touched after it was shown",
        lambda s: (s.put("1.png"), s.at(2, lambda: os.utime(s.folder / "1.png"))),
        ["1.png"],
    ),
    (
        "moved away after it was shown",
        lambda s: (s.put("1.png"), s.at(2, lambda: s.remove("1.png")), s.at(3, lambda: s.put("2.png"))),
        ["1.png", "2.png"],
    ),
    (
        "overwritten by the next part, again and again",
        lambda s: [s.at(n, lambda: s.put("latest.png")) for n in (1, 3, 5)],
        ["latest.png"] * 3,
    ),
    ("what is no picture file", _oddities, ["1.png"]),
]


@pytest.mark.parametrize(("why", "script", "expected"), CASES, ids=[case[0] for case in CASES])
def test_each_whole_file_is_shown_once(
    share: Share, why: str, script: Callable[[Share], object], expected: list[str]
) -> None:
    script(share)
    assert share.watch(30) == expected
    assert share.watch(30) == [], "nor is anything shown again after a restart"


def test_by_the_time_they_were_written(share: Share) -> None:
    for name in ("b.png", "a.png", "c.png"):
        share.put(name)
    for number, name in enumerate(("c.png", "b.png", "a.png")):
        os.utime(share.folder / name, (1000 + number, 1000 + number))
    assert share.watch(order="time") == ["c.png", "b.png", "a.png"]


def test_what_was_there_may_be_left_out(share: Share) -> None:
    share.put("old.png")
    share.at(2, lambda: share.put("new.png"))
    assert share.watch(existing="skip") == ["new.png"]
    share.at(share.now_s + 1, lambda: share.put("old.png"))
    assert share.watch(existing="skip") == ["old.png"], "another picture under its name is a part"


def step(source: WatchedFolder, grabs: Iterator[object]) -> object:
    return next(grab for grab in grabs if grab is not None)


def test_a_program_that_died_while_it_sent_announces_that_part(share: Share) -> None:
    for name in ("1.png", "2.png", "3.png"):
        share.put(name)
    source = share.source()
    source.open()
    grabs = source.grabs()
    step(source, grabs), step(source, grabs)
    # As kill -9 leaves it: whether 2.png was sent is not known.
    kept = share.memory.read_bytes()
    grabs.close()  # type: ignore[attr-defined]
    source.close()
    share.memory.write_bytes(kept)
    lost = "-2.png: the camera program died while it showed 2.png: it may have its verdict already"
    assert share.watch() == [lost, "3.png"]
    assert share.watch() == []


def test_a_program_told_to_end_before_it_sent_shows_that_part_the_next_time(share: Share) -> None:
    share.put("1.png")
    source = share.source()
    source.open()
    grabs = source.grabs()
    step(source, grabs)
    grabs.close()  # type: ignore[attr-defined]
    source.close()
    assert share.watch() == ["1.png"]


def _turned_away(source: WatchedFolder) -> Lost:
    """What it announces first, to a program whose service refuses it then."""
    source.open()
    grabs = source.grabs()
    lost = next((grab for grab in itertools.islice(grabs, 1000) if grab is not None), None)
    grabs.close()  # type: ignore[attr-defined]
    source.close()
    assert isinstance(lost, Lost)
    return lost


def test_the_loss_of_a_part_that_was_not_told_is_told_by_the_next_opening(share: Share) -> None:
    share.put("1.png")
    source = share.source()
    source.open()
    grabs = source.grabs()
    step(source, grabs)
    kept = share.memory.read_bytes()
    grabs.close()  # type: ignore[attr-defined]
    source.close()
    share.memory.write_bytes(kept)
    again = share.source()
    lost = _turned_away(again)
    assert "died while it showed 1.png" in lost.why
    assert _turned_away(again) == lost


def test_a_vanished_part_that_was_not_told_is_told_by_the_next_opening(share: Share) -> None:
    share.write("1.png", HALF)
    share.at(0.5, lambda: share.remove("1.png"))
    source = share.source()
    lost = _turned_away(source)
    assert "vanished before it could be read" in lost.why
    assert _turned_away(source) == lost


def test_a_share_that_is_not_mounted_is_an_error_and_shows_nothing_twice(share: Share) -> None:
    share.put("1.png")
    assert share.watch() == ["1.png"]
    away = share.folder.with_name("away")
    share.folder.rename(away)
    with pytest.raises(SourceError, match="is the share mounted"):
        share.watch()
    share.folder.mkdir()
    assert share.watch() == [], "the empty folder that a share is mounted on"
    share.folder.rmdir()
    away.rename(share.folder)
    share.at(share.now_s + 1, lambda: share.put("2.png"))
    assert share.watch() == ["2.png"]


def test_a_share_that_goes_away_while_it_is_watched(share: Share) -> None:
    source = share.source()
    source.open()
    share.at(1, lambda: share.folder.rename(share.folder.with_name("away")))
    with pytest.raises(SourceError, match="cannot be listed"):
        all(share.now_s < 10 for _ in source.grabs())
    source.close()


def test_a_memory_torn_by_a_power_cut_is_mended(share: Share) -> None:
    share.put("1.png")
    assert share.watch() == ["1.png"]
    with share.memory.open("a") as file:
        file.write('{"file": "2.pn')
    share.put("2.png")
    assert share.watch() == ["2.png"]
    assert share.watch() == []


MEMORIES = [
    ("no line of this program", "hello\nhello\n", "line 1 of .* is not what this program writes"),
    ("a line without its digest", '{"file": "a", "size": 1, "written_ns": 2}\n{}\n', "line 1 of"),
]


@pytest.mark.parametrize(("why", "text", "message"), MEMORIES, ids=[row[0] for row in MEMORIES])
def test_a_memory_that_cannot_be_believed_is_an_error(share: Share, why: str, text: str, message: str) -> None:
    share.memory.parent.mkdir()
    share.memory.write_text(text)
    with pytest.raises(SourceError, match=message):
        share.watch()


def test_two_programs_do_not_share_a_folder(share: Share) -> None:
    first = share.source()
    first.open()
    with pytest.raises(SourceError, match="in use by another program"):
        share.source().open()
    first.close()
    share.source().open()


def test_a_memory_without_room_stops_the_showing(share: Share, monkeypatch: pytest.MonkeyPatch) -> None:
    share.put("1.png")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("inspector.cameras.sources.shown_files.os.fsync", full)
    with pytest.raises(SourceError, match="make room there"):
        share.watch()


def test_the_oldest_are_forgotten_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inspector.cameras.sources.shown_files.MOST", 3)
    shown = ShownFiles(tmp_path / "shown")
    shown.open()
    for number in range(5):
        shown.sent(f"{number}.png", Look(1, number, f"{number}"))
    assert [shown.is_known(f"{number}.png", 1, number) for number in range(5)] == [False, False, True, True, True]
    shown.close()


def _shown(path: Path, *numbers: int) -> ShownFiles:
    """A memory that is open, and in which two names get these pictures in turn."""
    shown = ShownFiles(path)
    shown.open()
    for number in numbers:
        look = Look(1, number, f"{number}")
        shown.begin(f"{number % 2}.png", look)
        shown.sent(f"{number % 2}.png", look)
    return shown


def test_the_memory_does_not_grow_without_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures under the same names, as a camera writes that overwrites its last ones."""
    monkeypatch.setattr("inspector.cameras.sources.shown_files._SPARE_LINES", 10)
    path = tmp_path / "shown"
    most = 0
    shown = _shown(path)
    for number in range(50):
        name, look = f"{number % 2}.png", Look(1, number, f"{number}")
        shown.begin(name, look)
        shown.sent(name, look)
        most = max(most, len(path.read_text().splitlines()))
    assert most <= 2 * 2 + 10
    assert [shown.is_known(f"{number % 2}.png", 1, number) for number in range(50)] == [False] * 48 + [True] * 2
    with pytest.raises(SourceError, match="in use by another program"):
        ShownFiles(path).open()
    shown.close()
    again = _shown(path)
    assert [again.is_known(f"{number % 2}.png", 1, number) for number in range(50)] == [False] * 48 + [True] * 2
    assert [one.name for one in tmp_path.iterdir()] == ["shown"]
    again.close()


def test_a_long_memory_of_before_is_shortened_when_it_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "shown"
    _shown(path, *range(50)).close()
    with path.open("a") as file:
        file.write('{"file": "2.png", "size": 1, "written_ns": 50, "digest": "", "state": "begun"}')
    assert len(path.read_text().splitlines()) == 101
    monkeypatch.setattr("inspector.cameras.sources.shown_files._SPARE_LINES", 10)
    shown = ShownFiles(path)
    assert shown.open() == ["2.png"], "begun and not known as sent"
    assert len(path.read_text().splitlines()) == 3
    shown.close()
    assert shown.open() == []
    shown.close()


def test_a_memory_that_cannot_be_written_anew_grows_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("inspector.cameras.sources.shown_files._SPARE_LINES", 10)
    path = tmp_path / "shown"
    (tmp_path / "shown.new").mkdir()
    shown = _shown(path, *range(50))
    shown.close()
    assert len(path.read_text().splitlines()) == 100
    assert 1 <= caplog.text.count("cannot be written anew") < 5
    assert ShownFiles(path).open() == []


@pytest.mark.parametrize("seed", range(3))
def test_a_storm(share: Share, seed: int) -> None:
    """Files that come by all ways at once, and a program that is stopped now and then: each is told of once."""
    rng = random.Random(seed)
    names = [f"{number}.png" for number in range(30)]
    for name in names:
        begin_s, data = rng.uniform(0, 20), picture()
        if rng.random() < 0.4:
            share.at(begin_s, lambda name=name: share.put(name))
            continue
        share.at(begin_s, lambda name=name, data=data: share.write(name, data[: len(data) // 2]))
        end_s = begin_s + rng.uniform(0.05, 0.9)
        if rng.random() < 0.3:
            share.at(end_s, lambda name=name: share.remove(name))
        else:
            share.at(end_s, lambda name=name, data=data: share.append(name, data[len(data) // 2 :]))
            if rng.random() < 0.3:
                share.at(end_s + rng.uniform(0.3, 9), lambda name=name: share.rename(name, f"done-{name}"))
    told = [one for _ in range(10) for one in share.watch(rng.uniform(1, 6))]
    told += share.watch(40)
    seen = [one.split(":")[0].lstrip("-").removeprefix("done-") for one in told]
    assert len(seen) == len(set(seen)), "none twice"
    # One that came and went between two looks, or while the program did not run, nobody saw.
    there = {path.name.removeprefix("done-") for path in share.folder.iterdir()}
    assert not there - set(seen), "whatever is there in the end was told of"
