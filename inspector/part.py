"""The values that travel down the line, named in the field's words. Frozen; no I/O.

The numbers of `Verdict`, `Reason` and `PixelFormat` are those of `proto/inspector/v1/inspection.proto`, of the Modbus
registers and of the quality database: they are never renumbered.

    Frame ──decode──▶ Image ──locate──▶ Location ──normalise──▶ model input ──infer──▶ Scores ──judge──▶ Judgement
                                                                        Judgement + Part + trace ──▶ Inspection
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Verdict(enum.IntEnum):
    """What the line does with a part. Anything but PASS drives the reject output."""

    PASS = 1
    REJECT = 2
    UNKNOWN = 3


class Reason(enum.IntEnum):
    """Why a verdict is what it is. 1 goes with PASS, 2 to 9 with REJECT, 10 and above with UNKNOWN."""

    WITHIN_LIMITS = 1
    SCORE_ABOVE_LIMIT = 2
    DIMENSION_ABOVE_LIMIT = 3
    DEADLINE_EXCEEDED = 10
    QUEUE_FULL = 11
    TRIGGER_GAP = 12
    FRAME_INVALID = 13
    FRAME_TOO_LARGE = 14
    IMAGE_TOO_DARK = 15
    IMAGE_SATURATED = 16
    IMAGE_BLURRED = 17
    PART_NOT_FOUND = 18
    MODEL_FAILED = 19
    SCORE_INVALID = 20
    MISSING_VIEW = 21
    SERVICE_STOPPING = 22
    SERVICE_RESTARTED = 23
    NOT_READY = 24
    JOURNAL_FAILED = 25
    INTERNAL_ERROR = 26
    STATION_STOPPED = 27
    OVERLOADED = 28
    FRAME_OVERWRITTEN = 29

    @property
    def verdict(self) -> Verdict:
        """The only verdict that this reason can go with."""
        if self is Reason.WITHIN_LIMITS:
            return Verdict.PASS
        return Verdict.REJECT if self < Reason.DEADLINE_EXCEEDED else Verdict.UNKNOWN


class PixelFormat(enum.IntEnum):
    """Pixel layouts of the GenICam Pixel Format Naming Convention 2.4, and the two file formats.

    Formats of more than eight bits are unpacked 16-bit little-endian words with the value in the low bits.
    """

    MONO8 = 1
    MONO10 = 2
    MONO12 = 3
    MONO16 = 4
    RGB8 = 5
    BGR8 = 6
    BAYER_RG8 = 7
    BAYER_GR8 = 8
    BAYER_GB8 = 9
    BAYER_BG8 = 10
    JPEG = 11
    PNG = 12


class ImageKind(enum.IntEnum):
    """What kind of picture is kept with an inspection."""

    FRAME = 1
    HEAT_MAP = 2


class Lease(Protocol):
    """Pixels in memory that the program beside the camera can still change."""

    def check(self) -> None:
        """Raise FrameError unless the pixels are still those that were sent."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One camera's look at one part, as it arrived: nothing decoded, nothing believed.

    `width_px`, `height_px` and `stride_bytes` may be 0 for JPEG and PNG; a stride of 0 means rows without padding. With a
    `lease` the pixels are lent: what was read of `data` counts if `lease.check()` does not raise afterwards, and once the part
    is answered they are another frame's. `inspector.imaging.lent.own` makes a frame that lasts.
    """

    trigger: int
    pixel_format: PixelFormat
    width_px: int
    height_px: int
    stride_bytes: int
    data: bytes
    part_id: str = ""
    view: str = ""
    capture_time: datetime | None = None
    lease: Lease | None = None


@dataclass(frozen=True, slots=True)
class Image:
    """Decoded pixels.

    `pixels` is uint8 or uint16, (height, width) for grey or (height, width, 3) RGB, C-contiguous or a read-only view of
    the frame's bytes. `bits` is the number of significant bits per channel (8, 10, 12 or 16). With a `lease` they were made of
    lent pixels, see `Frame`.
    """

    pixels: NDArray[np.uint8] | NDArray[np.uint16]
    bits: int = 8
    lease: Lease | None = None

    @property
    def width_px(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def height_px(self) -> int:
        return int(self.pixels.shape[0])


@dataclass(frozen=True, slots=True)
class Box:
    """An axis-aligned rectangle in pixels of the frame; x to the right, y down, from the top left corner."""

    x_px: int
    y_px: int
    width_px: int
    height_px: int


@dataclass(frozen=True, slots=True)
class Limits:
    """What a part's scores are held against; above is a defect. Finite, checked when the bundle opens.

    `score` is for the image score, `region` for single values of the anomaly map (it outlines findings and decides nothing).
    """

    score: float
    region: float


@dataclass(frozen=True, slots=True)
class Scores:
    """What the model said of one part.

    `score` is the image score (higher is more anomalous; may be NaN or infinite if the model is broken). `anomaly_map` is
    float32 (rows, columns) over the located region, or None if the model has none. `class_scores` maps defect classes to
    scores for models that tell them apart. `class_maps` is float32 (classes, rows, columns) over the same region, in the order
    of the bundle's classes: how likely each cell is of each class; None if the model does not outline them.
    """

    score: float
    anomaly_map: NDArray[np.float32] | None = None
    class_scores: Mapping[str, float] = field(default_factory=dict)
    class_maps: NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True)
class Millimetres:
    """How large a finding is and where its centre lies, from the top left corner of the located region."""

    length_mm: float
    area_mm2: float
    x_mm: float
    y_mm: float


@dataclass(frozen=True, slots=True)
class Finding:
    """One located defect, in pixels of the frame as received.

    `length_px` is the largest distance between two of its points and `centre_px` (x, y) the mean of them, for models that
    outline defects, else None; `size` is there where the recipe gives the scale. `view` says in whose frame, empty if the part
    has only one.
    """

    defect_class: str
    box: Box
    area_px: float
    score: float
    length_px: float | None = None
    centre_px: tuple[float, float] | None = None
    size: Millimetres | None = None
    view: str = ""


def strongest_class(verdict: Verdict, findings: tuple[Finding, ...]) -> str:
    """Class of the strongest finding of a reject; what a passed part has is within its limits and names no defect."""
    if verdict is not Verdict.REJECT or not findings:
        return ""
    return max(findings, key=lambda finding: finding.score).defect_class


@dataclass(frozen=True, slots=True)
class Judgement:
    """The outcome for one part or one view of it, before it has a place in the line's sequence."""

    reason: Reason
    detail: str = ""
    score: float | None = None
    limit: float | None = None
    findings: tuple[Finding, ...] = ()

    @property
    def verdict(self) -> Verdict:
        return self.reason.verdict

    @property
    def defect_class(self) -> str:
        """Class of the strongest finding of a reject, or an empty string."""
        return strongest_class(self.verdict, self.findings)


@dataclass(frozen=True, slots=True)
class ViewResult:
    """What came of one view of a part that has several; `reason` and the rest are of this view alone."""

    view: str
    camera: str
    bundle: str
    reason: Reason
    detail: str = ""
    score: float | None = None
    limit: float | None = None


@dataclass(frozen=True, slots=True)
class Inspection:
    """The record of one part's verdict: the same on every output.

    `sequence` counts the verdicts of the line without gaps, `station_sequence` those of the station (shown to the PLC). Times
    are aware UTC datetimes; `receive_time` and `decide_time` are never None. `bundle` is "name@first 12 digits of digest".
    `latency_ms` runs from receipt of the first frame to the verdict, on the monotonic clock.

    Of a part with several views `camera`, `score` and `limit` are those of `view`, which decided, `bundle` stands for the
    bundles of all, and `views` says what came of each by then; with one view both are empty.
    """

    line: str
    station: str
    camera: str
    sequence: int
    station_sequence: int
    trigger: int
    part_id: str
    verdict: Verdict
    reason: Reason
    detail: str
    score: float | None
    limit: float | None
    findings: tuple[Finding, ...]
    recipe: str
    bundle: str
    capture_time: datetime | None
    receive_time: datetime
    decide_time: datetime
    latency_ms: float
    view: str = ""
    views: tuple[ViewResult, ...] = ()

    @property
    def name(self) -> str:
        """Resource name, as in the API."""
        return f"lines/{self.line}/inspections/{self.sequence}"

    @property
    def defect_class(self) -> str:
        """Class of the strongest finding of a reject, or an empty string."""
        return strongest_class(self.verdict, self.findings)
