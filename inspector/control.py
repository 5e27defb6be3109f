"""Carries out what is asked of the stations: start, stop, changeover, acknowledge, reset, golden check.

    PLC, API ──command──▶ ControlDesk ──▶ pipeline (from the next part on)
        ◀──────answer──────────┘  └──▶ audit log, and what a restart must remember

Commands are done one after the other by a thread of their own; a golden check, which takes as long as its images, by another,
through the same queue as parts and one image at a time, so that no part waits for more than one of them.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import threading
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from inspector.errors import GoldenMismatch, InspectorError, Overloaded, PromotionRefused
from inspector.pipeline import Pipeline
from inspector.signalling.commands import Answer, Command, Fault, Outcome, PlcWatch, Request, Why
from inspector.signalling.signal import RecipeReading, StationReading, StationReport
from inspector.station import Setup

log = logging.getLogger(__name__)

MAX_WAITING = 64
LOOK_S = 0.5
REMEMBERED_FILE = "stations.json"
_MAX_REMEMBERED_BYTES = 1 << 20


class Teller(Protocol):
    """Who shows the PLC what became of its commands: `ModbusSignal`."""

    def answer(self, request: Request, outcome: Outcome) -> None: ...

    def show_fault(self, station: str, fault: Fault) -> None: ...


Answered = Callable[[Request, Outcome], None]
"""Tells whoever gave a command what became of it. Must not block."""

Note = Callable[[str, str, Mapping[str, object], str], None]
"""Puts on record: action, subject, details, actor. Must not block."""


@dataclass(frozen=True, slots=True)
class _Order:
    """A command, and who is told what becomes of it."""

    request: Request
    answered: Answered


@dataclass(frozen=True, slots=True)
class StationMemory:
    """What a station was told to do, to be done again after a restart."""

    recipe: str
    stopped: bool


class ControlDesk:
    """Takes commands for the stations of one line. `submit` and `tell_watch` never block; `close` ends the threads."""

    def __init__(
        self,
        pipeline: Pipeline,
        setups: Mapping[str, Mapping[str, Setup]],
        check: Callable[[str], int],
        teller: Teller,
        note: Note,
        remembered: Path,
    ) -> None:
        """`setups` are by station and recipe. `check` proves the models of a recipe again: how many images were
        looked at; it raises InspectorError if they do not hold."""
        self._pipeline = pipeline
        self._setups = {station: dict(own) for station, own in setups.items()}
        self._check = check
        self._teller = teller
        self._note = note
        self._remembered = remembered
        self._faults = dict.fromkeys(setups, Fault.NONE)
        # Under the lock, so that no changeover slips past a check that fails meanwhile, or past a promotion.
        self._checking: set[str] = set()
        self._withdrawn: set[str] = set()
        self._lock = threading.Lock()
        self._queue: queue.Queue[_Order | None] = queue.Queue(MAX_WAITING)
        self._thread = threading.Thread(target=self._work, name="control", daemon=True)
        self._checks: list[threading.Thread] = []
        for station in setups:
            if not pipeline.setup_of(station).is_usable:
                self._show(station, Fault.NO_BUNDLE)
        self._thread.start()

    def submit(self, request: Request, answered: Answered | None = None) -> None:
        """Take a command; beyond `MAX_WAITING` it is refused at once. Its answer goes to `answered`, or else to the PLC."""
        order = _Order(request, answered or self._teller.answer)
        try:
            self._queue.put_nowait(order)
        except queue.Full:
            self._end(order, Outcome(Answer.REFUSED, Why.BUSY))

    def report(self) -> list[StationReport]:
        """How the stations are now."""
        return [self._report(reading) for reading in self._pipeline.stations]

    def alive(self) -> bool:
        """Whether deadlines are kept."""
        return self._pipeline.alive()

    @property
    def line(self) -> str:
        return self._pipeline.line

    def _report(self, reading: StationReading) -> StationReport:
        with self._lock:
            withdrawn = set(self._withdrawn)
            own = dict(self._setups[reading.name])
        recipes = []
        for name, setup in own.items():
            fault = setup.fault if not setup.is_usable else "its golden check failed" if name in withdrawn else ""
            recipes.append(RecipeReading(name, setup.recipe.bundle, fault))
        return StationReport(reading, self._faults[reading.name], tuple(recipes))

    def take_over(self, recipe: str, setup: Setup, prove: Callable[[], object], commit: Callable[[], None]) -> None:
        """Let every station that has the recipe judge by `setup` where it judged by that recipe, from its next part on.

        `prove` is called before, if the recipe failed its golden check, and proves every view of it: a promotion exchanges
        one, and the fault may be another's. `commit` is called at a moment when nothing else changes. What either raises
        leaves all as it was. Raises PromotionRefused while golden images of the recipe are looked at.
        """
        with self._lock:
            concerned = [station for station, own in self._setups.items() if recipe in own]
            if checking := sorted(self._checking.intersection(concerned)):
                raise PromotionRefused(
                    f"a golden check of station {checking[0]} runs: try again when it has its answer"
                )
            # As a check does: nothing else may be proved, promoted or changed over to meanwhile.
            self._checking.update(concerned)
            withdrawn = recipe in self._withdrawn
        try:
            if withdrawn:
                prove()
            with self._lock:
                commit()
                self._withdrawn.discard(recipe)
                for station in concerned:
                    self._setups[station][recipe] = setup
                for station in self._judging_by(recipe):
                    self._pipeline.change_recipe(station, setup)
        finally:
            with self._lock:
                self._checking.difference_update(concerned)

    def tell_watch(self, station: str, watch: PlcWatch) -> None:
        """The PLC of a station fell silent, or is there again."""
        if watch is PlcWatch.SILENT:
            log.error("the PLC of station %s lets its heartbeat stand still: is anybody ejecting parts?", station)
        else:
            log.info("the PLC of station %s is alive", station)
        self._note(f"saw its PLC {watch.name.lower()}", station, {}, "service")

    def close(self) -> None:
        """Do what waits, and end."""
        self._queue.put(None)
        self._thread.join()
        for thread in self._checks:
            thread.join()

    def _work(self) -> None:
        while True:
            try:
                order = self._queue.get(timeout=LOOK_S)
            except queue.Empty:
                self._look_at_journal()
                continue
            if order is None:
                return
            client = order.request.client
            outcome: Outcome | None
            try:
                outcome = self._do(order)
            except InspectorError as error:
                log.error("a command of %s failed: %s", client, error)
                outcome = Outcome(Answer.FAILED, Why.INTERNAL_ERROR)
            except Exception:  # the thread's outermost edge: the client is told, and the next command is done
                log.exception("a command of %s failed", client)
                outcome = Outcome(Answer.FAILED, Why.INTERNAL_ERROR)
            if outcome is not None:
                self._end(order, outcome)

    def _look_at_journal(self) -> None:
        """A journal that fails is a fault of every station, shown until it is acknowledged."""
        if not self._pipeline.journal_works:
            for station, fault in self._faults.items():
                if fault is Fault.NONE:
                    self._show(station, Fault.JOURNAL)

    def _end(self, order: _Order, outcome: Outcome) -> None:
        """On record before it is told, so that whoever has the answer finds it there."""
        self._record(order.request, outcome)
        order.answered(order.request, outcome)

    def _do(self, order: _Order) -> Outcome | None:
        """Carry out a command; None if its answer comes later."""
        request = order.request
        station = request.station
        try:
            command = Command(request.command)
        except ValueError:
            return Outcome(Answer.REFUSED, Why.UNKNOWN_COMMAND)
        with self._lock:
            if station in self._checking and command is not Command.STOP:
                return Outcome(Answer.REFUSED, Why.BUSY)
        if command is Command.STOP:
            self._pipeline.run_station(station, False)
        elif command is Command.START:
            if not self._pipeline.setup_of(station).is_usable:
                return Outcome(Answer.REFUSED, Why.NO_BUNDLE)
            self._pipeline.run_station(station, True)
        elif command is Command.CHANGE_RECIPE:
            return self._change(request)
        elif command is Command.ACKNOWLEDGE:
            return self._acknowledge(station)
        else:
            return self._begin_check(order, resets=command is Command.RESET)
        self._remember()
        return Outcome(Answer.DONE)

    def _change(self, request: Request) -> Outcome:
        """Changeover: the model is warm already, so this is done at once."""
        station = request.station
        with self._lock:
            own = self._setups[station]
            if request.recipe:
                found = [own[request.recipe]] if request.recipe in own else []
            else:
                found = [setup for name, setup in own.items() if recipe_code(name) == request.recipe_code]
            if not found:
                return Outcome(Answer.REFUSED, Why.UNKNOWN_RECIPE)
            if not found[0].is_usable or found[0].recipe.name in self._withdrawn:
                return Outcome(Answer.REFUSED, Why.NO_BUNDLE)
            self._pipeline.change_recipe(station, found[0])
        self._remember()
        return Outcome(Answer.DONE)

    def _acknowledge(self, station: str) -> Outcome:
        if not self._pipeline.setup_of(station).is_usable or not self._pipeline.journal_works:
            return Outcome(Answer.REFUSED, Why.FAULT_PERSISTS)
        self._show(station, Fault.NONE)
        return Outcome(Answer.DONE)

    def _begin_check(self, order: _Order, *, resets: bool) -> Outcome | None:
        """Look at the golden images in a thread of its own, which answers when it is done."""
        request = order.request
        recipe = self._pipeline.setup_of(request.station).recipe.name
        if not self._setups[request.station][recipe].is_usable:
            return Outcome(Answer.REFUSED, Why.NO_BUNDLE)
        with self._lock:
            if request.station in self._checking:  # a promotion that began after the command was looked at
                return Outcome(Answer.REFUSED, Why.BUSY)
            self._checking.add(request.station)
        arguments = (order, recipe, resets)
        thread = threading.Thread(target=self._run_check, args=arguments, name="golden-check", daemon=True)
        self._checks = [one for one in self._checks if one.is_alive()] + [thread]
        order.answered(request, Outcome(Answer.ACCEPTED))
        thread.start()
        return None

    def _run_check(self, order: _Order, recipe: str, resets: bool) -> None:
        station = order.request.station
        with self._lock:
            others = sorted(self._withdrawn & set(self._setups[station]) - {recipe}) if resets else []
        outcomes = [self._prove(one, resets) for one in (recipe, *others)]
        outcome = next((one for one in outcomes if one.answer is not Answer.DONE), outcomes[0])
        if resets and outcome.answer is Answer.DONE and self._pipeline.journal_works:
            self._show(station, Fault.NONE)
        with self._lock:
            self._checking.discard(station)
        self._end(order, outcome)

    def _prove(self, recipe: str, resets: bool) -> Outcome:
        """Look at the golden images of a recipe: without success nobody judges by it, with it and `resets` they do again."""
        try:
            checked = self._check(recipe)
        except Overloaded as error:
            log.warning("the golden images of recipe %s were not all judged: %s", recipe, error)
            return Outcome(Answer.FAILED, Why.BUSY)
        except InspectorError as error:
            log.error("the golden check of recipe %s failed, its stations give UNKNOWN: %s", recipe, error)
            self._withdraw(recipe, str(error))
            checked, failed = (error.checked, error.failed) if isinstance(error, GoldenMismatch) else (0, 0)
            return Outcome(Answer.FAILED, Why.CHECK_FAILED, checked, failed)
        except Exception:  # the thread's outermost edge: an unproved model must not go on judging
            log.exception("the golden check of recipe %s failed", recipe)
            self._withdraw(recipe, "the golden check failed; the log has the fault")
            return Outcome(Answer.FAILED, Why.INTERNAL_ERROR)
        if resets:
            with self._lock:
                self._withdrawn.discard(recipe)
                for station in self._judging_by(recipe):
                    self._pipeline.change_recipe(station, self._setups[station][recipe])
        return Outcome(Answer.DONE, checked=checked)

    def _judging_by(self, recipe: str) -> list[str]:
        return [station for station in self._setups if self._pipeline.setup_of(station).recipe.name == recipe]

    def _withdraw(self, recipe: str, fault: str) -> None:
        """Let no station judge by a recipe whose model no longer gives what was recorded."""
        with self._lock:
            self._withdrawn.add(recipe)
            concerned = self._judging_by(recipe)
            for station in concerned:
                active = self._pipeline.setup_of(station)
                self._pipeline.change_recipe(station, Setup(active.recipe, {}, fault))
        for station in concerned:
            self._show(station, Fault.CHECK_FAILED)

    def _show(self, station: str, fault: Fault) -> None:
        self._faults[station] = fault
        self._teller.show_fault(station, fault)

    def _record(self, request: Request, outcome: Outcome) -> None:
        names = {int(command): command.name.lower().replace("_", " ") for command in Command}
        details: dict[str, object] = {"answer": outcome.answer.name}
        if outcome.why:
            details["why"] = outcome.why.name
        if request.command == Command.CHANGE_RECIPE:
            details["recipe"] = self._pipeline.setup_of(request.station).recipe.name
        action = f"command {names.get(request.command, request.command)}"
        self._note(action, request.station, details, request.client)

    def _remember(self) -> None:
        """Keep what the stations were told, for the next start. Not being able to is told and costs no command."""
        told = {
            station: {
                "recipe": self._pipeline.setup_of(station).recipe.name,
                "stopped": not self._pipeline.is_running(station),
            }
            for station in self._setups
        }
        draft = self._remembered.with_suffix(".draft")
        try:
            with draft.open("w", encoding="utf-8") as stream:
                stream.write(json.dumps({"version": 1, "stations": told}, indent=1))
                stream.flush()
                os.fsync(stream.fileno())
            draft.replace(self._remembered)
        except OSError as error:
            log.error("after a restart the stations will not know what they were told: %s", error)


def recipe_code(name: str) -> int:
    """The number by which a PLC names a recipe: CRC-32 (IEEE 802.3) of its name in UTF-8."""
    return zlib.crc32(name.encode("utf-8"))


def read_memory(path: Path) -> dict[str, StationMemory]:
    """What stations were told before the restart; empty, and logged, if that cannot be read."""
    try:
        with path.open("rb") as stream:
            document = json.loads(stream.read(_MAX_REMEMBERED_BYTES))
        if document["version"] != 1:
            raise ValueError("written by another version")
        found = {}
        for station, told in document["stations"].items():
            if not isinstance(told["recipe"], str) or not isinstance(told["stopped"], bool):
                raise ValueError(f"nonsense about station {station}")
            found[str(station)] = StationMemory(told["recipe"], told["stopped"])
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        log.error("%s cannot be read (%s): the stations begin as the line file says", path, error)
        return {}
    return found
