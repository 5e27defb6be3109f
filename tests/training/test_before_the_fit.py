"""What a bundle or a network would refuse is refused before anything is learned, and by every kind that it concerns."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor, nn
from training_kinds import SMALL
from training_pictures import Pictures, part, write_parts

from inspector.errors import ConfigError, DataError
from training.backbones import LITE0, Backbone, Trunk
from training.data.layouts import open_dataset
from training.fit import FitPlan, fit
from training.models.classifier.fitting import ClassifierFitter
from training.models.classifier.settings import ClassifierSettings
from training.models.fast_bank.trunk import IntegerTrunk
from training.models.guided.fitting import FitSettings as GuidedSettings
from training.models.guided.fitting import GuidedFitter
from training.models.kind import check_classes
from training.models.registry import KINDS
from training.models.segmentation.fitting import FitSettings as SegmentationSettings
from training.models.segmentation.fitting import SegmentationFitter
from training.progress import silent

Begin = Callable[[Pictures], object]
FITTERS: dict[str, Begin] = {
    "classifier": lambda data: ClassifierFitter(data, ClassifierSettings()),
    "guided": lambda data: GuidedFitter(data, GuidedSettings()),
    "segmentation": lambda data: SegmentationFitter(data, SegmentationSettings()),
}


def _unseen(*given: object, **named: object) -> Any:
    raise AssertionError("pictures were looked at")


@pytest.mark.parametrize("kind", FITTERS)
@pytest.mark.parametrize(
    ("names", "says"),
    [
        pytest.param(["x" * 65], "'x{65}' of 65 characters .* up to 64 .* rename", id="a name that is too long"),
        pytest.param(["y" * 255], "'y{80}…' of 255 characters", id="and is not repeated whole"),
        pytest.param(["line\nfeed"], "of 9 characters .* printable", id="a name on two lines"),
        pytest.param(["\udcff"], "of 1 characters .* printable", id="a name in another encoding"),
        pytest.param([f"c{n}" for n in range(257)], r"25\d classes, a bundle tells up to 256", id="too many classes"),
    ],
)
def test_classes_that_no_bundle_takes(kind: str, names: list[str], says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for look in ("classifier.fitting.see", "guided.fitting.look", "segmentation.fitting.look"):
        monkeypatch.setattr(f"training.models.{look}", _unseen)
    data = Pictures(np.stack([part(0)] * (1 + len(names)))[..., None], ["good", *names])
    with pytest.raises(DataError, match=says):
        FITTERS[kind](data)


def test_the_guard_of_a_classifier_is_a_class_too() -> None:
    names = [f"c{n}" for n in range(256)]
    check_classes(names)
    data = Pictures(np.stack([part(0)] * 257)[..., None], ["good", *names])
    with pytest.raises(DataError, match="these are 257 classes"):
        FITTERS["classifier"](data)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("drawn", "says"),
    [
        pytest.param(np.zeros((64, 64), np.uint8), "brightest at 0 of 255", id="all black"),
        pytest.param(np.full((64, 64), 127, np.uint8), "brightest at 127 of 255", id="all grey"),
        pytest.param(np.eye(1, 900 * 900, 5, dtype=np.uint8).reshape(900, 900) * 255, "is nowhere 128", id="a dot"),
    ],
)
def test_a_region_in_which_nothing_counts(kind: str, drawn: np.ndarray, says: str, tmp_path: Path) -> None:
    dataset = open_dataset(str(write_parts(tmp_path, good=4, defects={"blot": 2})))
    plan = FitPlan(width_px=64, height_px=64, kind=kind, region_of_interest=drawn)
    with pytest.raises(DataError, match=f"the region of interest, .*{says}.*Draw white where defects count"):
        fit(dataset, plan)


def test_a_region_below_the_cells_of_a_segmentation() -> None:
    random = np.random.default_rng(0)
    masks = np.zeros((4, 64, 64), np.uint8)
    masks[2:, 8:40, 8:40] = 255
    data = Pictures(random.integers(0, 255, (4, 64, 64, 1), np.uint8), ["good"] * 2 + ["blot"] * 2, masks)
    region = np.zeros((64, 64), bool)
    region[9, 9] = True
    object.__setattr__(data, "region_of_interest", region)
    with pytest.raises(DataError, match=r"covers none of the 16 × 16 cells .*draw it larger"):
        SegmentationFitter(data, SegmentationSettings(views=8))


def test_a_backbone_that_cannot_see_pictures_of_this_size(monkeypatch: pytest.MonkeyPatch) -> None:
    from training.backbones import bare_backbone

    monkeypatch.setattr(
        "training.models.classifier.fitting.pretrained_backbone", lambda name, weights: bare_backbone(name).eval()
    )
    data = Pictures(np.stack([part(0)] * 4)[..., None], ["good"] * 2 + ["blot"] * 2)
    with pytest.raises(ConfigError, match="vit_tiny_patch16_224 cannot see pictures of 64 × 64 px"):
        ClassifierFitter(data, ClassifierSettings(backbone="vit_tiny_patch16_224"))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_tries_its_backbone_before_it_looks_at_a_picture(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def unable(self: nn.Module, images: Tensor) -> list[Tensor]:
        assert images.shape[2:] == (64, 64)
        assert not images.any(), "pictures of the data set were looked at"
        raise RuntimeError("kernel larger than the picture")

    for network in (Trunk, IntegerTrunk, Backbone):
        monkeypatch.setattr(network, "forward", unable)
    masks = np.zeros((4, 64, 64), np.uint8)
    masks[2:, 8:40, 8:40] = 255
    data = Pictures(np.stack([part(0)] * 4)[..., None], ["good"] * 2 + ["blot"] * 2, masks)
    says = f"the backbone {LITE0} cannot see pictures of 64 × 64 px .kernel larger than the picture.: fit with --size 224x224"
    with pytest.raises(ConfigError, match=says):
        KINDS[kind].begin(data, SMALL[kind], silent)
