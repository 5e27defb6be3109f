"""Simulated parts with known truth: three types, five defects from clearly to barely visible. Same seed, same bytes.

draw_part ── shapes (what it is) ─▶ defects (what happened to it) ─▶ optics (what the camera sees) ──▶ SimulatedPart
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.errors import ConfigError, DataError
from inspector.sim.defects import DAMAGES
from inspector.sim.optics import photograph
from inspector.sim.shapes import SHAPES
from inspector.sim.surface import Canvas, Pose

GOOD = "good"
MISSING_FEATURE = "missing-feature"
PART_TYPES: tuple[str, ...] = tuple(SHAPES)
DEFECTS: tuple[str, ...] = (*DAMAGES, MISSING_FEATURE)
SEVERITY_BANDS: tuple[tuple[str, float, float], ...] = (
    ("clearly visible", 0.60, 1.00),
    ("visible", 0.25, 0.60),
    ("barely visible", 0.00, 0.25),
)
"""Name, lowest and highest severity of each band, the clearest first."""

MIN_SIZE_PX, MAX_SIZE_PX = 64, 1024
_SHIFT = 0.012
_ANGLE = 0.018
"""Largest shift (share of the half frame) and turn (radians) in the fixture, whose stops leave this much play."""


@dataclass(frozen=True, slots=True)
class PartSpec:
    """Everything that decides a simulated part's pixels. `defect` is empty for a good part; `severity` is then 0."""

    part_type: str
    defect: str
    severity: float
    seed: int
    size_px: int = 256


@dataclass(frozen=True, slots=True)
class SimulatedPart:
    """`pixels` uint8 RGB (size, size, 3); `mask` uint8 (size, size), 255 where the defect is, all 0 on a good part."""

    spec: PartSpec
    pixels: NDArray[np.uint8]
    mask: NDArray[np.uint8]


def band_of(severity: float) -> str:
    """Name of the severity band; a severity on a border belongs to the clearer band."""
    return next((name for name, low, _ in SEVERITY_BANDS if severity >= low), SEVERITY_BANDS[-1][0])


def draw_part(spec: PartSpec) -> SimulatedPart:
    """Draw one part. Raises ConfigError for an unknown part type or defect, or a size or severity out of range."""
    _check_spec(spec)
    rng = np.random.default_rng([spec.seed, spec.size_px])
    shift_x, shift_y, turn = rng.uniform(-1, 1, 3) * (_SHIFT, _SHIFT, _ANGLE)
    canvas = Canvas(spec.size_px, Pose(float(shift_x), float(shift_y), float(turn)))
    missing = _missing_share(spec.severity) if spec.defect == MISSING_FEATURE else 0.0
    surface = SHAPES[spec.part_type](canvas, rng, missing)
    mask = surface.feature_mask
    if spec.defect in DAMAGES:
        mask = DAMAGES[spec.defect](surface, rng, spec.severity)
    return SimulatedPart(spec, photograph(surface, rng), mask)


def _missing_share(severity: float) -> float:
    """How much of a feature is gone: 4 % of a hole's radius, a tooth's height or a motif's ink, up to all of it."""
    return float(0.04 + 0.96 * min(1.0, severity / 0.75) ** 1.3)


def _check_spec(spec: PartSpec) -> None:
    if spec.part_type not in SHAPES:
        raise ConfigError(f"no simulated part type {spec.part_type!r}: choose from {', '.join(PART_TYPES)}")
    if spec.defect and spec.defect not in DEFECTS:
        raise ConfigError(f"no simulated defect {spec.defect!r}: choose from {', '.join(DEFECTS)}")
    if not MIN_SIZE_PX <= spec.size_px <= MAX_SIZE_PX:
        raise ConfigError(f"size {spec.size_px} px: simulated parts are {MIN_SIZE_PX} to {MAX_SIZE_PX} px wide")
    if not 0 <= spec.severity <= 1:
        raise ConfigError(f"severity {spec.severity}: expected 0 (barely visible) to 1 (clearly visible)")
    if not 0 <= spec.seed < 2**63:
        raise ConfigError(f"seed {spec.seed}: expected a number from 0 to 2**63 - 1")


def plan_parts(
    *, good: int, per_defect: int, part_types: Sequence[str] = PART_TYPES, size_px: int = 256, seed: int = 0
) -> list[PartSpec]:
    """The specs of a data set: `good` good parts, then `per_defect` of each defect; types and bands take turns.

    Within its band a severity is uniform. Every part has its own seed, drawn from `seed`.
    """
    if good < 0 or per_defect < 0 or not part_types:
        raise ConfigError(
            f"got {good} good, {per_defect} per defect, types {list(part_types)}: expected counts ≥ 0, a type"
        )
    rng = np.random.default_rng(seed)
    specs = [
        PartSpec(part_types[index % len(part_types)], "", 0.0, int(rng.integers(2**31)), size_px)
        for index in range(good)
    ]
    for defect in DEFECTS:
        for index in range(per_defect):
            _, low, high = SEVERITY_BANDS[(index // len(part_types)) % len(SEVERITY_BANDS)]
            severity = round(float(rng.uniform(low, high)), 3)
            part_type = part_types[index % len(part_types)]
            specs.append(PartSpec(part_type, defect, severity, int(rng.integers(2**31)), size_px))
    return specs


def write_data_set(
    folder: Path,
    *,
    good: int,
    per_defect: int,
    part_types: Sequence[str] = PART_TYPES,
    size_px: int = 256,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[PartSpec]:
    """Write `good/`, one folder per defect, `ground_truth/<defect>/<stem>_mask.png` and `parts.csv` into a new folder.

    `parts.csv` has the columns file, part_type, defect, severity, seed. `progress(done, total)` is called after each
    part, from this thread. Raises ConfigError for a bad plan, DataError if the folder is not empty or
    cannot be written.
    """
    specs = plan_parts(good=good, per_defect=per_defect, part_types=part_types, size_px=size_px, seed=seed)
    for spec in specs:
        _check_spec(spec)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise DataError(f"{folder} is not empty: simulated parts go into a new folder; name another or delete it")
        _write_parts(folder, specs, progress)
        _write_table(folder, specs)
    except OSError as error:
        raise DataError(f"cannot write simulated parts into {folder}: {error}; choose another folder") from error
    return specs


def _write_parts(folder: Path, specs: Sequence[PartSpec], progress: Callable[[int, int], None]) -> None:
    for kind in {spec.defect for spec in specs}:
        (folder / (kind or GOOD)).mkdir()
        if kind:
            (folder / "ground_truth" / kind).mkdir(parents=True)

    def write(numbered: tuple[PartSpec, str]) -> None:
        spec, file = numbered
        part = draw_part(spec)
        _write_png(folder / file, part.pixels[..., ::-1])
        if spec.defect:
            _write_png(folder / "ground_truth" / spec.defect / f"{Path(file).stem}_mask.png", part.mask)

    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        for done, _ in enumerate(pool.map(write, _numbered(specs)), start=1):
            progress(done, len(specs))


def _numbered(specs: Sequence[PartSpec]) -> Iterator[tuple[PartSpec, str]]:
    """Each spec with its file, as `scratch/tile-0012.png`; numbers count within the folder."""
    counts: dict[str, int] = {}
    for spec in specs:
        kind = spec.defect or GOOD
        counts[kind] = counts.get(kind, -1) + 1
        yield spec, f"{kind}/{spec.part_type}-{counts[kind]:04d}.png"


def _write_png(path: Path, pixels: NDArray[np.uint8]) -> None:
    done, data = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not done:
        raise DataError(f"{path} cannot be encoded as PNG")
    path.write_bytes(data.tobytes())


def _write_table(folder: Path, specs: Sequence[PartSpec]) -> None:
    with (folder / "parts.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(("file", "part_type", "defect", "severity", "seed"))
        for spec, name in _numbered(specs):
            table.writerow((name, spec.part_type, spec.defect, spec.severity, spec.seed))
