"""Who connects to the gRPC port and never makes a call: bytes that are no HTTP/2, handshakes without a certificate that counts.

gRPC hangs up on them before there is a call, and tells neither log nor program. But the kernel remembers for a minute whom
this side hung up on (TIME_WAIT): those whose other end never made a call were no clients. Linux only; elsewhere nobody is
told. One who hangs up first or resets the connection, as a port scanner does, leaves no trace here.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
import struct
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import unquote

log = logging.getLogger(__name__)

LOOK_S = 2.0
MAX_CALLERS = 4096
# Columns of https://docs.kernel.org/networking/proc_net_tcp.html
_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_LOCAL, _REMOTE, _STATE = 1, 2, 3
_TIME_WAIT = "06"

End = tuple[str, int]
"""Address and port of the other side of a connection."""


class Callers:
    """The other ends of connections over which a call came, the newest of them. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ends: OrderedDict[End, None] = OrderedDict()

    def note(self, peer: str) -> None:
        """`peer` as gRPC names it, such as ipv4:10.0.0.7:4711."""
        end = end_of_peer(peer)
        if end is None:
            return
        with self._lock:
            self._ends[end] = None
            self._ends.move_to_end(end)
            if len(self._ends) > MAX_CALLERS:
                self._ends.popitem(last=False)

    def __contains__(self, end: End) -> bool:
        with self._lock:
            return end in self._ends


class Lookout:
    """Looks at the kernel's table now and then, in a thread of its own, until `stop`."""

    def __init__(self, port: int, callers: Callers, tell: Callable[[str], None]) -> None:
        """`tell` is called with the address of a stranger, once per connection."""
        self._port = port
        self._callers = callers
        self._tell = tell
        self._told: set[End] = set()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="lookout", daemon=True)

    def start(self) -> None:
        """Begin to look. Connections of an earlier program on this port are not told."""
        self._told = set(self._hung_up_on())
        self._thread.start()

    def stop(self) -> None:
        """Look no more. A second call does nothing."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def _watch(self) -> None:
        while not self._stopped.wait(LOOK_S):
            found = set(self._hung_up_on())
            for end in sorted(found - self._told):
                if end not in self._callers:
                    self._tell(end[0])
            self._told = found

    def _hung_up_on(self) -> Iterator[End]:
        for table in _TABLES:
            try:
                text = table.read_text(encoding="ascii")
            except (OSError, ValueError):
                continue
            yield from hung_up_on(text, self._port)


def hung_up_on(table: str, port: int) -> Iterator[End]:
    """The other ends of the connections of our `port` that this side closed a moment ago, from a table of the kernel."""
    for row in table.splitlines()[1:]:
        columns = row.split()
        if len(columns) <= _STATE or columns[_STATE] != _TIME_WAIT:
            continue
        if int(columns[_LOCAL].rpartition(":")[2], 16) == port:
            address, _, remote_port = columns[_REMOTE].rpartition(":")
            yield _address(address), int(remote_port, 16)


def _address(words: str) -> str:
    """An address as text; the kernel writes it as hexadecimal words in the machine's byte order."""
    packed = b"".join(struct.pack("=I", int(words[at : at + 8], 16)) for at in range(0, len(words), 8))
    if len(packed) == 4:
        return socket.inet_ntop(socket.AF_INET, packed)
    address = ipaddress.IPv6Address(packed)
    return str(address.ipv4_mapped or address)


def end_of_peer(peer: str) -> End | None:
    """The other end of a call as gRPC names it; None for what is no address, such as a socket of this machine."""
    kind, _, rest = peer.partition(":")
    host, _, port = unquote(rest).rpartition(":")
    if kind not in ("ipv4", "ipv6") or not port.isdigit():
        return None
    try:
        address = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return None
    return str(getattr(address, "ipv4_mapped", None) or address), int(port)
