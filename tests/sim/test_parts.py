"""Simulated parts: same bytes for the same seed, exact masks, severities that mean something, the files they leave."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from inspector.errors import ConfigError, DataError
from inspector.sim.parts import (
    DEFECTS,
    PART_TYPES,
    SEVERITY_BANDS,
    PartSpec,
    SimulatedPart,
    band_of,
    draw_part,
    plan_parts,
    write_data_set,
)

CASES = [(part_type, defect) for part_type in PART_TYPES for defect in DEFECTS]


def _contrast(part: SimulatedPart) -> float:
    """Mean absolute grey difference to the good part of the same seed, inside the mask."""
    spec = part.spec
    good = draw_part(PartSpec(spec.part_type, "", 0.0, spec.seed, spec.size_px))
    changed = cv2.absdiff(part.pixels, good.pixels).mean(axis=2)
    return float(changed[part.mask > 0].mean())


@pytest.mark.parametrize("part_type", PART_TYPES)
def test_same_seed_same_bytes_and_another_seed_another_part(part_type: str) -> None:
    spec = PartSpec(part_type, "scratch", 0.7, 12)
    first, again = draw_part(spec), draw_part(spec)
    other = draw_part(PartSpec(part_type, "scratch", 0.7, 13))
    assert first.pixels.tobytes() == again.pixels.tobytes()
    assert first.mask.tobytes() == again.mask.tobytes()
    assert first.pixels.tobytes() != other.pixels.tobytes()


@pytest.mark.parametrize("part_type", PART_TYPES)
def test_good_part_is_a_well_exposed_colour_picture_with_an_empty_mask(part_type: str) -> None:
    part = draw_part(PartSpec(part_type, "", 0.0, 3))
    assert part.pixels.shape == (256, 256, 3)
    assert part.pixels.dtype == np.uint8
    assert not part.mask.any()
    assert 40 < part.pixels.mean() < 200
    assert (part.pixels.max(axis=2) == 255).mean() < 0.02, "saturated: nothing could be seen there"
    assert part.pixels[:20, :20].mean() < 80, "the belt in the corner is dark"


@pytest.mark.parametrize("part_type", PART_TYPES)
def test_good_parts_differ_by_noise_lamp_and_pose(part_type: str) -> None:
    parts = np.stack([draw_part(PartSpec(part_type, "", 0.0, seed)).pixels.astype(np.float32) for seed in range(8)])
    assert parts.mean(axis=(1, 2, 3)).std() > 0.3, "the lamp drifts"
    assert parts.std(axis=0).mean() > 1.0, "sensor noise, texture and pose"


@pytest.mark.parametrize(("part_type", "defect"), CASES, ids=[f"{t}-{d}" for t, d in CASES])
def test_defect_changes_the_picture_where_its_mask_says(part_type: str, defect: str) -> None:
    for seed in range(3):
        part = draw_part(PartSpec(part_type, defect, 0.9, seed))
        assert set(np.unique(part.mask)) == {0, 255}
        good = draw_part(PartSpec(part_type, "", 0.0, seed))
        changed = cv2.absdiff(part.pixels, good.pixels).max(axis=2)
        assert (
            changed[part.mask > 0].mean() > 2 * max(1.0, changed[part.mask == 0].mean()) or defect == "missing-feature"
        )


@pytest.mark.parametrize(("part_type", "defect"), [c for c in CASES if c[1] != "missing-feature"])
def test_severity_sets_the_contrast(part_type: str, defect: str) -> None:
    """A missing feature is left out: it draws from the generator before the texture, so seeds are not comparable."""
    clear = np.mean([_contrast(draw_part(PartSpec(part_type, defect, 0.95, seed))) for seed in range(4)])
    faint = np.mean([_contrast(draw_part(PartSpec(part_type, defect, 0.05, seed))) for seed in range(4)])
    assert clear > 1.3 * faint


def test_missing_feature_grows_with_severity() -> None:
    for part_type in ("flange", "gear"):
        areas = [int((draw_part(PartSpec(part_type, "missing-feature", s, 5)).mask > 0).sum()) for s in (0.1, 0.4, 0.9)]
        assert areas == sorted(areas)
        assert areas[0] < areas[2]


@pytest.mark.parametrize("size_px", [64, 224, 512])
def test_parts_scale_with_the_frame(size_px: int) -> None:
    part = draw_part(PartSpec("gear", "stain", 0.8, 4, size_px))
    assert part.pixels.shape == (size_px, size_px, 3)
    assert part.mask.any()


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        pytest.param(PartSpec("cog", "", 0.0, 1), "flange, tile, gear", id="unknown type lists the known ones"),
        pytest.param(PartSpec("gear", "rust", 0.5, 1), "scratch", id="unknown defect lists the known ones"),
        pytest.param(PartSpec("gear", "dent", 1.5, 1), "severity", id="severity above 1"),
        pytest.param(PartSpec("gear", "dent", float("nan"), 1), "severity", id="severity not a number"),
        pytest.param(PartSpec("gear", "", 0.0, 1, 8), "64", id="too small to show a defect"),
        pytest.param(PartSpec("gear", "", 0.0, 1, 100_000), "1024", id="would not fit in memory"),
        pytest.param(PartSpec("gear", "", 0.0, -1), "seed", id="negative seed"),
    ],
)
def test_impossible_parts_are_refused(spec: PartSpec, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        draw_part(spec)


def test_plan_gives_every_type_every_band_and_distinct_seeds() -> None:
    specs = plan_parts(good=30, per_defect=9, seed=1)
    assert len(specs) == 30 + 9 * len(DEFECTS)
    seen = {(s.part_type, s.defect, band_of(s.severity)) for s in specs if s.defect}
    assert len(seen) == len(PART_TYPES) * len(DEFECTS) * len(SEVERITY_BANDS)
    assert len({s.seed for s in specs}) == len(specs)
    assert specs == plan_parts(good=30, per_defect=9, seed=1)
    assert specs != plan_parts(good=30, per_defect=9, seed=2)


@pytest.mark.parametrize(
    ("severity", "band"),
    [(1.0, "clearly visible"), (0.6, "clearly visible"), (0.59, "visible"), (0.25, "visible"), (0.0, "barely visible")],
)
def test_bands(severity: float, band: str) -> None:
    assert band_of(severity) == band


def test_data_set_layout_and_table(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    specs = write_data_set(
        tmp_path / "parts",
        good=4,
        per_defect=2,
        size_px=64,
        seed=9,
        progress=lambda done, total: seen.append((done, total)),
    )
    total = 4 + 2 * len(DEFECTS)
    assert seen == [(i, total) for i in range(1, total + 1)]
    with (tmp_path / "parts" / "parts.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["file", "part_type", "defect", "severity", "seed"]
    assert len(rows) == total
    for row, spec in zip(rows, specs, strict=True):
        pixels = cv2.imread(str(tmp_path / "parts" / row["file"]))
        assert pixels is not None
        expected = draw_part(PartSpec(row["part_type"], row["defect"], float(row["severity"]), int(row["seed"]), 64))
        assert expected.spec == spec, "the table alone is enough to draw the part again"
        assert np.array_equal(pixels[..., ::-1], expected.pixels)
        if row["defect"]:
            mask_file = tmp_path / "parts" / "ground_truth" / row["defect"] / f"{Path(row['file']).stem}_mask.png"
            assert np.array_equal(cv2.imread(str(mask_file), cv2.IMREAD_GRAYSCALE), expected.mask)
    assert len(list((tmp_path / "parts" / "good").iterdir())) == 4


def test_same_seed_same_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_data_set(tmp_path / name, good=2, per_defect=1, size_px=64, seed=5)
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file())
    assert files
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(DataError, match="not empty"):
        write_data_set(tmp_path, good=1, per_defect=0, size_px=64)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_folder_that_is_a_file_is_a_data_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="another folder"):
        write_data_set(tmp_path / "file" / "parts", good=1, per_defect=0, size_px=64)


def test_negative_counts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="counts"):
        write_data_set(tmp_path / "new", good=-1, per_defect=0)
    assert not (tmp_path / "new").exists()
