"""The API's calls: convert, call, convert. Every error leaves as a status (see `inspector/rpc/status.py`)."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import grpc

from inspector.errors import InvalidRequest
from inspector.part import Frame, Inspection
from inspector.rpc import convert
from inspector.rpc.camera_stream import CameraStreams
from inspector.rpc.convert import FrameFault
from inspector.rpc.door import Door
from inspector.rpc.ports import Inspector, Pictures, Records
from inspector.rpc.sharing import FrameSharing
from inspector.rpc.slots import Slots
from inspector.rpc.status import as_status
from inspector.rpc.watch import Watchers
from inspector.v1 import inspection_service_pb2 as api
from inspector.v1 import inspection_service_pb2_grpc

CHUNK_BYTES = 256 << 10
# Far above what a camera leaves unread while it works, and the verdicts of one gap (max_gap, 1000 by default) fit.
MAX_UNREAD = 10_000
# What a watcher may be behind before it is sent to the database: bounds its memory at about a megabyte.
MAX_WAITING = 1000


class InspectionServicer(inspection_service_pb2_grpc.InspectionServiceServicer):
    """Serves one line. `Inspect` takes its requests as serialised messages, see `inspector/wire.py`."""

    def __init__(
        self,
        inspector: Inspector,
        records: Records,
        pictures: Pictures,
        *,
        max_streams: int,
        max_watchers: int,
        max_reads: int,
        door: Door | None = None,
        frames_hz: float = 0.0,
        shared_bytes: int = 0,
        max_unread: int = MAX_UNREAD,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        self._inspector = inspector
        self._records = records
        self._pictures = pictures
        self._door = door or Door()
        self._sharing = FrameSharing(shared_bytes)
        self._cameras = CameraStreams(inspector, self._door, max_unread, frames_hz, self._sharing)
        self._watchers = Watchers(inspector, records, max_waiting)
        self._stream_slots = Slots("camera streams", max_streams, "close one, or raise max_streams in the line file")
        self._watcher_slots = Slots("watches", max_watchers, "close one")
        self._read_slots = Slots("other calls", max_reads, "try again in a moment")

    def start(self) -> None:
        """Before the first call comes."""
        self._sharing.start()

    def stop(self) -> None:
        """Take in no more frames; end camera streams once their parts in flight are answered, and watches at once."""
        self._sharing.stop()
        self._cameras.stop()
        self._watchers.stop()

    def Inspect(
        self, request_iterator: Iterator[bytes], context: grpc.ServicerContext
    ) -> Iterator[api.InspectResponse]:
        with as_status(context):
            # Before a place is taken: whose certificate counts no more must not keep cameras out.
            self._door.known(context, "stream")
            with self._stream_slots.one():
                yield from self._cameras.serve(request_iterator, context)

    def InspectFrame(self, request: api.InspectFrameRequest, context: grpc.ServicerContext) -> api.InspectFrameResponse:
        with as_status(context), self._read_slots.one():
            if not convert.is_sound_text(request.line) or not convert.is_sound_text(request.camera):
                raise InvalidRequest("line or camera is no name: send those of the line file")
            self._door.camera(context, request.line, request.camera)
            frame = convert.frame_of(request.frame, request.frame.data)
            # A session for the call: a trigger taken under a streaming camera's nose would give its part another verdict.
            with self._inspector.open_session(request.line, request.camera, context.peer()):
                inspection = self._judge(request.camera, frame, context)
            if inspection is not None:
                return api.InspectFrameResponse(inspection=convert.inspection_message(inspection))
        return api.InspectFrameResponse()

    def _judge(self, camera: str, frame: Frame | FrameFault, context: grpc.ServicerContext) -> Inspection | None:
        """Submit and wait; the part's deadline bounds the wait. None if the client went away before."""
        answered = threading.Event()
        answers: list[Inspection] = []

        def reply(inspection: Inspection) -> None:
            if inspection.trigger == frame.trigger:
                answers.append(inspection)
                answered.set()

        if isinstance(frame, FrameFault):
            self._inspector.submit_fault(camera, frame.trigger, frame.part_id, frame.reason, frame.detail, reply)
        else:
            self._inspector.submit(camera, frame, reply)
        if context.add_callback(answered.set):
            answered.wait()
        return answers[0] if answers else None

    def WatchInspections(
        self, request: api.WatchInspectionsRequest, context: grpc.ServicerContext
    ) -> Iterator[api.WatchInspectionsResponse]:
        with as_status(context), self._watcher_slots.one():
            who = self._door.reader(context, "WatchInspections")
            convert.check_line(request.line, self._inspector.line)
            verdicts, after = convert.verdicts_of(request.verdicts), convert.after_of(request)

            def watching() -> None:
                # At once, so that a client knows: the first verdict may be hours away.
                context.send_initial_metadata((convert.WATCHING,))

            for inspection in self._watchers.serve(verdicts, after, context.add_callback, watching):
                self._door.check(who)
                yield api.WatchInspectionsResponse(inspection=convert.inspection_message(inspection))

    def GetInspection(
        self, request: api.GetInspectionRequest, context: grpc.ServicerContext
    ) -> api.GetInspectionResponse:
        with as_status(context), self._read_slots.one():
            self._door.reader(context, "GetInspection")
            line, sequence = convert.name_of(request.name)
            stored = self._records.get(line, sequence)
            return api.GetInspectionResponse(inspection=convert.stored_message(stored))
        return api.GetInspectionResponse()

    def ListInspections(
        self, request: api.ListInspectionsRequest, context: grpc.ServicerContext
    ) -> api.ListInspectionsResponse:
        with as_status(context), self._read_slots.one():
            self._door.reader(context, "ListInspections")
            where, size = convert.filter_of(request), convert.page_size_of(request.page_size)
            page = self._records.list(where, size, request.page_token)
            inspections = [convert.stored_message(stored) for stored in page.inspections]
            return api.ListInspectionsResponse(inspections=inspections, next_page_token=page.next_page_token)
        return api.ListInspectionsResponse()

    def GetImage(self, request: api.GetImageRequest, context: grpc.ServicerContext) -> Iterator[api.GetImageResponse]:
        with as_status(context), self._read_slots.one():
            self._door.reader(context, "GetImage")
            data, media_type = self._pictures.get(convert.sha256_of(request.sha256))
            yield api.GetImageResponse(media_type=media_type, size_bytes=len(data), data=data[:CHUNK_BYTES])
            for start in range(CHUNK_BYTES, len(data), CHUNK_BYTES):
                yield api.GetImageResponse(data=data[start : start + CHUNK_BYTES])
