"""An agreement study from what is on record: people, and the line with its model as one more appraiser."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from inspector.part import Verdict
from inspector.quality.agreement import (
    DEFECTIVE,
    GOOD,
    UNSURE,
    Looks,
    Reference,
    Study,
    decisions,
    reference_by,
    reference_by_others,
    study,
)
from inspector.quality.periods import Calendar
from inspector.quality.verdict_on_labels import conclusion
from inspector.records.looks import LookedAt
from inspector.web.reporting.question import Question

_SELECTED = (
    "Labelled parts are not a sample of production: mostly the line rejected them or came near it. What the line reaches here, "
    "it reaches on such parts."
)


@dataclass(frozen=True, slots=True)
class Agreement:
    """A study with what it comes to. `line` is the name that the line has among the appraisers, if it judged any part."""

    question: Question
    about: str
    made: datetime
    study: Study
    line: str
    sentences: tuple[str, ...]
    authors: tuple[str, ...]


def make_agreement(
    question: Question, about: str, made: datetime, calendar: Calendar, looked_at: Sequence[LookedAt]
) -> Agreement:
    """Hold everyone against the experts that the question names, or else against what the others say."""
    seen = [one for one in looked_at if not question.shift or calendar.shift(one.time) == question.shift]
    seen = [one for one in seen if one.looks]
    people = _people(seen)
    name, judged = _line(seen, people)
    authors = tuple(people)
    if not question.classes:
        people = {author: decisions(looks) for author, looks in people.items()}
        judged = decisions(judged)
    experts = [people.pop(author) for author in question.experts if author in people]
    everyone = {**people, name: judged} if judged else people
    references = _references(everyone, people, experts)
    found = study(everyone, references)
    basis = f"what {' and '.join(question.experts)} said last" if experts else "what most of the other people say"
    said = conclusion(found, basis)
    return Agreement(question, about, made, found, name, (*said, *([_SELECTED] if judged else ())), authors)


def _people(seen: Sequence[LookedAt]) -> dict[str, Looks]:
    """Looks by author, in the order of their names."""
    people: dict[str, dict[Hashable, tuple[str, ...]]] = {}
    for one in seen:
        for author, words in one.looks.items():
            people.setdefault(author, {})[one.line, one.sequence] = words
    return {author: people[author] for author in sorted(people)}


def _line(seen: Sequence[LookedAt], people: Mapping[str, Looks]) -> tuple[str, Looks]:
    """The line as an appraiser with one look at each part; UNKNOWN is "cannot tell"."""
    bundles = sorted({one.bundle for one in seen})
    about = bundles[0] if len(bundles) == 1 else f"{len(bundles)} bundles"
    name = f"the line ({about})"
    while name in people:
        name += "'"
    words = {Verdict.PASS: GOOD, Verdict.UNKNOWN: UNSURE}
    return name, {(one.line, one.sequence): (words.get(one.verdict) or one.defect_class or DEFECTIVE,) for one in seen}


def _references(
    everyone: Mapping[str, Looks], people: Mapping[str, Looks], experts: Sequence[Looks]
) -> dict[str, Reference]:
    if experts:
        by_experts = reference_by(experts)
        return dict.fromkeys(everyone, by_experts)
    return {name: reference_by_others(people, name) for name in everyone}
