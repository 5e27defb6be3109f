"""The vision state machine of one station in the address space: what it shows, and the events of its transitions."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from asyncua import Node, ua

from inspector.opcua import model as types
from inspector.opcua.events import ERROR, OK, Events, transition_fields
from inspector.opcua.model import Model
from inspector.opcua.states import Vision, transition_names, way

log = logging.getLogger(__name__)

_SYSTEM_STATES = {
    Vision.PREOPERATIONAL: 4,
    Vision.HALTED: 4,
    Vision.ERROR: 5,
    Vision.INITIALIZED: 2,
    Vision.READY: 2,
    Vision.SINGLE_EXECUTION: 1,
    Vision.CONTINUOUS_EXECUTION: 1,
}
"""SystemStateDataType: 1 production, 2 stand by, 4 scheduled and 5 unscheduled downtime."""


@dataclass
class _Level:
    """One machine of the two that are nested: its variables, and the nodes of its type's states and transitions by name."""

    current: Node
    current_id: Node
    last: Node
    last_id: Node
    nodes: dict[str, ua.NodeId] = field(default_factory=dict)


class Machine:
    """Shows one state at a time. `go` from one coroutine at a time."""

    def __init__(self, model: Model, events: Events) -> None:
        self._model = model
        self._events = events
        self._state = Vision.PREOPERATIONAL
        self._changed = asyncio.Condition()
        self._outer: _Level
        self._inner: _Level
        self._system_state: Node
        self.automatic: Node

    @property
    def state(self) -> Vision:
        return self._state

    async def build(self, system: Node) -> Node:
        """Complete the state machine below a VisionSystem; returns its node."""
        model = self._model
        machine = await model.child(system, "VisionStateMachine")
        self.automatic = await model.instantiate(machine, types.AUTOMATIC_MODE_TYPE, "AutomaticModeStateMachine")
        operational = await model.child(machine, "Operational")
        await operational.add_reference(self.automatic, ua.ObjectIds.HasSubStateMachine)
        self._outer = await self._level(machine, types.VISION_STATE_MACHINE_TYPE)
        self._inner = await self._level(self.automatic, types.AUTOMATIC_MODE_TYPE)
        described = ua.NodeId(types.SYSTEM_STATE_DESCRIPTION_TYPE, model.standard)
        self._system_state = await system.add_variable(
            ua.NodeId(f"{system.nodeid.Identifier}.SystemState", model.own),
            model.name("SystemState"),
            self._describe(Vision.PREOPERATIONAL, "the service was not heard of yet"),
            ua.VariantType.ExtensionObject,
            described,
        )
        await self._show(Vision.PREOPERATIONAL, "")
        return machine

    async def _level(self, machine: Node, kind: int) -> _Level:
        current = await machine.get_child("0:CurrentState")
        last = await machine.add_variable(
            ua.NodeId(f"{machine.nodeid.Identifier}.LastTransition", self._model.own),
            ua.QualifiedName("LastTransition", 0),
            ua.LocalizedText(""),
        )
        last_id = await last.add_property(
            ua.NodeId(f"{machine.nodeid.Identifier}.LastTransition.Id", self._model.own),
            ua.QualifiedName("Id", 0),
            ua.NodeId(),
        )
        level = _Level(current, await current.get_child("0:Id"), last, last_id)
        for child in await self._model.node(kind).get_children(nodeclassmask=ua.NodeClass.Object):
            level.nodes[(await child.read_browse_name()).Name] = child.nodeid
        return level

    async def go(
        self, state: Vision, why: str, by_method: str = "", entered: Callable[[Vision], Any] | None = None
    ) -> None:
        """Pass through all states on the way to `state`; `entered` is called (and awaited) in each."""
        for step in way(self._state, state):
            before, self._state = self._state, step
            await self._show(step, why)
            await self._tell(before, step, why, by_method)
            if entered is not None:
                await entered(step)
        async with self._changed:
            self._changed.notify_all()

    async def reaches(self, wanted: Callable[[Vision], bool], patience_s: float) -> bool:
        """Wait until a state is shown that is wanted; False if none comes in time."""
        async with self._changed:
            try:
                async with asyncio.timeout(patience_s):
                    await self._changed.wait_for(lambda: wanted(self._state))
            except TimeoutError:
                return False
        return True

    async def _show(self, state: Vision, why: str) -> None:
        await self._set(self._outer, state.top)
        await self._set(self._inner, state.value if state.is_operational else "")
        await self._system_state.write_value(ua.Variant(self._describe(state, why), ua.VariantType.ExtensionObject))

    def _describe(self, state: Vision, why: str) -> Any:
        return ua.SystemStateDescriptionDataType(
            State=ua.SystemStateDataType(_SYSTEM_STATES[state]),
            StateDescription=why[:200],
        )

    @staticmethod
    async def _set(level: _Level, name: str) -> None:
        await level.current.write_value(ua.LocalizedText(name or "not active"))
        await level.current_id.write_value(level.nodes.get(name, ua.NodeId()), ua.VariantType.NodeId)

    async def _tell(self, before: Vision, after: Vision, why: str, by_method: str) -> None:
        within = before.is_operational and after.is_operational
        level = self._inner if within else self._outer
        names = transition_names(before, after, by_method)
        name = next((one for one in names if one in level.nodes), "")
        await level.last.write_value(ua.LocalizedText(name))
        await level.last_id.write_value(level.nodes.get(name, ua.NodeId()), ua.VariantType.NodeId)
        sides = (before.value, after.value) if within else (before.top, after.top)
        ends = [(side, level.nodes[side]) for side in sides]
        fields = transition_fields((name, level.nodes.get(name, ua.NodeId())), *ends)
        message = f"{before.value} to {after.value}" + (f": {why}" if why else "")
        await self._events.tell(types.STATE_CHANGED_EVENT, message, OK, fields)
        if after is Vision.ERROR:
            await self._events.tell(types.ERROR_EVENT, why or "error", ERROR, fields)
        elif before is Vision.ERROR:
            await self._events.tell(types.ERROR_RESOLVED_EVENT, f"now {after.value}", OK, fields)
