"""Labels by command and by file, from what a person types to what is on record, and everything that must be refused."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from toys import toy_bundle, toy_png
from typer.testing import CliRunner, Result

from inspector.cli import app
from inspector.part import Box, ImageKind, Inspection, Reason
from inspector.records.entries import Evidence, Settled
from inspector.records.images import ImageStore
from inspector.records.label_rows import LabelledFilter
from inspector.records.labels import Area, Labelled, Mask, Outcome, Polygon
from inspector.records.store import Store

ROOT = Path(__file__).resolve().parents[1]
START = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)
SIZE_PX = 32
PARTS = {1: "A-1", 2: "A-2", 3: "A-2", 4: "\x1b[2Jgone\n[red]", 5: "A-5"}
"""Part ids by number: 2 and 3 are one part inspected twice, 4 is from a hostile camera, 5 has no picture."""


@pytest.fixture
def line_file(tmp_path: Path) -> Path:
    """A line that has rejected five parts."""
    toy_bundle(tmp_path / "toy")
    path = tmp_path / "line.toml"
    path.write_text(
        '[line]\nname = "l1"\n[[station]]\nname = "s1"\ncamera = "c1"\nunit = 1\nrecipe = "toy"\n[recipe.toy]\nbundle = "toy"\n'
    )
    store, images = _store(path), ImageStore(tmp_path / "var" / "images")
    store.upgrade()
    for number, part_id in PARTS.items():
        store.apply("l1", [Settled(_inspection(number, part_id))])
        if number != 5:
            kept = images.put(toy_png(100 + number, SIZE_PX), ImageKind.FRAME, "image/png")
            store.apply("l1", [Evidence(number, (kept,), START)])
    store.close()
    return path


def _store(line_file: Path) -> Store:
    return Store(f"sqlite:///{line_file.parent / 'var' / 'quality.db'}")


def _inspection(number: int, part_id: str) -> Inspection:
    at = START + timedelta(seconds=number)
    return Inspection(
        line="l1", station="s1", camera="c1", sequence=number, station_sequence=number, trigger=number, part_id=part_id,
        verdict=Reason.SCORE_ABOVE_LIMIT.verdict, reason=Reason.SCORE_ABOVE_LIMIT, detail="", score=0.9, limit=0.5,
        findings=(), recipe="toy", bundle="toy@0123456789ab", capture_time=None, receive_time=at, decide_time=at,
        latency_ms=1.0,
    )  # fmt: skip


def _labels(line_file: Path, number: int) -> Labelled:
    store = _store(line_file)
    try:
        return store.labels("l1", number)
    finally:
        store.close()


def _labelled_numbers(line_file: Path) -> list[int]:
    store = _store(line_file)
    try:
        return [found.stored.inspection.sequence for found in store.labelled(LabelledFilter())]
    finally:
        store.close()


def _run(command: str, line_file: Path, *arguments: object) -> Result:
    return CliRunner().invoke(app, [command, str(line_file), *map(str, arguments)])


def _mask(path: Path, size: tuple[int, int] = (SIZE_PX, SIZE_PX), value: int = 255) -> Path:
    pixels = np.zeros((size[1], size[0]), np.uint8)
    pixels[4:9, 10:12] = value
    Image.fromarray(pixels).save(path)
    return path


def test_a_label_by_number_with_mask_box_and_note(line_file: Path, tmp_path: Path) -> None:
    mask = _mask(tmp_path / "m.png", value=1)
    options = ["--mask", mask, "--box", "1,2,3,4", "--ignore-box", "0,0,32,1", "--note", "under the lamp"]
    result = _run("label", line_file, "#1", "--class", "scratch", "--by", "anna", *options)
    assert result.exit_code == 0, result.output
    assert "scratch" in result.output
    (label,) = _labels(line_file, 1).history
    assert (label.what, label.author, label.note) == ("scratch", "anna", "under the lamp")
    drawn = label.areas[2].shape
    assert isinstance(drawn, Mask)
    assert label.areas == (Area(Box(1, 2, 3, 4), "scratch"), Area(Box(0, 0, 32, 1)), Area(drawn, "scratch"))
    kept, media_type = ImageStore(tmp_path / "var" / "images").get(drawn.sha256)
    pixels = np.asarray(Image.open(io.BytesIO(kept)))
    assert media_type == "image/png"
    assert (pixels.max(), (pixels > 0).sum()) == (255, 10)
    assert datetime.now(UTC) - label.time < timedelta(minutes=5)


def test_a_label_by_part_id_and_again(line_file: Path) -> None:
    for expected in ("A-1", "said so already"):
        result = _run("label", line_file, "A-1", "--class", "Good", "--by", "anna")
        assert (result.exit_code, expected in result.output) == (0, True)
    assert len(_labels(line_file, 1).history) == 1


def test_the_list_shows_who_disagrees_and_show_tells_the_history(line_file: Path) -> None:
    for part, what, author in (
        ("#1", "dent", "anna"),
        ("#1", "good", "ben"),
        ("#2", "dent", "anna"),
        ("#4", "dent", "ben"),
    ):
        assert _run("label", line_file, part, "--class", what, "--by", author).exit_code == 0
    everything = _run("labels", line_file).output
    assert all(text in everything for text in ("#1", "#2", "#4", "anna: dent", "disagreement"))
    assert "\x1b[2J" not in everything
    only = _run("labels", line_file, "--disagreement").output
    assert "#1" in only
    assert "#2" not in only
    by = _run("labels", line_file, "--class", "dent", "--by", "ben").output
    assert ("#4" in by, "#1" in by, "#2" in by) == (True, False, False)
    assert _run("labels", line_file, "--since", "2026-03-02T06:00:02").output.count(": dent") == 2
    assert _run("label", line_file, "#1", "--class", "withdrawn", "--by", "ben").exit_code == 0
    card = CliRunner().invoke(app, ["show", "#1", "--line", str(line_file)]).output
    assert "ben: good" in card
    assert "no longer counts" in card
    assert "disagreement" not in _run("labels", line_file).output


REFUSED = [
    pytest.param(["#99"], [], "not on record", id="an unknown inspection"),
    pytest.param(["#"], [], "no number", id="no number"),
    pytest.param(["#1e99"], [], "no number", id="a number that is none"),
    pytest.param(["nobody"], [], "has no inspection", id="an unknown part"),
    pytest.param(["A-2"], [], "inspected 2 times: name one of #3, #2", id="a part inspected twice"),
    pytest.param(["#1", "--class", "a/../b"], [], "cannot name", id="a class with path parts"),
    pytest.param(["#1", "--class", "x\ty"], [], "cannot name", id="a class with a control character"),
    pytest.param(["#1", "--by", "\x1b[2J"], [], "no author", id="an author that clears the screen"),
    pytest.param(["#1", "--box", "1,2,3"], [], "is no box", id="a box of three numbers"),
    pytest.param(["#1", "--box", "1,2,3,-4"], [], "is no box", id="a negative box"),
    pytest.param(["#1", "--box", "1,2,0,4"], [], "at least one pixel", id="an empty box"),
    pytest.param(
        ["#1", "--box", "30,0,3,4"], [], "outside the picture, which is 32 × 32", id="a box beyond the picture"
    ),
    pytest.param(["#5", "--box", "1,2,3,4"], [], "no picture to draw in", id="a box on a part without picture"),
    pytest.param(
        ["#1", "--class", "good", "--box", "1,2,3,4"], [], "'good' is no class|decide on one", id="a good box"
    ),
    pytest.param(["#1", "--mask", "{tmp}/no.png"], [], "there is no file", id="no such mask"),
    pytest.param(["#1", "--mask", "{tmp}"], [], "there is no file", id="a folder as mask"),
    pytest.param(["#1", "--mask", "{tmp}/m.png"], b"GIF89a", "is no PNG", id="a mask that is no PNG"),
    pytest.param(["#1", "--mask", "{tmp}/m.png"], b"\x89PNG\r\n\x1a\n", "truncated", id="a mask that ends early"),
    pytest.param(["#1", "--mask", "{tmp}/m.png"], (33, 32), "is 33 × 32 px, its picture 32 × 32", id="another size"),
    pytest.param(["#1", "--mask", "{tmp}/m.png"], 0, "marks nothing", id="a black mask"),
    pytest.param(["#1", "--mask", "{tmp}/m.png"], "huge", "more than the 50000000 px", id="500 megapixels"),
]


@pytest.mark.parametrize(("arguments", "mask", "says"), REFUSED)
def test_what_is_refused(line_file: Path, tmp_path: Path, arguments: list[str], mask: object, says: str) -> None:
    if isinstance(mask, bytes):
        (tmp_path / "m.png").write_bytes(mask)
    elif isinstance(mask, tuple):
        _mask(tmp_path / "m.png", mask)
    elif mask == 0:
        _mask(tmp_path / "m.png", value=0)
    elif mask == "huge":
        (tmp_path / "m.png").write_bytes(_png_header(25_000, 20_000))
    given = [argument.format(tmp=tmp_path) for argument in arguments]
    rest = [] if "--class" in given else ["--class", "dent"]
    rest += [] if "--by" in given else ["--by", "anna"]
    result = _run("label", line_file, *given, *rest)
    assert result.exit_code != 0
    assert any(part in str(result.exception) for part in says.split("|")), result.exception
    assert "\x1b" not in str(result.exception)
    assert _labelled_numbers(line_file) == []
    pictures = [path for path in (tmp_path / "var" / "images").rglob("*.png")]
    assert len(pictures) == 4, "no mask is left behind"


def _png_header(width_px: int, height_px: int) -> bytes:
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width_px, height_px, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def test_a_misspelt_class_is_noticed(line_file: Path) -> None:
    assert _run("label", line_file, "#1", "--class", "scratch", "--by", "anna").exit_code == 0
    for wrong in ("scrach", "Scratch"):
        refused = _run("label", line_file, "#2", "--class", wrong, "--by", "anna")
        assert "'scratch'" in str(refused.exception)
    assert _run("label", line_file, "#2", "--class", "dent", "--by", "anna").exit_code == 0
    assert _run("label", line_file, "#3", "--class", "scratches", "--by", "anna", "--new-class").exit_code == 0


# Files


def test_a_csv_file_of_many(line_file: Path, tmp_path: Path) -> None:
    _mask(tmp_path / "masks-1.png")
    file = tmp_path / "labels.csv"
    file.write_text(
        "part;label;author;time;note;box;mask;ignore_polygon\r\n"
        "#1;dent;;2026-03-02T07:00:00+01:00;;1,2,3,4 ;masks-1.png;0,0,5,0,5,5\r\n"
        '#2;good;ben;2026-03-02 08:00;"why; not";;;\r\n'
        ";;;;;;;\r\n",
        encoding="utf-8-sig",
    )
    result = _run("import-labels", line_file, file, "--by", "anna")
    assert result.exit_code == 0, result.exception
    assert "2 label(s) added" in result.output
    first, second = _labels(line_file, 1).history[0], _labels(line_file, 2).history[0]
    assert (first.author, first.time) == ("anna", START)
    assert [type(area.shape) for area in first.areas] == [Box, Mask, Polygon]
    assert [area.defect_class for area in first.areas] == ["dent", "dent", ""]
    assert (second.author, second.note, second.time) == ("ben", "why; not", START + timedelta(hours=2))
    again = _run("import-labels", line_file, file, "--by", "anna")
    assert "0 label(s) added, 2 said already" in again.output


def test_a_json_file_of_many(line_file: Path, tmp_path: Path) -> None:
    file = tmp_path / "labels.json"
    rows = [
        {"part": "A-1", "label": "dent", "box": [[1, 2, 3, 4], [5, 6, 7, 8]], "polygon": [[0, 0, 4.5, 0, 4.5, 4]]},
        {"part": "#3", "label": "unsure", "author": "ben", "note": None},
    ]
    file.write_text(json.dumps(rows))
    assert _run("import-labels", line_file, file, "--by", "anna").exit_code == 0
    areas = _labels(line_file, 1).history[0].areas
    assert [area.shape for area in areas] == [
        Box(1, 2, 3, 4),
        Box(5, 6, 7, 8),
        Polygon(((0.0, 0.0), (4.5, 0.0), (4.5, 4.0))),
    ]
    assert _labels(line_file, 3).outcome is Outcome.UNSURE


BAD_FILES = [
    pytest.param("l.csv", b"", "no column part", id="empty"),
    pytest.param("l.csv", b"part,label\n", "holds no label", id="only a header"),
    pytest.param("l.csv", b"part\n#1\n", "no column label", id="a column missing"),
    pytest.param("l.csv", b"part,label,colour\n#1,good,red\n", "'colour', unknown", id="an unknown column"),
    pytest.param("l.csv", b"part,label,label\n#1,good,dent\n", "unknown or twice", id="a column twice"),
    pytest.param("l.csv", b"part,label\n#1,good,x\n", "3 columns", id="too many cells"),
    pytest.param("l.csv", b'part,label\n#1,"good\n', "is no CSV", id="an open quote"),
    pytest.param("l.csv", b"part,label\n#1," + b"x" * 200_000, "is no CSV", id="a cell too long"),
    pytest.param("l.csv", "part,label\n#1,Stoß\n".encode("latin-1"), "is not UTF-8", id="another encoding"),
    pytest.param("l.csv", b"part,label,time\n#1,good,yesterday\n", "has the time 'yesterday'", id="a time in words"),
    pytest.param("l.csv", b"part,label,mask\n#1,dent,../../x.png\n", "no path below", id="a mask elsewhere"),
    pytest.param("l.csv", b"part,label,mask\n#1,dent,/etc/passwd\n", "no path below", id="an absolute mask"),
    pytest.param("l.csv", b"part,label,mask\n#1,dent,.\n", "no path below", id="the folder as mask"),
    pytest.param("l.csv", b"part,label,polygon\n#1,dent,\"1,2,3\"\n", "coordinates", id="half a polygon"),
    pytest.param("l.csv", b"part,label,polygon\n#1,dent,\"1,2,3,nan,5,6\"\n", "outside", id="NaN in a polygon"),
    pytest.param("l.csv", b"part,label\n#1,good\n#99,good\n", "l.csv, line 3: lines/l1/inspections/99", id="one unknown"),
    pytest.param("l.csv", b"part,label\n#1,good\n#2,\n", "line 3: a label of 0", id="one without a label"),
    pytest.param("l.json", b"{}", "holds no list", id="JSON of something else"),
    pytest.param("l.json", b"[" * 100_000, "is no JSON", id="JSON nested too deeply"),
    pytest.param("l.json", b"[1]", "is no object", id="a number for a label"),
    pytest.param("l.json", b'[{"part": 1, "label": "good"}]', "give text", id="a number for a part"),
    pytest.param("l.json", b'[{"part": "#1", "label": "dent", "box": {"x": 1}}]', "list of areas", id="a box by name"),
    pytest.param("l.json", b'[{"part": "#1", "label": "dent", "box": [["x"]]}]', "is no box", id="a box of words"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "says"), BAD_FILES)
def test_a_file_with_one_fault_labels_nothing(
    line_file: Path, tmp_path: Path, name: str, content: bytes, says: str
) -> None:
    (tmp_path / name).write_bytes(content)
    result = _run("import-labels", line_file, tmp_path / name, "--by", "anna")
    assert says in str(result.exception), result.output
    assert _labelled_numbers(line_file) == []


def test_every_fault_of_a_file_is_named_at_once(line_file: Path, tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("part,label\n#1,good\n" + "".join(f"#{n},good\n" for n in range(100, 130)))
    result = _run("import-labels", line_file, tmp_path / "l.csv", "--by", "anna")
    assert "line 3" in str(result.exception)
    assert "and 10 more" in str(result.exception)


@pytest.fixture
def writers(line_file: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Four processes that each label the same part four times."""
    code = """
import sys
from inspector.cli import main
line_file, author = sys.argv[1:]
for what in ("dent", "good", "dent", "unsure"):
    sys.argv = ["inspector", "label", line_file, "#1", "--class", what, "--by", author]
    try:
        main()
    except SystemExit as done:
        assert not done.code
"""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(line_file), f"author {n}"], cwd=ROOT, stdout=subprocess.DEVNULL
        )
        for n in range(4)
    ]
    yield started
    for process in started:
        process.kill()
        process.wait()


def test_processes_that_label_at_once_lose_nothing(line_file: Path, writers: list[subprocess.Popen[bytes]]) -> None:
    assert [process.wait(60) for process in writers] == [0, 0, 0, 0]
    found = _labels(line_file, 1)
    assert len(found.history) == 16
    assert {label.what for label in found.current} == {"unsure"}


@pytest.mark.parametrize(("ahead_min", "taken"), [(3, True), (10, False)])
def test_no_label_is_of_a_time_to_come(line_file: Path, tmp_path: Path, ahead_min: int, taken: bool) -> None:
    # Without a zone, as a spreadsheet writes it: UTC.
    time = datetime.now(UTC).replace(tzinfo=None) + timedelta(minutes=ahead_min)
    file = tmp_path / "labels.csv"
    file.write_text(f"part,label,time\n#1,good,2026-03-02T07:00:00Z\n#2,good,{time.isoformat()}\n")
    result = _run("import-labels", line_file, file, "--by", "anna")
    assert (result.exit_code == 0) is taken
    assert _labelled_numbers(line_file) == ([1, 2] if taken else [])
    if not taken:
        assert "line 3: its time " in str(result.exception)
        assert "a time without a zone is taken as UTC" in str(result.exception)
