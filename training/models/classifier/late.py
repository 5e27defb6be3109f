"""The late stages of a backbone on their own, so that they learn from kept features without the early ones at work.

image ─▶ frozen stages ─▶ cells, kept once (seeing.py) ─▶ late stages ─▶ pooled, beside the frozen levels' ─▶ head
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from training.models.classifier.network import Classifier, pooled


class LateStages(nn.Module):
    """A classifier from what a frozen stage gives on; its parameters are the classifier's own.

    Takes the stage's cells, float (n, channels, rows, columns), and the pooled features of that level and those before it,
    float32 (n, fewer); gives logits before calibration, (n, outputs).
    """

    centre: Tensor
    deviation: Tensor

    def __init__(self, network: Classifier, stage: int) -> None:
        super().__init__()
        backbone = network.features.backbone
        module = backbone.network.feature_info[stage]["module"]
        self.stages = _after(backbone.network, str(module))
        self.head = network.head
        self.levels = [level for level in backbone.levels if level > stage]
        self.register_buffer("centre", network.centre)
        self.register_buffer("deviation", network.deviation)

    def forward(self, cells: Tensor, before: Tensor) -> Tensor:
        result: Tensor = self.head(self.standard(cells, before))
        return result

    def standard(self, cells: Tensor, before: Tensor) -> Tensor:
        """Standardised features of all levels, float32 (n, width)."""
        late = self.stages.forward_intermediates(  # type: ignore[operator]
            cells, indices=self.levels, intermediates_only=True
        )
        return (torch.cat([before, pooled(late)], dim=1) - self.centre) / self.deviation


def _after(module: nn.Module, path: str) -> nn.Module:
    """A twin of `module` that shares all that follows its part `path`; that part and those before it do nothing.

    Right where the parts before run in a row, each on what the one before gives: `learns_alike` tells.
    """
    twin = copy.copy(module)
    # A copied module shares the dictionary of its parts with the original, which must stay whole.
    twin._modules = dict(module._modules)
    first, _, rest = path.partition(".")
    for name, part in module._modules.items():
        if name == first and rest and part is not None:
            twin._modules[name] = _after(part, rest)
        else:
            twin._modules[name] = nn.Identity()
        if name == first:
            return twin
    raise KeyError(path)


@torch.no_grad()
def learns_alike(late: LateStages, cells: Tensor, before: Tensor, whole: Tensor) -> bool:
    """Whether the late stages make of kept cells what the whole backbone made of the images: `whole`, pooled (n, width).

    Kept cells are rounded to half precision, so a little may differ. Some backbones compute more between their stages than
    the stages themselves; they learn from pixels instead.
    """
    ours = late.standard(cells.float(), before)
    theirs = (whole - late.centre) / late.deviation
    return float((ours - theirs).abs().mean()) < _ROUNDING


_ROUNDING = 0.02
"""In deviations of a feature; half precision keeps 11 bits, and what does not fit together differs by about 1."""
