"""History of results: reads of past ResultReady events are answered from the quality database."""

from __future__ import annotations

import asyncio
import logging
import struct
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from asyncua import ua
from asyncua.server.history import HistoryManager
from asyncua.server.internal_server import InternalServer
from asyncua.server.monitored_item_service import WhereClauseEvaluator

from inspector.errors import InspectorError
from inspector.opcua import model as types
from inspector.opcua.book import Found
from inspector.opcua.events import OK, WARNING, result_fields
from inspector.opcua.vision import VisionSystem
from inspector.part import Verdict

log = logging.getLogger(__name__)

MAX_EVENTS = 1000
"""Of one answer; the rest comes with the continuation point."""
_EARLIEST = datetime(1971, 1, 1, tzinfo=UTC)
_POINT = struct.Struct("<Q")


class ResultHistory(HistoryManager):
    """In place of asyncua's own history, which would keep a second copy of everything."""

    def __init__(self, iserver: InternalServer, systems: Mapping[ua.NodeId, VisionSystem]) -> None:
        super().__init__(iserver)
        self._systems = systems

    async def read_history(self, params: Any) -> list[Any]:
        """One answer for every node that is asked for."""
        if params.ReleaseContinuationPoints:
            return [ua.HistoryReadResult() for _ in params.NodesToRead]
        return [await self._read_events(params.HistoryReadDetails, one) for one in params.NodesToRead]

    async def _read_events(self, details: Any, wanted: Any) -> Any:
        system = self._systems.get(wanted.NodeId)
        if system is None or not isinstance(details, ua.ReadEventDetails):
            return _failed(ua.StatusCodes.BadHistoryOperationUnsupported)
        start, end = _time(details.StartTime), _time(details.EndTime)
        most = min(int(details.NumValuesPerNode or MAX_EVENTS), MAX_EVENTS)
        if sum((start is not None, end is not None, bool(details.NumValuesPerNode))) < 2:
            return _failed(ua.StatusCodes.BadHistoryOperationInvalid)
        try:
            point = _POINT.unpack(wanted.ContinuationPoint)[0] if wanted.ContinuationPoint else 0
            found = await asyncio.to_thread(_ask, system, start, end, point, most)
        except struct.error:
            return _failed(ua.StatusCodes.BadContinuationPointInvalid)
        except InspectorError as error:
            log.warning("the history of %s cannot be read: %s", system.station, error)
            return _failed(ua.StatusCodes.BadResourceUnavailable)
        return await self._answer(system, details.Filter, found)

    async def _answer(self, system: VisionSystem, wanted: Any, found: Found) -> Any:
        where = WhereClauseEvaluator(log, self.iserver.aspace, wanted.WhereClause)
        answer = ua.HistoryReadResult()
        history = ua.HistoryEvent()
        for result in found.results:
            inspection = result.inspection
            severity = OK if inspection.verdict is Verdict.PASS else WARNING
            about = f"{inspection.verdict.name} {inspection.name}"
            event = await system.events.make(types.RESULT_READY_EVENT, about, severity, result_fields(result))
            event.Time = event.ReceiveTime = inspection.decide_time
            event.EventId = inspection.name.encode()
            if where.eval(event):
                history.Events.append(ua.HistoryEventFieldList(event.to_event_fields(wanted.SelectClauses)))
        answer.HistoryData = history
        if not found.complete:
            answer.ContinuationPoint = _POINT.pack(found.next_sequence)
        return answer


def _ask(system: VisionSystem, start: datetime | None, end: datetime | None, point: int, most: int) -> Found:
    """Oldest first from `start` on; newest first if there is no start, or it is after the end (OPC 10000-11, 6.5.2)."""
    if start is None or (end is not None and start > end):
        assert end is not None or start is not None
        earlier, later = (end or _EARLIEST, start) if start is not None else (_EARLIEST, end)
        assert later is not None
        return system.book.before(earlier, later, point, most)
    return system.book.since(start, end or datetime.now(UTC), point, most)


def _time(value: Any) -> datetime | None:
    """A bound as it was sent; none is sent as the earliest time there is."""
    if not isinstance(value, datetime):
        return None
    aware = value if value.tzinfo else value.replace(tzinfo=UTC)
    return aware if aware > _EARLIEST else None


def _failed(code: int) -> Any:
    return ua.HistoryReadResult(StatusCode=ua.StatusCode(code))
