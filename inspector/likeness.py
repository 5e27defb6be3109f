"""Describes the pictures on record, so that others like them can be found: a few at a time, by whoever has time."""

from __future__ import annotations

import logging

import numpy as np

from inspector.errors import FrameError, ImageStoreError, NotFound
from inspector.imaging.archive import unarchive
from inspector.imaging.decode import DecodeLimits, decode
from inspector.imaging.descriptor import LENGTH, VERSION, describe
from inspector.imaging.normalise import to_8_bit
from inspector.records.database import Database
from inspector.records.descriptors import Descriptors
from inspector.records.images import ImageStore

log = logging.getLogger(__name__)

_LIMITS = DecodeLimits()


def descriptors_of(database: Database) -> Descriptors:
    """The descriptions in a database, of this program's kind."""
    return Descriptors(database, VERSION, LENGTH)


def describe_missing(descriptors: Descriptors, images: ImageStore, limit: int = 50) -> int:
    """Describe up to `limit` pictures that are not yet; returns how many were looked at.

    One that is damaged, gone or no picture is described as like nothing, so that nobody tries it again. Raises what the
    database raises.
    """
    found = descriptors.missing(limit)
    described = []
    for one in found:
        try:
            described.append((one.picture_id, describe_bytes(images.get(one.sha256)[0])))
        except (FrameError, NotFound, ImageStoreError) as error:
            log.warning("picture %s is like nothing: %s", one.sha256[:12], error)
            described.append((one.picture_id, np.zeros(LENGTH, np.float16)))
    if described:
        descriptors.add(described)
    return len(found)


def describe_bytes(data: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.float16]]:
    """The description of a picture file. FrameError."""
    picture = decode(unarchive(data, _LIMITS), _LIMITS)
    return describe(to_8_bit(picture.pixels, picture.bits))
