"""/line: what the line does now, and commands to its stations."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from inspector.access.identity import Role
from inspector.part import Verdict
from inspector.signalling.commands import Command
from inspector.web.accounts.user import User
from inspector.web.api.access import needs
from inspector.web.commanding import give_command
from inspector.web.desk import Desk, in_thread
from inspector.web.words import line_state, station_state


class StationOut(BaseModel):
    """One station; counts are those of this shift, latencies of the last parts."""

    name: str
    state: str
    recipe: str
    bundle: str
    parts_per_s: float
    passed: int
    rejected: int
    unknown: int
    first_pass_yield: float | None
    p50_ms: float | None
    p99_ms: float | None


class LineOut(BaseModel):
    """The line at this moment. `lost` says why nothing of it can be believed, empty while the service is heard."""

    line: str
    state: str
    text: str
    lost: str
    stations: list[StationOut]


class AnswerOut(BaseModel):
    """What became of a command, in words; what was refused or failed is an error."""

    answer: str


def router(desk: Desk) -> APIRouter:
    """The live line."""
    routes = APIRouter(prefix="/line", tags=["line"])

    @routes.get("")
    async def get_line(user: User = needs(Role.VIEWER)) -> LineOut:
        """State, rates and counts."""
        now = desk.live.now()
        state = line_state(now)
        stations = []
        for one in now.stations:
            reading = one.report.reading if one.report is not None else None
            stations.append(
                StationOut(
                    name=one.name,
                    state=station_state(one).word,
                    recipe=reading.recipe if reading is not None else "",
                    bundle=reading.bundle if reading is not None else "",
                    parts_per_s=one.rate_hz,
                    passed=one.counts.get(Verdict.PASS, 0),
                    rejected=one.counts.get(Verdict.REJECT, 0),
                    unknown=one.counts.get(Verdict.UNKNOWN, 0),
                    first_pass_yield=one.first_pass_yield,
                    p50_ms=one.p50_ms,
                    p99_ms=one.p99_ms,
                )
            )
        return LineOut(line=desk.line, state=state.word, text=state.text, lost=now.lost, stations=stations)

    @routes.post("/stations/{name}/{command}")
    async def command(
        name: str, command: Literal["start", "stop", "acknowledge", "reset"], user: User = needs(Role.OPERATOR)
    ) -> AnswerOut:
        """Command a station, and wait for what becomes of it."""
        return AnswerOut(answer=await in_thread(give_command, desk, user, name, Command[command.upper()]))

    return routes
