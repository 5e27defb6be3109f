"""Strangers, broken clients and guests who overreach, at the OPC UA port: others are served, the line does not notice."""

from __future__ import annotations

import itertools
import logging
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from asyncua import Client, ua
from asyncua.common.utils import ServiceError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opcua_line import PASSWORD, Loop, judged, line_in, logged_in, opcua_of
from plc_desk import wait_until

from inspector.opcua.run import OpcUaProgram
from inspector.part import Verdict
from inspector.records.audit import AuditLog
from inspector.service import run_service
from inspector.settings import LineSettings, parse_address


@dataclass
class Port:
    """A line at work behind an OPC UA port."""

    settings: LineSettings
    program: OpcUaProgram
    do: Loop
    triggers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def connect(self) -> socket.socket:
        assert self.settings.file.opcua is not None
        address = parse_address(self.settings.file.opcua.listen)
        return socket.create_connection((address.host, address.port), timeout=20)

    def is_unharmed(self) -> None:
        """Parts are judged, and an honest client comes in and is answered."""
        (part,) = judged(self.settings, (next(self.triggers), 20))
        assert part.verdict == Verdict.PASS
        assert self.program.alive()
        with logged_in(self.do, self.settings) as desk:
            assert desk.state == "ContinuousExecution"

    def stranger(self) -> Client:
        """A client without security."""
        assert self.settings.file.opcua is not None
        return Client(f"opc.tcp://{self.settings.file.opcua.listen}", timeout=20)


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Port]:
    settings = line_in(tmp_path_factory.mktemp("line"))
    do = Loop()
    with run_service(settings), opcua_of(settings) as program:
        made = Port(settings, program, do)
        with logged_in(do, settings) as desk:
            desk.wait_for("ContinuousExecution")
        yield made
    do.close()


def message(kind: bytes, body: bytes, size: int | None = None) -> bytes:
    """A chunk as in OPC 10000-6, 7.1.2.2, with its true size unless another one is given."""
    return kind + b"F" + struct.pack("<I", 8 + len(body) if size is None else size) + body


HELLO = message(b"HEL", struct.pack("<5I", 0, 65_535, 65_535, 0, 0) + struct.pack("<i", -1))
POLICY = b"http://opcfoundation.org/UA/SecurityPolicy#Basic256Sha256"
OPEN = struct.pack("<I", 0) + struct.pack("<i", len(POLICY)) + POLICY

BYTES = [
    pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", id="a web browser"),
    pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500), id="TLS"),
    pytest.param(message(b"HEL", b"", 0xFFFF_FFFF), id="a chunk of four gigabytes"),
    pytest.param(message(b"HEL", b"", 70_000) + bytes(70_000), id="a chunk larger than any may be"),
    pytest.param(message(b"HEL", b"", 0), id="a chunk of no bytes"),
    pytest.param(message(b"HEL", b"", 8), id="an empty hello"),
    pytest.param(HELLO + message(b"MSG", bytes(60)), id="a message before the channel"),
    pytest.param(HELLO + message(b"OPN", bytes(60)), id="a channel of zeros"),
    pytest.param(
        HELLO + message(b"OPN", OPEN + struct.pack("<i", 1000) + b"\x30" * 1000 + bytes(300)), id="no certificate"
    ),
    pytest.param(HELLO + message(b"OPN", OPEN + struct.pack("<i", 0x7FFF_FFFF)), id="a certificate of two gigabytes"),
    pytest.param(HELLO + message(b"ERR", bytes(16)), id="an error"),
    pytest.param(bytes(range(256)) * 200, id="all bytes"),
]


@pytest.mark.parametrize("data", BYTES)
def test_what_is_no_opc_ua_ends_the_connection(port: Port, data: bytes) -> None:
    with port.connect() as guest:
        guest.sendall(data)
        assert _is_hung_up(guest)


def test_after_all_that_the_line_is_unharmed(port: Port) -> None:
    port.is_unharmed()


def _is_hung_up(guest: socket.socket) -> bool:
    try:
        while guest.recv(65_536):
            pass
    except ConnectionError:
        return True
    return True


@given(data=st.binary(min_size=1, max_size=2000), hello=st.booleans())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_leave_the_port_answering(port: Port, data: bytes, hello: bool) -> None:
    with port.connect() as guest:
        guest.sendall((HELLO if hello else b"") + data)
    with port.connect() as next_one:
        next_one.sendall(HELLO)
        assert next_one.recv(8)[:4] == b"ACKF"


def test_connections_that_stay_silent_keep_nobody_out(port: Port) -> None:
    guests = [port.connect() for _ in range(60)]
    for guest in guests[::2]:
        guest.sendall(HELLO[:10])
    try:
        port.is_unharmed()
    finally:
        for guest in guests:
            guest.close()
    port.is_unharmed()


def test_a_flood_of_connections_and_messages_leaves_the_line_judging(port: Port) -> None:
    for _ in range(300):
        with port.connect() as guest:
            guest.sendall(HELLO * 3)
    with port.connect() as guest:
        try:
            for _ in range(200):
                guest.sendall(HELLO * 50)
        except OSError:
            pass  # it was hung up on
    port.is_unharmed()


async def _ask_in_clear(client: Client, ask: Callable[[Client], Any]) -> Any:
    await client.connect_socket()
    try:
        await client.send_hello()
        await client.open_secure_channel()
        return await ask(client)
    finally:
        client.disconnect_socket()


def test_without_encryption_there_is_no_session_and_no_password_is_asked_for(port: Port) -> None:
    assert (
        port.do(_ask_in_clear(port.stranger(), lambda one: one.get_endpoints()))[0].SecurityMode.name
        == "SignAndEncrypt"
    )
    with pytest.raises(ua.UaStatusCodeError) as caught:
        port.do(_ask_in_clear(port.stranger(), lambda one: one.create_session()))
    assert caught.value.code == ua.StatusCodes.BadSecurityModeInsufficient


def test_nobody_registers_another_server(port: Port) -> None:
    async def register(client: Client) -> Any:
        server = ua.RegisteredServer(ServerUri="urn:evil", ServerNames=[ua.LocalizedText("evil")])
        return await client.uaclient.register_server(server)

    with pytest.raises(ua.UaStatusCodeError) as caught:
        port.do(_ask_in_clear(port.stranger(), register))
    assert caught.value.code == ua.StatusCodes.BadSecurityModeInsufficient


def test_wrong_passwords_are_refused_and_on_record(port: Port) -> None:
    for user, password in (("erna", "wrong horse"), ("nobody\n", PASSWORD), ("", "")):
        with pytest.raises((ua.UaStatusCodeError, ServiceError)), logged_in(port.do, port.settings, user, password):
            pass

    def refused() -> list[str]:
        entries = AuditLog(port.settings.data_dir / "audit.jsonl").entries()
        return [entry.actor for entry in entries if entry.action == "refused OPC UA login"]

    wait_until(lambda: {"erna at 127.0.0.1", "nobody? at 127.0.0.1"} <= set(refused()), "both on record")
    port.is_unharmed()


def test_more_sessions_than_there_are_places_are_refused_and_a_place_that_is_left_is_free(port: Port) -> None:
    open_ones = [logged_in(port.do, port.settings, "vera") for _ in range(6)]
    for one in open_ones:
        one.__enter__()
    try:
        with pytest.raises(ua.UaStatusCodeError) as caught, logged_in(port.do, port.settings):
            pass
        assert caught.value.code == ua.StatusCodes.BadTooManySessions
    finally:
        for one in open_ones:
            one.__exit__(None, None, None)
    port.is_unharmed()


def test_a_guest_reaches_neither_the_session_nor_the_subscriptions_of_another(port: Port) -> None:
    with logged_in(port.do, port.settings) as desk, logged_in(port.do, port.settings, "vera") as guest:
        told: list[Any] = []

        class Handler:
            def event_notification(self, event: Any) -> None:
                told.append(event)

        kind = guest.client.get_node(ua.NodeId(1024, guest.index))
        subscription = desk.do(desk.client.create_subscription(100, Handler()))
        desk.do(subscription.subscribe_events(desk.system, kind))
        with pytest.raises(ua.UaStatusCodeError) as caught:
            guest.do(guest.client.uaclient.delete_subscriptions([subscription.subscription_id]))
        assert caught.value.code == ua.StatusCodes.BadSubscriptionIdInvalid
        mine = guest.client.uaclient.protocol.authentication_token
        guest.client.uaclient.protocol.authentication_token = desk.client.uaclient.protocol.authentication_token
        with pytest.raises(ua.UaStatusCodeError) as caught:
            guest.do(guest.client.nodes.server.read_browse_name())
        assert caught.value.code == ua.StatusCodes.BadSessionIdInvalid
        guest.client.uaclient.protocol.authentication_token = mine
        judged(port.settings, (next(port.triggers), 20))
        wait_until(lambda: bool(told), "the result, which the subscription still tells")


def test_a_client_that_does_not_read_its_answers_is_given_up(
    port: Port, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("inspector.opcua.door.DEAF_S", 0.2)
    with caplog.at_level(logging.WARNING, "inspector.opcua.door"):
        desk = logged_in(port.do, port.settings, "vera")
        client = desk.__enter__().client

        async def flood() -> None:
            client.uaclient.protocol.transport.pause_reading()
            body = ua.ReadRequest()
            body.Parameters.NodesToRead = [
                ua.ReadValueId(ua.NodeId(ua.ObjectIds.OpcUa_BinarySchema), ua.AttributeIds.Value) for _ in range(20)
            ]
            for _ in range(60):
                client.uaclient.protocol._send_request(body)

        port.do(flood())
        wait_until(lambda: "does not read its answers" in caplog.text, "the end of its connection")

        async def look_up() -> None:
            client.uaclient.protocol.transport.resume_reading()

        port.do(look_up())
    desk.__exit__(None, None, None)
    port.is_unharmed()
