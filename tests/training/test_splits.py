"""Images of one part are found, and never stand on two sides of a split."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from training_pictures import exposure, part, save

from inspector.errors import DataError
from training.data.duplicates import group_by_part, label_conflicts
from training.data.layouts import open_dataset
from training.data.reading import Preparation
from training.data.samples import Sample
from training.data.splits import Role, Split, SplitEntry, SplitShares, make_split, read_split, write_split
from training.data.survey import survey
from training.fit import split_survey


def _groups(root: Path) -> dict[int, set[str]]:
    seen = survey(open_dataset(str(root)), Preparation(64, 64, 1))
    groups: dict[int, set[str]] = defaultdict(set)
    for image, group in zip(seen.images, group_by_part(seen.images), strict=True):
        groups[group].add(Path(image.sample.path).stem)
    return groups


def test_exposures_of_a_part_are_one_group_and_other_parts_are_not(tmp_path: Path) -> None:
    for index in range(12):
        for take, (gain, shift) in enumerate([(1.0, 0), (0.6, 2), (1.3, -2)]):
            save(tmp_path / "good" / f"{index}-{take}.png", exposure(part(index), gain, shift))
    assert sorted(sorted(group) for group in _groups(tmp_path).values()) == sorted(
        [f"{index}-{take}" for take in range(3)] for index in range(12)
    )


def test_parts_of_one_strong_design_are_different_parts(tmp_path: Path) -> None:
    ring = np.zeros((96, 96), np.float32)
    y, x = np.mgrid[:96, :96]
    ring[(np.hypot(x - 48, y - 48) // 6) % 2 == 0] = 120
    for index in range(30):
        grain = np.random.default_rng(index).normal(60, 4, ring.shape)
        save(tmp_path / "good" / f"{index}.png", np.clip(ring + grain, 0, 255).astype(np.uint8))
    assert len(_groups(tmp_path)) == 30


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_few_images_can_be_grouped(tmp_path: Path, count: int) -> None:
    for index in range(count):
        save(tmp_path / "good" / f"{index}.png", part(index))
    assert len(_groups(tmp_path)) == count


def test_equal_and_blank_images_are_one_part(tmp_path: Path) -> None:
    for index in range(5):
        save(tmp_path / "good" / f"blank{index}.png", np.full((64, 64), 128, np.uint8))
        save(tmp_path / "good" / f"other{index}.png", part(index))
    assert {f"blank{index}" for index in range(5)} in _groups(tmp_path).values()
    assert len(_groups(tmp_path)) == 6


def test_equal_pictures_under_two_labels_stop_a_fit(tmp_path: Path) -> None:
    for index in range(8):
        save(tmp_path / "good" / f"{index}.png", part(index))
    save(tmp_path / "blot" / "same.png", part(2))
    seen = survey(open_dataset(str(tmp_path)), Preparation(64, 64, 1))
    assert len(label_conflicts(seen.images)) == 1
    with pytest.raises(DataError, match=r"blot/same.png \(blot\) = good/2.png \(good\)"):
        split_survey(seen, SplitShares(), 0)


_SAMPLES = st.lists(
    st.tuples(
        st.integers(0, 25), st.sampled_from(["good", "good", "good", "cut"]), st.sampled_from(["", "train", "test"])
    ),
    min_size=1,
    max_size=80,
)


@settings(max_examples=150)
@given(
    _SAMPLES, st.integers(0, 5), st.sampled_from([0.0, 0.2, 0.5]), st.sampled_from([0.0, 0.3]), st.sampled_from([1, 5])
)
def test_no_part_ever_straddles_a_split(
    rows: list[tuple[int, str, str]], seed: int, test: float, calibration: float, parts: int
) -> None:
    groups = [group for group, _, _ in rows]
    samples = [Sample(str(index), label, "", split) for index, (_, label, split) in enumerate(rows)]
    try:
        roles = make_split(samples, groups, SplitShares(test, calibration, parts), seed)
    except DataError:
        return
    by_group: dict[int, set[Role]] = defaultdict(set)
    for sample, group, role in zip(samples, groups, roles, strict=True):
        by_group[group].add(role)
        assert sample.is_good or role is Role.TEST
    assert all(len(found) == 1 for found in by_group.values())
    held_out = {group for group, found in by_group.items() if found == {Role.CALIBRATION}}
    assert len(held_out) == 0 or len(held_out) >= parts
    assert len({group for group, found in by_group.items() if found == {Role.FIT}}) >= 3
    assert roles == make_split(samples, groups, SplitShares(test, calibration, parts), seed)


def test_shares_are_kept_about_and_the_seed_decides() -> None:
    samples = [Sample(str(index), "good") for index in range(1000)]
    splits = [make_split(samples, range(1000), SplitShares(0.2, 0.3, 299), seed) for seed in (0, 1)]
    assert splits[0] != splits[1]
    assert [splits[0].count(role) for role in Role] == [500, 300, 200]


def test_parts_too_few_to_prove_a_limit_are_not_held_out() -> None:
    samples = [Sample(str(index), "good") for index in range(900)]
    roles = make_split(samples, range(900), SplitShares(0.2, 0.3, 299), 0)
    assert roles.count(Role.CALIBRATION) == 0


def test_a_published_test_set_stays_one() -> None:
    samples = [Sample(str(i), "good", "", "test" if i < 5 else "train") for i in range(30)]
    groups = [0, *range(1, 29), 0]  # image 29 of the train set shows the part of test image 0
    roles = make_split(samples, groups, SplitShares(0.5, 0.3), 0)
    assert [i for i, role in enumerate(roles) if role is Role.TEST] == [0, 1, 2, 3, 4, 29]


@pytest.mark.parametrize(
    ("samples", "groups", "says"),
    [
        pytest.param(
            [Sample("a", "cut")] * 5, range(5), "no readable images of good parts, only of cut", id="all defects"
        ),
        pytest.param([Sample("a", "good")], [0], "1 different parts", id="one image"),
        pytest.param([Sample("a", "good")] * 50, [0] * 50, "50 good images show 1 different", id="identical images"),
        pytest.param(
            [Sample("a", "good")] * 6 + [Sample("b", "cut")] * 3,
            [0, 1, 2, 3, 4, 5, 0, 1, 2],
            "3 different parts that are free",
            id="most good images show parts with defects",
        ),
    ],
)
def test_too_few_good_parts_are_an_error(samples: list[Sample], groups: list[int], says: str) -> None:
    with pytest.raises(DataError, match=says):
        make_split(samples, list(groups), SplitShares(), 0)


@pytest.mark.parametrize(("test", "calibration"), [(-0.1, 0.3), (0.6, 0.6), (float("nan"), 0.3), (0.2, -1.0)])
def test_shares_that_cannot_be_are_refused(test: float, calibration: float) -> None:
    with pytest.raises(DataError, match="leave too little"):
        SplitShares(test, calibration)


def test_a_split_file_comes_back_as_it_was(tmp_path: Path) -> None:
    entries = (SplitEntry("good/ü [x].png", "good", 0, Role.FIT), SplitEntry("cut/\udcff.png", "cut", 1, Role.TEST))
    split = Split(tmp_path, 7, "sha256:0", entries)
    write_split(tmp_path / "new" / "split.json", split)
    assert read_split(tmp_path / "new" / "split.json") == split
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["split.json"]


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"root": 3}', '{"root":"/","seed":0,"dataset_digest":"","images":[{}]}', "[" * 9999]
)
def test_what_is_no_split_file_says_so(tmp_path: Path, text: str) -> None:
    (tmp_path / "split.json").write_text(text)
    with pytest.raises(DataError, match="is no split"):
        read_split(tmp_path / "split.json")
