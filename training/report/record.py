"""A comparison for the quality database, where the models page of the web desk finds it."""

from __future__ import annotations

from inspector.records.comparisons import BundleComparison, ComparedImage
from training.report.comparison import Comparison

RECORDED = 12
"""Flips of each kind that are drawn for the page."""


def record_of(found: Comparison, data: str) -> BundleComparison:
    """Every image with both scores; `data` says in words what they were judged on."""
    known = {path for check in found.data for path, _ in (*check.known, *check.shared)}
    one, other = found.evaluations
    images = tuple(
        ComparedImage(a.path, a.label, a.part, a.lot, a.score, b.score, a.path in known)
        for a, b in zip(one.judged, other.judged, strict=True)
    )
    pictures = {flip.first.path: picture.uri for some in found.pictures.values() for flip, picture in some}
    sides = zip("AB", found.data, strict=True)
    notes = tuple(f"{side}: {check.statement}" for side, check in sides if check.new_to_model is not True)
    limits = one.limit, other.limit
    return BundleComparison(
        found.first.label, found.second.label, limits, data, found.statement, images, pictures, notes
    )
