"""Segmentation: what teaches and what does not, that it learns and repeats itself, and that its export judges alike."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from training_pictures import SIZE_PX, Pictures, part

from inspector.errors import ConfigError, DataError
from inspector.inference.bundle import InputSpec
from inspector.inference.engine import Model
from training.exporting.graph import to_onnx
from training.models.registry import model_kind, read_settings
from training.models.scoring import score_images
from training.models.segmentation import SEGMENTATION
from training.models.segmentation.fitting import FitSettings, SegmentationFitter, folded, loss_of, rebuild
from training.models.segmentation.network import EVEN_ODDS, Decoder, SegmentationSpec
from training.models.segmentation.views import (
    DEFECTIVE,
    GOOD,
    IGNORED,
    PASTED,
    Augmentation,
    Example,
    augmented,
    example_of,
    pasted,
    target_of,
)

SMALL = FitSettings(views=24, steps=60)


def blotted(seed: int, *, bright: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """A part with a square blot, dark or bright, and its mask: uint8 (64, 64) each."""
    random = np.random.default_rng(seed)
    pixels = part(seed)
    x, y = random.integers(4, SIZE_PX - 24, 2)
    pixels[y : y + 18, x : x + 18] = 250 if bright else 5
    mask = np.zeros_like(pixels)
    mask[y : y + 18, x : x + 18] = 255
    return pixels, mask


def pictures(good: int, stains: int, flashes: int = 0, *, seed: int = 0) -> Pictures:
    """Good parts, then parts with a dark stain, then parts with a bright flash, all with masks."""
    drawn = [(part(seed + i), np.zeros((SIZE_PX, SIZE_PX), np.uint8)) for i in range(good)]
    drawn += [blotted(seed + 1000 + i) for i in range(stains)]
    drawn += [blotted(seed + 2000 + i, bright=True) for i in range(flashes)]
    labels = ["good"] * good + ["stain"] * stains + ["flash"] * flashes
    return Pictures(np.stack([p[..., None] for p, _ in drawn]), labels, np.stack([m for _, m in drawn]))


@pytest.fixture(scope="module")
def fitter() -> SegmentationFitter:
    return SegmentationFitter(pictures(12, 4, 4), SMALL)


@pytest.fixture(scope="module")
def network(fitter: SegmentationFitter):  # type: ignore[no-untyped-def]
    return fitter.fit(range(20))


def test_it_outlines_defects_of_parts_that_it_never_saw(network) -> None:  # type: ignore[no-untyped-def]
    unseen = pictures(8, 4, 4, seed=50_000)
    found = score_images(network, unseen, range(16), lambda done: None)
    assert found.class_maps is not None
    assert found.scores[8:].min() > found.scores[:8].max()
    assert network.classes == ("flash", "stain")
    for image in range(8, 16):
        mask = unseen.mask(image)
        assert mask is not None
        truth = mask[2::4, 2::4] > 0
        shown = found.class_maps[image].sum(axis=0) > 0.5
        assert (shown & truth).sum() / (shown | truth).sum() > 0.4
        named = found.class_maps[image][:, truth].mean(axis=1).argmax()
        assert network.classes[named] == unseen.label(image)


def test_what_it_gives_is_what_a_kind_of_model_gives(network) -> None:  # type: ignore[no-untyped-def]
    images = torch.from_numpy(pictures(1, 1, 1).stored)
    with torch.no_grad():
        score, anomaly_map, class_scores, class_maps = network(images)
    assert score.shape == (3,)
    assert anomaly_map.shape == (3, 16, 16)
    assert class_maps.shape == (3, 2, 16, 16)
    assert torch.equal(score, anomaly_map.amax((1, 2)))
    assert torch.equal(class_scores, class_maps.amax((2, 3)))
    assert float(anomaly_map.min()) >= 0
    assert float(class_maps.sum(dim=1).max()) <= 1 + 1e-5


def test_even_odds_give_the_evidence_that_is_documented(network) -> None:  # type: ignore[no-untyped-def]
    assert network.evidence(torch.zeros(1, 3, 5, 5)).unique().tolist() == [EVEN_ODDS]
    assert network.evidence(torch.tensor([99.0, 0, 0]).view(1, 3, 1, 1).expand(1, 3, 5, 5)).unique().tolist() == [0.0]


def test_the_same_images_and_seed_give_the_same_network(fitter: SegmentationFitter, network) -> None:  # type: ignore[no-untyped-def]
    again = fitter.fit(range(20)).state_dict()
    assert all(torch.equal(values, again[name]) for name, values in network.state_dict().items())


def test_a_fit_uses_nothing_of_images_left_out(fitter: SegmentationFitter) -> None:
    left_out = {3, 13}
    used = fitter._views.only([image for image in range(20) if image not in left_out])
    assert len(used)
    assert not left_out & set(fitter._views.sources[used].flatten().tolist())
    assert {GOOD, DEFECTIVE, PASTED} == set(fitter._views.kinds[used].tolist())


def test_parts_that_say_when_to_stop_are_not_learnt_from() -> None:
    many = SegmentationFitter(pictures(10, 10), FitSettings(views=10, steps=1))
    usable = many._views.only(range(20))
    taught, held = many._hold_back(usable)
    assert len(held)
    assert not set(many._views.sources[taught].flatten().tolist()) & set(many._views.sources[held].flatten().tolist())


def test_the_export_gives_what_torch_gives(network) -> None:  # type: ignore[no-untyped-def]
    model = Model(to_onnx(network, (64, 64, 1)), InputSpec(64, 64, 1), network.classes, threads=1)
    images = pictures(3, 3, seed=900).stored
    with torch.no_grad():
        score, anomaly_map, class_scores, class_maps = network(torch.from_numpy(images))
    assert model.outlines_classes
    for i, ours in enumerate(model.infer(images)):
        assert ours.class_maps is not None
        np.testing.assert_allclose(ours.score, score[i], rtol=1e-4, atol=1e-3)
        np.testing.assert_allclose(ours.anomaly_map, anomaly_map[i], rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(ours.class_maps, class_maps[i], atol=1e-4)
        np.testing.assert_allclose([ours.class_scores[n] for n in network.classes], class_scores[i], atol=1e-4)


def test_its_structure_rebuilds_it(network) -> None:  # type: ignore[no-untyped-def]
    other = rebuild(json.loads(json.dumps(network.structure())))
    other.load_state_dict(network.state_dict())
    images = torch.from_numpy(pictures(1, 1).stored)
    with torch.no_grad():
        assert torch.equal(other.eval()(images)[3], network(images)[3])


# Labels


def test_a_class_without_a_marked_region_is_named() -> None:
    data = pictures(4, 3, 2)
    assert data.masks is not None
    data.masks[7:] = 0
    with pytest.raises(DataError, match=r"no region is marked of flash \(2 images\).* large enough"):
        SegmentationFitter(data, SMALL)


@pytest.mark.parametrize(
    ("good", "stains", "words"),
    [pytest.param(0, 3, "none .* good part", id="no good part"), pytest.param(4, 0, "shows a defect", id="no defect")],
)
def test_what_cannot_be_learnt_from_is_told(good: int, stains: int, words: str) -> None:
    with pytest.raises(DataError, match=words):
        SegmentationFitter(pictures(good, stains), SMALL)


def test_a_fit_without_any_marked_region_is_told(fitter: SegmentationFitter) -> None:
    with pytest.raises(DataError, match="at least two parts"):
        fitter.fit(range(12))


@pytest.mark.parametrize(
    ("unmarked", "background"),
    [pytest.param("background", True, id="all defects are marked"), pytest.param("unknown", False, id="some are")],
)
def test_what_is_unmarked_is_background_only_if_all_is_marked(unmarked: str, background: bool) -> None:
    example = example_of(pictures(1, 1), 1, ("stain",), unmarked)
    assert example is not None
    target = target_of(example, 16, 16)
    assert (target == 1).any()
    assert (target == 0).any() == background
    assert ((target == IGNORED).sum() > 100) != background


def test_areas_to_ignore_and_outside_the_region_of_interest_teach_nothing() -> None:
    class Partly(Pictures):
        def ignored(self, image: int):  # type: ignore[no-untyped-def]
            area = np.zeros((SIZE_PX, SIZE_PX), bool)
            area[:16] = True
            return area

    plain = pictures(1, 1)
    data = Partly(plain.stored, ["good", "stain"], plain.masks)
    region = np.ones((SIZE_PX, SIZE_PX), bool)
    region[:, :16] = False
    object.__setattr__(data, "region_of_interest", region)
    for image in range(2):
        example = example_of(data, image, ("stain",), "background")
        assert example is not None
        target = target_of(example, 16, 16)
        assert (target[:4] == IGNORED).all()
        assert (target[:, :4] == IGNORED).all()
        assert (target[4:, 4:] != IGNORED).any()


def test_a_thin_scratch_is_a_defect_and_a_rim_is_neither() -> None:
    def target(rows_marked: int) -> int:
        share = np.zeros((4, 4), np.uint8)
        share[:rows_marked] = 255
        share[:, 0] = 0 if rows_marked == 0 else share[:, 0]
        example = Example((0, 0), DEFECTIVE, 2, np.zeros((4, 4, 1), np.uint8), {2: share}, np.ones((4, 4), bool))
        return int(target_of(example, 1, 1)[0, 0])

    assert [target(0), target(1), target(4)] == [0, 2, 2]
    speck = np.zeros((4, 4), np.uint8)
    speck[0, :2] = 255
    example = Example((0, 0), DEFECTIVE, 2, np.zeros((4, 4, 1), np.uint8), {2: speck}, np.ones((4, 4), bool))
    assert target_of(example, 1, 1)[0, 0] == IGNORED


def test_a_pasted_region_lies_where_its_mark_says_and_changes_nothing_else() -> None:
    data = pictures(1, 1)
    good, stain = (example_of(data, image, ("stain",), "background") for image in range(2))
    assert good is not None
    assert stain is not None
    result = pasted(good, stain, np.random.default_rng(4))
    assert result.sources == (0, 1)
    assert (result.share > 0).sum() == (stain.share > 0).sum()
    changed = (result.pixels != good.pixels)[..., 0]
    grown = np.pad(result.share > 0, 8)
    near = np.zeros_like(result.share, bool)
    for dy in range(-8, 9):
        for dx in range(-8, 9):
            near |= grown[8 + dy : 8 + dy + SIZE_PX, 8 + dx : 8 + dx + SIZE_PX]
    assert not (changed & ~near).any()
    assert changed[result.share > 0].mean() > 0.9


@pytest.mark.parametrize("flip", ["none", "horizontal", "vertical", "both"])
def test_parts_are_flipped_only_as_the_setting_says(flip: str) -> None:
    still = Augmentation(flip=flip, rotate_degrees=0, shift=0, zoom=0, light=0)  # type: ignore[arg-type]
    example = example_of(pictures(1, 1), 1, ("stain",), "background")
    assert example is not None
    seen = set()
    for seed in range(24):
        view = augmented(example, still.transform(), seed)
        for name, turn in (("", slice(None)), ("v", slice(None, None, -1))):
            for name2, turn2 in (("", slice(None)), ("h", slice(None, None, -1))):
                if np.array_equal(view.pixels, example.pixels[turn, turn2]):
                    seen.add(name + name2)
                    assert np.array_equal(view.share, example.share[turn, turn2])
    expected = {"none": {""}, "horizontal": {"", "h"}, "vertical": {"", "v"}, "both": {"", "h", "v", "vh"}}
    assert seen == expected[flip]


def test_views_move_pixels_and_marks_alike() -> None:
    example = example_of(pictures(1, 1), 1, ("stain",), "background")
    assert example is not None
    view = augmented(example, Augmentation(light=0.0).transform(), 5)
    assert np.array_equal(view.pixels, augmented(example, Augmentation(light=0.0).transform(), 5).pixels)
    assert not np.array_equal(view.pixels, example.pixels)
    assert view.pixels[..., 0][view.share == 255].mean() < 40 < view.pixels[..., 0][view.share == 0].mean()


# Loss and folding


def test_ignored_cells_have_no_say_in_the_loss() -> None:
    logits = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    targets = torch.zeros(2, 4, 4, dtype=torch.int64)
    targets[:, 0], targets[:, 3] = 1, IGNORED
    before = loss_of(logits, targets)
    logits[:, :, 3] += 50.0 * torch.randn(3, 1, generator=torch.Generator().manual_seed(2))
    assert torch.allclose(loss_of(logits, targets), before)
    assert float(loss_of(logits, torch.full_like(targets, IGNORED))) == 0.0


def test_folding_the_standardisation_changes_nothing() -> None:
    torch.manual_seed(0)
    decoder = Decoder(2, 8, (3, 4, 5, 6))
    levels = [torch.randn(1, c, 16 >> i, 16 >> i) * 3 + 1 for i, c in enumerate((3, 4, 5, 6))]
    means = [torch.randn(c) for c in (3, 4, 5, 6)]
    scales = [torch.rand(c) + 0.5 for c in (3, 4, 5, 6)]
    standard = [(x - m.view(1, -1, 1, 1)) * s.view(1, -1, 1, 1) for x, m, s in zip(levels, means, scales, strict=True)]
    with torch.no_grad():
        assert torch.allclose(folded(decoder, means, scales)(levels), decoder(standard), atol=1e-4)


def test_settings_are_read_and_checked() -> None:
    assert model_kind("segmentation") is SEGMENTATION
    assert read_settings(SEGMENTATION, ['augmentation={"flip":"both"}', "steps=10"]) == FitSettings(
        augmentation=Augmentation(flip="both"), steps=10
    )
    assert SegmentationSpec().width == 32
    for wrong in ("steps=0", 'augmentation={"flip":"sideways"}', "unmarked=maybe"):
        with pytest.raises(ConfigError, match=wrong.split("=")[0]):
            read_settings(SEGMENTATION, [wrong])
