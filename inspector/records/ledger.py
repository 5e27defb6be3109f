"""What the journal must remember of its entries: the next numbers, and what is still owed."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from inspector.part import Inspection
from inspector.records.codec import admission_bytes
from inspector.records.entries import Admission, Entry, Evidence, LateScore, SegmentHeader, Settled, StationMark

RECENT = 4096
# Every expected picture is settled by the evidence writer, if only as lost; the bound is against a caller that forgets.
MAX_AWAITING = 20_000
# More than 20,000 parts in flight whose station, camera and part id have 60 characters together. The rest of a header's
# 3.5 MiB is enough for 20,000 awaited pictures and 247 stations, so that a header can always be written.
MAX_UNSETTLED_BYTES = 3 << 20


@dataclass(frozen=True, slots=True)
class JournalState:
    """What a start finds: the next numbers, what the last run still owed, and the newest verdicts.

    `unsettled` are parts admitted and never settled, in order of admission: each is owed an UNKNOWN/SERVICE_RESTARTED.
    `awaiting_evidence` are sequence numbers whose pictures were never stored. `recent` holds up to 4096 verdicts, oldest
    first.
    """

    next_sequence: int
    stations: Mapping[str, StationMark]
    unsettled: tuple[Admission, ...]
    awaiting_evidence: tuple[int, ...]
    recent: tuple[Inspection, ...]


class Ledger:
    """The running totals behind `JournalState`. Not thread-safe: the journal's lock guards it."""

    def __init__(self) -> None:
        self.next_sequence = 1
        self.stations: dict[str, StationMark] = {}
        self.unsettled: dict[tuple[str, int], Admission] = {}
        self.awaiting: dict[int, None] = {}
        self.unsettled_bytes = 0
        self._sizes: dict[tuple[str, int], int] = {}

    def load(self, header: SegmentHeader) -> None:
        """Take over the state that a segment began with."""
        self.next_sequence = header.next_sequence
        self.stations = dict(header.stations)
        self.unsettled, self._sizes, self.unsettled_bytes = {}, {}, 0
        for admission in header.unsettled:
            self._take(admission)
        self.awaiting = dict.fromkeys(header.awaiting_evidence)

    def is_ahead_of(self, header: SegmentHeader) -> bool:
        """Whether a segment's header counts from less than the entries before it have reached."""
        return self.next_sequence > header.next_sequence or any(
            mark.next_station_sequence > header.stations.get(station, StationMark()).next_station_sequence
            for station, mark in self.stations.items()
        )

    def raise_to(self, next_sequence: int, stations: Mapping[str, StationMark]) -> bool:
        """Never count below what others have already seen; True if that changes anything."""
        before = self.next_sequence, dict(self.stations)
        self.next_sequence = max(self.next_sequence, next_sequence)
        for station, mark in stations.items():
            self._raise_mark(station, mark.next_trigger, mark.next_station_sequence)
        return before != (self.next_sequence, self.stations)

    def mark(self, station: str) -> StationMark:
        return self.stations.get(station, StationMark())

    def objection(self, inspection: Inspection) -> str:
        """Why a verdict does not continue the sequence, or an empty string if it does."""
        expected = self.next_sequence
        if inspection.sequence != expected:
            return f"verdict {inspection.sequence} does not follow {expected - 1}"
        expected = self.mark(inspection.station).next_station_sequence
        if inspection.station_sequence != expected:
            return (
                f"verdict {inspection.station_sequence} of station {inspection.station} does not follow {expected - 1}"
            )
        return ""

    def note(self, entry: Entry) -> None:
        """Count one entry."""
        if isinstance(entry, Settled):
            self._note_settled(entry)
        elif isinstance(entry, Admission):
            self._take(entry)
            self._raise_mark(entry.station, entry.trigger + 1, 1)
        elif isinstance(entry, Evidence):
            if not entry.late_view:
                self.awaiting.pop(entry.sequence, None)
        else:
            assert isinstance(entry, LateScore)

    def _take(self, admission: Admission) -> None:
        key = admission.station, admission.trigger
        self._release(key)
        self.unsettled[key] = admission
        self._sizes[key] = admission_bytes(admission)
        self.unsettled_bytes += self._sizes[key]

    def _release(self, key: tuple[str, int]) -> None:
        if self.unsettled.pop(key, None) is not None:
            self.unsettled_bytes -= self._sizes.pop(key)

    def _note_settled(self, entry: Settled) -> None:
        inspection = entry.inspection
        self.next_sequence = max(self.next_sequence, inspection.sequence + 1)
        self._raise_mark(inspection.station, inspection.trigger + 1, inspection.station_sequence + 1)
        self._release((inspection.station, inspection.trigger))
        if entry.evidence_expected:
            self.awaiting[inspection.sequence] = None
            if len(self.awaiting) > MAX_AWAITING:
                del self.awaiting[next(iter(self.awaiting))]

    def _raise_mark(self, station: str, next_trigger: int, next_station_sequence: int) -> None:
        mark = self.mark(station)
        if next_trigger > mark.next_trigger or next_station_sequence > mark.next_station_sequence:
            self.stations[station] = StationMark(
                max(mark.next_trigger, next_trigger), max(mark.next_station_sequence, next_station_sequence)
            )

    def header(self, journal: str, line: str, number: int) -> SegmentHeader:
        """The state now, as the first entry of segment `number`."""
        return SegmentHeader(
            journal,
            line,
            number,
            self.next_sequence,
            dict(self.stations),
            tuple(self.unsettled.values()),
            tuple(self.awaiting),
        )

    def state(self, recent: deque[Inspection]) -> JournalState:
        return JournalState(
            self.next_sequence,
            dict(self.stations),
            tuple(self.unsettled.values()),
            tuple(self.awaiting),
            tuple(recent),
        )
