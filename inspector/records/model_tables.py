"""Tables of what bundles were promoted, proposed and compared, and how each proved itself on which machine."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Double, ForeignKey, Index, Integer, Table, Text, UniqueConstraint

from inspector.records.metadata import metadata

# What judged by a recipe since when, as the service did it; rows are only ever added.
promotions = Table(
    "promotions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("line_id", ForeignKey("lines.id"), nullable=False),
    Column("recipe", Text, nullable=False),
    Column("view", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("folder", Text, nullable=False),
    Column("label_before", Text, nullable=False),
    Column("digest_before", Text, nullable=False),
    Column("promoted_by", Text, nullable=False),
    Column("proposed_by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("promoted_us", BigInteger, nullable=False),
    Column("is_rollback", Boolean, nullable=False),
    UniqueConstraint("line_id", "recipe", "view", "promoted_us"),
)

# A bundle that somebody wants to judge by a recipe. `evidence` is JSON: what it was compared by.
promotion_requests = Table(
    "promotion_requests",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("line_id", ForeignKey("lines.id"), nullable=False),
    Column("recipe", Text, nullable=False),
    Column("view", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("folder", Text, nullable=False),
    Column("digest_before", Text, nullable=False),
    Column("proposed_by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("evidence", Text, nullable=False),
    Column("proposed_us", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("decided_by", Text, nullable=False),
    Column("decided_us", BigInteger),
    Column("note", Text, nullable=False),
    Index(None, "line_id", "state"),
)

# The newest self-test of a bundle on each machine and provider.
golden_results = Table(
    "golden_results",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("label", Text, nullable=False),
    Column("machine", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("checked", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("difference", Double),
    Column("tested_us", BigInteger, nullable=False),
    UniqueConstraint("label", "machine", "provider"),
)

# Two bundles on the same parts; `result` is the JSON of `inspector.records.comparisons`.
comparisons = Table(
    "comparisons",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("line_id", ForeignKey("lines.id"), nullable=False),
    Column("first_label", Text, nullable=False),
    Column("second_label", Text, nullable=False),
    Column("data", Text, nullable=False),
    Column("made_by", Text, nullable=False),
    Column("made_us", BigInteger, nullable=False),
    Column("statement", Text, nullable=False),
    Column("result", Text, nullable=False),
    Index(None, "line_id", "made_us"),
)
