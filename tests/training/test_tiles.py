"""Large pictures in training: every kind learns from tiles, and fit, limit, bundle and evaluation score by the same rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from training_pictures import save

from inspector.errors import ConfigError, DataError
from inspector.inference.bundle import open_bundle
from inspector.inference.engine import Engine, self_test
from inspector.inference.manifest import TilingSpec
from inspector.inference.tiling import Tiles
from training.checkpoint import load_fitted, save_fitted
from training.data.layouts import open_dataset
from training.data.reading import Preparation
from training.data.samples import GOOD, Dataset
from training.data.splits import Role, SplitEntry
from training.data.tiles import _Held, check_tiling, tiles_to_fit
from training.data.training_set import LabelledImages
from training.evaluate import evaluate
from training.export import export_bundle, to_onnx
from training.extend import extend
from training.fit import FitOutcome, FitPlan, fit
from training.models.classifier.fitting import ClassifierSettings
from training.models.fast_bank.fitting import FitSettings as FastSettings
from training.models.guided.fitting import FitSettings as GuidedSettings
from training.models.guided.network import GuidedSpec
from training.models.kind import InspectionModel
from training.models.memory_bank.fitting import FitSettings as BankSettings
from training.models.registry import model_kind
from training.models.scoring import score_images, thinned
from training.models.segmentation.fitting import FitSettings as SegmentationSettings
from training.models.tiled import begin
from training.progress import silent
from training.successor import decoded_input, preparation_of

WIDTH_PX, HEIGHT_PX = 192, 128
TILING = TilingSpec(64, 64, 32)
PLAN = FitPlan(width_px=WIDTH_PX, height_px=HEIGHT_PX, tiling=TILING, seed=2)
KINDS: dict[str, Any] = {
    "memory-bank": BankSettings(bank_size=150, candidates=2500),
    "fast-bank": FastSettings(bank_size=150, candidates=2500),
    "guided": GuidedSettings(
        spec=GuidedSpec(heads=2, width=8), bank_size=150, candidates=2500, good_cells=3000, defect_cells=1000
    ),
    "segmentation": SegmentationSettings(views=24, steps=60),
    "classifier": ClassifierSettings(views=1),
}


def grain(seed: int) -> NDArray[np.uint8]:
    random = np.random.default_rng(seed)
    noise = cv2.GaussianBlur(random.normal(0, 60, (HEIGHT_PX, WIDTH_PX)), (0, 0), 0.8)
    return np.clip(130 + noise + 25 * np.sin(np.arange(WIDTH_PX) / 5), 0, 255).astype(np.uint8)


def with_areas(root: Path, label: str = "dot", region: NDArray[np.bool_] | None = None) -> LabelledImages:
    """A good picture whose left half is white and does not count, one with two blots, one of which does not, and a plain."""
    good, ignored = grain(0), np.zeros((HEIGHT_PX, WIDTH_PX), np.uint8)
    good[:, : WIDTH_PX // 2], ignored[:, : WIDTH_PX // 2] = 255, 255
    pixels, mask = blotted(1, (10, 10))
    for values, value in ((pixels, 10), (mask, 255)):
        values[100:114, 170:184] = value
    pictures = {"good": good, "dot": pixels, "mask": mask, "ignored": ignored, "plain": grain(2)}
    for name, values in pictures.items():
        save(root / "x" / f"{name}.png", values)
    rows = ["image,label,mask,ignore", "x/good.png,good,,x/ignored.png", "x/plain.png,good,,"]
    (root / "labels.csv").write_text("\n".join([*rows, f"x/dot.png,{label},x/mask.png,x/ignored.png", ""]))
    dataset = open_dataset(str(root))
    entries = tuple(SplitEntry(s.path, s.label, n, Role.FIT) for n, s in enumerate(dataset.samples))
    return LabelledImages(
        dataset, entries, Preparation(WIDTH_PX, HEIGHT_PX, 1, tiling=TILING), region, ("x/plain.png",)
    )


@pytest.mark.parametrize("label", ["dot", "filled", "ignored", "pixels"])
def test_tiles_that_do_not_count_teach_nothing(label: str, tmp_path: Path) -> None:
    """Whatever the class is called: these are also names of what is held of a picture."""
    pictures = with_areas(tmp_path, label)
    tiles = tiles_to_fit(pictures, 0)
    shown = [(pictures.entries[tiles.lessons[n].picture].path, n) for n in range(len(tiles))]
    half = [n for path, n in shown if path == "x/good.png"]
    assert half
    for number in half:
        area = tiles.ignored(number)
        assert area is None or not area.all(), "all of the tile is white paint that does not count"
        assert tiles.filled(number).max() < 255, "what does not count is filled as on a good part"
    marked = [n for path, n in shown if path == "x/dot.png"]
    assert marked
    for number in marked:
        assert tiles.filled(number).min() <= 10, "its blot is one that counts, and is shown"


def test_a_picture_whose_every_mark_is_ignored_gives_no_tiles(tmp_path: Path) -> None:
    pictures = with_areas(tmp_path)
    mask = np.zeros((HEIGHT_PX, WIDTH_PX), np.uint8)
    mask[10:24, 10:24] = 255
    save(tmp_path / "x" / "mask.png", mask)
    tiles = tiles_to_fit(pictures, 0)
    assert {tiles.labels(n) for n in range(len(tiles))} == {(GOOD,)}


def test_marks_outside_the_region_of_interest_are_no_lesson(tmp_path: Path) -> None:
    region = np.ones((HEIGHT_PX, WIDTH_PX), bool)
    region[90:, 160:] = False
    pictures = with_areas(tmp_path, region=region)
    tiles = tiles_to_fit(pictures, 0)
    assert {tiles.labels(n) for n in range(len(tiles))} == {(GOOD,)}, "one blot is ignored, the other painted over"


def blotted(
    seed: int, at: tuple[int, int] | None = None, side_px: int = 14
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A picture with one dark blot, a hundredth of its area, and the mask."""
    pixels, mask = grain(seed), np.zeros((HEIGHT_PX, WIDTH_PX), np.uint8)
    random = np.random.default_rng(seed)
    y, x = at or (int(random.integers(0, HEIGHT_PX - side_px)), int(random.integers(0, WIDTH_PX - side_px)))
    for values, value in ((pixels, 10), (mask, 255)):
        values[y : y + side_px, x : x + side_px] = value
    return pixels, mask


def write(root: Path, *, good: int = 11, defects: int = 6, masks: bool = True) -> Dataset:
    rows = ["image,label,mask"]
    for index in range(good):
        save(root / f"good-{index:02d}.png", grain(index))
        rows.append(f"good-{index:02d}.png,good,")
    for index in range(defects):
        pixels, mask = blotted(100 + index)
        save(root / f"blot-{index:02d}.png", pixels)
        save(root / "masks" / f"{index:02d}.png", mask)
        rows.append(f"blot-{index:02d}.png,blot,{f'masks/{index:02d}.png' if masks else ''}")
    (root / "labels.csv").write_text("\n".join(rows) + "\n")
    return open_dataset(str(root / "labels.csv"))


def labelled(dataset: Dataset, region: NDArray[np.bool_] | None = None) -> LabelledImages:
    entries = tuple(SplitEntry(s.path, s.label, 100 + i, Role.FIT) for i, s in enumerate(dataset.samples))
    return LabelledImages(dataset, entries, Preparation(WIDTH_PX, HEIGHT_PX, 1, tiling=TILING), region)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write(tmp_path_factory.mktemp("large"))


# -------------------------------------------------------------------------------------------------- tiles to learn from


def test_tiles_are_of_their_pictures_part_and_show_its_pixels(dataset: Dataset) -> None:
    pictures = labelled(dataset)
    tiles, cutter = tiles_to_fit(pictures, 0), pictures.tiles
    assert cutter is not None
    assert len(cutter.boxes) == 15
    assert (tiles.preparation.width_px, tiles.preparation.tiling) == (64, None)
    for number, lesson in enumerate(tiles.lessons):
        assert tiles.part(number) == pictures.part(lesson.picture)
        box = cutter.boxes[lesson.tile]
        shown = pictures.pixels(lesson.picture)[box.y_px : box.y_px + 64, box.x_px : box.x_px + 64]
        np.testing.assert_array_equal(tiles.pixels(number), shown)
    good = [number for number in range(len(tiles)) if tiles.is_good(number)]
    assert len(good) == 11 * 15  # all of good pictures, none of the others


def test_only_marked_tiles_of_defective_pictures_teach(dataset: Dataset) -> None:
    tiles = tiles_to_fit(labelled(dataset), 0)
    marked = [number for number in range(len(tiles)) if not tiles.is_good(number)]
    assert len({tiles.lessons[number].picture for number in marked}) == 6
    for number in marked:
        mask, by_class = tiles.mask(number), tiles.class_masks(number)
        assert mask is not None
        assert by_class is not None
        assert mask.shape == (64, 64)
        assert (mask >= 128).sum() >= 0.25 * 14 * 14
        np.testing.assert_array_equal(by_class["blot"], mask)
        assert tiles.pixels(number)[mask >= 128].max() == 10
    few = tiles.only(marked[:2])
    assert [few.label(0), few.of_pictures([few.lessons[1].picture])] == ["blot", [0, 1]] or len(few) == 2


def test_a_share_of_the_tiles_is_drawn_evenly_where_there_are_many(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.data.tiles.MOST_PIXELS", 33 * 64 * 64)
    monkeypatch.setattr("training.data.tiles.HELD_BYTES", WIDTH_PX * HEIGHT_PX)  # one picture at a time
    first, again, other = (tiles_to_fit(labelled(dataset), seed) for seed in (0, 0, 1))
    assert first.lessons == again.lessons
    assert first.lessons != other.lessons
    good = [lesson for number, lesson in enumerate(first.lessons) if first.is_good(number)]
    assert {sum(lesson.picture == picture for lesson in good) for picture in {x.picture for x in good}} == {3}
    backwards = [first.pixels(number) for number in reversed(range(len(first)))][::-1]
    for number, pixels in enumerate(backwards):
        np.testing.assert_array_equal(first.pixels(number), pixels)


@pytest.mark.parametrize(
    ("size", "tiling", "said"),
    [
        pytest.param(
            (192, 128), TilingSpec(64, 60, 32), "multiples of 32, such as --size 192x128 --tile 64x64", id="off"
        ),
        pytest.param((200, 128), TilingSpec(64, 64, 32), "--size 192x128", id="a picture off the grid"),
        pytest.param((192, 128), TilingSpec(64, 64, 16), "multiples of 32", id="an overlap off the grid"),
        pytest.param((192, 128), TilingSpec(64, 160, 32), "cannot cut a picture", id="a tile larger than the picture"),
        pytest.param((192, 128), TilingSpec(32, 32, 0), "sides from 64", id="a tile too small to see anything"),
        pytest.param((192, 128), TilingSpec(64, 64, 64), "more than half", id="tiles that share all"),
        pytest.param((192, 128), TilingSpec(64, 64, -32), "multiples", id="gaps"),
        pytest.param((8192, 8192), TilingSpec(64, 64, 32), "65025 tiles", id="too many"),
    ],
)
def test_pictures_that_cannot_be_cut_so(size: tuple[int, int], tiling: TilingSpec, said: str) -> None:
    with pytest.raises(DataError, match=said):
        check_tiling(*size, tiling)
    with pytest.raises(DataError):
        FitPlan(width_px=size[0], height_px=size[1], tiling=tiling)


def test_what_is_put_again_takes_its_room_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.data.tiles.HELD_BYTES", 3000)
    held, array = _Held(), np.zeros(1000, np.uint8)
    for key in ("a", "b", "a", "a"):
        held.put((key, 0), array)
    assert held.get(("b", 0)) is not None
    for key in ("c", "d"):
        held.put((key, 0), array)
    assert [held.get((key, 0)) is None for key in "abcd"] == [True, False, False, False]


def test_maps_are_thinned_for_their_quantiles_alone() -> None:
    small, large = np.zeros((256, 100), np.float32), np.zeros((1250, 600), np.float32)
    assert thinned(small) is small
    assert thinned(large).shape == (250, 120)


# ------------------------------------------------------------------------------------------------------------ all kinds


@pytest.mark.parametrize("kind", list(KINDS))
def test_each_kind_learns_from_tiles_and_scores_pictures(dataset: Dataset, kind: str) -> None:
    """Of pictures that it never saw every one with a blot, which has a hundredth of their area, scores above the others."""
    images = labelled(dataset)
    held_out = [0, 1, len(dataset.samples) - 1, len(dataset.samples) - 2]  # blots come first, by their names
    to_fit = [number for number in range(len(images)) if number not in held_out]
    network = begin(model_kind(kind), images.only(to_fit), KINDS[kind], silent).fit(range(len(to_fit)))
    scored = score_images(network, images, held_out, lambda done: None)
    is_good = np.array([images.is_good(number) for number in held_out])
    assert is_good.tolist() == [False, False, True, True]
    assert scored.scores[~is_good].min() > scored.scores[is_good].max()
    assert scored.maps.shape[0] == 4
    for number, anomaly_map in zip(held_out[:2], scored.maps[:2], strict=True):
        mask = images.mask(number)
        assert mask is not None
        cells = cv2.resize(mask, anomaly_map.shape[::-1], interpolation=cv2.INTER_AREA)
        peak = np.unravel_index(int(anomaly_map.argmax()), anomaly_map.shape)
        near = np.argwhere(cells > 0)
        assert np.abs(near - peak).max(axis=1).min() <= max(anomaly_map.shape) / 8


@pytest.mark.usefixtures("exported_once")
def test_fit_bundle_and_line_score_alike(dataset: Dataset, outcome: FitOutcome, tmp_path: Path) -> None:
    assert outcome.test.auroc == 1.0
    save_fitted(outcome.fitted, tmp_path / "fitted")
    fitted = load_fitted(tmp_path / "fitted")
    bundle, parity = export_bundle(fitted, tmp_path / "bundle", "large")
    assert parity.score < 1e-3
    spec = open_bundle(bundle.path).manifest.input
    assert (spec.width_px, spec.height_px, spec.tiling) == (WIDTH_PX, HEIGHT_PX, TILING)
    engine = Engine(bundle, threads=1)
    assert self_test(engine, lambda data: decoded_input(preparation_of(bundle), data)).passed
    tested = [number for number, entry in enumerate(outcome.split.entries) if entry.role is Role.TEST]
    images = LabelledImages(dataset, outcome.split.entries, fitted.preparation)
    by_torch = score_images(fitted.network, images, tested, lambda done: None)
    judged = {image.path: image.score for image in evaluate(bundle, dataset, outcome.split).judged}
    by_bundle = [judged[outcome.split.entries[number].path] for number in tested]
    assert by_bundle == pytest.approx(by_torch.scores.tolist(), rel=1e-3, abs=1e-3)
    with pytest.raises(ConfigError, match="by tiles, and cannot be extended"):
        extend(bundle, [], tmp_path / "other", "other")


@pytest.fixture(scope="module")
def outcome(dataset: Dataset) -> FitOutcome:
    return fit(dataset, replace(PLAN, settings=KINDS["memory-bank"]))


@pytest.fixture(scope="module")
def graph(outcome: FitOutcome) -> bytes:
    return to_onnx(outcome.fitted.network, (64, 64, 1))


@pytest.fixture
def exported_once(graph: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing the graph takes seconds, and it is the same with and without a region of interest, which the line cuts out."""
    monkeypatch.setattr("training.export.to_onnx", lambda network, shape: graph)


def run_of(network: InspectionModel) -> Callable[[NDArray[np.uint8]], dict[str, NDArray[np.float32]]]:
    def run(tiles: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        with torch.no_grad():
            return dict(zip(network.outputs, (t.numpy() for t in network(torch.from_numpy(tiles))), strict=True))

    return run


def spots(outcome: FitOutcome, pixels: Sequence[NDArray[np.uint8]]) -> list[tuple[float, NDArray[np.float32]]]:
    """Score and map of pictures, with torch."""
    tiles = Tiles(outcome.fitted.preparation.input_spec())
    outputs = [tiles.judge(picture[..., None], run_of(outcome.fitted.network)) for picture in pixels]
    return [(float(one["score"][0]), one["anomaly_map"][0]) for one in outputs]


def test_a_defect_on_the_border_of_tiles_scores_as_one_inside(outcome: FitOutcome) -> None:
    """Four tiles begin or end within each of these blots; the least of them is clearly rejected all the same."""
    limit = outcome.fitted.limits.score
    places = [(25, 25), (57, 89), (57, 25), (90, 121), (0, 0), (114, 178)]
    found = spots(outcome, [blotted(500 + number, place)[0] for number, place in enumerate(places)])
    assert min(score for score, _ in found) > limit
    for (y, x), (_, anomaly_map) in zip(places, found, strict=True):
        row, column = np.unravel_index(int(anomaly_map.argmax()), anomaly_map.shape)
        assert abs(16 * row + 8 - y - 7) <= 24
        assert abs(16 * column + 8 - x - 7) <= 24


def test_good_pictures_show_no_seam(outcome: FitOutcome) -> None:
    """Across the borders of tiles a map changes no more than elsewhere."""
    maps = np.stack([anomaly_map for _, anomaly_map in spots(outcome, [grain(700 + seed) for seed in range(6)])])
    steps = np.abs(np.diff(maps, axis=2)).mean(axis=(0, 1))  # between neighbouring columns of 16 px
    borders = sorted({x // 16 - 1 for x in range(32, WIDTH_PX, 32)})
    inner = [column for column in range(1, len(steps) - 1) if column not in borders]
    assert steps[borders].mean() < 1.25 * steps[inner].mean()


def test_a_classifier_must_be_told_where_the_defects_are(tmp_path: Path) -> None:
    unmarked = write(tmp_path, masks=False)
    with pytest.raises(DataError, match="no picture to fit on has a mask that marks blot"):
        begin(model_kind("classifier"), labelled(unmarked), KINDS["classifier"], silent)


def test_an_unmarked_defect_teaches_a_guided_model_nothing(tmp_path: Path) -> None:
    tiles = tiles_to_fit(labelled(write(tmp_path, masks=False)), 0)
    assert all(tiles.label(number) == GOOD for number in range(len(tiles)))


@pytest.mark.usefixtures("exported_once")
def test_nothing_outside_the_region_of_interest_counts(dataset: Dataset, outcome: FitOutcome, tmp_path: Path) -> None:
    region = np.ones((HEIGHT_PX, WIDTH_PX), np.bool_)
    region[:, :70] = False
    # The fit's own scores are of pictures seen whole.
    kept = replace(outcome.fitted.kept, scores=np.full_like(outcome.fitted.kept.scores, np.nan))
    save_fitted(replace(outcome.fitted, region=region, kept=kept), tmp_path / "fitted")
    bundle, _ = export_bundle(load_fitted(tmp_path / "fitted"), tmp_path / "bundle", "large")
    engine = Engine(open_bundle(bundle.path), threads=1)
    assert self_test(engine, lambda data: decoded_input(preparation_of(bundle), data)).passed
    pictures = labelled(dataset, region)
    assert pictures.tiles is not None
    good, outside, inside = (
        pixels[..., None] for pixels in (grain(900), blotted(900, (40, 20))[0], blotted(900, (40, 120))[0])
    )
    clean, spoilt, defective = engine.infer(np.stack([good, outside, inside]))
    assert clean.score == spoilt.score
    assert defective.score > clean.score
    assert clean.anomaly_map is not None
    assert spoilt.anomaly_map is not None
    np.testing.assert_array_equal(clean.anomaly_map, spoilt.anomaly_map)
    # What fitting scores with is what the line scores with.
    torch_score = pictures.tiles.judge(outside, run_of(outcome.fitted.network))["score"][0]
    assert spoilt.score == pytest.approx(float(torch_score), rel=1e-3)
    tiles = tiles_to_fit(pictures, 0)
    assert {lesson.tile for lesson in tiles.lessons} == set(range(len(pictures.tiles.boxes)))
    assert len(pictures.tiles.boxes) == 12
