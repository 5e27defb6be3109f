"""Makes `import torchvision` work beside a CPU-only torch; import this before timm, which imports torchvision.

PyPI's torchvision is built against CUDA. Beside a torch built without it, its compiled library does not load, and its
import then fails where it registers shape functions for two operators nobody declared. Declaring their schemas first is
enough: transforms and backbones use no compiled operator.
"""

from __future__ import annotations

import torch

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def _declare(names: tuple[str, ...]) -> torch.library.Library | None:
    """Declare what torchvision's own library has not; returns what must be kept alive, as operators die with it."""
    missing = [name for name in names if not hasattr(torch.ops.torchvision, name)]
    if not missing:
        return None
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in missing:
        library.define(name + _SCHEMA)
    return library


_library = _declare(("nms", "qnms"))
