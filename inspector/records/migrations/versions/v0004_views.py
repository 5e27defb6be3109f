"""Parts with several views: what came of each, and which view a finding or a picture is of."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("findings", sa.Column("view", sa.Text(), nullable=True))
    op.add_column("inspection_images", sa.Column("view", sa.Text(), nullable=True))
    op.create_table(
        "inspection_views",
        sa.Column("line_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("view", sa.Text(), nullable=False),
        sa.Column("camera_id", sa.Integer(), nullable=False),
        sa.Column("bundle_id", sa.Integer(), nullable=False),
        sa.Column("reason", sa.SmallInteger(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("score", sa.Double(), nullable=True),
        sa.Column("score_limit", sa.Double(), nullable=True),
        sa.Column("is_decisive", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["camera_id"], ["cameras.id"], name="fk_inspection_views_camera_id"),
        sa.ForeignKeyConstraint(["bundle_id"], ["bundles.id"], name="fk_inspection_views_bundle_id"),
        sa.PrimaryKeyConstraint("line_id", "sequence", "number", name="pk_inspection_views"),
        sqlite_with_rowid=False,
    )
