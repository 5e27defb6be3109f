"""The guided kind: a memory bank without defects, better with each, whether its mask is drawn or not."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from training_pictures import Pictures, part

from inspector.errors import DataError
from training.models.guided.cells import DEFECT, GOOD, UNKNOWN, Budget, CellPool, Mirrored, look
from training.models.guided.fitting import FitSettings, GuidedFitter, rebuild
from training.models.guided.measure import Log, Row
from training.models.guided.network import Guided, GuidedFeatures, GuidedSpec, Heads
from training.models.guided.perceptrons import Lesson, TrainSettings, train_heads
from training.models.guided.plot import draw
from training.models.memory_bank.network import MemoryBankSpec

SETTINGS = FitSettings(
    spec=GuidedSpec(heads=2, width=8),
    bank_size=100,
    candidates=600,
    good_cells=2000,
    defect_cells=1000,
    train=TrainSettings(least_steps=80),
    seed=1,
)
_FAINT = 60


def _faint(seed: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A part with a bright smear that does not stand out far from the grain, and its mask."""
    random = np.random.default_rng((seed, 7))
    pixels = part(seed).astype(np.float32)
    x, y = random.integers(10, 38, 2)
    pixels[y : y + 16, x : x + 16] += _FAINT
    mask = np.zeros((64, 64), np.uint8)
    mask[y : y + 16, x : x + 16] = 255
    return np.clip(pixels, 0, 255).astype(np.uint8), mask


def _set(good: int, defective: int, *, masked: bool = True, labels: tuple[str, ...] = ("smear",)) -> Pictures:
    faint = [_faint(1000 + index) for index in range(defective)]
    pixels = np.stack([part(index) for index in range(good)] + [pixels for pixels, _ in faint])[..., None]
    masks = np.stack([np.zeros((64, 64), np.uint8)] * good + [mask for _, mask in faint])
    names = ["good"] * good + [labels[index % len(labels)] for index in range(defective)]
    return Pictures(pixels, names, masks if masked else None)


def _images(*pictures: NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(np.stack(pictures)[..., None])


@torch.no_grad()
def _separation(network: Guided) -> float:
    """How far the worst faint smear is above the mean of good parts, in their standard deviations; mean over smears."""
    good = network(_images(*[part(5000 + i) for i in range(16)]))[0]
    bad = network(_images(*[_faint(6000 + i)[0] for i in range(16)]))[0]
    return float((bad.mean() - good.mean()) / good.std())


@pytest.fixture(scope="module")
def taught() -> Guided:
    return GuidedFitter(_set(16, 10), SETTINGS).fit(range(26))


def test_without_defects_it_is_the_memory_bank() -> None:
    network = GuidedFitter(_set(16, 0), SETTINGS).fit(range(16))
    images = _images(part(300), part(301, defect=True))
    with torch.no_grad():
        ours, of_bank = network(images), network.bank(images)
    assert network.heads is None
    assert all(torch.equal(a, b) for a, b in zip(ours, of_bank, strict=True))


def test_the_good_of_another_fold_and_its_defects_teach_nothing() -> None:
    """Cross-fitting rests on it: what is left out must not be in the network."""
    whole, part_of_it = _set(16, 4, labels=("smear", "stain")), _set(12, 0)
    left_out = GuidedFitter(whole, SETTINGS).fit(range(12))
    assert left_out.heads is None
    assert len(left_out(_images(part(300)))) == len(left_out.outputs)
    assert set(left_out.bank.structure()["bank"]) == set(
        GuidedFitter(part_of_it, SETTINGS).fit(range(12)).structure()["bank"]["bank"]
    )


@pytest.mark.parametrize(
    ("masked", "least_gain"),
    [
        pytest.param(True, 0.3, id="masks say where"),
        pytest.param(False, 0.0, id="labels alone: the cells are found by alternation"),
    ],
)
def test_labelled_rejects_make_it_better(masked: bool, least_gain: float) -> None:
    settings = replace(SETTINGS, spec=GuidedSpec())
    fitter = GuidedFitter(_set(16, 10, masked=masked), settings)
    alone = fitter.fit(range(16))
    guided = fitter.teach(alone, range(26))
    assert _separation(guided) > _separation(alone) + least_gain


def test_the_map_shows_where(taught: Guided) -> None:
    pixels, mask = _faint(6100)
    with torch.no_grad():
        anomaly_map = taught(_images(pixels))[1]
    inside = F.adaptive_avg_pool2d(torch.from_numpy(mask[None]).float(), anomaly_map.shape[1:])[0] > 127
    assert anomaly_map.shape == (1, 8, 8)
    assert float(anomaly_map[0][inside].mean()) > float(anomaly_map[0][~inside].mean())


def test_the_first_layer_before_or_after_enlarging_is_the_same(taught: Guided) -> None:
    features = taught.bank.features
    assert isinstance(features, GuidedFeatures)
    assert taught.heads is not None
    with torch.no_grad():
        grids = features.of_heads(features.levels(_images(part(1), part(2))))
        joined = torch.cat([F.interpolate(grid, (8, 8), mode="bilinear") for grid in grids], dim=1)
        torch.testing.assert_close(
            taught.heads(grids),
            taught.heads(list(joined.split(list(features.grid_channels), dim=1))),
            rtol=1e-3,
            atol=1e-3,
        )


def test_equal_seeds_give_equal_networks_and_leave_torch_alone() -> None:
    fitters = [GuidedFitter(_set(8, 3), SETTINGS) for _ in range(2)]
    before = torch.get_rng_state()
    first, again = [fitter.fit(range(11)) for fitter in fitters]
    assert torch.equal(torch.get_rng_state(), before)
    other = GuidedFitter(_set(8, 3), replace(SETTINGS, seed=2)).fit(range(11))
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), again.state_dict().values(), strict=True))
    assert first.heads is not None
    assert other.heads is not None
    assert not torch.equal(first.heads.second.weight, other.heads.second.weight)


def test_scores_do_not_depend_on_the_batch(taught: Guided) -> None:
    pictures = [part(1), _faint(2)[0], part(3, defect=True)]
    with torch.no_grad():
        together, alone = taught(_images(*pictures))[0], torch.cat([taught(_images(p))[0] for p in pictures])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-3)


def test_several_classes_get_probabilities() -> None:
    network = GuidedFitter(_set(8, 6, labels=("smear", "stain")), SETTINGS).fit(range(14))
    with torch.no_grad():
        _, _, classes = network(_images(part(1), _faint(2)[0]))
    assert network.classes == ("smear", "stain")
    assert network.outputs[2] == "class_scores"
    assert classes.shape == (2, 2)
    assert float(classes.min()) >= 0
    assert float(classes.max()) <= 1


@pytest.mark.parametrize("labels", [("smear",), ("smear", "stain")])
def test_it_is_rebuilt_from_its_structure_and_tensors(labels: tuple[str, ...]) -> None:
    network = GuidedFitter(_set(8, 4, labels=labels), SETTINGS).fit(range(12))
    again = rebuild(json.loads(json.dumps(network.structure()))).eval()
    again.load_state_dict(network.state_dict())
    with torch.no_grad():
        pairs = zip(network(_images(part(1))), again(_images(part(1))), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize(("width", "height"), [(32, 32), (33, 47), (200, 32)])
def test_any_size_is_taken(width: int, height: int) -> None:
    random = np.random.default_rng(0)
    pixels = random.integers(0, 255, (6, height, width, 1)).astype(np.uint8)
    masks = np.zeros((6, height, width), np.uint8)
    masks[4:, 5:20, 5:20] = 255
    network = GuidedFitter(Pictures(pixels, ["good"] * 4 + ["hole"] * 2, masks), SETTINGS).fit(range(6))
    with torch.no_grad():
        score, anomaly_map = network(torch.from_numpy(pixels))
    assert torch.isfinite(score).all()
    assert anomaly_map.shape == (6, -(-height // 8), -(-width // 8))


def _no_good() -> Pictures:
    return Pictures(np.stack([part(1, defect=True)] * 3)[..., None], ["blot"] * 3)


def _other_size() -> Pictures:
    data = _set(4, 2)
    object.__setattr__(data, "masks", np.full((6, 32, 64), 255, np.uint8))
    return data


def _nowhere() -> Pictures:
    data = _set(4, 2)
    object.__setattr__(data, "region_of_interest", np.zeros((64, 64), bool))
    return data


@pytest.mark.parametrize(
    ("data", "words"),
    [
        pytest.param(_no_good, "none of the images to fit on is good", id="nothing to start from"),
        pytest.param(_other_size, "64 × 32 px, its image 64 × 64", id="the mask of another picture"),
        pytest.param(_nowhere, "draw it larger", id="a region of interest below a cell"),
    ],
)
def test_what_cannot_be_learned_is_refused(data: Callable[[], Pictures], words: str) -> None:
    with pytest.raises(DataError, match=words):
        GuidedFitter(data(), SETTINGS)


def test_images_without_a_good_part_among_them_are_refused() -> None:
    with pytest.raises(DataError, match="add good parts"):
        GuidedFitter(_set(4, 2), SETTINGS).fit([4, 5])


@pytest.mark.parametrize(
    "pixels",
    [
        pytest.param(np.full((5, 64, 64, 1), 128, np.uint8), id="all alike and blank, the defective ones too"),
        pytest.param(np.stack([part(1)] * 5)[..., None], id="one picture five times"),
    ],
)
def test_degenerate_images_give_finite_scores(pixels: NDArray[np.uint8]) -> None:
    network = GuidedFitter(Pictures(pixels, ["good"] * 3 + ["odd"] * 2), SETTINGS).fit(range(5))
    with torch.no_grad():
        outputs = network(torch.cat([torch.from_numpy(pixels[:1]), torch.full((1, 64, 64, 1), 255, dtype=torch.uint8)]))
    assert all(torch.isfinite(values).all() for values in outputs)


def _look(data: Pictures, budget: Budget) -> torch.Tensor:
    return look(data, GuidedFeatures(MemoryBankSpec()).eval(), budget, 0).cells.shows


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        pytest.param(lambda masks: masks, {GOOD, DEFECT}, id="a mask: marked cells and those free of it"),
        pytest.param(lambda masks: masks * 0, {GOOD, UNKNOWN}, id="a mask that marks nothing tells nothing"),
        pytest.param(lambda masks: None, {GOOD, UNKNOWN}, id="no mask"),
    ],
)
def test_masks_say_what_cells_show(
    spoil: Callable[[NDArray[np.uint8]], NDArray[np.uint8] | None], expected: set[int]
) -> None:
    data = _set(2, 2)
    assert data.masks is not None
    object.__setattr__(data, "masks", spoil(data.masks))
    assert set(_look(data, Budget(100, 1000, 1000)).tolist()) == expected


def test_a_defect_of_one_pixel_has_a_cell() -> None:
    data = _set(2, 1)
    assert data.masks is not None
    data.masks[2] = 0
    data.masks[2, 30, 30] = 255
    assert int((_look(data, Budget(100, 1000, 1000)) == DEFECT).sum()) == 1


def test_memory_is_bounded() -> None:
    shows = _look(_set(4, 4), Budget(patches=8, good_cells=40, defect_cells=24))
    assert int((shows == DEFECT).sum()) <= 12
    assert len(shows) <= 40 + 24


class _DontCare(Pictures):
    """The right half of every picture does not count."""

    def ignored(self, image: int) -> NDArray[np.bool_]:
        right = np.zeros((64, 64), bool)
        right[:, 32:] = True
        return right


def test_ignored_areas_teach_nothing() -> None:
    whole = _set(3, 2)
    data = _DontCare(whole.stored, [whole.label(i) for i in range(5)], whole.masks)
    seen = look(data, GuidedFeatures(MemoryBankSpec()).eval(), Budget(1000, 1000, 1000), 0)
    assert len(seen.patches.patches) == 3 * 4 * 2
    assert int((seen.cells.images < 3).sum()) == 3 * 8 * 4


@pytest.mark.parametrize(
    ("mirrored", "turns"),
    [
        pytest.param("horizontal", [(2,)], id="left to right"),
        pytest.param("vertical", [(1,)], id="top to bottom"),
        pytest.param("both", [(2,), (1,), (1, 2)], id="either and both"),
    ],
)
def test_mirrored_pictures_teach_as_if_they_were_there(mirrored: Mirrored, turns: list[tuple[int, ...]]) -> None:
    """Defects, what is free of them, and what is to be ignored, each where it then lies; the bank sees none of it."""
    data = _set(3, 2)
    assert data.masks is not None
    labels, features, budget = [data.label(i) for i in range(5)], GuidedFeatures(MemoryBankSpec()).eval(), _ALL
    seen = look(_DontCare(data.stored, labels, data.masks), features, budget, 0, mirrored=mirrored)
    wanted = [look(_DontCare(data.stored, labels, data.masks), features, budget, 0).cells]
    for axes in turns:
        turned = (np.ascontiguousarray(np.flip(pixels, axes)) for pixels in (data.stored, data.masks))
        wanted.append(look(_Turned(*turned, labels, axes), features, budget, 0).cells)
    for image in range(5):
        for shown in (GOOD, DEFECT):
            ours, theirs = (_sorted(pools, image, shown) for pools in ([seen.cells], wanted))
            assert torch.equal(ours, theirs)
    assert len(seen.patches.patches) == 3 * 4 * 2


@pytest.mark.parametrize("masks", [pytest.param(True, id="masks"), pytest.param(False, id="cells of unknown truth")])
def test_a_region_of_interest_is_mirrored_with_its_picture(masks: bool) -> None:
    """A region on the left: what it shows teaches as much mirrored as it is, and the other half nothing."""
    whole = _set(3, 2)
    stored, labels = whole.stored[:, 8:56], [whole.label(i) for i in range(5)]  # wider than high
    region = np.zeros(stored.shape[1:3], bool)
    region[:, :32] = True
    assert whole.masks is not None
    pools = []
    for turned in (False, True):
        here = region[:, ::-1] if turned else region
        pixels, marks = (values[:, :, ::-1] if turned else values for values in (stored, whole.masks[:, 8:56]))
        data = Pictures(np.ascontiguousarray(pixels), labels, np.ascontiguousarray(marks) if masks else None)
        object.__setattr__(data, "region_of_interest", here)
        features = GuidedFeatures(MemoryBankSpec(), torch.from_numpy(here.astype(np.float32))).eval()
        both: list[Mirrored] = ["none"] if turned else ["none", "horizontal"]
        pools.append([look(data, features, _ALL, 0, mirrored=how).cells for how in both])
    (plain, mirrored), (turned_round,) = pools
    for image in range(5):
        for shown in (GOOD, DEFECT, UNKNOWN):
            ours, theirs = (_sorted(cells, image, shown) for cells in ([mirrored], [plain, turned_round]))
            torch.testing.assert_close(ours, theirs, rtol=0, atol=0.02)
    assert len(mirrored.cells) == 2 * len(plain.cells)


_ALL = Budget(100_000, 100_000, 100_000)


class _Turned(_DontCare):
    def __init__(
        self, pixels: NDArray[np.uint8], masks: NDArray[np.uint8], labels: list[str], axes: tuple[int, ...]
    ) -> None:
        super().__init__(pixels, labels, masks)
        object.__setattr__(self, "axes", tuple(axis - 1 for axis in axes))

    def ignored(self, image: int) -> NDArray[np.bool_]:
        return np.flip(super().ignored(image), self.axes)  # type: ignore[attr-defined]


def _sorted(pools: list[CellPool], image: int, shown: int) -> torch.Tensor:
    """The cells of an image that show that, in an order of their own: float16 (cells, channels)."""
    cells = torch.cat([pool.cells[(pool.images == image) & (pool.shows == shown)] for pool in pools])
    return cells[cells.float().sum(1).argsort()]


def test_outside_the_region_of_interest_nothing_counts() -> None:
    data = _set(12, 6)
    left = np.zeros((64, 64), bool)
    left[:, :32] = True
    object.__setattr__(data, "region_of_interest", left)
    network = GuidedFitter(data, SETTINGS).fit(range(18))
    spoilt = part(800)
    spoilt[20:36, 44:60] = np.clip(spoilt[20:36, 44:60].astype(int) + 60, 0, 255)
    with torch.no_grad():
        scores, maps = network(_images(part(800), spoilt))
    assert network.heads is not None
    assert float(maps[:, :, 4:].abs().max()) == 0
    assert float(scores[0]) == float(scores[1])


def test_heads_without_masks_find_the_odd_cells() -> None:
    """Ten cells per image, one of them far from good in one direction: alternation must pick that one."""
    random = torch.Generator().manual_seed(0)
    channels = (60, 30, 10)
    cells = torch.randn(400, sum(channels), generator=random)
    odd = torch.arange(300, 400, 10)
    cells[odd, :50] += 3.0
    shows = torch.cat([torch.full((300,), GOOD), torch.full((100,), UNKNOWN)])
    images = torch.arange(40).repeat_interleave(10)
    lesson = Lesson(cells.half(), shows, images, torch.zeros(40, 0), channels)
    heads = train_heads(lesson, GuidedSpec(heads=2, width=16), TrainSettings(transplanted=0.0), seed=0)
    with torch.no_grad():
        logits = heads(list(cells[:, :, None, None].split(channels, dim=1)))[:, 0, 0, 0]
    assert set(logits[300:].topk(10).indices.tolist()) == set((odd - 300).tolist())
    assert isinstance(heads, Heads)


def test_measured_rows_are_not_measured_again(tmp_path: Path) -> None:
    row = Row("tiles", "guided", 0, 5, 0, 0.9, 0.5, None)
    Log(tmp_path / "curve.jsonl").add(row)
    log = Log(tmp_path / "curve.jsonl")
    assert log.has(row.key)
    assert not log.has(replace(row, seed=1).key)


def test_the_plot_is_the_same_for_the_same_rows(tmp_path: Path) -> None:
    rows = [
        {"data": "tiles", "model": model, "seed": 0, "examples": count, "draw": 0, "auroc": 0.8, "escapes": 0.5}
        for model, counts in (("memory-bank", (0,)), ("guided", (1, 5, 147)), ("classifier", (1, 5, 147)))
        for count in counts
    ]
    draw(rows, tmp_path / "a.svg")
    draw(rows, tmp_path / "b.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert b"escapes at 1 % false rejects" in (tmp_path / "a.svg").read_bytes()
