"""Promotions of bundles, proposals of them, golden results by machine, comparisons."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.create_table(
        "promotions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("line_id", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("recipe", "view", "label", "digest", "folder")),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("label_before", "digest_before")),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("promoted_by", "proposed_by", "reason")),
        sa.Column("promoted_us", sa.BigInteger(), nullable=False),
        sa.Column("is_rollback", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["line_id"], ["lines.id"], name="fk_promotions_line_id"),
        sa.PrimaryKeyConstraint("id", name="pk_promotions"),
        sa.UniqueConstraint(
            "line_id", "recipe", "view", "promoted_us", name="uq_promotions_line_id_recipe_view_promoted_us"
        ),
    )
    op.create_table(
        "promotion_requests",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("line_id", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("recipe", "view", "label", "digest", "folder")),
        *(
            sa.Column(name, sa.Text(), nullable=False)
            for name in ("digest_before", "proposed_by", "reason", "evidence")
        ),
        sa.Column("proposed_us", sa.BigInteger(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("state", "decided_by")),
        sa.Column("decided_us", sa.BigInteger(), nullable=True),
        sa.Column("note", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["line_id"], ["lines.id"], name="fk_promotion_requests_line_id"),
        sa.PrimaryKeyConstraint("id", name="pk_promotion_requests"),
    )
    op.create_index("ix_promotion_requests_line_id_state", "promotion_requests", ["line_id", "state"], unique=False)
    op.create_table(
        "golden_results",
        sa.Column("id", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("label", "machine", "provider")),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in ("checked", "failed")),
        sa.Column("difference", sa.Double(), nullable=True),
        sa.Column("tested_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_golden_results"),
        sa.UniqueConstraint("label", "machine", "provider", name="uq_golden_results_label_machine_provider"),
    )
    op.create_table(
        "comparisons",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("line_id", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("first_label", "second_label", "data", "made_by")),
        sa.Column("made_us", sa.BigInteger(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("statement", "result")),
        sa.ForeignKeyConstraint(["line_id"], ["lines.id"], name="fk_comparisons_line_id"),
        sa.PrimaryKeyConstraint("id", name="pk_comparisons"),
    )
    op.create_index("ix_comparisons_line_id_made_us", "comparisons", ["line_id", "made_us"], unique=False)
