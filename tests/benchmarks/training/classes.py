"""Model 3: known defect classes."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from tests.benchmarks.training.kept import Figures, packages
from tests.benchmarks.training.place import ELPV, Place, kind_code, look_at
from tests.benchmarks.training.tasks import Target

if TYPE_CHECKING:
    from training.data.training_set import LabelledImages
    from training.models.kind import ModelKind


CELLS = (
    "train_from=3",
    "balance=0",
    "views=3",
    'augmentation={"flip_horizontal": true, "flip_vertical": true, "shift": 0, "brightness": 0, "contrast": 0}',
    'mixtures={"possibly-defective": {"good": 0.3333, "defective": 0.6667}}',
)
"""Late stages learn; a cell may be mirrored; the experts' shares are what is learned. Chosen on an inner fold of one seed."""


@dataclass(frozen=True, slots=True)
class Classes:
    """A classifier: the share `test` of every label is dealt out at random, the others are learned.

    `size` is the model's input, WxH or auto.
    """

    name: str
    data: str
    test: float
    size: str = "224x224"
    settings: tuple[str, ...] = ()
    kind: str = "classifier"
    seeds: int = 5

    def missing(self, place: Place) -> str:
        return place.missing(self.data)

    def needs(self, place: Place) -> str:
        return ""

    def decides(self, place: Place, seed: int) -> dict[str, Any]:
        from training.models.registry import model_kind, read_settings

        kind = model_kind(self.kind)
        return {
            "what": "classes",
            "kind": self.kind,
            "settings": {**asdict(read_settings(kind, self.settings)), "seed": seed},
            "test": self.test,
            "seen": place.seen(self.data, "random"),
            "size": self.size,
            "code": kind_code(kind, "training.models.classifier.measure"),
            "packages": packages(),
        }

    def measure(self, place: Place, seed: int) -> Figures:
        """Accuracy and macro F1 over its classes, and AUROC of good against defective where there are good parts."""
        from training.models.classifier.measure import deal, told
        from training.models.registry import model_kind, read_settings

        kind = model_kind(self.kind)
        data = images_of(place.source(self.data), kind, self.size)
        fit_on, test = deal(data, self.test, seed)
        taught = data.only(fit_on)
        settings = replace(read_settings(kind, self.settings), seed=seed)
        network: Any = kind.begin(taught, settings, lambda stage, done, total: None).fit(range(len(taught)))
        result = told(network, data, test)
        figures = {"accuracy": result.accuracy, "macro F1": result.macro_f1}
        if result.good_or_not is not None and result.auroc is not None:
            figures |= {"accuracy, good or not": result.good_or_not, "AUROC": result.auroc}
        if result.score_auroc is not None:
            figures["AUROC of the score"] = result.score_auroc
        return figures


@cache
def images_of(source: str, kind: ModelKind, size: str) -> LabelledImages:
    """All images of a data set, each a part of its own."""
    from training.data.splits import Role, SplitEntry
    from training.data.training_set import LabelledImages

    around = look_at(source, "random")
    entries = (SplitEntry(i.sample.path, i.sample.label, n, Role.FIT) for n, i in enumerate(around.seen.images))
    return LabelledImages(around.seen.dataset, tuple(entries), around.preparation(size, kind))


def classes() -> list[Target]:
    """The labels of the solar cells: good, possibly defective and defective; the last two count as defective."""
    steel = Classes("X-SDD, 7 classes, 70/30", "x-sdd", 0.3, size="128x128", settings=("views=1",))
    cells = Classes("solar cells, 75/25", ELPV, 0.25, settings=CELLS)
    return [
        Target(steel, "accuracy", 0.96),
        Target(steel, "macro F1", 0.95),
        Target(cells, "accuracy, good or not", 0.90),
        Target(cells, "AUROC", 0.95),
    ]
