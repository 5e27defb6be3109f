"""Tables of the quality database, for SQLite and PostgreSQL.

Names are kept once in look-up tables and times are microseconds since 1970 UTC, so that a week of passed parts stays small.
What belongs to an inspection refers to it by (line, sequence) without a foreign key: the journal may bring it first.

The indexes serve the filters of the API, newest first, each within a line; `store.py` asks line by line. Pictures, late
scores and labels are their own tables because few inspections have them.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)

# Their tables are part of the same database.
from inspector.records import job_tables as job_tables
from inspector.records import model_tables as model_tables
from inspector.records import set_tables as set_tables
from inspector.records.metadata import metadata

# Every version that `migrations` leads through, oldest first; the last is the one this program works with.
VERSIONS = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0009", "0010")

lines = Table(
    "lines",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
)

# The marks are one behind what is counted next; they let a new journal go on where the database stands.
stations = Table(
    "stations",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("line_id", ForeignKey("lines.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("last_trigger", BigInteger, nullable=False, server_default="0"),
    Column("last_station_sequence", BigInteger, nullable=False, server_default="0"),
    UniqueConstraint("line_id", "name"),
)

cameras = Table(
    "cameras",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("line_id", ForeignKey("lines.id"), nullable=False),
    Column("name", Text, nullable=False),
    UniqueConstraint("line_id", "name"),
)

classes = Table(
    "classes",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
)

recipes = Table(
    "recipes",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
)

# What a recipe said, each time it changed.
recipe_versions = Table(
    "recipe_versions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("recipe_id", ForeignKey("recipes.id"), nullable=False),
    Column("digest", Text, nullable=False),
    Column("content", Text, nullable=False),
    Column("recorded_us", BigInteger, nullable=False),
    UniqueConstraint("recipe_id", "digest"),
)

# `label` is what inspections name; the rest is NULL until the bundle itself was recorded.
bundles = Table(
    "bundles",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("label", Text, nullable=False, unique=True),
    Column("digest", Text),
    Column("manifest", Text),
    Column("recorded_us", BigInteger),
)

inspections = Table(
    "inspections",
    metadata,
    Column("line_id", ForeignKey("lines.id"), primary_key=True, autoincrement=False),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("station_id", ForeignKey("stations.id"), nullable=False),
    Column("camera_id", ForeignKey("cameras.id"), nullable=False),
    Column("station_sequence", BigInteger, nullable=False),
    Column("trigger", BigInteger, nullable=False),
    Column("part_id", Text),
    Column("verdict", SmallInteger, nullable=False),
    Column("reason", SmallInteger, nullable=False),
    Column("detail", Text),
    Column("score", Double),
    Column("score_limit", Double),
    Column("class_id", ForeignKey("classes.id")),
    Column("recipe_id", ForeignKey("recipes.id"), nullable=False),
    Column("bundle_id", ForeignKey("bundles.id"), nullable=False),
    Column("capture_us", BigInteger),
    Column("receive_us", BigInteger, nullable=False),
    Column("decide_us", BigInteger, nullable=False),
    Column("latency_us", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

_at = (inspections.c.receive_us, inspections.c.sequence)
Index("ix_inspections_time", inspections.c.line_id, *_at)
Index("ix_inspections_bundle", inspections.c.line_id, inspections.c.bundle_id, inspections.c.verdict, *_at)
# Partial: passed parts, which are nearly all, do not enter the index that looks for the others.
_NOT_PASSED = inspections.c.verdict != 1
Index(
    "ix_inspections_verdict",
    inspections.c.line_id,
    inspections.c.verdict,
    *_at,
    sqlite_where=_NOT_PASSED,
    postgresql_where=_NOT_PASSED,
)
# Parts that passed close to their limit; `queries` and `review_rows` ask in the same words, so that the index applies.
NEAR_LIMIT = (
    "inspections.verdict = 1 AND inspections.score >= inspections.score_limit - 0.1 * abs(inspections.score_limit)"
)
Index(
    "ix_inspections_near",
    inspections.c.line_id,
    *_at,
    sqlite_where=text(NEAR_LIMIT.replace("inspections.", "")),
    postgresql_where=text(NEAR_LIMIT.replace("inspections.", "")),
)
_HAS_CLASS = inspections.c.class_id.is_not(None)
Index(
    "ix_inspections_class",
    inspections.c.line_id,
    inspections.c.class_id,
    *_at,
    sqlite_where=_HAS_CLASS,
    postgresql_where=_HAS_CLASS,
)
_HAS_PART = inspections.c.part_id.is_not(None)
Index(
    "ix_inspections_part",
    inspections.c.line_id,
    inspections.c.part_id,
    *_at,
    sqlite_where=_HAS_PART,
    postgresql_where=_HAS_PART,
)

findings = Table(
    "findings",
    metadata,
    Column("line_id", Integer, primary_key=True, autoincrement=False),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("class_id", ForeignKey("classes.id"), nullable=False),
    Column("x_px", Integer, nullable=False),
    Column("y_px", Integer, nullable=False),
    Column("width_px", Integer, nullable=False),
    Column("height_px", Integer, nullable=False),
    Column("area_px", Double, nullable=False),
    Column("score", Double),
    Column("length_px", Double),
    Column("centre_x_px", Double),
    Column("centre_y_px", Double),
    Column("length_mm", Double),
    Column("area_mm2", Double),
    Column("x_mm", Double),
    Column("y_mm", Double),
    Column("view", Text),
    sqlite_with_rowid=False,
)

# What came of each view of a part that has several; parts with one view have no row here. `is_decisive` marks the view whose
# score, limit and camera the inspection shows.
inspection_views = Table(
    "inspection_views",
    metadata,
    Column("line_id", Integer, primary_key=True, autoincrement=False),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("view", Text, nullable=False),
    Column("camera_id", ForeignKey("cameras.id"), nullable=False),
    Column("bundle_id", ForeignKey("bundles.id"), nullable=False),
    Column("reason", SmallInteger, nullable=False),
    Column("detail", Text),
    Column("score", Double),
    Column("score_limit", Double),
    Column("is_decisive", Boolean, nullable=False),
    sqlite_with_rowid=False,
)

late_scores = Table(
    "late_scores",
    metadata,
    Column("line_id", Integer, primary_key=True, autoincrement=False),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("score", Double),
    sqlite_with_rowid=False,
)

# A picture as content: several inspections may show the same one. `removed_us` is when retention deleted the file.
pictures = Table(
    "pictures",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("sha256", LargeBinary(32), nullable=False, unique=True),
    Column("media_type", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("stored_us", BigInteger, nullable=False),
    Column("removed_us", BigInteger),
    Column("removed_reason", Text),
)

# Which pictures an inspection has; without `picture_id` the picture was lost, for `lost_reason`. `number` counts those that it
# was judged by from 0, and those of a view that came after its verdict from `LATE_VIEW` times the view's place.
inspection_images = Table(
    "inspection_images",
    metadata,
    Column("line_id", Integer, primary_key=True, autoincrement=False),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("kind", SmallInteger, nullable=False),
    Column("picture_id", ForeignKey("pictures.id"), index=True),
    Column("lost_reason", Text),
    Column("view", Text),
    sqlite_with_rowid=False,
)
LATE_VIEW = 1000

# What people said of parts: rows are only ever added, and the newest of an author counts. `picture_sha256` is the picture
# that it is said of, NULL for the part as a whole. `is_repeat` marks a second look without sight of the first, for the study of
# how far people agree with themselves. Retention keeps the pictures of labelled parts.
labels = Table(
    "labels",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("line_id", ForeignKey("lines.id"), nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("label", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("labelled_us", BigInteger, nullable=False),
    Column("picture_sha256", LargeBinary(32)),
    Column("note", Text),
    Column("is_repeat", Boolean),
    Index(None, "line_id", "sequence"),
)

# Where, of a label: a box or polygon in `points`, or a mask among the pictures. Without `defect_class` it does not count.
label_areas = Table(
    "label_areas",
    metadata,
    Column("label_id", ForeignKey("labels.id"), primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("defect_class", Text),
    Column("points", Text),
    Column("picture_id", ForeignKey("pictures.id"), index=True),
    sqlite_with_rowid=False,
)

# How a camera sees: one measure over one window of frames. `low` and `high` are tenth percentiles of the frames, where it has
# them. Written by the service, thinned with age.
camera_health = Table(
    "camera_health",
    metadata,
    Column("line_id", ForeignKey("lines.id"), primary_key=True, autoincrement=False),
    Column("camera_id", ForeignKey("cameras.id"), primary_key=True, autoincrement=False),
    Column("start_us", BigInteger, primary_key=True, autoincrement=False),
    Column("measure", SmallInteger, primary_key=True, autoincrement=False),
    Column("end_us", BigInteger, nullable=False),
    Column("frames", Integer, nullable=False),
    Column("low", Double),
    Column("median", Double, nullable=False),
    Column("high", Double),
    sqlite_with_rowid=False,
)

# Alarms of cameras; without `cleared_us` one still lasts. `reference` names what the camera is held against.
camera_alarms = Table(
    "camera_alarms",
    metadata,
    Column("line_id", ForeignKey("lines.id"), primary_key=True, autoincrement=False),
    Column("camera_id", ForeignKey("cameras.id"), primary_key=True, autoincrement=False),
    Column("kind", SmallInteger, primary_key=True, autoincrement=False),
    Column("raised_us", BigInteger, primary_key=True, autoincrement=False),
    Column("cleared_us", BigInteger),
    Column("value", Double, nullable=False),
    Column("value_limit", Double, nullable=False),
    Column("words", Text, nullable=False),
    Column("reference", Text, nullable=False),
    sqlite_with_rowid=False,
)

# Who looks at which part just now, so that nobody else gets it; `expires_us` is when it is offered again. `window` tells two
# windows of one person apart.
review_claims = Table(
    "review_claims",
    metadata,
    Column("line_id", ForeignKey("lines.id"), primary_key=True, autoincrement=False),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("reviewer", Text, nullable=False),
    Column("window", Text, nullable=False),
    Column("expires_us", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

# What people mean by each defect class; `version` counts its changes. A class may be in use without a row here.
class_book = Table(
    "class_book",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("definition", Text, nullable=False),
    Column("colour", Text, nullable=False),
    Column("hot_key", SmallInteger, unique=True),
    Column("version", Integer, nullable=False),
    Column("changed_us", BigInteger, nullable=False),
    Column("changed_by", Text, nullable=False),
)

# Pictures that show what is meant; retention keeps them.
class_examples = Table(
    "class_examples",
    metadata,
    Column("class_id", ForeignKey("class_book.id"), primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("line_id", ForeignKey("lines.id"), nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("picture_id", ForeignKey("pictures.id"), nullable=False, index=True),
    Column("note", Text),
    sqlite_with_rowid=False,
)

# How far each line's journal has been stored; written in the same transaction as what it stands for.
journal_positions = Table(
    "journal_positions",
    metadata,
    Column("line_id", ForeignKey("lines.id"), primary_key=True, autoincrement=False),
    Column("journal", Text),
    Column("segment", BigInteger),
    Column("byte_offset", BigInteger),
)

# People who log in at the web desk; `role` is the number of `inspector/access/identity.py`. Who logs in elsewhere (OIDC) has no
# password here. Nobody is ever removed: labels and audit rows name them.
users = Table(
    "users",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("role", SmallInteger, nullable=False),
    Column("password", Text),
    Column("is_active", Boolean, nullable=False),
    Column("theme", Text),
    Column("created_us", BigInteger, nullable=False),
    Column("login_us", BigInteger),
)

# Who is logged in: the secret of the cookie is kept as its SHA-256 only.
user_sessions = Table(
    "user_sessions",
    metadata,
    Column("sha256", LargeBinary(32), primary_key=True),
    Column("user_id", ForeignKey("users.id"), nullable=False, index=True),
    Column("address", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("expires_us", BigInteger, nullable=False),
)

# Secrets of programs, each for one user and with at most that user's role.
user_tokens = Table(
    "user_tokens",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("user_id", ForeignKey("users.id"), nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("sha256", LargeBinary(32), nullable=False, unique=True),
    Column("role", SmallInteger, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("expires_us", BigInteger),
    Column("used_us", BigInteger),
    Column("revoked_us", BigInteger),
)

# Wrong passwords of a name from an address, since the last right one.
login_failures = Table(
    "login_failures",
    metadata,
    Column("name", Text, primary_key=True),
    Column("address", Text, primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("last_us", BigInteger, nullable=False, index=True),
)

# What a false reject and an escape cost; rows are only ever added, and the newest of a recipe counts.
recipe_costs = Table(
    "recipe_costs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("recipe_id", ForeignKey("recipes.id"), nullable=False, index=True),
    Column("false_reject", Double, nullable=False),
    Column("escape", Double, nullable=False),
    Column("currency", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("set_us", BigInteger, nullable=False),
)
