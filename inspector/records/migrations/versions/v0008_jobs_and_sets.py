"""Jobs that workers do, and pictures that people bring."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    _jobs()
    _sets()


def _jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("line_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("spec", sa.Text(), nullable=False),
        sa.Column("model_kind", sa.Text(), nullable=True),
        sa.Column("snapshot_digest", sa.Text(), nullable=True),
        sa.Column("asked_by", sa.Text(), nullable=False),
        sa.Column("asked_us", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("deaths", sa.Integer(), nullable=False),
        sa.Column("worker", sa.Text(), nullable=True),
        sa.Column("lease_us", sa.BigInteger(), nullable=True),
        sa.Column("started_us", sa.BigInteger(), nullable=True),
        sa.Column("ended_us", sa.BigInteger(), nullable=True),
        sa.Column("cancel_by", sa.Text(), nullable=True),
        sa.Column("stage", sa.Text(), nullable=True),
        sa.Column("done", sa.BigInteger(), nullable=True),
        sa.Column("total", sa.BigInteger(), nullable=True),
        sa.Column("result", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["line_id"], ["lines.id"], name="fk_jobs_line_id"),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
    )
    op.create_index("ix_jobs_line_id_state", "jobs", ["line_id", "state"], unique=False)
    op.create_table(
        "job_points",
        sa.Column("job_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("curve", sa.Text(), nullable=False),
        sa.Column("step", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_job_points_job_id"),
        sa.PrimaryKeyConstraint("job_id", "curve", "step", name="pk_job_points"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "job_log",
        sa.Column("job_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("told_us", sa.BigInteger(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_job_log_job_id"),
        sa.PrimaryKeyConstraint("job_id", "number", name="pk_job_log"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "workers",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("line_id", sa.Integer(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("started_us", sa.BigInteger(), nullable=False),
        sa.Column("seen_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["line_id"], ["lines.id"], name="fk_workers_line_id"),
        sa.PrimaryKeyConstraint("name", name="pk_workers"),
        sqlite_with_rowid=False,
    )


def _sets() -> None:
    op.create_table(
        "image_sets",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("line_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("made_by", sa.Text(), nullable=False),
        sa.Column("made_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["line_id"], ["lines.id"], name="fk_image_sets_line_id"),
        sa.PrimaryKeyConstraint("id", name="pk_image_sets"),
        sa.UniqueConstraint("line_id", "name", name="uq_image_sets_line_id_name"),
    )
    op.create_table(
        "set_pictures",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("set_id", sa.Integer(), nullable=False),
        sa.Column("picture_id", sa.Integer(), nullable=False),
        sa.Column("file_name", sa.Text(), nullable=False),
        sa.Column("part_id", sa.Text(), nullable=False),
        sa.Column("lot", sa.Text(), nullable=False),
        sa.Column("width_px", sa.Integer(), nullable=False),
        sa.Column("height_px", sa.Integer(), nullable=False),
        sa.Column("added_by", sa.Text(), nullable=False),
        sa.Column("added_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["set_id"], ["image_sets.id"], name="fk_set_pictures_set_id"),
        sa.ForeignKeyConstraint(["picture_id"], ["pictures.id"], name="fk_set_pictures_picture_id"),
        sa.PrimaryKeyConstraint("id", name="pk_set_pictures"),
        sa.UniqueConstraint("set_id", "picture_id", name="uq_set_pictures_set_id_picture_id"),
    )
    op.create_index("ix_set_pictures_picture_id", "set_pictures", ["picture_id"], unique=False)
    op.create_table(
        "set_labels",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("set_picture_id", sa.Integer(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("labelled_us", sa.BigInteger(), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["set_picture_id"], ["set_pictures.id"], name="fk_set_labels_set_picture_id"),
        sa.PrimaryKeyConstraint("id", name="pk_set_labels"),
    )
    op.create_index("ix_set_labels_set_picture_id", "set_labels", ["set_picture_id"], unique=False)
    op.create_table(
        "uploads",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("set_id", sa.Integer(), nullable=False),
        sa.Column("file_name", sa.Text(), nullable=False),
        sa.Column("options", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(length=32), nullable=False),
        sa.Column("sent_by", sa.Text(), nullable=False),
        sa.Column("begun_us", sa.BigInteger(), nullable=False),
        sa.Column("seen_us", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["set_id"], ["image_sets.id"], name="fk_uploads_set_id"),
        sa.PrimaryKeyConstraint("id", name="pk_uploads"),
    )
    op.create_index("ix_uploads_set_id_state", "uploads", ["set_id", "state"], unique=False)
    op.create_table(
        "picture_descriptors",
        sa.Column("picture_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("version", sa.SmallInteger(), nullable=False),
        sa.Column("vector", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["picture_id"], ["pictures.id"], name="fk_picture_descriptors_picture_id"),
        sa.PrimaryKeyConstraint("picture_id", name="pk_picture_descriptors"),
        sqlite_with_rowid=False,
    )
