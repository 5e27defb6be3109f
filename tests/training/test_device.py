"""Fitting on a GPU, tried without one: tensors that claim to lie on another device, and refuse company from the CPU.

What it shows: everything that a kind computes on the device was moved there, and all that it hands on came back. What it
cannot show is CUDA's arithmetic, speed and memory.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map
from training_kinds import SMALL
from training_pictures import Pictures, part

from inspector.errors import ConfigError
from training import device
from training.device import DeviceChoice, at_work, best_device, computing_on
from training.loop import LoopSettings
from training.models.registry import KINDS
from training.models.scoring import score_images
from training.progress import silent

GPU = torch.device("meta")
"""Stands for a GPU: a device that torch can name everywhere, and whose own tensors hold nothing."""


class Away(Tensor):
    """A tensor that says it lies on the GPU; its values are those of `held`, on the CPU."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> Away:
        away: Away = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, held.shape, held.stride(), held.storage_offset(), dtype=held.dtype, device=GPU
        )
        away.held = held
        return away

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return _computed(func, args, dict(kwargs or {}))


class Elsewhere(TorchDispatchMode):
    """Makes what is made on, or moved to, the GPU `Away`."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return _computed(func, args, dict(kwargs or {}))


def _computed(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    tensors = [value for value in tree_flatten((args, kwargs))[0] if isinstance(value, Tensor)]
    away = [value for value in tensors if isinstance(value, Away)]
    goes = torch.device(kwargs.get("device") or ("meta" if away else "cpu")) == GPU
    name = func.overloadpacket.__name__
    if name not in ("_to_copy", "copy_") and away and not name.startswith("index"):
        strangers = [value for value in tensors if not isinstance(value, Away) and value.ndim]
        assert not strangers, (
            f"{name} of tensors on two devices, {[tuple(value.shape) for value in strangers]} on the CPU"
        )
    if "device" in kwargs:
        kwargs["device"] = torch.device("cpu")
    result = func(*tree_map(_held, list(args)), **tree_map(_held, kwargs))
    if name.endswith("_") and args and isinstance(args[0], Tensor):
        return args[0]
    return tree_map(lambda value: Away(value) if goes and isinstance(value, Tensor) else value, result)


def _held(value: Any) -> Any:
    return value.held if isinstance(value, Away) else value


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(device, "_gpu", lambda: GPU)
    with Elsewhere():
        yield


def _pictures() -> Pictures:
    pixels = np.stack([part(seed, defect=seed > 5)[..., None] for seed in range(8)])
    masks = np.where(pixels[..., 0] == 15, 255, 0).astype(np.uint8)
    return Pictures(pixels, ["good"] * 6 + ["blot"] * 2, masks)


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_learns_and_scores_on_the_gpu_and_comes_back(kind: str, gpu: None) -> None:
    pictures = _pictures()
    network = KINDS[kind].begin(pictures, SMALL[kind], silent).fit(range(len(pictures)))
    scored = score_images(network, pictures, [0, 7], lambda done: None)
    assert np.isfinite(scored.scores).all()
    lying = {name for name, tensor in network.state_dict().items() if isinstance(tensor, Away) or tensor.is_meta}
    assert not lying


def test_the_gpu_of_these_tests_refuses_tensors_of_the_cpu(gpu: None) -> None:
    """Else the tests above could not fail."""
    with pytest.raises(AssertionError, match="two devices"):
        torch.ones(3).to(GPU) + torch.ones(3)


def test_a_module_comes_back_after_an_error(gpu: None) -> None:
    module = nn.Linear(2, 2)
    with pytest.raises(RuntimeError, match="dtype"), at_work(module) as see:
        see(np.zeros((1, 5), np.uint8))
    assert not next(module.parameters()).is_meta


@pytest.mark.parametrize(
    ("choice", "there", "expected"),
    [
        pytest.param(DeviceChoice.AUTO, True, "meta", id="a GPU is taken if there is one"),
        pytest.param(DeviceChoice.AUTO, False, "cpu", id="else the CPU"),
        pytest.param(DeviceChoice.CPU, True, "cpu", id="the CPU, although there is a GPU"),
        pytest.param(DeviceChoice.CUDA, True, "meta", id="the GPU, by name"),
    ],
)
def test_which_device_is_taken(
    monkeypatch: pytest.MonkeyPatch, choice: DeviceChoice, there: bool, expected: str
) -> None:
    monkeypatch.setattr(device, "_gpu", lambda: GPU if there else None)
    with computing_on(choice) as chosen:
        assert chosen.type == best_device().type == expected
        assert not torch.backends.cudnn.allow_tf32
    assert torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize("train_from", [pytest.param(4, id="from kept features"), pytest.param(0, id="from pixels")])
def test_learning_in_half_precision_tells_parts_apart(monkeypatch: pytest.MonkeyPatch, train_from: int) -> None:
    """By the CPU's bfloat16, which stands for that of a GPU: it takes other steps in it, and never float16."""
    autocast, asked = torch.autocast, set()

    def half(kind: str, dtype: torch.dtype, enabled: bool) -> Any:
        asked.add((kind, enabled))
        return autocast("cpu", dtype=torch.bfloat16)

    monkeypatch.setattr(device, "_gpu", lambda: None)
    loop = LoopSettings(epochs=2, batch=4, rate=3e-4)
    settings = replace(SMALL["classifier"], views=2, train_from=train_from, loop=loop)
    pictures = _pictures()

    def scores() -> Any:
        network = KINDS["classifier"].begin(pictures, settings, silent).fit(range(len(pictures)))
        return score_images(network, pictures, range(len(pictures)), lambda done: None).scores

    in_full = scores()
    monkeypatch.setattr("training.loop.torch.autocast", half)
    in_half = scores()
    assert asked == {("cpu", False)}
    assert not np.array_equal(in_half, in_full)
    assert np.corrcoef(in_half, in_full)[0, 1] > 0.95
    assert in_half[6:].min() > in_half[:6].max()


@pytest.mark.parametrize(("kind", "asked"), [("cuda", 1), ("cpu", 0)])
def test_a_gpu_is_asked_for_the_same_result_each_time(monkeypatch: pytest.MonkeyPatch, kind: str, asked: int) -> None:
    monkeypatch.setattr(device, "_gpu", lambda: torch.device(kind, 0))
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")  # so that what is set comes back
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    with computing_on(DeviceChoice.AUTO):
        assert torch.get_deterministic_debug_mode() == asked
        assert ("CUBLAS_WORKSPACE_CONFIG" in os.environ) is bool(asked)
    assert torch.get_deterministic_debug_mode() == 0


def test_cuda_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_gpu", lambda: None)
    with (
        pytest.raises(ConfigError, match=r"finds no GPU here; install .*--device cpu"),
        computing_on(DeviceChoice.CUDA),
    ):
        raise AssertionError("it goes on without")


def test_a_gpu_without_memory_left_is_said() -> None:
    with pytest.raises(ConfigError, match="too little memory"), computing_on(DeviceChoice.AUTO):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
