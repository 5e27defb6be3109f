"""Frames through shared memory: who gets it, what is sent through it, and that both sides get over the other's end."""

from __future__ import annotations

import gc
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from requires import require
from rpc_line import Camera, Line, Lines, wait_for
from test_client import Told, connect
from test_client import told as told  # a fixture
from toys import toy_bundle

from inspector.cameras.client import CameraClient
from inspector.cameras.sharing import FrameSharer
from inspector.part import Frame, PixelFormat, Reason
from inspector.ring import is_supported
from inspector.rpc.sharing import FrameSharing
from inspector.sim.demo.processes import free_ports
from inspector.v1.inspection_service_pb2 import FrameMemory

MIB = 1 << 20
SIDE = 320
PIXELS = SIDE * SIDE


@pytest.fixture(autouse=True)
def _linux() -> None:
    require(is_supported(), "memory files whose size can be sealed: Linux")


def shot(value: int = 0, side: int = SIDE, pixel_format: PixelFormat = PixelFormat.MONO8) -> Frame:
    return Frame(0, pixel_format, side, side, 0, bytes([value]) * (side * side))


@pytest.fixture
def sharing() -> Iterator[FrameSharing]:
    sharing = FrameSharing(MIB)
    sharing.start()
    yield sharing
    sharing.stop()


# The hand-over


def test_who_is_on_this_host_and_of_this_user_gets_the_memory(sharing: FrameSharing) -> None:
    with sharing.offer() as offer:
        assert offer.message is not None
        sharer = FrameSharer()
        sharer.accept(offer.message)
        assert sharer.shares
        assert offer.memory is not None
        assert offer.memory.size_bytes == MIB


def test_the_memory_is_handed_over_once(sharing: FrameSharing) -> None:
    with sharing.offer() as offer:
        assert offer.message is not None
        first, second = FrameSharer(), FrameSharer()
        first.accept(offer.message)
        second.accept(offer.message)
    assert (first.shares, second.shares) == (True, False)


REFUSED = [
    ("another token", {"token": b"x" * 16}),
    ("no token", {"token": b""}),
    ("nobody listens there: the service is on another host", {"socket": "inspector-frames-" + "0" * 32}),
    ("a socket of some other program", {"socket": "/tmp/.X11-unix/X0"}),
    ("no socket", {"socket": ""}),
]


@pytest.mark.parametrize(("why", "change"), REFUSED, ids=[why for why, _ in REFUSED])
def test_whoever_does_not_get_it_sends_bytes(sharing: FrameSharing, why: str, change: dict[str, object]) -> None:
    with sharing.offer() as offer:
        assert offer.message is not None
        message = FrameMemory()
        message.CopyFrom(offer.message)
        for field, value in change.items():
            setattr(message, field, value)
        sharer = FrameSharer()
        sharer.accept(message)
        assert not sharer.shares
        assert sharer.put(shot(), MIB) is None
        assert offer.memory is None


def test_an_offer_ends_with_its_stream(sharing: FrameSharing) -> None:
    with sharing.offer() as offer:
        assert offer.message is not None
    sharer = FrameSharer()
    sharer.accept(offer.message)
    assert not sharer.shares


_OTHER_USER = """
import os, socket, sys
os.setresuid(65534, 65534, 65534)
with socket.socket(socket.AF_UNIX) as service:
    service.connect("\\0" + sys.argv[1])
    try:
        service.sendall(bytes.fromhex(sys.argv[2]))
        print(len(socket.recv_fds(service, 1, 1)[1]))
    except (BrokenPipeError, ConnectionResetError):
        print("hung up")
"""


def test_another_user_of_this_host_gets_nothing(sharing: FrameSharing) -> None:
    """Even with the token: the kernel says who asks."""
    require(os.geteuid() == 0, "root, to become another user")
    with sharing.offer() as offer:
        assert offer.message is not None
        command = [sys.executable, "-c", _OTHER_USER, offer.message.socket, offer.message.token.hex()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.stdout.strip() in ("0", "hung up"), done.stderr
        assert offer.memory is None


def test_a_program_that_connects_and_says_nothing_keeps_nobody_waiting_for_long(sharing: FrameSharing) -> None:
    with sharing.offer() as offer, socket.socket(socket.AF_UNIX) as silent:
        assert offer.message is not None
        silent.connect(f"\0{offer.message.socket}")
        sharer = FrameSharer()
        sharer.accept(offer.message)
        assert sharer.shares, "served when the silent one's time is over"


# Streams


def test_large_raw_frames_go_through_memory_and_the_rest_as_bytes(lines: Lines, told: Told) -> None:
    line = lines.make(shared_bytes=MIB)
    line.pipeline.hold()
    with connect(line.server.address, told) as client:
        client.send(shot(4))
        client.send(shot(6, pixel_format=PixelFormat.PNG))
        client.send(shot(8, side=8))
        wait_for(lambda: line.pipeline.held == 3, "the frames")
        assert [(f.data[0], len(f.data), f.lease is not None) for f in line.pipeline.frames] == [
            (4, PIXELS, True),
            (6, PIXELS, False),
            (8, 64, False),
        ]
        line.pipeline.release()
        assert client.wait_answered(10)
    assert told.outcome() == dict.fromkeys((1, 2, 3), "WITHIN_LIMITS")


def test_with_no_place_left_frames_go_as_bytes_and_answers_free_places(lines: Lines, told: Told) -> None:
    line = lines.make(shared_bytes=PIXELS * 5 // 2)
    line.pipeline.hold()
    with connect(line.server.address, told) as client:
        for value in (0, 2, 4):
            client.send(shot(value))
        wait_for(lambda: line.pipeline.held == 3, "the frames")
        assert [f.lease is not None for f in line.pipeline.frames] == [True, True, False]
        line.pipeline.release()
        assert client.wait_answered(10)
        client.send(shot(6))
        assert client.wait_answered(10)
        assert line.pipeline.frames[-1].lease is not None
    assert told.outcome() == dict.fromkeys((1, 2, 3, 4), "WITHIN_LIMITS")


def test_a_camera_may_write_where_the_service_reads(lines: Lines, told: Told) -> None:
    line = lines.make(shared_bytes=MIB)
    with connect(line.server.address, told, max_in_flight=1) as client:
        for _ in range(100):
            place = client.reserve(PIXELS)
            assert place is not None, "every place comes back"
            place.pixels[:] = bytes([2]) * PIXELS
            # Of most there is no room to hold them: their places must come back too.
            client.send(Frame(0, PixelFormat.MONO8, SIDE, SIDE, 0, place.pixels))
        assert client.wait_answered(10)
        sent = [frame for frame in line.pipeline.frames if len(frame.data)]
        assert {(frame.data[0], frame.lease is not None) for frame in sent} == {(2, True)}


def test_nothing_is_offered_where_it_is_switched_off(lines: Lines, told: Told) -> None:
    line = lines.make()
    with connect(line.server.address, told) as client:
        assert not client.session.HasField("frame_memory")
        assert client.reserve(PIXELS) is None
        client.send(shot())
        assert client.wait_answered(10)
    assert line.pipeline.frames[0].lease is None


HOSTILE = [
    ("memory never fetched", False, {"name": "frames", "offset": 64, "length": PIXELS, "generation": 1}, b""),
    ("pixels twice", True, {"name": "frames", "offset": 64, "length": PIXELS, "generation": 1}, b"\0"),
    ("another stream's name", True, {"name": "frames-0", "offset": 64, "length": 1, "generation": 1}, b""),
    ("beyond the end", True, {"offset": 1 << 63, "length": 1 << 62, "generation": 1}, b""),
    ("nothing of it", True, {}, b""),
    ("a mark that is not there", True, {"offset": 64, "length": PIXELS, "generation": 7}, b""),
]


@pytest.mark.parametrize(("why", "fetched", "shared", "data"), HOSTILE, ids=[row[0] for row in HOSTILE])
def test_a_hostile_writer_gets_unknown_and_the_stream_lives(
    lines: Lines, why: str, fetched: bool, shared: dict[str, object], data: bytes
) -> None:
    line = lines.make(shared_bytes=MIB)
    camera = line.camera()
    offer = camera.session.frame_memory
    if fetched:
        FrameSharer().accept(offer)
    camera.frame(1, data, width=SIDE, height=SIDE, shared={"name": offer.name, **shared})
    overwritten = why == "a mark that is not there"
    assert camera.inspection().reason == (Reason.FRAME_OVERWRITTEN if overwritten else Reason.FRAME_INVALID)
    camera.frame(2, b"\0")
    assert camera.inspection().reason == 1, "the next frame is judged"


def hang_up(line: Line, camera: Camera) -> None:
    camera.call.cancel()


def break_the_protocol(line: Line, camera: Camera) -> None:
    camera.hello()
    assert camera.failure()[0] == grpc.StatusCode.FAILED_PRECONDITION


def end_well(line: Line, camera: Camera) -> None:
    camera.half_close()
    assert camera.rest() == []


def meet_a_fault_of_the_service(line: Line, camera: Camera) -> None:
    line.pipeline.fault = RuntimeError("made up")
    sharer = FrameSharer()
    sharer.accept(camera.session.frame_memory)
    place = sharer.put(shot(), MIB)
    assert place is not None
    where = {"name": camera.session.frame_memory.name, "offset": place.offset, "length": PIXELS, "generation": 1}
    camera.frame(2, b"", width=SIDE, height=SIDE, shared=where)
    # The error that comes knows this frame.
    del place, sharer
    assert camera.failure()[0] == grpc.StatusCode.INTERNAL


@pytest.mark.parametrize("end", [hang_up, break_the_protocol, end_well, meet_a_fault_of_the_service])
def test_memory_is_given_back_with_the_stream_however_it_ends(
    lines: Lines, end: Callable[[Line, Camera], None]
) -> None:
    """At once, not when the garbage collector comes by: a service whose camera is gone has nothing to do that would call it."""
    line = lines.make(shared_bytes=MIB)
    gc.collect()
    gc.disable()
    try:
        camera = line.camera()
        name = camera.session.frame_memory.name
        if end is not meet_a_fault_of_the_service:
            FrameSharer().accept(camera.session.frame_memory)
        camera.frame(1, b"\0")
        camera.inspection()
        end(line, camera)
        wait_for(lambda: name not in memories_of(os.getpid()), "the memory to be given back")
    finally:
        gc.enable()


# Processes


@contextmanager
def service(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """A line with a slow toy model, not yet running; its address and the command that runs it."""
    toy_bundle(folder / "toy", delay_loops=40)
    grpc_port, modbus_port = free_ports(2)
    line_file = folder / "line.toml"
    line_file.write_text(
        textwrap.dedent(
            f"""
            [line]
            name = "a"
            [grpc]
            listen = "127.0.0.1:{grpc_port}"
            [modbus]
            listen = "127.0.0.1:{modbus_port}"
            [[station]]
            name = "s1"
            camera = "cam1"
            unit = 1
            recipe = "toy"
            [recipe.toy]
            bundle = "toy"
            deadline_ms = 20000
            """
        )
    )
    yield f"127.0.0.1:{grpc_port}", [str(Path(sys.executable).parent / "inspector"), "serve", str(line_file)]


_CAMERA = """
import sys, time
from inspector.cameras.client import CameraClient
from inspector.part import Frame, PixelFormat, Reason
with CameraClient(sys.argv[1], "a", "cam1", lambda answer: None) as client:
    frame = Frame(0, PixelFormat.MONO8, 1024, 1024, 0, bytes(1 << 20))
    while True:
        client.wait_for_room(5)
        client.send(frame)
        print(client.session.frame_memory.name, flush=True)
"""


def memories_of(process: int) -> set[str]:
    """Shared memories that a process has mapped."""
    return set(re.findall(r"memfd:(frames-\w+)", Path(f"/proc/{process}/maps").read_text()))


@pytest.mark.chaos
def test_either_side_gets_over_the_death_of_the_other(tmp_path: Path, told: Told) -> None:
    """kill -9 of the camera while the service reads, and of the service while the camera writes; nothing stays behind."""
    with service(tmp_path) as (target, command), (tmp_path / "log").open("wb") as log:
        serving = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            with connect(target, told, connect_timeout_s=60):
                pass
            camera = subprocess.Popen([sys.executable, "-c", _CAMERA, target], stdout=subprocess.PIPE)
            assert camera.stdout is not None
            for _ in range(8):
                camera.stdout.readline()
            assert memories_of(serving.pid), "the camera sends through memory"
            camera.send_signal(signal.SIGKILL)
            camera.wait()
            wait_for(lambda: not memories_of(serving.pid), "the service to give the dead camera's memory back", 30)
            with connect(target, told, connect_timeout_s=60, max_in_flight=8) as client:
                assert isinstance(client, CameraClient)
                for _ in range(8):
                    client.send(shot(2, 1024))
                serving.send_signal(signal.SIGKILL)
                serving.wait()
                # Its memory is still there to be written into.
                for _ in range(4):
                    client.send(shot(2, 1024))
                serving = subprocess.Popen(command, stdout=log, stderr=log)
                assert client.wait_answered(60)
                place = client.reserve(PIXELS)
                assert place is not None, "the new service shares memory too"
                place.release()
            serving.send_signal(signal.SIGTERM)
            assert serving.wait(30) == 0
        finally:
            serving.kill()
            serving.wait()
    assert "LOST" not in told.outcome().values()
    assert not [name for name in os.listdir("/dev/shm") if "frames" in name or "inspector" in name]
