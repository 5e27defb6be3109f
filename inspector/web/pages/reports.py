"""Reports: first pass yield, causes, whether the line is steady, and what wrong verdicts cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from nicegui import ui

from inspector.access.identity import Role
from inspector.errors import InvalidRequest
from inspector.records.tallies import known
from inspector.web.accounts.user import User
from inspector.web.desk import Desk, in_thread
from inspector.web.pages.page import Page
from inspector.web.reporting import gather
from inspector.web.reporting.document import report_body
from inspector.web.reporting.filters import exports, report_form
from inspector.web.reporting.markup import Markup, element
from inspector.web.reporting.question import Question, ask

_EXPORTS = (
    ("Print, or save as PDF", "/api/v1/reports/report.html", False),
    ("Save as HTML", "/api/v1/reports/report.html", True),
    ("Groups as CSV", "/api/v1/reports/groups.csv", True),
    ("Causes as CSV", "/api/v1/reports/causes.csv", True),
)


async def build(desk: Desk, user: User) -> None:
    """Fill the frame."""

    def made(question: Question) -> tuple[Markup, Markup]:
        form = report_form(
            question, known(desk.database, question.where.line), gather.calendar_of(desk), has_lots(desk)
        )
        return form, report_body(gather.report(desk, question))

    await show_answer(desk, made, _EXPORTS)


def has_lots(desk: Desk) -> bool:
    """Whether part ids name lots."""
    return desk.lot_of is not None


async def show_answer(
    desk: Desk, made: Callable[[Question], tuple[Markup, Markup]], files: Sequence[tuple[str, str, bool]]
) -> None:
    """A form, the answer to what the address asks, and its exports. `made` waits for the database, in a thread."""
    ui.add_head_html('<link rel="stylesheet" href="/static/report.css">')
    params = ui.context.client.request.query_params
    calendar = gather.calendar_of(desk)
    refused = Markup("")
    try:
        question = ask(params, desk.line, calendar, desk.clock())
        form, body = await in_thread(made, question)
    except InvalidRequest as error:
        refused = element("p", error, class_="refused", role="alert")
        question = ask({}, desk.line, calendar, desk.clock())
        form, body = await in_thread(made, question)
    # Made by `reporting.markup`, which takes everything for text that it has not made itself.
    ui.html(f"{refused}{form}{body}{exports(files, question, calendar)}", sanitize=False).classes("answer")


PAGE = Page(path="/reports", title="Reports", icon="query_stats", role=Role.VIEWER, build=build)
