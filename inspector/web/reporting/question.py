"""What a report is asked for: the query of a page or route, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta

from inspector.errors import InvalidRequest
from inspector.quality.periods import By, Calendar
from inspector.quality.run_rules import RULE_SETS
from inspector.records.tallies import TallyFilter

DEFAULT_DAYS = 7
MAX_TEXT = 256


@dataclass(frozen=True, slots=True)
class Question:
    """A report's filters and how it shows what is left. `shift` counts from 1; 0 is all. `wide` widens control limits as
    groups vary; `classes` lets an agreement study tell defects apart; `experts` say what parts are, or else the others do.
    """

    where: TallyFilter
    by: By = By.SHIFT
    shift: int = 0
    rules: str = "western-electric"
    wide: bool = False
    classes: bool = False
    experts: tuple[str, ...] = ()


def ask(params: Mapping[str, str], line: str, calendar: Calendar, now: datetime) -> Question:
    """From a query: line, station, recipe, bundle, lot, shift, from, to, by, rules, wide, classes, expert (comma-separated).

    Days are those of the plant's clock, and `to` is the last of them; the last seven days if neither is given. Raises
    InvalidRequest.
    """
    texts = {name: _text(params, name) for name in ("station", "recipe", "bundle", "lot")}
    start, end = _days(params, calendar, now)
    where = TallyFilter(line=_text(params, "line") or line, start_time=start, end_time=end, **texts)
    rules = params.get("rules") or "western-electric"
    if rules not in RULE_SETS:
        raise InvalidRequest(f"there are no run rules {rules[:40]!a}: choose one of {', '.join(sorted(RULE_SETS))}")
    return Question(
        where=where,
        by=_by(params.get("by") or "shift"),
        shift=_shift(params.get("shift") or "0", calendar),
        rules=rules,
        wide=_flag(params, "wide"),
        classes=_flag(params, "classes"),
        experts=tuple(name for part in _text(params, "expert").split(",") if (name := part.strip())),
    )


def with_lot(question: Question, lot: str) -> Question:
    """The same question of one lot."""
    return replace(question, where=replace(question.where, lot=lot))


def words(question: Question, calendar: Calendar) -> str:
    """The filters in words, for the head of a page."""
    where = question.where
    said = [f"line {where.line}"]
    said += [f"{name} {value}" for name in ("station", "recipe", "bundle", "lot") if (value := getattr(where, name))]
    if question.shift:
        said.append(f"shift {calendar.shift_name(question.shift)}")
    if where.start_time is not None:
        said.append(f"from {calendar.local(where.start_time):%Y-%m-%d %H:%M}")
    if where.end_time is not None:
        said.append(f"to {calendar.local(where.end_time):%Y-%m-%d %H:%M}")
    return ", ".join(said)


def _text(params: Mapping[str, str], name: str) -> str:
    value = params.get(name, "").strip()
    if len(value) > MAX_TEXT:
        raise InvalidRequest(f"{name} has {len(value)} characters: give at most {MAX_TEXT}")
    return value


def _flag(params: Mapping[str, str], name: str) -> bool:
    value = params.get(name, "").lower()
    if value not in ("", "0", "1", "true", "false"):
        raise InvalidRequest(f"{name} is {value[:20]!a}: give 1 or 0")
    return value in ("1", "true")


def _by(value: str) -> By:
    try:
        return By(value)
    except ValueError as error:
        known = ", ".join(by.value for by in By)
        raise InvalidRequest(f"nothing is grouped by {value[:40]!a}: choose one of {known}") from error


def _shift(value: str, calendar: Calendar) -> int:
    count = len(calendar.shifts)
    if not (value.isascii() and value.isdecimal() and len(value) < 4 and int(value) <= count):
        raise InvalidRequest(f"there is no shift {value[:20]!a}: give 1 to {count}, or 0 for all")
    return int(value)


def _days(params: Mapping[str, str], calendar: Calendar, now: datetime) -> tuple[datetime, datetime]:
    today = datetime.combine(calendar.local(now).date(), time())
    end = _moment(params, "to", calendar, after=True)
    if end is None:
        end = calendar.moment(today + timedelta(days=1))
    start = _moment(params, "from", calendar, after=False)
    if start is None:
        start = calendar.moment(calendar.local(end - timedelta(microseconds=1)) - timedelta(days=DEFAULT_DAYS - 1))
        start = calendar.moment(datetime.combine(calendar.local(start).date(), time()))
    if start >= end:
        raise InvalidRequest("the report ends before it begins: give a day in from that is not after the one in to")
    return start, end


def _moment(params: Mapping[str, str], name: str, calendar: Calendar, *, after: bool) -> datetime | None:
    """A day, or a time with or without a zone; of a day in `to`, the end."""
    text = params.get(name, "").strip()
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
        if len(text) == len("2026-11-29") and after:
            moment += timedelta(days=1)
        aware = calendar.moment(moment) if moment.tzinfo is None else moment
        calendar.local(aware)
    except (ValueError, OverflowError, OSError) as error:
        raise InvalidRequest(f"{name} is {text[:40]!a}: give a day such as 2026-11-29, or a time") from error
    return aware
