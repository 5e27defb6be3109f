"""Dimension limits: what they reject, what they excuse, and that nothing passes which no limit covers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from inspector.decision.dimensions import DimensionLimit, Dimensions, Zone, check_dimensions, read_dimensions
from inspector.decision.judge import judge
from inspector.errors import ConfigError
from inspector.part import Box, Judgement, Limits, Reason, Scores, Verdict

CLASSES = ("crack", "scratch")
REGION = Box(0, 0, 80, 40)  # 20 × 40 cells of 2 px; at 0.1 mm per px a cell is 0.2 mm
LIMITS = Limits(score=5.0, region=4.0)
LINE = (slice(10, 11), slice(5, 15))  # 10 cells: 2.01 mm long, 0.4 mm²


def scores(
    *defects: tuple[str, tuple[slice, slice]], score: float | None = None, evidence: float = 12.0, likely: float = 0.9
) -> Scores:
    """A part with these defects: class maps of `likely` there, evidence there and nowhere else."""
    maps = np.zeros((2, 20, 40), np.float32)
    anomaly_map = np.zeros((20, 40), np.float32)
    for name, place in defects:
        maps[CLASSES.index(name)][place] = likely
        anomaly_map[place] = evidence
    return Scores(float(anomaly_map.max()) if score is None else score, anomaly_map, {}, maps)


def dimensions(*limits: DimensionLimit, overrule: bool = False, **more: float) -> Dimensions:
    return Dimensions(0.1, overrule_score=overrule, limit=limits, **more)


def judged(given_scores: Scores, dims: Dimensions | None) -> Judgement:
    return judge(given_scores, LIMITS, REGION, CLASSES, dims)


@pytest.mark.parametrize(
    ("limit", "reason", "words"),
    [
        pytest.param({"max_length_mm": 2.1}, Reason.WITHIN_LIMITS, "", id="short enough"),
        pytest.param(
            {"max_length_mm": 2.0}, Reason.DIMENSION_ABOVE_LIMIT, "2.01 mm long, the limit is 2 mm", id="too long"
        ),
        pytest.param({"max_area_mm2": 0.41}, Reason.WITHIN_LIMITS, "", id="small enough"),
        pytest.param(
            {"max_area_mm2": 0.39}, Reason.DIMENSION_ABOVE_LIMIT, "0.4 mm², the limit is 0.39", id="too large"
        ),
        pytest.param({"max_count": 1}, Reason.WITHIN_LIMITS, "", id="as many as allowed"),
        pytest.param(
            {"max_count": 0}, Reason.DIMENSION_ABOVE_LIMIT, "1 findings of scratch, the limit is 0", id="none allowed"
        ),
        pytest.param({"max_count": 0, "min_area_mm2": 0.5}, Reason.WITHIN_LIMITS, "", id="too small to count"),
        pytest.param(
            {"max_length_mm": 1.0, "zone": Zone(0, 0, 0.9, 4)}, Reason.WITHIN_LIMITS, "", id="beside the zone"
        ),
        pytest.param(
            {"max_length_mm": 1.0, "zone": Zone(2.9, 0, 1, 4)},
            Reason.DIMENSION_ABOVE_LIMIT,
            "2.01 mm",
            id="touches the zone",
        ),
    ],
)
def test_a_scratch_below_the_score_limit_is_held_against_its_dimensions(limit, reason, words) -> None:  # type: ignore[no-untyped-def]
    part = scores(("scratch", LINE), evidence=3.0)
    judgement = judged(part, dimensions(DimensionLimit("scratch", **limit)))
    assert judgement.reason is reason
    assert words in judgement.detail
    assert [finding.defect_class for finding in judgement.findings] == (["scratch"] if words else [])


def test_limits_of_another_class_say_nothing() -> None:
    part = scores(("scratch", LINE), evidence=3.0)
    assert judged(part, dimensions(DimensionLimit("crack", max_length_mm=0.1))).verdict is Verdict.PASS


def test_the_uncertainty_of_the_scale_counts_against_the_part() -> None:
    part, limit = scores(("scratch", LINE), evidence=3.0), DimensionLimit("scratch", max_length_mm=2.1)
    assert judged(part, dimensions(limit)).verdict is Verdict.PASS
    assert judged(part, dimensions(limit, uncertainty=0.05)).reason is Reason.DIMENSION_ABOVE_LIMIT


def test_the_record_has_length_area_and_place_in_mm() -> None:
    (finding,) = judged(scores(("scratch", LINE)), dimensions()).findings
    assert finding.size is not None
    assert finding.size.length_mm == pytest.approx(math.hypot(2.0, 0.2))
    assert finding.size.area_mm2 == pytest.approx(0.4)
    assert (finding.size.x_mm, finding.size.y_mm) == pytest.approx((2.0, 2.1))
    assert finding.centre_px == pytest.approx((20.0, 21.0))


def test_a_scale_alone_leaves_the_score_to_decide() -> None:
    assert judged(scores(("scratch", LINE)), dimensions()).reason is Reason.SCORE_ABOVE_LIMIT
    assert judged(scores(("scratch", LINE), evidence=3.0), dimensions()).reason is Reason.WITHIN_LIMITS


SHORT = DimensionLimit("scratch", max_length_mm=2.1)


@pytest.mark.parametrize(
    ("part", "dims", "reason"),
    [
        pytest.param(
            scores(("scratch", LINE)),
            dimensions(SHORT, overrule=True),
            Reason.WITHIN_LIMITS,
            id="a short scratch is excused",
        ),
        pytest.param(
            scores(("scratch", LINE)),
            dimensions(SHORT),
            Reason.SCORE_ABOVE_LIMIT,
            id="but only if the recipe overrules",
        ),
        pytest.param(
            scores(("scratch", LINE), ("scratch", (slice(2, 3), slice(0, 30)))),
            dimensions(SHORT, overrule=True),
            Reason.DIMENSION_ABOVE_LIMIT,
            id="a long one beside it is not",
        ),
        pytest.param(
            scores(("crack", LINE)),
            dimensions(SHORT, overrule=True),
            Reason.SCORE_ABOVE_LIMIT,
            id="a class without limits",
        ),
        pytest.param(
            scores(("scratch", LINE), ("crack", (slice(15, 16), slice(3, 5)))),
            dimensions(SHORT, overrule=True),
            Reason.SCORE_ABOVE_LIMIT,
            id="a class without limits beside it",
        ),
        pytest.param(
            scores(("scratch", LINE), ("crack", (slice(10, 11), slice(15, 16)))),
            dimensions(SHORT, overrule=True),
            Reason.DIMENSION_ABOVE_LIMIT,
            id="a crack that continues the scratch makes it longer",
        ),
        pytest.param(
            scores(("scratch", LINE), ("crack", (slice(10, 11), slice(14, 15)))),
            dimensions(SHORT, overrule=True),
            Reason.SCORE_ABOVE_LIMIT,
            id="a scratch that may be a crack, which has no limits",
        ),
        pytest.param(
            scores(("scratch", LINE), score=99.0, evidence=3.0),
            dimensions(SHORT, overrule=True),
            Reason.SCORE_ABOVE_LIMIT,
            id="a score that nothing on the map explains",
        ),
        pytest.param(
            scores(("scratch", LINE), likely=0.4),
            dimensions(SHORT, overrule=True),
            Reason.SCORE_ABOVE_LIMIT,
            id="evidence too faint to outline",
        ),
        pytest.param(
            scores(("scratch", LINE)),
            dimensions(DimensionLimit("scratch", max_length_mm=2.1, zone=Zone(0, 0, 2, 4)), overrule=True),
            Reason.SCORE_ABOVE_LIMIT,
            id="half outside the zone of its limit",
        ),
        pytest.param(
            scores(("scratch", LINE)),
            dimensions(DimensionLimit("scratch", max_length_mm=2.1, zone=Zone(0, 0, 4, 4)), overrule=True),
            Reason.WITHIN_LIMITS,
            id="inside the zone of its limit",
        ),
    ],
)
def test_a_score_above_its_limit_passes_only_if_limits_cover_all_of_its_evidence(part, dims, reason) -> None:  # type: ignore[no-untyped-def]
    assert judged(part, dims).reason is reason


@pytest.mark.parametrize(
    ("cells_away", "passes"),
    [pytest.param(2, True, id="within reach of the outline"), pytest.param(3, False, id="beyond it")],
)
def test_evidence_may_spill_over_an_outline_by_two_cells(cells_away: int, passes: bool) -> None:
    part = scores(("scratch", LINE))
    assert part.anomaly_map is not None
    part.anomaly_map[10, 14 + cells_away] = 6.0
    judgement = judged(part, dimensions(SHORT, overrule=True))
    assert (judgement.verdict is Verdict.PASS) is passes
    assert passes or len(judgement.findings) == 2  # the scratch, and what nothing explains


def test_an_excused_part_shows_what_it_has_and_names_no_defect() -> None:
    judgement = judged(scores(("scratch", LINE)), dimensions(SHORT, overrule=True))
    assert "score 12 is above the limit 5" in judgement.detail
    assert [finding.defect_class for finding in judgement.findings] == ["scratch"]
    assert judgement.defect_class == ""
    assert judgement.score == 12.0


def test_the_finding_that_breaks_a_limit_comes_first() -> None:
    part = scores(("crack", (slice(15, 17), slice(3, 9))), ("scratch", LINE))
    assert part.anomaly_map is not None
    part.anomaly_map[15, 3] = 50.0
    judgement = judged(part, dimensions(DimensionLimit("scratch", max_length_mm=1.0)))
    assert judgement.reason is Reason.DIMENSION_ABOVE_LIMIT
    assert "score 12 is above the limit" in judgement.detail
    assert [finding.defect_class for finding in judgement.findings] == ["scratch", "crack"]


def test_more_findings_than_can_be_measured_reject() -> None:
    maps = np.zeros((1, 60, 60), np.float32)
    maps[0, ::2, ::2] = 1.0
    part = Scores(1.0, np.zeros((60, 60), np.float32), {}, maps)
    dims = dimensions(DimensionLimit("dirt", max_length_mm=50.0))
    judgement = judge(part, LIMITS, Box(0, 0, 60, 60), ("dirt",), dims)
    assert judgement.reason is Reason.DIMENSION_ABOVE_LIMIT
    assert "too many to measure" in judgement.detail


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param({"class_maps": None}, "gave no class maps", id="none"),
        pytest.param({"class_maps": np.zeros((2, 0, 0), np.float32)}, "shape", id="empty"),
        pytest.param({"class_maps": np.zeros((2, 5, 5), np.float32)}, "cells", id="other cells than the map's"),
        pytest.param({"class_maps": np.full((2, 20, 40), np.nan, np.float32)}, "no probabilities", id="not a number"),
        pytest.param({"class_maps": np.full((2, 20, 40), 1.5, np.float32)}, "no probabilities", id="above 1"),
        pytest.param({"class_maps": np.full((2, 20, 40), -0.1, np.float32)}, "no probabilities", id="negative"),
    ],
)
def test_class_maps_that_are_none_are_never_a_pass(change, words) -> None:  # type: ignore[no-untyped-def]
    part = Scores(1.0, np.zeros((20, 40), np.float32), {}, **change)
    judgement = judged(part, dimensions(SHORT))
    assert judgement.reason is Reason.SCORE_INVALID
    assert words in judgement.detail


def test_without_dimensions_findings_come_from_class_maps_in_pixels() -> None:
    judgement = judged(scores(("scratch", LINE), ("crack", (slice(0, 1), slice(0, 1)))), None)
    assert judgement.reason is Reason.SCORE_ABOVE_LIMIT
    assert {(f.defect_class, f.size) for f in judgement.findings} == {("scratch", None), ("crack", None)}


def test_faint_evidence_is_named_by_the_class_maps() -> None:
    (finding,) = judged(scores(("scratch", LINE), likely=0.3), None).findings
    assert finding.defect_class == "scratch"
    assert finding.length_px is None


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(CLASSES), st.integers(0, 19), st.integers(0, 39), st.integers(1, 6), st.integers(1, 12)
        ),
        max_size=4,
    ),
    st.floats(0, 12),
    st.floats(0.05, 1.0),
    st.lists(st.tuples(st.integers(0, 19), st.integers(0, 39)), max_size=3),
)
def test_whatever_is_excused_has_no_evidence_far_from_a_scratch_within_its_limit(
    defects: list[tuple[str, int, int, int, int]], evidence: float, likely: float, specks: list[tuple[int, int]]
) -> None:
    places = [(name, (slice(y, y + h), slice(x, x + w))) for name, y, x, h, w in defects]
    part = scores(*places, evidence=evidence, likely=likely)
    assert part.anomaly_map is not None
    assert part.class_maps is not None
    for y, x in specks:
        part.anomaly_map[y, x] = 9.0
    part = Scores(
        float(part.anomaly_map.max()), part.anomaly_map, {}, np.minimum(part.class_maps, 1 - part.class_maps[::-1])
    )
    judgement = judged(part, dimensions(SHORT, overrule=True))
    if judgement.verdict is Verdict.PASS and part.score > LIMITS.score:
        near = np.zeros((20, 40), bool)
        for y, x in np.argwhere(part.class_maps[1] >= 0.25):
            near[max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3] = True
        assert not ((part.anomaly_map > LIMITS.score) & ~near).any()
        assert all(f.defect_class == "scratch" and f.size and f.size.length_mm <= 2.1 for f in judgement.findings)


@pytest.mark.parametrize(
    "rows_between", [pytest.param(0, id="touching rows"), pytest.param(1, id="one row"), pytest.param(9, id="far")]
)
def test_a_defect_without_a_limit_beside_an_excused_scratch_is_not_excused(rows_between: int) -> None:
    scratch, crack = (slice(0, 1), slice(0, 4)), (slice(2 + rows_between, 3 + rows_between), slice(0, 4))
    overruled = dimensions(SHORT, overrule=True)
    assert judged(scores(("scratch", scratch)), overruled).verdict is Verdict.PASS
    assert judged(scores(("scratch", scratch), ("crack", crack)), overruled).verdict is Verdict.REJECT


# The recipe's table


ADAPTER = TypeAdapter(Dimensions)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        pytest.param({"mm_per_px": 0.0}, "greater than 0", id="a scale of 0"),
        pytest.param({"mm_per_px": -0.1}, "greater than 0", id="a negative scale"),
        pytest.param({"mm_per_px": math.nan}, "finite", id="NaN"),
        pytest.param({"mm_per_px": math.inf}, "finite", id="infinite"),
        pytest.param({"mm_per_px": "0.1"}, "valid number", id="a text"),
        pytest.param({"mm_per_px": 0.1, "uncertainty": 0.9}, "less than or equal to 0.5", id="hardly a scale"),
        pytest.param({"mm_per_px": 0.1, "mm": 1}, "mm", id="an unknown key"),
        pytest.param({"mm_per_px": 0.1, "limit": [{"defect_class": "a"}]}, "limits nothing", id="a limit of nothing"),
        pytest.param(
            {"mm_per_px": 0.1, "limit": [{"defect_class": "a", "max_length_mm": 0.0}]},
            "greater than 0",
            id="a length of 0",
        ),
        pytest.param(
            {"mm_per_px": 0.1, "limit": [{"defect_class": "a", "max_length_mm": 1.0, "min_area_mm2": 1.0}]},
            "give max_count",
            id="a least area that counts nothing",
        ),
        pytest.param(
            {
                "mm_per_px": 0.1,
                "limit": [{"defect_class": "a", "max_count": 1, "max_area_mm2": 1.0, "min_area_mm2": 2.0}],
            },
            "above max_area_mm2",
            id="least above most",
        ),
        pytest.param(
            {"mm_per_px": 0.1, "limit": [{"defect_class": "a", "max_count": 1}, {"defect_class": "a", "max_count": 2}]},
            "two limits",
            id="two for one class and place",
        ),
        pytest.param({"mm_per_px": 0.1, "overrule_score": True}, "needs limits", id="overrules without limits"),
        pytest.param(
            {"mm_per_px": 0.1, "overrule_score": True, "limit": [{"defect_class": "a", "max_count": 3}]},
            "bounds no size",
            id="overrules by a count alone",
        ),
        pytest.param(
            {
                "mm_per_px": 0.1,
                "limit": [
                    {
                        "defect_class": "a",
                        "max_count": 1,
                        "zone": {"x_mm": -1.0, "y_mm": 0.0, "width_mm": 1.0, "height_mm": 1.0},
                    }
                ],
            },
            "greater than or equal to 0",
            id="a zone outside the part",
        ),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused(table: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        ADAPTER.validate_python(table)


def test_a_table_reads_as_it_is_written() -> None:
    zone = {"x_mm": 0.0, "y_mm": 1, "width_mm": 2.0, "height_mm": 3.0}
    read = read_dimensions({"mm_per_px": 0.05, "limit": [{"defect_class": "a", "max_length_mm": 2, "zone": zone}]})
    assert read == Dimensions(0.05, limit=(DimensionLimit("a", max_length_mm=2, zone=Zone(0, 1, 2, 3)),))
    assert read_dimensions(None) is None


def test_every_problem_with_the_bundle_is_named() -> None:
    dims = dimensions(SHORT, DimensionLimit("dent", max_count=1))
    check_dimensions(dimensions(SHORT), CLASSES, outlines_classes=True)
    with pytest.raises(
        ConfigError, match=r"outlines no classes.*no class of the bundle is called dent: its classes are crack"
    ):
        check_dimensions(dims, CLASSES, outlines_classes=False)
