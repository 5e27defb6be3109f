"""How cameras see, over time, and their alarms."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "camera_health",
        sa.Column("line_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("camera_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("start_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("measure", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("end_us", sa.BigInteger(), nullable=False),
        sa.Column("frames", sa.Integer(), nullable=False),
        sa.Column("low", sa.Double(), nullable=True),
        sa.Column("median", sa.Double(), nullable=False),
        sa.Column("high", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["line_id"], ["lines.id"], name="fk_camera_health_line_id"),
        sa.ForeignKeyConstraint(["camera_id"], ["cameras.id"], name="fk_camera_health_camera_id"),
        sa.PrimaryKeyConstraint("line_id", "camera_id", "start_us", "measure", name="pk_camera_health"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "camera_alarms",
        sa.Column("line_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("camera_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("raised_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("cleared_us", sa.BigInteger(), nullable=True),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("value_limit", sa.Double(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["line_id"], ["lines.id"], name="fk_camera_alarms_line_id"),
        sa.ForeignKeyConstraint(["camera_id"], ["cameras.id"], name="fk_camera_alarms_camera_id"),
        sa.PrimaryKeyConstraint("line_id", "camera_id", "kind", "raised_us", name="pk_camera_alarms"),
        sqlite_with_rowid=False,
    )
