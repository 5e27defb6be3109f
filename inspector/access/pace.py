"""How often a client may ask: a token bucket each, in bounded memory."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from inspector.errors import Overloaded

MAX_CLIENTS = 1024


class Bucket:
    """`rate_hz` tokens a second, at most `burst` saved up. The caller locks."""

    def __init__(self, rate_hz: float, burst: float, now_s: float) -> None:
        self._rate_hz, self._burst = rate_hz, burst
        self._tokens, self._filled_s = burst, now_s

    def take(self, now_s: float) -> float:
        """Take a token; gives 0, or how many seconds it takes until there is one, and takes none."""
        self._tokens = min(self._burst, self._tokens + (now_s - self._filled_s) * self._rate_hz)
        self._filled_s = now_s
        if self._tokens < 1.0:
            return (1.0 - self._tokens) / self._rate_hz
        self._tokens -= 1.0
        return 0.0

    def give_back(self) -> None:
        """What was taken was for nothing."""
        self._tokens = min(self._burst, self._tokens + 1.0)


class CallPace:
    """Bounds the calls of each client; of the clients the last `MAX_CLIENTS` are remembered."""

    def __init__(self, rate_hz: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate_hz = rate_hz
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def check(self, client: str) -> None:
        """Count a call. Raises Overloaded if this client asked too often."""
        with self._lock:
            now_s = self._clock()
            bucket = self._buckets.get(client)
            if bucket is None:
                bucket = self._buckets[client] = Bucket(self._rate_hz, 2 * self._rate_hz, now_s)
                if len(self._buckets) > MAX_CLIENTS:
                    self._buckets.popitem(last=False)
            self._buckets.move_to_end(client)
            wait_s = bucket.take(now_s)
        if wait_s:
            raise Overloaded(
                f"{client} calls more often than {self._rate_hz:g} times a second: ask again in {wait_s:.1f} s, or raise "
                "grpc.max_calls_per_s in the line file"
            )
