"""Every bundle lists its images by content, whoever makes it, and evaluations on other data find them there."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from training_line import Line
from training_pictures import part, save, write_parts

from inspector.errors import BundleError, DataError
from inspector.inference.bundle import open_bundle
from inspector.inference.manifest import manifest_bytes, parse_manifest
from training.calibration.recalibrate import recalibrate
from training.checkpoint import load_fitted, save_fitted
from training.data.duplicates import group_by_part
from training.data.image_list import (
    ADDED,
    CALIBRATION,
    FIT,
    IMAGE_LIST,
    TAUGHT,
    TEST,
    ImageList,
    KnownImage,
    image_list,
    images_of,
    read_image_list,
)
from training.data.layouts import open_dataset
from training.data.reading import Preparation
from training.data.splits import Role, Split, SplitEntry
from training.data.survey import survey
from training.extend import extend, leave_out
from training.report.comparison import compare
from training.report.leaks import DataCheck, check_data

A, B, C = ("a" * 64, "b" * 64, "c" * 64)


def test_the_list_is_of_every_image_with_its_role(fitted_line: Line) -> None:
    listed = images_of(fitted_line.bundle)
    assert listed is not None
    seen = survey(fitted_line.dataset, Preparation(64, 64, 1))
    by_path = {image.sample.path: image for image in seen.images}
    for entry in fitted_line.outcome.split.entries:
        image = by_path[entry.path]
        assert listed.roles(image.sha256, "") == listed.roles("", image.pixels_sha256) == {entry.role.value}
    assert len(listed.images) == len(seen.images)
    assert IMAGE_LIST in fitted_line.bundle.manifest.files


def test_it_comes_back_and_is_small() -> None:
    listed = image_list(KnownImage(FIT, f"{n:064x}", f"{n + 9:064x}") for n in range(1000))
    data = listed.to_bytes()
    assert read_image_list(data, "x") == listed
    assert len(data) < 150_000
    assert listed.with_more([]).to_bytes() == data


@pytest.mark.parametrize(
    ("data", "says"),
    [
        pytest.param(b"", "no list of images", id="empty"),
        pytest.param(b"inspector images 2\n", "no list of images", id="another version"),
        pytest.param(b"\xff\xfe", "no list of images", id="no text"),
        pytest.param(f"inspector images 1\nfit {A}\n".encode(), "line 2", id="one hash"),
        pytest.param(f"inspector images 1\nfit {A} {B}\nspy {A} {B}\n".encode(), "line 3", id="an unknown role"),
        pytest.param(f"inspector images 1\nfit {A} {B.upper()}\n".encode(), "line 2", id="capital digits"),
    ],
)
def test_a_damaged_list_is_named(data: bytes, says: str) -> None:
    with pytest.raises(DataError, match=says):
        read_image_list(data, "images.txt of tiles")


def test_more_images_than_a_bundle_names_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.data.image_list.MAX_IMAGES", 1)
    two = [KnownImage(FIT, A, B), KnownImage(TEST, B, C)]
    with pytest.raises(DataError, match="more than the 1"):
        image_list(two)
    with pytest.raises(DataError, match="at most 1"):
        read_image_list(ImageList(frozenset(two)).to_bytes(), "x")


def test_a_manifest_names_a_list_that_is_in_the_bundle(fitted_line: Line) -> None:
    manifest = fitted_line.bundle.manifest
    assert parse_manifest(manifest_bytes(manifest), "m").image_list == IMAGE_LIST
    for wrong, says in (("other.txt", "no hash in files"), ("../images.txt", "image_list")):
        document = json.loads(manifest_bytes(manifest)) | {"image_list": wrong}
        with pytest.raises(BundleError, match=says):
            parse_manifest(json.dumps(document).encode(), "m")


def test_a_checkpoint_keeps_it(fitted_line: Line, tmp_path: Path) -> None:
    save_fitted(fitted_line.outcome.fitted, tmp_path / "kept")
    assert load_fitted(tmp_path / "kept").images == images_of(fitted_line.bundle)
    (tmp_path / "kept" / IMAGE_LIST).write_bytes(b"")
    with pytest.raises(DataError, match="no list of images"):
        load_fitted(tmp_path / "kept")


# Leaks


def check(line: Line, root: Path, split: Split | None = None, bundle: Any = None) -> DataCheck:
    seen = survey(open_dataset(str(root)), Preparation(64, 64, 1))
    return check_data(bundle or line.bundle, seen, group_by_part(seen.images), split)


def taught_parts(line: Line, role: Role) -> list[int]:
    """Numbers of the good parts with a role; good/007.png shows part 7."""
    return [int(Path(e.path).stem) for e in line.outcome.split.entries if e.label == "good" and e.role is role]


def test_images_of_another_data_set_are_found_by_content(fitted_line: Line, tmp_path: Path) -> None:
    known = taught_parts(fitted_line, Role.FIT)[:2]
    for number in known:
        save(tmp_path / "good" / f"renamed-{number}.bmp", part(number))
    save(tmp_path / "good" / "new.png", part(777))
    save(tmp_path / "blot" / "new.png", part(778, defect=True))
    found = check(fitted_line, tmp_path)
    assert [path for path, _ in found.known] == sorted(f"good/renamed-{n}.bmp" for n in known)
    assert {role for _, role in found.known} == {FIT}
    assert found.new_to_model is False
    assert "2 of the 4 images judged" in found.statement
    assert "flatter the bundle" in found.statement
    assert found.to_json()["known"]


def test_the_same_picture_in_another_file_is_the_same(fitted_line: Line, tmp_path: Path) -> None:
    number = taught_parts(fitted_line, Role.FIT)[0]
    save(tmp_path / "good" / "a.png", part(900))
    Image.fromarray(part(number)).save(tmp_path / "good" / "b.png", compress_level=1, optimize=False)
    save(tmp_path / "good" / "c.tiff", part(number))
    assert {path for path, _ in check(fitted_line, tmp_path).known} == {"good/b.png", "good/c.tiff"}


def test_new_parts_are_new_and_test_parts_flatter_nobody(fitted_line: Line, tmp_path: Path) -> None:
    for number in (*taught_parts(fitted_line, Role.TEST)[:1], 800, 801, 802):
        save(tmp_path / "good" / f"{number}.png", part(number))
    found = check(fitted_line, tmp_path)
    assert (found.new_to_model, found.known) == (True, ())
    assert "cannot be told from the pictures alone" in found.statement
    unlisted = replace(fitted_line.bundle, manifest=replace(fitted_line.bundle.manifest, image_list=""))
    assert check(fitted_line, tmp_path, bundle=unlisted).new_to_model is None


def test_a_split_of_other_data_hides_nothing(fitted_line: Line, tmp_path: Path) -> None:
    """Someone evaluates on a split of their own, whose test images the bundle was fitted on."""
    number = taught_parts(fitted_line, Role.FIT)[0]
    for name, shown in (("a", number), ("b", 803), ("c", 804)):
        save(tmp_path / "good" / f"{name}.png", part(shown))
    roles = {"a": Role.TEST, "b": Role.TEST, "c": Role.FIT}
    entries = tuple(SplitEntry(f"good/{n}.png", "good", i, r) for i, (n, r) in enumerate(roles.items()))
    found = check(fitted_line, tmp_path, Split(tmp_path, 0, "sha256:other", entries))
    assert found.known == (("good/a.png", FIT),)
    assert found.new_to_model is False


def test_compare_says_it_of_both(fitted_line: Line, tmp_path: Path) -> None:
    number = taught_parts(fitted_line, Role.FIT)[0]
    for name, shown in (("a", number), ("b", 805)):
        save(tmp_path / "good" / f"{name}.png", part(shown))
    save(tmp_path / "blot" / "c.png", part(806, defect=True))
    unlisted = replace(fitted_line.bundle, manifest=replace(fitted_line.bundle.manifest, image_list=""))
    result = compare(fitted_line.bundle, unlisted, open_dataset(str(tmp_path)), draws=10)
    assert [check.new_to_model for check in result.data] == [False, None]


# Successors


def marked(seed: int) -> NDArray[np.uint8]:
    """A good part with a stamp that no part to fit on had."""
    pixels = part(seed).copy()
    cv2.circle(pixels, (32, 32), 9, 250, 2)
    return pixels


def test_extending_adds_and_leaving_out_takes_away(fitted_line: Line, tmp_path: Path) -> None:
    stamped = [save(tmp_path / f"{n}.png", marked(n)) for n in range(700, 703)]
    longer = extend(fitted_line.bundle, stamped, tmp_path / "longer", "longer").bundle
    before, after = images_of(fitted_line.bundle), images_of(longer)
    assert before is not None
    assert after is not None
    assert {image.role for image in after.images - before.images} == {ADDED}
    assert before.images < after.images
    for path in stamped:
        save(tmp_path / "data" / "good" / path.name, marked(int(path.stem)))
    save(tmp_path / "data" / "good" / "new.png", part(950))
    assert {role for _, role in check(fitted_line, tmp_path / "data", bundle=longer).known} == {ADDED}
    shorter = leave_out(longer, 1, tmp_path / "shorter", "shorter").bundle
    assert images_of(shorter) == before


def test_recalibrating_says_which_images_set_the_limit(fitted_line: Line, tmp_path: Path) -> None:
    data = tmp_path / "data"
    for n in range(40):
        save(data / "good" / f"{n}.png", part(2000 + n))
    save(data / "blot" / "x.png", part(2100, defect=True))
    options: Any = {"false_reject_rate": 0.1, "confidence": 0.9, "accept": "a test"}
    made = recalibrate(fitted_line.bundle, open_dataset(str(data)), tmp_path / "b", "b", **options).bundle
    listed = images_of(open_bundle(made.path))
    assert listed is not None
    assert sum(image.role == CALIBRATION for image in listed.images) == 40
    assert {role for _, role in check(fitted_line, data, bundle=made).known} == {CALIBRATION}
    assert "fitted on none of these pictures" in made.manifest.basis.assumes


def test_one_image_that_it_was_fitted_on_among_others_sets_no_limit(fitted_line: Line, tmp_path: Path) -> None:
    write_parts(tmp_path / "data", good=0)
    for n in (*taught_parts(fitted_line, Role.FIT)[:1], *range(2000, 2030)):
        save(tmp_path / "data" / "good" / f"{n}.png", part(n))
    with pytest.raises(DataError, match="was fitted on 1 of these 31 pictures"):
        recalibrate(
            fitted_line.bundle, open_dataset(str(tmp_path / "data")), tmp_path / "b", "b",
            false_reject_rate=0.1, confidence=0.9,
        )  # fmt: skip
    assert not (tmp_path / "b").exists()
    assert CALIBRATION in TAUGHT
