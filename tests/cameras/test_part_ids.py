"""Which part a frame shows: as a PLC counts it, with late and double triggers, and by a code in its picture."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import cv2
import numpy as np
import pytest
import zxingcpp
from asyncua import Server, ua
from pymodbus.datastore import ModbusDeviceContext, ModbusSequentialDataBlock, ModbusServerContext
from pymodbus.server import ModbusTcpServer
from rpc_line import wait_for

from inspector.cameras.sources.codes import FORMATS, CodeStage
from inspector.cameras.sources.numbered import NumberedSource
from inspector.cameras.sources.part_count import Count, Missed, PartCount
from inspector.cameras.sources.plc_readers import ModbusReader, OpcUaReader, Reading, sound_id
from inspector.cameras.sources.source import Grab, Lost, Taken
from inspector.errors import SourceError
from inspector.part import Box, Frame, PixelFormat
from inspector.sim.demo.processes import free_ports

# The rule

COUNT, FRAME = "count", "frame"
# When: of a count from when to when it may have been, if the PLC answered slowly.
Event = tuple[float | tuple[float, float], str, int]
RULE: list[tuple[str, list[Event], list[int | str]]] = [
    ("parts in turn", [(1.0, COUNT, 1), (1.1, FRAME, 0), (2.0, COUNT, 2), (2.1, FRAME, 0)], [1, 2]),
    ("a frame a little early or late", [(1.0, COUNT, 1), (1.06, FRAME, 0), (2.0, COUNT, 2), (2.14, FRAME, 0)], [1, 2]),
    ("a late count: the frame came first", [(1.0, FRAME, 0), (0.94, COUNT, 1)], [1]),
    (
        "a double trigger: the second frame is of no part",
        [(1.0, COUNT, 1), (1.1, FRAME, 0), (1.12, FRAME, 0)],
        [1, "double"],
    ),
    ("a frame of nothing", [(1.5, FRAME, 0), (3.0, COUNT, 1), (3.1, FRAME, 0)], ["double", 1]),
    ("a part without a frame, then another", [(1.0, COUNT, 1), (2.0, COUNT, 2), (2.1, FRAME, 0)], ["-1", 2]),
    ("a part without a frame, and nothing behind it", [(1.0, COUNT, 1), (9.0, "look", 0)], ["-1"]),
    (
        "two parts too close to be told apart",
        [(1.0, COUNT, 1), (1.04, COUNT, 2), (1.12, FRAME, 0)],
        ["-1", "-2", "none"],
    ),
    (
        "counted twice between two looks",
        [(1.0, COUNT, 1), (1.1, FRAME, 0), (2.0, COUNT, 3), (2.1, FRAME, 0)],
        [1, "2…3", "double"],
    ),
    (
        "a slow answer: the frame of 2 while the count of 1 is on its way",
        [((9.99, 10.203), COUNT, 1), (10.3, FRAME, 0), ((9.998, 10.21), COUNT, 2), (12.0, "look", 0)],
        ["-1", "-2", "none"],
    ),
    (
        "parts closer than late_ms: the frame of 1 is lost, and that of 2 is here before its count",
        [(10.0, COUNT, 1), (10.14, FRAME, 0), (10.041, COUNT, 2), (10.5, COUNT, 3), (10.6, FRAME, 0)],
        ["-1", "-2", "none", 3],
    ),
    (
        "a train of parts closer than late_ms: no frame is of the part behind its own",
        [(t, what, n) for n in (1, 2, 3) for t, what in ((1 + 0.04 * n, COUNT), (1.1 + 0.04 * n, FRAME))],
        ["-1", "-2", "none", "-3", "none", "double"],
    ),
    (
        "a slow answer that skips parts: their frames are not of the last",
        [((2.0, 2.2), COUNT, 3), (2.1, FRAME, 0), (2.2, FRAME, 0), (3.0, COUNT, 4), (3.1, FRAME, 0)],
        ["1…3", "double", "double", 4],
    ),
    (
        "a slow answer, and a second frame of the part before",
        [(2.0, COUNT, 1), (2.1, FRAME, 0), ((2.06, 2.2), COUNT, 2), (2.12, FRAME, 0)],
        [1, "-2", "none"],
    ),
    (
        "the count begins anew while a frame of the part before is on its way",
        [(1.0, COUNT, 7), ((1.01, 1.2), COUNT, 1), (1.1, FRAME, 0)],
        ["1…7", "-1", "none"],
    ),
    (
        "the count begins anew",
        [(1.0, COUNT, 7), (1.1, FRAME, 0), (2.0, COUNT, 1), (2.1, FRAME, 0)],
        ["1…7", "double", 1],
    ),
    ("the count stands still", [(1.0, COUNT, 0), (1.1, FRAME, 0)], ["double"]),
]


def began(event: Event) -> float:
    return event[0][0] if isinstance(event[0], tuple) else event[0]


def in_order(events: list[Event]) -> list[int | str]:
    """As the program does it: counts that are there by then, the frame when all that may be its own are read, what is overdue.
    Parts by their numbers, lost ones with a minus. The PLC stands at 0 when it begins.
    """
    count, told = PartCount(delay_s=0.1, late_s=0.05, frame_s=1.0), []

    def lost(missed: list[Missed]) -> None:
        told.extend(
            f"-{one.number}" if one.count == 1 else f"{one.number - one.count + 1}…{one.number}" for one in missed
        )

    def read(at: float | tuple[float, float], number: int) -> None:
        from_s, to_s = at if isinstance(at, tuple) else (at, at)
        lost(list(count.counted(Count(number, "", from_s, to_s))))

    read((-math.inf, 0.0), 0)
    waiting = list(events)
    while waiting:
        at_s, what, number = waiting.pop(0)
        if what == COUNT:
            read(at_s, number)
            continue
        assert isinstance(at_s, float)
        if what == FRAME:
            for late in [one for one in waiting if one[1] == COUNT and began(one) <= count.settled_s(at_s)]:
                waiting.remove(late)
                read(late[0], late[2])
            before = count.doubles
            missed, part = count.match(at_s)
            lost(missed)
            told.append(part.number if part else "double" if count.doubles > before else "none")
        lost(count.overdue(at_s))
    return told


@pytest.mark.parametrize(("why", "events", "expected"), RULE, ids=[row[0] for row in RULE])
def test_the_rule_for_late_and_double_triggers(why: str, events: list[Event], expected: list[int | str]) -> None:
    assert in_order(events) == expected


# With a PLC


class Plc:
    """A PLC of the test's own."""

    def __init__(self) -> None:
        self.reading = Reading(0)
        self.fault: SourceError | None = None
        self.opened = self.closed = 0
        # An answer that was given and does not come before this is set.
        self.on_its_way: threading.Event | None = None

    def open(self) -> None:
        self.opened += 1

    def read(self) -> Reading:
        if self.fault is not None:
            raise self.fault
        reading, on_its_way = self.reading, self.on_its_way
        if on_its_way is not None and reading.number == 5:
            assert on_its_way.wait(10)
        return reading

    def close(self) -> None:
        self.closed += 1

    def describe(self) -> str:
        return "a PLC"


class Belt:
    """A source whose frames come when the test says so."""

    waits = False
    rate_hz = None

    def __init__(self) -> None:
        self.coming: list[Grab] = []
        self.ended = False

    def open(self) -> None:
        pass

    def close(self) -> None:
        pass

    def describe(self) -> str:
        return "a belt"

    def grabs(self) -> Iterator[Grab | None]:
        while not self.ended:
            yield self.coming.pop(0) if self.coming else None
            time.sleep(0.001)


def shot(part_id: str = "") -> Taken:
    return Taken(Frame(0, PixelFormat.MONO8, 1, 1, 0, b"\0", part_id), "shot")


# So long after another a part is counted that its frame cannot be of that.
FAR_S = 0.8


@contextmanager
def running(plc: Plc, belt: Belt, **options: object) -> Iterator[list[Grab]]:
    source = NumberedSource(belt, plc, poll_ms=1, **{"late_ms": 300.0, "frame_ms": 100.0, **options})  # type: ignore[arg-type]
    source.open()
    told: list[Grab] = []
    thread = threading.Thread(target=lambda: told.extend(one for one in source.grabs() if one is not None))
    thread.start()
    try:
        yield told
    finally:
        belt.ended = True
        thread.join()
        source.close()
    assert plc.closed == plc.opened


def told_of(told: list[Grab]) -> list[tuple[str, int | None]]:
    return [(g.frame.part_id if isinstance(g, Taken) else f"-{g.part_id}", g.trigger) for g in told]


@pytest.mark.parametrize("as_triggers", [False, True])
def test_frames_get_the_parts_that_the_plc_counts(as_triggers: bool) -> None:
    plc, belt = Plc(), Belt()
    with running(plc, belt, as_triggers=as_triggers) as told:
        for number, part_id in ((1, "A-1"), (2, "A-2")):
            time.sleep(FAR_S)
            plc.reading = Reading(number, part_id)
            belt.coming.append(shot("the camera's own"))
            wait_for(lambda number=number: len(told) == number, "the part")
        # Counted, and no frame comes.
        plc.reading = Reading(3, "A-3")
        wait_for(lambda: len(told) == 3, "the part that was missed")
    numbers = (1, 2, 3) if as_triggers else (None, None, None)
    assert told_of(told) == list(zip(("A-1", "A-2", "-A-3"), numbers, strict=True))
    assert isinstance(told[2], Lost)
    assert "no frame came within" in told[2].why


def test_what_the_camera_says_of_a_lost_frame_is_told_with_its_part() -> None:
    plc, belt = Plc(), Belt()
    with running(plc, belt) as told:
        plc.reading = Reading(1, "A-1")
        belt.coming.append(Lost("2 of 9 packets came"))
        wait_for(lambda: bool(told), "the part")
    assert [(one.why, one.part_id, one.count) for one in told if isinstance(one, Lost)] == [
        ("2 of 9 packets came", "A-1", 1)
    ]


def test_a_second_frame_of_a_part_is_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    plc, belt = Plc(), Belt()
    with running(plc, belt) as told:
        time.sleep(FAR_S)
        plc.reading = Reading(1, "A-1")
        belt.coming += [shot(), shot()]
        wait_for(lambda: "of no part that" in caplog.text, "the double trigger in the log")
    assert told_of(told) == [("A-1", None)]


@pytest.mark.parametrize("step_s", [3600, -3600])
def test_a_clock_of_this_computer_that_is_set_does_not_part_frames_from_counts(step_s: int) -> None:
    plc, belt = Plc(), Belt()
    with running(plc, belt) as told:
        time.sleep(FAR_S)
        plc.reading = Reading(1, "A-1")
        taken = shot()
        stamped = replace(taken.frame, capture_time=datetime.now(UTC) + timedelta(seconds=step_s))
        belt.coming.append(replace(taken, frame=stamped, exposed_s=time.monotonic()))
        wait_for(lambda: len(told) == 1, "the part")
    assert told_of(told) == [("A-1", None)]


def test_a_frame_that_comes_while_the_plc_answers_is_not_of_the_part_before() -> None:
    """Part 5 is told late, and part 6 passes meanwhile: its frame may be of either."""
    plc, belt = Plc(), Belt()
    plc.reading, plc.on_its_way = Reading(4, "A-4"), threading.Event()
    with running(plc, belt, late_ms=50.0, frame_ms=500.0, as_triggers=True) as told:
        time.sleep(0.15)
        plc.reading = Reading(5, "A-5")
        time.sleep(0.15)
        plc.reading = Reading(6, "A-6")
        belt.coming.append(shot())
        time.sleep(0.02)
        plc.on_its_way.set()
        wait_for(lambda: len(told) == 2, "both parts")
    assert told_of(told) == [("-A-5", 5), ("-A-6", 6)]
    assert isinstance(told[0], Lost)
    assert "a frame may show any of parts 5 to 6" in told[0].why


def test_a_plc_that_answers_no_more_is_a_fault_of_the_source() -> None:
    plc, belt = Plc(), Belt()
    source = NumberedSource(belt, plc, poll_ms=1)
    source.open()
    plc.fault = SourceError("the PLC is off")
    with pytest.raises(SourceError, match="the PLC is off"):
        for _ in source.grabs():
            pass
    source.close()
    assert plc.closed == 1
    with pytest.raises(SourceError, match="the PLC is off"):
        source.open()
    plc.fault = None
    source.open()
    source.close()


# Real PLC protocols


@pytest.fixture
def modbus() -> Iterator[tuple[int, ModbusServerContext]]:
    """A Modbus server: unit 3, part 70000 with the id "AB-12" from register 100."""
    (port,) = free_ports(1)
    words = [0x0001, 0x1170, *(int.from_bytes(pair, "big") for pair in (b"AB", b"-1", b"2\0"))]
    block = ModbusSequentialDataBlock(101, words)
    context = ModbusServerContext(devices={3: ModbusDeviceContext(hr=block)}, single=False)
    loop = asyncio.new_event_loop()
    server: list[ModbusTcpServer] = []

    async def serve() -> None:
        server.append(ModbusTcpServer(context, address=("127.0.0.1", port)))
        await server[0].serve_forever(background=True)

    loop.run_until_complete(serve())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield port, context
    asyncio.run_coroutine_threadsafe(server[0].shutdown(), loop).result(5)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def test_a_part_from_modbus_registers(modbus: tuple[int, ModbusServerContext]) -> None:
    port, _ = modbus
    reader = ModbusReader("127.0.0.1", port, 3, 100, 3)
    reader.open()
    assert reader.read() == Reading(70_000, "AB-12")
    reader.close()
    number_only = ModbusReader("127.0.0.1", port, 3, 100)
    number_only.open()
    assert number_only.read() == Reading(70_000)
    number_only.close()


@pytest.mark.parametrize(("unit", "register"), [(3, 5000), (4, 100)])
def test_registers_that_are_not_there(modbus: tuple[int, ModbusServerContext], unit: int, register: int) -> None:
    reader = ModbusReader("127.0.0.1", modbus[0], unit, register, 3)
    reader.open()
    with pytest.raises(SourceError, match=r"no 5 holding registers|answers no more"):
        reader.read()
    reader.close()


def test_no_plc() -> None:
    (port,) = free_ports(1)
    with pytest.raises(SourceError, match="does not answer"):
        ModbusReader("127.0.0.1", port, 1, 0).open()
    with pytest.raises(SourceError, match="is it on"):
        OpcUaReader(f"opc.tcp://127.0.0.1:{port}", "ns=2;s=Part").open()


@contextmanager
def opcua() -> Iterator[str]:
    """A real OPC UA server with a part's number and id; it ends with the context."""
    (port,) = free_ports(1)
    address = f"opc.tcp://127.0.0.1:{port}/plc"
    ready, ending = threading.Event(), threading.Event()

    async def serve() -> None:
        server = Server()
        await server.init()
        server.set_endpoint(address)
        index = await server.register_namespace("plc")
        objects = server.nodes.objects
        await objects.add_variable(ua.NodeId("Part", index), "Part", 12, ua.VariantType.UInt32)
        await objects.add_variable(ua.NodeId("Id", index), "Id", "AB-12")
        async with server:
            ready.set()
            while not ending.is_set():
                await asyncio.sleep(0.01)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(90), "the OPC UA server starts"
    try:
        yield address
    finally:
        ending.set()
        thread.join()


def test_a_part_from_opc_ua() -> None:
    with opcua() as address:
        reader = OpcUaReader(address, "ns=2;s=Part", "ns=2;s=Id")
        reader.open()
        assert reader.read() == Reading(12, "AB-12")
        reader.close()
        wrong = OpcUaReader(address, "ns=2;s=Id")
        wrong.open()
        with pytest.raises(SourceError, match="must be a count of parts"):
            wrong.read()
        wrong.close()
        absent = OpcUaReader(address, "ns=2;s=Nothing")
        absent.open()
        with pytest.raises(SourceError, match="are the node ids right"):
            absent.read()
        absent.close()


@pytest.mark.parametrize(
    ("text", "expected"),
    [("A-1", "A-1"), ("  A-1 ", "A-1"), ("", ""), ("A\x01", ""), ("x" * 129, ""), ("A�", "")],
)
def test_ids_that_the_service_takes(text: str, expected: str) -> None:
    assert sound_id(text) == expected


# Codes in the picture


def picture(*codes: tuple[str, str], size: tuple[int, int] = (400, 700)) -> np.ndarray:  # type: ignore[type-arg]
    """A grey picture with codes of a kind and a text each, side by side, and a little noise."""
    canvas = np.full(size, 180, np.uint8)
    x = 30
    for kind, text in codes:
        barcode = zxingcpp.create_barcode(text, getattr(zxingcpp.BarcodeFormat, FORMATS[kind]))
        image = np.array(zxingcpp.write_barcode_to_image(barcode, scale=4))
        image = np.pad(image, 16, constant_values=255)
        if image.shape[0] < 60:
            image = np.repeat(image, 3, axis=0)
        canvas[60 : 60 + image.shape[0], x : x + image.shape[1]] = image
        x += image.shape[1] + 30
    noise = np.random.default_rng(3).normal(0, 6, size)
    return np.clip(canvas * 0.8 + 20 + noise, 0, 255).astype(np.uint8)


def framed(pixels: np.ndarray, as_png: bool = False) -> Taken:  # type: ignore[type-arg]
    height, width = pixels.shape[:2]
    if as_png:
        return Taken(Frame(0, PixelFormat.PNG, 0, 0, 0, cv2.imencode(".png", pixels)[1].tobytes(), "file"), "f")
    return Taken(Frame(0, PixelFormat.MONO8, width, height, 0, pixels.tobytes(), "file"), "f")


ALL = list(FORMATS)
CODES: list[tuple[str, list[tuple[str, str]], list[str], str]] = [
    ("Data Matrix", [("data-matrix", "SN 0042")], ALL, "SN 0042"),
    ("QR", [("qr", "https://plant/part/42")], ALL, "https://plant/part/42"),
    ("Code 128", [("code-128", "0042-A")], ALL, "0042-A"),
    ("none", [], ALL, ""),
    ("of another kind than wanted", [("qr", "42")], ["data-matrix"], ""),
    ("two that say the same", [("qr", "42"), ("data-matrix", "42")], ALL, "42"),
    ("two that say different things", [("qr", "42"), ("data-matrix", "43")], ALL, ""),
    ("one of the wanted kind beside another", [("qr", "42"), ("data-matrix", "43")], ["data-matrix"], "43"),
]


@pytest.mark.parametrize(("why", "codes", "formats", "expected"), CODES, ids=[row[0] for row in CODES])
@pytest.mark.parametrize("as_png", [False, True])
def test_the_id_is_read_in_the_picture(
    why: str, codes: list[tuple[str, str]], formats: list[str], expected: str, as_png: bool
) -> None:
    grab = CodeStage(formats)(framed(picture(*codes), as_png))
    assert isinstance(grab, Taken)
    assert grab.frame.part_id == expected


def test_only_the_region_is_read() -> None:
    pixels = picture(("qr", "42"), ("data-matrix", "43"))
    stage = CodeStage(ALL, Box(0, 0, 190, 400))
    grab = stage(framed(pixels))
    assert isinstance(grab, Taken)
    assert (grab.frame.part_id, stage.found, stage.several) == ("42", 1, 0)
    outside = CodeStage(ALL, Box(5000, 0, 10, 10))(framed(pixels))
    assert isinstance(outside, Taken)
    assert outside.frame.part_id == ""


def test_frames_that_cannot_be_read_and_lost_ones_pass(caplog: pytest.LogCaptureFixture) -> None:
    stage = CodeStage(ALL)
    lost = Lost("no exposure")
    assert stage(lost) is lost
    for _ in range(5):
        torn = stage(Taken(Frame(0, PixelFormat.PNG, 0, 0, 0, b"\x89PNG torn", "file"), "f"))
        assert isinstance(torn, Taken)
        assert torn.frame.part_id == ""
    assert [record.getMessage().rpartition("(")[2] for record in caplog.records] == [
        "1 so far)",
        "2 so far)",
        "4 so far)",
    ]
