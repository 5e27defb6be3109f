"""Events of one VisionSystem, told to those who subscribed to it and to those who subscribed to the Server object."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from asyncua import Node, ua
from asyncua.common.events import get_event_obj_from_type_node

from inspector.opcua.book import Result
from inspector.opcua.model import Model
from inspector.opcua.structures import fields_of

_KINDS = ua.VariantType
_SERVER = ua.NodeId(ua.ObjectIds.Server)
OK, WARNING, ERROR = 100, 500, 800
"""Severities, OPC 10000-5, 6.4.2."""


class Events:
    """Makes and tells events. One coroutine at a time may tell one kind."""

    def __init__(self, model: Model, source: Node, name: str) -> None:
        self._model = model
        self._source = source
        self._name = name

    async def declare(self, *kinds: int) -> None:
        """Say in the address space which kinds of events this system tells."""
        await self._source.set_event_notifier([ua.EventNotifier.SubscribeToEvents, ua.EventNotifier.HistoryRead])
        server = self._model.server.get_node(_SERVER)
        await server.add_reference(self._source, ua.ObjectIds.HasNotifier)
        for kind in kinds:
            await self._source.add_reference(self._model.node(kind), ua.ObjectIds.GeneratesEvent)

    async def make(
        self, kind: int, message: str, severity: int, fields: Mapping[str, tuple[Any, ua.VariantType]]
    ) -> Any:
        """An event with these fields, by their names in the standard; below a field "Transition" lies "Transition/Id"."""
        event: Any = await get_event_obj_from_type_node(self._model.node(kind))
        now = datetime.now(UTC)
        event.emitting_node = self._source.nodeid
        event.SourceNode, event.SourceName = self._source.nodeid, self._name
        event.EventId = uuid.uuid4().bytes
        event.Time = event.ReceiveTime = now
        event.Message = ua.LocalizedText(message)
        event.Severity = severity
        for name, (value, of) in fields.items():
            event.add_property(name, value, of)
        return event

    async def tell(
        self, kind: int, message: str, severity: int, fields: Mapping[str, tuple[Any, ua.VariantType]]
    ) -> None:
        """Tell everybody who subscribed."""
        event = await self.make(kind, message, severity, fields)
        service = self._model.server.iserver.subscription_service
        await service.trigger_event(event)
        event.emitting_node = _SERVER
        await service.trigger_event(event)


def result_fields(result: Result) -> dict[str, tuple[Any, ua.VariantType]]:
    """Fields of a ResultReadyEventType."""
    kinds = {
        "IsPartial": _KINDS.Boolean,
        "IsSimulated": _KINDS.Boolean,
        "ResultState": _KINDS.Int32,
        "CreationTime": _KINDS.DateTime,
        "ResultContent": _KINDS.Variant,
    }
    fields = fields_of(result)
    return {
        name: (value, kinds.get(name, _KINDS.ExtensionObject))
        for name, value in fields.items()
        if name != "HasTransferableDataOnFile"
    }


def transition_fields(
    transition: tuple[str, ua.NodeId], before: tuple[str, ua.NodeId], after: tuple[str, ua.NodeId]
) -> dict[str, tuple[Any, ua.VariantType]]:
    """Fields of a StateChangedEventType: names and nodes of a transition and its states."""
    fields: dict[str, tuple[Any, ua.VariantType]] = {}
    for name, (text, node) in (("Transition", transition), ("FromState", before), ("ToState", after)):
        fields[name] = (ua.LocalizedText(text), _KINDS.LocalizedText)
        fields[f"{name}/Id"] = (node, _KINDS.NodeId)
    return fields


def structure(value: Any) -> tuple[Any, ua.VariantType]:
    """A field that is a structure."""
    return value, _KINDS.ExtensionObject
