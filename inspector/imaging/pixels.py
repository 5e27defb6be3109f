"""The array type that pictures are made of."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8] | NDArray[np.uint16]


def as_pixels(array: Any) -> Pixels:
    """An array of 8 or 16 bits by its real type: OpenCV's and numpy's signatures lose the dtype that they keep."""
    return array  # type: ignore[no-any-return]


def as_uint8(array: Any) -> NDArray[np.uint8]:
    """An array that is uint8 by the operation that made it, and is not copied."""
    return array  # type: ignore[no-any-return]
