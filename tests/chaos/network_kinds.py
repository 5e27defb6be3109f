"""Faults of the network between the service and everybody else: cameras, PLC, watchers. With certificates, as in a plant."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

from chaos import pictures
from chaos.camera import Feeder
from chaos.kinds import Kind, clear_up, finish
from chaos.line import Line
from chaos.network import Impairment, Network
from chaos.processes import pause

from inspector.part import Reason


def bad_networks(line: Line, rng: random.Random, count: int, network: Network) -> int:
    """Packets are lost, doubled, late and out of order, for up to three seconds."""
    kind = "packets lost, doubled, late, out of order"
    for _ in range(count):
        with _under_load(line, kind, rng):
            delay_s = rng.uniform(0, 0.1)
            network.impair(Impairment(rng.uniform(0.01, 0.1), 0.05, delay_s, rng.uniform(0, delay_s + 0.02)))
            pause(rng.uniform(1, 3))
            network.heal()
    return _finished(line, kind, rng, count)


def partitions(line: Line, rng: random.Random, count: int, network: Network) -> int:
    """Nothing comes through for up to three seconds."""
    kind = "network partition"
    for _ in range(count):
        with _under_load(line, kind, rng):
            network.partition()
            with line.silence(kind):
                pause(rng.uniform(0.5, 3))
            network.heal()
    return _finished(line, kind, rng, count)


def half_partitions(line: Line, rng: random.Random, count: int, network: Network) -> int:
    """Nothing comes through in one of the two directions for up to three seconds."""
    kind = "partition in one direction"
    for number in range(count):
        with _under_load(line, kind, rng):
            network.partition(inward=number % 2 == 0, outward=number % 2 == 1)
            with line.silence(kind):
                pause(rng.uniform(0.5, 3))
            network.heal()
    return _finished(line, kind, rng, count)


def dead_hosts(line: Line, rng: random.Random, count: int, network: Network) -> int:
    """Cameras, PLC and watcher lose their power: no packet of their connections comes or goes any more, they start anew."""
    kind = "hosts dead without a word"
    for _ in range(count):
        with _under_load(line, kind, rng) as feeders:
            network.kill_connections()
            for camera in line.cameras.values():
                camera.drop()
            for feeder in feeders:
                feeder.wait_sent(1)
    return _finished(line, kind, rng, count)


@contextmanager
def _under_load(line: Line, kind: str, rng: random.Random) -> Iterator[list[Feeder]]:
    """Some 13 parts a second and station: what passes while the PLC is cut off must fit into its ring."""
    cameras = list(line.cameras.values())
    for camera in cameras:
        # What the network held back comes all at once.
        camera.weather({Reason.QUEUE_FULL})
    first, second = (Feeder(camera, kind, pictures.sound, rng, 0.15) for camera in cameras)
    with first, second:
        first.wait_sent(2)
        yield [first, second]
    clear_up(cameras, rng)


def _finished(line: Line, kind: str, rng: random.Random, count: int) -> int:
    for camera in line.cameras.values():
        finish(camera, kind, rng)
    return count


def network_kinds(network: Network) -> tuple[Kind, ...]:
    """All kinds, done to that network."""
    return (
        Kind("packets lost, doubled, late, out of order", lambda l, r, n: bad_networks(l, r, n, network), most=10),
        Kind("network partition", lambda l, r, n: partitions(l, r, n, network), most=10),
        Kind("partition in one direction", lambda l, r, n: half_partitions(l, r, n, network), most=10, quick=False),
        Kind("hosts dead without a word", lambda l, r, n: dead_hosts(l, r, n, network), most=4, quick=False),
    )
