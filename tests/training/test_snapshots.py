"""Snapshots of the quality database: what is in them, what is not and why, whole or not at all, and never changed unseen."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from labelled_line import LINE, START, LabelledLine, fill, png
from postgres import PostgresServer
from training_pictures import part

from inspector.errors import ConfigError, DataError, NotFound
from inspector.part import Box, ImageKind, Reason, Verdict
from inspector.records import patterns
from inspector.records.entries import Evidence
from inspector.records.image_sets import ImageSets, NewPicture
from inspector.records.images import ImageStore
from inspector.records.label_rows import LabelledFilter
from inspector.records.labels import Area, Polygon
from inspector.records.snapshots.diff import difference
from inspector.records.snapshots.format import DOCUMENT, LEFT_OUT, SAMPLES, digest_of, read_snapshot
from inspector.records.store import Store
from training.cli import main
from training.data import marks
from training.data.layouts import open_dataset
from training.data.reading import Preparation
from training.data.snapshots.write import Wish, left_out_of, take_snapshot
from training.data.survey import survey

NOW = datetime(2026, 3, 9, tzinfo=UTC)
MASK = np.zeros((64, 64), np.uint8)
MASK[10:20, 30:34] = 255


def opened(url: str, folder: Path) -> LabelledLine:
    store = Store(url)
    store.upgrade()
    return LabelledLine(store, ImageStore(folder / "var" / "images"), folder)


@pytest.fixture
def line(tmp_path: Path) -> Iterator[LabelledLine]:
    found = opened(f"sqlite:///{tmp_path / 'var' / 'quality.db'}", tmp_path)
    yield found
    found.store.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LabelledLine]:
    """On both databases."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'var' / 'quality.db'}"
    else:
        server: PostgresServer = request.getfixturevalue("postgres")
        url = server.create()
    found = opened(url, tmp_path)
    yield found
    found.store.close()


def take(line: LabelledLine, name: str = "snap", **wish: Any) -> Path:
    return take_snapshot(line.store, line.images, line.folder / name, Wish(**wish), NOW).root


def test_what_is_labelled_is_in_it_and_the_rest_is_named_with_its_reason(either: LabelledLine) -> None:
    line = either
    shas = [line.add(n, part(n), f"L1-{n}") for n in range(1, 6)]
    line.add(6, None)
    line.add(7, None)
    line.lose(7, "the disk was full")
    line.add(8, part(8), "never labelled")
    for number in (1, 6, 7):
        line.say(number, "good")
    line.say(2, "blot", areas=(Area(Box(3, 4, 10, 5), "blot"),))
    line.say(3, "good")
    line.say(3, "blot", "ben")
    line.say(4, "unsure")
    line.say(5, "blot")
    line.say(5, "withdrawn", minute=1)
    root = take(line, lot_pattern="^(L[0-9]+)-")
    dataset = open_dataset(str(root))
    assert dataset.layout == "snapshot"
    assert dataset.snapshot == read_snapshot(root).digest
    assert {Path(sample.path).stem: sample.label for sample in dataset.samples} == {shas[0]: "good", shas[1]: "blot"}
    assert {(sample.group, sample.lot) for sample in dataset.samples} == {("L1-1", "L1"), ("L1-2", "L1")}
    reasons = {item.sequence: (item.kind, item.detail) for item in left_out_of(root)}
    assert reasons == {
        3: ("disagreement", "anna: good; ben: blot"),
        4: ("unsure", "anna: unsure"),
        6: ("no picture", "no picture of it was kept"),
        7: ("lost picture", "the disk was full"),
    }
    picture = next(p for p in read_snapshot(root).pictures if p.label == "blot")
    assert picture.inspections[0]["sequence"] == 2
    assert picture.said[0]["author"] == "anna"


FILTERS: list[Any] = [
    pytest.param({"where": LabelledFilter(start_time=START + timedelta(seconds=4))}, "4 5 6", id="since"),
    pytest.param({"where": LabelledFilter(end_time=START + timedelta(seconds=3))}, "1 2", id="until"),
    pytest.param({"where": LabelledFilter(recipe="r2")}, "5", id="recipe"),
    pytest.param({"where": LabelledFilter(bundle="tiles-2")}, "6", id="bundle"),
    pytest.param({"where": LabelledFilter(verdicts=frozenset({Verdict.PASS}))}, "4", id="verdict"),
    pytest.param({"where": LabelledFilter(line=LINE)}, "1 2 3 4 5 6", id="line"),
    pytest.param({"classes": frozenset({"blot"})}, "2 3", id="class"),
    pytest.param({"classes": frozenset({"blot", "good"})}, "1 2 3 4 5 6", id="classes"),
    pytest.param({"authors": frozenset({"ben"})}, "3", id="author"),
]


@pytest.mark.parametrize(("wish", "expected"), FILTERS)
def test_filters(line: LabelledLine, wish: dict[str, Any], expected: str) -> None:
    passed = {"verdict": Verdict.PASS, "reason": Reason.WITHIN_LIMITS}
    changes: dict[int, dict[str, Any]] = {4: passed, 5: {"recipe": "r2"}, 6: {"bundle": "tiles-2@ffffffffffff"}}
    for number in range(1, 7):
        line.add(number, part(number), f"P{number}", **changes.get(number, {}))
        line.say(number, "blot" if number in (2, 3) else "good", "ben" if number == 3 else "anna")
    pictures = read_snapshot(take(line, **wish)).pictures
    assert sorted(str(p.inspections[0]["sequence"]) for p in pictures) == expected.split()


AREAS = [
    pytest.param(lambda line: (Area(Box(10, 12, 8, 6), "blot"),), {"blot": 48}, 0, id="a box"),
    pytest.param(lambda line: (Area(line.mask(MASK), "blot"),), {"blot": 40}, 0, id="a mask"),
    pytest.param(
        lambda line: (Area(line.mask(MASK), "blot"), Area(Box(0, 0, 5, 5), "cut")), {"blot": 40, "cut": 25}, 0,
        id="a mask, and a box of another class",
    ),
    pytest.param(
        lambda line: (Area(line.mask(MASK), "blot"), Area(line.mask(255 - MASK), "")), {"blot": 40}, 4056,
        id="two masks, one of what does not count",
    ),
    pytest.param(
        lambda line: (Area(line.mask(255 - MASK), "cut"), Area(Polygon(((0, 0), (15.4, 0), (15.4, 15.4), (0, 15.4))), "")),
        {"cut": 4056}, 256, id="a mask of another class from the first pixel on, and a polygon",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("areas", "marked", "ignored"), AREAS)
def test_areas_come_back_pixel_for_pixel(line: LabelledLine, areas: Any, marked: dict[str, int], ignored: int) -> None:
    line.add(1, part(1, defect=True))
    line.say(1, "blot", areas=areas(line))
    dataset = open_dataset(str(take(line)))
    (sample,) = dataset.samples
    assert dataset.notes == ()
    by_class = marks.defects_by_class(dataset, sample, 64, 64)
    assert by_class is not None
    assert {label: int(mask.sum()) for label, mask in by_class.items()} == marked
    assert set(sample.labels) == {"blot", *marked}
    left = marks.ignored(dataset, sample, 64, 64)
    assert (0 if left is None else int(left.sum())) == ignored
    seen = survey(dataset, Preparation(64, 64, 1))
    assert seen.mask_problems == ()


def test_one_picture_of_several_inspections_is_one_sample_and_must_not_contradict_itself(line: LabelledLine) -> None:
    for number in (1, 2, 3, 4):
        line.add(number, part(1 if number < 3 else 3), "" if number == 1 else f"P{number}")
    for number, what in ((1, "good"), (2, "good"), (3, "good"), (4, "blot")):
        line.say(number, what)
    root = take(line)
    (picture,) = read_snapshot(root).pictures
    assert [inspection["sequence"] for inspection in picture.inspections] == [1, 2]
    assert picture.group == "P2"
    assert {(item.sequence, item.kind) for item in left_out_of(root)} == {
        (3, "one picture, two labels"),
        (4, "one picture, two labels"),
    }


def test_a_picture_under_another_label_that_was_not_asked_for_stays_out(line: LabelledLine) -> None:
    for number, pixels, what in (
        (1, part(1), "blot"),
        (2, part(1), "good"),
        (3, part(3), "blot"),
        (4, part(4), "good"),
    ):
        line.add(number, pixels, f"P{number}")
        line.say(number, what)
    root = take(line, classes=frozenset({"blot"}))
    assert [p.inspections[0]["sequence"] for p in read_snapshot(root).pictures] == [3]
    assert {(item.sequence, item.kind) for item in left_out_of(root)} == {
        (1, "one picture, two labels"),
        (2, "one picture, two labels"),
    }


def test_pictures_that_are_gone_or_no_pictures_are_left_out(line: LabelledLine) -> None:
    shas = [line.add(number, part(number)) for number in (1, 2, 3, 4)]
    for number in (1, 2, 3, 4):
        line.say(number, "good")
    line.images.path(shas[0])[0].unlink()
    line.images.path(shas[1])[0].write_bytes(b"damaged")
    line.add(5, None)
    bad = line.images.put(b"\xff\xd8 no picture", ImageKind.FRAME, "image/jpeg")
    line.store.apply(LINE, [Evidence(5, (bad,), START)])
    line.say(5, "blot", areas=(Area(Box(0, 0, 3, 3), "blot"),))
    root = take(line)
    kinds = {item.sequence: item.kind for item in left_out_of(root)}
    assert kinds == {1: "lost picture", 2: "lost picture", 5: "no picture"}
    assert len(open_dataset(str(root)).samples) == 2


# Whole or not at all


def test_the_same_labels_give_the_same_data_and_another_time_another_digest(line: LabelledLine) -> None:
    fill(line, 3, 1)
    first, second = take(line, "a"), take(line, "b")
    later = take_snapshot(line.store, line.images, line.folder / "c", Wish(), NOW + timedelta(days=1)).root
    assert read_snapshot(first).digest == read_snapshot(second).digest != read_snapshot(later).digest
    digests = {survey(open_dataset(str(root)), Preparation(64, 64, 1)).digest for root in (first, second, later)}
    assert len(digests) == 1
    assert difference(read_snapshot(first), read_snapshot(later)).is_none


def test_a_snapshot_replaces_nothing(line: LabelledLine) -> None:
    fill(line, 1, 1)
    root = take(line)
    before = (root / DOCUMENT).read_bytes()
    with pytest.raises(DataError, match="exists already"):
        take(line)
    assert (root / DOCUMENT).read_bytes() == before
    assert not os.access(root / DOCUMENT, os.W_OK) or os.geteuid() == 0
    assert {path.stat().st_mode & 0o222 for path in root.rglob("*") if path.is_file()} == {0}


class Cancelled(BaseException):
    pass


def test_a_cancelled_one_goes_on_where_it_stopped(line: LabelledLine, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(line, 6, 0)
    copied: list[str] = []
    get = ImageStore.get

    def watched(self: ImageStore, sha256: str) -> tuple[bytes, str]:
        copied.append(sha256)
        return get(self, sha256)

    def cancel(stage: str, done: int, total: int) -> None:
        if done == 3:
            raise Cancelled

    monkeypatch.setattr(ImageStore, "get", watched)
    out = line.folder / "snap"
    with pytest.raises(Cancelled):
        take_snapshot(line.store, line.images, out, Wish(), NOW, cancel)
    assert not out.exists()
    assert len(copied) == 3
    draft = next(path for path in line.folder.iterdir() if path.name.startswith("."))
    half = next(path for path in draft.rglob("*.png"))
    half.write_bytes(half.read_bytes()[:-5])
    line.say(6, "withdrawn", minute=5)
    (draft / "images" / "stale.png").write_bytes(b"of another try")
    root = take(line)
    assert len(read_snapshot(root).pictures) == 5
    assert len(copied) == 3 + 1 + 2, "the damaged one again, and the two that were missing"
    assert not draft.exists()
    assert not list(root.rglob("stale.png"))


def test_two_at_once_do_not_mix(line: LabelledLine) -> None:
    fill(line, 2, 0)
    draft = line.folder / ".snap.unfinished"
    draft.mkdir()
    with (draft / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(DataError, match="in use"):
            take(line)
    assert draft.exists()
    assert take(line).is_dir()


NOTHING: list[Any] = [
    pytest.param(lambda line: None, {}, "nobody has labelled", id="no label"),
    pytest.param(lambda line: line.say(1, "unsure"), {}, "1 unsure", id="only unsure"),
    pytest.param(lambda line: line.say(1, "good"), {"classes": frozenset({"blot"})}, "nobody", id="another class"),
    pytest.param(lambda line: line.say(1, "good"), {"lot_pattern": "("}, "no pattern", id="a pattern that is none"),
]


@pytest.mark.parametrize(("act", "wish", "says"), NOTHING)
def test_nothing_to_take_leaves_nothing(line: LabelledLine, act: Any, wish: dict[str, Any], says: str) -> None:
    line.add(1, part(1))
    act(line)
    with pytest.raises((DataError, ConfigError), match=says):
        take(line, **wish)
    assert sorted(path.name for path in line.folder.iterdir()) == ["var"]


def test_a_pattern_for_lots_that_would_take_years_is_stopped(
    line: LabelledLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patterns.found_in, "__defaults__", (2.0,))
    line.add(1, part(1), "1" * 60)
    line.say(1, "good")
    with pytest.raises(ConfigError, match="takes more than 2 s on these names"):
        take(line, lot_pattern="([0-9]+)*x")


def test_a_full_disk_leaves_nothing(line: LabelledLine, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(line, 3, 0)

    def full(path: Path, data: bytes) -> None:
        raise DataError(f"{path} cannot be written: No space left on device; free space")

    monkeypatch.setattr("training.data.snapshots.write.write_whole", full)
    with pytest.raises(DataError, match="No space left"):
        take(line)
    assert sorted(path.name for path in line.folder.iterdir()) == ["var"]


# Damage


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    line = opened(f"sqlite:///{folder / 'var' / 'quality.db'}", folder)
    fill(line, 2, 0)
    line.add(9, part(9, defect=True))
    line.say(9, "blot", areas=(Area(line.mask(MASK), "blot"),))
    root = take(line)
    line.store.close()
    return root


def rewritten(root: Path, change: Any) -> None:
    """As someone writes it who knows the digests."""
    (root / SAMPLES).write_bytes(change((root / SAMPLES).read_bytes()))
    document = json.loads((root / DOCUMENT).read_bytes())
    document["files"][SAMPLES] = hashlib.sha256((root / SAMPLES).read_bytes()).hexdigest()
    document["digest"] = digest_of(document)
    (root / DOCUMENT).write_text(json.dumps(document))


def of_rows(change: Any) -> Any:
    def changed(data: bytes) -> bytes:
        rows = [json.loads(line) for line in data.splitlines()]
        change(rows)
        return b"".join(json.dumps(row).encode() + b"\n" for row in rows)

    return lambda root: rewritten(root, changed)


def first_file(root: Path, folder: str) -> Path:
    return sorted(path for path in (root / folder).rglob("*") if path.is_file())[0]


DAMAGE: list[Any] = [
    pytest.param(lambda r: first_file(r, "images").write_bytes(b"x"), r"images/../\w{64}.png is damaged", id="a picture"),
    pytest.param(lambda r: first_file(r, "images").unlink(), r"images/../\w{64}.png cannot be read", id="a picture gone"),
    pytest.param(lambda r: first_file(r, "masks").write_bytes(b""), r"masks/../\w{64}.png is damaged", id="a mask"),
    pytest.param(lambda r: (r / SAMPLES).write_bytes(b""), "samples.jsonl was changed", id="the samples emptied"),
    pytest.param(lambda r: (r / LEFT_OUT).write_bytes(b"{}"), "left-out.jsonl was changed", id="what was left out"),
    pytest.param(lambda r: (r / LEFT_OUT).unlink(), "left-out.jsonl cannot be read", id="a list gone"),
    pytest.param(lambda r: (r / DOCUMENT).write_bytes(b"{"), "snapshot.json is damaged", id="the document cut"),
    pytest.param(lambda r: (r / DOCUMENT).write_bytes(b"[" * 99_999), "snapshot.json is damaged", id="nested deeply"),
    pytest.param(lambda r: (r / DOCUMENT).write_bytes(b"[]"), "not that of a snapshot", id="another document"),
    pytest.param(
        lambda r: (r / DOCUMENT).write_text((r / DOCUMENT).read_text().replace("2026-03-09", "2026-03-08")),
        "no longer gives its digest", id="another date",
    ),
    pytest.param(
        lambda r: (r / DOCUMENT).write_text((r / DOCUMENT).read_text().replace('"version": 1', '"version": 2')),
        "has version 2", id="another version",
    ),
    pytest.param(of_rows(lambda rows: rows[0].update(sha256="../" * 20)), "no SHA-256", id="a path for a hash"),
    pytest.param(of_rows(lambda rows: rows[0].update(media_type="text/x")), "media type", id="another media type"),
    pytest.param(of_rows(lambda rows: rows[0].update(label="../../x")), "cannot name", id="a label that is a path"),
    pytest.param(of_rows(lambda rows: rows[0].update(label="unsure")), "no defect class", id="an unsure label"),
    pytest.param(of_rows(lambda rows: rows[0].pop("said")), "KeyError", id="a key missing"),
    pytest.param(of_rows(lambda rows: rows.append(rows[0])), "names a picture twice", id="a picture twice"),
    pytest.param(of_rows(lambda rows: rows[0].update(areas=7)), "TypeError", id="a number of areas"),
    pytest.param(
        of_rows(lambda rows: rows[0].update(areas=[{"defect_class": "", "box": [1], "polygon": [], "mask": ""}])),
        "not one box", id="a box of one number",
    ),
    pytest.param(lambda r: rewritten(r, lambda data: b"\xff" + data), "of another version or damaged|is not", id="no text"),
]  # fmt: skip


@pytest.mark.parametrize(("damage", "says"), DAMAGE)
def test_damage_is_named(whole: Path, tmp_path: Path, damage: Any, says: str) -> None:
    root = tmp_path / "copy"
    shutil.copytree(whole, root)
    for path in root.rglob("*"):
        path.chmod(0o755)
    assert open_dataset(str(root)).samples
    damage(root)
    with pytest.raises(DataError, match=says):
        open_dataset(str(root))


# Differences


def test_what_changed_between_two(line: LabelledLine, capsys: pytest.CaptureFixture[str]) -> None:
    shas = [line.add(n, part(n), f"P{n}") for n in range(1, 6)]
    for n in range(1, 5):
        line.say(n, "good")
    first = take(line, "a")
    line.say(1, "blot", minute=1)
    line.say(2, "withdrawn", minute=1)
    line.say(3, "good", minute=1, areas=(Area(Box(0, 0, 3, 3)),))
    line.say(5, "blot")
    second = take(line, "b", lot_pattern="P4")
    found = difference(read_snapshot(first), read_snapshot(second))
    assert [(item.sha256, item.before, item.after) for item in found.relabelled] == [(shas[0], "good", "blot")]
    assert [p.sha256 for p in found.removed] == [shas[1]]
    assert list(found.redrawn) == [shas[2]]
    assert [(item.sha256, item.after) for item in found.regrouped] == [(shas[3], "part P4, lot P4")]
    assert [p.sha256 for p in found.added] == [shas[4]]
    assert found.unchanged == 0
    assert run("diff-snapshots", first, second, "--json", line.folder / "d.json") == 0
    assert "good → blot" in capsys.readouterr().out
    assert json.loads((line.folder / "d.json").read_text())["relabelled"] == [[shas[0], "good", "blot"]]
    assert run("diff-snapshots", first, first) == 0
    assert "the same 4 pictures" in capsys.readouterr().out


# As it is typed


def run(*arguments: object) -> int:
    """The command in this process; its exit status."""
    before, handler = sys.argv, signal.getsignal(signal.SIGTERM)
    sys.argv = ["inspector-train", *map(str, arguments)]
    try:
        main()
    except SystemExit as done:
        return int(done.code or 0)
    finally:
        sys.argv = before
        signal.signal(signal.SIGTERM, handler)
    return 0


def test_by_line_file_and_by_url(either: LabelledLine, capsys: pytest.CaptureFixture[str]) -> None:
    line = either
    fill(line, 2, 2)
    line.say(1, "unsure", minute=1)
    url = line.store._database.engine.url.render_as_string(hide_password=False)
    (line.folder / "line.toml").write_text(f'[line]\nname = "{LINE}"\n[records]\ndatabase = "{url}"\n')
    assert run("snapshot", line.folder / "line.toml", "--out", line.folder / "a", "--lot-pattern", "^L.") == 0
    shown = capsys.readouterr().out
    assert "1 unsure" in shown
    assert "sha256:" in shown
    assert run("snapshot", url, "--out", line.folder / "b", "--images", line.folder / "var" / "images") == 0
    for name in ("a", "b"):
        snapshot = read_snapshot(line.folder / name)
        assert len(snapshot.pictures) == 3
        assert "test-only" not in (line.folder / name / DOCUMENT).read_text(), "no password"
    assert run("check-data", line.folder / "a") == 0


ERRORS: list[Any] = [
    pytest.param(["{f}/no.toml"], "cannot be read", id="no line file"),
    pytest.param(["{f}/bad.toml"], "cannot be read", id="no TOML"),
    pytest.param(["{f}/other.toml"], "no table", id="no line"),
    pytest.param(["{f}/number.toml"], "does not name", id="a number for a name"),
    pytest.param(["sqlite:///{f}/var/quality.db"], "give --images", id="a URL without pictures"),
    pytest.param(["sqlite:///{f}/none.db", "--images", "{f}/var/images"], "there is no database", id="no database"),
    pytest.param(["mysql://x/y", "--images", "{f}/var/images"], "not supported", id="another database"),
    pytest.param(["{f}/line.toml", "--images", "{f}/none"], "no image store", id="no pictures"),
    pytest.param(["{f}/line.toml", "--verdict", "MAYBE"], "is no verdict", id="no verdict"),
    pytest.param(["{f}/line.toml", "--class", "a/b"], "cannot name", id="no class"),
    pytest.param(["{f}/line.toml", "--line", "other"], "nobody has labelled", id="another line"),
]


@pytest.mark.parametrize(("arguments", "says"), ERRORS)
def test_an_error_is_one_message(
    line: LabelledLine, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    fill(line, 1, 0)
    files = {"line": f'[line]\nname = "{LINE}"\n', "bad": "[line", "other": "[lines]\n", "number": "[line]\nname = 7\n"}
    for name, text in files.items():
        (line.folder / f"{name}.toml").write_text(text)
    before = sorted(path.name for path in line.folder.iterdir())
    given = [argument.format(f=line.folder) for argument in arguments]
    assert run("snapshot", *given, "--out", line.folder / "snap") == 2
    error = capsys.readouterr().err
    assert says in error
    assert "Traceback" not in error
    assert sorted(path.name for path in line.folder.iterdir()) == before


def test_ctrl_c_says_that_it_can_go_on(line: LabelledLine) -> None:
    fill(line, 2, 0)
    (line.folder / "line.toml").write_text(f'[line]\nname = "{LINE}"\n')
    code = """
import sys
from training.data.snapshots import write
def interrupt(*_):
    raise KeyboardInterrupt
write._remove_others = interrupt
from training.cli import main
sys.argv = ["inspector-train", "snapshot", *sys.argv[1:]]
main()
"""
    command = [sys.executable, "-c", code, str(line.folder / "line.toml"), "--out", str(line.folder / "snap")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], timeout=60)
    assert done.returncode == 130, done.stderr
    assert "goes on where it stopped" in done.stderr
    assert not (line.folder / "snap").exists()
    assert take(line).is_dir()


def test_pictures_that_people_brought_are_taken_in_by_content(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'q.db'}")
    store.upgrade()
    images = ImageStore(tmp_path / "images")
    line = LabelledLine(store, images, tmp_path)
    fill(line, 3, 2)
    shown = {number: store.get(LINE, number).images[0].sha256 for number in (1, 2)}
    new = [images.keep(png(part(number)), "image/png") for number in (31, 32, 33, 34)]

    def of(sha256: str, name: str, label: str, part_id: str = "") -> NewPicture:
        return NewPicture(sha256, "image/png", 9, 64, 64, name, part_id, "", label)

    sets = ImageSets(store.database, LINE)
    sets.make("tiles", "ben", START)
    rows = [
        of(shown[1], "same.png", "good"),
        of(shown[2], "other.png", "blot"),
        of(new[0], "new.png", "blot", "L7-31"),
        of(new[1], "unlabelled.png", ""),
        of(new[2], "doubted.png", "good"),
        of(new[3], "unsure.png", "unsure"),
    ]
    sets.add("tiles", rows, "ben", START)
    doubted = next(one for one in sets.page("tiles") if one.file_name == "doubted.png")
    sets.label(doubted.id, "blot", "anna", START)

    wish = Wish(LabelledFilter(LINE), lot_pattern="^L[0-9]", sets=frozenset({"tiles"}))
    assert Wish.from_json(wish.to_json()) == wish
    taken = take_snapshot(store, images, tmp_path / "s", wish, START)
    found = {picture.sha256: picture for picture in taken.pictures}
    assert len(found) == 5
    both = found[shown[1]]
    assert (len(both.inspections), [one["file"] for one in both.uploads]) == (1, ["same.png"])
    alone = found[new[0]]
    assert (alone.label, alone.group, alone.lot, alone.inspections) == ("blot", "L7-31", "L7", ())
    assert alone.uploads[0]["set"] == "tiles"
    assert shown[2] not in found, "labelled good on the line and blot in the set"
    assert taken.about["left_out"] == {"disagreement": 1, "one picture, two labels": 1, "unsure": 1}
    assert len(open_dataset(str(tmp_path / "s")).samples) == 5

    only = take_snapshot(store, images, tmp_path / "t", replace(wish, sets_only=True), START)
    assert {picture.sha256 for picture in only.pictures} == {shown[1], shown[2], new[0]}
    with pytest.raises(NotFound, match="no set of pictures"):
        take_snapshot(store, images, tmp_path / "u", replace(wish, sets=frozenset({"gone"})), START)
    store.close()
