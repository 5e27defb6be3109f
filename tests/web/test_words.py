from __future__ import annotations

import pytest

from inspector.part import Reason
from inspector.web.words import REASONS


@pytest.mark.parametrize("reason", list(Reason), ids=lambda reason: reason.name)
def test_every_reason_has_words_for_operators(reason: Reason) -> None:
    headline, text = REASONS[reason]
    assert 0 < len(headline) <= 20, "it stands on a small card"
    assert text.endswith(".")
    assert "_" not in text
