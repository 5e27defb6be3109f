"""Labels say of which picture they are, where in it, and why."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("labels", sa.Column("picture_sha256", sa.LargeBinary(length=32), nullable=True))
    op.add_column("labels", sa.Column("note", sa.Text(), nullable=True))
    op.create_table(
        "label_areas",
        sa.Column("label_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("defect_class", sa.Text(), nullable=True),
        sa.Column("points", sa.Text(), nullable=True),
        sa.Column("picture_id", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["label_id"], ["labels.id"], name="fk_label_areas_label_id"),
        sa.ForeignKeyConstraint(["picture_id"], ["pictures.id"], name="fk_label_areas_picture_id"),
        sa.PrimaryKeyConstraint("label_id", "number", name="pk_label_areas"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_label_areas_picture_id", "label_areas", ["picture_id"], unique=False)
