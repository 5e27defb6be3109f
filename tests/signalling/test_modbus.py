"""The Modbus TCP output against clients: well-behaved ones that nobody here wrote, raw bytes, and hostile ones."""

from __future__ import annotations

import re
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from time import perf_counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plc_desk import RawClient, inspection, request, wait_until
from pymodbus.client import ModbusTcpClient
from requires import require_tool

from inspector.errors import SignalError
from inspector.part import Reason
from inspector.signalling import modbus_clients, registers
from inspector.signalling.modbus import ModbusSignal
from inspector.signalling.modbus_clients import MAX_CONNECTIONS
from inspector.signalling.registers import ring_position, unpack_block, unpack_entry
from inspector.signalling.signal import StationState

HEARTBEAT = registers.ADDRESS["heartbeat"]


@pytest.fixture
def signal() -> Iterator[ModbusSignal]:
    """Two stations on units 1 and 2, ready, beating every 10 ms."""
    made = ModbusSignal("127.0.0.1", 0, {"st1": 1, "st2": 2}, heartbeat_ms=10)
    made.start()
    for station in ("st1", "st2"):
        made.set_station(station, StationState.READY, "tiles", "tiles@0123456789ab", ("crack", "scratch"))
    yield made
    made.close()


def fill_ring(signal: ModbusSignal) -> None:
    for n in range(1, 101):
        reason = Reason.WITHIN_LIMITS if n % 3 else Reason.SCORE_ABOVE_LIMIT
        signal.publish(inspection(n, trigger=n * 2**40, reason=reason, defect_class="" if n % 3 else "scratch"))


def image(signal: ModbusSignal) -> list[int]:
    """All registers of unit 1, the heartbeat left out, since it moves."""
    with RawClient(signal.port) as client:
        words = [word for address in range(0, 1152, 96) for word in client.read(address, 96)]
    words[HEARTBEAT] = 0
    return words


class TestProtocol:
    """Bytes on the wire."""

    def test_one_response_byte_by_byte(self, signal: ModbusSignal) -> None:
        signal.publish(inspection(258, trigger=2**56 + 7, reason=Reason.SCORE_ABOVE_LIMIT))
        with RawClient(signal.port) as client:
            client.socket.sendall(bytes.fromhex("abcd 0000 0006 01 04 000a 0008"))
            expected = "abcd 0000 0013 01 04 10" + "0000 0102" + "0100 0000 0000 0007" + "0002 0002"
            assert client.receive().hex() == expected.replace(" ", "")

    @pytest.mark.parametrize(
        ("sent", "answer"),
        [
            pytest.param("0001 0000 0006 01 06 000a 0001", "86 01", id="write one register: nothing is writable"),
            pytest.param("0001 0000 0009 01 10 0000 0001 02 0001", "90 01", id="write several registers"),
            pytest.param("0001 0000 0008 01 16 0000 0001 0001", "96 01", id="mask write"),
            pytest.param("0001 0000 000d 01 17 0000 0001 0000 0001 02 0001", "97 01", id="read and write at once"),
            pytest.param("0001 0000 0006 01 05 0000 ff00", "85 01", id="write a coil"),
            pytest.param("0001 0000 0006 01 01 0000 0001", "81 01", id="no coils here"),
            pytest.param("0001 0000 0006 01 08 0004 0000", "88 01", id="diagnostics: force listen only"),
            pytest.param("0001 0000 0002 01 00", "80 01", id="function 0"),
            pytest.param("0001 0000 0002 01 ff", "ff 01", id="a function that is an exception"),
            pytest.param("0001 0000 0006 01 04 0000 0000", "84 03", id="no registers"),
            pytest.param("0001 0000 0006 01 04 0000 007e", "84 03", id="126 registers"),
            pytest.param("0001 0000 0006 01 03 0000 ffff", "83 03", id="65535 registers"),
            pytest.param("0001 0000 0005 01 04 0000 00", "84 03", id="request cut short"),
            pytest.param("0001 0000 0007 01 04 0000 0001 00", "84 03", id="request too long"),
            pytest.param("0001 0000 0006 01 04 0480 0001", "84 02", id="first address after the map"),
            pytest.param("0001 0000 0006 01 04 047f 0002", "84 02", id="reaches over the end of the map"),
            pytest.param("0001 0000 0006 01 04 ffff 007d", "84 02", id="last address there is"),
            pytest.param("0001 0000 0006 03 04 0000 0001", "84 0b", id="no such unit"),
            pytest.param("0001 0000 0006 00 04 0000 0001", "84 0b", id="unit 0 is no station"),
        ],
    )
    def test_refusals(self, signal: ModbusSignal, sent: str, answer: str) -> None:
        data = bytes.fromhex(sent)
        with RawClient(signal.port) as client:
            client.socket.sendall(data)
            assert client.receive() == data[:4] + b"\x00\x03" + data[6:7] + bytes.fromhex(answer)
            assert client.read(0, 1) == [0x5649], "the connection lives on"

    def test_pipelined_requests_are_answered_in_order(self, signal: ModbusSignal) -> None:
        with RawClient(signal.port) as client:
            client.socket.sendall(b"".join(request(n, 1, 4, 0, 1 + n % 125) for n in range(200)))
            for n in range(200):
                response = client.receive()
                assert int.from_bytes(response[:2], "big") == n
                assert len(response) == 9 + 2 * (1 + n % 125)

    def test_a_request_may_come_in_single_bytes(self, signal: ModbusSignal) -> None:
        with RawClient(signal.port) as client:
            client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in request(5, 2, 3, 1, 1):
                client.socket.sendall(bytes([byte]))
            assert client.receive().hex() == "00050000000502030200" + "01"

    def test_stations_do_not_mix(self, signal: ModbusSignal) -> None:
        signal.publish(inspection(5, station="st2"))
        with RawClient(signal.port) as client:
            assert unpack_block(client.read(0, 82, unit=1)).verdict == 0
            assert unpack_block(client.read(0, 82, unit=2)).sequence == 5


class TestOtherPeoplesClients:
    """mbpoll and pymodbus read every register of the map."""

    @pytest.mark.parametrize(("kind", "name"), [("3", "input"), ("4", "holding")])
    def test_mbpoll_reads_the_whole_map(self, signal: ModbusSignal, kind: str, name: str) -> None:
        mbpoll = require_tool("mbpoll")
        fill_ring(signal)
        words: list[int] = []
        for address in range(0, 1152, 96):
            target = ["-a", "1", "-p", str(signal.port), "-0", "-r", str(address), "-c", "96", "-t", f"{kind}:hex"]
            run = subprocess.run([mbpoll, "-1", "-q", *target, "127.0.0.1"], capture_output=True, text=True, timeout=20)
            assert run.returncode == 0, run.stderr
            found = re.findall(r"^\[(\d+)\]:\s+0x([0-9A-F]{4})", run.stdout, re.MULTILINE)
            assert [int(number) for number, _ in found] == list(range(address, address + 96)), name
            words += [int(word, 16) for _, word in found]
        assert words[HEARTBEAT] > 0
        words[HEARTBEAT] = 0
        assert words == image(signal)
        assert unpack_block(words).sequence == 100

    def test_mbpoll_reads_numbers_as_documented(self, signal: ModbusSignal) -> None:
        mbpoll = require_tool("mbpoll")
        signal.publish(inspection(70_000, score=1.25, limit=0.75))
        for kind, address, expected in (("3:int", 10, "70000"), ("3:float", 20, "1.25"), ("3:float", 22, "0.75")):
            target = ["-a", "1", "-p", str(signal.port), "-0", "-r", str(address), "-t", kind, "-B", "127.0.0.1"]
            run = subprocess.run([mbpoll, "-1", "-q", *target], capture_output=True, text=True, timeout=20)
            assert re.search(rf"^\[{address}\]:\s+{re.escape(expected)}\s*$", run.stdout, re.MULTILINE), run.stdout

    def test_mbpoll_cannot_write(self, signal: ModbusSignal) -> None:
        mbpoll = require_tool("mbpoll")
        before = image(signal)
        target = ["-a", "1", "-p", str(signal.port), "-0", "-r", "16", "-t", "4", "127.0.0.1", "1"]
        run = subprocess.run([mbpoll, "-1", "-q", *target], capture_output=True, text=True, timeout=20)
        assert "Illegal function" in run.stdout + run.stderr
        assert image(signal) == before

    def test_pymodbus_reads_the_whole_map(self, signal: ModbusSignal) -> None:
        fill_ring(signal)
        client = ModbusTcpClient("127.0.0.1", port=signal.port)
        words: list[int] = []
        for address in range(0, 1152, 96):
            words += client.read_holding_registers(address, count=96, device_id=1).registers
        client.close()
        words[HEARTBEAT] = 0
        assert words == image(signal)


class TestAtomicity:
    """A client that polls while results are published never sees half of one."""

    @pytest.fixture
    def eager_threads(self) -> Iterator[None]:
        """Threads change as often as they can, so that a torn write would be seen."""
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        yield
        sys.setswitchinterval(interval)

    @pytest.mark.usefixtures("eager_threads")
    def test_no_answer_mixes_two_results(self, signal: ModbusSignal) -> None:
        done = threading.Event()

        def trigger_of(n: int) -> int:
            return n % 2**16 * 0x0001_0001_0001_0001  # the same in all four registers

        def publish() -> None:
            n = 0
            while not done.is_set():
                n += 64  # always entry 0, the one that a single request can reach together with the latest result
                signal.publish(inspection(n, trigger=trigger_of(n), score=float(n % 2**16)))

        publisher = threading.Thread(target=publish)
        publisher.start()
        seen = set()
        try:
            with RawClient(signal.port) as client:
                end = perf_counter() + 1.5
                while perf_counter() < end or len(seen) < 20:
                    words = client.read(10, 125)
                    latest = unpack_block([0] * 10 + words)
                    in_ring = words[128 - 10] * 2**16 + words[129 - 10]
                    assert (latest.trigger, latest.score) == (trigger_of(latest.sequence), latest.sequence % 2**16)
                    assert in_ring == latest.sequence
                    entry = unpack_entry(client.read(ring_position(0), 16))
                    assert entry is None or entry.trigger == trigger_of(entry.sequence)
                    seen.add(latest.sequence)
        finally:
            done.set()
            publisher.join()

    def test_publish_takes_microseconds_while_clients_hammer(self, signal: ModbusSignal) -> None:
        done = threading.Event()

        def hammer() -> None:
            with RawClient(signal.port) as client:
                while not done.is_set():
                    client.read(0, 125)

        clients = [threading.Thread(target=hammer) for _ in range(3)]
        for client in clients:
            client.start()
        times = []
        for n in range(1, 3001):
            one = inspection(n)
            begin = perf_counter()
            signal.publish(one)
            times.append(perf_counter() - begin)
        done.set()
        for client in clients:
            client.join()
        # The median, because on a busy machine the tail measures the scheduler.
        assert sorted(times)[1500] < 100e-6


class TestHeartbeat:
    """The heartbeat says that the publishing side lives."""

    def test_stands_still_while_the_service_is_stuck_and_goes_on_after(self) -> None:
        living = threading.Event()
        asked = threading.Semaphore(0)

        def alive() -> bool:
            asked.release()
            return living.is_set()

        signal = ModbusSignal("127.0.0.1", 0, {"st1": 1}, heartbeat_ms=10)
        signal.start(alive)
        try:
            with RawClient(signal.port) as client:
                for _ in range(5):
                    assert asked.acquire(timeout=10)
                assert client.read(HEARTBEAT, 1) == [0]
                living.set()
                wait_until(lambda: client.read(HEARTBEAT, 1)[0] > 3, "heartbeat moves")
        finally:
            signal.close()

    def test_a_liveness_check_that_raises_stops_it_and_is_logged_once(self, caplog: pytest.LogCaptureFixture) -> None:
        asked = threading.Semaphore(0)

        def alive() -> bool:
            asked.release()
            raise RuntimeError("broken")

        signal = ModbusSignal("127.0.0.1", 0, {"st1": 1}, heartbeat_ms=10)
        signal.start(alive)
        for _ in range(5):
            assert asked.acquire(timeout=10)
        with RawClient(signal.port) as client:
            assert client.read(HEARTBEAT, 1) == [0]
        signal.close()
        assert caplog.text.count("liveness check failed, heartbeat stopped") == 1
        assert "RuntimeError: broken" in caplog.text

    def test_wraps_after_65535(self) -> None:
        desk = modbus_clients.ModbusDesk({}, modbus_clients.Allowed([], print))
        desk.heartbeat = 65535
        desk.beat()
        assert desk.heartbeat == 0


class TestStart:
    """Starting, refusing to start, stopping."""

    def test_port_in_use(self, signal: ModbusSignal) -> None:
        with pytest.raises(SignalError, match=rf"127\.0\.0\.1:{signal.port}.*choose another port"):
            ModbusSignal("127.0.0.1", signal.port, {"st1": 1}).start()

    @pytest.mark.parametrize(
        ("host", "said"),
        [
            pytest.param("203.0.113.7", "give an address of this machine", id="somebody else's address"),
            pytest.param("no-such-host.invalid", "check host and port", id="unknown name"),
            pytest.param("x" * 80, "check host and port", id="no name at all"),
            pytest.param("a\0b", "check host and port", id="hostile name"),
        ],
    )
    def test_address_that_cannot_be_listened_on(self, host: str, said: str) -> None:
        with pytest.raises(SignalError, match=said):
            ModbusSignal(host, 0, {"st1": 1}).start()

    @pytest.mark.parametrize(
        ("port", "stations", "heartbeat_ms", "said"),
        [
            pytest.param(70000, {"st1": 1}, 100, "port 70000", id="port too large"),
            pytest.param(-1, {"st1": 1}, 100, "port -1", id="port negative"),
            pytest.param(0, {"st1": 0}, 100, "unit 0", id="unit 0 is for broadcast"),
            pytest.param(0, {"st1": 248}, 100, "unit 248", id="units above 247 are reserved"),
            pytest.param(0, {"st1": 1, "st2": 1}, 100, "share", id="two stations, one unit"),
            pytest.param(0, {"st1": 1}, 0, "heartbeat of 0", id="heartbeat without a pause"),
            pytest.param(0, {"st1": 1}, 10**9, "heartbeat of", id="heartbeat that never comes"),
        ],
    )
    def test_arguments_out_of_range(self, port: int, stations: dict[str, int], heartbeat_ms: int, said: str) -> None:
        with pytest.raises(SignalError, match=said):
            ModbusSignal("127.0.0.1", port, stations, heartbeat_ms)

    def test_twice_is_refused(self, signal: ModbusSignal) -> None:
        with pytest.raises(SignalError, match="started before"):
            signal.start()

    def test_close_frees_the_port_hangs_up_and_may_come_twice(self, signal: ModbusSignal) -> None:
        with RawClient(signal.port) as client:
            client.read(0, 1)
            signal.close()
            signal.close()
            assert client.hung_up()
            again = ModbusSignal("127.0.0.1", signal.port, {"st1": 1})
            again.start()
            again.close()

    def test_close_without_start(self) -> None:
        ModbusSignal("127.0.0.1", 0, {"st1": 1}).close()

    def test_history_fills_the_ring_before_the_first_client(self) -> None:
        history = [inspection(n, station="st1" if n % 2 else "st2") for n in range(1, 201)]
        signal = ModbusSignal("127.0.0.1", 0, {"st1": 1, "st2": 2}, start_history=history)
        signal.start()
        with RawClient(signal.port) as client:
            block = unpack_block(client.read(0, 82))
            assert (block.state, block.sequence, block.ring_count) == (StationState.NOT_READY, 199, 64)
        signal.close()

    def test_a_station_without_unit_is_told_once_in_the_log(self, caplog: pytest.LogCaptureFixture) -> None:
        signal = ModbusSignal("127.0.0.1", 0, {"st1": 1}, heartbeat_ms=10)
        signal.start()
        for n in range(3):
            signal.publish(inspection(n, station="nowhere"))
            signal.set_station("nowhere", StationState.READY)
        wait_until(lambda: "station nowhere has no Modbus unit" in caplog.text, "log entry")
        with RawClient(signal.port) as client:
            beat = client.read(HEARTBEAT, 1)[0]
            wait_until(lambda: client.read(HEARTBEAT, 1)[0] > beat + 2, "more heartbeats")
        signal.close()
        assert caplog.text.count("nowhere") == 1


class TestHostileClients:
    """What must not harm the PLC on the next connection."""

    @pytest.mark.parametrize(
        "sent",
        [
            pytest.param(b"GET / HTTP/1.1\r\nHost: plc\r\n\r\n", id="a browser"),
            pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", id="TLS"),
            pytest.param(bytes(12), id="zeros: length 0"),
            pytest.param(b"\x00\x01\x00\x00\x00\x01\x01", id="length without a function"),
            pytest.param(b"\x00\x01\x00\x00\xff\xff\x01\x04", id="length beyond the protocol's limit"),
            pytest.param(b"\xff" * 100_000, id="a flood of nonsense"),
        ],
    )
    def test_garbage_ends_the_connection_and_is_logged(
        self, signal: ModbusSignal, sent: bytes, caplog: pytest.LogCaptureFixture
    ) -> None:
        with RawClient(signal.port) as plc, RawClient(signal.port) as client:
            client.socket.sendall(sent)
            assert client.hung_up()
            assert plc.read(0, 1) == [0x5649]
        assert "Modbus client ('127.0.0.1'," in caplog.text

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(data=st.binary(max_size=300), framed=st.booleans())
    def test_any_bytes_leave_the_server_answering(self, signal: ModbusSignal, data: bytes, framed: bool) -> None:
        header = struct.pack(">HHH", 1, 0, len(data)) if framed else b""
        before = image(signal)
        with RawClient(signal.port) as client:
            client.socket.sendall(header + data)
        assert image(signal) == before

    def test_half_a_request_blocks_nobody(self, signal: ModbusSignal) -> None:
        with RawClient(signal.port) as half, RawClient(signal.port) as plc:
            half.socket.sendall(b"\x00\x01\x00\x00\x00\x06\x01")
            assert plc.read(0, 1) == [0x5649]
            half.socket.shutdown(socket.SHUT_WR)
            assert half.hung_up()
            assert plc.read(0, 1) == [0x5649]

    def test_a_reset_connection_blocks_nobody(self, signal: ModbusSignal) -> None:
        with RawClient(signal.port) as plc:
            for _ in range(20):
                client = socket.create_connection(("127.0.0.1", signal.port))
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.sendall(request(1, 1, 4, 0, 125) * 3)
                client.close()  # with SO_LINGER 0 a reset instead of a goodbye
            assert plc.read(0, 1) == [0x5649]

    def test_idle_connections_cannot_lock_the_plc_out(self, signal: ModbusSignal) -> None:
        with RawClient(signal.port) as plc:
            plc.read(0, 1)
            idle = [socket.create_connection(("127.0.0.1", signal.port)) for _ in range(3 * MAX_CONNECTIONS)]
            assert plc.read(0, 1) == [0x5649], "who asks properly keeps its place"
            with RawClient(signal.port) as second_plc:
                assert second_plc.read(0, 1) == [0x5649], "and a new client finds one"
            for client in idle:
                client.close()

    def test_a_client_that_reads_no_answers_is_dropped(
        self, signal: ModbusSignal, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(modbus_clients, "_DRAIN_S", 0.1)
        monkeypatch.setattr(modbus_clients, "_TURN_S", 0.0)
        deaf = socket.socket()
        deaf.settimeout(20)
        # Before it connects: a window that shrinks later costs acknowledgements, and then neither side sends any more.
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", signal.port))
        many = request(1, 1, 4, 0, 125) * 1000

        def ask_without_listening() -> None:
            for _ in range(20_000):
                deaf.sendall(many)

        with RawClient(signal.port) as plc:
            with pytest.raises(ConnectionError):
                ask_without_listening()
            assert plc.read(0, 1) == [0x5649]
        deaf.close()

    def test_a_flood_is_slowed_and_the_plc_still_served(self, signal: ModbusSignal) -> None:
        done = threading.Event()

        def flood() -> None:
            with RawClient(signal.port) as client:
                client.socket.settimeout(0.2)
                while not done.is_set():
                    try:
                        client.socket.sendall(request(1, 1, 4, 0, 125) * 500)
                        client.socket.recv(1 << 20)
                    except TimeoutError:
                        continue
                    except ConnectionError:
                        return

        flooder = threading.Thread(target=flood)
        flooder.start()
        times = []
        with RawClient(signal.port) as plc:
            for _ in range(100):
                begin = perf_counter()
                plc.read(0, 82)
                times.append(perf_counter() - begin)
        done.set()
        flooder.join()
        assert sorted(times)[50] < 0.05


class TestAllowed:
    """Which addresses may connect; the protocol has no login."""

    @pytest.mark.parametrize(
        ("allow", "is_let_in"),
        [
            pytest.param((), True, id="nobody is named, as on loopback"),
            pytest.param(("127.0.0.1",), True, id="the address itself"),
            pytest.param(("10.0.0.0/8", "127.0.0.0/8"), True, id="its network, the second of two"),
            pytest.param(("10.0.0.0/8",), False, id="another network"),
            pytest.param(("::/0",), False, id="every address of the other family"),
        ],
    )
    def test_only_who_is_named_gets_answers(self, allow: tuple[str, ...], is_let_in: bool) -> None:
        refused: list[str] = []
        signal = ModbusSignal("127.0.0.1", 0, {"st1": 1}, allow=allow, on_refused=refused.append)
        signal.start()
        try:
            with RawClient(signal.port) as client:
                if is_let_in:
                    assert client.read(0, 1) == [0x5649]
                else:
                    assert client.hung_up()
        finally:
            signal.close()
        assert refused == ([] if is_let_in else ["127.0.0.1"])

    def test_a_client_of_ipv4_is_known_on_a_socket_for_both_families(self) -> None:
        allowed = modbus_clients.Allowed(["10.0.0.0/24"], print)
        assert "::ffff:10.0.0.9" in allowed
        assert "::ffff:10.0.1.9" not in allowed
        assert "fe80::1%eth0" not in allowed
        assert "" not in allowed

    def test_a_network_that_is_none_is_refused_at_the_start(self) -> None:
        with pytest.raises(SignalError, match="correct the addresses"):
            ModbusSignal("127.0.0.1", 0, {"st1": 1}, allow=["plc"])
