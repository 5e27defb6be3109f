"""A limit that a person sets: a new bundle that judges by it and says that it promises nothing."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path

import pytest
from toys import toy_bundle

from inspector.errors import BundleError
from inspector.inference.bundle import open_bundle
from inspector.inference.by_hand import METHOD, HandLimit, with_limit_by_hand
from inspector.models import prove_bundle

NOW = datetime(2026, 5, 4, tzinfo=UTC)


def test_a_limit_by_hand_is_another_bundle_that_says_so(tmp_path: Path) -> None:
    old = toy_bundle(tmp_path / "a", name="a")
    wish = HandLimit(0.4, "anna", "two scratches passed", "On 20 parts 1 flips.")
    made = with_limit_by_hand(old, tmp_path / "b", "a-2", wish, NOW)
    assert open_bundle(tmp_path / "b").digest == made.digest != old.digest
    manifest = made.manifest
    assert (manifest.limits.score, manifest.limits.region, manifest.basis.guaranteed) == (0.4, 0.4, False)
    assert manifest.basis.method == METHOD
    assert "it promises nothing. On 20 parts 1 flips." in manifest.basis.statement
    assert [(one.what, one.parent, one.reason) for one in manifest.history] == [
        ("recalibrated", old.digest, "two scratches passed")
    ]
    _, test = prove_bundle(made)
    assert test.passed


@pytest.mark.parametrize(
    ("limit", "says"),
    [
        pytest.param(0.5, "no other limit", id="the one it has"),
        pytest.param(math.nan, "no other limit", id="no number"),
        pytest.param(math.inf, "no other limit", id="one that passes everything"),
        pytest.param(0.05, r"golden/020\.png \(PASS", id="a good golden part would be rejected"),
        pytest.param(0.99, r"golden/240\.png \(REJECT", id="a defective one would pass"),
    ],
)
def test_a_limit_that_cannot_be_is_refused_and_nothing_is_written(tmp_path: Path, limit: float, says: str) -> None:
    old = toy_bundle(tmp_path / "a")
    with pytest.raises(BundleError, match=says):
        with_limit_by_hand(old, tmp_path / "b", "b", HandLimit(limit, "anna", "why"), NOW)
    assert not (tmp_path / "b").exists()
