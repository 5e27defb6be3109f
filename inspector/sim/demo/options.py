"""What `inspector demo` can be asked to do."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from inspector.errors import ConfigError

DEFAULT_PARTS = 500
MAX_PARTS = 1_000_000
ELPV = "elpv"


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """Options of one demo run.

    data        folder of images, or "elpv" for the solar cells of the package elpv-dataset; None draws simulated parts
    folder      where everything is written; made anew by each run
    count       parts to stream; None is 500 simulated parts, or every test image of `data` once
    rate        parts per second
    seed        decides the simulated parts, the split and the order of the stream
    size_px     side of the square that the model sees; None takes what suits the images
    keep        use the images and the bundle of the last run in `folder`, if it was asked for the same
    web         go on at the end with the line's desk in a browser, until Ctrl-C
    """

    data: str | None = None
    folder: Path = Path("demo-run")
    count: int | None = None
    rate: float = 20.0
    seed: int = 0
    size_px: int | None = None
    keep: bool = False
    web: bool = False

    def __post_init__(self) -> None:
        if self.count is not None and not 1 <= self.count <= MAX_PARTS:
            raise ConfigError(f"got --count {self.count}, expected 1 to {MAX_PARTS:,} parts")
        if not (math.isfinite(self.rate) and 0.1 <= self.rate <= 1000):
            raise ConfigError(f"got --rate {self.rate}, expected 0.1 to 1000 parts per second")
        if not 0 <= self.seed < 2**32:
            raise ConfigError(f"got --seed {self.seed}, expected a number from 0 to {2**32 - 1}")
        if self.size_px is not None and not 32 <= self.size_px <= 1024:
            raise ConfigError(f"got --size {self.size_px}, expected 32 to 1024 pixels")
