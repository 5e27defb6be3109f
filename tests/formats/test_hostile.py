"""Files of labels from people who mean no good, or whose program wrote nonsense: a named error, and nothing is imported."""

from __future__ import annotations

import contextlib
import json
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from labelled_parts import LINE, SIZE_PX, Desk, desk

from inspector.errors import InspectorError, LabelInvalid
from inspector.formats import sources
from inspector.formats.label_studio import read_tasks
from inspector.formats.registry import FORMATS, read_labels
from inspector.formats.sources import FolderSource, open_source
from inspector.imaging.png import PNG_MAGIC


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Desk]:
    with desk(tmp_path / "desk") as here:
        yield here


def coco(**changes: Any) -> dict[str, Any]:
    """A COCO file of one part with one box; its lists take the changes."""
    document: dict[str, Any] = {
        "images": [{"id": 1, "file_name": "A-1.png", "width": SIZE_PX, "height": SIZE_PX}],
        "categories": [{"id": 1, "name": "dent"}],
        "annotations": [{"id": 7, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "segmentation": []}],
    }
    for key, change in changes.items():
        if isinstance(change, dict):
            document[key][0] |= change
        else:
            document[key] = change
    return document


RUNS = {"size": [SIZE_PX, SIZE_PX], "counts": [10, 5, 1009]}
RECORD = {
    "file": "part-1-0123456789ab.png", "part": 1, "part_id": "", "image": "", "size": [32, 32], "label": "dent",
    "author": "anna", "time": "2026-03-02T06:00:00Z", "note": "", "areas": [],
}  # fmt: skip


def extension(**changes: Any) -> dict[str, Any]:
    return {"version": 1, "records": [RECORD | changes]}


COCO = [
    pytest.param([], "holds no list|no label", id="an empty list"),
    pytest.param({"images": 3}, "categories of .* is nothing", id="a number for images"),
    pytest.param(coco(images=[]), "of image 1, which is not listed", id="an unknown image id"),
    pytest.param(coco(images={"id": "1"}), "has '1' for a number", id="an id that is text"),
    pytest.param(coco(images={"id": True}), "yes or no for a number", id="an id that is true"),
    pytest.param(coco(images={"id": 1.5}), "expected a whole number", id="half an id"),
    pytest.param(coco(images={"file_name": None}), "is nothing: expected text", id="no file name"),
    pytest.param(coco(images={"file_name": "../../etc/passwd"}), 'no inspection of part "passwd"', id="a path"),
    pytest.param(coco(images={"file_name": "A-1\x1b[2J"}), "names no part", id="a name that clears the screen"),
    pytest.param(coco(images={"file_name": "#1"}), "names no part", id="a name that poses as a number"),
    pytest.param(coco(images={"file_name": "part-99-0123456789ab.png"}), "not on record", id="a part of another line"),
    pytest.param(coco(images={"file_name": "part-1-0123456789ab.png"}), "is none of #1", id="another picture"),
    pytest.param(coco(images={"width": 64}), "drawn on 64 × 32 px, the picture of #1 has 32 × 32", id="another size"),
    pytest.param(coco(images={"width": 10**400}), "fits a picture", id="a width of 400 digits"),
    pytest.param(coco(images={"width": -1}), "outside the picture", id="a negative width"),
    pytest.param(
        coco(images=[{"id": 1, "file_name": f"A-{n}.png", "width": 32, "height": 32} for n in (1, 2)]),
        "twice",
        id="an id twice",
    ),
    pytest.param(coco(categories=[]), "not declared", id="an unknown category"),
    pytest.param(coco(categories={"name": "a/../b"}), "cannot name", id="a class with path parts"),
    pytest.param(coco(categories={"name": "\x1b[31m"}), "cannot name", id="a class with a control character"),
    pytest.param(coco(categories={"name": "x" * 65}), "names nothing", id="a class name too long"),
    pytest.param(coco(categories={"name": ["dent"]}), "expected text", id="a list for a class"),
    pytest.param(coco(annotations={"bbox": [1, 2, 3]}), "3 items: expected 4", id="a box of three"),
    pytest.param(coco(annotations={"bbox": [1, 2, 3, "4"]}), "'4' for a number", id="a box of text"),
    pytest.param(coco(annotations={"bbox": [1, 2, 0, 4]}), "0 wide", id="an empty box"),
    pytest.param(coco(annotations={"bbox": [1, 2, 300, 4]}), "outside the picture", id="a box beyond the picture"),
    pytest.param(coco(annotations={"bbox": [1, 2, float("nan"), 4]}), "NaN is no number", id="NaN"),
    pytest.param(coco(annotations={"bbox": [1, 2, float("inf"), 4]}), "Infinity is no number", id="infinity"),
    pytest.param(
        coco(annotations={"segmentation": [[1, 2, 3, 4]]}), "4 items: expected 6", id="a polygon of two points"
    ),
    pytest.param(coco(annotations={"segmentation": [[1, 2, 3, 4, 5, 6, 7]]}), "come in pairs", id="half a point"),
    pytest.param(
        coco(annotations={"segmentation": [[1, 2, 3, 4, 5, 1e6]]}), "outside the picture", id="a point far off"
    ),
    pytest.param(
        coco(annotations={"segmentation": RUNS | {"size": [64, 64]}}), "mask of 64 × 64 px", id="a mask of another size"
    ),
    pytest.param(coco(annotations={"segmentation": RUNS | {"counts": [10**12]}}), "add up to", id="a run of 10^12"),
    pytest.param(coco(annotations={"segmentation": RUNS | {"counts": [-1, 1025]}}), "add up to", id="a negative run"),
    pytest.param(
        coco(annotations={"segmentation": RUNS | {"counts": [1] * 2000}}), "2,000 items", id="more runs than pixels"
    ),
    pytest.param(coco(annotations={"segmentation": RUNS | {"counts": "\x00"}}), "damaged", id="damaged runs"),
    pytest.param(
        coco(annotations={"segmentation": RUNS | {"counts": [1024]}}), "marks nothing", id="a mask of nothing"
    ),
    pytest.param(coco(annotations={"segmentation": {"counts": []}}), "expected a list", id="a mask without a size"),
    pytest.param(
        coco(annotations=[{"image_id": 1, "category_id": 1, "bbox": [n % 30, 1, 1, 1]} for n in range(300)]),
        "more than the 256",
        id="hundreds of areas",
    ),
    pytest.param(coco() | {"inspector": {"version": 2}}, "version '2', known is 1", id="another version"),
    pytest.param(coco() | {"inspector": {"version": 1}}, "expected a list", id="no records"),
    pytest.param(coco() | {"inspector": extension(file="../../x.png")}, "names no part", id="a record of a path"),
    pytest.param(
        coco() | {"inspector": extension(file="part-1-0123456789ab.png/../x")},
        "names no part",
        id="a record of a path behind",
    ),
    pytest.param(
        coco() | {"inspector": extension(size=[10**6, 10**6])}, "1000000 × 1000000 px", id="a record of 10^12 px"
    ),
    pytest.param(
        coco() | {"inspector": extension(image="f" * 64)},
        "another picture than its file",
        id="a record of two pictures",
    ),
    pytest.param(coco() | {"inspector": extension(time="yesterday")}, "has the time 'yesterday'", id="a time in words"),
    pytest.param(coco() | {"inspector": extension(author=7)}, "expected text", id="a number for an author"),
    pytest.param(
        coco() | {"inspector": extension(areas=[{"class": "dent"}])}, "is nothing: give a box", id="an area of nothing"
    ),
    pytest.param(
        coco() | {"inspector": extension(areas=[{"class": "dent", "box": [0, 0, 1, 1], "mask": {}}])},
        "box and mask",
        id="an area of two kinds",
    ),
    pytest.param(
        coco() | {"inspector": extension(areas=[{"class": "dent", "mask": {"size": [9, 9], "counts": "1"}}])},
        "mask of 9 × 9",
        id="a record's mask of another size",
    ),
]


@pytest.mark.parametrize(("document", "says"), COCO)
def test_coco_that_cannot_be_right(here: Desk, tmp_path: Path, document: Any, says: str) -> None:
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps(document))
    with pytest.raises(LabelInvalid, match=says) as refused:
        here.add(path)
    assert "\x1b" not in str(refused.value)
    assert here.labels() == {}
    assert len(list((tmp_path / "desk" / "images").rglob("*.png"))) == 13, "no mask is left behind"


def test_the_document_that_these_were_made_of_is_right(here: Desk, tmp_path: Path) -> None:
    (tmp_path / "annotations.json").write_text(json.dumps(coco(annotations={"segmentation": RUNS})))
    assert here.add(tmp_path / "annotations.json") == 1


def test_one_wrong_part_of_many_and_nothing_is_imported(here: Desk, tmp_path: Path) -> None:
    images = [{"id": n, "file_name": f"A-{n}.png", "width": 32, "height": 32} for n in (1, 2, 99, 3)]
    (tmp_path / "annotations.json").write_text(json.dumps(coco(images=images, annotations=[])))
    with pytest.raises(LabelInvalid, match=r'A-99\.png.: line l1 has no inspection of part "A-99"'):
        here.add(tmp_path / "annotations.json")
    assert here.labels() == {}


YOLO = [
    pytest.param({"labels/A-1.txt": "0 0.5 0.5 0.1"}, "3 coordinates", id="three numbers"),
    pytest.param({"labels/A-1.txt": "0 0.5 0.5 nan 0.1"}, "no share", id="NaN"),
    pytest.param({"labels/A-1.txt": "0 0.5 0.5 inf 0.1"}, "no share", id="infinity"),
    pytest.param({"labels/A-1.txt": "0 1.5 0.5 0.1 0.1"}, "outside the picture", id="beyond the picture"),
    pytest.param({"labels/A-1.txt": "0 0.5 0.5 -0.1 0.1"}, "-0.1 wide", id="a negative box"),
    pytest.param({"labels/A-1.txt": "9 0.5 0.5 0.1 0.1"}, "'9', which is no class: there are 1", id="an unknown class"),
    pytest.param({"labels/A-1.txt": "-1 0.5 0.5 0.1 0.1"}, "no class", id="a negative class"),
    pytest.param({"labels/A-1.txt": "² 0.5 0.5 0.1 0.1"}, "no class", id="a digit that is none"),
    pytest.param({"labels/A-1.txt": "0 a b c d"}, "no numbers", id="words"),
    pytest.param({"labels/A-1.txt": b"\xff\xfe"}, "not UTF-8", id="another encoding"),
    pytest.param({"labels/A-1.txt": "\n" * 20_000}, "more than 10,000 lines", id="too many lines"),
    pytest.param({"labels/A-1.txt": "", "labels/b/A-1.txt": ""}, "two label files", id="two files of a part"),
    pytest.param({"labels/A-1.txt": "", "inspector.json": "[]"}, "expected an object", id="records of another kind"),
    pytest.param({"classes.txt": None, "labels/A-1.txt": "", "data.yaml": "nc: 3"}, "no list of names", id="no names"),
    pytest.param(
        {"classes.txt": None, "labels/A-1.txt": "", "data.yaml": "names:\n  1: a"},
        "not numbered from 0",
        id="names with gaps",
    ),
]


@pytest.mark.parametrize(("files", "says"), YOLO)
def test_yolo_that_cannot_be_right(here: Desk, tmp_path: Path, files: dict[str, Any], says: str) -> None:
    folder = write(tmp_path / "set", {"classes.txt": "dent\n", "labels/A-2.txt": ""} | files)
    with pytest.raises(LabelInvalid, match=says):
        here.add(folder)
    assert here.labels() == {}


NAMES = [
    pytest.param("names: [dent, 'scratch']\n", id="in brackets"),
    pytest.param("names:\n- dent\n- scratch\nnc: 2\n", id="with dashes"),
    pytest.param('names:\n  0: "dent"\n\n  1: scratch\n', id="by number"),
]


@pytest.mark.parametrize("text", NAMES)
def test_names_of_classes_as_tools_write_them(here: Desk, tmp_path: Path, text: str) -> None:
    here.add(write(tmp_path / "set", {"data.yaml": text, "labels/A-1.txt": "1 0.5 0.5 0.5 0.5"}))
    assert here.labels()[1][0].what == "scratch"


def write(folder: Path, files: dict[str, Any]) -> Path:
    for name, content in files.items():
        if content is not None:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


FOLDERS = [
    pytest.param({"test/dent/A-1.png": b"", "test/scratch/A-1.png": b""}, "lies in .test/dent", id="two classes"),
    pytest.param(
        {"train/good/A-1.png": b"", "ground_truth/good/A-1.png": "MASK"}, "good and has a mask", id="a good mask"
    ),
    pytest.param(
        {"test/dent/A-1.png": b"", "ground_truth/dent/A-1_mask.png": b"GIF8"}, "no PNG", id="a mask that is no PNG"
    ),
    pytest.param(
        {"test/dent/A-1.png": b"", "ground_truth/dent/A-1_mask.png": "HUGE"}, "more than the", id="500 megapixels"
    ),
    pytest.param(
        {"test/dent/A-1.png": b"", "ground_truth/dent/A-1_mask.png": "BLACK"}, "marks nothing", id="a black mask"
    ),
    pytest.param({"test/dent/A-99.png": b""}, "no inspection of part", id="an unknown part"),
    pytest.param({"test/dent/nested/A-1.png": b""}, "holds no label", id="too deep"),
]


@pytest.mark.parametrize(("files", "says"), FOLDERS)
def test_folders_that_cannot_be_right(here: Desk, tmp_path: Path, files: dict[str, Any], says: str) -> None:
    made = {"MASK": png(32, 32, 255), "HUGE": png(25_000, 20_000, 0, cut=True), "BLACK": png(32, 32, 0)}
    folder = write(tmp_path / "set", {name: made.get(content, content) for name, content in files.items()})
    with pytest.raises(InspectorError, match=says):
        here.add(folder, "mvtec")
    assert here.labels() == {}


def png(width: int, height: int, value: int, *, cut: bool = False) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"" if cut else (b"\0" + bytes([value]) * width) * height
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return PNG_MAGIC + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def task(result: list[Any] | None = None, **data: Any) -> list[Any]:
    return [{"data": {"image": "A-1.png"} | data, "annotations": [{"result": result or []}]}]


def area(kind: str, value: dict[str, Any], size: int = SIZE_PX) -> list[Any]:
    return [{"type": kind, "value": value, "original_width": size, "original_height": size}]


BOX = {"x": 10, "y": 10, "width": 10, "height": 10, "rectanglelabels": ["dent"]}
TASKS = [
    pytest.param({}, "expected a list", id="an object"),
    pytest.param([7], "expected an object", id="a number"),
    pytest.param(task([{"type": "choices", "value": {"choices": []}}]), "0 items: expected 1", id="no choice"),
    pytest.param(task([{"type": "choices", "value": {"choices": ["a", "b"]}}]), "2 items", id="two choices"),
    pytest.param(task(area("rectanglelabels", BOX | {"x": "10"})), "for a number", id="a box of text"),
    pytest.param(task(area("rectanglelabels", BOX | {"x": 200})), "outside the picture", id="a box beyond the picture"),
    pytest.param(task(area("rectanglelabels", BOX | {"rotation": 45})), "is turned", id="a turned box"),
    pytest.param(task(area("rectanglelabels", BOX, 10**6)), "1000000 px", id="a picture of 10^12 px"),
    pytest.param(
        task(area("polygonlabels", {"points": [[1, 1]], "polygonlabels": ["dent"]})), "expected 3", id="a point"
    ),
    pytest.param(
        task(area("brushlabels", {"format": "png", "brushlabels": ["dent"]})), "not in its rle", id="another brush"
    ),
    pytest.param(
        task(area("brushlabels", {"format": "rle", "rle": [1], "brushlabels": ["dent"]})),
        "end early",
        id="a short brush",
    ),
    pytest.param(
        task(area("brushlabels", {"format": "rle", "rle": [999], "brushlabels": ["dent"]})),
        "are no bytes",
        id="no bytes",
    ),
    pytest.param(
        task(area("brushlabels", {"format": "rle", "rle": [0, 0, 16, 0, *[255] * 40], "brushlabels": ["dent"]})),
        "beyond the picture|end early",
        id="a brush too long",
    ),
    pytest.param(task(inspector={"version": 1, "record": []}), "expected an object", id="a record that is a list"),
]


@pytest.mark.parametrize(("document", "says"), TASKS)
def test_tasks_that_cannot_be_right(document: Any, says: str) -> None:
    with pytest.raises(LabelInvalid, match=says):
        read_tasks(document, "tasks.json", "anna")


def test_who_and_when_of_label_studio(here: Desk, tmp_path: Path) -> None:
    tasks = task(area("rectanglelabels", BOX))
    about = {"completed_by": {"email": "carla@plant"}, "created_at": "2026-03-02T07:00:00Z"}
    tasks[0]["annotations"][0] |= about
    tasks[0]["annotations"].append({"result": area("rectanglelabels", BOX), "was_cancelled": True})
    (tmp_path / "tasks.json").write_text(json.dumps(tasks))
    here.add(tmp_path / "tasks.json")
    ((label,),) = here.labels().values()
    assert (label.author, label.time.isoformat(), label.what) == ("carla@plant", "2026-03-02T07:00:00+00:00", "dent")


# Archives


@pytest.mark.parametrize(
    "name", ["../labels.csv", "/labels.csv", "a/../../labels.csv", "..\\labels.csv", "C:/labels.csv"]
)
def test_an_archive_whose_names_lead_out(here: Desk, tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("labels.csv", "part,label\n#1,good\n")
        archive.writestr(name, "part,label\n#2,good\n")
    with pytest.raises(LabelInvalid, match="no path below its folder"):
        here.add(tmp_path / "a.zip")
    assert here.labels() == {}
    assert not (tmp_path.parent / "labels.csv").exists()


def test_an_archive_that_unpacks_to_gigabytes(here: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("labels.csv", b"part,label\n" + b"\n" * (80 << 20))
    assert (tmp_path / "bomb.zip").stat().st_size < 200_000
    with pytest.raises(LabelInvalid, match="unpacks to more than 64 MiB"):
        here.add(tmp_path / "bomb.zip")
    monkeypatch.setattr(sources, "MAX_TOTAL_BYTES", 1 << 20)
    files = {f"labels/A-{n}.txt": b"\n" * 9000 for n in range(1, 200)}
    with zipfile.ZipFile(tmp_path / "many.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in (files | {"classes.txt": b"dent"}).items():
            archive.writestr(name, data)
    with pytest.raises(LabelInvalid, match="unpacks to more than"):
        here.add(tmp_path / "many.zip")


def test_an_archive_that_lies_about_a_size(here: Desk, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("labels.csv", b"part,label\n#1,good\n")
    data = bytearray((tmp_path / "a.zip").read_bytes())
    at = data.rindex(b"PK\x01\x02") + 24
    data[at : at + 4] = (3).to_bytes(4, "little")
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(LabelInvalid, match=r"cannot be unpacked|no column"):
        here.add(tmp_path / "a.zip")


def test_an_archive_of_very_many_files(here: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MAX_FILES", 10)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for number in range(11):
            archive.writestr(f"{number}.txt", "")
    with pytest.raises(LabelInvalid, match="11 files, at most 10"):
        here.add(tmp_path / "a.zip")
    with pytest.raises(LabelInvalid, match="more than 10 files"):
        FolderSource(write(tmp_path / "set", {f"{number}.txt": "" for number in range(11)}))


@pytest.mark.parametrize("damage", [slice(0, 4), slice(-22, -18), slice(30, 60)], ids=["start", "end", "content"])
def test_a_damaged_archive(here: Desk, tmp_path: Path, damage: slice) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("labels.csv", "part,label\n" + "".join(f"#{n},good\n" for n in range(1, 12)))
    data = bytearray((tmp_path / "a.zip").read_bytes())
    data[damage] = b"\xff" * len(data[damage])
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(LabelInvalid):
        here.add(tmp_path / "a.zip")
    assert here.labels() == {}


def test_a_link_that_leads_out_of_the_folder(here: Desk, tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(png(32, 32, 255))
    folder = write(tmp_path / "set", {"test/dent/A-1.png": b""})
    (folder / "ground_truth" / "dent").mkdir(parents=True)
    (folder / "ground_truth" / "dent" / "A-1_mask.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(LabelInvalid, match="leads out"):
        here.add(folder)
    assert here.labels() == {}


def test_what_no_format_is_recognised_in(here: Desk, tmp_path: Path) -> None:
    with pytest.raises(LabelInvalid, match="looks like no format"):
        here.add(write(tmp_path / "set", {"readme.md": ""}))
    with pytest.raises(LabelInvalid, match="give the folder"):
        here.add(tmp_path / "set" / ".." / "classes.txt") if write(tmp_path, {"classes.txt": ""}) else None
    with pytest.raises(LabelInvalid, match="there is no file"):
        here.add(tmp_path / "nowhere")
    with pytest.raises(LabelInvalid, match="no labels as COCO"):
        here.add(tmp_path / "set", "coco")
    with pytest.raises(LabelInvalid, match="is no format of labels"):
        here.add(tmp_path / "set", "pascal")


# Anything at all

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["A-1.png", "dent"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("images", "annotations", "categories", "id", "file_name", "width", "height", "image_id", "bbox"),
                    *(
                        "category_id",
                        "segmentation",
                        "size",
                        "counts",
                        "name",
                        "data",
                        "image",
                        "result",
                        "value",
                        "type",
                    ),
                    *("inspector", "version", "records", "file", "areas", "part", "label", "box", "polygon", "mask"),
                ]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=30,
)


@pytest.mark.parametrize("name", ["coco", "label-studio", "csv"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(document=json_values)
def test_no_json_does_more_than_be_refused(tmp_path: Path, name: str, document: Any) -> None:
    path = tmp_path / "any.json"
    path.write_text(json.dumps(document))
    with open_source(path) as (source, given_name), contextlib.suppress(LabelInvalid):
        read_labels(source, given_name, "anna", name)


def test_every_format_has_a_title_and_is_asked_for_by_name() -> None:
    assert LINE
    assert all(name == name.casefold() and kind.title for name, kind in FORMATS.items())
