"""Which images stand for good parts where hardly a part is all good."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from training_pictures import part, save

from training.calibration.scored import folds, good_images, worst_images
from training.data.duplicates import GroupBy
from training.data.layouts import open_dataset
from training.data.reading import Preparation
from training.data.samples import Dataset, Sample
from training.data.splits import Role, Split, SplitEntry, SplitShares
from training.data.training_set import LabelledImages
from training.fit import FitPlan, fit
from training.models.memory_bank.fitting import FitSettings


def a_split(parts: list[str]) -> tuple[Split, Dataset]:
    """Parts by what their images show, such as "ggd" for two good ones and a defective one."""
    rows = [
        (f"{number}-{place}", image == "g", number)
        for number, images in enumerate(parts)
        for place, image in enumerate(images)
    ]
    entries = tuple(SplitEntry(path, "good" if good else "cut", number, Role.FIT) for path, good, number in rows)
    samples = tuple(Sample(entry.path, entry.label) for entry in entries)
    return Split(Path(), 0, "", entries), Dataset(Path(), "test", samples)


@pytest.mark.parametrize(
    ("parts", "good", "scored", "reason"),
    [
        (
            ["gg", "gg", "gg", "gg", "gd"],
            list(range(8)),
            5,
            "four parts are all good: the fifth's good image may be odd",
        ),
        (["gg", "gg", "gg", "gd"], list(range(7)), 5, "three are too few to split: all good images count"),
        (["gd", "gd"], [0, 2], 4, "every item has a bad surface: a score as a good part and one as a defective one"),
        (["dd", "dd"], [], 2, "nothing is good"),
        ([], [], 0, "nothing at all"),
    ],
)
def test_good_images_of_spoilt_parts_count_only_where_hardly_a_part_is_all_good(
    parts: list[str], good: list[int], scored: int, reason: str
) -> None:
    split, dataset = a_split(parts)
    numbers = range(len(split.entries))
    assert good_images(split, numbers) == good, reason
    assert len(worst_images(split, {number: float(number) for number in numbers}, dataset)) == scored, reason


def test_parts_of_a_lot_count_one_by_one() -> None:
    # Two lots of three parts, of two pictures each; the last part of each lot has a defective picture.
    entries = tuple(
        SplitEntry(f"{part}-{place}", "cut" if part % 3 == 2 and place else "good", part // 3, Role.FIT, part)
        for part in range(6)
        for place in range(2)
    )
    split = Split(Path(), 0, "", entries)
    dataset = Dataset(Path(), "test", tuple(Sample(e.path, e.label, lot=str(e.group)) for e in entries))
    assert good_images(split, range(12)) == [0, 1, 2, 3, 6, 7, 8, 9]
    found = worst_images(split, {number: float(number) for number in range(12)}, dataset)
    assert [(one.part, one.path, one.lot) for one in found if one.label == "good"] == [
        (4, "4-1", "1"),
        (3, "3-1", "1"),
        (1, "1-1", "0"),
        (0, "0-1", "0"),
    ]
    assert [one.path for one in found if one.label == "cut"] == ["5-1", "2-1"]


@pytest.mark.parametrize(
    ("lots", "reason"),
    [
        (
            ["g", "gd", "gd", "gd", "d"],
            "one lot is all good: it must not be all that the models are fitted on, nor missing",
        ),
        (["gd", "gd", "gd", "d", "d"], "no lot is all good"),
        (["g"] * 9 + ["gd", "d"], "many are"),
    ],
)
def test_every_fold_leaves_good_parts_to_fit_on(lots: list[str], reason: str) -> None:
    entries = tuple(
        SplitEntry(f"{lot}-{n}", "good" if image == "g" else "cut", lot, Role.FIT, 10 * lot + n)
        for lot, images in enumerate(lots)
        for n, image in enumerate(images)
    )
    taught = LabelledImages(Dataset(Path(), "test", ()), entries, Preparation(64, 64, 1))
    for seed in range(5):
        fold_of = folds(taught, seed)
        assert set(fold_of) == set(range(len(lots)))
        held = [{lot for lot in fold_of if fold_of[lot] == fold and "g" in lots[lot]} for fold in set(fold_of.values())]
        assert len(held) >= 3, reason
        assert all(held), reason


@pytest.mark.parametrize(
    ("promise", "held_out"), [((0.01, 0.95), 0), ((0.2, 0.8), 18)], ids=["cross-fitted", "held out"]
)
def test_a_limit_of_whole_lots_counts_parts(tmp_path: Path, promise: tuple[float, float], held_out: int) -> None:
    rows = ["image,label,lot"]
    for number in range(40):  # eight lots, every other with a defective part
        bad = number % 10 == 0
        save(tmp_path / f"{number}.png", part(number, defect=bad))
        rows.append(f"{number}.png,{'blot' if bad else 'good'},L{number // 5}")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    plan = FitPlan(
        width_px=64,
        height_px=64,
        false_reject_rate=promise[0],
        confidence=promise[1],
        shares=SplitShares(0.15, 0.5),
        group_by=GroupBy.LOT,
        settings=FitSettings(bank_size=60, candidates=600),
    )
    outcome = fit(open_dataset(str(tmp_path)), plan)
    basis, counts = outcome.fitted.basis, outcome.split.counts()
    assert basis.tested is not None
    assert basis.tested.parts == counts["test"]["good"] <= 10
    assert basis.good_parts == (counts["calibration"]["good"] if held_out else 36 - basis.tested.parts) >= held_out
    assert basis.escapes is not None
    assert basis.escapes.parts == 4, "the model learned from none, whatever side its lot is on"
    assert "lots" in basis.assumes


def test_a_set_whose_items_all_have_a_bad_surface_gets_a_limit_that_says_so(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for item in range(6):
        folder = tmp_path / f"kos{item:02d}"
        folder.mkdir()
        for surface in range(4):
            picture = random.integers(90, 160, (64, 48), np.uint8)
            mask = np.zeros_like(picture)
            if surface == 0:
                picture[20:40, 10:30] = mask[20:40, 10:30] = 255
            cv2.imwrite(str(folder / f"Part{surface}.jpg"), picture)
            cv2.imwrite(str(folder / f"Part{surface}_label.bmp"), mask)
    plan = FitPlan(width_px=64, height_px=64, settings=FitSettings(bank_size=60, candidates=600))
    outcome = fit(open_dataset(str(tmp_path)), plan)
    basis = outcome.fitted.basis
    assert basis.good_parts == 4
    assert basis.tested is not None
    assert basis.tested.parts == 2
    assert "stand for good parts" in basis.assumes
