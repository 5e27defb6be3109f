"""Makes torchvision, and timm, which imports it, importable beside a CPU-only torch.

PyPI's torchvision is built against CUDA. Beside a torch built without it, its compiled library does not load, and its
import then fails where it registers shape functions for two operators that nobody declared. Declaring their schemas
first is enough: backbones and transforms use no compiled operator.
"""

from __future__ import annotations

import importlib
from functools import cache
from types import ModuleType

import torch

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_declared: list[torch.library.Library] = []
"""Operators die with the library that declared them."""


@cache
def import_timm() -> ModuleType:
    """The module timm, imported after what torchvision needs is there."""
    _declare()
    return importlib.import_module("timm")


@cache
def import_transforms() -> ModuleType:
    """torchvision's functions that change images, `torchvision.transforms.v2.functional`."""
    _declare()
    return importlib.import_module("torchvision.transforms.v2.functional")


@cache
def _declare() -> None:
    if torch.cuda.is_available():
        return
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            library.define(name + _SCHEMA)  # type: ignore[no-untyped-call]
    _declared.append(library)
