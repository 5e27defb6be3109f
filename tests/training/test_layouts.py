"""Images, labels and masks are found in every layout, and a folder without them says what it lacks."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from training_pictures import part, save

from inspector.errors import DataError
from training.data.layouts import open_dataset
from training.data.samples import Sample, dataset_digest, printable


def _touch(root: Path, *names: str) -> Path:
    for name in names:
        save(root / name, part(1))
    return root


LAYOUTS = [
    pytest.param(
        ["good/a.png", "scratch/b.png", "ground_truth/scratch/b_mask.png"],
        "generic",
        [Sample("good/a.png", "good"), Sample("scratch/b.png", "scratch", "ground_truth/scratch/b_mask.png")],
        id="generic: a mask is found by its stem",
    ),
    pytest.param(
        ["Good/a.png", "dent/sub/b.png", "ground_truth/dent/sub/b.png"],
        "generic",
        [Sample("Good/a.png", "good"), Sample("dent/sub/b.png", "dent", "ground_truth/dent/sub/b.png")],
        id="generic: capitals, folders within folders, a mask without _mask",
    ),
    pytest.param(
        ["train/good/1.png", "test/good/2.png", "test/cut/3.png", "ground_truth/cut/3_mask.png"],
        "mvtec-ad",
        [
            Sample("test/cut/3.png", "cut", "ground_truth/cut/3_mask.png", "test"),
            Sample("test/good/2.png", "good", "", "test"),
            Sample("train/good/1.png", "good", "", "train"),
        ],
        id="mvtec-ad: the published split is kept",
    ),
    pytest.param(
        ["MT_Free/Imgs/x.jpg", "MT_Free/Imgs/x.png", "MT_Crack/Imgs/y.jpg", "MT_Crack/Imgs/y.png"],
        "magnetic-tile",
        [
            Sample("MT_Crack/Imgs/y.jpg", "Crack", "MT_Crack/Imgs/y.png"),
            Sample("MT_Free/Imgs/x.jpg", "good"),
        ],
        id="magnetic-tile: masks lie beside the images and are no images",
    ),
    pytest.param(
        ["good/a.png", "good/.hidden.png", ".cache/b.png", "a [b]é\n/c.png"],
        "generic",
        [Sample("a [b]é\n/c.png", "a [b]é\n"), Sample("good/a.png", "good")],
        id="hidden files are left out, odd characters are not",
    ),
]


@pytest.mark.parametrize(("files", "layout", "expected"), LAYOUTS)
def test_layouts(tmp_path: Path, files: list[str], layout: str, expected: list[Sample]) -> None:
    dataset = open_dataset(str(_touch(tmp_path, *files)))
    assert (dataset.layout, list(dataset.samples)) == (layout, expected)


def _nothing(root: Path) -> Path:
    return root


def _a_file(root: Path) -> Path:
    return save(root / "picture.png", part(1))


def _only_text(root: Path) -> Path:
    (root / "good").mkdir()
    (root / "good" / "notes.txt").write_text("no picture")
    return root


def _loose(root: Path) -> Path:
    return _touch(root, "picture.png")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        pytest.param(lambda root: root / "missing", "there is no such folder", id="no such folder"),
        pytest.param(_a_file, "it is a file", id="a file instead of a folder"),
        pytest.param(_nothing, "holds no images", id="an empty folder"),
        pytest.param(_only_text, "holds no images", id="a class folder without images"),
        pytest.param(_loose, "folder per defect class", id="images that lie in no class folder"),
    ],
)
def test_what_is_no_data_set_says_so(tmp_path: Path, make: Callable[[Path], Path], says: str) -> None:
    with pytest.raises(DataError, match=says):
        open_dataset(str(make(tmp_path)))


def test_links_that_loop_are_not_followed(tmp_path: Path) -> None:
    _touch(tmp_path, "good/a.png")
    (tmp_path / "good" / "again").symlink_to(tmp_path / "good", target_is_directory=True)
    assert [sample.path for sample in open_dataset(str(tmp_path)).samples] == ["good/a.png"]


def test_a_name_that_is_no_text_can_be_listed_and_digested(tmp_path: Path) -> None:
    save(tmp_path / "good" / "a.png", part(1))
    os.rename(tmp_path / "good" / "a.png", os.fsencode(tmp_path / "good") + b"/\xff.png")
    (sample,) = open_dataset(str(tmp_path)).samples
    assert printable(sample.path) == "good/\\udcff.png"
    assert dataset_digest([(sample.path, "0", "good")]).startswith("sha256:")


@given(st.text())
def test_printable_names_are_printable(name: str) -> None:
    assert all(character.isprintable() for character in printable(name))


@given(st.lists(st.tuples(st.text(), st.text(), st.text()), max_size=4))
def test_the_digest_does_not_depend_on_the_order(entries: list[tuple[str, str, str]]) -> None:
    assert dataset_digest(entries) == dataset_digest(reversed(entries))


def test_the_digest_tells_labels_paths_and_contents_apart() -> None:
    digests = {
        dataset_digest([entry])
        for entry in [("a", "b", "c"), ("ab", "", "c"), ("a", "bc", ""), ("a", "b", "d"), ("x", "b", "c")]
    }
    assert len(digests) == 5
