"""Where training computes: on a GPU where there is one, else on the CPU. What leaves `fit` lies on the CPU.

    computing_on(choice) ─▶ best_device() ─▶ modules and batches go there ─▶ results come back ─▶ export on the CPU

One choice holds for the process, as for torch's own default device, so that kinds need not hand it on. On CUDA features and
scores are computed in float32 proper, not TensorFloat-32, and by algorithms that give the same result each time where torch has
them; where it has none, it warns. The limit is set on these scores. The exported graph is held to what torch gives on the CPU,
not to them. Only learning by steps (`training.loop`) uses half precision.
"""

from __future__ import annotations

import enum
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from inspector.errors import ConfigError


class DeviceChoice(enum.StrEnum):
    """What `--device` may be told."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


_choice = ContextVar("device", default=DeviceChoice.AUTO)


def best_device() -> torch.device:
    """This process's GPU if there is one and it may be used, else the CPU."""
    device = None if _choice.get() is DeviceChoice.CPU else _gpu()
    return torch.device("cpu") if device is None else device


@contextmanager
def computing_on(choice: DeviceChoice) -> Iterator[torch.device]:
    """Choose for what runs in the block. Raises ConfigError if CUDA is asked for and there is none.

    Errors of a GPU without memory left in the block become a ConfigError that says what to do.
    """
    if choice is DeviceChoice.CUDA and _gpu() is None:
        raise ConfigError(
            f"--device cuda: torch {torch.__version__} finds no GPU here; install a CUDA build of torch and the driver, or "
            "give --device cpu"
        )
    before = _choice.set(choice)
    cudnn = torch.backends.cudnn
    kept = cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark
    repeatable = torch.get_deterministic_debug_mode()
    cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark = False, True, False
    try:
        device = best_device()
        if device.type == "cuda":
            # Read once, at the first product on a GPU, so it stays: torch takes no other word that cuBLAS repeats itself.
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
            torch.set_deterministic_debug_mode("warn")
        yield device
    except torch.OutOfMemoryError as error:
        raise ConfigError(
            "the GPU has too little memory left: give a smaller --size or fewer images at once, end what else uses it, or "
            "give --device cpu"
        ) from error
    finally:
        cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark = kept
        torch.set_deterministic_debug_mode(repeatable)
        _choice.reset(before)


@contextmanager
def at_work(module: nn.Module) -> Iterator[Callable[[NDArray[np.uint8]], tuple[Tensor, ...]]]:
    """A module on the best device, as a function of uint8 images (n, height, width, channels) to tensors on the CPU.

    After the block, and after an error in it, the module is on the CPU again. Nothing learns in it.
    """
    device = best_device()
    module.to(device)

    def see(images: NDArray[np.uint8]) -> tuple[Tensor, ...]:
        with torch.no_grad():
            outputs = module(torch.from_numpy(images).to(device))
        return tuple(output.cpu() for output in ((outputs,) if isinstance(outputs, Tensor) else outputs))

    try:
        yield see
    finally:
        module.cpu()


def _gpu() -> torch.device | None:
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else None
