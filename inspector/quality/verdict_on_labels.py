"""What an agreement study comes to, in words that say who passes which bar, on how many parts, and what is not shown."""

from __future__ import annotations

from collections.abc import Sequence

from inspector.quality.agreement import (
    EFFECTIVENESS_BARS,
    FALSE_ALARM_BARS,
    FEW_PARTS,
    MISS_BARS,
    Against,
    Grade,
    Study,
)
from inspector.quality.rates import Rate

_MEETS = {
    Grade.ACCEPTABLE: "passes",
    Grade.MARGINAL: "is marginal",
    Grade.UNACCEPTABLE: "fails",
    Grade.UNKNOWN: "cannot be judged",
}


def conclusion(found: Study, reference: str) -> tuple[str, ...]:
    """Sentences, the most important first. `reference` says in words what people are held against."""
    if not found.appraisers or not found.parts:
        return ("Nobody has labelled anything here: there is nothing to compare.",)
    said = [_of_appraiser(one) for one in found.against]
    if found.against:
        said.append(f"Reference: {reference}.")
    else:
        said.append(f"Nobody can be held against a reference ({reference}): let a second person label the same parts.")
    said += _repeats(found)
    if len(found.appraisers) > 1:
        said.append(f"All together: kappa {found.together.words}, on {found.parts:,} parts.")
    return tuple(said)


def _of_appraiser(one: Against) -> str:
    effectiveness, misses, alarms = one.grades
    bars = (
        f"effectiveness {_bar(one.effectiveness, effectiveness, EFFECTIVENESS_BARS, '≥')}",
        f"misses {_bar(one.misses, misses, MISS_BARS, '≤', 'no defective part among them')}",
        f"false alarms {_bar(one.false_alarms, alarms, FALSE_ALARM_BARS, '≤', 'no good part among them')}",
    )
    parts = one.effectiveness.total
    text = f"{one.appraiser} {_MEETS[one.grade]} on {parts:,} part{'s' if parts != 1 else ''}: {'; '.join(bars)}."
    if one.unsure:
        text += f" Could not tell {one.unsure:,} time{'s' if one.unsure != 1 else ''}."
    if 0 < parts < FEW_PARTS:
        text += f" {parts} parts are few to judge by: AIAG's study has {FEW_PARTS}."
    elif one.grade is not Grade.UNACCEPTABLE and _unproven(one):
        text += " The intervals reach past a bar that the figures meet: more parts would settle it."
    return text


def _bar(
    seen: Rate, grade: Grade, bars: tuple[float, float], sign: str, nothing: str = "no part with a reference"
) -> str:
    if grade is Grade.UNKNOWN:
        return f"not known, {nothing}"
    bar = bars[0] if grade is Grade.ACCEPTABLE else bars[1]
    return f"{seen.words}: {grade.value} ({sign} {bar * 100:.0f} %)"


def _unproven(one: Against) -> bool:
    """Whether a rate meets a bar that its interval does not."""
    effectiveness, misses, alarms = one.grades
    met = [
        (grade, bars, low_is_good, seen)
        for grade, bars, low_is_good, seen in (
            (effectiveness, EFFECTIVENESS_BARS, False, one.effectiveness),
            (misses, MISS_BARS, True, one.misses),
            (alarms, FALSE_ALARM_BARS, True, one.false_alarms),
        )
        if grade in (Grade.ACCEPTABLE, Grade.MARGINAL)
    ]
    for grade, bars, low_is_good, seen in met:
        bar = bars[0] if grade is Grade.ACCEPTABLE else bars[1]
        if (seen.high > bar) if low_is_good else (seen.low < bar):
            return True
    return False


def _repeats(found: Study) -> Sequence[str]:
    if not found.within:
        return (
            "Nobody looked at a part a second time without sight of the first: agreement with oneself is not known.",
        )
    return tuple(
        f"{one.appraiser} agrees with themselves on {one.matched.words} parts seen again; kappa {one.kappa.words}."
        for one in found.within
    )
