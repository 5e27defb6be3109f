"""What an evaluation says, in the sentences that a manager signs or refuses."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from inspector.decision.intervals import clopper_pearson
from inspector.inference.manifest import CostBasis, LimitBasis
from training.report.counts import Counts, Tally
from training.report.leaks import DataCheck
from training.statistics import Rate

_ONE_SIDED = 0.90
"""Bounds of a 90 % interval each hold with 95 %."""
_BY_SCORE_ALONE = (
    "Not judged here: every verdict is by the score alone. A recipe may hold lengths and areas of what this bundle outlines "
    "against limits of its own, by class; it may then reject parts that pass here, and pass parts that are rejected here."
)


@dataclass(frozen=True, slots=True)
class Summary:
    """The statement at the top of the page. `promise_held` is None if the parts judged can neither show nor refute it, or
    costs chose the limit; `question` is what `held` answers. `dimensions` says what is not known of limits by length and area;
    empty for a model that outlines no classes.
    """

    judged: str
    escapes: str
    false_rejects: str
    unknown: str
    promise: str
    promise_held: bool | None
    question: str
    held: str
    data: str
    dimensions: str
    sentence: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def summary(counts: Counts, basis: LimitBasis, data: DataCheck, *, outlines: bool = False) -> Summary:
    """Put counts, promise and data check into words; every figure is of physical parts.

    A model that `outlines` classes may be used with limits by length and area, which nothing here is judged by.
    """
    question = "Did it hold?" if basis.cost is None else "Is it worth its cost?"
    held, words = (
        promise_held(counts.false_rejects.parts, basis)
        if basis.cost is None
        else (None, cost_seen(counts, basis, basis.cost))
    )
    images, parts = counts.unknown.images.total, counts.unknown.parts.total
    return Summary(
        judged=f"{_parts(parts, '')} judged, shown by {_number(images, 'image')}: {counts.good_parts} good and "
        f"{counts.defective_parts} defective{_both(counts.good_parts + counts.defective_parts - parts)}.",
        escapes=_escapes(counts.escapes),
        false_rejects=_false_rejects(counts.false_rejects),
        unknown=_unknown(counts.unknown),
        promise=basis.statement,
        promise_held=held,
        question=question,
        held=words,
        data=data.statement,
        dimensions=_BY_SCORE_ALONE if outlines else "",
        sentence=to_sign(counts, held, data.new_to_model, outlines=outlines),
    )


def to_sign(counts: Counts, held: bool | None, new_to_model: bool | None, *, outlines: bool = False) -> str:
    """What a manager signs or refuses: what is to be expected at worst, and what speaks against believing it."""
    passed, rejected = counts.escapes.parts, counts.false_rejects.parts
    expected = [
        f"up to {round(1000 * rate.high)} of 1,000 {kind} parts {what}"
        for rate, kind, what in ((passed, "defective", "to pass"), (rejected, "good", "to be rejected"))
        if rate.total
    ]
    missing = [kind for rate, kind in ((passed, "defective"), (rejected, "good")) if not rate.total]
    doubts = [f"nothing is known of {kind} parts" for kind in missing]
    if new_to_model is not True:
        doubts.append(
            "the model may know the parts that it was judged on"
            if new_to_model is None
            else "the model knows the parts that it was judged on"
        )
    if held is False:
        doubts.append("the limit did not hold what was said of it")
    if not expected:
        return "There is nothing to sign: no part was judged."
    limit = "its limit on the score, and none by length or area" if outlines else "its limit"
    said = f"With this bundle and {limit}, of parts like these I expect {' and '.join(expected)}, at worst (95 % intervals)."
    return f"{said} Against it: {'; '.join(doubts)}." if doubts else said


def promise_held(rate: Rate, basis: LimitBasis) -> tuple[bool | None, str]:
    """Whether good parts that the limit was not set by bear the promise out.

    True if an upper bound with 95 % confidence lies within the promised rate, False if a lower bound with 95 % lies above it.
    """
    promised = percent(basis.false_reject_rate)
    kind = "promise" if basis.guaranteed else "estimate"
    if not rate.total:
        return None, f"Whether the {kind} holds is not known: no good part was judged."
    interval = clopper_pearson(rate.count, rate.total, _ONE_SIDED)
    seen = f"{rate.count} of {_parts(rate.total, 'good')} rejected, {percent(rate.value)}"
    if interval.low > basis.false_reject_rate:
        return (
            False,
            f"The {kind} of at most {promised} did not hold on these parts: {seen}, and chance does not explain it.",
        )
    if interval.high <= basis.false_reject_rate:
        return (
            True,
            f"The {kind} of at most {promised} held on these parts: {seen}, at most {percent(interval.high)} with 95 %.",
        )
    return None, (
        f"These parts do not contradict the {kind} of at most {promised}, and are too few to confirm it: {seen}; the rate may "
        f"be up to {percent(interval.high)} (95 % confidence)."
    )


def cost_seen(counts: Counts, basis: LimitBasis, cost: CostBasis) -> str:
    """What the parts judged would cost, beside what was expected when costs chose the limit. Nothing was promised."""
    rejected, passed = counts.false_rejects.parts, counts.escapes.parts
    said = "Costs chose the limit, and no false-reject rate is promised"
    if not (rejected.total and passed.total):
        return f"{said}. What these parts would cost is not known: it takes good and defective ones."
    share = cost.defect_rate

    def per_part(good: float, defective: float) -> float:
        return cost.false_reject * (1 - share) * good + cost.escape * share * defective

    seen, low, high = (
        per_part(one, other)
        for one, other in (
            (rejected.value, passed.value),
            (rejected.low, passed.low),
            (rejected.high, passed.high),
        )
    )
    more = clopper_pearson(rejected.count, rejected.total, _ONE_SIDED).low > basis.false_reject_rate
    warning = (
        f" More good parts are rejected than the {percent(basis.false_reject_rate)} that were thought the most when it was "
        "chosen, and chance does not explain it."
        if more
        else ""
    )
    return (
        f"{said}. With a false reject at {cost.false_reject:g}, an escape at {cost.escape:g} and {percent(share)} of parts "
        f"defective, a part costs {seen:.3g} by the rates seen here ({low:.3g} to {high:.3g} by their intervals); "
        f"{cost.cost_per_part:.3g} was expected ({cost.cost_low:.3g} to {cost.cost_high:.3g}).{warning}"
    )


def percent(share: float) -> str:
    """ "2.5 %", with as many digits as a rate deserves."""
    value = 100 * share
    if value in (0, 100) or value >= 9.95:
        return f"{value:.3g} %" if value >= 99.5 else f"{value:.1f} %".replace(".0 %", " %")
    return f"{value:.2g} %"


def rate_words(rate: Rate) -> str:
    """ "3 of 120 = 2.5 % (0.5 to 7.1 %)"."""
    if not rate.total:
        return "none judged"
    return f"{rate.count} of {rate.total} = {percent(rate.value)} ({percent(rate.low)[:-2]} to {percent(rate.high)})"


def _escapes(tally: Tally) -> str:
    rate = tally.parts
    if not rate.total:
        return "How many defective parts would pass is not known: none was judged."
    return (
        f"{rate.count} of {_parts(rate.total, 'defective')} passed (escapes): {percent(rate.value)}, between "
        f"{percent(rate.low)} and {percent(rate.high)} with 95 % confidence. Of 1,000 defective parts like these, expect "
        f"{per_thousand(rate)} to pass."
    )


def _false_rejects(tally: Tally) -> str:
    rate = tally.parts
    if not rate.total:
        return "How many good parts would be rejected is not known: none was judged."
    return (
        f"{rate.count} of {_parts(rate.total, 'good')} were rejected (false rejects): {percent(rate.value)}, between "
        f"{percent(rate.low)} and {percent(rate.high)} with 95 % confidence. Of 1,000 good parts like these, expect "
        f"{per_thousand(rate)} to be rejected."
    )


def per_thousand(rate: Rate) -> str:
    """ "3 to 12", the interval in parts per thousand, rounded outwards as far as a person reads."""
    return f"{round(1000 * rate.low)} to {round(1000 * rate.high)}"


def _unknown(tally: Tally) -> str:
    rate = tally.images
    if not rate.count:
        return ""
    return (
        f"{_number(rate.count, 'image')} could not be judged (UNKNOWN); on a line these parts are ejected. They are neither "
        "escapes nor false rejects here, but are among the parts counted."
    )


def _both(count: int) -> str:
    """Parts with good and defective images are counted on both sides."""
    return f", {count} of them on both sides because some images show the defect and some do not" if count else ""


def _parts(count: int, kind: str) -> str:
    return _number(count, f"{kind} part".strip())


def _number(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"
