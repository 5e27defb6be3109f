"""The memory bank: what its network computes, what its fitting chooses, and that a seed decides all of it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from training_pictures import Pictures, part

from inspector.errors import DataError
from training.backbones import Trunk, pretrained_backbone
from training.models.memory_bank.fitting import (
    FitSettings,
    PatchPool,
    collect_patches,
    coreset,
    rarity_weights,
    remember,
    whiten,
)
from training.models.memory_bank.network import MemoryBank, MemoryBankSpec, PatchFeatures, gaussian
from training.models.scoring import score_images

SETTINGS = FitSettings(bank_size=100, candidates=600, seed=1)


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    return np.stack([part(index)[..., None] for index in range(16)])


@pytest.fixture(scope="module")
def pool(pictures: np.ndarray) -> PatchPool:
    return collect_patches(Pictures(pictures[:12]), SETTINGS)


@pytest.fixture(scope="module")
def bank(pool: PatchPool) -> MemoryBank:
    return remember(pool, SETTINGS)


def _images(*pictures: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.stack([p if p.ndim == 3 else p[..., None] for p in pictures]))


def test_the_backbone_has_the_published_weights() -> None:
    """Bright corner or dark, the trunk tells them apart as the ImageNet network does: its features vary."""
    trunk = Trunk(pretrained_backbone(), (4, 5))
    levels = trunk(torch.linspace(-1, 1, 3 * 64 * 64).reshape(1, 3, 64, 64))
    assert [tuple(level.shape) for level in levels] == [(1, 112, 4, 4), (1, 192, 2, 2)]
    assert not any(parameter.requires_grad for parameter in trunk.parameters())
    assert all(0.1 < float(level.std()) < 10 for level in levels)


def test_the_matrix_product_gives_the_weighted_distance_to_the_nearest(bank: MemoryBank, pictures: np.ndarray) -> None:
    images = _images(*pictures[12:])
    with torch.no_grad():
        features = bank.features(images)
        queries = (features.permute(0, 2, 3, 1).flatten(0, 2) - bank.mean) @ bank.whitening
        expected = (torch.cdist(queries, bank.bank) * bank.weights).amin(dim=1).reshape(len(images), -1)
        expected = expected / bank.variety(queries.reshape(len(images), *features.shape[-2:], -1))[:, None] ** 0.25
        maps = bank.blurred(expected.reshape(len(images), 1, *features.shape[-2:])).squeeze(1)
        score, anomaly_map = bank(images)
    torch.testing.assert_close(anomaly_map, maps, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(score, maps.flatten(1).amax(dim=1), rtol=1e-3, atol=1e-3)  # 5 % of 16 cells is one


def test_defects_score_higher_and_where_they_are(bank: MemoryBank) -> None:
    with torch.no_grad():
        good, _ = bank(_images(*[part(100 + i) for i in range(8)]))
        bad, _ = bank(_images(*[part(100 + i, defect=True) for i in range(8)]))
    assert float(bad.min()) > float(good.max())
    plain = part(500)
    spoilt = plain.copy()
    spoilt[44:60, 44:60] = 10
    with torch.no_grad():
        rise = bank(_images(spoilt))[1][0] - bank(_images(plain))[1][0]
    row, column = divmod(int(rise.argmax()), rise.shape[1])
    assert (row, column) >= (2, 2)


def test_scores_do_not_depend_on_the_batch(bank: MemoryBank, pictures: np.ndarray) -> None:
    with torch.no_grad():
        together, _ = bank(_images(*pictures[:5]))
        alone = torch.cat([bank(_images(picture))[0] for picture in pictures[:5]])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("gain", [0.6, 1.4])
def test_exposure_hardly_changes_a_score(bank: MemoryBank, gain: float) -> None:
    picture = np.clip(part(200).astype(np.float32) * 0.6, 0, 160).astype(np.uint8)
    lit = (picture * gain).astype(np.uint8)
    with torch.no_grad():
        scores, _ = bank(_images(picture, lit, part(200, defect=True)))
    assert abs(float(scores[1] - scores[0])) < 0.25 * abs(float(scores[2] - scores[0]))


@pytest.mark.parametrize("value", [0, 128, 255])
def test_a_blank_image_gets_a_finite_score(bank: MemoryBank, value: int) -> None:
    with torch.no_grad():
        score, anomaly_map = bank(torch.full((1, 64, 64, 1), value, dtype=torch.uint8))
    assert torch.isfinite(score).all()
    assert torch.isfinite(anomaly_map).all()


def test_grey_and_equal_colours_are_the_same_picture() -> None:
    features = PatchFeatures(MemoryBankSpec())
    grey = _images(part(1))
    torch.testing.assert_close(features(grey), features(grey.expand(-1, -1, -1, 3)))


def test_the_same_seed_gives_the_same_bank_and_another_another(pictures: np.ndarray) -> None:
    def fit(seed: int) -> MemoryBank:
        settings = FitSettings(bank_size=100, candidates=120, seed=seed)
        return remember(collect_patches(Pictures(pictures[:12]), settings), settings)

    first, again, other = fit(1), fit(1), fit(2)
    assert torch.equal(first.bank, again.bank)
    assert torch.equal(first.weights, again.weights)
    assert not torch.equal(first.bank, other.bank)


def test_memory_is_bounded_and_every_image_is_in_it(pool: PatchPool, pictures: np.ndarray) -> None:
    settings = FitSettings(bank_size=10_000, candidates=24, seed=0)
    small = collect_patches(Pictures(pictures[:12]), settings)
    assert len(small.patches) == 24
    assert torch.equal(small.images.unique(), torch.arange(12))
    assert len(remember(small, settings).bank) == 24
    assert len(pool.patches) == 12 * 16


def test_a_pool_of_some_images_has_none_of_the_others_patches(pool: PatchPool) -> None:
    rest = pool.only([i for i in range(12) if i not in (0, 5)])
    assert set(rest.images.tolist()) == set(range(12)) - {0, 5}
    assert len(rest.patches) == len(rest.parts) == 10 * 16


def test_whitening_gives_unit_covariance_and_holds_back_what_does_not_vary() -> None:
    random = torch.Generator().manual_seed(0)
    points = torch.randn(5000, 4, generator=random) @ torch.tensor(
        [[3.0, 0, 0, 0], [1, 2, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    )
    mean, matrix = whiten(points)
    white = (points - mean) @ matrix
    variances = torch.linalg.eigvalsh(white.T @ white / len(white))
    assert torch.allclose(variances[1:], torch.ones(3), atol=0.1)
    assert float(variances[0]) < 1e-3
    assert torch.isfinite(matrix).all()


def test_whitening_of_equal_patches_is_finite() -> None:
    mean, matrix = whiten(torch.ones(10, 3))
    assert torch.isfinite((torch.ones(1, 3) - mean) @ matrix).all()


def test_the_coreset_covers_clusters_that_a_random_choice_would_miss() -> None:
    random = torch.Generator().manual_seed(0)
    crowd = torch.randn(990, 8, generator=random) * 0.1
    rare = torch.eye(8)[:5].repeat(2, 1) * 10 + torch.randn(10, 8, generator=random) * 0.1
    chosen = coreset(torch.cat([crowd, rare]), 6, random)
    assert len(set(chosen.tolist())) == 6
    assert len({(index - 990) % 5 for index in chosen.tolist() if index >= 990}) == 5


def test_the_coreset_of_equal_points_has_no_point_twice() -> None:
    chosen = coreset(torch.ones(20, 4), 20, torch.Generator().manual_seed(0))
    assert sorted(chosen.tolist()) == list(range(20))


def test_distances_count_less_where_other_good_parts_are_far() -> None:
    bank = torch.tensor([[0.0, 0.0], [10.0, 0.0]])
    witnesses = torch.tensor([[0.0, 1.0], [10.0, 4.0], [10.0, 0.1]])
    weights = rarity_weights(bank, torch.tensor([0, 0]), witnesses, torch.tensor([1, 1, 0]))
    torch.testing.assert_close(weights, torch.tensor([2.5 / 1, 2.5 / 4]).sqrt())


def test_a_single_part_has_even_weights() -> None:
    bank = torch.randn(5, 3)
    assert torch.equal(rarity_weights(bank, torch.zeros(5), bank, torch.zeros(5)), torch.ones(5))


def test_no_images_have_no_scores(bank: MemoryBank, pictures: np.ndarray) -> None:
    none = score_images(bank, Pictures(pictures), [], lambda done: None)
    assert (len(none.scores), len(none.maps)) == (0, 0)


def test_the_blur_sums_to_one_and_keeps_an_even_map(bank: MemoryBank) -> None:
    assert float(gaussian(1.5).sum()) == pytest.approx(1)
    torch.testing.assert_close(bank.blurred(torch.full((1, 1, 5, 7), 3.0)), torch.full((1, 1, 5, 7), 3.0))


VARIETIES = [
    pytest.param([[0, 0], [0, 0]], [], 0.1, id="a blank picture keeps something to divide by"),
    pytest.param([[0, 4], [0, 4]], [], 0.5 * 4 / math.sqrt(2), id="half of the neighbours differ"),
    pytest.param([[0, 4], [4, 0]], [], 4 / math.sqrt(2), id="all of them do"),
    pytest.param([[0, 4, 8]], [], 4 / math.sqrt(2), id="one row"),
    pytest.param([[0, 0, 9], [0, 0, 9]], [[1, 1, 0], [1, 1, 0]], 0.1, id="what does not count has no say"),
    pytest.param([[0, 4, 9], [0, 4, 9]], [[1, 1, 0], [1, 1, 0]], 0.5 * 4 / math.sqrt(2), id="nor on its edge"),
    pytest.param([[0, 9], [9, 9]], [[1, 0], [0, 0]], 0.1, id="a single cell that counts"),
]


@pytest.mark.parametrize(("patches", "interest", "expected"), VARIETIES)
def test_variety_is_how_far_neighbours_are_apart(
    patches: list[list[int]], interest: list[list[int]], expected: float
) -> None:
    one = torch.ones(1)
    where = torch.tensor(interest, dtype=torch.float32) if interest else None
    bank = MemoryBank(PatchFeatures(MemoryBankSpec()), one, one[None], one[None], one, where)
    variety = bank.variety(torch.tensor(patches, dtype=torch.float32)[None, ..., None])
    torch.testing.assert_close(variety, torch.tensor([expected]))


def test_a_power_of_0_leaves_variety_out(pool: PatchPool, bank: MemoryBank, pictures: np.ndarray) -> None:
    spec = replace(bank.features.spec, variety=0.0)
    features = PatchFeatures(spec)
    plain = MemoryBank(features, bank.mean, bank.whitening, bank.bank, bank.weights)
    with torch.no_grad():
        seen = features(_images(pictures[12]))
        queries = seen.permute(0, 2, 3, 1).sub(bank.mean).matmul(bank.whitening)
        ratio = plain.judge(seen)[0] / bank.judge(seen)[0]
    torch.testing.assert_close(ratio, bank.variety(queries) ** 0.25)


def test_outside_the_region_of_interest_nothing_counts(pictures: np.ndarray) -> None:
    left = np.zeros((64, 64), bool)
    left[:, :32] = True  # two of four cells
    data = Pictures(pictures[:12])
    object.__setattr__(data, "region_of_interest", left)
    bank = remember(collect_patches(data, SETTINGS), SETTINGS)
    spoilt = pictures[12].copy()
    spoilt[20:34, 44:58] = 15
    with torch.no_grad():
        scores, maps = bank(_images(pictures[12], spoilt))
    assert maps[:, :, 2:].abs().max() == 0
    assert float(scores[1]) == float(scores[0])
    assert len(bank.bank) == 12 * 8


def test_a_region_of_interest_smaller_than_a_cell_is_refused(pictures: np.ndarray) -> None:
    data = Pictures(pictures[:12])
    object.__setattr__(data, "region_of_interest", np.zeros((64, 64), bool))
    with pytest.raises(DataError, match="draw it larger"):
        collect_patches(data, SETTINGS)
