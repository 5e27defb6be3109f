"""The memory that a camera's driver writes frames into, lent to the program without a copy.

A frame's `data` is a view of the buffer that the driver filled. When the last view of it is gone (the part is answered, or its
message is packed and nothing else holds it) the buffer goes back to the driver by itself.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray


class Pool:
    """Buffers of one stream. `make` gives the driver's buffer for memory at an address, `give` hands it to the driver."""

    def __init__(self, count: int, size: int, make: Callable[[int, int], Any], give: Callable[[Any], None]) -> None:
        self._give: Callable[[Any], None] | None = give
        self._memory: dict[Any, NDArray[np.uint8]] = {}
        for _ in range(count):
            memory = np.empty(size, np.uint8)
            buffer = make(size, memory.ctypes.data)
            self._memory[buffer] = memory
            give(buffer)

    @property
    def size(self) -> int:
        """Bytes of one buffer."""
        return next(iter(self._memory.values())).size

    def lend(self, buffer: Any, count: int) -> bytes:
        """A view of the first `count` bytes; the driver has the buffer again when nothing uses it any more."""
        lent = self._memory[buffer][:count]
        lent.flags.writeable = False
        weakref.finalize(lent, self._back, buffer).atexit = False
        # The house's frames carry bytes or a view of them.
        return cast(bytes, memoryview(cast(Any, lent)))

    def back(self, buffer: Any) -> None:
        """The driver may have it again: nothing of it was lent."""
        self._back(buffer)

    def close(self) -> None:
        """Give nothing to the driver any more. Views that are out stay valid, each with its own memory."""
        self._give = None

    def _back(self, buffer: Any) -> None:
        give = self._give
        if give is not None:
            give(buffer)
