"""One station as a VisionSystem: follows what the service tells of it, and lets its methods command it."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from asyncua import Node, ua

from inspector.access.identity import Identity
from inspector.errors import ServiceUnreachable
from inspector.opcua import model as types
from inspector.opcua import structures
from inspector.opcua.book import Records, ResultBook
from inspector.opcua.events import OK, WARNING, Events, result_fields, structure
from inspector.opcua.machine import Machine
from inspector.opcua.model import Model
from inspector.opcua.states import Link, Vision, Wish, vision_state
from inspector.opcua.users import caller_host
from inspector.part import Inspection, Reason, Verdict
from inspector.signalling.commands import Answer, Command, Outcome
from inspector.signalling.signal import StationReport

log = logging.getLogger(__name__)

JOBS = 1000
Give = Callable[[str, Command, str, str], Awaitable[Outcome]]
"""Gives a command: station, command, on whose behalf, recipe."""
_NOT_JUDGED = {Reason.STATION_STOPPED, Reason.TRIGGER_GAP}


@dataclass(frozen=True, slots=True)
class Job:
    """A time in which parts were judged; its results have numbers after `after`."""

    id: str
    after: int


class VisionSystem:
    """All methods from the loop's thread; `book` may be asked from any."""

    def __init__(self, model: Model, line: str, station: str, records: Records, give: Give) -> None:
        self.model = model
        self.station = station
        self.report: StationReport | None = None
        self.wish = Wish()
        self.book = ResultBook(line, station, records, self._job_of)
        self.node: Node
        self.events: Events
        self.machine: Machine
        self._give = give
        self._link, self._alive, self._why = Link.NEVER, False, "the service was not heard of yet"
        self._by_method = ""
        self._jobs: deque[Job] = deque(maxlen=JOBS)
        self._next_job = self._ended_job = ""
        self._last_sequence = 0
        self._prepared = ""
        self._turn = asyncio.Lock()
        self._stops: set[asyncio.Task[None]] = set()

    async def build(self, parent: Node) -> Node:
        """Make the VisionSystem below `parent`; returns the node of its state machine."""
        model = self.model
        kind = ua.NodeId(types.VISION_SYSTEM_TYPE, model.standard)
        nodeid = ua.NodeId(self.station, model.own)
        name = ua.QualifiedName(self.station, model.own)
        self.node = await parent.add_object(nodeid, name, kind, instantiate_optional=False)
        self.events = Events(model, self.node, self.station)
        await self.events.declare(
            types.STATE_CHANGED_EVENT,
            types.ERROR_EVENT,
            types.ERROR_RESOLVED_EVENT,
            types.RECIPE_PREPARED_EVENT,
            types.JOB_STARTED_EVENT,
            types.READY_EVENT,
            types.RESULT_READY_EVENT,
        )
        self.machine = Machine(model, self.events)
        return await self.machine.build(self.node)

    # ------------------------------------------------------------------------------------------------ what the service tells

    async def hear(self, link: Link, report: StationReport | None, alive: bool, why: str) -> None:
        """How the station is now, or that the service cannot be heard and why."""
        self._link, self.report, self._alive, self._why = link, report, alive, why
        await self.refresh()

    async def refresh(self) -> None:
        """Show what was heard last, as the wishes of clients let it appear."""
        async with self._turn:
            if self.report is not None and self._link is Link.UP:
                await self._note_recipe(self.report)
            before = self.machine.state
            state = vision_state(self._link, self.report, self._alive, self.wish)
            await self.machine.go(state, self._why, self._by_method, self._enter)
            # Only once it is seen: a report that was sent before the command may come after its answer.
            if state is Vision.CONTINUOUS_EXECUTION and not before.is_executing:
                # Whoever started the station, the wishes to the contrary are over.
                self.wish = Wish()
            elif before is Vision.SINGLE_EXECUTION and not state.is_executing:
                self.wish = replace(self.wish, single=False)

    async def tell(self, inspection: Inspection) -> None:
        """A new result."""
        self._last_sequence = inspection.sequence
        result = self.book.add(inspection)
        severity = OK if inspection.verdict is Verdict.PASS else WARNING
        await self.events.tell(
            types.RESULT_READY_EVENT, f"{inspection.verdict.name} {inspection.name}", severity, result_fields(result)
        )
        first = self.machine.state is Vision.SINGLE_EXECUTION and self._ended_job != self.job_id
        if first and inspection.reason not in _NOT_JUDGED and self._job_of(inspection.sequence):
            self._ended_job = self.job_id
            # Apart from the results, which come on meanwhile.
            stop = asyncio.create_task(self._end_single())
            self._stops.add(stop)
            stop.add_done_callback(self._stops.discard)

    async def _end_single(self) -> None:
        outcome = await self._give(self.station, Command.STOP, "the single job that is done", "")
        if outcome.answer is not Answer.DONE:
            log.error("station %s goes on after its single job: %s", self.station, outcome.why.name)

    # ------------------------------------------------------------------------------------------------------ what clients ask

    async def command(self, who: Identity, command: Command, by_method: str, recipe: str = "") -> Outcome:
        """Give the service a command on behalf of a user. Raises ServiceUnreachable at once while it cannot be heard."""
        if self._link is not Link.UP:
            raise ServiceUnreachable(f"the service cannot be heard ({self._why}): the command was not given")
        self._by_method = by_method
        return await self._give(self.station, command, f"{who.name} at {caller_host()}", recipe)

    async def settle(self, wanted: Callable[[Vision], bool], patience_s: float = 3.0) -> bool:
        """Wait until what a method did is shown; the transitions until then are the method's."""
        await self.refresh()
        reached = await self.machine.reaches(wanted, patience_s)
        self._by_method = ""
        return reached

    def new_job(self) -> str:
        """The id of the job that begins with the next execution."""
        self._next_job = f"{self.station}/{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
        return self._next_job

    @property
    def recipe(self) -> str:
        """Name of the recipe that parts are judged by, empty while nothing is known."""
        return self.report.reading.recipe if self.report is not None else ""

    @property
    def job_id(self) -> str:
        """The job at work, or the last one."""
        return self._jobs[-1].id if self._jobs else ""

    async def _enter(self, state: Vision) -> None:
        if state.is_executing:
            self._jobs.append(Job(self._next_job or self.new_job(), self._last_sequence))
            self._next_job = ""
            started = {"JobId": structure(structures.job(self.job_id))}
            await self.events.tell(types.JOB_STARTED_EVENT, f"job {self.job_id}", OK, started)
        elif state is Vision.READY:
            await self.events.tell(types.READY_EVENT, "ready", OK, {"JobId": structure(structures.job(self.job_id))})

    async def _note_recipe(self, report: StationReport) -> None:
        reading = report.reading
        active = f"{reading.recipe}\0{reading.bundle}"
        if active == self._prepared or not reading.bundle:
            return
        self._prepared = active
        fields = {
            "ExternalId": structure(structures.external_recipe(reading.recipe)),
            "InternalId": structure(structures.internal_recipe(reading.recipe, reading.bundle)),
        }
        await self.events.tell(types.RECIPE_PREPARED_EVENT, f"recipe {reading.recipe}, {reading.bundle}", OK, fields)

    def _job_of(self, sequence: int) -> str:
        """Jobs are known since this program started; for results from before there is none."""
        return next((job.id for job in reversed(self._jobs.copy()) if job.after < sequence), "")
