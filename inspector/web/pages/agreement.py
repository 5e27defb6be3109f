"""Agreement: can those who label be trusted, and the line with them?"""

from __future__ import annotations

from inspector.access.identity import Role
from inspector.records.tallies import known
from inspector.web.accounts.user import User
from inspector.web.desk import Desk
from inspector.web.pages.page import Page
from inspector.web.pages.reports import has_lots, show_answer
from inspector.web.reporting import gather
from inspector.web.reporting.document import agreement_body
from inspector.web.reporting.filters import agreement_form
from inspector.web.reporting.markup import Markup
from inspector.web.reporting.question import Question

_EXPORTS = (
    ("Print, or save as PDF", "/api/v1/agreement/report.html", False),
    ("Save as HTML", "/api/v1/agreement/report.html", True),
    ("Appraisers as CSV", "/api/v1/agreement/appraisers.csv", True),
)


async def build(desk: Desk, user: User) -> None:
    """Fill the frame."""

    def made(question: Question) -> tuple[Markup, Markup]:
        found = gather.agreement(desk, question)
        names = known(desk.database, question.where.line)
        form = agreement_form(question, names, gather.calendar_of(desk), has_lots(desk), found.authors)
        return form, agreement_body(found)

    await show_answer(desk, made, _EXPORTS)


PAGE = Page(path="/agreement", title="Agreement", icon="handshake", role=Role.VIEWER, build=build)
