"""Whoever connects and never makes a call is named; whoever makes one is not."""

from __future__ import annotations

import logging
import socket
import sys
from pathlib import Path

import pytest
from plant import plant_in
from rpc_line import Lines, wait_for

from inspector.access.tls import TlsFiles
from inspector.rpc.door import Door
from inspector.rpc.lookout import MAX_CALLERS, Callers, end_of_peer, hung_up_on

STRANGER = "127.0.0.66"
HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
# 127.0.0.1:50051 and 127.0.0.66:4711 as a little-endian kernel writes them.
OURS, THEIRS = "0100007F:C383", "4200007F:1267"
REST = " 00000000:00000000 03:000011C5 00000000     0        0 0 3 0000000000000000\n"
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows its connections in /proc")


@pytest.mark.parametrize(
    ("table", "ends"),
    [
        pytest.param("", [], id="an empty file"),
        pytest.param(HEAD, [], id="no connections"),
        pytest.param(HEAD + f"   0: {OURS} {THEIRS} 06{REST}", [(STRANGER, 4711)], id="we hung up"),
        pytest.param(HEAD + f"   0: {OURS} {THEIRS} 01{REST}", [], id="still connected"),
        pytest.param(HEAD + f"   0: {THEIRS} {OURS} 06{REST}", [], id="a connection that this machine made"),
        pytest.param(HEAD + f"   0: {OURS}", [], id="half a row"),
        pytest.param(
            HEAD + "   0: 0000000000000000FFFF00000100007F:C383 0000000000000000FFFF00004200007F:1267 06" + REST,
            [(STRANGER, 4711)],
            id="IPv4 on a socket for both families",
        ),
        pytest.param(
            HEAD + "   0: 00000000000000000000000001000000:C383 B80D0120000000000000000001000000:1267 06" + REST,
            [("2001:db8::1", 4711)],
            id="IPv6",
        ),
    ],
)
@pytest.mark.skipif(sys.byteorder != "little", reason="the rows are of a little-endian kernel")
def test_the_kernels_table(table: str, ends: list[tuple[str, int]]) -> None:
    assert list(hung_up_on(table, 50051)) == ends


@pytest.mark.parametrize(
    ("peer", "end"),
    [
        ("ipv4:10.0.0.7:4711", ("10.0.0.7", 4711)),
        ("ipv6:%5B2001:db8::1%5D:4711", ("2001:db8::1", 4711)),
        ("ipv6:[::ffff:10.0.0.7]:4711", ("10.0.0.7", 4711)),
        ("ipv6:%5Bfe80::1%25eth0%5D:4711", ("fe80::1", 4711)),
        ("unix:/run/socket", None),
        ("ipv4:nobody:1", None),
        ("", None),
    ],
)
def test_names_that_grpc_gives(peer: str, end: tuple[str, int] | None) -> None:
    assert end_of_peer(peer) == end


def test_the_memory_of_callers_is_bounded() -> None:
    callers = Callers()
    for number in range(MAX_CALLERS + 1):
        callers.note(f"ipv4:10.0.{number >> 8}.{number & 255}:1")
    assert ("10.0.0.0", 1) not in callers
    assert ("10.0.0.1", 1) in callers


@linux_only
def test_who_sends_no_http2_is_named_and_who_calls_is_not(lines: Lines, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "inspector.rpc.door")
    line = lines.make()
    camera = line.camera()
    camera.half_close()
    camera.rest()
    _send(line.server.port, b"neither HTTP/2 nor anything else\r\n\r\n")
    wait_for(lambda: bool(caplog.messages), "the log")
    assert caplog.messages == [f"{STRANGER}: a connection to the gRPC port was refused: what it sent is no HTTP/2"]


@linux_only
def test_a_failed_handshake_is_named_and_goes_on_record(lines: Lines, tmp_path: Path) -> None:
    plant = plant_in(tmp_path)
    refused: list[tuple[str, str, str, str]] = []
    tls = TlsFiles(plant.paths)
    line = lines.make(tls=tls, door=Door(tls, on_refused=lambda *told: refused.append(told)))  # type: ignore[arg-type]
    _send(line.server.port, b"\x16\x03\x01\x00\x05hello")
    wait_for(lambda: bool(refused), "the refusal")
    assert refused == [
        (STRANGER, "gRPC connection", "", "no TLS handshake with a certificate of this plant"),
    ]


def _send(port: int, data: bytes) -> None:
    """And wait until the server hangs up."""
    with socket.create_connection(("127.0.0.1", port), timeout=10, source_address=(STRANGER, 0)) as connection:
        connection.sendall(data)
        while connection.recv(4096):
            pass
