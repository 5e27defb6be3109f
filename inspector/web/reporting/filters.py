"""The form above a report: what it is asked for, as a query that can be sent to others and kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from urllib.parse import urlencode

from inspector.quality.periods import By, Calendar
from inspector.quality.run_rules import RULE_SETS
from inspector.records.tallies import Known
from inspector.web.reporting.markup import Markup, element
from inspector.web.reporting.question import Question

_RULE_NAMES = {"western-electric": "Western Electric (4 rules)", "nelson": "Nelson (8 rules)"}
_EVERY = ("", "all")


def query(question: Question, calendar: Calendar) -> dict[str, str]:
    """A question as the query that asks it."""
    where = question.where
    found = {name: getattr(where, name) for name in ("line", "station", "recipe", "bundle", "lot")}
    if where.start_time is not None and where.end_time is not None:
        found["from"] = f"{calendar.local(where.start_time):%Y-%m-%dT%H:%M}"
        found["to"] = f"{calendar.local(where.end_time):%Y-%m-%dT%H:%M}"
    found |= {"by": question.by.value, "shift": str(question.shift or ""), "rules": question.rules}
    found |= {"wide": "1" if question.wide else "", "classes": "1" if question.classes else ""}
    found["expert"] = ",".join(question.experts)
    return {name: value for name, value in found.items() if value}


def report_form(question: Question, known: Known, calendar: Calendar, has_lots: bool) -> Markup:
    """Filters of a report."""
    groups = [(by.value, by.value) for by in By if has_lots or by is not By.LOT]
    return _form(
        *_common(question, known, calendar, has_lots),
        _select("Group by", "by", groups, question.by.value),
        _select("Rules", "rules", [(name, _RULE_NAMES[name]) for name in RULE_SETS], question.rules),
        _check("Widen limits (p′)", "wide", question.wide),
    )


def agreement_form(
    question: Question, known: Known, calendar: Calendar, has_lots: bool, authors: Sequence[str]
) -> Markup:
    """Filters of an agreement study; experts among the authors."""
    names = [("", "what the others say"), *((name, f"what {name} says") for name in authors)]
    expert = ",".join(question.experts)
    if expert and expert not in dict(names):
        names.append((expert, f"what {expert} say"))
    return _form(
        *_common(question, known, calendar, has_lots),
        _select("Reference", "expert", names, expert),
        _check("Tell classes apart", "classes", question.classes),
    )


def exports(paths: Sequence[tuple[str, str, bool]], question: Question, calendar: Calendar) -> Markup:
    """Links with the question in them: (words, path, whether it is saved and not opened)."""
    asked = urlencode(query(question, calendar))
    return element(
        "div",
        *(
            element(
                "a", said, href=f"{path}?{asked}", target=None if saved else "_blank", download="" if saved else None
            )
            for said, path, saved in paths
        ),
        class_="exports",
    )


def _common(question: Question, known: Known, calendar: Calendar, has_lots: bool) -> list[Markup]:
    where = question.where
    shifts = [("", "all"), *((str(n), name) for n, name in enumerate(calendar.shift_names, start=1))]
    made = []
    if len(known.lines) > 1:
        made.append(_select("Line", "line", [(name, name) for name in known.lines], where.line))
    for title, name, values in (
        ("Station", "station", known.stations),
        ("Recipe", "recipe", known.recipes),
        ("Bundle", "bundle", known.bundles),
    ):
        value = getattr(where, name)
        if len(values) > 1 or value:
            made.append(_select(title, name, [_EVERY, *((one, one) for one in values)], value))
    if has_lots:
        made.append(_input("Lot", "lot", "text", where.lot))
    made.append(_select("Shift", "shift", shifts, str(question.shift or "")))
    if where.start_time is not None and where.end_time is not None:
        last = calendar.local(where.end_time) - timedelta(microseconds=1)
        made.append(_input("From", "from", "date", f"{calendar.local(where.start_time):%Y-%m-%d}"))
        made.append(_input("To", "to", "date", f"{last:%Y-%m-%d}"))
    return made


def _form(*fields: Markup) -> Markup:
    return element("form", *fields, element("button", "Show", type="submit"), method="get", class_="panel filters")


def _select(title: str, name: str, values: Sequence[tuple[str, str]], chosen: str) -> Markup:
    found = list(values)
    if chosen and chosen not in dict(found):
        found.append((chosen, chosen))
    options = (element("option", said, value=value, selected="" if value == chosen else None) for value, said in found)
    return element("label", title, element("select", *options, name=name))


def _input(title: str, name: str, kind: str, value: str) -> Markup:
    return element("label", title, element("input", type=kind, name=name, value=value))


def _check(title: str, name: str, on: bool) -> Markup:
    box = element("input", type="checkbox", name=name, value="1", checked="" if on else None)
    return element("label", box, title, class_="check")


def as_query(values: Mapping[str, object]) -> dict[str, str]:
    """Values of a request as texts; what was not given is left out."""
    return {name: str(int(v) if isinstance(v, bool) else v) for name, v in values.items() if v not in (None, "", False)}
