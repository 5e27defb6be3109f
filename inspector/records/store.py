"""The quality database: what was inspected, with which bundle and recipe, and what people said of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from inspector.part import Verdict
from inspector.records import camera_health, label_rows, queries, schema
from inspector.records.applying import Applied, Applier, chunks, insert_for, insert_new
from inspector.records.camera_health import AlarmRow, HealthRow
from inspector.records.codec import from_microseconds, to_microseconds
from inspector.records.database import Database
from inspector.records.entries import Entry, Position, StationMark
from inspector.records.label_rows import LabelledFilter
from inspector.records.labels import Label, Labelled
from inspector.records.queries import InspectionFilter, Page, StoredInspection
from inspector.records.set_tables import set_pictures
from inspector.records.text import clean


@dataclass(frozen=True, slots=True)
class LineStats:
    """What the database holds of a line. Times are those of the oldest and newest receipt."""

    line: str
    verdicts: Mapping[Verdict, int]
    first_time: datetime | None
    last_time: datetime | None


@dataclass(frozen=True, slots=True)
class StoreStats:
    """What the database holds. `size_bytes` is its disk space; pictures are counted, not their files."""

    version: str
    size_bytes: int
    lines: tuple[LineStats, ...]
    pictures: int
    pictures_removed: int
    labels: int


class Store:
    """One quality database, SQLite or PostgreSQL. Reading is thread-safe; `apply` belongs to one thread.

    Every method raises StoreUnavailable if the database does not answer and SchemaOutdated if its tables are missing.
    """

    def __init__(self, url: str, *, busy_timeout_s: float = 5.0) -> None:
        """`url` is sqlite:///path/to/file.db or postgresql://user:password@host/name. ConfigError."""
        self._database = Database(url, busy_timeout_s=busy_timeout_s)
        self._applier = Applier(self._database)

    @property
    def name(self) -> str:
        """The URL without its password, for messages."""
        return self._database.name

    @property
    def database(self) -> Database:
        """Its connections, for the tables that the web desk keeps beside the inspections."""
        return self._database

    def close(self) -> None:
        """Close all connections."""
        self._database.close()

    # Tables

    def upgrade(self) -> str | None:
        """Bring the tables up to date, or create them; returns the version before. SchemaOutdated if it is newer."""
        return self._database.upgrade()

    def is_empty(self) -> bool:
        """Whether the database has no tables of this program yet, or its SQLite file does not exist."""
        return self._database.is_empty()

    def create(self) -> None:
        """Make the tables if the database has none, or the file if there is none; leaves any other database as it is."""
        file = self._database.file
        if (file is not None and not file.exists()) or self._database.version() is None:
            self._database.upgrade()

    def check_schema(self) -> None:
        """SchemaOutdated unless the tables are those of this program."""
        self._database.check_schema()

    # From the journal

    def apply(self, line: str, entries: Sequence[Entry], position: Position | None = None) -> Applied:
        """Store journal entries and how far they reach, in one transaction; what is on record stays. RecordRejected."""
        return self._applier.apply(line, entries, position)

    def position(self, line: str) -> Position | None:
        """How far the line's journal is stored, or None if nothing of it is."""
        table = schema.journal_positions
        query = sa.select(table).join(schema.lines).where(schema.lines.c.name == clean(line))
        with self._database.reading() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None or row.journal is None else Position(row.journal, row.segment, row.byte_offset)

    def last_sequence(self, line: str) -> int:
        """Highest number of a stored verdict of the line; 0 if there is none."""
        table = schema.inspections
        with self._database.reading() as connection:
            line_id = _line_id(connection, line)
            query = sa.select(sa.func.max(table.c.sequence)).where(table.c.line_id == line_id)
            return connection.execute(query).scalar() or 0

    def station_marks(self, line: str) -> dict[str, StationMark]:
        """What each station counts next, as far as stored; for `Journal.open` with a new directory."""
        table = schema.stations
        query = sa.select(table).join(schema.lines).where(schema.lines.c.name == clean(line))
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        return {row.name: StationMark(row.last_trigger + 1, row.last_station_sequence + 1) for row in rows}

    # Inspections

    def get(self, line: str, sequence: int) -> StoredInspection:
        """One inspection. NotFound."""
        return queries.get(self._database, line, sequence)

    def list(self, where: InspectionFilter, page_size: int = 50, page_token: str = "") -> Page:
        """Inspections by receive time, newest first, at most 1000 at once. PageTokenInvalid."""
        return queries.list_page(self._database, where, page_size, page_token)

    def after(
        self, line: str, sequence: int, limit: int = 500, verdicts: frozenset[Verdict] = frozenset()
    ) -> Sequence[StoredInspection]:
        """Up to `limit` inspections with higher numbers than `sequence`, in their order."""
        return queries.after(self._database, line, sequence, limit, verdicts)

    def first_since(self, line: str, time: datetime) -> int:
        """Number of the earliest inspection that was received at or after `time`, 0 if there is none."""
        return queries.first_since(self._database, line, time)

    # Bundles and recipes

    def record_bundle(self, label: str, digest: str, manifest: Mapping[str, object], time: datetime) -> None:
        """Keep what a bundle was, under the label that inspections name. A second time changes nothing."""
        table = schema.bundles
        values = {
            "label": clean(label),
            "digest": clean(digest),
            "manifest": json.dumps(manifest, sort_keys=True, default=str),
            "recorded_us": to_microseconds(time),
        }
        with self._database.writing() as connection:
            # An inspection may have named it first.
            insert = insert_for(connection, table).values(values)
            rest = {key: insert.excluded[key] for key in ("digest", "manifest", "recorded_us")}
            unknown = table.c.digest.is_(None)
            connection.execute(insert.on_conflict_do_update(index_elements=[table.c.label], set_=rest, where=unknown))

    def record_recipe(self, name: str, content: Mapping[str, object], time: datetime) -> str:
        """Keep what a recipe says, if that is new; returns the SHA-256 of its content."""
        text = json.dumps(content, sort_keys=True, default=str)
        digest = hashlib.sha256(text.encode()).hexdigest()
        with self._database.writing() as connection:
            insert_new(connection, schema.recipes, [{"name": clean(name)}])
            query = sa.select(schema.recipes.c.id).where(schema.recipes.c.name == clean(name))
            version = {
                "recipe_id": connection.execute(query).scalar_one(),
                "digest": digest,
                "content": text,
                "recorded_us": to_microseconds(time),
            }
            insert_new(connection, schema.recipe_versions, [version])
        return digest

    # Labels and retention

    def add_labels(self, labels: Sequence[Label], versions: Mapping[tuple[str, int], int] | None = None) -> int:
        """Note what people say of parts, all of it or nothing; from then on retention keeps the pictures and masks.

        `versions` say of a part (line, number) how many labels it had when it was opened. Returns how many say something that
        their author has not said already. LabelInvalid, NotFound; EditConflict if a part was labelled since.
        """
        return label_rows.add(self._database, labels, versions)

    def labels(self, line: str, sequence: int) -> Labelled:
        """One inspection with all that was said of it. NotFound."""
        return label_rows.of(self._database, line, sequence)

    def labelled(self, where: LabelledFilter) -> Iterator[Labelled]:
        """Every inspection that has labels, by line and number, as it was when the first is read."""
        return label_rows.labelled(self._database, where)

    def label_classes(self) -> frozenset[str]:
        """Every defect class that a label has ever named."""
        return label_rows.classes(self._database)

    def protected_pictures(self) -> frozenset[str]:
        """SHA-256 of every picture of a labelled part, an image set or a class's examples, and of every mask of a label."""
        with self._database.reading() as connection:
            return frozenset(sha256.hex() for sha256 in _protected(connection))

    def mark_removed(self, sha256s: Collection[str], reason: str, time: datetime) -> frozenset[str]:
        """Record that retention removes these pictures; returns those that it may remove: the ones without a label."""
        table = schema.pictures
        removed: set[str] = set()
        with self._database.writing() as connection:
            for chunk in chunks([bytes.fromhex(s) for s in sorted(sha256s)]):
                mine = table.c.sha256.in_(chunk)
                # Locked first and looked at after, so that a label comes either before the look or after the removal.
                connection.execute(sa.select(table.c.id).where(mine).order_by(table.c.sha256).with_for_update())
                kept = _protected(connection, mine)
                gone = [sha256 for sha256 in chunk if sha256 not in kept]
                values = {"removed_us": to_microseconds(time), "removed_reason": reason}
                connection.execute(sa.update(table).where(table.c.sha256.in_(gone)).values(values))
                removed.update(sha256.hex() for sha256 in gone)
        return frozenset(removed)

    # Cameras

    def add_camera_health(self, line: str, rows: Sequence[HealthRow], alarms: Sequence[AlarmRow]) -> None:
        """Keep how cameras see and their alarms; a second time changes nothing but an alarm's end and newest value."""
        camera_health.add(self._database, line, rows, alarms)

    def camera_health(
        self, line: str, camera: str, since: datetime, until: datetime | None = None
    ) -> Sequence[HealthRow]:
        """Rows of a camera from `since` (inclusive) to `until` (exclusive), oldest first."""
        return camera_health.rows_of(self._database, line, camera, since, until)

    def latest_camera_health(self, line: str, camera: str) -> Sequence[HealthRow]:
        """The rows of a camera's newest window; empty if there is none."""
        return camera_health.latest_of(self._database, line, camera)

    def camera_alarms(self, line: str, camera: str, limit: int = 100) -> Sequence[AlarmRow]:
        """Alarms of a camera: those that last first, then the newest."""
        return camera_health.alarms_of(self._database, line, camera, limit)

    def thin_camera_health(self, line: str, now: datetime) -> int:
        """Thin old rows; returns how many went."""
        return camera_health.thin(self._database, line, now)

    # Upkeep

    def stats(self) -> StoreStats:
        """What the database holds; reads all of an index, so it takes seconds with millions of rows."""
        pictures, labels = schema.pictures, schema.labels
        size = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
        if not self._database.is_sqlite:
            size = "SELECT pg_database_size(current_database())"
        with self._database.reading() as connection:
            lines = connection.execute(sa.select(schema.lines.c.id, schema.lines.c.name).order_by("name")).all()
            return StoreStats(
                version=schema.VERSIONS[-1],
                size_bytes=connection.execute(sa.text(size)).scalar_one(),
                lines=tuple(_line_stats(connection, id_, name) for id_, name in lines),
                pictures=connection.execute(sa.select(sa.func.count()).select_from(pictures)).scalar_one(),
                pictures_removed=connection.execute(sa.select(sa.func.count(pictures.c.removed_us))).scalar_one(),
                labels=connection.execute(sa.select(sa.func.count()).select_from(labels)).scalar_one(),
            )


_LABELLED = (
    sa.select(schema.pictures.c.sha256)
    .distinct()
    .join(schema.inspection_images, schema.inspection_images.c.picture_id == schema.pictures.c.id)
    .join(
        schema.labels,
        (schema.labels.c.line_id == schema.inspection_images.c.line_id)
        & (schema.labels.c.sequence == schema.inspection_images.c.sequence),
    )
)


_MASKS = (
    sa.select(schema.pictures.c.sha256)
    .distinct()
    .join(schema.label_areas, schema.label_areas.c.picture_id == schema.pictures.c.id)
)


_OF_SETS = (
    sa.select(schema.pictures.c.sha256).distinct().join(set_pictures, set_pictures.c.picture_id == schema.pictures.c.id)
)


_EXAMPLES = (
    sa.select(schema.pictures.c.sha256)
    .distinct()
    .join(schema.class_examples, schema.class_examples.c.picture_id == schema.pictures.c.id)
)


def _protected(connection: Connection, which: sa.ColumnElement[bool] | None = None) -> set[bytes]:
    """SHA-256 of the pictures, or of `which` of them, that labels, image sets or examples of classes keep."""
    kept = (_LABELLED, _MASKS, _OF_SETS, _EXAMPLES)
    queries = [query if which is None else query.where(which) for query in kept]
    return {bytes(sha256) for query in queries for sha256 in connection.execute(query).scalars()}


def _line_id(connection: Connection, line: str) -> int:
    """Id of a line, or 0, which no line has."""
    return connection.execute(sa.select(schema.lines.c.id).where(schema.lines.c.name == clean(line))).scalar() or 0


def _line_stats(connection: Connection, line_id: int, name: str) -> LineStats:
    table = schema.inspections
    mine = table.c.line_id == line_id
    counts = connection.execute(sa.select(table.c.verdict, sa.func.count()).where(mine).group_by(table.c.verdict))
    verdicts = {Verdict(verdict): count for verdict, count in counts}
    ends = [
        connection.execute(sa.select(end(table.c.receive_us)).where(mine)).scalar()
        for end in (sa.func.min, sa.func.max)
    ]
    first, last = (None if us is None else from_microseconds(us) for us in ends)
    return LineStats(name, verdicts, first, last)
