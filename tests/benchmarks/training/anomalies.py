"""Models 1, 2 and 4: good parts only, and good parts with labelled defects."""

from __future__ import annotations

from tests.benchmarks.training.tasks import Scores, Target

AUROC, ESCAPES, AUPRO = "AUROC", "escapes at 1 % false rejects", "AUPRO"
BY_PART = {
    "magnetic tiles by part": ("magnetic-tile", "part"),
    "screw": ("mvtec-ad/screw", "published"),
    "KolektorSDD by item": ("kolektor-sdd", "part"),
}
"""The sets that models of good parts are held against: folder and split."""


def bank(name: str, kind: str = "memory-bank") -> Scores:
    """A kind of good parts on one of the sets."""
    data, split = BY_PART[name]
    return Scores(f"{kind}, {name}", kind, data, split)


def good_only() -> list[Target]:
    """Model 1."""
    tiles = Scores("memory-bank, magnetic tiles, random", "memory-bank", "magnetic-tile", "random")
    return [
        Target(tiles, AUROC, 0.96),
        Target(tiles, ESCAPES, 0.30, at_least=False),
        *(Target(bank(name), figure) for name in BY_PART for figure in (AUROC, ESCAPES, AUPRO)),
    ]


def fast() -> list[Target]:
    """Model 2 against model 1 on the same images."""
    return [
        Target(bank(name, "fast-bank"), AUROC, 0.0, beside=(bank(name),), than="the memory bank") for name in BY_PART
    ]


TOLD = ("backbone=tf_efficientnet_lite2", "mirrored=both", "good_cells=160000", "defect_cells=240000")
"""What a guided model of tiles is told: a larger network, and that tiles may lie either way. Chosen on split 10."""


def both() -> list[Target]:
    """Model 4 with the labelled defects of the training groups; beside it the same with its defaults."""
    task = Scores("guided, magnetic tiles by part", "guided", "magnetic-tile", "part", size="320x320", settings=TOLD)
    usual = Scores("guided by default, magnetic tiles by part", "guided", "magnetic-tile", "part", size="320x320")
    return [
        Target(task, AUROC, 0.98),
        Target(task, AUPRO, 0.90),
        Target(task, ESCAPES, 0.10, at_least=False),
        *(Target(usual, figure) for figure in (AUROC, AUPRO, ESCAPES)),
    ]
