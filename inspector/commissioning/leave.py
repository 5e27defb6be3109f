"""What a commissioning leaves: the reference set with its report."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np

from inspector.commissioning.report import report_page
from inspector.commissioning.session import Outcome
from inspector.imaging.calibration.file import write_calibration
from inspector.imaging.calibration.flat import write_flat
from inspector.imaging.health.reference import write_reference
from inspector.imaging.pixels import as_pixels
from inspector.imaging.png import write_png
from inspector.imaging.reference_set import CALIBRATION, FLAT, HEALTH, ReferenceSet, write_reference_set

REPORT = "report.html"


def leave(outcome: Outcome, path: Path, camera: str, source: str, taken: datetime, by: str) -> ReferenceSet:
    """Write the reference set into a new folder. Errors: ConfigError."""
    files = {HEALTH: write_reference(outcome.reference)}
    if outcome.calibration is not None:
        files[CALIBRATION] = write_calibration(outcome.calibration)
    if outcome.flat is not None:
        files[FLAT] = write_flat(outcome.flat)
    for name, image in outcome.pictures.items():
        pixels = image.pixels if image.pixels.ndim == 2 else np.ascontiguousarray(image.pixels[..., ::-1])
        files[f"images/{name}.png"] = write_png(as_pixels(pixels))
    files[REPORT] = report_page(outcome, camera, source, taken, by).encode()
    return write_reference_set(path, camera, taken, by, files, outcome.corrected)
