"""Attribute agreement analysis: can those who tell good from defective be trusted, and each other?

After AIAG, Measurement Systems Analysis, 4th ed. 2010, chapter III section C: effectiveness, miss rate and false-alarm rate of
each appraiser against a reference, kappa between them and against it. A line with its model is an appraiser like any other.
"""

from __future__ import annotations

import enum
import itertools
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from inspector.quality.kappa import Kappa, cohen, fleiss
from inspector.quality.rates import Rate, rate

GOOD, UNSURE, DEFECTIVE = "good", "unsure", "defective"

Looks = Mapping[Hashable, Sequence[str]]
"""What an appraiser said of each part, one word a look, in their order: good, unsure or a class of defect."""
Reference = Mapping[Hashable, str]
"""What each part is, as far as that is known."""


class Grade(enum.Enum):
    """Where a rate stands between the two bars of AIAG."""

    ACCEPTABLE = "acceptable"
    MARGINAL = "marginally acceptable"
    UNACCEPTABLE = "unacceptable"
    UNKNOWN = "not known"


# AIAG MSA 4th ed., table III-C 5 and its text: acceptable, and marginally acceptable.
EFFECTIVENESS_BARS = (0.90, 0.80)
MISS_BARS = (0.02, 0.05)
FALSE_ALARM_BARS = (0.05, 0.10)
FEW_PARTS = 50
"""AIAG's study has 50 parts; a judgement of people on fewer says so."""


@dataclass(frozen=True, slots=True)
class Within:
    """How far an appraiser agrees with themselves, on the parts that they looked at more than once."""

    appraiser: str
    matched: Rate
    kappa: Kappa


@dataclass(frozen=True, slots=True)
class Pair:
    """How far two appraisers agree on the parts that both looked at; `matched` counts parts on which all their looks agree."""

    first: str
    second: str
    matched: Rate
    kappa: Kappa


@dataclass(frozen=True, slots=True)
class Against:
    """An appraiser held against the reference.

    `effectiveness` counts parts of which every look was right; misses are looks that called a defective part good, of all
    looks at defective parts, and false alarms the reverse. Who is unsure is not right, and neither misses nor alarms.
    """

    appraiser: str
    effectiveness: Rate
    misses: Rate
    false_alarms: Rate
    unsure: int
    kappa: Kappa

    @property
    def grades(self) -> tuple[Grade, Grade, Grade]:
        """Of effectiveness, misses and false alarms."""
        return (
            grade_of_effectiveness(self.effectiveness),
            _grade(self.misses, MISS_BARS),
            _grade(self.false_alarms, FALSE_ALARM_BARS),
        )

    @property
    def grade(self) -> Grade:
        """The worst of the three; not known if one of them is not and none fails."""
        order = (Grade.UNACCEPTABLE, Grade.UNKNOWN, Grade.MARGINAL, Grade.ACCEPTABLE)
        return min(self.grades, key=order.index)


@dataclass(frozen=True, slots=True)
class Study:
    """Everything at once. `together` is Fleiss' kappa over all looks of all; `all_right` counts parts that all got right."""

    appraisers: tuple[str, ...]
    parts: int
    within: tuple[Within, ...]
    pairs: tuple[Pair, ...]
    together: Kappa
    all_agree: Rate
    against: tuple[Against, ...]
    all_right: Rate


def decision(word: str) -> str:
    """A word as the decision that the line takes: good, defective or unsure."""
    return word if word in (GOOD, UNSURE) else DEFECTIVE


def decisions(looks: Looks) -> Looks:
    """Looks without the classes of defects."""
    return {part: tuple(decision(word) for word in said) for part, said in looks.items()}


def study(ratings: Mapping[str, Looks], references: Mapping[str, Reference]) -> Study:
    """Analyse what appraisers said. `references` has what each is held against; who has none is only compared with others."""
    names = tuple(ratings)
    parts = {part for looks in ratings.values() for part in looks}
    shared = [part for part in parts if all(part in ratings[name] for name in names)] if len(names) > 1 else []
    agreed = [part for part in shared if len({word for name in names for word in ratings[name][part]}) == 1]
    against = tuple(held_against(name, ratings[name], references[name]) for name in names if name in references)
    known = [part for part in shared if all(part in references.get(name, {}) for name in names)]
    right = [part for part in known if all(_is_right(ratings[n][part], references[n][part]) for n in names)]
    return Study(
        appraisers=names,
        parts=len(parts),
        within=tuple(w for w in (agreement_within(name, ratings[name]) for name in names) if w.matched.total),
        pairs=tuple(
            p
            for p in (agreement_between(a, ratings[a], b, ratings[b]) for a, b in itertools.combinations(names, 2))
            if p.matched.total
        ),
        together=fleiss([[word for looks in ratings.values() for word in looks.get(part, ())] for part in parts]),
        all_agree=rate(len(agreed), len(shared)),
        against=against,
        all_right=rate(len(right), len(known)),
    )


def agreement_within(appraiser: str, looks: Looks) -> Within:
    """An appraiser against themselves."""
    repeated = [said for said in looks.values() if len(said) > 1]
    matched = sum(len(set(said)) == 1 for said in repeated)
    return Within(appraiser, rate(matched, len(repeated)), fleiss(repeated))


def agreement_between(first: str, looks: Looks, second: str, others: Looks) -> Pair:
    """Two appraisers, first look against first look, second against second."""
    shared = [part for part in looks if part in others]
    matched = sum(len({*looks[part], *others[part]}) == 1 for part in shared)
    pairs = [(one, other, part) for part in shared for one, other in zip(looks[part], others[part], strict=False)]
    kappa = cohen([(one, other) for one, other, _ in pairs], [part for *_, part in pairs])
    return Pair(first, second, rate(matched, len(shared)), kappa)


def held_against(appraiser: str, looks: Looks, reference: Reference) -> Against:
    """An appraiser against what the parts are. Classes must agree too where looks and reference name them."""
    known = [part for part in looks if part in reference]
    right = sum(_is_right(looks[part], reference[part]) for part in known)
    taken = [(decision(word), decision(reference[part])) for part in known for word in looks[part]]
    defective = [word for word, truth in taken if truth == DEFECTIVE]
    good = [word for word, truth in taken if truth == GOOD]
    pairs = [(word, reference[part]) for part in known for word in looks[part]]
    return Against(
        appraiser,
        rate(right, len(known)),
        rate(defective.count(GOOD), len(defective)),
        rate(good.count(DEFECTIVE), len(good)),
        sum(word == UNSURE for word, _ in taken),
        cohen(pairs, [part for part in known for _ in looks[part]]),
    )


def _is_right(said: Sequence[str], truth: str) -> bool:
    return all(word == truth for word in said)


def grade_of_effectiveness(effectiveness: Rate) -> Grade:
    """By the bars for effectiveness, of which more is better."""
    if not effectiveness.total:
        return Grade.UNKNOWN
    good, marginal = EFFECTIVENESS_BARS
    value = effectiveness.value
    return Grade.ACCEPTABLE if value >= good else Grade.MARGINAL if value >= marginal else Grade.UNACCEPTABLE


def _grade(seen: Rate, bars: tuple[float, float]) -> Grade:
    if not seen.total:
        return Grade.UNKNOWN
    return (
        Grade.ACCEPTABLE if seen.value <= bars[0] else Grade.MARGINAL if seen.value <= bars[1] else Grade.UNACCEPTABLE
    )


# What parts are


def reference_by(experts: Sequence[Looks]) -> Reference:
    """What experts say, each by their last look: parts on which those who are sure agree."""
    said: dict[Hashable, set[str]] = {}
    for looks in experts:
        for part, words in looks.items():
            if words and words[-1] != UNSURE:
                said.setdefault(part, set()).add(words[-1])
    return {part: next(iter(words)) for part, words in said.items() if len(words) == 1}


def reference_by_others(ratings: Mapping[str, Looks], appraiser: str) -> Reference:
    """What more than half of the others who are sure say, so that nobody is held against themselves."""
    votes: dict[Hashable, list[str]] = {}
    for name, looks in ratings.items():
        if name == appraiser:
            continue
        for part, words in looks.items():
            if words and words[-1] != UNSURE:
                votes.setdefault(part, []).append(words[-1])
    winners = {part: max(sorted(set(words)), key=words.count) for part, words in votes.items()}
    return {part: word for part, word in winners.items() if votes[part].count(word) * 2 > len(votes[part])}
