"""What is put on record of a line's models: which judge alone or together, how they proved themselves, who promoted them."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from datetime import UTC, datetime

from inspector.models import Model
from inspector.promotions import Promotion
from inspector.records.model_history import GoldenResult, PromotionRecord
from inspector.registrar import Registrar
from inspector.station import Setup


class ModelRecord:
    """Stands between the promoter, which is made first, and the registrar that puts its promotions on record."""

    registrar: Registrar

    def __init__(self, line: str) -> None:
        self._line = line

    def begin(self, registrar: Registrar, models: Iterable[Model], promoted: Iterable[Promotion]) -> None:
        """What the line starts with; a promotion that was not on record when the service died is now."""
        self.registrar = registrar
        registrar.add_golden(self._line, [_golden(model) for model in models])
        for promotion in promoted:
            registrar.add_promotion(self._line, _promotion_record(promotion))

    def tell(self, promotion: Promotion, model: Model, setup: Setup) -> None:
        """A bundle judges from now on."""
        self.registrar.add([model.bundle], together(setup))
        self.registrar.add_golden(self._line, [_golden(model)])
        self.registrar.add_promotion(self._line, _promotion_record(promotion))


def _golden(model: Model) -> GoldenResult:
    """How a model proved itself here just now."""
    test = model.test
    about = (len(test.checks), sum(not check.holds for check in test.checks), test.largest_difference)
    return GoldenResult(model.bundle.label, platform.node(), model.engine.provider, *about, datetime.now(UTC))


def _promotion_record(one: Promotion) -> PromotionRecord:
    return PromotionRecord(
        recipe=one.recipe,
        view=one.view,
        label=one.bundle.label,
        digest=one.bundle.digest,
        folder=one.bundle.folder,
        label_before="" if one.before is None else one.before.label,
        digest_before="" if one.before is None else one.before.digest,
        promoted_by=one.by,
        proposed_by=one.proposed_by,
        reason=one.reason,
        time=one.time,
        is_rollback=one.is_rollback,
    )


def together(setup: Setup) -> dict[str, list[str]]:
    """The bundles that judge together by a recipe with several views, under the label that inspections name for them."""
    if not setup.is_usable or len(setup.recipe.views) == 1:
        return {}
    return {setup.recipe.bundle: [view.bundle for view in setup.recipe.views]}
