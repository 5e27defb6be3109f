"""What clients wished for holds until it is seen to be done, whatever reports are still on their way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest
from loops import run_apart
from rpc_twin import TwinRecords, inspection

from inspector.opcua.book import Records
from inspector.opcua.states import Link, Vision, Wish, way
from inspector.opcua.vision import VisionSystem
from inspector.signalling.commands import Answer, Command, Fault, Outcome
from inspector.signalling.signal import StationReading, StationReport, StationState

READY, STOPPED = StationState.READY, StationState.STOPPED


class TwinMachine:
    """Keeps the states that it went through."""

    def __init__(self) -> None:
        self.state = Vision.PREOPERATIONAL
        self.passed: list[Vision] = []

    async def go(self, state: Vision, why: str, by_method: str, entered: Callable[[Vision], Any]) -> None:
        for step in way(self.state, state):
            self.state = step
            self.passed.append(step)
            await entered(step)


class TwinEvents:
    async def tell(self, *_: object) -> None:
        """Nobody subscribed."""


class Bench:
    """A VisionSystem with nothing around it; `given` are the commands that it gave."""

    def __init__(self) -> None:
        self.given: list[Command] = []

        async def give(station: str, command: Command, on_behalf_of: str, recipe: str) -> Outcome:
            self.given.append(command)
            return Outcome(Answer.DONE)

        self.system = VisionSystem(cast(Any, None), "a", "s1", cast(Records, TwinRecords()), give)
        self.system.machine = cast(Any, TwinMachine())
        self.system.events = cast(Any, TwinEvents())

    async def hear(self, *states: StationState) -> None:
        for state in states:
            reading = StationReading("s1", {"c1": True}, state, "r", "", 0)
            await self.system.hear(Link.UP, StationReport(reading, Fault.NONE, ()), True, "")

    @property
    def passed(self) -> list[Vision]:
        return cast(TwinMachine, self.system.machine).passed


@pytest.fixture(autouse=True)
def _no_types(monkeypatch: pytest.MonkeyPatch) -> None:
    """The standard's types are there only once the node set is loaded."""
    monkeypatch.setattr("inspector.opcua.vision.result_fields", lambda _: {})
    monkeypatch.setattr("inspector.opcua.structures.job", lambda job: job)


def test_a_halt_holds_although_a_report_from_before_it_comes_late() -> None:
    async def run() -> None:
        bench = Bench()
        await bench.hear(READY)
        bench.system.wish = Wish(halted=True)
        await bench.hear(READY, READY, STOPPED)
        assert bench.passed[-2:] == [Vision.CONTINUOUS_EXECUTION, Vision.HALTED]
        await bench.hear(READY)
        assert bench.system.wish == Wish()
        await bench.hear(STOPPED)
        assert bench.passed[-1] is Vision.READY

    run_apart(run())


def test_a_single_job_is_stopped_once_and_never_shown_as_a_continuous_one() -> None:
    async def run() -> None:
        bench = Bench()
        await bench.hear(STOPPED)
        bench.system.wish = Wish(single=True)
        await bench.hear(STOPPED, READY)
        for number in (1, 2, 3):
            await bench.system.tell(inspection(number))
            await asyncio.sleep(0)
        await bench.hear(READY, READY, STOPPED, STOPPED)
        assert bench.given == [Command.STOP]
        assert Vision.CONTINUOUS_EXECUTION not in bench.passed
        assert bench.passed[-2:] == [Vision.SINGLE_EXECUTION, Vision.READY]
        assert bench.system.wish == Wish()
        await bench.hear(READY)
        assert bench.passed[-1] is Vision.CONTINUOUS_EXECUTION

    run_apart(run())
