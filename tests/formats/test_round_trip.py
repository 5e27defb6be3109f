"""Labels out and in again, in every format: nothing on record is lost, and edits made elsewhere are believed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labelled_parts import LINE, Desk, desk, say_everything

from inspector.errors import LabelInvalid
from inspector.formats.brush import decode_brush, encode_brush
from inspector.formats.exporting import export_labels
from inspector.formats.registry import FORMATS
from inspector.imaging.decode import DecodeLimits
from inspector.imaging.raster import Raster, checked_raster, decode_counts, encode_counts, raster_of
from inspector.labelling import read_mask
from inspector.part import Box
from inspector.records.label_rows import LabelledFilter
from inspector.records.labels import Label, Mask, Polygon


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with desk(tmp_path_factory.mktemp("told") / "desk") as here:
        say_everything(here)
        yield here


@pytest.fixture
def twin(tmp_path: Path) -> Iterator[Desk]:
    with desk(tmp_path / "twin") as here:
        yield here


def export(told: Desk, name: str, out: Path) -> Path:
    export_labels(told.store, told.images, LabelledFilter(LINE), name, out)
    return out


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("packed", [False, True], ids=["folder", "archive"])
def test_what_goes_out_comes_back(told: Desk, twin: Desk, tmp_path: Path, name: str, packed: bool) -> None:
    path = export(told, name, tmp_path / "out")
    if packed:
        path = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", path))
    twin.add(path)
    expected = told.labels()
    if not FORMATS[name].of_each:
        assert expected.pop(11), "people disagree"
    assert twin.labels() == expected
    said = [label for labels in expected.values() for label in labels]
    masks = {area.shape.sha256 for label in said for area in label.areas if isinstance(area.shape, Mask)}
    assert len(masks) == 3
    assert all(twin.images.get(mask) == told.images.get(mask) for mask in masks)
    assert twin.add(path) == 0, "a second time adds nothing"


def counts(told: Desk, name: str, out: Path) -> dict[str, int]:
    done = export_labels(told.store, told.images, LabelledFilter(LINE), name, out)
    return dict(done.notes) | dict(done.left_out)


NOTES = [
    pytest.param("coco", {"say unsure, or name": 2, "people disagree": 1}, id="coco"),
    pytest.param("yolo", {"say unsure, or name": 2, "draw an outline or a mask": 4, "people disagree": 1}, id="yolo"),
    pytest.param(
        "yolo-seg", {"say unsure, or name": 2, "draw a box or a mask": 6, "people disagree": 1}, id="yolo-seg"
    ),
    pytest.param(
        "mvtec",
        {"say unsure": 1, "draw boxes or outlines": 6, "draw several": 2, "people disagree": 1},
        id="mvtec",
    ),
    pytest.param("label-studio", {"have a note": 11, "people disagree": 1}, id="label-studio"),
    pytest.param("csv", {}, id="csv"),
]


@pytest.mark.parametrize(("name", "expected"), NOTES)
def test_an_export_says_what_the_format_cannot(told: Desk, tmp_path: Path, name: str, expected: dict[str, int]) -> None:
    found = counts(told, name, tmp_path / "out")
    assert {start: count for start in expected for note, count in found.items() if note.startswith(start)} == expected
    assert len(found) == len(expected)


@pytest.mark.parametrize("name", ["coco", "yolo", "yolo-seg", "mvtec"])
def test_training_reads_exports_and_takes_no_unclear_part_for_good(told: Desk, tmp_path: Path, name: str) -> None:
    from training.data.layouts import open_dataset

    found = open_dataset(str(export(told, name, tmp_path / "out")))
    labels = {int(Path(sample.path).name.split("-")[1]): sample.label for sample in found.samples}
    good, defective = {1, 2, 9}, {3: "dent", 4: "scratch", 5: "dent", 6: "scratch", 12: "dent"}
    assert {number for number, label in labels.items() if label == "good"} == good
    if name in ("mvtec", "yolo"):
        defective[6] = "dent"  # the class whose masks, or boxes, are largest
    if name == "mvtec":
        defective[7] = "scratch"
    assert {number: labels.get(number) for number in defective} == defective
    assert 8 not in labels, "nobody could tell"
    assert (7 in labels) is (name == "mvtec"), "a defect without an area is no good part"


# Without the records: what other programs make of an export and hand back


def without_records(folder: Path, name: str) -> None:
    if name == "coco":
        document = json.loads((folder / "annotations.json").read_text())
        del document["inspector"]
        (folder / "annotations.json").write_text(json.dumps(document))
    elif name == "label-studio":
        tasks = json.loads((folder / "tasks.json").read_text())
        for task in tasks:
            del task["data"]["inspector"]
        (folder / "tasks.json").write_text(json.dumps(tasks))
    else:
        (folder / "inspector.json").unlink()


def shapes(labels: tuple[Label, ...]) -> list[tuple[str, str]]:
    return [(type(area.shape).__name__, area.defect_class) for label in labels for area in label.areas]


BARE = [
    pytest.param(
        "coco", [("Polygon", "scratch"), ("Mask", "dent"), ("Box", "dent"), ("Mask", "")], "scratch", id="coco"
    ),
    pytest.param(
        "label-studio",
        [("Polygon", "scratch"), ("Mask", "dent"), ("Box", "dent"), ("Mask", "")],
        "dent",
        id="label-studio",
    ),
    pytest.param("yolo", [("Box", "scratch"), ("Box", "dent"), ("Box", "dent"), ("Box", "")], "dent", id="yolo"),
    pytest.param(
        "yolo-seg",
        [
            ("Polygon", "scratch"),
            ("Polygon", "dent"),
            ("Polygon", "dent"),
            ("Polygon", "dent"),
            ("Polygon", ""),
            ("Polygon", ""),
        ],
        "scratch",
        id="yolo-seg",
    ),
    pytest.param("mvtec", [("Mask", "dent"), ("Mask", "")], "dent", id="mvtec"),
]


@pytest.mark.parametrize(("name", "expected", "what"), BARE)
def test_what_the_format_itself_carries(
    told: Desk, twin: Desk, tmp_path: Path, name: str, expected: list[tuple[str, str]], what: str
) -> None:
    folder = export(told, name, tmp_path / "out")
    without_records(folder, name)
    twin.add(folder)
    labels = twin.labels()
    (label,) = labels[6]
    assert sorted(shapes(labels[6])) == sorted(expected)
    assert label.what == what
    assert label.author == "importer"
    assert [one.what for number in (1, 2, 9) for one in labels[number]] == ["good"] * 3
    (box,) = [area.shape for area in labels[12][0].areas]
    if name != "mvtec":
        assert box in (Box(2, 2, 3, 3), Polygon(((2.0, 2.0), (5.0, 2.0), (5.0, 5.0), (2.0, 5.0))))
    assert labels[12][0].image == told.labels()[12][0].image, "the second picture of two"
    if name in ("coco", "label-studio"):
        masks = [area.shape for area in labels[5][0].areas]
        assert masks == [area.shape for area in told.labels()[5][0].areas]
    assert (7 in labels) is (name in ("label-studio", "mvtec"))


def test_an_edit_in_another_program_counts(told: Desk, twin: Desk, tmp_path: Path) -> None:
    folder = export(told, "coco", tmp_path / "out")
    document = json.loads((folder / "annotations.json").read_text())
    number = {image["file_name"].split("-")[1]: image["id"] for image in document["images"]}["3"]
    moved = [one for one in document["annotations"] if one["image_id"] == number]
    moved[0]["bbox"] = [1, 1, 2, 2]
    document["annotations"].remove(moved[1])
    document["images"] = [one for one in document["images"] if one["file_name"].split("-")[1] != "4"]
    kept = {one["id"] for one in document["images"]}
    document["annotations"] = [one for one in document["annotations"] if one["image_id"] in kept]
    (folder / "annotations.json").write_text(json.dumps(document))
    twin.add(folder, author="carla")
    labels, before = twin.labels(), told.labels()
    (edited,) = labels[3]
    assert (edited.author, edited.what, [area.shape for area in edited.areas]) == ("carla", "dent", [Box(1, 1, 2, 2)])
    assert 4 not in labels, "it was taken out there"
    assert labels[6] == before[6], "what nobody touched is as it was"


def test_parts_are_found_by_their_id_too(twin: Desk, tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("dent\n")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "A-3.txt").write_text("0 0.5 0.5 0.25 0.25\n")
    (tmp_path / "labels" / "A-4.txt").write_text("")
    assert twin.add(tmp_path, "yolo") == 2
    labels = twin.labels()
    assert [area.shape for area in labels[3][0].areas] == [Box(12, 12, 8, 8)]
    assert labels[4][0].what == "good"


def test_names_of_label_tools_before_a_file_do_not_hide_it(told: Desk, twin: Desk, tmp_path: Path) -> None:
    """Label Studio puts eight digits and a dash before what is uploaded."""
    folder = export(told, "label-studio", tmp_path / "out")
    text = (folder / "tasks.json").read_text().replace("local-files/?d=images/", "upload/1/abcd1234-")
    (folder / "tasks.json").write_text(text)
    assert twin.add(folder / "tasks.json") == 11
    assert twin.labels()[12] == told.labels()[12]


def test_nothing_is_overwritten_and_nothing_is_left_of_a_failure(
    told: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(LabelInvalid, match="is not overwritten"):
        export(told, "coco", tmp_path / "there")
    (tmp_path / "file").write_text("")
    with pytest.raises(LabelInvalid, match="cannot be written"):
        export(told, "coco", tmp_path / "file" / "out")
    with pytest.raises(LabelInvalid, match="no label to export"):
        export_labels(told.store, told.images, LabelledFilter("other"), "coco", tmp_path / "out")
    with pytest.raises(LabelInvalid, match="no format of labels: known are coco"):
        export(told, "pascal", tmp_path / "out")
    monkeypatch.setattr(told.images, "get", _fails)
    with pytest.raises(LabelInvalid, match="11: their picture is gone"):
        export(told, "coco", tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "there"]


def _fails(sha256: str) -> tuple[bytes, str]:
    from inspector.errors import ImageStoreError

    raise ImageStoreError(sha256)


# Run lengths

masks = st.builds(
    lambda width, height, bits: np.array([bits >> n & 1 for n in range(width * height)], np.bool_).reshape(
        height, width
    ),
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(0, 2**81 - 1),
)


@settings(max_examples=60, deadline=None)
@given(masks)
def test_run_lengths_of_any_mask_come_back(marked: np.ndarray) -> None:
    raster = raster_of(marked)
    assert (raster.marked() == marked).all()
    assert checked_raster(raster.width_px, raster.height_px, decode_counts(encode_counts(raster.counts), 100)) == raster
    brush = decode_brush(encode_brush(marked), raster.width_px, raster.height_px, "here")
    assert (brush == marked).all()


def test_a_long_run_of_brush_strokes_is_divided() -> None:
    marked = np.ones((300, 400), np.bool_)
    marked[0, 0] = False
    assert (decode_brush(encode_brush(marked), 400, 300, "here") == marked).all()


def test_brush_strokes_as_label_studio_writes_them() -> None:
    """Two pixels, the second marked: its converter's own encoding of eight values, bit by bit."""
    bits = (
        f"{8:032b}"
        + f"{7:05b}"
        + "0010"
        + "0011"
        + "0111"
        + "1111"
        + "1"
        + "00"
        + "011"
        + "0" * 8
        + "1"
        + "00"
        + "011"
        + "1" * 8
    )
    bits += "0" * (-len(bits) % 8)
    data = list(int(bits, 2).to_bytes(len(bits) // 8, "big"))
    assert decode_brush(data, 2, 1, "here").tolist() == [[False, True]]
    assert encode_brush(np.array([[False, True]])) == data


def test_a_mask_file_gives_its_runs() -> None:
    raster = Raster(3, 2, (1, 2, 3))
    from inspector.imaging.raster import raster_png

    assert read_mask(raster_png(raster), "m.png", DecodeLimits()) == raster
