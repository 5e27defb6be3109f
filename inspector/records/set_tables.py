"""Tables of pictures that people bring, of uploads on their way, and of what any picture is like."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
)

from inspector.records.metadata import metadata

image_sets = Table(
    "image_sets",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("line_id", ForeignKey("lines.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("made_by", Text, nullable=False),
    Column("made_us", BigInteger, nullable=False),
    UniqueConstraint("line_id", "name"),
)

# A picture is in a set once, whatever its files were called. `part_id` and `lot` are empty where nobody knows them.
set_pictures = Table(
    "set_pictures",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("set_id", ForeignKey("image_sets.id"), nullable=False),
    Column("picture_id", ForeignKey("pictures.id"), nullable=False, index=True),
    Column("file_name", Text, nullable=False),
    Column("part_id", Text, nullable=False),
    Column("lot", Text, nullable=False),
    Column("width_px", Integer, nullable=False),
    Column("height_px", Integer, nullable=False),
    Column("added_by", Text, nullable=False),
    Column("added_us", BigInteger, nullable=False),
    UniqueConstraint("set_id", "picture_id"),
)

# As `labels` of inspections: rows are only ever added, and the newest of an author counts.
set_labels = Table(
    "set_labels",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("set_picture_id", ForeignKey("set_pictures.id"), nullable=False, index=True),
    Column("label", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("labelled_us", BigInteger, nullable=False),
    Column("note", Text),
)

# The bytes that have come lie in a file named by `id`; `sha256` and `size_bytes` are what the sender said before the first.
uploads = Table(
    "uploads",
    metadata,
    Column("id", Text, primary_key=True),
    Column("set_id", ForeignKey("image_sets.id"), nullable=False),
    Column("file_name", Text, nullable=False),
    Column("options", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("sha256", LargeBinary(32), nullable=False),
    Column("sent_by", Text, nullable=False),
    Column("begun_us", BigInteger, nullable=False),
    Column("seen_us", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("outcome", Text),
    Index(None, "set_id", "state"),
)

# What a picture is like, for finding others like it; made by `version` of the description.
picture_descriptors = Table(
    "picture_descriptors",
    metadata,
    Column("picture_id", ForeignKey("pictures.id"), primary_key=True, autoincrement=False),
    Column("version", SmallInteger, nullable=False),
    Column("vector", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)
