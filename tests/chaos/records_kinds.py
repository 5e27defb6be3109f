"""Faults of disks and databases: full, slow, standing still, locked, gone, silent. Verdicts wait for none of them."""

from __future__ import annotations

import random
import sqlite3
from typing import Protocol

from chaos import pictures
from chaos.cable import Cable
from chaos.camera import TIMEOUT_S, Camera, Feeder
from chaos.disk import Disk, filled, resize_small_disk, used_kib
from chaos.kinds import Kind, clear_up, come_to_rest, finish, send_sound
from chaos.line import Line
from chaos.processes import pause, wait_for

from inspector.part import Reason

# Room for one segment of the journal and no second one.
JOURNAL_KIB = 4 << 10 | 512
_LONG_ID = "x" * 100
_AT_ONCE = 40


class Database(Protocol):
    """What is done to `postgres.PostgresServer`."""

    def start(self) -> None: ...

    def stop(self, mode: str = "fast") -> None: ...

    def freeze(self) -> None: ...

    def thaw(self) -> None: ...


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
        come_to_rest(camera, rng)
    finish(camera, kind, rng)
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
        come_to_rest(camera, rng)
    finish(camera, kind, rng)
    return count


def databases_frozen(line: Line, rng: random.Random, count: int, server: Database) -> int:
    """PostgreSQL is stopped by SIGSTOP: connections stay and nothing answers."""
    kind, camera = "database frozen (PostgreSQL)", line.cameras["fast"]
    for _ in range(count):
        with Feeder(camera, kind, pictures.sound, rng, 0.02) as feeder:
            feeder.wait_sent(rng.randint(1, 20))
            server.freeze()
            try:
                feeder.wait_sent(rng.randint(5, 20))
                pause(rng.uniform(0.5, 4))
            finally:
                server.thaw()
        come_to_rest(camera, rng)
    finish(camera, kind, rng)
    return count


def databases_slow(line: Line, rng: random.Random, count: int, cable: Cable) -> int:
    """Every answer of PostgreSQL takes up to a third of a second longer, and now and then the connection breaks."""
    kind, camera = "database slow (PostgreSQL)", line.cameras["fast"]
    for _ in range(count):
        with Feeder(camera, kind, pictures.sound, rng, 0.02) as feeder:
            cable.slow_down(rng.uniform(0.05, 0.3))
            try:
                feeder.wait_sent(rng.randint(20, 60))
                if rng.random() < 0.5:
                    cable.cut()
                pause(rng.uniform(0.5, 1.5))
            finally:
                cable.slow_down(0)
        come_to_rest(camera, rng)
    finish(camera, kind, rng)
    return count


def full_picture_disks(line: Line, rng: random.Random, count: int) -> int:
    """No room for pictures: they are lost with a reason, verdicts are not. Needs the image store on a small disk."""
    kind, camera = "disk full (image store)", line.cameras["fast"]
    for _ in range(count):
        with Feeder(camera, kind, pictures.defective, rng, 0.02) as feeder:
            feeder.wait_sent(rng.randint(0, 5))
            with filled(line.data_dir / "images"):
                feeder.wait_sent(rng.randint(3, 15))
            feeder.wait_sent(rng.randint(0, 5))
        come_to_rest(camera, rng)
    finish(camera, kind, rng)
    return count


def full_journals(line: Line, rng: random.Random, count: int) -> int:
    """No room for the journal: every part is UNKNOWN until there is. Needs the journal on a disk of `JOURNAL_KIB`."""
    kind, camera, disk = "disk full (journal)", line.cameras["fast"], line.data_dir / "journal"
    for _ in range(count):
        camera.weather({Reason.JOURNAL_FAILED})
        while line.ledger.last_reason("fast") is not Reason.JOURNAL_FAILED:
            # Long to write and quick to judge; no more at once than the PLC's ring holds.
            for _ in range(_AT_ONCE):
                camera.send(kind, pictures.corrupt_quickly(rng), part_id=_LONG_ID)
            come_to_rest(camera, rng)
            last = camera.count
            wait_for(lambda trigger=last: line.plcs["fast"].has_read(trigger), "the PLC", step_s=0.005)
        send_sound(camera, kind, rng, rng.randint(5, 30))
        come_to_rest(camera, rng)
        resize_small_disk(disk, used_kib(disk) + JOURNAL_KIB)
        wait_for(lambda: _is_judged(line, camera, kind, rng), "the journal does not go on when there is room")
        clear_up([camera], rng)
    finish(camera, kind, rng)
    return count


def _is_judged(line: Line, camera: Camera, kind: str, rng: random.Random) -> bool:
    send_sound(camera, kind, rng, 1)
    come_to_rest(camera, rng)
    return line.ledger.last_reason("fast") is not Reason.JOURNAL_FAILED


def slow_disks(line: Line, rng: random.Random, count: int, disk: Disk) -> int:
    """Journal, database and pictures share a disk that writes some ten kilobytes a second."""
    kind, camera = "disk slow", line.cameras["fast"]
    for _ in range(count):
        with Feeder(camera, kind, pictures.sound, rng, 0.02) as feeder:
            feeder.wait_sent(rng.randint(1, 20))
            with disk.slow(rng.randint(20_000, 100_000)):
                feeder.wait_sent(rng.randint(50, 150))
        come_to_rest(camera, rng)
    finish(camera, kind, rng)
    return count


def still_disks(line: Line, rng: random.Random, count: int, disk: Disk) -> int:
    """A disk on which nobody can write for up to three seconds; the line may stand still with it, and must say so."""
    kind, camera = "disk stands still", line.cameras["fast"]
    for _ in range(count):
        camera.weather({Reason.QUEUE_FULL})
        with Feeder(camera, kind, pictures.sound, rng, 0.15) as feeder:
            feeder.wait_sent(rng.randint(1, 20))
            with disk.standing_still():
                pause(rng.uniform(0.3, 3))
            feeder.wait_sent(rng.randint(1, 20))
        clear_up([camera], rng)
    finish(camera, kind, rng)
    return count


SQLITE = Kind("database locked (SQLite)", locked_databases)
PICTURE_DISK = Kind("disk full (image store)", full_picture_disks)
# Once: with room for more segments the journal makes room by itself, by discarding what is in the database.
JOURNAL_DISK = Kind("disk full (journal)", full_journals, most=1, quick=False)
