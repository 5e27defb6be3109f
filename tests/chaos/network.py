"""A network between this machine and a service in a network namespace of its own, which loses, delays and doubles packets.

The kernel's own `tc netem` is not built into every kernel; what every Linux has are namespaces and TUN devices. So the two
ends of the link are TUN devices, one here and one in the namespace, and a thread carries the packets between them. The TCP of
both sides is the kernel's: what they see is what a bad switch, a pulled cable or a host without power would show them.
"""

from __future__ import annotations

import contextlib
import fcntl
import heapq
import itertools
import os
import random
import select
import shutil
import struct
import subprocess
import threading
import time
from dataclasses import dataclass

from chaos.camera import NotPossibleHere

_TUNSETIFF = 0x400454CA  # linux/if_tun.h
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
_MAX_PACKET = 1 << 16
_TCP = 6
# Of RFC 2544: addresses for measuring network devices, which no plant uses.
_BENCHMARK_NET = "198.18"


@dataclass(frozen=True, slots=True)
class Impairment:
    """What happens to packets. Shares from 0 to 1; with a jitter they overtake each other."""

    loss: float = 0.0
    twice: float = 0.0
    delay_s: float = 0.0
    jitter_s: float = 0.0


SOUND = Impairment()


class Network:
    """Use as a context. `inside` is the service's address and `outside` ours; `command` runs a program in the namespace."""

    def __init__(self, rng: random.Random) -> None:
        """NotPossibleHere if this user may not make one."""
        number = random.SystemRandom().randrange(0, 1 << 14)
        net = f"{_BENCHMARK_NET}.{number >> 6}.{(number & 63) << 2}".rpartition(".")
        self.outside, self.inside = (f"{net[0]}.{int(net[2]) + end}" for end in (1, 2))
        self._name = f"chaos-{number:x}"
        self._rng = random.Random(rng.getrandbits(64))
        self._lock = threading.Lock()
        self._impairment = SOUND
        self._inward = self._outward = True
        self._flows: set[tuple[bytes, bytes]] = set()
        self._dead: set[tuple[bytes, bytes]] = set()
        self._ends: list[int] = []
        self._threads: list[threading.Thread] = []
        self._stop = threading.Event()

    @property
    def command(self) -> tuple[str, ...]:
        """To be put before a command, so that it runs in the namespace."""
        return ("ip", "netns", "exec", self._name)

    def __enter__(self) -> Network:
        if os.geteuid() != 0 or shutil.which("ip") is None:
            raise NotPossibleHere("a network namespace can only be made by root, with the program ip (iproute2)")
        try:
            _ip("netns", "add", self._name)
            self._ends = [_tun(f"{self._name}{end}"[:15]) for end in "oi"]
            outer, inner = (f"{self._name}{end}"[:15] for end in "oi")
            _ip("addr", "add", f"{self.outside}/30", "dev", outer)
            _ip("link", "set", outer, "up")
            _ip("link", "set", inner, "netns", self._name)
            _ip("-n", self._name, "addr", "add", f"{self.inside}/30", "dev", inner)
            _ip("-n", self._name, "link", "set", inner, "up")
            _ip("-n", self._name, "link", "set", "lo", "up")
        except (OSError, subprocess.CalledProcessError) as error:
            self.__exit__()
            raise NotPossibleHere(f"no network namespace can be made here: {error}") from error
        outside, inside = self._ends
        for source, sink, is_inward in ((outside, inside, True), (inside, outside, False)):
            self._threads.append(threading.Thread(target=self._carry, args=(source, sink, is_inward), daemon=True))
            self._threads[-1].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        for end in self._ends:
            os.close(end)
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            _ip("netns", "del", self._name)

    # Faults

    def impair(self, impairment: Impairment) -> None:
        """From now on, in both directions; `SOUND` ends it."""
        with self._lock:
            self._impairment = impairment

    def partition(self, *, inward: bool = True, outward: bool = True) -> None:
        """Carry nothing in these directions, until `heal`."""
        with self._lock:
            self._inward, self._outward = not inward, not outward

    def heal(self) -> None:
        """Carry everything, but for connections that were killed."""
        with self._lock:
            self._inward = self._outward = True
            self._impairment = SOUND

    def kill_connections(self) -> int:
        """The connections that there are carry nothing any more, and neither end is told, as if the other had lost power.

        New ones go through. Returns how many that are.
        """
        with self._lock:
            self._dead |= self._flows
            count = len(self._flows)
            self._flows.clear()
        return count

    # Packets

    def _carry(self, source: int, sink: int, is_inward: bool) -> None:
        """One direction: take packets in, put them out when they are due."""
        order = itertools.count()
        due: list[tuple[float, int, bytes]] = []
        while not self._stop.is_set():
            pause_s = min(0.1, max(0.0, due[0][0] - time.monotonic())) if due else 0.1
            if select.select([source], [], [], pause_s)[0]:
                packet = os.read(source, _MAX_PACKET)
                for delay_s in self._fate(packet, is_inward):
                    heapq.heappush(due, (time.monotonic() + delay_s, next(order), packet))
            while due and due[0][0] <= time.monotonic():
                with contextlib.suppress(OSError):
                    os.write(sink, heapq.heappop(due)[2])

    def _fate(self, packet: bytes, is_inward: bool) -> list[float]:
        """After how many seconds a packet arrives: once, twice or not at all."""
        flow = _flow(packet, is_inward)
        with self._lock:
            if flow in self._dead or not (self._inward if is_inward else self._outward):
                return []
            if flow is not None:
                self._flows.add(flow)
            how = self._impairment
        if self._rng.random() < how.loss:
            return []
        times = 2 if self._rng.random() < how.twice else 1
        return [how.delay_s + self._rng.random() * how.jitter_s for _ in range(times)]


def _flow(packet: bytes, is_inward: bool) -> tuple[bytes, bytes] | None:
    """The two ports of a TCP connection over IPv4, ours first; None for anything else."""
    if len(packet) < 40 or packet[0] >> 4 != 4 or packet[9] != _TCP:
        return None
    head = (packet[0] & 15) * 4
    ports = packet[head : head + 2], packet[head + 2 : head + 4]
    return ports if is_inward else (ports[1], ports[0])


def _tun(name: str) -> int:
    """A new TUN device, which lives as long as the returned descriptor. OSError."""
    end = os.open("/dev/net/tun", os.O_RDWR)
    try:
        fcntl.ioctl(end, _TUNSETIFF, struct.pack("16sH", name.encode(), _IFF_TUN | _IFF_NO_PI))
    except OSError:
        os.close(end)
        raise
    return end


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, stdin=subprocess.DEVNULL, capture_output=True, timeout=30)
