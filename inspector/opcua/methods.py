"""The methods of a VisionSystem: who may call them, what they ask of the service, what they answer.

A refusal is a status of the call where the standard has one (wrong state, no right, no such result); else the output `Error`
says why, in the numbers of `inspector.signalling.commands.Why`; 0 is success.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from asyncua import Node, ua

from inspector.access.identity import Identity, Role
from inspector.errors import (
    AccessDenied,
    BundleError,
    InspectorError,
    InvalidRequest,
    NotFound,
    Overloaded,
    RecordsError,
    ServiceUnreachable,
    SessionError,
)
from inspector.opcua import model as types
from inspector.opcua import structures
from inspector.opcua.book import Result
from inspector.opcua.states import Vision, Wish
from inspector.opcua.transfer import Transfers
from inspector.opcua.users import caller, caller_host
from inspector.opcua.vision import VisionSystem
from inspector.signalling.commands import Answer, Command, Outcome, Why
from inspector.signalling.signal import RecipeReading

log = logging.getLogger(__name__)

MAX_RESULTS = 1000
HANDLES = 256
TRUE, FALSE = 1, 0
Answered = Awaitable[Any]
Method = Callable[..., Answered]

# The first that fits counts, so a class stands before its base.
_STATUS: tuple[tuple[type[InspectorError], int], ...] = (
    (InvalidRequest, ua.StatusCodes.BadInvalidArgument),
    (AccessDenied, ua.StatusCodes.BadUserAccessDenied),
    (NotFound, ua.StatusCodes.BadNotFound),
    (Overloaded, ua.StatusCodes.BadTooManyOperations),
    (ServiceUnreachable, ua.StatusCodes.BadCommunicationError),
    (SessionError, ua.StatusCodes.BadCommunicationError),
    (BundleError, ua.StatusCodes.BadResourceUnavailable),
    (RecordsError, ua.StatusCodes.BadResourceUnavailable),
)


class _WrongState(Exception):
    """The method cannot be called in this state."""


class Methods:
    """Answers the methods of one VisionSystem."""

    def __init__(
        self, system: VisionSystem, transfers: Transfers, on_refused: Callable[[str, str, str, str], None]
    ) -> None:
        self._system = system
        self._transfers = transfers
        self._on_refused = on_refused
        self._handles: OrderedDict[int, None] = OrderedDict()
        self._next_handle = 0

    async def link(self, machine: Node) -> None:
        """Make every method that is served callable."""
        system, model = self._system, self._system.model
        results = await model.instantiate(system.node, types.RESULT_MANAGEMENT_TYPE, "ResultManagement")
        recipes = await model.instantiate(system.node, types.RECIPE_MANAGEMENT_TYPE, "RecipeManagement")
        automatic = system.machine.automatic
        outer, inner = types.VISION_STATE_MACHINE_TYPE, types.AUTOMATIC_MODE_TYPE
        table: list[tuple[Node, int, str, Role, int, Method]] = [
            (machine, outer, "Halt", Role.OPERATOR, 2, self._halt),
            (machine, outer, "Reset", Role.OPERATOR, 2, self._reset),
            (machine, outer, "SelectModeAutomatic", Role.OPERATOR, 0, self._select_automatic),
            (machine, outer, "ConfirmAll", Role.OPERATOR, 1, self._confirm_all),
            (automatic, inner, "StartContinuous", Role.OPERATOR, 5, self._start_continuous),
            (automatic, inner, "StartSingleJob", Role.OPERATOR, 5, self._start_single),
            (automatic, inner, "Stop", Role.OPERATOR, 2, self._stop),
            (automatic, inner, "Abort", Role.OPERATOR, 2, self._abort),
            (recipes, types.RECIPE_MANAGEMENT_TYPE, "GetRecipeListFiltered", Role.VIEWER, 6, self._list_recipes),
            (recipes, types.RECIPE_MANAGEMENT_TYPE, "ReleaseRecipeHandle", Role.VIEWER, 1, self._release),
            (recipes, types.RECIPE_MANAGEMENT_TYPE, "AddRecipe", Role.ENGINEER, 2, self._add),
            (recipes, types.RECIPE_MANAGEMENT_TYPE, "PrepareRecipe", Role.ENGINEER, 2, self._prepare),
            (recipes, types.RECIPE_MANAGEMENT_TYPE, "UnprepareRecipe", Role.ENGINEER, 2, self._unprepare),
            (results, types.RESULT_MANAGEMENT_TYPE, "GetResultById", Role.VIEWER, 2, self._result),
            (results, types.RESULT_MANAGEMENT_TYPE, "GetResultComponentsById", Role.VIEWER, 2, self._components),
            (results, types.RESULT_MANAGEMENT_TYPE, "GetResultListFiltered", Role.VIEWER, 12, self._list_results),
            (results, types.RESULT_MANAGEMENT_TYPE, "ReleaseResultHandle", Role.VIEWER, 1, self._release),
        ]
        for node, kind, name, right, count, method in table:
            await model.method(node, kind, name, self._guarded(name, right, count, method))
        await self._transfers.link(recipes, system.station, self._recipes, self._guarded)

    def _guarded(self, name: str, right: Role, count: int, method: Method) -> Callable[..., Answered]:
        async def call(_: ua.NodeId, *arguments: ua.Variant) -> Any:
            who = caller()
            if who.role < right:
                why = f"it needs the role {right.name.lower()} or a higher one"
                self._on_refused(f"{who.name} at {caller_host()}", f"OPC UA method {name}", self._system.station, why)
                return ua.StatusCode(ua.StatusCodes.BadUserAccessDenied)
            if len(arguments) != count:
                few = len(arguments) < count
                return ua.StatusCode(ua.StatusCodes.BadArgumentsMissing if few else ua.StatusCodes.BadTooManyArguments)
            try:
                return await method(who, *(argument.Value for argument in arguments))
            except _WrongState:
                return ua.StatusCode(ua.StatusCodes.BadInvalidState)
            except InspectorError as error:
                log.warning("%s of %s by %s: %s", name, self._system.station, who.name, error)
                kinds = (code for kind, code in _STATUS if isinstance(error, kind))
                return ua.StatusCode(next(kinds, ua.StatusCodes.BadUnexpectedError))
            except Exception:  # the outermost edge of a call
                log.exception("%s of %s by %s failed", name, self._system.station, who.name)
                return ua.StatusCode(ua.StatusCodes.BadUnexpectedError)

        return call

    # ---------------------------------------------------------------------------------------------------- vision state machine

    def _in(self, *states: Vision) -> None:
        if self._system.machine.state not in states:
            raise _WrongState

    async def _halt(self, who: Identity, *_: Any) -> list[ua.Variant]:
        system = self._system
        self._in(Vision.INITIALIZED, Vision.READY, Vision.SINGLE_EXECUTION, Vision.CONTINUOUS_EXECUTION)
        system.wish = replace(system.wish, halted=True)
        outcome = await system.command(who, Command.STOP, "Halt")
        if outcome.answer is not Answer.DONE:
            system.wish = replace(system.wish, halted=False)
        return [await self._error(outcome, lambda state: state is Vision.HALTED)]

    async def _reset(self, who: Identity, *_: Any) -> list[ua.Variant]:
        system = self._system
        outcome = await system.command(who, Command.RESET, "Reset")
        if outcome.answer is Answer.DONE:
            system.wish = Wish(single=system.wish.single)
        return [await self._error(outcome, lambda state: state.is_operational)]

    async def _select_automatic(self, who: Identity) -> list[ua.Variant]:
        """A station is in the automatic mode whenever it can be."""
        self._in(*(state for state in Vision if state.is_operational))
        return [_int(0)]

    async def _confirm_all(self, who: Identity, comment: Any) -> list[ua.Variant]:
        outcome = await self._system.command(who, Command.ACKNOWLEDGE, "ConfirmAll")
        await self._system.settle(lambda _: True)
        if outcome.answer is not Answer.DONE:
            raise _WrongState
        return []

    # ---------------------------------------------------------------------------------------------------------- automatic mode

    async def _start_continuous(
        self, who: Identity, meas: Any, part: Any, recipe: Any, product: Any, parameters: Any
    ) -> list[ua.Variant]:
        return await self._start(who, "StartContinuous", recipe, single=False)

    async def _start_single(
        self, who: Identity, meas: Any, part: Any, recipe: Any, product: Any, parameters: Any
    ) -> list[ua.Variant]:
        return await self._start(who, "StartSingleJob", recipe, single=True)

    async def _start(self, who: Identity, name: str, recipe: Any, *, single: bool) -> list[ua.Variant]:
        system = self._system
        self._in(Vision.READY)
        wanted = structures.recipe_name(recipe)
        if wanted not in ("", system.recipe):
            return [_structure(structures.job("")), _int(Why.UNKNOWN_RECIPE)]
        job_id = system.new_job()
        system.wish = replace(system.wish, single=single)
        outcome = await system.command(who, Command.START, name)
        if outcome.answer is not Answer.DONE:
            system.wish = replace(system.wish, single=False)
        error = await self._error(outcome, lambda _: system.job_id == job_id)
        return [_structure(structures.job(job_id if error.Value == 0 else "")), error]

    async def _stop(self, who: Identity, *_: Any) -> list[ua.Variant]:
        return await self._end(who, "Stop")

    async def _abort(self, who: Identity, *_: Any) -> list[ua.Variant]:
        return await self._end(who, "Abort")

    async def _end(self, who: Identity, name: str) -> list[ua.Variant]:
        self._in(Vision.SINGLE_EXECUTION, Vision.CONTINUOUS_EXECUTION)
        outcome = await self._system.command(who, Command.STOP, name)
        return [await self._error(outcome, lambda state: not state.is_executing)]

    async def _error(self, outcome: Outcome, shown: Callable[[Vision], bool]) -> ua.Variant:
        """The output `Error`, once the state shows what was done."""
        if outcome.answer is not Answer.DONE:
            await self._system.settle(lambda _: True)
            return _int(outcome.why or Why.INTERNAL_ERROR)
        reached = await self._system.settle(shown)
        return _int(0 if reached else Why.INTERNAL_ERROR)

    # ----------------------------------------------------------------------------------------------------------------- recipes

    def _recipes(self) -> tuple[RecipeReading, ...]:
        report = self._system.report
        if report is None:
            raise ServiceUnreachable("the service was not heard of yet")
        return report.recipes

    async def _list_recipes(
        self, who: Identity, external: Any, product: Any, prepared: Any, most: Any, start: Any, timeout: Any
    ) -> list[ua.Variant]:
        """All usable recipes are prepared at any time: their models are loaded and warm."""
        first, count = _index(start), _most(most)
        found = [one for one in self._recipes() if structures.recipe_matches(one, external)]
        if prepared in (TRUE, FALSE):
            found = [one for one in found if bool(one.fault) is (prepared == FALSE)]
        if structures.text_of(product):
            found = []
        page = found[first : first + count]
        recipes = [structures.internal_recipe(one.name, one.bundle) for one in page]
        return [
            _bool(first + count >= len(found)),
            _uint(len(page)),
            self._handle(),
            ua.Variant(recipes, ua.VariantType.ExtensionObject, is_array=True),
            _int(0),
        ]

    async def _add(self, who: Identity, external: Any, product: Any) -> Any:
        """Tells whether the station has a recipe, and changes nothing: recipes and their bundles come with the line file."""
        if structures.text_of(product):
            return ua.StatusCode(ua.StatusCodes.BadNotSupported)
        name = structures.recipe_name(external)
        if not name:
            raise InvalidRequest("the external id names no recipe")
        found = next((one for one in self._recipes() if one.name == name), None)
        internal = structures.internal_recipe(*(("", "") if found is None else (found.name, found.bundle)))
        nowhere = ua.Variant(ua.NodeId(), ua.VariantType.NodeId)
        why = Why.UNKNOWN_RECIPE if found is None else Why.NONE
        return [_structure(internal), nowhere, nowhere, _bool(False), _int(why)]

    async def _prepare(self, who: Identity, external: Any, internal: Any) -> list[ua.Variant]:
        system = self._system
        name = structures.recipe_name(external, internal)
        known = {one.name: one for one in self._recipes()}
        if name not in known:
            return [_structure(structures.internal_recipe("", "")), _bool(False), _int(Why.UNKNOWN_RECIPE)]
        outcome = await system.command(who, Command.CHANGE_RECIPE, "PrepareRecipe", name)
        if outcome.answer is Answer.DONE:
            system.wish = replace(system.wish, unprepared=False)
        error = await self._error(outcome, lambda state: state is not Vision.INITIALIZED)
        return [_structure(structures.internal_recipe(name, known[name].bundle)), _bool(error.Value == 0), error]

    async def _unprepare(self, who: Identity, external: Any, internal: Any) -> list[ua.Variant]:
        """Of the recipe in use, while the station is stopped; it stays loaded, and no job may start without preparing one."""
        system = self._system
        self._in(Vision.READY)
        name = structures.recipe_name(external, internal)
        known = {one.name: one for one in self._recipes()}
        if name != system.recipe or name not in known:
            return [_structure(structures.internal_recipe("", "")), _int(Why.UNKNOWN_RECIPE)]
        system.wish = replace(system.wish, unprepared=True)
        error = await self._error(Outcome(Answer.DONE), lambda state: state is Vision.INITIALIZED)
        return [_structure(structures.internal_recipe(name, known[name].bundle)), error]

    # ----------------------------------------------------------------------------------------------------------------- results

    async def _find(self, result_id: Any) -> Result:
        text = structures.text_of(result_id)
        return await asyncio.to_thread(self._system.book.get, text)

    async def _result(self, who: Identity, result_id: Any, timeout: Any) -> list[ua.Variant]:
        result = await self._find(result_id)
        return [self._handle(), _structure(structures.result_of(result)), _int(0)]

    async def _components(self, who: Identity, result_id: Any, timeout: Any) -> list[ua.Variant]:
        fields = structures.fields_of(await self._find(result_id))
        kinds: dict[str, Callable[[Any], ua.Variant]] = {
            "IsPartial": _bool,
            "IsSimulated": _bool,
            "ResultState": _int,
            "CreationTime": _time,
            "ResultContent": lambda content: ua.Variant(content, ua.VariantType.Variant, is_array=True),
        }
        rest = [kinds.get(name, _structure)(fields[name]) for name in _COMPONENTS]
        return [_bool(False), self._handle(), *rest, _int(0)]

    async def _list_results(
        self,
        who: Identity,
        state: Any,
        meas: Any,
        part: Any,
        external: Any,
        internal: Any,
        external_configuration: Any,
        internal_configuration: Any,
        product: Any,
        job_id: Any,
        most: Any,
        start: Any,
        timeout: Any,
    ) -> list[ua.Variant]:
        """Newest first."""
        first, count = _index(start), _most(most)
        question = structures.question_of(state, meas, part, external, internal, job_id)
        others = (external_configuration, internal_configuration, product)
        results: tuple[Result, ...] = ()
        complete = True
        if question is not None and not any(structures.text_of(one) for one in others):
            found = await asyncio.to_thread(self._system.book.find, question, first, count)
            results, complete = found.results, found.complete
        made = [structures.result_of(result) for result in results]
        return [
            _bool(complete),
            _uint(len(made)),
            self._handle(),
            ua.Variant(made, ua.VariantType.ExtensionObject, is_array=True),
            _int(0),
        ]

    def _handle(self) -> ua.Variant:
        """Answers are made anew for every call, so a handle holds nothing; it is good for being released."""
        self._next_handle = self._next_handle % 0xFFFF_FFFF + 1
        self._handles[self._next_handle] = None
        if len(self._handles) > HANDLES:
            self._handles.popitem(last=False)
        return _uint(self._next_handle)

    async def _release(self, who: Identity, handle: Any) -> list[ua.Variant]:
        if self._handles.pop(_index(handle), self) is self:
            raise InvalidRequest(f"{handle!r:.40} is no handle that was given out and not released")
        return [_int(0)]


_COMPONENTS = (
    "IsPartial",
    "IsSimulated",
    "ResultState",
    "MeasId",
    "PartId",
    "ExternalRecipeId",
    "InternalRecipeId",
    "ProductId",
    "ExternalConfigurationId",
    "InternalConfigurationId",
    "JobId",
    "CreationTime",
    "ProcessingTimes",
    "ResultContent",
)
"""Outputs of GetResultComponentsById, in their order, without the handle and what stands around them."""


def _most(asked: Any) -> int:
    """How many at once; 0 asks for as many as there are, which is bounded. InvalidRequest."""
    return min(_index(asked) or MAX_RESULTS, MAX_RESULTS)


def _index(asked: Any) -> int:
    if not isinstance(asked, int) or isinstance(asked, bool) or not 0 <= asked < 1 << 32:
        raise InvalidRequest(f"got {asked!r:.40}, expected a number from 0")
    return asked


def _int(value: int) -> ua.Variant:
    return ua.Variant(int(value), ua.VariantType.Int32)


def _uint(value: int) -> ua.Variant:
    return ua.Variant(value, ua.VariantType.UInt32)


def _bool(value: bool) -> ua.Variant:
    return ua.Variant(value, ua.VariantType.Boolean)


def _time(value: Any) -> ua.Variant:
    return ua.Variant(value, ua.VariantType.DateTime)


def _structure(value: Any) -> ua.Variant:
    return ua.Variant(value, ua.VariantType.ExtensionObject)
