"""A simulated PLC: polls one station over Modbus TCP, misses no result and drives a simulated ejector.

    python -m inspector.sim.plc --host 127.0.0.1 --port 1502 --unit 1 --poll-ms 2 --results plc.jsonl

It writes one JSON object per line. `"event"` is "result" (a verdict was read; `read_ns` is CLOCK_MONOTONIC in ns when
its registers had arrived), "ejector" (its part reached the ejector), "connected", "disconnected", "heartbeat_ok",
"heartbeat_stale", "state", "restarted" (the station counts anew), "lost" (results were overwritten before they could be
read) or, as the last line, "summary". It reconnects for as long as it runs and ends on SIGTERM, SIGINT or after --max-seconds.
"""

from __future__ import annotations

import enum
import json
import logging
import math
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Annotated, TextIO

import typer
from pymodbus.client import ModbusTcpClient
from pymodbus.exceptions import ModbusException

from inspector.ending import call_at_signals
from inspector.part import Reason, Verdict
from inspector.signalling import registers
from inspector.signalling.registers import MAGIC, MAP_VERSION, RingEntry, StationBlock
from inspector.signalling.signal import StationState
from inspector.sim.ejector import Ejector, Follower, HeartbeatWatch, News

_ENTRIES_PER_REQUEST = 125 // registers.ENTRY_SIZE
_RETRY_S = 0.05


class PlcFault(Exception):
    """An answer that is not what the register map promises."""


class Station:
    """One station's registers, read with pymodbus' client."""

    def __init__(self, host: str, port: int, unit: int, timeout_s: float) -> None:
        self._client = ModbusTcpClient(host, port=port, timeout=timeout_s, retries=0)
        self._unit = unit

    def block(self) -> StationBlock:
        """The station block.

        Raises:
            PlcFault: the answer is an exception or not of this map.
            ModbusException, OSError: no answer.
        """
        block = registers.unpack_block(self._read(0, registers.STATION_BLOCK_SIZE))
        if (block.magic, block.map_version) != (MAGIC, MAP_VERSION):
            raise PlcFault(f"got magic {block.magic:#06x} version {block.map_version}, expected {MAGIC:#06x} version 1")
        return block

    def entries(self, first: int, count: int) -> list[RingEntry | None]:
        """Ring entries of consecutive sequence numbers; None for one that is overwritten. Raises as `block` does."""
        wanted = [(first + i) % registers.SEQUENCE_MODULUS for i in range(count)]
        found: list[RingEntry | None] = []
        while wanted:
            before_wrap = registers.RING_SIZE - wanted[0] % registers.RING_SIZE
            chunk = wanted[: min(_ENTRIES_PER_REQUEST, before_wrap)]
            size = registers.ENTRY_SIZE
            words = self._read(registers.ring_position(chunk[0]), len(chunk) * size)
            for i, sequence in enumerate(chunk):
                entry = registers.unpack_entry(words[i * size : (i + 1) * size])
                found.append(entry if entry is not None and entry.sequence == sequence else None)
            wanted = wanted[len(chunk) :]
        return found

    def close(self) -> None:
        """Hang up; the next read connects again."""
        self._client.close()  # type: ignore[no-untyped-call]

    def _read(self, address: int, count: int) -> list[int]:
        response = self._client.read_input_registers(address, count=count, device_id=self._unit)
        if response.isError() or len(response.registers) != count:
            raise PlcFault(f"got {response}, expected {count} registers from {address}")
        return list(response.registers)


class Plc:
    """The scan cycle of the PLC: poll, follow the sequence, move the belt, write down what happened."""

    def __init__(
        self, station: Station, out: TextIO, *, eject_delay_ms: float = 0, stale_ms: float = 500, backlog: bool = False
    ) -> None:
        self._station = station
        self._out = out
        self._follower = Follower(backlog)
        self._heartbeat = HeartbeatWatch(int(stale_ms * 1e6))
        self._ejector = Ejector(int(eject_delay_ms * 1e6))
        self._pending: News | None = None
        self._connected = False
        self._stale = True
        self._state: int | None = None
        self.counts: Counter[str] = Counter()

    def run(self, poll_s: float, stop: threading.Event, max_s: float = math.inf) -> None:
        """Scan until `stop` is set or `max_s` have passed, then write the summary."""
        end, due = time.monotonic() + max_s, time.monotonic()
        while not stop.is_set() and time.monotonic() < end:
            self.scan()
            due = max(due + (poll_s if self._connected else _RETRY_S), time.monotonic())
            self._wait(due, stop)
        # The belt runs on: parts already read still reach the ejector.
        while self._ejector.next_due_ns is not None:
            self._act(self._ejector.next_due_ns)
        self._station.close()
        self._event("summary", **self.counts)

    def scan(self) -> None:
        """One look at the station, and one at the belt."""
        try:
            block = self._station.block()
            read_ns = time.monotonic_ns()
            self._arrived(block, read_ns)
            if self._pending is None:
                self._pending = self._follower.look(block)
            if self._pending is not None:
                self._take(self._pending, block, read_ns)
                self._pending = None
        except (ModbusException, OSError, ValueError, PlcFault) as error:
            self._hang_up(error)
        self._act(time.monotonic_ns())

    def _arrived(self, block: StationBlock, now_ns: int) -> None:
        if not self._connected:
            self._connected = True
            self._count_event("connected")
        self._heartbeat.see(block.heartbeat, now_ns)
        if block.state != self._state:
            self._state = block.state
            self._event("state", state=_name(StationState, block.state), recipe=block.recipe, bundle=block.bundle)

    def _take(self, news: News, block: StationBlock, read_ns: int) -> None:
        """Write down the announced results; all of them or, if reading the ring fails, none."""
        taken: list[StationBlock | RingEntry]
        if news.count == 1 and news.first == block.sequence:
            taken = [block]
        else:
            entries = self._station.entries(news.first, news.count)
            read_ns = time.monotonic_ns()
            taken = [entry for entry in entries if entry is not None]
        if news.restarted:
            self._count_event("restarted", sequence=block.sequence)
        for result in taken:
            self._result(result, read_ns)
        lost = news.lost + news.count - len(taken)
        if lost:
            self.counts["lost"] += lost
            self._event("lost", count=lost, before_sequence=block.sequence)
            print(f"PLC: {lost} results were overwritten before they were read: poll more often", file=sys.stderr)

    def _result(self, result: StationBlock | RingEntry, read_ns: int) -> None:
        verdict = _name(Verdict, result.verdict)
        self.counts["results"] += 1
        self.counts[verdict.lower()] += 1
        self._ejector.add(result.sequence, result.verdict, read_ns)
        self._event(
            "result",
            read_ns=read_ns,
            sequence=result.sequence,
            trigger=result.trigger,
            verdict=verdict,
            reason=_name(Reason, result.reason),
            defect_class=result.defect_class,
            score=result.score if math.isfinite(result.score) else None,
            latency_us=result.latency_us,
        )

    def _act(self, now_ns: int) -> None:
        stale = self._heartbeat.stale(now_ns)
        if stale != self._stale:
            self._stale = stale
            self._count_event("heartbeat_stale" if stale else "heartbeat_ok")
        for ejection in self._ejector.act(now_ns, stale):
            self.counts["ejected" if ejection.ejected else "let_through"] += 1
            action = "eject" if ejection.ejected else "let_through"
            self._event("ejector", sequence=ejection.sequence, action=action, cause=ejection.cause)

    def _wait(self, due: float, stop: threading.Event) -> None:
        """Wait for the next scan, moving the belt meanwhile."""
        while not stop.is_set():
            part_ns = self._ejector.next_due_ns
            until = due if part_ns is None else min(due, part_ns / 1e9)
            stop.wait(max(0.0, until - time.monotonic()))
            if time.monotonic() >= due:
                return
            self._act(time.monotonic_ns())

    def _hang_up(self, error: Exception) -> None:
        self._station.close()
        if self._connected:
            self._connected = False
            self._count_event("disconnected", error=str(error))

    def _count_event(self, event: str, **fields: object) -> None:
        self.counts[event] += 1
        self._event(event, **fields)

    def _event(self, event: str, **fields: object) -> None:
        self._out.write(json.dumps({"event": event, "time_ns": time.monotonic_ns(), **fields}) + "\n")
        self._out.flush()


def _name(numbers: type[enum.IntEnum], value: int) -> str:
    """The name of a register's value, or the bare number if this program does not know it."""
    try:
        return numbers(value).name
    except ValueError:
        return str(value)


def main(
    results: Annotated[Path, typer.Option(help="file to write, one JSON object per line")],
    host: Annotated[str, typer.Option(help="address of the inspector")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="its Modbus TCP port")] = 1502,
    unit: Annotated[int, typer.Option(help="unit id of the station")] = 1,
    poll_ms: Annotated[float, typer.Option(min=0.5, help="time from one poll to the next")] = 10.0,
    eject_delay_ms: Annotated[float, typer.Option(min=0, help="how long a part travels to the ejector")] = 0.0,
    stale_ms: Annotated[float, typer.Option(min=1, help="a heartbeat that stands still for longer rejects")] = 500.0,
    max_seconds: Annotated[float, typer.Option(min=0, help="end after so long; 0 runs until told to stop")] = 0.0,
    backlog: Annotated[bool, typer.Option(help="also take the results that the ring holds at the first look")] = False,
) -> None:
    """Poll one station and drive a simulated ejector until told to stop."""
    stop = threading.Event()
    call_at_signals(stop.set)
    # Every fault of the connection becomes an event in the file, once; pymodbus would repeat it at each poll.
    logging.getLogger("pymodbus").setLevel(logging.CRITICAL + 1)
    # While it waits for an answer it looks at no heartbeat: a silent inspector must not hide that it is stale.
    station = Station(host, port, unit, timeout_s=min(1.0, max(0.05, stale_ms / 2000)))
    with results.open("w", encoding="utf-8") as out:
        plc = Plc(station, out, eject_delay_ms=eject_delay_ms, stale_ms=stale_ms, backlog=backlog)
        plc.run(poll_ms / 1000, stop, max_seconds or math.inf)
    print("PLC: " + ", ".join(f"{count} {name}" for name, count in sorted(plc.counts.items())))


if __name__ == "__main__":
    typer.run(main)
