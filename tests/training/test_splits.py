"""Images of one part are found, and never stand on two sides of a split."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from training_pictures import exposure, part, save

from inspector.errors import DataError
from inspector.part import Box
from training.data.duplicates import GroupBy, find_parts, group_by_part, group_images, label_conflicts
from training.data.layouts import open_dataset
from training.data.reading import Preparation
from training.data.report import report
from training.data.samples import Sample
from training.data.splits import Role, Split, SplitEntry, SplitShares, make_split, read_split, write_split
from training.data.survey import Survey, Surveyed, survey
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


def _takes(root: Path, parts: int, takes: int) -> Survey:
    """Pictures of each part under other light, moved by a pixel, with the noise of a camera."""
    random = np.random.default_rng(0)
    for index in range(parts):
        for take in range(takes):
            shot = exposure(part(index), random.uniform(0.8, 1.2), int(random.integers(-1, 2)))
            noisy = np.clip(shot + random.normal(0, 4, shot.shape), 0, 255).astype(np.uint8)
            save(root / "good" / f"{index}-{take}.png", noisy)
    return survey(open_dataset(str(root)), Preparation(64, 64, 1))


@pytest.mark.parametrize(
    ("parts", "takes", "crowded", "reason"),
    [
        (12, 4, 0, "exposures that are found"),
        (4, 30, 120, "exposures that are too many to be found"),
        (2, 40, 80, "half of all pairs are of one part"),
        (60, 1, 0, "different parts"),
    ],
)
def test_more_exposures_of_a_part_than_can_be_found_are_told(
    tmp_path: Path, parts: int, takes: int, crowded: int, reason: str
) -> None:
    seen = _takes(tmp_path, parts, takes)
    found = find_parts(seen.images)
    assert len(found.crowded) == crowded, reason
    assert crowded or len(set(found.numbers)) == parts, reason
    told = [problem.text for problem in report(seen).problems if "twenty others" in problem.kind]
    assert [f"the first of {crowded} of {parts * takes}" in text and "column group" in text for text in told] == (
        [True] if crowded else []
    )


def test_names_end_the_doubt_about_many_exposures(tmp_path: Path) -> None:
    seen = _takes(tmp_path, 4, 30)
    named = [
        replace(image, sample=replace(image.sample, group=Path(image.sample.path).stem.split("-")[0]))
        for image in seen.images
    ]
    found = find_parts(named)
    assert (len(set(found.numbers)), found.crowded) == (4, ())


def test_parts_of_one_strong_design_raise_no_doubt(tmp_path: Path) -> None:
    y, x = np.mgrid[:64, :64]
    for index in range(40):
        grain = np.random.default_rng(index).normal(60, 4, (64, 64))
        pixels = np.clip(120 * ((np.hypot(x - 32, y - 32) // 6) % 2) + grain, 0, 255)
        save(tmp_path / "good" / f"{index}.png", pixels.astype(np.uint8))
    found = find_parts(survey(open_dataset(str(tmp_path)), Preparation(64, 64, 1)).images)
    assert (len(set(found.numbers)), found.crowded) == (40, ())


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
        split_survey(seen, SplitShares(), 0, find_parts(seen.images))


_SAMPLES = st.lists(
    st.tuples(
        st.integers(0, 25), st.sampled_from(["good", "good", "good", "cut"]), st.sampled_from(["", "train", "test"])
    ),
    min_size=1,
    max_size=80,
)


def _free(samples: list[Sample], groups: list[int]) -> set[int]:
    """Groups that neither have a defective image nor one of a published test set."""
    published = any(sample.published_split == "test" for sample in samples if sample.is_good)
    held = {
        group
        for sample, group in zip(samples, groups, strict=True)
        if not sample.is_good or (published and sample.published_split == "test")
    }
    return set(groups) - held


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
        assert sample.is_good or role is Role.TEST or len(_free(samples, groups)) < 4
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


def test_items_that_all_have_a_bad_surface_still_teach_by_their_good_ones() -> None:
    samples = [Sample(f"{item}-{side}", "good" if side else "cut") for item in range(20) for side in range(8)]
    groups = [item for item in range(20) for _ in range(8)]
    for seed in range(3):
        roles = make_split(samples, groups, SplitShares(), seed)
        by_item = [set(roles[item * 8 : item * 8 + 8]) for item in range(20)]
        assert by_item.count({Role.FIT}) == 10
        assert by_item.count({Role.TEST}) == 10
    assert make_split(samples, groups, SplitShares(defects_to_fit=0.8), 0).count(Role.FIT) == 16 * 8


def _named(root: Path, rows: list[tuple[str, str, str]]) -> Survey:
    """Images of parts of their own, but for what `rows` of (label, group, lot) say."""
    lines = ["image,label,group,lot"]
    for index, (label, group, lot) in enumerate(rows):
        save(root / f"{index}.png", part(index))
        lines.append(f"{index}.png,{label},{group},{lot}")
    (root / "labels.csv").write_text("\n".join(lines))
    return survey(open_dataset(str(root)), Preparation(64, 64, 1))


def test_named_parts_are_groups_and_what_has_no_name_is_found_out(tmp_path: Path) -> None:
    rows = [("good", name, "") for name in ("a", "a", "b", "", "c", "")]
    seen = _named(tmp_path, rows)
    save(tmp_path / "4.png", exposure(part(2), 0.9, 1))  # looks like b, is called c: the name counts
    save(tmp_path / "5.png", exposure(part(3), 0.9, 1))  # has no name and looks like image 3
    seen = survey(seen.dataset, Preparation(64, 64, 1))
    assert group_by_part(seen.images) == (0, 0, 1, 2, 3, 2)


def test_equal_bytes_join_parts_of_two_names(tmp_path: Path) -> None:
    seen = _named(tmp_path, [("good", "a", ""), ("good", "b", ""), ("good", "c", "")])
    save(tmp_path / "1.png", part(0))
    assert group_by_part(survey(seen.dataset, Preparation(64, 64, 1)).images) == (0, 0, 1)


def test_lots_join_their_parts(tmp_path: Path) -> None:
    rows = [("good", "a", "L1"), ("good", "b", "L1"), ("good", "b", "L2"), ("good", "c", "L3"), ("good", "d", "")]
    seen = _named(tmp_path, rows)
    parts = group_by_part(seen.images)
    assert group_images(seen.images, parts) == (0, 1, 1, 2, 3)
    assert group_images(seen.images, parts, GroupBy.LOT) == (0, 0, 0, 1, 2)


def test_lots_that_nothing_names_cannot_be_kept_together(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the data set names none"):
        group_images(_named(tmp_path, [("good", "a", "")]).images, [0], GroupBy.LOT)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["good", "cut"]), st.sampled_from("abcdefgh"), st.sampled_from("LMN")), max_size=40
    ),
    st.sampled_from([0.0, 0.5]),
    st.integers(0, 3),
)
def test_no_named_part_and_no_lot_ever_straddles_a_split(
    rows: list[tuple[str, str, str]], taught: float, seed: int
) -> None:
    blank = np.zeros((8, 8), np.uint8)
    images = [
        Surveyed(Sample(str(i), label, group=group, lot=lot), str(i), 8, 8, Box(0, 0, 8, 8), "", 0.0, 0.0, blank)
        for i, (label, group, lot) in enumerate(rows)
    ]
    for by, column in ((GroupBy.PART, 1), (GroupBy.LOT, 2)):
        if not rows:
            continue
        samples = [image.sample for image in images]
        parts = group_by_part(images)
        groups = group_images(images, parts, by)
        try:
            roles = make_split(samples, groups, SplitShares(defects_to_fit=taught), seed, parts)
        except DataError:
            continue
        roles_of: dict[str, set[Role]] = defaultdict(set)
        for row, role in zip(rows, roles, strict=True):
            roles_of[row[column]].add(role)
        assert all(len(found) == 1 for found in roles_of.values())


def _lots(lots: int, good: int, defective: int) -> tuple[list[Sample], list[int]]:
    """Samples of different parts and the lot of each: `good` good parts a lot, a defective one in the first `defective`."""
    samples = [Sample(f"{lot}-{place}", "good") for lot in range(lots) for place in range(good)]
    samples += [Sample(f"{lot}-bad", "cut") for lot in range(defective)]
    return samples, [int(sample.path.split("-")[0]) for sample in samples]


@pytest.mark.parametrize(
    ("shares", "most", "reason"),
    [
        (SplitShares(), 60, "a fifth of the good parts, not every lot that has a defective one"),
        (SplitShares(defects_to_fit=0.6), 120, "who learns from defects needs the others of them for the test"),
        (SplitShares(defects_to_calibrate=0.5), 120, "and so does who sets the limit by them"),
    ],
)
def test_the_good_parts_of_a_lot_with_a_defect_are_not_all_for_testing(
    shares: SplitShares, most: int, reason: str
) -> None:
    samples, lots = _lots(12, good=20, defective=7)
    for seed in range(8):
        roles = make_split(samples, lots, shares, seed, range(len(samples)))
        tested = [sample for sample, role in zip(samples, roles, strict=True) if role is Role.TEST]
        assert 20 <= sum(sample.is_good for sample in tested) <= most, reason
        assert not all(sample.is_good for sample in tested), "defective parts are there to test with"
        assert all(len({role for role, lot in zip(roles, lots, strict=True) if lot == n}) == 1 for n in range(12))
        # Too few to prove anything: all others fit the model and set its limit by cross-fitting.
        assert roles.count(Role.CALIBRATION) == 0


def test_lots_with_defects_and_others_are_tested_in_proportion() -> None:
    samples, lots = _lots(40, good=10, defective=20)
    roles = make_split(samples, lots, SplitShares(), 0, range(len(samples)))
    tested = {lot for lot, role in zip(lots, roles, strict=True) if role is Role.TEST}
    assert sum(lot < 20 for lot in tested) == sum(lot >= 20 for lot in tested) == 4


def _mixed_lots() -> tuple[list[Sample], list[int]]:
    """12 lots of 10 good parts; a cut in the first eight, a dent in three of these, a burr in two, beside which is a cut."""
    defects = {"cut": range(8), "dent": (0, 1, 2), "burr": (3, 4)}
    samples = [Sample(f"{lot}-{place}", "good") for lot in range(12) for place in range(10)]
    samples += [Sample(f"{lot}-{label}", label) for label, lots in defects.items() for lot in lots]
    return samples, [int(sample.path.split("-")[0]) for sample in samples]


@pytest.mark.parametrize(
    ("shares", "reason"),
    [
        (SplitShares(defects_to_fit=0.6), "who learns from defects leaves a lot of each class to the test"),
        (SplitShares(defects_to_fit=0.8, defects_to_calibrate=0.5), "and what it leaves sets the limit in part alone"),
        (SplitShares(defects_to_calibrate=0.5), "so does who sets the limit by them"),
        (
            SplitShares(test=0.4),
            "who learns from good parts deals lots to the test for every class that it has room for",
        ),
    ],
)
def test_every_class_of_several_lots_is_tested(shares: SplitShares, reason: str) -> None:
    samples, lots = _mixed_lots()
    for seed in range(30):
        roles = make_split(samples, lots, shares, seed, range(len(samples)))
        assert roles == make_split(samples, lots, shares, seed, range(len(samples)))
        tested = {sample.label for sample, role in zip(samples, roles, strict=True) if role is Role.TEST}
        assert tested == {"good", "cut", "dent", "burr"}, reason
        assert all(len({role for role, lot in zip(roles, lots, strict=True) if lot == n}) == 1 for n in range(12))


def test_the_test_share_bounds_what_classes_take_of_it() -> None:
    samples, lots = _mixed_lots()
    for seed in range(30):
        roles = make_split(samples, lots, SplitShares(test=0.2), seed, range(len(samples)))
        assert roles.count(Role.TEST) <= 0.2 * len(samples)


def test_parts_that_are_no_lots_are_dealt_as_ever() -> None:
    """Figures that were measured once stay those of the same split."""
    random = np.random.default_rng(0)
    labels = random.choice(["good", "good", "cut", "dent", "burr"], 120)
    samples = [Sample(str(index), str(label)) for index, label in enumerate(labels)]
    groups = random.integers(0, 80, 120).tolist()
    dealt = ""
    for seed in range(3):
        for shares in (SplitShares(), SplitShares(0.2, 0.3, 3, 0.6), SplitShares(0.2, 0.3, 3, 0.5, 0.5)):
            dealt += "".join(role.value[0] for role in make_split(samples, groups, shares, seed))
    assert hashlib.sha256(dealt.encode()).hexdigest()[:16] == "51093a2fdd908e41"


def test_calibration_parts_of_lots_are_counted_by_part_and_come_from_several_lots() -> None:
    for lots, good, held_out in ((12, 100, 300), (4, 400, 0)):  # 0.3 of four lots is one
        samples, lot_of = _lots(lots, good, defective=0)
        roles = make_split(samples, lot_of, SplitShares(0.2, 0.3, 299), 0, range(len(samples)))
        assert roles.count(Role.CALIBRATION) == held_out


def test_a_published_test_of_good_parts_leaves_some_lot_with_a_defect_to_test() -> None:
    samples, lots = _lots(12, good=10, defective=5)
    marked = [replace(s, published_split="test") if lot >= 9 else s for s, lot in zip(samples, lots, strict=True)]
    roles = make_split(marked, lots, SplitShares(), 0, range(len(samples)))
    tested = [sample for sample, role in zip(marked, roles, strict=True) if role is Role.TEST]
    assert any(not sample.is_good for sample in tested), "else nothing says how many defects pass"
    assert {lot for lot, role in zip(lots, roles, strict=True) if role is Role.TEST} >= {9, 10, 11}


def test_too_few_lots_are_told_as_lots() -> None:
    samples, lots = _lots(3, good=20, defective=0)
    with pytest.raises(DataError, match=r"60 good images show 3 different lots .* --group-by part"):
        make_split(samples, lots, SplitShares(), 0, range(len(samples)))


def _marked(rows: dict[str, int]) -> list[Sample]:
    """Different parts by "label split", such as {"cut test": 3}."""
    return [
        Sample(f"{row}-{n}", row.split(" ")[0], "", row.split(" ")[1])
        for row, count in rows.items()
        for n in range(count)
    ]


@pytest.mark.parametrize(
    ("rows", "shares", "expected", "reason"),
    [
        (
            {"good train": 10, "good test": 3, "cut train": 4, "cut test": 2, "dent train": 1, "dent test": 3},
            SplitShares(defects_to_fit=0.6),
            {"good train": {"fit"}, "good test": {"test"}, "cut train": {"fit"}, "cut test": {"test"}}
            | {"dent train": {"fit"}, "dent test": {"test"}},
            "what somebody marked to test with is never fitted on, and what is marked to train on is not lost",
        ),
        (
            {"good train": 10, "cut train": 4, "cut test": 2},
            SplitShares(defects_to_fit=0.6),
            {"good train": {"fit", "test"}, "cut train": {"fit"}, "cut test": {"test"}},
            "so are defects where no good image is marked to test with: some are needed, and taken",
        ),
        (
            {"good train": 10, "good test": 3, "cut train": 10, "cut test": 2},
            SplitShares(defects_to_calibrate=0.5),
            {"good train": {"fit"}, "good test": {"test"}, "cut train": {"calibration"}, "cut test": {"test"}},
            "a limit by costs weighs those to train on",
        ),
        (
            {"good train": 10, "good test": 3, "cut train": 10, "cut test": 2},
            SplitShares(defects_to_fit=0.6, defects_to_calibrate=0.5),
            {"good train": {"fit"}, "good test": {"test"}, "cut train": {"fit", "calibration"}, "cut test": {"test"}},
            "or what the model leaves of them",
        ),
        (
            {"good train": 10, "good test": 3, "cut test": 5},
            SplitShares(defects_to_fit=0.6),
            {"good train": {"fit"}, "good test": {"test"}, "cut test": {"fit", "test"}},
            "all defects are in the test set, as in MVTec AD: some are dealt to who cannot do without",
        ),
        (
            {"good train": 10, "good test": 3, "cut train": 2, "cut test": 2},
            SplitShares(),
            {"good train": {"fit"}, "good test": {"test"}, "cut train": {"test"}, "cut test": {"test"}},
            "who learns from good parts alone tests with every defective one",
        ),
    ],
)
def test_a_published_split_of_defects_is_kept(
    rows: dict[str, int], shares: SplitShares, expected: dict[str, set[str]], reason: str
) -> None:
    samples = _marked(rows)
    for seed in range(4):
        found: dict[str, set[str]] = defaultdict(set)
        for sample, role in zip(samples, make_split(samples, range(len(samples)), shares, seed), strict=True):
            found[sample.path.split("-")[0]].add(role.value)
        assert found == expected, reason


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
            [Sample("a", "good", "", "test")] * 6 + [Sample("a", "good")] * 2,
            range(8),
            r"2 different parts .* marks 6 other good parts as test, .* mark fewer good ones so, [^.]*$",
            id="the marks took them, and more good parts are not what is missing",
        ),
        pytest.param(
            [Sample("a", "good", "", "test")] + [Sample("a", "good")] * 2,
            range(3),
            r"2 different parts .* marks 1 other good part as test, .*take the marks away. Add images of more",
            id="the marks took one, and there are too few anyway",
        ),
        pytest.param(
            [Sample("a", "good")] * 3 + [Sample("b", "cut")],
            [0, 1, 2, 0],
            "2 different parts that are free",
            id="the only part with good and bad sides is for testing",
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
    entries = (
        SplitEntry("good/ü [x].png", "good", 0, Role.FIT, part=7),
        SplitEntry("cut/\udcff.png", "cut", 1, Role.TEST),
    )
    split = Split(tmp_path, 7, "sha256:0", entries)
    write_split(tmp_path / "new" / "split.json", split)
    assert read_split(tmp_path / "new" / "split.json") == split
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["split.json"]


def test_a_split_file_that_knows_no_parts_has_groups_of_one_part(tmp_path: Path) -> None:
    image = '{"path": "a.png", "label": "good", "group": 3, "role": "fit"}'
    (tmp_path / "split.json").write_text(f'{{"root": "/", "seed": 0, "dataset_digest": "", "images": [{image}]}}')
    assert read_split(tmp_path / "split.json").entries == (SplitEntry("a.png", "good", 3, Role.FIT, part=3),)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"root": 3}',
        '{"root":"/","seed":0,"dataset_digest":"","images":[{}]}',
        '{"root":"/","seed":1e400,"dataset_digest":"","images":[]}',
        "[" * 9999,
    ],
)
def test_what_is_no_split_file_says_so(tmp_path: Path, text: str) -> None:
    (tmp_path / "split.json").write_text(text)
    with pytest.raises(DataError, match="is no split"):
        read_split(tmp_path / "split.json")
