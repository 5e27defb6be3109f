"""What the pages of data and training work with: sets, uploads, snapshots, jobs and what pictures are like, of one line."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from inspector.errors import ConfigError, DataError, NotFound, Overloaded
from inspector.intake import Intake
from inspector.likeness import describe_missing, descriptors_of
from inspector.records.browsing import Browsing
from inspector.records.database import Database
from inspector.records.descriptors import Descriptors
from inspector.records.fit_wish import FIT, KINDS, NAME, SNAPSHOT, FitWish, check_name
from inspector.records.image_sets import ImageSets
from inspector.records.images import ImageStore
from inspector.records.job import JobState, Wanted
from inspector.records.jobs import Jobs
from inspector.records.place import snapshot_folder
from inspector.records.snapshots.diff import Difference, difference
from inspector.records.snapshots.format import DOCUMENT, Snapshot, read_snapshot
from inspector.records.snapshots.wish import Wish
from inspector.records.uploads import Uploads

_FORGOTTEN_S = 7 * 86_400
_GROUPS_KEPT_S = 300.0


@dataclass(frozen=True, slots=True)
class SnapshotRow:
    """A snapshot in the desk's folder, as a list shows it; `problem` if it cannot be read."""

    name: str
    digest: str = ""
    taken: str = ""
    images: int = 0
    parts: int = 0
    labels: tuple[tuple[str, int], ...] = ()
    left_out: tuple[tuple[str, int], ...] = ()
    asked_for: tuple[tuple[str, str], ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Estimate:
    """How long a fit will take, and from what that is known."""

    seconds: float
    basis: str


@dataclass(frozen=True, slots=True)
class _Groups:
    least: float
    found_s: float
    groups: Sequence[Sequence[int]]


class Workroom:
    """One for a desk. Thread-safe; everything may wait for the disk or the database."""

    def __init__(
        self, database: Database, line: str, pictures: ImageStore, folder: Path, clock: Callable[[], datetime]
    ) -> None:
        self.line = line
        self.sets = ImageSets(database, line)
        self.uploads = Uploads(database, line)
        self.jobs = Jobs(database, line)
        self.browsing = Browsing(database, line)
        self.descriptors: Descriptors = descriptors_of(database)
        self.intake = Intake(self.uploads, self.sets, pictures, folder / "uploads", clock)
        self._pictures = pictures
        self._snapshots = snapshot_folder(folder)
        self._clock = clock
        self._describing = threading.Lock()
        self._rows: dict[str, tuple[int, SnapshotRow]] = {}
        self._grouping = threading.Lock()
        self._groups: _Groups | None = None

    # Snapshots

    def snapshots(self) -> Sequence[SnapshotRow]:
        """Every snapshot of the desk, the newest first."""
        if not self._snapshots.is_dir():
            return ()
        names = [path.name for path in self._snapshots.iterdir() if NAME.fullmatch(path.name) and path.is_dir()]
        return sorted((self._row(name) for name in names), key=lambda row: row.taken, reverse=True)

    def _row(self, name: str) -> SnapshotRow:
        """What a list says of a snapshot; one that has not changed since is not read again."""
        try:
            changed = (self._snapshots / name / DOCUMENT).stat().st_mtime_ns
            known = self._rows.get(name)
            if known is None or known[0] != changed:
                known = self._rows[name] = changed, self._read_row(name)
            return known[1]
        except (DataError, OSError) as error:
            return SnapshotRow(name, problem=str(error))

    def _read_row(self, name: str) -> SnapshotRow:
        read = self.snapshot(name)
        about = read.about
        return SnapshotRow(
            name,
            read.digest,
            str(about["taken"]),
            len(read.pictures),
            len({picture.group for picture in read.pictures if picture.group}),
            tuple(about["labels"].items()),
            tuple(about["left_out"].items()),
            tuple((key, _plain(value)) for key, value in about["asked_for"].items()),
        )

    def snapshot(self, name: str) -> Snapshot:
        """One snapshot; its pictures are not read. NotFound, DataError."""
        path = self._snapshots / check_name("a snapshot", name)
        if not path.is_dir():
            raise NotFound(f"there is no snapshot {name}: look at the list of snapshots")
        return read_snapshot(path, verify=False)

    def difference(self, first: str, second: str) -> Difference:
        """What changed from one snapshot to another. NotFound, DataError."""
        return difference(self.snapshot(first), self.snapshot(second))

    def ask_snapshot(self, name: str, wish: Wish, by: str) -> int:
        """Ask a worker for a snapshot; returns the number of the job. ConfigError."""
        check_name("a snapshot", name)
        if (self._snapshots / name).exists() or self._is_asked_for(SNAPSHOT, "name", name):
            raise ConfigError(f"there is a snapshot {name} already, or one is being taken: choose another name")
        return self.jobs.ask(Wanted(SNAPSHOT, name, {"name": name, "wish": wish.to_json()}), by)

    # Fits

    def ask_fit(self, wish: FitWish, bundles: Path, by: str) -> int:
        """Ask a worker for a fit; returns the number of the job. ConfigError, NotFound, DataError."""
        if wish.kind not in KINDS:
            raise ConfigError(f"there is no model kind {wish.kind[:40]!a}: choose from {', '.join(KINDS)}")
        snapshot = self.snapshot(wish.snapshot)
        if (bundles / wish.bundle).exists() or self._is_asked_for(FIT, "bundle", wish.bundle):
            raise ConfigError(f"there is a bundle {wish.bundle} already, or one is being fitted: choose another name")
        wanted = Wanted(FIT, wish.bundle, wish.to_json(), wish.kind, snapshot.digest)
        return self.jobs.ask(wanted, by)

    def estimate(self, kind: str, images: int) -> Estimate:
        """How long a fit of a kind on so many pictures takes: from fits that were done here, else by a rule."""
        done = [
            (job.seconds, _pictures(job.result.get("images")))
            for job in self.jobs.list((JobState.DONE,), FIT)
            if job.model_kind == kind and job.seconds
        ][:5]
        counted = [(seconds, count) for seconds, count in done if count]
        words = KINDS[kind]
        if not counted:
            seconds = words.seconds + words.seconds_per_picture * images
            rule = f"{words.seconds:g} s and {words.seconds_per_picture:g} s a picture"
            return Estimate(
                seconds, f"a rule for two cores with nothing else to do: {rule}; no such fit was done here yet"
            )
        fixed = words.seconds
        each = sum(max(0.0, seconds - fixed) / count for seconds, count in counted) / len(counted)
        least = min(fixed, *(seconds for seconds, _ in counted))
        basis = (
            f"the last {len(counted)} fits of this kind here" if len(counted) > 1 else "the last fit of this kind here"
        )
        return Estimate(max(least, fixed + each * images), basis)

    def _is_asked_for(self, kind: str, key: str, name: str) -> bool:
        return any(job.spec.get(key) == name for job in self.jobs.list((JobState.QUEUED, JobState.RUNNING), kind))

    # Pictures

    def describe_some(self, limit: int = 200) -> int:
        """Describe pictures that nobody has described yet, if nobody here is at it; returns how many."""
        if not self._describing.acquire(blocking=False):
            return 0
        try:
            return describe_missing(self.descriptors, self._pictures, limit)
        finally:
            self._describing.release()

    def groups(self, least: float) -> Sequence[Sequence[int]]:
        """Ids of pictures that are alike by at least so much, the largest group first; as they were some minutes ago, if they
        were looked for. Raises Overloaded while somebody else looks for others.
        """
        known = self._groups
        if known is None or known.least != least or time.monotonic() - known.found_s > _GROUPS_KEPT_S:
            if not self._grouping.acquire(blocking=False):
                raise Overloaded("pictures that are alike are being looked for already: try again in a minute")
            try:
                groups = self.descriptors.groups(least)
                known = self._groups = _Groups(least, time.monotonic(), groups)
            finally:
                self._grouping.release()
        return known.groups

    def make_room(self) -> None:
        """Forget uploads that nobody went on with."""
        self.intake.sweep(_FORGOTTEN_S)


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _pictures(counts: object) -> int:
    """How many pictures a fit says that it used: by role and label, as bundles have it."""
    if isinstance(counts, Mapping):
        return sum(map(_pictures, counts.values()))
    return counts if isinstance(counts, int) and not isinstance(counts, bool) else 0
