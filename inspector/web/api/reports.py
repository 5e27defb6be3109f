"""/reports and /agreement: figures as JSON, documents to print, tables for spreadsheets."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from inspector.access.identity import Role
from inspector.web.accounts.user import User
from inspector.web.api.access import needs
from inspector.web.desk import Desk, in_thread
from inspector.web.reporting import gather
from inspector.web.reporting.document import agreement_body, document, report_body
from inspector.web.reporting.figures import Report
from inspector.web.reporting.filters import as_query
from inspector.web.reporting.question import Question, ask
from inspector.web.reporting.tables import appraisers_csv, causes_csv, groups_csv
from inspector.web.reporting.values import agreement_json, report_json

_CSV = "text/csv; charset=utf-8"


class Asked(BaseModel):
    """Filters. Days are those of the plant's clock, `to` is the last of them; the last seven days if neither is given."""

    line: str = ""
    station: str = ""
    recipe: str = ""
    bundle: str = ""
    lot: str = ""
    shift: str = ""
    from_: str = Field(default="", alias="from")
    to: str = ""
    by: str = ""
    rules: str = ""
    wide: str = ""
    classes: str = ""
    expert: str = ""


def router(desk: Desk) -> APIRouter:
    """Routes of reports and studies."""
    routes = APIRouter(tags=["reports"])
    _report_routes(routes, desk)
    _agreement_routes(routes, desk)
    return routes


def _question(desk: Desk, asked: Asked) -> Question:
    return ask(as_query(asked.model_dump(by_alias=True)), desk.line, gather.calendar_of(desk), desk.clock())


def _report_routes(routes: APIRouter, desk: Desk) -> None:
    async def answer(asked: Asked) -> Report:
        return await in_thread(gather.report, desk, _question(desk, asked))

    @routes.get("/reports")
    async def report(asked: Annotated[Asked, Query()], user: User = needs(Role.VIEWER)) -> dict[str, Any]:
        """Yield, causes, p-chart with broken rules, and costs."""
        return report_json(await answer(asked))

    @routes.get("/reports/report.html", response_class=Response)
    async def report_page(asked: Annotated[Asked, Query()], user: User = needs(Role.VIEWER)) -> Response:
        """The report as one HTML file that needs nothing else; browsers print it as PDF."""
        found = await answer(asked)
        page = document(f"Inspection report, {desk.line}", found.about, found.made, user.name, report_body(found))
        return _file(page, "text/html; charset=utf-8", _name(desk, found.made, "report.html"))

    @routes.get("/reports/groups.csv", response_class=Response)
    async def groups(asked: Annotated[Asked, Query()], user: User = needs(Role.VIEWER)) -> Response:
        """A row a group: counts, first pass yield, control limits, broken rules."""
        found = await answer(asked)
        return _file(groups_csv(found), _CSV, _name(desk, found.made, "groups.csv"))

    @routes.get("/reports/causes.csv", response_class=Response)
    async def causes(asked: Annotated[Asked, Query()], user: User = needs(Role.VIEWER)) -> Response:
        """A row a cause of what was not passed."""
        found = await answer(asked)
        return _file(causes_csv(found), _CSV, _name(desk, found.made, "causes.csv"))


def _agreement_routes(routes: APIRouter, desk: Desk) -> None:
    @routes.get("/agreement")
    async def agreement(asked: Annotated[Asked, Query()], user: User = needs(Role.VIEWER)) -> dict[str, Any]:
        """Attribute agreement analysis (AIAG MSA) of people and line on the parts that people labelled."""
        return agreement_json(await in_thread(gather.agreement, desk, _question(desk, asked)))

    @routes.get("/agreement/report.html", response_class=Response)
    async def agreement_page(asked: Annotated[Asked, Query()], user: User = needs(Role.VIEWER)) -> Response:
        """The study as one HTML file that needs nothing else; browsers print it as PDF."""
        found = await in_thread(gather.agreement, desk, _question(desk, asked))
        page = document(f"Agreement study, {desk.line}", found.about, found.made, user.name, agreement_body(found))
        return _file(page, "text/html; charset=utf-8", _name(desk, found.made, "agreement.html"))

    @routes.get("/agreement/appraisers.csv", response_class=Response)
    async def appraisers(asked: Annotated[Asked, Query()], user: User = needs(Role.VIEWER)) -> Response:
        """A row an appraiser: effectiveness, misses and false alarms with intervals, kappa."""
        found = await in_thread(gather.agreement, desk, _question(desk, asked))
        return _file(appraisers_csv(found), _CSV, _name(desk, found.made, "appraisers.csv"))


def _name(desk: Desk, made: Any, end: str) -> str:
    return f"{re.sub('[^A-Za-z0-9._-]', '-', desk.line)}-{made.astimezone():%Y-%m-%d}-{end}"


def _file(content: str, media_type: str, name: str) -> Response:
    headers = {"Content-Disposition": f'inline; filename="{name}"', "Cache-Control": "no-store"}
    return Response(content, media_type=media_type, headers=headers)
