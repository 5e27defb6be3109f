"""Frames whose pixels lie in memory that the camera program can still change."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inspector.errors import FrameError
from inspector.part import Frame, Image

log = logging.getLogger(__name__)


def own(frame: Frame) -> Frame:
    """The frame with pixels of its own, those that were sent; a frame that is not lent is returned as it is.

    Errors: FrameError FRAME_OVERWRITTEN if they are there no more.
    """
    if frame.lease is None:
        return frame
    data = bytes(frame.data)
    frame.lease.check()
    return replace(frame, data=data, lease=None)


def claim(frame: Frame) -> Frame:
    """As `own`, but a frame that is there no more is returned as it is: keeping it then fails, and says so in the record."""
    try:
        return own(frame)
    except FrameError as error:
        log.warning("the picture of trigger %d cannot be kept: %s", frame.trigger, error)
        return frame


def is_as_sent(image: Image) -> bool:
    """Whether what was read of a picture until now is of the frame that was sent."""
    try:
        if image.lease is not None:
            image.lease.check()
    except FrameError:
        return False
    return True


def own_array(array: NDArray[Any], frame: Frame) -> NDArray[Any]:
    """`array`, which was made of a lent frame, without any of the frame's own memory in it. It is copied only if it must be."""
    return array.copy() if np.may_share_memory(array, np.frombuffer(frame.data, np.uint8)) else array
