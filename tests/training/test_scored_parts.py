"""Which images stand for good parts where hardly a part is all good."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from training.calibration.scored import good_images, worst_images
from training.data.layouts import open_dataset
from training.data.samples import Dataset, Sample
from training.data.splits import Role, Split, SplitEntry
from training.fit import FitPlan, fit
from training.models.memory_bank.fitting import FitSettings


def a_split(parts: list[str]) -> tuple[Split, Dataset]:
    """Parts by what their images show, such as "ggd" for two good ones and a defective one."""
    rows = [
        (f"{part}-{place}", image == "g", part)
        for part, images in enumerate(parts)
        for place, image in enumerate(images)
    ]
    entries = tuple(SplitEntry(path, "good" if good else "cut", part, Role.FIT) for path, good, part in rows)
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
