"""Who reviews which part, what each defect class means, and an index of the parts that passed close to their limit."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
_NEAR = sa.text("verdict = 1 AND score >= score_limit - 0.1 * abs(score_limit)")


def upgrade() -> None:
    columns = ["line_id", "receive_us", "sequence"]
    op.create_index("ix_inspections_near", "inspections", columns, sqlite_where=_NEAR, postgresql_where=_NEAR)
    op.create_table(
        "review_claims",
        sa.Column("line_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("reviewer", sa.Text(), nullable=False),
        sa.Column("window", sa.Text(), nullable=False),
        sa.Column("expires_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["line_id"], ["lines.id"], name="fk_review_claims_line_id"),
        sa.PrimaryKeyConstraint("line_id", "sequence", name="pk_review_claims"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "class_book",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("definition", sa.Text(), nullable=False),
        sa.Column("colour", sa.Text(), nullable=False),
        sa.Column("hot_key", sa.SmallInteger(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("changed_us", sa.BigInteger(), nullable=False),
        sa.Column("changed_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_class_book"),
        sa.UniqueConstraint("name", name="uq_class_book_name"),
        sa.UniqueConstraint("hot_key", name="uq_class_book_hot_key"),
    )
    op.create_table(
        "class_examples",
        sa.Column("class_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("line_id", sa.Integer(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("picture_id", sa.Integer(), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["class_id"], ["class_book.id"], name="fk_class_examples_class_id"),
        sa.ForeignKeyConstraint(["line_id"], ["lines.id"], name="fk_class_examples_line_id"),
        sa.ForeignKeyConstraint(["picture_id"], ["pictures.id"], name="fk_class_examples_picture_id"),
        sa.PrimaryKeyConstraint("class_id", "number", name="pk_class_examples"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_class_examples_picture_id", "class_examples", ["picture_id"], unique=False)
