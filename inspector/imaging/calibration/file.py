"""A calibration as JSON: for the line, which takes the scale from it, and for people."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

from inspector.errors import ConfigError
from inspector.imaging.calibration.board import Board
from inspector.imaging.calibration.lens import Calibration, Lens, Scale

_FORMAT = 1


def write_calibration(calibration: Calibration) -> bytes:
    """As a file."""
    about = {"format": _FORMAT, **dataclasses.asdict(calibration)}
    return (json.dumps(about, indent=1) + "\n").encode()


def read_calibration(data: bytes, name: str) -> Calibration:
    """The inverse of `write_calibration`. `name` is for the message. Errors: ConfigError."""
    try:
        about: dict[str, Any] = json.loads(data)
        if about.pop("format") != _FORMAT:
            raise ConfigError(f"{name} has another format than {_FORMAT}: calibrate anew")
        lens = about.pop("lens")
        pairs = {key: (lens[key][0], lens[key][1]) for key in ("size_px", "focal_px", "centre_px")}
        k1, k2, p1, p2 = lens["distortion"]
        read = Calibration(
            board=Board(**about.pop("board")),
            lens=Lens(**{**lens, **pairs, "distortion": (k1, k2, p1, p2)}),
            as_seen=Scale(**about.pop("as_seen")),
            straightened=Scale(**about.pop("straightened")),
            **about,
        )
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise ConfigError(f"{name} is no calibration ({error}): calibrate anew") from error
    for scale in (read.as_seen, read.straightened):
        sound = scale.mm_per_px > 0 and scale.uncertainty >= 0 and math.isfinite(scale.mm_per_px + scale.uncertainty)
        if not sound:
            raise ConfigError(f"{name}: a scale of {scale.mm_per_px} mm ± {scale.uncertainty} is none: calibrate anew")
    return read
