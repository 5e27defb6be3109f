"""The figures of a report: yield, causes, control chart and costs, of the inspections that a question leaves in."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from inspector.part import Reason, Verdict
from inspector.quality.agreement import GOOD
from inspector.quality.control import Group, PChart, Point, p_chart
from inspector.quality.costs import Prices, Wrong, wrong_verdicts
from inspector.quality.periods import By, Calendar
from inspector.quality.rates import Rate, percent, rate
from inspector.quality.run_rules import RULE_SETS
from inspector.quality.yields import Bar, pareto, vital_few
from inspector.records.looks import Agreed
from inspector.records.tallies import Tally
from inspector.web.reporting.question import Question

NO_LOT = "without a lot"


@dataclass
class Sums:
    """Parts at their first pass; `again` counts inspections of parts that a station had seen before, which are not in it."""

    passed: int = 0
    rejected: int = 0
    unknown: int = 0
    again: int = 0

    @property
    def parts(self) -> int:
        return self.passed + self.rejected + self.unknown

    @property
    def first_pass(self) -> Rate:
        """First pass yield."""
        return rate(self.passed, self.parts)

    def add(self, tally: Tally) -> None:
        first = tally.count - tally.again
        self.again += tally.again
        if tally.verdict is Verdict.PASS:
            self.passed += first
        elif tally.verdict is Verdict.REJECT:
            self.rejected += first
        else:
            self.unknown += first


@dataclass(frozen=True, slots=True)
class Costs:
    """What wrong verdicts of a recipe cost; without prices the counts alone are told."""

    recipe: str
    false_rejects: Wrong
    escapes: Wrong
    prices: Prices | None


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that a report shows. `rolled` is the yield of all stations one after the other, if there are several."""

    question: Question
    about: str
    made: datetime
    total: Sums
    stations: Mapping[str, Sums]
    groups: Mapping[str, Sums]
    causes: tuple[Bar, ...]
    chart: PChart
    costs: tuple[Costs, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def rolled(self) -> float | None:
        if len(self.stations) < 2:
            return None
        product = 1.0
        for sums in self.stations.values():
            product *= sums.first_pass.value
        return product

    @property
    def vital(self) -> tuple[Bar, ...]:
        """The causes that make up four fifths."""
        return vital_few(self.causes)


def make_report(
    question: Question,
    about: str,
    made: datetime,
    calendar: Calendar,
    tallies: Iterable[Tally],
    reviewed: Iterable[Agreed],
    prices: Mapping[str, Prices],
) -> Report:
    """Add up what the records say."""
    in_shift = _in_shift(question, calendar)
    total, causes = Sums(), Counter[str]()
    stations: dict[str, Sums] = {}
    groups: dict[tuple[datetime, str], Sums] = {}
    name_of = _group_name(question.by, calendar)
    first_of: dict[str, tuple[datetime, str]] = {}
    verdicts: Counter[tuple[str, Verdict]] = Counter()
    for tally in tallies:
        if not in_shift(tally.time):
            continue
        verdicts[tally.recipe, tally.verdict] += tally.count
        key = name_of(tally)
        # A lot stands where its first part came.
        key = first_of.setdefault(key[1], key)
        for sums in (total, stations.setdefault(tally.station, Sums()), groups.setdefault(key, Sums())):
            sums.add(tally)
        if tally.verdict is not Verdict.PASS:
            causes[cause(tally.verdict, tally.reason, tally.defect_class)] += tally.count - tally.again
    ordered = {key[1]: groups[key] for key in sorted(groups)}
    chart = p_chart(
        [Group(name, sums.rejected + sums.unknown, sums.parts) for name, sums in ordered.items()],
        RULE_SETS[question.rules],
        widen=question.wide,
    )
    said = Counter[tuple[str, Verdict, str]]()
    for one in reviewed:
        if in_shift(one.time):
            said[one.recipe, one.verdict, one.what] += one.count
    recipes = sorted({recipe for recipe, _ in verdicts})
    costs = tuple(_costs(recipe, verdicts, said, prices) for recipe in recipes)
    return Report(
        question, about, made, total, stations, ordered, pareto(causes), chart, costs, _notes(total, chart, costs)
    )


def cause(verdict: Verdict, reason: Reason, defect_class: str) -> str:
    """What a part was not passed for: the class of its strongest defect, or the reason."""
    if verdict is Verdict.REJECT and defect_class:
        return defect_class
    words = reason.name.lower().replace("_", " ")
    return words if verdict is Verdict.REJECT else f"not judged: {words}"


def point_words(point: Point) -> str:
    """A flagged point and every rule that it completes, in words."""
    group = point.group
    rules = "; ".join(f"{s.rule.name}: {s.rule.words}" for s in point.signals)
    side = "above" if point.z > 0 else "below"
    return (
        f"{group.name}: {percent(point.rate)} not passed ({group.events:,} of {group.parts:,}), "
        f"{abs(point.z):.1f} sigma {side} the centre. {rules}."
    )


def _in_shift(question: Question, calendar: Calendar) -> Callable[[datetime], bool]:
    if not question.shift:
        return lambda moment: True
    return lambda moment: calendar.shift(moment) == question.shift


def _group_name(by: By, calendar: Calendar) -> Callable[[Tally], tuple[datetime, str]]:
    """Where a tally's group stands, and its name."""
    period_of = functools.cache(lambda time: calendar.period(time, by))

    def name(tally: Tally) -> tuple[datetime, str]:
        if by is By.LOT:
            return calendar.local(tally.time), tally.lot or NO_LOT
        period = period_of(tally.time)
        return period.begin, period.name

    return name


def _costs(
    recipe: str,
    verdicts: Counter[tuple[str, Verdict]],
    said: Counter[tuple[str, Verdict, str]],
    prices: Mapping[str, Prices],
) -> Costs:
    """What people who agree say of what the line rejected and passed."""
    price = prices.get(recipe, Prices(0.0, 0.0))

    def wrong(verdict: Verdict, *, good_is_wrong: bool, price_each: float) -> Wrong:
        reviewed = sum(count for (of, on, _), count in said.items() if (of, on) == (recipe, verdict))
        good = said[recipe, verdict, GOOD]
        # A label may have come since the inspections were counted.
        parts = max(verdicts[recipe, verdict], reviewed)
        return wrong_verdicts(parts, reviewed, good if good_is_wrong else reviewed - good, price_each)

    return Costs(
        recipe,
        wrong(Verdict.REJECT, good_is_wrong=True, price_each=price.false_reject),
        wrong(Verdict.PASS, good_is_wrong=False, price_each=price.escape),
        prices.get(recipe),
    )


def _notes(total: Sums, chart: PChart, costs: Sequence[Costs]) -> tuple[str, ...]:
    """What a reader should know before believing the figures."""
    notes = []
    if total.again:
        notes.append(f"{total.again:,} inspections of parts that a station had seen before are not counted.")
    if chart.spread > 2 and not chart.is_widened:
        notes.append(
            f"Groups vary {chart.spread:.1f} times as much as chance alone would have it: limits widened to that (p′ chart) "
            "show what stands out even so."
        )
    if any(point.is_exact for point in chart.points):
        notes.append("Where a group is too small for limits at 3 sigma, its limits are the exact binomial ones.")
    if total.rejected and not any(one.false_rejects.seen.total for one in costs):
        notes.append("No reject of this report has been reviewed: false rejects are not known.")
    return tuple(notes)
