"""The fast bank: what its features are, that nothing breaks it, and that it is stored and exported whole."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest
import torch
from training_pictures import Pictures, part

from inspector.errors import ConfigError, DataError
from inspector.imaging.normalise import resize
from training.exporting.graph import to_onnx
from training.models.fast_bank.fitting import FastBankFitter, FitSettings, rebuild
from training.models.fast_bank.network import FastBank, averaging, reduced

SETTINGS = FitSettings(reduction=1.0, bank_size=100, candidates=600, seed=1)


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    return np.stack([part(index)[..., None] for index in range(16)])


@pytest.fixture(scope="module")
def model(pictures: np.ndarray) -> FastBank:
    return _fit(pictures[:12])


def _images(*pictures: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.stack([p if p.ndim == 3 else p[..., None] for p in pictures]))


def _fit(pixels: np.ndarray, settings: FitSettings = SETTINGS, region: np.ndarray | None = None) -> FastBank:
    data = Pictures(pixels)
    object.__setattr__(data, "region_of_interest", region)
    return FastBankFitter(data, settings).fit(range(len(pixels)))


def _left_half() -> np.ndarray:
    left = np.zeros((64, 64), bool)
    left[:, :32] = True
    return left


def test_defects_score_higher(model: FastBank) -> None:
    with torch.no_grad():
        good, _ = model(_images(*[part(100 + i) for i in range(8)]))
        bad, _ = model(_images(*[part(100 + i, defect=True) for i in range(8)]))
    assert float(bad.min()) > float(good.max())


def test_a_patch_is_seen_beside_the_rest_of_its_picture(model: FastBank, pictures: np.ndarray) -> None:
    features = model.features(_images(*pictures[:3]))
    assert float(features.mean((2, 3)).abs().max()) < 1e-5
    assert float(features.std()) > 0.01


@pytest.mark.parametrize("value", [0, 128, 255])
def test_a_blank_image_gets_a_finite_score(model: FastBank, value: int) -> None:
    with torch.no_grad():
        score, anomaly_map = model(torch.full((1, 64, 64, 1), value, dtype=torch.uint8))
    assert torch.isfinite(score).all()
    assert torch.isfinite(anomaly_map).all()


def test_scores_do_not_depend_on_the_batch(model: FastBank, pictures: np.ndarray) -> None:
    with torch.no_grad():
        together, _ = model(_images(*pictures[:5]))
        alone = torch.cat([model(_images(picture))[0] for picture in pictures[:5]])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ("case", "taught"),
    [
        ("all blank: nothing varies at all", np.full((6, 64, 64, 1), 128, np.uint8)),
        ("one picture six times: parts do not vary", np.repeat(part(3)[None, ..., None], 6, axis=0)),
        ("three parts: fewer patches than channels", np.stack([part(i)[..., None] for i in range(3)])),
    ],
)
def test_little_to_learn_from_gives_finite_scores(case: str, taught: np.ndarray) -> None:
    model = _fit(taught)
    with torch.no_grad():
        same, maps = model(_images(taught[0]))
        other, _ = model(_images(part(900, defect=True)))
    assert torch.isfinite(maps).all(), case
    assert torch.isfinite(other).all(), case
    assert float(other) > float(same), case


@pytest.mark.parametrize(
    ("height_px", "width_px", "reduction"),
    [(32, 32, 1.75), (33, 100, 1.75), (64, 640, 8.0), (2048, 48, 4.0)],
)
def test_any_size_is_scored(height_px: int, width_px: int, reduction: float) -> None:
    random = np.random.default_rng(0)
    taught = random.integers(0, 255, (4, height_px, width_px, 3)).astype(np.uint8)
    model = _fit(taught, FitSettings(reduction=reduction, bank_size=20, candidates=50))
    with torch.no_grad():
        score, _ = model(torch.from_numpy(taught))
    assert torch.isfinite(score).all()


@pytest.mark.parametrize(("side", "smaller"), [(224, 128), (64, 37), (33, 32), (32, 32)])
def test_sides_are_reduced_but_not_below_32_px(side: int, smaller: int) -> None:
    assert reduced(side, 1.75) == smaller


def test_pictures_are_reduced_as_imaging_reduces_them() -> None:
    matrix = averaging(64, 37)
    ours = matrix @ torch.from_numpy(part(5)).float() @ matrix.T
    theirs = torch.from_numpy(resize(part(5)[..., None], 37, 37)).float().squeeze()
    assert float((ours - theirs).abs().max()) <= 1.0
    torch.testing.assert_close(matrix.sum(dim=1), torch.ones(37))


def test_the_same_seed_gives_the_same_bank_and_another_another(pictures: np.ndarray) -> None:
    def bank(seed: int) -> torch.Tensor:
        settings = FitSettings(reduction=1.0, bank_size=50, candidates=120, seed=seed)
        return _fit(pictures[:12], settings).bank

    assert torch.equal(bank(1), bank(1))
    assert not torch.equal(bank(1), bank(2))


@pytest.mark.parametrize("reduction", [0.5, 9.0, float("nan")])
def test_a_senseless_reduction_is_refused(reduction: float) -> None:
    with pytest.raises(ConfigError, match="from 1 "):
        FitSettings(reduction=reduction)


def test_defective_parts_alone_are_refused(pictures: np.ndarray) -> None:
    with pytest.raises(DataError, match="none of the images to fit on is good"):
        FastBankFitter(Pictures(pictures[:2], ["blot", "blot"]), SETTINGS)


def test_outside_the_region_of_interest_nothing_counts(pictures: np.ndarray) -> None:
    model = _fit(pictures[:12], region=_left_half())
    spoilt = pictures[12].copy()
    spoilt[20:34, 44:58] = 15
    with torch.no_grad():
        scores, maps = model(_images(pictures[12], spoilt))
    assert maps[:, :, 2:].abs().max() == 0
    assert float(scores[1]) == float(scores[0])


@pytest.mark.parametrize("region", [None, _left_half()], ids=["everywhere", "left half"])
def test_a_stored_and_an_exported_model_judge_alike(pictures: np.ndarray, region: np.ndarray | None) -> None:
    settings = FitSettings(bank_size=60, candidates=200)
    model = _fit(pictures[:6], settings, region)
    again = rebuild(model.structure())
    again.load_state_dict(model.state_dict())
    session = ort.InferenceSession(to_onnx(again.eval(), (64, 64, 1)), providers=["CPUExecutionProvider"])
    score, anomaly_map = session.run(None, {"images": pictures[6:]})
    with torch.no_grad():
        expected, maps = model(_images(*pictures[6:]))
    torch.testing.assert_close(torch.from_numpy(score), expected, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(torch.from_numpy(anomaly_map), maps, rtol=1e-3, atol=1e-2)
