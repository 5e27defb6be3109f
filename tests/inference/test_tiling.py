"""Large pictures judged by tiles: nothing is missed between tiles, no seam is in the map, nothing grows with the picture."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tiled import HEIGHT_PX, REGION, SPEC, TILE_PX, TILING, WIDTH_PX, picture, png, tiled_bundle
from toys import toy_manifest, toy_prepare

from inspector.errors import BundleError, EngineError, Interrupted
from inspector.inference.batching import BatchCounts, Batcher
from inspector.inference.bundle import open_bundle
from inspector.inference.engine import Engine, self_test
from inspector.inference.manifest import InputSpec, TilingSpec, manifest_bytes, manifest_digest
from inspector.inference.remote import RemoteEngine
from inspector.inference.tiling import Tiles, pack_region, starts, unpack_region
from inspector.inference.triton import write_repository
from inspector.models import MAX_HELD_BYTES, most_in_flight
from inspector.part import Scores
from inspector.reports import bundle_card

SCRIPT = Path(__file__).resolve().parents[2] / "deploy" / "run_tiled_bundle.py"
BIG = InputSpec(1024, 512, 1, {}, TilingSpec(256, 256, 64))


@given(tile=st.integers(2, 20), more=st.integers(0, 200), overlap=st.integers(0, 10))
def test_tiles_cover_a_side_and_share_what_was_asked(tile: int, more: int, overlap: int) -> None:
    tile_px, side_px, overlap_px = 32 * tile, 32 * (tile + more), 32 * min(overlap, tile // 2)
    begins = starts(side_px, tile_px, overlap_px)
    assert begins[0] == 0
    assert begins[-1] == side_px - tile_px
    assert all(begin % 32 == 0 for begin in begins)
    steps = np.diff(begins)
    assert (steps > 0).all()
    assert (steps <= tile_px - overlap_px).all()


def by_cells(cells: int, *, padded: bool = False) -> Callable[[NDArray[np.uint8]], Mapping[str, NDArray[np.float32]]]:
    """A model whose map says how bright each cell and what is around it are; `padded`: it takes the outside to be black."""

    def run(tiles: NDArray[np.uint8]) -> Mapping[str, NDArray[np.float32]]:
        border = cv2.BORDER_CONSTANT if padded else cv2.BORDER_REFLECT
        maps = []
        for tile in tiles[..., 0].astype(np.float32):
            blurred = cv2.GaussianBlur(tile, (33, 33), 8, borderType=border) if padded else tile
            maps.append(cv2.resize(blurred, (cells, cells), interpolation=cv2.INTER_AREA))
        found = np.stack(maps)
        return {"score": found.max((1, 2)), "anomaly_map": found, "class_maps": np.stack([found, found / 2], 1) / 255}

    return run


def texture(seed: int, spec: InputSpec = BIG) -> NDArray[np.uint8]:
    random = np.random.default_rng(seed)
    smooth = cv2.GaussianBlur(random.normal(0, 400, (spec.height_px, spec.width_px)), (0, 0), 6)
    return np.clip(128 + smooth, 0, 255).astype(np.uint8)[..., None]


def whole_map(pixels: NDArray[np.uint8], rows: int, columns: int) -> NDArray[np.float32]:
    return cv2.resize(pixels[..., 0].astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA)


def test_what_does_not_depend_on_the_tile_is_joined_exactly() -> None:
    pixels = texture(1)
    joined = Tiles(BIG).judge(pixels, by_cells(16))
    expected = whole_map(pixels, 32, 64)
    assert joined["anomaly_map"].shape == (1, 32, 64)
    np.testing.assert_allclose(joined["anomaly_map"][0], expected, atol=1e-3)
    np.testing.assert_allclose(joined["class_maps"][0, 1], expected / 510, atol=1e-5)
    assert joined["score"][0] == pytest.approx(expected.max(), abs=1e-3)


def test_cells_that_do_not_fit_the_grid_are_moved_by_part_of_a_cell() -> None:
    """19 cells of 256 px: neighbours' cells do not fall on each other, as with a picture that the model reduces first."""
    pixels = texture(2)
    joined = Tiles(BIG).judge(pixels, by_cells(19))["anomaly_map"][0]
    assert joined.shape == (38, 76)
    expected = whole_map(pixels, 38, 76)
    assert np.abs(joined - expected).max() < 0.25 * np.ptp(expected)
    assert np.corrcoef(joined.ravel(), expected.ravel())[0, 1] > 0.97


def test_no_seam_is_left_where_the_model_is_unsure_at_edges() -> None:
    """A model that takes the outside to be black is wrong by half at each edge of a tile; joined, that is gone."""
    pixels = np.full((512, 1024, 1), 200, np.uint8)
    run = by_cells(16, padded=True)
    joined = Tiles(BIG).judge(pixels, run)["anomaly_map"][0]
    inner = joined[1:-1, 1:-1]
    worst_of_a_tile = np.abs(run(pixels[None, :256, :256])["anomaly_map"] - 200).max()
    assert worst_of_a_tile > 60
    assert np.abs(inner - 200).max() < 2


def test_a_shift_by_half_a_tile_shifts_the_map_and_no_more() -> None:
    pixels = texture(3, replace(BIG, width_px=1024 + 128))
    run = by_cells(16, padded=True)
    first = Tiles(BIG).judge(np.ascontiguousarray(pixels[:, :1024]), run)["anomaly_map"][0]
    second = Tiles(BIG).judge(np.ascontiguousarray(pixels[:, 128:]), run)["anomaly_map"][0]
    assert np.abs(first[1:-1, 9:-1] - second[1:-1, 1:-9]).max() < 2  # of 255; beside the picture's own edge


@pytest.mark.parametrize(
    ("y", "x"),
    [
        pytest.param(0, 0, id="in a corner"),
        pytest.param(240, 180, id="where one tile ends, down"),
        pytest.param(100, 250, id="where one tile ends, across"),
        pytest.param(250, 190, id="where four tiles meet"),
        pytest.param(498, 1010, id="in the last corner"),
    ],
)
def test_a_defect_is_found_wherever_it_lies(y: int, x: int) -> None:
    pixels = np.full((512, 1024, 1), 20, np.uint8)
    pixels[y : y + 14, x : x + 14] = 255
    joined = Tiles(BIG).judge(pixels, by_cells(64))
    assert joined["score"][0] > 200
    row, column = np.unravel_index(int(joined["anomaly_map"][0].argmax()), (128, 256))
    assert abs(4 * row - y) < 16
    assert abs(4 * column - x) < 16


def test_what_is_no_number_in_one_tile_is_none_in_the_picture() -> None:
    def run(tiles: NDArray[np.uint8]) -> Mapping[str, NDArray[np.float32]]:
        score = tiles.mean((1, 2, 3), dtype=np.float32)
        return {
            "score": np.where(score > 100, np.float32("nan"), score),
            "class_scores": np.stack([score, 255 - score], 1),
        }

    outputs = Tiles(SPEC).judge(picture(spot=(96, 192)), run)
    assert np.isnan(outputs["score"][0])
    np.testing.assert_allclose(outputs["class_scores"][0], [240, 235])  # each class where it is strongest


# ------------------------------------------------------------------------------------------------- region of interest


def left_half() -> NDArray[np.bool_]:
    region = np.zeros((HEIGHT_PX, WIDTH_PX), np.bool_)
    region[:, : WIDTH_PX // 2 + 10] = True
    return region


@given(st.integers(0, 2**31))
def test_nothing_outside_the_region_of_interest_changes_anything(seed: int) -> None:
    random = np.random.default_rng(seed)
    region, tiles = left_half(), Tiles(SPEC, left_half())
    first = random.integers(0, 256, (HEIGHT_PX, WIDTH_PX, 1), dtype=np.uint8)
    second = np.where(region[..., None], first, random.integers(0, 256, first.shape, dtype=np.uint8))
    ours, theirs = (tiles.judge(pixels, by_cells(16)) for pixels in (first, second))
    for name, values in ours.items():
        np.testing.assert_array_equal(values, theirs[name])
    outside = ours["anomaly_map"][0][:, 37:]
    assert (outside == ours["anomaly_map"].min()).all()
    assert (ours["class_maps"][0][:, :, 37:] == 0).all()


def test_tiles_without_any_of_the_region_are_not_looked_at() -> None:
    looked: list[int] = []

    def run(tiles: NDArray[np.uint8]) -> Mapping[str, NDArray[np.float32]]:
        looked.append(len(tiles))
        return {"score": tiles.mean((1, 2, 3), dtype=np.float32)}

    Tiles(SPEC).judge(picture(), run)
    everywhere, looked = sum(looked), []
    Tiles(SPEC, left_half()).judge(picture(), run)
    assert sum(looked) < everywhere
    assert max(looked) <= Tiles(SPEC).per_run


@pytest.mark.parametrize(
    ("data", "said"),
    [
        pytest.param(b"", "0 bytes, expected 5120", id="empty"),
        pytest.param(bytes(5119), "5119 bytes", id="truncated"),
        pytest.param(bytes(5121), "5121 bytes", id="too long"),
        pytest.param(bytes(5120), "empty region", id="nothing in it"),
    ],
)
def test_a_region_that_cannot_be_one_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(BundleError, match=said):
        unpack_region(data, WIDTH_PX, HEIGHT_PX, "bundle x")


def test_a_region_is_read_as_it_was_written() -> None:
    region = np.random.default_rng(0).random((37, 53)) > 0.5
    np.testing.assert_array_equal(unpack_region(pack_region(region), 53, 37, "x"), region)
    with pytest.raises(ValueError, match="region"):
        Tiles(SPEC, region)


# ----------------------------------------------------------------------------------------------------------- manifest


def test_bundles_from_before_tiles_keep_their_digest() -> None:
    manifest = replace(
        toy_manifest(), files={"model.onnx": "0" * 64, "golden/020.png": "1" * 64, "golden/240.png": "2" * 64}
    )
    assert b"tiling" not in manifest_bytes(manifest)
    assert manifest_digest(manifest) == "7c44682f30249c7993882a93818babfebbefa2f210f2af01ce8dff351308f0f9"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param({"width_px": 512}, "cannot be cut into tiles of 512 px", id="a tile larger than the picture"),
        pytest.param({"width_px": 65}, "multiple of 32", id="off the grid"),
        pytest.param({"width_px": 0}, "input.tiling.width_px", id="no width"),
        pytest.param({"overlap_px": 64}, "more than half", id="tiles that share all"),
        pytest.param({"overlap_px": -32}, "input.tiling.overlap_px", id="gaps between tiles"),
        pytest.param({"region_of_interest": "../x"}, "input.tiling.region_of_interest", id="a file outside"),
        pytest.param({"region_of_interest": "nowhere.bits"}, "has no hash", id="a file that is not there"),
        pytest.param({"colour": "red"}, "input.tiling.colour", id="an unknown key"),
        pytest.param({"width_px": "64"}, "input.tiling.width_px", id="a text"),
    ],
)
def test_a_tiling_that_cannot_be_is_refused(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    bundle = tiled_bundle(tmp_path / "tiled")
    document = json.loads((bundle.path / "manifest.json").read_text())
    document["input"]["tiling"].update(change)
    (bundle.path / "manifest.json").write_text(json.dumps(document))
    with pytest.raises(BundleError, match=said):
        open_bundle(bundle.path)


def test_a_picture_of_endless_tiles_is_refused(tmp_path: Path) -> None:
    bundle = tiled_bundle(tmp_path / "tiled")
    document = json.loads((bundle.path / "manifest.json").read_text())
    document["input"].update(width_px=8192, height_px=8192)
    (bundle.path / "manifest.json").write_text(json.dumps(document))
    with pytest.raises(BundleError, match="the most are 4096"):
        open_bundle(bundle.path)


# ----------------------------------------------------------------------------------------------------- engine, batcher


def test_an_engine_judges_a_picture_by_its_worst_tile(tmp_path: Path) -> None:
    bundle = open_bundle(tiled_bundle(tmp_path / "tiled").path)
    engine = Engine(bundle, threads=1)
    engine.warm_up(8)
    assert self_test(engine, toy_prepare).passed
    good, bad = engine.infer(np.stack([picture(51), picture(51, spot=(32, 64), bright=204)]))
    assert (good.score, bad.score) == pytest.approx((0.2, 0.8), abs=1e-5)
    assert bad.anomaly_map is not None
    np.testing.assert_allclose(bad.anomaly_map * 255, picture(51, spot=(32, 64), bright=204)[..., 0], atol=1e-3)
    with pytest.raises(EngineError, match="160, 256, 1"):
        engine.infer(np.zeros((1, TILE_PX, TILE_PX, 1), np.uint8))
    card = bundle_card(bundle)
    assert any("tiles" in str(cell) for cell in card.columns[0]._cells)


def test_a_region_of_interest_travels_with_the_bundle(tmp_path: Path) -> None:
    region = left_half()
    region[:, WIDTH_PX // 2 :] = True
    region[:40, :100] = False
    engine = Engine(tiled_bundle(tmp_path / "tiled", region=region), threads=1)
    assert self_test(engine, toy_prepare).passed
    (scores,) = engine.infer(picture(51, spot=(0, 0), size=36)[None])
    assert scores.score == pytest.approx(0.2, abs=1e-5)
    (bundle_file,) = (tmp_path / "tiled").glob(REGION)
    bundle_file.write_bytes(bytes(5120))
    with pytest.raises(BundleError):
        open_bundle(tmp_path / "tiled")


def test_judging_stops_between_two_runs(tmp_path: Path) -> None:
    engine = Engine(tiled_bundle(tmp_path / "tiled"), threads=1)
    answers = iter([False, True, True])
    with pytest.raises(Interrupted, match="stopped after 8 of"):
        engine.judge_until(picture(), lambda: next(answers))
    assert engine.judge_until(picture(51), lambda: False).score == pytest.approx(0.2, abs=1e-5)


def test_a_part_that_nobody_waits_for_gives_way_to_the_next(tmp_path: Path) -> None:
    """Its deadline passes while it is judged: it is dropped after the run, and the next part is judged whole."""
    engine = Engine(tiled_bundle(tmp_path / "tiled"), threads=1)
    asked: list[int] = []
    done = threading.Event()
    got: list[Scores | EngineError] = []

    def settled_after_a_run() -> bool:
        asked.append(1)
        return len(asked) > 2  # once before it is begun, once before its first run

    def answer(result: Scores | EngineError) -> None:
        got.append(result)
        done.set()

    batcher = Batcher(engine, 8, 10, judge_until=engine.judge_until)
    try:
        assert batcher.submit(picture(255), got.append, settled_after_a_run)
        assert batcher.submit(picture(51), answer, lambda: False)
        assert done.wait(20)
    finally:
        batcher.close()
    (result,) = got
    assert isinstance(result, Scores)
    assert result.score == pytest.approx(0.2, abs=1e-5)
    assert len(asked) == 3
    assert batcher.counts == BatchCounts(batches=2, scored=1, skipped=1)


def test_few_large_pictures_are_in_flight_at_once(tmp_path: Path) -> None:
    engine = Engine(tiled_bundle(tmp_path / "tiled"), threads=1)
    assert most_in_flight(1000, engine) == 1000  # these are small
    held = [most_in_flight(32, _Sized(5120, 5120, channels)) for channels in (1, 3)]  # type: ignore[arg-type]
    assert held == [10, 3]
    assert held[1] * 2 * 5120 * 5120 * 3 <= MAX_HELD_BYTES


class _Sized:
    tiles = "some"

    def __init__(self, *shape: int) -> None:
        self.image_shape = shape


# ------------------------------------------------------------------------------------------------------------ elsewhere


def test_an_inference_server_is_not_asked_for_tiles(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="by tiles"):
        RemoteEngine(tiled_bundle(tmp_path / "tiled"), "127.0.0.1:1", "tiled", 100)


def test_a_model_repository_says_what_a_client_must_do(tmp_path: Path) -> None:
    config = (write_repository(tiled_bundle(tmp_path / "tiled"), tmp_path / "models") / "config.pbtxt").read_text()
    assert "dims: [ 64, 64, 1 ]" in config
    assert "takes tiles of 64 x 64 px" in config
    assert "7 columns and 4 rows" in config


@pytest.mark.parametrize("whole", [pytest.param(True, id="everywhere"), pytest.param(False, id="a region of interest")])
def test_the_script_without_this_project_gives_the_same_scores(tmp_path: Path, whole: bool) -> None:
    region = left_half()
    region[:, WIDTH_PX // 2 :] = True
    region[:40, :100] = False
    bundle = tiled_bundle(tmp_path / "tiled", region=None if whole else region)
    noise = np.random.default_rng(5).integers(0, 256, (HEIGHT_PX, WIDTH_PX, 1), dtype=np.uint8)
    (tmp_path / "noise.png").write_bytes(png(noise))
    files = [str(tmp_path / "noise.png"), *(str(bundle.path / image.file) for image in bundle.manifest.golden)]
    command = [sys.executable, "-I", str(SCRIPT), str(bundle.path), *files]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path, check=True)
    (scores,) = Engine(bundle, threads=1).infer(noise[None])
    expected = [scores.score, *(image.score for image in bundle.manifest.golden)]
    assert [float(line.split()[1]) for line in run.stdout.splitlines()] == pytest.approx(expected, abs=1e-4)


def test_the_sizes_of_the_toy_are_as_the_tests_take_them() -> None:
    assert (TILING.width_px, TILING.overlap_px) == (TILE_PX, 32)
