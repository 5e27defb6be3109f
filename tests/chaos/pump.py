"""A camera that sends as fast as it is answered: a window of frames in flight, and nothing kept but numbers."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import grpc
import numpy as np
from chaos.camera import TIMEOUT_S, CannotMeasure, open_channel
from chaos.pictures import BRIGHT, DARK, SIZE

from inspector.v1 import inspection_pb2, inspection_service_pb2

WINDOW = 24
# Fewer than the PLC's ring holds: at this pace it is only some tenths of a second deep, and a belt waits for its PLC.
_AHEAD_OF_PLC = 56
_LOOK_S = 0.005
_DEFECTIVE_EVERY = 100
_RETRY_S = 0.05
_METHOD = "/inspector.v1.InspectionService/Inspect"
Request = inspection_service_pb2.InspectRequest


def is_defective(trigger: int) -> bool:
    """Known beforehand, so that the books can be held against it."""
    return trigger % _DEFECTIVE_EVERY == 0


class Pump(threading.Thread):
    """Sends triggers 1 to `count` of a station, again and again until each is answered.

    By trigger: `replies` counts them, `frames` those sent, `reasons` is what the last reply said, `excused` were in flight
    when the connection broke.
    """

    def __init__(self, target: str, line: str, station: str, count: int) -> None:
        super().__init__(name=f"pump-{station}", daemon=True)
        self.count = count
        self.replies = np.zeros(count + 1, np.uint32)
        self.frames = np.zeros(count + 1, np.uint32)
        self.reasons = np.zeros(count + 1, np.uint32)
        self.excused = np.zeros(count + 1, bool)
        self.defective = np.arange(count + 1) % _DEFECTIVE_EVERY == 0
        self.defective[0] = False
        self.answered = 0
        # The last trigger that the PLC has read.
        self.read_by_plc = 0
        self._target = target
        self._hello = inspection_service_pb2.Hello(line=line, camera=f"cam-{station}", client="soak")
        self._sent = 0
        self._rng = np.random.default_rng(list(station.encode()))
        self._good = [self._request(DARK) for _ in range(16)]
        self._failure: Exception | None = None
        self._patience = threading.Event()

    def check(self) -> None:
        """CannotMeasure if it could not go on."""
        if self._failure is not None:
            raise CannotMeasure(f"{self.name} failed: {self._failure}") from self._failure

    def run(self) -> None:
        refusals = 0
        while self.answered < self.count:
            before = self.answered
            try:
                self._stream()
            except grpc.RpcError as error:
                self.excused[1 : self._sent + 1] |= self.replies[1 : self._sent + 1] == 0
                refusals = 0 if self.answered > before else refusals + 1
                if refusals * _RETRY_S > TIMEOUT_S:
                    self._failure = error
                    return
                self._patience.wait(_RETRY_S)
            except Exception as error:  # noqa: BLE001 - told to the test's own thread
                self._failure = error
                return

    def _stream(self) -> None:
        """One stream: first what was sent and not answered, then the rest. Raises grpc.RpcError when it breaks."""
        room = threading.Semaphore(WINDOW)
        over = threading.Event()

        def outgoing() -> Iterator[bytes]:
            yield Request(hello=self._hello).SerializeToString()
            again = (np.flatnonzero(self.replies[1 : self._sent + 1] == 0) + 1).tolist()
            for trigger in (*again, *range(self._sent + 1, self.count + 1)):
                while trigger - self.read_by_plc > _AHEAD_OF_PLC and not over.is_set():
                    over.wait(_LOOK_S)
                while not over.is_set() and not room.acquire(timeout=1):
                    pass
                if over.is_set():
                    return
                self._sent = max(self._sent, trigger)
                self.frames[trigger] += 1
                yield self._message(trigger)

        with open_channel(self._target, None) as channel:
            make = channel.stream_stream(_METHOD, lambda data: data, inspection_service_pb2.InspectResponse.FromString)
            try:
                for response in make(outgoing()):
                    if response.WhichOneof("message") == "inspection":
                        self._told(response.inspection)
                        room.release()
            finally:
                over.set()

    def _told(self, inspection: inspection_pb2.Inspection) -> None:
        trigger = inspection.trigger
        self.answered += int(self.replies[trigger] == 0)
        self.replies[trigger] += 1
        self.reasons[trigger] = inspection.reason

    def _message(self, trigger: int) -> bytes:
        # A defective part's picture is kept, so each is another.
        request = self._request(BRIGHT) if is_defective(trigger) else self._good[trigger % len(self._good)]
        request.frame.trigger = trigger
        return request.SerializeToString()

    def _request(self, value: int) -> Request:
        pixels = self._rng.integers(value - 5, value + 6, (SIZE, SIZE)).astype(np.uint8)
        mono8 = inspection_pb2.PIXEL_FORMAT_MONO8
        return Request(frame=inspection_pb2.Frame(pixel_format=mono8, width=SIZE, height=SIZE, data=pixels.tobytes()))
