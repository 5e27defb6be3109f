"""Reports and agreement studies: what is asked, what is added up, and that text from parts and people stays text."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from web_desk import NASTY_PART, WebDesk

from inspector.errors import InvalidRequest
from inspector.part import Reason, Verdict
from inspector.quality.costs import Prices
from inspector.quality.periods import Calendar
from inspector.records.labels import Label
from inspector.records.looks import Agreed, LookedAt
from inspector.records.tallies import Tally
from inspector.web.reporting.agreeing import make_agreement
from inspector.web.reporting.charts import p_chart_svg, pareto_svg
from inspector.web.reporting.document import agreement_body, document, report_body
from inspector.web.reporting.figures import NO_LOT, Report, make_report
from inspector.web.reporting.filters import query
from inspector.web.reporting.question import ask, words
from inspector.web.reporting.tables import groups_csv, written
from inspector.web.reporting.values import agreement_json, report_json

NASTY = "<script>alert(1)</script>"
NOW = datetime(2026, 11, 29, 15, 30, tzinfo=UTC)
CALENDAR = Calendar((time(6), time(14), time(22)), UTC)
REJECT, LATE = Reason.SCORE_ABOVE_LIMIT, Reason.DEADLINE_EXCEEDED


def asked(**params: str) -> Any:
    return ask({name.rstrip("_"): value for name, value in params.items()}, "tiles", CALENDAR, NOW)


def test_without_days_it_is_the_last_seven() -> None:
    question = asked()
    assert (question.where.start_time, question.where.end_time) == (
        datetime(2026, 11, 23, tzinfo=UTC),
        datetime(2026, 11, 30, tzinfo=UTC),
    )
    assert words(question, CALENDAR) == "line tiles, from 2026-11-23 00:00, to 2026-11-30 00:00"


DAYS = [
    pytest.param("2026-11-02", "2026-11-02", "2026-11-02T00:00", "2026-11-03T00:00", id="one day, to its end"),
    pytest.param("2026-11-02T06:00", "2026-11-02T14:00", "2026-11-02T06:00", "2026-11-02T14:00", id="times"),
    pytest.param("2026-11-02T06:00+02:00", "2026-11-03", "2026-11-02T04:00", "2026-11-04T00:00", id="a zone"),
    pytest.param("", "2026-11-09", "2026-11-03T00:00", "2026-11-10T00:00", id="seven days to a day"),
    pytest.param("2026-11-28", "", "2026-11-28T00:00", "2026-11-30T00:00", id="from a day until today"),
]


@pytest.mark.parametrize(("from_", "to", "start", "end"), DAYS)
def test_days(from_: str, to: str, start: str, end: str) -> None:
    where = asked(from_=from_, to=to).where
    assert where.start_time == datetime.fromisoformat(start).replace(tzinfo=UTC)
    assert where.end_time == datetime.fromisoformat(end).replace(tzinfo=UTC)


WRONG = [
    pytest.param({"from": "yesterday"}, "give a day such as", id="no date"),
    pytest.param({"from": "0001-01-01", "to": "9999-12-31"}, "give a day such as", id="a day past the calendar's end"),
    pytest.param({"from": "2026-11-03", "to": "2026-11-02"}, "ends before it begins", id="the wrong way round"),
    pytest.param({"by": "minute"}, "hour, shift, day, week, lot", id="an unknown group"),
    pytest.param({"shift": "4"}, "give 1 to 3", id="a shift that is not"),
    pytest.param({"shift": "-1"}, "give 1 to 3", id="a negative shift"),
    pytest.param({"rules": "mine"}, "nelson", id="unknown rules"),
    pytest.param({"wide": "perhaps"}, "give 1 or 0", id="no flag"),
    pytest.param({"lot": "x" * 300}, "at most 256", id="a long text"),
]


@pytest.mark.parametrize(("params", "says"), WRONG)
def test_what_cannot_be_asked(params: dict[str, str], says: str) -> None:
    with pytest.raises(InvalidRequest, match=says):
        ask(params, "tiles", CALENDAR, NOW)


def test_a_question_as_a_query_asks_the_same() -> None:
    for question in (
        asked(),
        asked(lot="L1", by="lot", shift="2", wide="1", expert="anna,ben", classes="1", to="2026-11-05"),
    ):
        assert ask(query(question, CALENDAR), "tiles", CALENDAR, NOW) == question


def tally(
    hour: float, verdict: Verdict = Verdict.PASS, count: int = 1, again: int = 0, lot: str = "", station: str = "top",
    defect_class: str = "", recipe: str = "tiles-a",
) -> Tally:  # fmt: skip
    reason = {Verdict.PASS: Reason.WITHIN_LIMITS, Verdict.REJECT: REJECT, Verdict.UNKNOWN: LATE}[verdict]
    at = datetime(2026, 11, 23, tzinfo=UTC) + timedelta(hours=hour)
    return Tally(at, "tiles", station, recipe, "tiles-7@1", verdict, reason, defect_class, lot, count, again)


def looked(
    sequence: int, verdict: Verdict, *said: tuple[str, str], hour: float = 7, recipe: str = "tiles-a"
) -> LookedAt:
    """A part with a label of each of (author, word), repeats where an author comes again."""
    at = datetime(2026, 11, 23, tzinfo=UTC) + timedelta(hours=hour)
    seen: set[str] = set()
    history = []
    for minute, (author, word) in enumerate(said):
        history.append(Label("tiles", sequence, word, author, at + timedelta(minutes=minute), is_repeat=author in seen))
        seen.add(author)
    reason = REJECT if verdict is Verdict.REJECT else Reason.WITHIN_LIMITS
    defect = "crack" if verdict is Verdict.REJECT else ""
    return LookedAt(
        "tiles", sequence, "top", recipe, "tiles-7@1", f"P{sequence}", "", at, verdict, reason, defect, tuple(history)
    )


def made(tallies: Sequence[Tally], looks: Sequence[LookedAt] = (), **params: str) -> Report:
    prices = {"tiles-a": Prices(2.0, 50.0, "EUR")}
    said = [Agreed(one.time, one.recipe, one.verdict, one.agreed, 1) for one in looks if one.agreed]
    return make_report(asked(**params), "line tiles", NOW, CALENDAR, tallies, said, prices)


SHIFTS = [
    tally(6, count=95), tally(6.25, Verdict.REJECT, 4, 1, defect_class="crack"), tally(7, Verdict.UNKNOWN, 1),
    tally(15, count=100), tally(23, count=50), tally(29, count=49, again=9), tally(30, count=100),
]  # fmt: skip


def test_shifts_are_added_up_and_parts_seen_again_left_out() -> None:
    report = made(SHIFTS)
    assert {name: (s.parts, s.passed, s.rejected, s.unknown, s.again) for name, s in report.groups.items()} == {
        "2026-11-23 06:00–14:00": (99, 95, 3, 1, 1),
        "2026-11-23 14:00–22:00": (100, 100, 0, 0, 0),
        "2026-11-23 22:00–06:00": (90, 90, 0, 0, 9),
        "2026-11-24 06:00–14:00": (100, 100, 0, 0, 0),
    }
    assert report.total.first_pass.count == 385
    assert [(bar.name, bar.count) for bar in report.causes] == [("crack", 3), ("not judged: deadline exceeded", 1)]
    assert "10 inspections of parts that a station had seen before are not counted." in report.notes
    assert sum(sums.parts for sums in made(SHIFTS, by="day").groups.values()) == report.total.parts


def test_a_shift_can_be_looked_at_alone() -> None:
    report = made(SHIFTS, shift="1")
    assert list(report.groups) == ["2026-11-23 06:00–14:00", "2026-11-24 06:00–14:00"]


def test_lots_stand_in_the_order_in_which_they_came() -> None:
    report = made([tally(7, lot="B"), tally(8, lot="Z"), tally(9, lot="B"), tally(10, lot="")], by="lot")
    assert list(report.groups) == ["B", "Z", NO_LOT]
    assert report.groups["B"].parts == 2


def test_several_stations_have_a_yield_of_their_own_and_one_together() -> None:
    report = made(
        [
            tally(6, count=9),
            tally(6, Verdict.REJECT, 1),
            tally(6, count=4, station="side"),
            tally(6, Verdict.REJECT, 1, station="side"),
        ]
    )
    assert report.rolled == pytest.approx(0.9 * 0.8)
    assert made(SHIFTS).rolled is None


def test_wrong_verdicts_are_what_people_who_agree_say() -> None:
    looks = [
        looked(1, Verdict.REJECT, ("anna", "good")),
        looked(2, Verdict.REJECT, ("anna", "crack")),
        looked(3, Verdict.REJECT, ("anna", "good"), ("ben", "crack")),
        looked(4, Verdict.PASS, ("anna", "crack")),
        looked(5, Verdict.PASS, ("anna", "unsure")),
        looked(6, Verdict.REJECT, ("anna", "good"), recipe="other"),
    ]
    report = made(SHIFTS, looks)
    (costs,) = report.costs
    assert (costs.false_rejects.seen.count, costs.false_rejects.seen.total) == (1, 2), "who disagree say nothing"
    assert (costs.escapes.seen.count, costs.escapes.seen.total) == (1, 1)
    assert costs.false_rejects.seen_cost == 2.0
    body = report_body(report)
    assert "2.00 EUR" in body
    assert "50.00 EUR" in body


def test_a_recipe_without_costs_says_where_they_are_set() -> None:
    body = report_body(made([tally(7, recipe="new")], [looked(1, Verdict.REJECT, ("anna", "good"), recipe="new")]))
    assert "No costs are set for new: an engineer sets them on Recipes." in body


def test_a_report_of_nothing_says_so() -> None:
    report = made([])
    assert "there is nothing to draw" in report_body(report)
    assert report_json(report)["total"]["parts"] == 0
    assert len(list(csv.reader(io.StringIO(groups_csv(report))))) == 1


def test_a_flagged_group_is_told_with_its_rule_in_words() -> None:
    report = made(
        [
            *(tally(24 * d + 7, count=97) for d in range(7)),
            *(tally(24 * d + 7, Verdict.REJECT, 3) for d in range(6)),
            tally(24 * 6 + 7, Verdict.REJECT, 30),
        ]
    )
    body = report_body(report)
    assert "2026-11-29 06:00–14:00: 24 % not passed (30 of 127)" in body
    assert "Western Electric 1: one point beyond the control limits" in body
    assert 'class="flag"' in body


def test_text_from_parts_and_people_stays_text() -> None:
    report = made([tally(7, Verdict.REJECT, 2, defect_class=NASTY, station=NASTY), tally(7, lot=NASTY)], by="lot")
    study = make_agreement(asked(), NASTY, NOW, CALENDAR, [looked(1, Verdict.REJECT, (NASTY, "good"), ("ben", "dent"))])
    for page in (
        document(NASTY, NASTY, NOW, NASTY, report_body(report)),
        document(NASTY, NASTY, NOW, NASTY, agreement_body(study)),
        p_chart_svg(report.chart),
        pareto_svg(report.causes),
    ):
        assert "<script" not in page
        assert "&lt;script&gt;" in page


def test_many_causes_end_in_one_bar() -> None:
    report = made([tally(7, Verdict.REJECT, 30 - n, defect_class=f"class {n}") for n in range(20)])
    assert "9 others" in pareto_svg(report.causes)
    assert pareto_svg(report.causes).count("<rect") == 12


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx"])
def test_a_spreadsheet_runs_nothing(text: str) -> None:
    assert next(csv.reader(io.StringIO(written((text,), [])), strict=True)) == [text], "heads are our own"
    (_, row) = csv.reader(io.StringIO(written(("a", "b"), [(text, -1.5)])))
    assert row == [f"'{text}", "-1.5"]


def crack_or_good(number: int) -> str:
    return "crack" if number % 2 else "good"


PEOPLE = [
    looked(
        n,
        Verdict.REJECT if n % 2 else Verdict.PASS,
        ("anna", crack_or_good(n)),
        ("ben", crack_or_good(n)),
        ("anna", "dent" if n == 1 else crack_or_good(n)),
    )
    for n in range(60)
]


def test_the_line_is_one_more_appraiser() -> None:
    study = make_agreement(asked(), "line tiles", NOW, CALENDAR, PEOPLE)
    assert study.study.appraisers == ("anna", "ben", "the line (tiles-7@1)")
    assert study.authors == ("anna", "ben")
    assert all(one.effectiveness.value == 1 for one in study.study.against), "a dent is a defect as a crack is"
    assert any(s.startswith("the line (tiles-7@1) passes on 60 parts") for s in study.sentences)
    assert "not a sample of production" in study.sentences[-1]
    assert study.study.within[0].appraiser == "anna"
    assert study.study.within[0].matched.total == 60


def test_classes_are_told_apart_where_that_is_asked() -> None:
    study = make_agreement(asked(classes="1"), "line tiles", NOW, CALENDAR, PEOPLE)
    by_name = {one.appraiser: one for one in study.study.against}
    assert by_name["anna"].effectiveness.count == 59
    assert study.study.within[0].matched.count == 59


def test_an_expert_says_what_parts_are_and_is_not_judged() -> None:
    study = make_agreement(asked(expert="anna"), "line tiles", NOW, CALENDAR, PEOPLE)
    assert study.study.appraisers == ("ben", "the line (tiles-7@1)")
    assert "Reference: what anna said last." in study.sentences
    nobody = make_agreement(asked(expert="who"), "line tiles", NOW, CALENDAR, PEOPLE)
    assert nobody.study.appraisers[0] == "anna", "an expert who said nothing is no reference"


def test_of_no_labels_there_is_nothing_to_say() -> None:
    study = make_agreement(asked(), "line tiles", NOW, CALENDAR, [])
    assert study.sentences == ("Nobody has labelled anything here: there is nothing to compare.",)
    assert agreement_json(study)["parts"] == 0
    assert "nothing to compare" in agreement_body(study)


# Through the desk


def test_the_api_has_reports_as_values_documents_and_tables(desk: WebDesk) -> None:
    client = desk.client("vera")
    report = client.get("/api/v1/reports", params={"by": "hour"}).json()
    assert report["total"]["parts"] == 60
    assert {cause["cause"]: cause["parts"] for cause in report["causes"]}["crack"] == 14
    page = client.get("/api/v1/reports/report.html")
    assert "inline" in page.headers["content-disposition"]
    assert page.text.startswith("<!doctype html>")
    assert "&lt;b&gt;crack&lt;/b&gt;" in page.text
    assert "<b>crack" not in page.text
    rows = list(csv.DictReader(io.StringIO(client.get("/api/v1/reports/groups.csv").text)))
    assert sum(int(row["parts"]) for row in rows) == 60
    assert "cause,parts" in client.get("/api/v1/reports/causes.csv").text
    refused = client.get("/api/v1/reports", params={"by": "minute"})
    assert refused.status_code == 422
    assert "hour, shift, day, week, lot" in refused.json()["error"]["message"]


@pytest.mark.parametrize(
    ("path", "params"), [("reports", {"lot": "L1"}), ("reports", {"by": "lot"}), ("agreement", {"lot": "L1"})]
)
def test_a_line_without_lots_answers_nothing_by_lot(desk: WebDesk, path: str, params: dict[str, str]) -> None:
    refused = desk.client("vera").get(f"/api/v1/{path}", params=params)
    assert refused.status_code == 422
    assert "name no lots" in refused.json()["error"]["message"]
    assert "lot_pattern" in refused.json()["error"]["message"]


def test_the_api_has_agreement_studies(desk: WebDesk) -> None:
    client = desk.client("vera")
    study = client.get("/api/v1/agreement").json()
    assert study["parts"] == 2
    assert {one["appraiser"] for one in study["against_reference"]} == {"erna", "the line (tiles-7@0123456789ab)"}
    assert "What it comes to" in client.get("/api/v1/agreement/report.html").text
    assert client.get("/api/v1/agreement/appraisers.csv").text.startswith("appraiser,verdict")


def test_pages_show_the_answer_to_what_the_form_asks(desk: WebDesk, log_in: Any) -> None:
    page = log_in(desk, "vera", "/reports")
    page.get_by_text("First pass yield").first.wait_for()
    page.get_by_label("Group by").select_option("hour")
    page.get_by_role("button", name="Show").click()
    page.wait_for_url("**by=hour**")
    page.get_by_role("heading", name="By hour").wait_for()
    assert page.locator("svg.chart").count() == 2
    assert NASTY_PART not in page.content()
    page.goto("/reports?by=minute")
    assert "choose one of hour" in page.get_by_role("alert").text_content()
    page.goto("/agreement")
    page.get_by_role("heading", name="What it comes to").wait_for()
    assert page.faults == []
