"""The values that the journal keeps and the store applies: what happened to a part, in the order in which it happened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from inspector.part import ImageKind, Inspection


@dataclass(frozen=True, slots=True)
class Admission:
    """A part that the service took responsibility for: it owes a verdict, also after a crash."""

    station: str
    camera: str
    trigger: int
    part_id: str
    receive_time: datetime
    capture_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class Settled:
    """A verdict. `evidence_expected` means that an `Evidence` entry follows, with pictures or with why there are none."""

    inspection: Inspection
    evidence_expected: bool = False


@dataclass(frozen=True, slots=True)
class StoredImage:
    """A picture of an inspection; if it was lost, `lost_reason` says why and `sha256` is empty.

    `view` says which view of the part it shows, empty if the part has only one.
    """

    kind: ImageKind
    sha256: str
    media_type: str
    size_bytes: int
    lost_reason: str = ""
    view: str = ""


@dataclass(frozen=True, slots=True)
class Evidence:
    """All pictures that an inspection was judged by or, with `late_view`, those of a view that came after its verdict.

    `late_view` is the view's place among the station's cameras, from 1. A second entry for the same replaces the first.
    """

    sequence: int
    images: tuple[StoredImage, ...]
    time: datetime
    late_view: int = 0


@dataclass(frozen=True, slots=True)
class LateScore:
    """A score that came after the deadline: kept, and changes nothing."""

    sequence: int
    score: float


Entry = Admission | Settled | Evidence | LateScore


@dataclass(frozen=True, slots=True)
class StationMark:
    """What a station counts next; triggers and verdicts both start at 1."""

    next_trigger: int = 1
    next_station_sequence: int = 1


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place between two entries of one journal; comparable within a journal only."""

    journal: str
    segment: int
    offset: int


@dataclass(frozen=True, slots=True)
class SegmentHeader:
    """First entry of a segment: all that is needed from the segments before it, so that those can go."""

    journal: str
    line: str
    number: int
    next_sequence: int
    stations: Mapping[str, StationMark]
    unsettled: tuple[Admission, ...]
    awaiting_evidence: tuple[int, ...]
