"""Label files of every format give the right labels and areas; hostile ones give an error or a note, and nothing else."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from training_pictures import SIZE_PX, part, save

from inspector.errors import DataError
from training.data.drawing import IGNORE, Drawing, Rectangle
from training.data.layouts import open_dataset
from training.data.reading import Preparation
from training.data.samples import Dataset, Sample, sample_identity
from training.data.survey import survey


def _images(root: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        save(root / name, part(number))
    return root


def _text(root: Path, name: str, text: str | bytes) -> Path:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(text.encode() if isinstance(text, str) else text)
    return root


def _brief(dataset: Dataset) -> dict[str, tuple[str, ...]]:
    return {sample.path: sample.labels for sample in dataset.samples}


def _noted(dataset: Dataset) -> set[tuple[str, str]]:
    return {(note.kind, note.about) for note in dataset.notes}


# VisA


def _visa(root: Path) -> Path:
    folder = "candle/Data/Images"
    _images(root, *(f"{folder}/{name}" for name in ("Normal/0.JPG", "Normal/1.JPG", "Anomaly/0.JPG", "Anomaly/1.JPG")))
    for number in range(2):
        mask = np.zeros((SIZE_PX, SIZE_PX), np.uint8)
        mask[5:9, 5:9], mask[20:22, 20:22] = 1, 3
        save(root / f"candle/Data/Masks/Anomaly/{number}.png", mask)
    rows = [
        "image,label,mask",
        "candle/Data/Images/Anomaly/0.JPG,melt,candle/Data/Masks/Anomaly/0.png",
        'candle/Data/Images/Anomaly/1.JPG,"bent,chunk of wax",candle/Data/Masks/Anomaly/1.png',
        "candle/Data/Images/Normal/0.JPG,normal,",
        "candle/Data/Images/Normal/1.JPG,normal,",
        "candle/Data/Images/Normal/2.JPG,normal,",
    ]
    split = [
        "object,split,label,image,mask",
        "candle,train,normal,candle/Data/Images/Normal/0.JPG,",
        "candle,test,normal,candle/Data/Images/Normal/1.JPG,",
        "pcb1,test,normal,pcb1/Data/Images/Normal/0.JPG,",
        "candle,test,anomaly,candle/Data/Images/Anomaly/0.JPG,candle/Data/Masks/Anomaly/0.png",
    ]
    _text(root, "candle/image_anno.csv", "\n".join(rows))
    return _text(root, "split_csv/1cls.csv", "\n".join(split))


def test_visa_as_published(tmp_path: Path) -> None:
    dataset = open_dataset(str(_visa(tmp_path) / "candle"))
    assert dataset.layout == "visa"
    assert list(dataset.samples) == [
        Sample("Data/Images/Anomaly/0.JPG", "melt", "Data/Masks/Anomaly/0.png", "test"),
        Sample("Data/Images/Anomaly/1.JPG", "bent", "Data/Masks/Anomaly/1.png", "", also=("chunk of wax",)),
        Sample("Data/Images/Normal/0.JPG", "good", "", "train"),
        Sample("Data/Images/Normal/1.JPG", "good", "", "test"),
    ]
    assert _noted(dataset) == {("missing", "Data/Images/Normal/2.JPG")}
    assert not survey(dataset, Preparation(SIZE_PX, SIZE_PX, 1)).mask_problems


def test_visa_made_like_mvtec_by_its_own_script(tmp_path: Path) -> None:
    _images(tmp_path, "train/good/0.JPG", "test/good/1.JPG", "test/bad/2.JPG")
    save(tmp_path / "ground_truth" / "bad" / "2.png", np.zeros((SIZE_PX, SIZE_PX), np.uint8))
    dataset = open_dataset(str(tmp_path))
    assert dataset.layout == "mvtec-ad"
    assert dataset.sample("test/bad/2.JPG").mask == "ground_truth/bad/2.png"


@pytest.mark.parametrize("make", [_visa, lambda r: _images(r, "screw/train/good/0.png", "nut/train/good/1.png")])
def test_a_folder_of_data_sets_asks_for_one_of_them(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    with pytest.raises(DataError, match="give one of these folders"):
        open_dataset(str(make(tmp_path)))


# KolektorSDD


def test_kolektor_tells_labels_by_masks_and_parts_by_folders(tmp_path: Path) -> None:
    _images(tmp_path, "kos01/Part0.jpg", "kos01/Part1.jpg", "kos02/Part0.jpg", "kos02/Part1.jpg", "kos03/Part0.jpg")
    empty = np.zeros((SIZE_PX, SIZE_PX), np.uint8)
    marked = empty.copy()
    marked[4, 4] = 255
    save(tmp_path / "kos01/Part0_label.bmp", empty)
    save(tmp_path / "kos01/Part1_label.bmp", marked)
    save(tmp_path / "kos02/Part0_label.png", marked)
    _text(tmp_path, "kos03/Part0_label.bmp", "no picture")
    dataset = open_dataset(str(tmp_path))
    assert dataset.layout == "kolektor-sdd"
    assert list(dataset.samples) == [
        Sample("kos01/Part0.jpg", "good", group="kos01"),
        Sample("kos01/Part1.jpg", "defective", "kos01/Part1_label.bmp", group="kos01"),
        Sample("kos02/Part0.jpg", "defective", "kos02/Part0_label.png", group="kos02"),
    ]
    assert _noted(dataset) == {("unlabelled", "kos02/Part1.jpg"), ("label", "kos03/Part0.jpg")}


# Folders


def test_folders_have_areas_to_ignore_and_note_what_does_not_fit(tmp_path: Path) -> None:
    _images(tmp_path, "good/a.png", "cut/b.png", "ignore/good/a.png", "ground_truth/cut/other.png")
    (tmp_path / "dent").mkdir()
    dataset = open_dataset(str(tmp_path))
    assert list(dataset.samples) == [
        Sample("cut/b.png", "cut"),
        Sample("good/a.png", "good", ignore="ignore/good/a.png"),
    ]
    assert _noted(dataset) == {("class", "dent"), ("missing", "ground_truth/cut/other.png")}


# COCO


def _coco(root: Path, annotations: list[dict[str, Any]], name: str = "annotations.json", **images: Any) -> Path:
    _images(root, "images/a.png", "images/b.png")
    listed = [
        {"id": 1, "file_name": "a.png", "width": SIZE_PX, "height": SIZE_PX, **images},
        {"id": 2, "file_name": "b.png", "width": SIZE_PX, "height": SIZE_PX},
    ]
    names = ("cut", "dent", "Good", IGNORE)
    categories = [{"id": number, "name": label} for number, label in enumerate(names, start=1)]
    document = {"images": listed, "annotations": annotations, "categories": categories}
    return _text(root, name, json.dumps(document))


def _on_a(category: int = 1, **area: Any) -> dict[str, Any]:
    return {"id": 7, "image_id": 1, "category_id": category, **area}


SQUARE = [8, 4, 24, 4, 24, 20, 8, 20]


def test_coco_reads_outlines_boxes_runs_and_crowds(tmp_path: Path) -> None:
    counts = [8 * 64 + 4, *([16, 48] * 15), 16, 40 * 64 + 44]
    annotations = [
        _on_a(1, segmentation=[SQUARE]),
        _on_a(2, segmentation={"size": [64, 64], "counts": counts}),
        _on_a(2, bbox=[40, 40, 20, 20], segmentation=[]),
        _on_a(1, segmentation={"size": [64, 64], "counts": [0, 64, 64 * 63]}, iscrowd=1),
        _on_a(3, bbox=[0, 0, 64, 64]),
    ]
    dataset = open_dataset(str(_coco(tmp_path, annotations)))
    assert dataset.layout == "coco"
    assert _brief(dataset) == {"images/a.png": ("dent", "cut"), "images/b.png": ("good",)}
    assert dataset.notes == ()
    drawing = dataset.sample("images/a.png").drawing
    assert drawing is not None
    square = np.zeros((64, 64), bool)
    square[4:20, 8:24] = True
    assert (drawing.marked("cut", 64, 64) & square).sum() == 256
    assert drawing.marked("dent", 64, 64).sum() == 256 + 400
    assert np.array_equal(np.argwhere(drawing.marked(IGNORE, 64, 64))[:, 1], np.zeros(64))


@pytest.mark.parametrize(
    ("file", "given", "image"),
    [
        pytest.param("annotations/instances_default.json", "", "images/a.png", id="CVAT: annotations beside images"),
        pytest.param("images/_annotations.coco.json", "images/_annotations.coco.json", "a.png", id="the file itself"),
        pytest.param("annotations/x.json", "annotations/x.json", "images/a.png", id="a file in annotations"),
    ],
)
def test_coco_files_lie_in_several_places(tmp_path: Path, file: str, given: str, image: str) -> None:
    _coco(tmp_path, [_on_a(1, bbox=[1, 1, 9, 9])], file)
    dataset = open_dataset(str(tmp_path / given))
    assert dataset.layout == "coco"
    assert dataset.sample(image).label == "cut"


def test_coco_of_roboflow_keeps_its_split(tmp_path: Path) -> None:
    for split in ("train", "valid", "test"):
        _images(tmp_path, f"{split}/{split}.png")
        image = {"id": 0, "file_name": f"{split}.png", "width": SIZE_PX, "height": SIZE_PX}
        document = {"images": [image], "annotations": [], "categories": []}
        _text(tmp_path, f"{split}/_annotations.coco.json", json.dumps(document))
    splits = [(s.path, s.published_split) for s in open_dataset(str(tmp_path)).samples]
    assert splits == [("test/test.png", "test"), ("train/train.png", "train"), ("valid/valid.png", "train")]


BAD_AREAS = [
    pytest.param({"segmentation": [[1, 1, math.nan, 5, 9, 9]]}, "is nan", id="NaN"),
    pytest.param({"segmentation": [[1, 1, 1e308, 5, 9, 9]]}, "outside the picture", id="a huge polygon"),
    pytest.param({"segmentation": [[1, 1] * 200_000]}, "at most", id="a polygon of 200,000 points"),
    pytest.param({"segmentation": [[1, 1, 5]]}, "in pairs", id="half a point"),
    pytest.param({"segmentation": [["x"] * 6]}, "not as COCO", id="text for numbers"),
    pytest.param({"segmentation": [[1, 1, 2, 2]]}, "2 points", id="a line"),
    pytest.param({"bbox": [1, 1, -5, 5]}, "wide and", id="a negative box"),
    pytest.param({"bbox": [1, 1]}, "not as COCO", id="half a box"),
    pytest.param({"bbox": [5000, 1, 5, 5]}, "outside the picture", id="a box outside"),
    pytest.param({"segmentation": {"size": [64, 64], "counts": [10**15]}}, "add up to", id="run-length bomb"),
    pytest.param(
        {"segmentation": {"size": [10**6, 10**6], "counts": [10**12]}}, "run lengths are of", id="another size"
    ),
    pytest.param({"segmentation": {"size": [64, 64], "counts": "o" * 5000}}, "damaged", id="endless compressed number"),
    pytest.param({"segmentation": {"size": [64, 64], "counts": "1" * 9999}}, "more than 4097", id="too many runs"),
    pytest.param({"segmentation": {"counts": [4096]}}, "not as COCO", id="runs without size"),
]


@pytest.mark.parametrize(("area", "says"), BAD_AREAS)
def test_an_area_that_cannot_be_leaves_the_label_and_no_mask(tmp_path: Path, area: dict[str, Any], says: str) -> None:
    dataset = open_dataset(str(_coco(tmp_path, [_on_a(1, segmentation=[SQUARE]), _on_a(2, **area)])))
    assert dataset.sample("images/a.png") == Sample("images/a.png", "cut", also=("dent",))
    (note,) = dataset.notes
    assert (note.kind, note.about) == ("area", "images/a.png")
    assert says in note.reason


@pytest.mark.parametrize(("width", "says"), [(10**9, "1000000000 × 64 px"), (0, "0 × 64"), (-64, "-64 × 64")])
def test_a_picture_of_impossible_size_has_no_areas(tmp_path: Path, width: int, says: str) -> None:
    dataset = open_dataset(str(_coco(tmp_path, [_on_a(1, segmentation=[SQUARE])], width=width)))
    assert says in dataset.notes[0].reason


def test_areas_drawn_on_another_size_are_found_by_the_survey(tmp_path: Path) -> None:
    dataset = open_dataset(str(_coco(tmp_path, [_on_a(1, segmentation=[SQUARE])], width=SIZE_PX * 2)))
    seen = survey(dataset, Preparation(SIZE_PX, SIZE_PX, 1))
    assert "drawn on 128 × 64 px" in seen.mask_problems[0].reason
    assert seen.images[0].sample.drawing is None


@pytest.mark.parametrize(
    "name",
    ["../secret.png", "/etc/passwd", "a/../../secret.png", "..\\secret.png", "C:\\secret.png", "", ".", "a\0b.png"],
)
def test_paths_that_lead_out_of_the_data_set_are_refused(tmp_path: Path, name: str) -> None:
    save(tmp_path / "secret.png", part(1))
    with pytest.raises(DataError, match="no path below its folder"):
        open_dataset(str(_coco(tmp_path / "set", [], file_name=name)))


def test_links_in_a_circle_and_folders_are_missing_files(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "loop.png").symlink_to("loop.png")
    assert ("missing", "images/loop.png") in _noted(open_dataset(str(_coco(tmp_path, [], file_name="loop.png"))))
    (tmp_path / "images" / "folder.png").mkdir()
    assert ("missing", "images/folder.png") in _noted(open_dataset(str(_coco(tmp_path, [], file_name="folder.png"))))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        '{"images": 3}',
        '{"images": [], "annotations": []}',
        '{"images": [{"id": 1}], "annotations": [], "categories": []}',
        '{"images": [], "annotations": [{"image_id": "x"}], "categories": []}',
        '{"images": [], "annotations": [3], "categories": []}',
        '{"images": [{"id": Infinity, "file_name": "a"}], "annotations": [], "categories": []}',
        "[" * 100_000,
        b"\xff\xfe{}",
    ],
)
def test_what_is_no_coco_file_says_so(tmp_path: Path, text: str | bytes) -> None:
    with pytest.raises(DataError, match=r"annotations\.json is (no COCO|not UTF-8)"):
        open_dataset(str(_text(tmp_path, "annotations.json", text)))


def test_labels_that_do_not_fit_together_are_noted(tmp_path: Path) -> None:
    annotations = [_on_a(9, bbox=[1, 1, 5, 5]), {"id": 8, "image_id": 77, "category_id": 1, "bbox": [1, 1, 5, 5]}]
    _images(tmp_path, "images/unlisted.png")
    dataset = open_dataset(str(_coco(tmp_path, annotations)))
    assert _brief(dataset) == {"images/b.png": ("good",)}
    assert _noted(dataset) == {
        ("label", "images/a.png"),
        ("missing", "image 77"),
        ("class", "cut"),
        ("class", "dent"),
        ("unlabelled", "images/unlisted.png"),
    }


def test_an_image_listed_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"both list images/b\.png"):
        open_dataset(str(_coco(tmp_path, [], file_name="b.png")))


# YOLO


def _yolo(root: Path, labels: str | None, names: str = "names: [cut, dent, ignore]") -> Path:
    _images(root, "images/train/a.png", "images/val/b.png")
    _text(root, "labels/val/b.txt", "")
    if labels is not None:
        _text(root, "labels/train/a.txt", labels)
    return _text(root, "data.yaml", names)


def test_yolo_reads_boxes_and_outlines(tmp_path: Path) -> None:
    labels = "0 0.25 0.25 0.25 0.25\n1 0.5 0.5 1.0 0.5 1.0 1.0 0.5 1.0\n\n2 0.1 0.1 0.1 0.1\n"
    dataset = open_dataset(str(_yolo(tmp_path, labels)))
    assert dataset.layout == "yolo"
    assert _brief(dataset) == {"images/train/a.png": ("dent", "cut"), "images/val/b.png": ("good",)}
    drawing = dataset.sample("images/train/a.png").drawing
    assert drawing is not None
    assert drawing.shapes[0] == Rectangle("cut", 0.125, 0.125, 0.25, 0.25)
    assert drawing.marked("cut", 64, 64).sum() == 256


@pytest.mark.parametrize(
    "names", ["names: {0: cut, 1: dent}", "path: /nowhere\ntrain: ../../x\nnames:\n- cut\n- dent\n"]
)
def test_yolo_names_are_a_list_or_a_table_and_its_paths_are_not_followed(tmp_path: Path, names: str) -> None:
    assert open_dataset(str(_yolo(tmp_path, "1 0.5 0.5 0.1 0.1", names))).classes == ("dent",)


def test_yolo_with_classes_txt_and_labels_beside_the_images(tmp_path: Path) -> None:
    _text(_images(tmp_path, "a.png"), "a.txt", "0 0.5 0.5 0.1 0.1")
    dataset = open_dataset(str(_text(tmp_path, "classes.txt", "cut\n")))
    assert _brief(dataset) == {"a.png": ("cut",)}


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        pytest.param("0 1.5 0.5 0.1 0.1", "area", id="outside of 0 to 1"),
        pytest.param("0 nan 0.5 0.1 0.1", "area", id="NaN"),
        pytest.param("0 0.5 0.5 0 0.1", "area", id="a box without width"),
        pytest.param("0 0.5 0.5 0.1", "area", id="three numbers"),
        pytest.param("0 0.5 0.5 0.1 0.1 0.9", "area", id="a prediction with its confidence"),
        pytest.param("0 0.5 0.5 x 0.1", "area", id="no number"),
        pytest.param("7 0.5 0.5 0.1 0.1", "label", id="a class that has no name"),
        pytest.param("-1 0.5 0.5 0.1 0.1", "label", id="a negative class"),
        pytest.param("cut 0.5 0.5 0.1 0.1", "label", id="a name for a number"),
        pytest.param("9" * 5000, "label", id="a number of 5,000 digits"),
        pytest.param(None, "unlabelled", id="no label file: not known to be good"),
    ],
)
def test_yolo_labels_that_cannot_be(tmp_path: Path, line: str | None, kind: str) -> None:
    dataset = open_dataset(str(_yolo(tmp_path, line, "names: [cut]")))
    assert (kind, "images/train/a.png") in _noted(dataset)
    assert _brief(dataset).get("images/train/a.png") == (("cut",) if kind == "area" else None)
    assert all(sample.drawing is None for sample in dataset.samples)


def test_a_yolo_box_a_hair_outside_is_clipped(tmp_path: Path) -> None:
    drawing = open_dataset(str(_yolo(tmp_path, "0 0.05 0.5 0.105 0.1"))).sample("images/train/a.png").drawing
    assert drawing is not None
    assert drawing.shapes[0] == Rectangle("cut", 0.0, 0.45, pytest.approx(0.1025), pytest.approx(0.1))


@pytest.mark.parametrize(
    "names", ["", "names: 3", "names: [[cut]]", "names: {x: cut}", "names: [", "!!python/name:os.system"]
)
def test_what_names_no_yolo_classes_says_so(tmp_path: Path, names: str) -> None:
    with pytest.raises(DataError, match=r"data\.yaml does not name the classes"):
        open_dataset(str(_yolo(tmp_path, "", names)))


# CSV


def _csv(root: Path, text: str | bytes) -> Path:
    return _text(_images(root, "a.png", "b.png", "c.png", "m.png"), "labels.csv", text)


def test_csv_with_all_columns(tmp_path: Path) -> None:
    text = (
        "lot,image,label,mask,group,split,ignore,comment,agreement\n"
        "L1,a.png,scratch|dent,m.png,p1,test,,,\nL1,b.png,GOOD,,p1,val,m.png,fine,0.75\nL2,c.png, good ,,p2,,,,1\n"
    )
    dataset = open_dataset(str(_csv(tmp_path, text)))
    assert dataset.layout == "csv"
    assert list(dataset.samples) == [
        Sample("a.png", "scratch", "m.png", "test", also=("dent",), group="p1", lot="L1"),
        Sample("b.png", "good", "", "train", group="p1", lot="L1", ignore="m.png", agreement=0.75),
        Sample("c.png", "good", "", "", group="p2", lot="L2"),
    ]
    assert dataset.notes == ()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("image;label\na.png;good\n", id="semicolons, as spreadsheets write them"),
        pytest.param("image\tlabel\na.png\tgood\n", id="tabs"),
        pytest.param(b"\xef\xbb\xbfImage,Label\r\na.png,good\r\n", id="byte order mark, capitals, CR LF"),
        pytest.param('image,label\n"a.png","good"\n\n', id="quotes and an empty line"),
        pytest.param("label,image\ngood,./a.png", id="another order, no last line end"),
    ],
)
def test_csv_as_programs_write_it(tmp_path: Path, text: str | bytes) -> None:
    assert _brief(open_dataset(str(_csv(tmp_path, text)))) == {"a.png": ("good",)}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("", "no column image and no column label", id="empty"),
        pytest.param("image,class\na.png,good\n", "no column label", id="no label"),
        pytest.param("image,label,label\na.png,good,good\n", "two columns label", id="a column twice"),
        pytest.param("image,label\na.png,good\na.png,good\n", "lines 2 and 3", id="a row twice"),
        pytest.param("image,label\na.png,good\n./a.png,cut\n", "lines 2 and 3", id="two labels for one image"),
        pytest.param("image,label\na.png,good,x\n", "has 3 columns", id="a row too long"),
        pytest.param("image,label\na.png\n", "has 1 columns", id="a row too short"),
        pytest.param("image,label\na.png,good|cut\n", "both good and defective", id="good and defective"),
        pytest.param("image,label,split\na.png,good,holdout\n", "split 'holdout'", id="an unknown split"),
        pytest.param("image,label,agreement\na.png,good,most\n", "agreement 'most'", id="an agreement in words"),
        pytest.param("image,label,agreement\na.png,good,0\n", "agreement '0'", id="nobody agrees"),
        pytest.param("image,label,agreement\na.png,good,nan\n", "agreement 'nan'", id="an agreement that is no number"),
        pytest.param("image,label\n../a.png,good\n", "no path below", id="a path upwards"),
        pytest.param("image,label,mask\na.png,cut,/etc/passwd\n", "no path below", id="an absolute mask"),
        pytest.param("image,label\nü.png,good\n".encode("latin-1"), "not UTF-8 text", id="Latin-1"),
        pytest.param("image,label\na.png,good\n".encode("utf-16"), "not UTF-8 text", id="UTF-16"),
        pytest.param('image,label\n"a.png,good\n', "is no CSV", id="a quote that never ends"),
        pytest.param("image,label\n" + "x" * 200_000 + ",good\n", "is no CSV", id="an endless cell"),
    ],
)
def test_csv_that_cannot_be_says_what_is_wrong(tmp_path: Path, text: str | bytes, says: str) -> None:
    with pytest.raises(DataError, match=says):
        open_dataset(str(_csv(tmp_path, text)))


def test_solar_cells_keep_what_their_experts_did_not_agree_on(tmp_path: Path) -> None:
    rows = "images/a.png 0.0 mono\nimages/b.png 0.3333333 poly\nimages/c.png 0.6666667 mono\nimages/d.png 1.0 poly\n"
    root = _text(_images(tmp_path, *(f"images/{name}.png" for name in "abcd")), "labels.csv", rows)
    labels = [(sample.label, round(sample.agreement, 3)) for sample in open_dataset(str(root)).samples]
    assert labels == [("good", 1.0), ("good", 0.667), ("possibly-defective", 1.0), ("defective", 1.0)]


def test_what_was_not_agreed_on_is_in_the_digest_of_the_data() -> None:
    sure, unsure = Sample("a.png", "good"), Sample("a.png", "good", agreement=0.75)
    assert sample_identity(sure, "0") != sample_identity(unsure, "0")
    assert sample_identity(sure, "0") == ("a.png", "0", '["good"]', "", "", "", "", "")


def test_csv_notes_what_is_missing_on_either_side(tmp_path: Path) -> None:
    text = "image,label,mask\na.png,cut,gone.png\nnone.png,good,\nb.png,,\n"
    dataset = open_dataset(str(_csv(tmp_path, text)))
    assert list(dataset.samples) == [Sample("a.png", "cut")]
    assert _noted(dataset) == {
        ("missing", "gone.png"),
        ("missing", "none.png"),
        ("unlabelled", "b.png"),
        ("unlabelled", "c.png"),
        ("unlabelled", "m.png"),
    }


def test_nothing_usable_says_what_the_first_problem_is(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"read as csv, holds no images that can be used, and 5 that cannot.*no such file"
    ):
        open_dataset(str(_csv(tmp_path, "image,label\ngone.png,good\n")))


# Whatever comes


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(["annotations.json", "labels.csv", "data.yaml", "image_anno.csv"]),
    data=st.binary(max_size=300),
)
def test_random_bytes_give_a_data_set_or_an_error_of_ours(tmp_path: Path, name: str, data: bytes) -> None:
    for other in ("annotations.json", "labels.csv", "data.yaml", "image_anno.csv"):
        (tmp_path / other).unlink(missing_ok=True)
    _text(tmp_path, name, data)
    # None of these names an image that is there: whatever is not refused would be made up.
    with pytest.raises(DataError, match=f"{re.escape(name)}|{re.escape(str(tmp_path))}"):
        open_dataset(str(tmp_path))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(segmentation=_JSON, box=_JSON, crowd=_JSON)
def test_any_json_for_an_area_gives_a_drawing_or_a_note(
    tmp_path: Path, segmentation: Any, box: Any, crowd: Any
) -> None:
    dataset = open_dataset(str(_coco(tmp_path, [_on_a(1, segmentation=segmentation, bbox=box, iscrowd=crowd)])))
    drawing = dataset.sample("images/a.png").drawing
    assert drawing is None or isinstance(drawing, Drawing)
