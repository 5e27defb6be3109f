"""Ten cameras, each with bad habits of its own, while several things break at once."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from chaos import pictures
from chaos.camera import TIMEOUT_S, Camera, Feeder
from chaos.hostile import knock
from chaos.kinds import Kind, clear_up, finish
from chaos.line import Line
from chaos.processes import pause, wait_for

from inspector.part import Reason

CAMERAS = 10
_KIND = "ten cameras, several faults at once"
_WEATHER = frozenset({Reason.SERVICE_RESTARTED, Reason.QUEUE_FULL})


def several_at_once(line: Line, rng: random.Random, count: int) -> int:
    """Two or three faults of different kinds begin within a moment of each other; then all must come to rest."""
    cameras = list(line.cameras.values())
    for _ in range(count):
        for camera in cameras:
            camera.weather(_WEATHER)
        with ExitStack() as stack, ThreadPoolExecutor(3) as pool:
            feeders = [
                stack.enter_context(Feeder(camera, _KIND, pictures.sound, rng, 0.2, _habit)) for camera in cameras
            ]
            for feeder in feeders:
                feeder.wait_sent(1)
            chosen = rng.sample(_FAULTS, rng.choice((2, 3)))
            doing = [pool.submit(fault, line, random.Random(rng.getrandbits(64))) for fault in chosen]
            for one in doing:
                one.result()
            wait_for(lambda: all(camera.connected for camera in cameras), "cameras do not come back")
        clear_up(cameras, rng)
    for camera in cameras:
        finish(camera, _KIND, rng)
    return count


def _habit(camera: Camera, kind: str, rng: random.Random) -> None:
    """Mostly a sound frame; now and then a damaged one, a fatal one, one twice, or none."""
    chance = rng.random()
    if chance < 0.05:
        camera.skip(kind, rng.randint(1, 3))
    elif chance < 0.1:
        camera.send(kind, pictures.corrupt(rng))
    elif chance < 0.13:
        camera.send(kind, pictures.fatal(rng))
    else:
        camera.send(kind, pictures.sound(rng))


def _kill(line: Line, rng: random.Random) -> None:
    pause(rng.random() * 0.3)
    before = {camera: camera.reconnects for camera in line.cameras.values()}
    line.kill()
    with line.silence(_KIND):
        line.start()
        wait_for(lambda: all(camera.reconnects > n for camera, n in before.items()), "cameras do not come back")


def _freeze(line: Line, rng: random.Random) -> None:
    pause(rng.random() * 0.3)
    service = line.service
    assert service is not None
    with service.frozen():
        pause(rng.uniform(0.2, 1.5))


def _drop_cameras(line: Line, rng: random.Random) -> None:
    for camera in rng.sample(list(line.cameras.values()), CAMERAS // 2):
        camera.drop()
        pause(rng.random() * 0.1)


def _pull_plcs(line: Line, rng: random.Random) -> None:
    for _ in range(3):
        pause(rng.random() * 0.3)
        line.plc_cable.cut()


def _lock_database(line: Line, rng: random.Random) -> None:
    other = sqlite3.connect(line.data_dir / "quality.db", timeout=TIMEOUT_S, isolation_level=None)
    try:
        other.execute("BEGIN EXCLUSIVE")
        pause(rng.uniform(0.5, 2))
        other.execute("ROLLBACK")
    finally:
        other.close()


def _knock(line: Line, rng: random.Random) -> None:
    """Strangers send bytes to every port."""
    for port in (line.grpc_port, line.modbus_port, line.metrics_port) * 5:
        knock(port, rng.randbytes(rng.randrange(400)), patience_s=0.02)


_FAULTS: tuple[Callable[[Line, random.Random], None], ...] = (
    _kill,
    _freeze,
    _drop_cameras,
    _pull_plcs,
    _lock_database,
    _knock,
)
MANY = Kind(_KIND, several_at_once, most=10)
