"""The verdict is a pure function of scores and limits."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from inspector.decision.judge import MAX_FINDINGS, judge
from inspector.part import Box, Limits, Reason, Scores, Verdict

LIMITS = Limits(score=0.5, region=0.5)
REGION = Box(100, 200, 80, 40)
CLASSES = ("anomaly",)


def a_map(rows: int, columns: int, *bright: tuple[int, int], value: float = 0.9) -> np.ndarray:
    values = np.zeros((rows, columns), np.float32)
    for row, column in bright:
        values[row, column] = value
    return values


@pytest.mark.parametrize(
    ("score", "reason"),
    [
        pytest.param(0.0, Reason.WITHIN_LIMITS, id="far below"),
        pytest.param(-3.0, Reason.WITHIN_LIMITS, id="negative scores are scores"),
        pytest.param(0.5, Reason.WITHIN_LIMITS, id="at the limit is within it"),
        pytest.param(math.nextafter(0.5, 1), Reason.SCORE_ABOVE_LIMIT, id="the next number above the limit"),
        pytest.param(1e300, Reason.SCORE_ABOVE_LIMIT, id="huge but finite"),
        pytest.param(math.nan, Reason.SCORE_INVALID, id="NaN"),
        pytest.param(math.inf, Reason.SCORE_INVALID, id="infinite"),
        pytest.param(-math.inf, Reason.SCORE_INVALID, id="minus infinity is no PASS"),
    ],
)
def test_score_against_limit(score: float, reason: Reason) -> None:
    judgement = judge(Scores(score, a_map(2, 2)), LIMITS, REGION, CLASSES)
    assert judgement.reason is reason
    assert judgement.limit == 0.5
    assert judgement.score == (score if math.isfinite(score) else None)
    assert bool(judgement.findings) is (reason is Reason.SCORE_ABOVE_LIMIT)
    assert bool(judgement.detail) is (reason is not Reason.WITHIN_LIMITS)


@pytest.mark.parametrize(
    "scores",
    [
        pytest.param(Scores(0.1, a_map(2, 2, (0, 0), value=math.nan)), id="one NaN in the map"),
        pytest.param(Scores(0.1, a_map(2, 2, (0, 0), value=math.inf)), id="infinity in the map"),
        pytest.param(Scores(0.1, np.zeros((0, 0), np.float32)), id="empty map"),
        pytest.param(Scores(0.1, None, {"dent": math.nan}), id="NaN class score"),
    ],
)
def test_a_good_score_beside_broken_values_is_unknown(scores: Scores) -> None:
    judgement = judge(scores, LIMITS, REGION, CLASSES)
    assert judgement.reason is Reason.SCORE_INVALID
    assert "self-test" in judgement.detail


def test_a_limit_that_is_no_number_passes_nothing() -> None:
    assert judge(Scores(0.0), Limits(math.nan, 0.5), REGION, CLASSES).verdict is not Verdict.PASS


@pytest.mark.parametrize(
    ("cells", "box", "area_px"),
    [
        pytest.param([(0, 0)], Box(100, 200, 10, 10), 100, id="top left cell"),
        pytest.param([(3, 7)], Box(170, 230, 10, 10), 100, id="bottom right cell ends where the region ends"),
        pytest.param([(1, 2), (1, 3), (2, 3)], Box(120, 210, 20, 20), 300, id="an area counts its cells, not its box"),
        pytest.param([(1, 2), (2, 3)], Box(120, 210, 20, 20), 200, id="cells that touch at a corner are one defect"),
    ],
)
def test_finding_in_frame_pixels(cells: list[tuple[int, int]], box: Box, area_px: float) -> None:
    (finding,) = judge(Scores(0.9, a_map(4, 8, *cells)), LIMITS, REGION, CLASSES).findings
    assert (finding.box, finding.area_px, finding.defect_class) == (box, area_px, "anomaly")
    assert finding.score == pytest.approx(0.9)


def test_findings_are_sorted_by_their_peaks() -> None:
    values = a_map(4, 8, (0, 0), (0, 3), (3, 7))
    values[0, 3], values[0, 4], values[3, 7] = 0.6, 0.95, 0.7
    findings = judge(Scores(0.9, values), LIMITS, REGION, CLASSES).findings
    assert [round(f.score, 2) for f in findings] == [0.95, 0.9, 0.7]
    assert [f.box.x_px for f in findings] == [130, 100, 170]


def test_nothing_above_the_region_limit_shows_the_peak() -> None:
    (finding,) = judge(Scores(0.9, a_map(4, 8, (2, 5), value=0.3)), LIMITS, REGION, CLASSES).findings
    assert finding.box == Box(150, 220, 10, 10)
    assert finding.score == pytest.approx(0.3)


def test_a_speckled_map_keeps_the_strongest_findings() -> None:
    values = np.zeros((64, 64), np.float32)
    values[::2, ::2] = np.linspace(0.6, 0.9, 32 * 32).reshape(32, 32)
    findings = judge(Scores(0.9, values), LIMITS, REGION, CLASSES).findings
    assert len(findings) == MAX_FINDINGS
    assert findings[0].score == pytest.approx(0.9)
    assert findings[-1].score > 0.88


def test_a_model_without_map_finds_the_whole_region() -> None:
    (finding,) = judge(Scores(0.9, None, {"dent": 0.2, "scratch": 0.7}), LIMITS, REGION, ("dent", "scratch")).findings
    assert (finding.box, finding.area_px, finding.defect_class) == (REGION, 3200, "scratch")


def test_a_map_finer_than_the_region_still_gives_pixels() -> None:
    (finding,) = judge(Scores(0.9, a_map(64, 64, (63, 63))), LIMITS, Box(5, 6, 7, 3), CLASSES).findings
    assert finding.box == Box(11, 8, 1, 1)


finite_maps = hnp.arrays(
    np.float32, st.tuples(st.integers(1, 40), st.integers(1, 40)), elements=st.floats(-10, 10, width=32)
)
regions = st.builds(Box, st.integers(0, 5000), st.integers(0, 5000), st.integers(1, 5000), st.integers(1, 5000))


@given(finite_maps, regions, st.floats(-10, 10))
def test_boxes_lie_in_the_region_and_areas_in_their_boxes(values: np.ndarray, region: Box, limit: float) -> None:
    findings = judge(Scores(1.0, values), Limits(0.0, limit), region, CLASSES).findings
    assert 1 <= len(findings) <= MAX_FINDINGS
    assert findings[0].score == values.max()
    assert [f.score for f in findings] == sorted((f.score for f in findings), reverse=True)
    for finding in findings:
        box = finding.box
        assert box.width_px >= 1
        assert box.height_px >= 1
        assert region.x_px <= box.x_px
        assert region.y_px <= box.y_px
        assert box.x_px + box.width_px <= region.x_px + region.width_px
        assert box.y_px + box.height_px <= region.y_px + region.height_px
        assert 0 < finding.area_px <= box.width_px * box.height_px * (1 + 1e-9)


@given(st.floats(), st.one_of(st.none(), hnp.arrays(np.float32, (3, 3), elements=st.floats(width=32))), st.floats())
def test_only_finite_scores_pass(score: float, values: np.ndarray | None, limit: float) -> None:
    judgement = judge(Scores(score, values), Limits(limit, limit), REGION, CLASSES)
    finite = math.isfinite(score) and (values is None or bool(np.isfinite(values).all()))
    assert (judgement.reason is Reason.SCORE_INVALID) is not finite
    if judgement.verdict is Verdict.PASS:
        assert finite
        assert score <= limit


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False))
def test_a_higher_score_is_never_a_better_verdict(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert judge(Scores(low), LIMITS, REGION, CLASSES).verdict <= judge(Scores(high), LIMITS, REGION, CLASSES).verdict
