"""Inspections to publish and a raw Modbus TCP client, for tests of the PLC outputs."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from datetime import UTC, datetime
from time import monotonic

from inspector.part import Box, Finding, Inspection, Reason

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


def inspection(
    sequence: int = 1,
    *,
    station: str = "st1",
    trigger: int | None = None,
    reason: Reason | None = None,
    defect_class: str = "",
    score: float | None = 0.5,
    limit: float | None = 1.0,
    bundle: str = "tiles@0123456789ab",
    latency_ms: float = 3.25,
) -> Inspection:
    """An inspection of which only what a PLC sees matters; trigger = 10 × sequence unless given.

    Without a reason it is a reject if it has a defect class, else a pass.
    """
    if reason is None:
        reason = Reason.SCORE_ABOVE_LIMIT if defect_class else Reason.WITHIN_LIMITS
    findings = (Finding(defect_class, Box(0, 0, 4, 4), 16.0, 1.5),) if defect_class else ()
    return Inspection(
        line="line",
        station=station,
        camera="cam",
        sequence=sequence,
        station_sequence=sequence,
        trigger=10 * sequence if trigger is None else trigger,
        part_id="",
        verdict=reason.verdict,
        reason=reason,
        detail="",
        score=score,
        limit=limit,
        findings=findings,
        recipe="tiles",
        bundle=bundle,
        capture_time=None,
        receive_time=NOON,
        decide_time=NOON,
        latency_ms=latency_ms,
    )


def request(transaction: int, unit: int, function: int, address: int, count: int) -> bytes:
    """A read request, byte by byte as in the specification."""
    return struct.pack(">HHHBBHH", transaction, 0, 6, unit, function, address, count)


class RawClient:
    """A socket and the little of Modbus TCP that reading needs."""

    def __init__(self, port: int, timeout_s: float = 10.0) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)

    def __enter__(self) -> RawClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def receive(self) -> bytes:
        """One whole response; empty if the server hung up."""
        header = self._exactly(6)
        return header + self._exactly(int.from_bytes(header[4:6], "big")) if header else b""

    def read(self, address: int, count: int, unit: int = 1, function: int = 4) -> list[int]:
        """Registers; fails on an exception response."""
        self.socket.sendall(request(7, unit, function, address, count))
        response = self.receive()
        assert response[7] == function, f"exception response {response.hex()}"
        return list(struct.unpack(f">{count}H", response[9:]))

    def hung_up(self) -> bool:
        """Whether the server ends the connection (waits for it)."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionError:
            return True

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            try:
                more = self.socket.recv(size - len(data))
            except ConnectionError:
                return b""
            if not more:
                return b""
            data += more
        return data


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = 20.0) -> None:
    """Poll a condition until it holds."""
    end = monotonic() + timeout_s
    while not condition():
        assert monotonic() < end, f"waited {timeout_s} s in vain: {what}"
