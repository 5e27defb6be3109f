"""The kinds of fault, each done some number of times to a line at work. What they break is found in the line's books.

Every kind returns how many faults took effect, seen in the verdicts or the processes, so that none counts that only might
have happened.
"""

from __future__ import annotations

import os
import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from chaos import pictures
from chaos.cable import Cable
from chaos.camera import TIMEOUT_S, Camera, CannotMeasure, Feeder
from chaos.line import Line
from chaos.processes import pause, wait_for

from inspector.part import Reason

# A kind gives up after this many tries per fault that took effect.
_TRIES = 10
AGAIN = "duplicate trigger after a restart"
_STOPPING = frozenset({Reason.SERVICE_STOPPING})
_RESTARTED = frozenset({Reason.SERVICE_RESTARTED})


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault, as the report names it, and how `count` of them are done to a line."""

    name: str
    run: Callable[[Line, random.Random, int], int]


# Faults of the camera and its frames


def corrupt_frames(line: Line, rng: random.Random, count: int) -> int:
    """Damaged and lying frames between sound ones."""
    camera, first = line.cameras["fast"], line.cameras["fast"].count + 1
    for _ in range(count):
        _send_sound(camera, "corrupt frame", rng, rng.randrange(3))
        camera.send("corrupt frame", pictures.corrupt(rng))
    _finish(camera, "corrupt frame", rng)
    told = line.ledger.reasons("fast", first).values()
    return sum(reason in (Reason.FRAME_INVALID, Reason.FRAME_TOO_LARGE) for reason in told)


def garbled_messages(line: Line, rng: random.Random, count: int) -> int:
    """Bytes on the stream that are no message: the stream may end, its parts keep their verdicts."""
    camera, done = line.cameras["fast"], 0
    for _ in range(count):
        _send_sound(camera, "garbled message", rng, rng.randrange(6))
        # Field number 0 is invalid in every protobuf message.
        data = rng.choice((b"\x00", b"\x07", b"\x12\xff\xff\xff\x7f")) + rng.randbytes(rng.randrange(100))
        camera.send_garbage("garbled message", data, pictures.sound(rng))
        wait_for(lambda: not camera.connected, "the service goes on after bytes that are no message")
        camera.recover(rng)
        done += 1
    _finish(camera, "garbled message", rng)
    return done


def gaps(line: Line, rng: random.Random, count: int) -> int:
    """Triggers whose frames never come; the trigger after them tells."""
    camera = line.cameras["fast"]
    for _ in range(count):
        _send_sound(camera, "gap in the triggers", rng, rng.randrange(3))
        camera.skip("gap in the triggers", rng.choice((1, 1, 2, 3, rng.randint(4, 150))))
        _send_sound(camera, "gap in the triggers", rng, 1)
        camera.settle()
    _finish(camera, "gap in the triggers", rng)
    return count


def duplicates(line: Line, rng: random.Random, count: int) -> int:
    """Numbers that come twice or more, in flight and long after, with their own frame or one that would be judged otherwise."""
    kind = "duplicate trigger"
    camera = line.cameras["slow"]
    first = camera.count + 1
    for _ in range(count):
        trigger = camera.send(kind, pictures.sound(rng))
        other = pictures.defective(rng)[0] if rng.random() < 0.5 else None
        for _ in range(rng.randint(1, 3)):
            camera.send_again(trigger, other)
        if rng.random() < 0.5:
            camera.settle()
            camera.send_again(rng.randint(first, trigger), pictures.corrupt(rng)[0] if rng.random() < 0.5 else None)
        camera.settle()
    _finish(camera, kind, rng)
    for trigger in range(first, camera.count + 1):
        line.ledger.wait_replies(("slow", trigger), TIMEOUT_S)
    return count


def disconnects(line: Line, rng: random.Random, count: int) -> int:
    """The camera's call is cancelled, or its cable pulled, with parts in flight."""
    kind, camera, done = "client disconnects mid-part", line.cameras["slow"], 0
    cable = Cable(line.grpc_port)
    camera.hang_up()
    camera.target = f"127.0.0.1:{cable.port}"
    camera.connect()
    try:
        for _ in range(count * _TRIES):
            # With as many still in flight of the stream before, whose replies were forgotten, the station is just not full.
            _send_sound(camera, kind, rng, rng.randint(1, 4))
            line.ledger.wait_answered("slow", TIMEOUT_S, at_most=rng.randint(0, 4))
            done += bool(line.ledger.unanswered("slow"))
            if rng.random() < 0.5:
                camera.cut()
            else:
                cable.cut()
                wait_for(lambda: not camera.connected, "the camera does not see that its cable is pulled")
            camera.recover(rng)
            camera.settle()
            if done >= count:
                break
    finally:
        camera.hang_up()
        cable.close()
    camera.target = line.target
    camera.connect()
    _finish(camera, kind, rng)
    return done


# Faults of model and load


def model_exceptions(line: Line, rng: random.Random, count: int) -> int:
    """Images on which the graph raises, in batches with others that it can judge."""
    camera, first = line.cameras["fast"], line.cameras["fast"].count + 1
    for _ in range(count):
        _send_sound(camera, "model exception", rng, rng.randrange(4))
        camera.send("model exception", pictures.fatal(rng))
        _send_sound(camera, "model exception", rng, rng.randrange(4))
    _finish(camera, "model exception", rng)
    return sum(reason is Reason.MODEL_FAILED for reason in line.ledger.reasons("fast", first).values())


def full_queues(line: Line, rng: random.Random, count: int) -> int:
    """Bursts of more parts than the station holds."""
    kind, camera, done = "queue full", line.cameras["slow"], 0
    for _ in range(count * _TRIES):
        first = camera.count + 1
        camera.weather({Reason.QUEUE_FULL})
        _send_sound(camera, kind, rng, rng.randint(9, 30))
        camera.settle()
        camera.weather(())
        done += Reason.QUEUE_FULL in line.ledger.reasons("slow", first).values()
        if done >= count:
            break
    _finish(camera, kind, rng)
    return done


def late_parts(line: Line, rng: random.Random, count: int) -> int:
    """Bursts that the model cannot judge within the recipe's budget."""
    kind, camera, done = "deadline passed", line.cameras["tight"], 0
    late = {Reason.DEADLINE_EXCEEDED, Reason.OVERLOADED}
    camera.weather(late)
    for _ in range(count * _TRIES):
        first = camera.count + 1
        _send_sound(camera, kind, rng, rng.randint(1, 20))
        camera.settle()
        done += not late.isdisjoint(line.ledger.reasons("tight", first).values())
        if done >= count:
            break
    _finish(camera, kind, rng)
    return done


# Faults of the service's process


def stops(line: Line, rng: random.Random, count: int) -> int:
    """SIGTERM with parts in flight, and a new start."""
    return _restarts(line, rng, count, "server stopped with parts in flight", _STOPPING, line.terminate)


def kills(line: Line, rng: random.Random, count: int) -> int:
    """kill -9 at any moment, now and then again while the service starts."""

    def kill() -> None:
        line.kill()
        while rng.random() < 0.2:
            line.start()
            pause(rng.random() * 1.5)
            line.kill()

    return _restarts(line, rng, count, "kill -9 and restart", _RESTARTED, kill)


def _restarts(
    line: Line, rng: random.Random, count: int, kind: str, weather: frozenset[Reason], end: Callable[[], None]
) -> int:
    done = 0
    for _ in range(count * _TRIES):
        done += _restart(line, rng, kind, weather, end)
        if done >= count:
            break
    fast, slow = line.cameras["fast"], line.cameras["slow"]
    for camera in (fast, slow):
        _finish(camera, kind, rng)
    return done


def _restart(line: Line, rng: random.Random, kind: str, weather: frozenset[Reason], end: Callable[[], None]) -> bool:
    """End the service under load, start it again and ask for old parts again; whether parts were in flight."""
    fast, slow = line.cameras["fast"], line.cameras["slow"]
    known = [fast.send(AGAIN, pictures.sound(rng)) for _ in range(rng.randint(1, 3))]
    fast.settle()
    # A part that finds the slow station full is refused: a fault of this load, not of the restart.
    slow.weather({Reason.QUEUE_FULL})
    with Feeder(fast, kind, pictures.sound, rng, 0.02) as feeder, Feeder(slow, kind, pictures.sound, rng, 0.03):
        feeder.wait_sent(rng.randint(1, 40))
        pause(rng.random() * 0.02)
        fast.weather(weather)
        slow.weather(weather | {Reason.QUEUE_FULL})
        before = {camera: camera.reconnects for camera in (fast, slow)}
        in_flight = bool(line.ledger.unanswered("slow") or line.ledger.unanswered("fast"))
        end()
        line.start()
        wait_for(lambda: all(camera.reconnects > n for camera, n in before.items()), "cameras do not come back")
    for camera in (fast, slow):
        _come_to_rest(camera, rng)
        camera.weather(())
    for trigger in known:
        fast.send_again(trigger, pictures.defective(rng)[0] if rng.random() < 0.5 else None)
        if not line.ledger.wait_replies(("fast", trigger), TIMEOUT_S):
            break  # the account tells of the missing reply
    return in_flight


# Faults of disks and databases


def locked_databases(line: Line, rng: random.Random, count: int) -> int:
    """Another program locks the SQLite file for up to six seconds."""
    kind, camera, path = "database locked (SQLite)", line.cameras["fast"], line.data_dir / "quality.db"
    for number in range(count):
        with Feeder(camera, kind, pictures.sound, rng, 0.02) as feeder:
            other = sqlite3.connect(path, timeout=TIMEOUT_S, isolation_level=None)
            try:
                other.execute("BEGIN EXCLUSIVE")
                feeder.wait_sent(rng.randint(5, 30))
                # Every fourth outlasts the service's own patience of five seconds.
                pause(rng.uniform(5, 6) if number % 4 == 3 else rng.uniform(0, 1))
                other.execute("ROLLBACK")
            finally:
                other.close()
        _come_to_rest(camera, rng)
    _finish(camera, kind, rng)
    return count


def databases_gone(line: Line, rng: random.Random, count: int, server: Database) -> int:
    """PostgreSQL stops or crashes under load, and comes back after up to two seconds."""
    kind, camera = "database gone (PostgreSQL)", line.cameras["fast"]
    for _ in range(count):
        with Feeder(camera, kind, pictures.sound, rng, 0.02) as feeder:
            feeder.wait_sent(rng.randint(1, 20))
            server.stop(rng.choice(("fast", "immediate")))
            try:
                feeder.wait_sent(rng.randint(5, 20))
                pause(rng.random() * 2)
            finally:
                server.start()
            feeder.wait_sent(rng.randint(1, 20))
        _come_to_rest(camera, rng)
    _finish(camera, kind, rng)
    return count


class Database(Protocol):
    """What `databases_gone` needs of `postgres.PostgresServer`."""

    def start(self) -> None: ...

    def stop(self, mode: str = "fast") -> None: ...


def full_disks(line: Line, rng: random.Random, count: int) -> int:
    """No room for pictures: they are lost with a reason, verdicts are not. Needs the image store on a small disk."""
    kind, camera = "disk full (image store)", line.cameras["fast"]
    filler = line.data_dir / "images" / "filler"
    done = 0
    for _ in range(count):
        with Feeder(camera, kind, pictures.defective, rng, 0.02) as feeder:
            feeder.wait_sent(rng.randint(0, 5))
            with _filled(filler):
                feeder.wait_sent(rng.randint(3, 15))
                done += 1
            feeder.wait_sent(rng.randint(0, 5))
        _come_to_rest(camera, rng)
    _finish(camera, kind, rng)
    return done


@contextmanager
def _filled(filler: Path) -> Iterator[None]:
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    try:
        yield
    finally:
        filler.unlink()


@contextmanager
def small_disk(folder: Path, size_kib: int) -> Iterator[None]:
    """A file system of its own at `folder`. CannotMeasure if this user may not mount one."""
    folder.mkdir(parents=True, exist_ok=True)
    command = f"mount -t tmpfs -o size={size_kib}k tmpfs '{folder}'"
    if os.geteuid() != 0 or os.waitstatus_to_exitcode(os.system(command)) != 0:
        raise CannotMeasure("a small file system can only be mounted by root")
    try:
        yield
    finally:
        os.system(f"umount -l '{folder}'")


# What all kinds do


def _send_sound(camera: Camera, kind: str, rng: random.Random, count: int) -> None:
    for _ in range(count):
        camera.send(kind, pictures.sound(rng))


def _come_to_rest(camera: Camera, rng: random.Random) -> None:
    """Every frame answered, reconnecting as often as it takes."""
    for _ in range(_TRIES):
        if not camera.connected:
            camera.recover(rng)
        if camera.settle() and camera.connected:
            return
    raise CannotMeasure(f"camera of {camera.station} gets no answers")


def _finish(camera: Camera, kind: str, rng: random.Random) -> None:
    """One last sound frame, after which every trigger before it is known to the line."""
    _come_to_rest(camera, rng)
    camera.send(kind, pictures.sound(rng))
    _come_to_rest(camera, rng)


BENIGN = (
    Kind("corrupt frame", corrupt_frames),
    Kind("garbled message", garbled_messages),
    Kind("gap in the triggers", gaps),
    Kind("duplicate trigger", duplicates),
    Kind("model exception", model_exceptions),
    Kind("queue full", full_queues),
    Kind("client disconnects mid-part", disconnects),
    Kind("deadline passed", late_parts),
    Kind("database locked (SQLite)", locked_databases),
)
DISK = Kind("disk full (image store)", full_disks)
RESTARTS = (Kind("server stopped with parts in flight", stops), Kind("kill -9 and restart", kills))
POSTGRES = "database gone (PostgreSQL)"
