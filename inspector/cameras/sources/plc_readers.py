"""How a PLC is asked which part it counted last: a block of Modbus registers, or two nodes of OPC UA."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from inspector.errors import SourceError

log = logging.getLogger(__name__)

_TIMEOUT_S = 1.0
MAX_ID = 128


@dataclass(frozen=True, slots=True)
class Reading:
    """What stands in the PLC: the number of the part counted last, and its id (empty if there is none)."""

    number: int
    part_id: str = ""


class PlcReader(Protocol):
    """Used by one thread."""

    def open(self) -> None:
        """Connect. Raises SourceError."""

    def read(self) -> Reading:
        """Ask. Raises SourceError, after which it must be opened again."""

    def close(self) -> None:
        """Hang up. Never raises."""

    def describe(self) -> str:
        """Where it asks."""


class ModbusReader:
    """Holding registers: two with the number, the high word first, and `id_registers` behind them with two characters each."""

    def __init__(self, host: str, port: int, unit: int, register: int, id_registers: int = 0) -> None:
        self._address = f"{host}:{port}"
        self._unit, self._register, self._id_registers = unit, register, id_registers
        # Imported here: who reads no PLC needs none of it.
        from pymodbus.client import ModbusTcpClient

        self._client: Any = ModbusTcpClient(host, port=port, timeout=_TIMEOUT_S, retries=0)

    def open(self) -> None:
        if not self._client.connect():
            raise SourceError(f"the PLC at {self._address} does not answer: is it on, and does it allow this machine?")

    def read(self) -> Reading:
        from pymodbus.exceptions import ModbusException

        count = 2 + self._id_registers
        try:
            answer = self._client.read_holding_registers(self._register, count=count, device_id=self._unit)
        except (ModbusException, OSError) as error:
            raise SourceError(f"the PLC at {self._address} answers no more ({error}): look at its network") from error
        if answer.isError() or len(answer.registers) != count:
            raise SourceError(
                f"the PLC at {self._address} has no {count} holding registers from {self._register} in unit {self._unit} "
                f"({answer}): correct `first_register`, `unit` or `id_registers`"
            )
        high, low, *words = answer.registers
        return Reading(high << 16 | low, text_of(b"".join(word.to_bytes(2, "big") for word in words)))

    def close(self) -> None:
        self._client.close()

    def describe(self) -> str:
        return f"Modbus {self._address}, unit {self._unit}, registers from {self._register}"


class OpcUaReader:
    """A node with the number and, if there is one, a node with the id; both are asked for at once."""

    def __init__(
        self,
        address: str,
        number_node: str,
        id_node: str = "",
        certificate: Path | None = None,
        key: Path | None = None,
    ) -> None:
        """`certificate` and `key` (PEM or DER) sign and encrypt by Basic256Sha256; without them the connection is open."""
        self._address = address
        self._nodes = [number_node, *([id_node] if id_node else [])]
        self._files = None if certificate is None or key is None else (certificate, key)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client: Any = None

    def open(self) -> None:
        self._loop = asyncio.new_event_loop()
        try:
            self._run(self._connect())
        except SourceError:
            self.close()
            raise

    def read(self) -> Reading:
        number, *ids = self._run(self._values())
        if isinstance(number, bool) or not isinstance(number, int) or number < 0:
            raise SourceError(
                f"{self._nodes[0]} of {self._address} holds {number!r}: number_node must be a count of parts"
            )
        return Reading(number, sound_id(str(ids[0])) if ids and ids[0] is not None else "")

    def close(self) -> None:
        loop, self._loop = self._loop, None
        client, self._client = self._client, None
        if loop is None:
            return
        try:
            loop.run_until_complete(_hang_up(client))
        except Exception as error:  # noqa: BLE001 whatever the other side still says
            log.debug("hanging up on %s: %s", self._address, error)
        loop.close()

    def describe(self) -> str:
        return f"OPC UA {self._address}, {' and '.join(self._nodes)}"

    async def _connect(self) -> None:
        from asyncua import Client
        from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256

        self._client = Client(self._address, timeout=_TIMEOUT_S)
        if self._files is not None:
            certificate, key = self._files
            await self._client.set_security(SecurityPolicyBasic256Sha256, str(certificate), str(key))
        await self._client.connect()

    async def _values(self) -> list[Any]:
        values = await self._client.read_attributes([self._client.get_node(node) for node in self._nodes])
        for value in values:
            value.StatusCode.check()
        return [value.Value.Value for value in values]

    def _run(self, wanted: Any) -> Any:
        from asyncua import ua

        assert self._loop is not None, "open it first"
        try:
            return self._loop.run_until_complete(asyncio.wait_for(wanted, 4 * _TIMEOUT_S))
        except (ua.UaError, OSError, TimeoutError, ConnectionError, ValueError) as error:
            raise SourceError(
                f"the PLC at {self._address} does not tell {' and '.join(self._nodes)} ({error!r}): is it on, and are the node "
                "ids right?"
            ) from error


async def _hang_up(client: Any) -> None:
    """Disconnect, and end what the client still has running in its loop."""
    try:
        if client is not None:
            await asyncio.wait_for(client.disconnect(), _TIMEOUT_S)
    finally:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


def text_of(data: bytes) -> str:
    """Characters up to the first zero."""
    return sound_id(data.split(b"\0", 1)[0].decode("ascii", errors="replace"))


def sound_id(text: str) -> str:
    """An id that the service takes; empty if it has characters that do not print, or too many."""
    text = text.strip()
    return text if text.isprintable() and "�" not in text and len(text) <= MAX_ID else ""
