"""Commands to stations, given by people at the desk: who may, what became of it, and a row on record."""

from __future__ import annotations

from collections.abc import Mapping

from inspector.errors import InvalidRequest, NotFound
from inspector.signalling.commands import Answer, Command, Outcome
from inspector.signalling.signal import StationState
from inspector.web.accounts.user import User
from inspector.web.desk import Desk

OFFERED: Mapping[StationState, tuple[Command, ...]] = {
    StationState.NOT_READY: (),
    StationState.READY: (Command.STOP,),
    StationState.STOPPING: (),
    StationState.FAULT: (Command.ACKNOWLEDGE, Command.RESET),
    StationState.STOPPED: (Command.START,),
}
"""What makes sense in each state; the service has the last word."""
NAMES: Mapping[Command, str] = {
    Command.START: "Start",
    Command.STOP: "Stop",
    Command.ACKNOWLEDGE: "Acknowledge the fault",
    Command.RESET: "Reset",
}


def give_command(desk: Desk, user: User, station: str, command: Command) -> str:
    """Give a command and wait for what becomes of it, in words. NotFound, ServiceUnreachable, InvalidRequest."""
    if station not in desk.stations:
        raise NotFound(f"line {desk.line} has no station {station[:80]}: it has {', '.join(desk.stations)}")
    outcome = desk.commander.give(station, command, user.name)
    told = words_of(outcome)
    desk.audit(
        user, f"gave command {command.name.lower()}", station, {"answer": outcome.answer.name, "why": outcome.why.name}
    )
    if outcome.answer in (Answer.REFUSED, Answer.FAILED):
        raise InvalidRequest(f"{NAMES.get(command, command.name)} of station {station}: {told}")
    return told


def words_of(outcome: Outcome) -> str:
    """What became of a command."""
    answers = {
        Answer.DONE: "done",
        Answer.ACCEPTED: "it is being done",
        Answer.REFUSED: "refused",
        Answer.FAILED: "failed",
    }
    why = "" if not outcome.why else f" ({outcome.why.name.lower().replace('_', ' ')})"
    return f"{answers.get(outcome.answer, 'no answer')}{why}"
