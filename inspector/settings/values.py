"""Values that a line file is made of: names, addresses, networks, and the base of its tables."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it; False for names other than localhost, which may point anywhere."""
        try:
            return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def from_here(self) -> Address:
        """Where this machine reaches who listens there."""
        anywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}
        return Address(anywhere.get(self.host, self.host), self.port)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError("use 1 to 63 letters, digits, '_', '.' or '-', starting with a letter or digit")
    return value


def parse_address(text: str) -> Address:
    """Split "host:port" or "[v6]:port"; raise ValueError with the next step."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdigit() or not 1 <= int(port) <= 65535:
        raise ValueError(f'got "{text}", expected "host:port" with a port from 1 to 65535, such as "127.0.0.1:50051"')
    return Address(host.removeprefix("[").removesuffix("]"), int(port))


def address(value: str) -> str:
    parse_address(value)
    return value


def network(value: str) -> str:
    try:
        ipaddress.ip_network(value)
    except ValueError as error:
        raise ValueError(f'{error}; give an address or a network, such as "192.168.10.0/24"') from error
    return value


def pattern(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"give a regular expression, such as '^L[0-9]+' ({error})") from error
    return value


def time_of_day(value: str) -> str:
    if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", value):
        raise ValueError('give a time of day from "00:00" to "23:59"')
    return value


def address_or_none(value: str) -> str:
    return address(value) if value else value


Name = Annotated[str, AfterValidator(name)]
ListenText = Annotated[str, AfterValidator(address)]
Network = Annotated[str, AfterValidator(network)]


class Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
