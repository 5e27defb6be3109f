"""A line with its OPC UA program on loopback, and asyncua's client to look at it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from asyncua import Client, Node, ua
from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256
from plc_desk import wait_until
from test_service import free_port, stream
from toys import toy_bundle

from inspector.access.application import make_application
from inspector.access.identity import Role
from inspector.access.logins import write_login
from inspector.opcua.run import OpcUaProgram, run_opcua
from inspector.opcua_commands import _options
from inspector.settings import LineSettings, load_line_file
from inspector.v1 import inspection_pb2 as values

T = TypeVar("T")
PASSWORD = "correct horse"
USERS = {"vera": Role.VIEWER, "otto": Role.OPERATOR, "erna": Role.ENGINEER}
LINE = """
[line]
name = "l1"
[grpc]
listen = "127.0.0.1:{}"
[modbus]
listen = "127.0.0.1:{}"
write_allow = ["127.0.0.1"]
[opcua]
listen = "127.0.0.1:{}"
certificate = "opcua.pem"
key = "opcua.key"
users = "users.toml"
max_sessions = 6
[[station]]
name = "s1"
camera = "c1"
unit = 1
recipe = "bright"
recipes = ["dark", "broken"]
[[station]]
name = "s2"
camera = "c2"
unit = 2
recipe = "bright"
[recipe.bright]
bundle = "bright"
deadline_ms = 5000
[recipe.dark]
bundle = "dark"
deadline_ms = 5000
[recipe.broken]
bundle = "none"
"""


def line_in(folder: Path) -> LineSettings:
    """Everything that a line with OPC UA needs, in a folder: bundles, certificates, users."""
    folder.mkdir(parents=True, exist_ok=True)
    toy_bundle(folder / "bright", name="bright")
    toy_bundle(folder / "dark", name="dark", limit=0.05)
    make_application(folder, "opcua", "l1", ["127.0.0.1", "localhost"])
    client = make_application(folder, "client", "client", ["localhost"])
    client.key.rename(folder / "client-key.pem")  # asyncua tells PEM from DER by the name
    for name, role in USERS.items():
        write_login(folder / "users.toml", name, role, PASSWORD)
    (folder / "line.toml").write_text(LINE.format(free_port(), free_port(), free_port()))
    return load_line_file(folder / "line.toml")


@contextmanager
def opcua_of(settings: LineSettings, **changes: Any) -> Iterator[OpcUaProgram]:
    """The program that `inspector opcua` runs, in this process."""
    assert settings.file.opcua is not None
    with run_opcua(replace(_options(settings, settings.file.opcua), **changes)) as program:
        yield program


class Loop:
    """An event loop in a thread, for clients of tests that are not asynchronous."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def __call__(self, work: Coroutine[Any, Any, T], timeout_s: float = 30.0) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout_s)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)


@dataclass
class Desk:
    """A client that is logged in, and a station's VisionSystem as it sees it."""

    do: Loop
    client: Client
    system: Node
    index: int

    def node(self, *names: str) -> Node:
        path = [f"0:{name[2:]}" if name.startswith("0:") else f"{self.index}:{name}" for name in names]
        return self.do(self.system.get_child(path))

    def value(self, *names: str) -> Any:
        return self.do(self.node(*names).read_value())

    @property
    def state(self) -> str:
        """Of the inner machine while it is active, else of the outer one."""
        outer = self.value("VisionStateMachine", "0:CurrentState").Text
        inner = self.value("VisionStateMachine", "AutomaticModeStateMachine", "0:CurrentState").Text
        return str(inner if outer == "Operational" else outer)

    def wait_for(self, state: str) -> None:
        wait_until(lambda: self.state == state, f"the state {state}, it is {self.state}")

    def call(self, path: str, *arguments: Any) -> Any:
        """Call a method such as "ResultManagement/GetResultById"."""
        *parents, name = path.split("/")
        owner = self.node(*parents) if parents else self.system
        return self.do(owner.call_method(name if name.startswith("0:") else f"{self.index}:{name}", *arguments))


@contextmanager
def logged_in(
    do: Loop, settings: LineSettings, user: str = "erna", password: str = PASSWORD, shown: Path | None = None
) -> Iterator[Desk]:
    """A client of asyncua's with the policy that is served, that shows the line's client certificate unless another one."""
    assert settings.file.opcua is not None
    folder = settings.path.parent
    client = Client(f"opc.tcp://{settings.file.opcua.listen}", timeout=20)
    client.application_uri = "urn:inspector:opcua:client"

    async def connect() -> tuple[Node, int]:
        await client.set_security(
            SecurityPolicyBasic256Sha256,
            f"{shown or folder / 'client'}.pem",
            f"{shown or folder / 'client'}-key.pem",
            server_certificate=str(folder / "opcua.pem"),
            mode=ua.MessageSecurityMode.SignAndEncrypt,
        )
        if user:
            client.set_user(user)
            client.set_password(password)
        await client.connect()
        await client.load_data_type_definitions()
        index = await client.get_namespace_index("http://opcfoundation.org/UA/MachineVision")
        own = await client.get_namespace_index("urn:inspector:machine-vision")
        return await client.nodes.objects.get_child(f"{own}:s1"), index

    system, index = do(connect())
    try:
        yield Desk(do, client, system, index)
    finally:
        do(client.disconnect())


def judged(settings: LineSettings, *parts: tuple[int, int]) -> list[values.Inspection]:
    """Stream parts (trigger, brightness) as the first station's camera."""
    return stream(settings, [(trigger, value, f"P{trigger}") for trigger, value in parts])
