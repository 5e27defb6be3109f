"""What a classifier can be told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from inspector.errors import ConfigError
from training.augment import Augmentation
from training.backbones import LITE0
from training.loop import LoopSettings


@dataclass(frozen=True, slots=True)
class ClassifierSettings:
    """What a classifier can be told.

    `backbone`, `weights`  timm's name, and a weights file for what is not packaged
    `levels`               the backbone's stages whose features count
    `views`                how many times each image is seen while the backbone is frozen: once as it is, then changed
    `augmentation`         how images may be changed; only what happens to this part on this line
    `labels`               "one" class per part, or "several"; "auto" takes what the data shows
    `balance`              0: every image counts alike; 1: every class does
    `smoothing`            share of each label that is spread over all classes, against wrong labels
    `mixtures`             labels that stand for shares of classes: {"doubtful": {"good": 0.67, "scratch": 0.33}}
    `train_from`           the first stage of the backbone that learns too; -1 leaves it frozen
    `mixup`                how strongly images are then mixed in pairs, labels too: 0 for not at all, below 1
    `loop`                 how it then learns; `checkpoint` is a folder for its state, so that a kill loses one epoch at most
    """

    backbone: str = LITE0
    weights: str = ""
    levels: tuple[int, ...] = (2, 3, 4)
    views: int = 4
    augmentation: Augmentation = field(default_factory=Augmentation)
    labels: Literal["auto", "one", "several"] = "auto"
    balance: float = 0.5
    smoothing: float = 0.05
    mixtures: dict[str, dict[str, float]] = field(default_factory=dict)
    train_from: int = -1
    mixup: float = 0.2
    loop: LoopSettings = field(default_factory=LoopSettings)
    checkpoint: str = ""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.views < 1 or not 0 <= self.balance <= 1 or not 0 <= self.smoothing < 0.5:
            raise ConfigError(
                f"got {self.views} views, balance {self.balance} and smoothing {self.smoothing}: give at least 1, a number "
                "from 0 to 1, and one from 0 to below 0.5"
            )
        if self.train_from < -1 or (self.levels and self.train_from > max(self.levels)):
            raise ConfigError(
                f"got train_from {self.train_from}, and the last stage whose features count is {max(self.levels or (-1,))}: "
                "give a stage up to that, or -1 to leave the backbone as it is"
            )
        if self.checkpoint and self.train_from < 0:
            raise ConfigError("with a frozen backbone there is no learning to resume: set train_from too, such as 3")
        if not 0 <= self.mixup < 1:
            raise ConfigError(f"got a mixup of {self.mixup}: give 0 for none, or a number below 1")
        for label, shares in self.mixtures.items():
            if not (abs(sum(shares.values()) - 1) <= 0.02 and min(shares.values()) >= 0):
                raise ConfigError(
                    f"the shares of the label {label!r} are {shares}: they must be from 0 on and add up to 1"
                )
