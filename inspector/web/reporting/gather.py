"""Fetches what reports and studies are made of. Everything here waits for the database: call it in a thread."""

from __future__ import annotations

from inspector.errors import InvalidRequest
from inspector.quality.costs import Prices
from inspector.quality.periods import By, Calendar
from inspector.records.looks import agreed, looked_at
from inspector.records.lots import LotOf
from inspector.records.recipe_costs import recipe_costs
from inspector.records.tallies import tallies
from inspector.web.desk import Desk
from inspector.web.reporting.agreeing import Agreement, make_agreement
from inspector.web.reporting.figures import Report, make_report
from inspector.web.reporting.question import Question, words


def calendar_of(desk: Desk) -> Calendar:
    """The plant's shifts, by the clock of this machine."""
    return Calendar(desk.shifts)


def _lot_of(desk: Desk) -> LotOf:
    """How part ids name lots. Raises InvalidRequest if they name none: a figure of a lot would be one of all parts."""
    if desk.lot_of is None:
        raise InvalidRequest(
            f"the part ids of line {desk.line} name no lots, so nothing can be asked by lot: leave lots out, or say in the "
            "line file how part ids name them ([web] lot_pattern)"
        )
    return desk.lot_of


def report(desk: Desk, question: Question) -> Report:
    """The report that answers a question. RecordsError, InvalidRequest."""
    calendar = calendar_of(desk)
    lot_of = _lot_of(desk) if question.by is By.LOT or question.where.lot else None
    figures = tallies(desk.database, question.where, lot_of)
    said = agreed(desk.database, question.where, lot_of)
    prices = {
        name: Prices(costs.false_reject, costs.escape, costs.currency)
        for name, costs in recipe_costs(desk.database).items()
    }
    return make_report(question, words(question, calendar), desk.clock(), calendar, figures, said, prices)


def agreement(desk: Desk, question: Question) -> Agreement:
    """The study that answers a question. RecordsError."""
    calendar = calendar_of(desk)
    lot_of = _lot_of(desk) if question.where.lot else None
    said = looked_at(desk.database, question.where, lot_of)
    return make_agreement(question, words(question, calendar), desk.clock(), calendar, said)
