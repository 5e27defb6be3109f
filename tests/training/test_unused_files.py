"""What lies in a data set and is not used is said; what belongs beside pictures is not."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from requires import require_data
from rich.console import Console
from training_line import Line
from training_pictures import part, save, write_parts

from inspector.errors import DataError
from training.data.importers.unused import MOST_PLACES
from training.data.layouts import open_dataset
from training.data.reading import Preparation
from training.data.report import report
from training.data.survey import survey
from training.tables import fit_view, left_out_text, report_view


def _make(root: Path, *files: str) -> Path:
    for number, name in enumerate(files):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix in (".png", ".jpg"):
            save(path, part(number))
        elif path.suffix == ".webp":
            Image.fromarray(part(number)).save(path)
        else:
            path.write_bytes(b"{}")
    return root


def _unused(root: Path) -> dict[str, int]:
    """The first number of each note: how many files it is about."""
    return {n.about: int(n.reason.split()[0]) for n in open_dataset(str(root)).notes if n.kind == "unused"}


HALF = ["good/0.png", "good/1.png", "good/2.webp", "good/3.webp", "a.png", "b.png", "c.png"]

USED = [
    pytest.param([], {}, id="nothing else"),
    pytest.param(
        ["README.md", "LICENSE", "license.txt", "labels.json", "good/Thumbs.db"], {}, id="words about the set"
    ),
    pytest.param([".cache/a.png", "good/.hidden.webp"], {}, id="what is hidden"),
    pytest.param(["ground_truth/cut/0.png", "ignore/cut/0.png"], {}, id="masks and areas to ignore"),
    pytest.param(
        ["good/1.webp", "good/2.HEIC", "cut/a.gif"],
        {"good/*.webp": 1, "good/*.heic": 1, "cut/*.gif": 1},
        id="kinds that are not read",
    ),
    pytest.param(["1.png", "2.png", "3.jpg"], {"*.png": 2, "*.jpg": 1}, id="pictures beside the folders"),
    pytest.param(["cut/0.json", "cut/0.xml"], {"cut/*.json": 1, "cut/*.xml": 1}, id="outlines that nobody reads"),
    pytest.param(["ground_truth/cut/0.webp"], {"ground_truth/**/*.webp": 1}, id="masks of a kind that is not read"),
    pytest.param(["all.zip"], {"*.zip": 1}, id="pictures that are packed"),
]


@pytest.mark.parametrize(("more", "said"), USED)
def test_folders_of_classes(tmp_path: Path, more: list[str], said: dict[str, int]) -> None:
    assert _unused(_make(tmp_path, "good/0.png", "cut/0.png", *more)) == said


@pytest.mark.parametrize(
    ("files", "said"),
    [
        pytest.param(
            ["val/good/0.png", "val/cut/1.png", "validation/good/2.jpg", "train/3.png", "test/good/4.webp"],
            {"val/**/*.png": 2, "validation/**/*.jpg": 1, "train/*.png": 1, "test/good/*.webp": 1},
            id="another split than the two",
        ),
        pytest.param(["readme.txt", "ground_truth/cut/0_mask.png"], {}, id="all of it"),
    ],
)
def test_the_layout_of_mvtec(tmp_path: Path, files: list[str], said: dict[str, int]) -> None:
    assert _unused(_make(tmp_path, "train/good/0.png", "test/good/1.png", "test/cut/0.png", *files)) == said


def test_masks_of_magnetic_tiles_are_no_pictures_and_pictures_without_one_are_said(tmp_path: Path) -> None:
    tiles = ["MT_Free/Imgs/a.jpg", "MT_Free/Imgs/a.png", "MT_Crack/Imgs/b.jpg", "MT_Crack/Imgs/b.png"]
    assert _unused(_make(tmp_path, *tiles)) == {}
    more = ["MT_Free/Imgs/c.png", "MT_Free/d.jpg", "other/e.jpg"]
    said = {"MT_Free/Imgs/*.png": 1, "MT_Free/*.jpg": 1, "other/*.jpg": 1}
    assert _unused(_make(tmp_path, *more)) == said


def test_beside_a_table_labels_are_no_pictures(tmp_path: Path) -> None:
    (_make(tmp_path, "images/a.png", "images/b.webp", "meta/x.json") / "labels.csv").write_text(
        "image,label\nimages/a.png,good\n"
    )
    assert _unused(tmp_path) == {"images/*.webp": 1}


def test_a_folder_behind_a_link_is_said_unless_it_is_a_class(tmp_path: Path) -> None:
    _make(tmp_path, "set/good/0.png", "elsewhere/1.png")
    (tmp_path / "set" / "cut").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set" / "good" / "more").symlink_to(tmp_path / "elsewhere")
    assert _unused(tmp_path / "set") == {"good/*/": 1}
    assert open_dataset(str(tmp_path / "set")).classes == ("cut",)


def test_many_places_are_summed_up(tmp_path: Path) -> None:
    places = [f"good/{number:02d}/{each}.webp" for number in range(MOST_PLACES + 5) for each in "ab"]
    said = _unused(_make(tmp_path, "good/0.png", *places))
    assert len(said) == MOST_PLACES + 1
    assert said["5 more places"] == 10


def test_check_data_and_fit_say_what_half_of_the_data_is_not_used(
    fitted_line: Line, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = open_dataset(str(_make(tmp_path, *HALF)))
    (tmp_path / "good" / "broken.png").write_bytes(b"")
    seen = survey(open_dataset(str(tmp_path)), Preparation(1, 1, 1))
    told = left_out_text(seen)
    assert told == (
        "1 unreadable images; *.png: 3 files beside the folders that give labels; good/*.webp: 2 files, and this is no kind "
        "of picture that is read. check-data says why"
    )
    Console(width=200).print(fit_view(replace(fitted_line.outcome, survey=seen)))
    assert "good/*.webp: 2 files" in " ".join(capsys.readouterr().out.split())
    found = report(seen)
    written = json.loads(json.dumps(found.to_json()))["problems"]
    assert {"*.png", "good/*.webp"} <= {problem["about"] for problem in written}
    Console(width=200).print(report_view(found))
    shown = " ".join(capsys.readouterr().out.split())
    assert "2 kinds of files that lie in the data set and are not used: *.png: 3 files" in shown
    assert "save pictures as PNG" in shown
    assert left_out_text(survey(open_dataset(str(write_parts(tmp_path / "whole", good=2))), Preparation(1, 1, 1))) == ""
    assert len(dataset.samples) == 2


@pytest.mark.parametrize(
    ("files", "says"),
    [
        pytest.param(["a.png", "b.png"], r"give the folder above\. Not used: \*\.png, 2 files beside", id="no folder"),
        pytest.param(
            ["good/a.webp"], r"good/\*\.webp: 1 file, and this is no kind of picture", id="no kind that is read"
        ),
    ],
)
def test_a_data_set_of_nothing_else_says_what_is_there(tmp_path: Path, files: list[str], says: str) -> None:
    with pytest.raises(DataError, match=says):
        open_dataset(str(_make(tmp_path, *files)))


@pytest.mark.parametrize("name", ["magnetic-tile", "mvtec-ad/screw", "kolektor-sdd", "x-sdd"])
def test_of_real_sets_everything_is_used(name: str) -> None:
    assert _unused(require_data(name)) == {}


def test_what_programs_leave_beside_pictures_is_not_named(tmp_path: Path) -> None:
    left = ("labels/train.cache", "runs/best.pt", "good/000.png.aux.xml", "cut/old.bak")
    assert _unused(_make(tmp_path, "good/000.png", "good/001.png", "cut/000.png", *left)) == {}


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = _make(tmp_path, "good/a/000.png", "good/b/001.png", "cut/000.png")
    entered = os.scandir

    def refuse(path: str) -> object:
        if Path(path).name == "b":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return entered(path)

    # For root, as which tests may run, no folder is unreadable.
    monkeypatch.setattr(os, "scandir", refuse)
    (note,) = (note for note in open_dataset(str(root)).notes if note.kind == "unused")
    assert note.about == "good/b/"
    assert "Permission denied" in note.reason
