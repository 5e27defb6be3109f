"""A network cable between a client and a server that a test can pull, chew on and put back: a TCP relay with faults.

It needs no rights and works on every machine. What only packets can show, such as loss and a host that dies without a word
to the kernel, is done by `network`.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER of 0 s: close() sends RST, as a dying host's peer sees it


class Cable:
    """Relays connections to `port` of this machine; new connections always go through.

    `source` is the address of this machine that the server sees as the client's.
    """

    def __init__(self, port: int, source: str = "127.0.0.1") -> None:
        self._to = port
        self._source = source
        self._lock = threading.Lock()
        self._ends: list[socket.socket] = []
        self._lost: set[socket.socket] = set()
        self._flows = threading.Event()
        self._flows.set()
        self._delay_s = 0.0
        self._wait = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Reset every connection, in both directions, in the middle of whatever it carries."""
        with self._lock:
            ends, self._ends = self._ends, []
            self._lost.clear()
        self._flows.set()
        for end in ends:
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            with contextlib.suppress(OSError):
                # Wakes the relaying thread, which alone may close: a number given back could be another socket's by then.
                end.shutdown(socket.SHUT_RD)

    def hold(self) -> None:
        """Carry nothing until `release`; nobody is told, and nothing is lost."""
        self._flows.clear()

    def release(self) -> None:
        """Carry on, with what was held first."""
        self._flows.set()

    def lose(self) -> None:
        """From now on the connections that there are carry nothing any more, and neither end hears of it: half-open."""
        with self._lock:
            self._lost.update(self._ends)

    def slow_down(self, delay_s: float) -> None:
        """Every chunk takes that much longer, one after the other; 0 ends it."""
        self._delay_s = delay_s

    def close(self) -> None:
        """No more connections."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.slow_down(0)
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self._to), source_address=(self._source, 0))
            except OSError:
                near.close()
                continue
            with self._lock:
                self._ends += [near, far]
            for source, sink in ((near, far), (far, near)):
                source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._relay, args=(source, sink), daemon=True).start()

    def _relay(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                self._flows.wait()
                if self._delay_s:
                    self._wait.wait(self._delay_s)
                if source not in self._lost:
                    sink.sendall(data)
        with self._lock:
            lost = source in self._lost
            pulled = source not in self._ends
        if pulled:
            source.close()
        elif not lost:
            with contextlib.suppress(OSError):
                sink.shutdown(socket.SHUT_WR)
