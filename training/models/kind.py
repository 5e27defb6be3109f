"""What a kind of model is to the rest of training: it learns from labelled images and gives one network that can be exported.

    ModelKind.begin(images, settings) ─▶ Fitter ─▶ fit(which images) ─▶ InspectionModel ─▶ ONNX graph

A new kind is a folder beside the others with its network, its fitting and a README, and one line in `registry.py`.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from inspector.errors import DataError
from inspector.inference.manifest import MAX_CLASSES, DefectClass
from training.data.samples import printable
from training.data.training_set import LabelledImages
from training.progress import Progress, silent

_CLASS_NAME: TypeAdapter[str] = TypeAdapter(DefectClass)
_SHOWN_OF_A_NAME = 80


class LearnsFrom(enum.StrEnum):
    """Which labels a kind uses. What it does not use is kept for testing, or left out."""

    GOOD = "good parts only"
    CLASSES = "known defect classes"
    BOTH = "good parts and whatever defects are labelled"


class InspectionModel(nn.Module, ABC):
    """A fitted network, complete from the camera's pixels to what is held against limits.

    `forward` takes uint8 images (n, height, width, 1 or 3) and returns one tensor per name in `outputs`:

        score          float32 (n,)                  higher is less like a good part; held against the limit
        anomaly_map    float32 (n, rows, columns)    where; on the scale of the score, so that one limit suits both
        class_scores   float32 (n, classes)          which defect class, if the kind tells classes apart: each 0 to 1
        class_maps     float32 (n, classes, rows, columns)  where each class is, if the kind outlines them: probabilities, whose
                                                     sum over the classes is at most 1; the rest is background

    All of it is exported as one ONNX graph, so nothing but tensor operations may be in it, and a score must not depend on
    the other images of its batch.
    """

    kind: ClassVar[str]
    """The name in the registry, in bundles and on the command line."""
    outputs: tuple[str, ...] = ("score", "anomaly_map")
    classes: tuple[str, ...] = ("anomaly",)
    """Defect classes in the order of `class_scores`; one name for whatever is not good if the kind tells none apart."""

    integers: ClassVar[bool] = False
    """Whether its graph computes in 8-bit integers as it is: then there is nothing that an INT8 export could convert."""

    @abstractmethod
    def forward(self, images: Tensor) -> tuple[Tensor, ...]: ...

    @abstractmethod
    def structure(self) -> dict[str, Any]:
        """JSON values from which `ModelKind.rebuild` makes a network of the same shape, before its tensors are loaded."""


def check_classes(classes: Sequence[str]) -> None:
    """What the manifest of a bundle would refuse of its classes, before they are learned. Raises DataError."""
    if len(classes) > MAX_CLASSES:
        raise DataError(
            f"these are {len(classes)} classes, a bundle tells up to {MAX_CLASSES} apart: join some of them"
        )
    for name in classes:
        try:
            _CLASS_NAME.validate_python(name)
        except ValidationError as error:
            shown = name if len(name) <= _SHOWN_OF_A_NAME else f"{name[:_SHOWN_OF_A_NAME]}…"
            raise DataError(
                f"the class {printable(shown)!r} of {len(name)} characters has no name that a bundle takes, up to 64 printable "
                "characters: rename its folder or label, and fit again"
            ) from error


class Fitter(Protocol):
    """A kind of model at work on one set of images. It may keep what several fits share, such as features."""

    def fit(self, images: Sequence[int], progress: Progress = silent) -> InspectionModel:
        """A network fitted on `images`, numbers in the set, and on nothing else of it.

        Called for the final model and, with parts left out, for cross-fitting. The same images and settings give the same
        network on one machine. What must be held back to stop or choose is taken from `images`, by part.
        Raises DataError if these images cannot teach this kind.
        """
        ...


@dataclass(frozen=True, slots=True)
class DoubtedLabel:
    """A training image whose label models fitted without it disagree with."""

    path: str
    label: str
    says: str
    probability: float


@runtime_checkable
class Doubting(Protocol):
    """A `Fitter` that tells which labels to look at again: those of its last fit, the surest disagreement first."""

    doubts: tuple[DoubtedLabel, ...]


class KindSettings(Protocol):
    """What a kind can be told; every kind has a frozen dataclass of its own, all with defaults."""

    @property
    def seed(self) -> int: ...


Begin = Callable[[LabelledImages, Any, Progress], Fitter]
Rebuild = Callable[[Mapping[str, Any]], InspectionModel]


@dataclass(frozen=True, slots=True)
class ModelKind:
    """An entry of the registry.

    `words` is what a quality engineer chooses by; `settings` the dataclass that `begin` takes; `rebuild` the inverse of
    `InspectionModel.structure`. `defects_to_fit` is the share of each class's parts that fitting wants, where it uses any.
    `by_steps` says that it may learn in many small steps: its settings then have a `checkpoint`, the folder from which a
    fit that was killed goes on, and torchrun's processes share the steps. `input_pixels` is how many the model's input has
    at most where nobody says how large it is to be. `integers` is that of its networks.
    """

    name: str
    words: str
    learns_from: LearnsFrom
    settings: type[Any]
    begin: Begin
    rebuild: Rebuild
    defects_to_fit: float = 0.0
    by_steps: bool = False
    integers: bool = False
    input_pixels: int = 224 * 224
