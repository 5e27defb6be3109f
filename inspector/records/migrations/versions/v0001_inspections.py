"""The first tables: inspections, findings, pictures, labels, and how far each journal is stored."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    _create_lines()
    _create_stations()
    _create_cameras()
    _create_classes()
    _create_recipes()
    _create_recipe_versions()
    _create_bundles()
    _create_inspections()
    _index_inspections()
    _create_findings()
    _create_late_scores()
    _create_pictures()
    _create_inspection_images()
    _create_labels()
    _create_journal_positions()


def _create_lines() -> None:
    op.create_table(
        "lines",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_lines"),
        sa.UniqueConstraint("name", name="uq_lines_name"),
    )


def _create_stations() -> None:
    op.create_table(
        "stations",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("line_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("last_trigger", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("last_station_sequence", sa.BigInteger(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["line_id"], ["lines.id"], name="fk_stations_line_id"),
        sa.PrimaryKeyConstraint("id", name="pk_stations"),
        sa.UniqueConstraint("line_id", "name", name="uq_stations_line_id_name"),
    )


def _create_cameras() -> None:
    op.create_table(
        "cameras",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("line_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["line_id"], ["lines.id"], name="fk_cameras_line_id"),
        sa.PrimaryKeyConstraint("id", name="pk_cameras"),
        sa.UniqueConstraint("line_id", "name", name="uq_cameras_line_id_name"),
    )


def _create_classes() -> None:
    op.create_table(
        "classes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_classes"),
        sa.UniqueConstraint("name", name="uq_classes_name"),
    )


def _create_recipes() -> None:
    op.create_table(
        "recipes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_recipes"),
        sa.UniqueConstraint("name", name="uq_recipes_name"),
    )


def _create_recipe_versions() -> None:
    op.create_table(
        "recipe_versions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("recipe_id", sa.Integer(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("recorded_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["recipe_id"], ["recipes.id"], name="fk_recipe_versions_recipe_id"),
        sa.PrimaryKeyConstraint("id", name="pk_recipe_versions"),
        sa.UniqueConstraint("recipe_id", "digest", name="uq_recipe_versions_recipe_id_digest"),
    )


def _create_bundles() -> None:
    op.create_table(
        "bundles",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=True),
        sa.Column("manifest", sa.Text(), nullable=True),
        sa.Column("recorded_us", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_bundles"),
        sa.UniqueConstraint("label", name="uq_bundles_label"),
    )


def _create_inspections() -> None:
    op.create_table(
        "inspections",
        sa.Column("line_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("station_id", sa.Integer(), nullable=False),
        sa.Column("camera_id", sa.Integer(), nullable=False),
        sa.Column("station_sequence", sa.BigInteger(), nullable=False),
        sa.Column("trigger", sa.BigInteger(), nullable=False),
        sa.Column("part_id", sa.Text(), nullable=True),
        sa.Column("verdict", sa.SmallInteger(), nullable=False),
        sa.Column("reason", sa.SmallInteger(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("score", sa.Double(), nullable=True),
        sa.Column("score_limit", sa.Double(), nullable=True),
        sa.Column("class_id", sa.Integer(), nullable=True),
        sa.Column("recipe_id", sa.Integer(), nullable=False),
        sa.Column("bundle_id", sa.Integer(), nullable=False),
        sa.Column("capture_us", sa.BigInteger(), nullable=True),
        sa.Column("receive_us", sa.BigInteger(), nullable=False),
        sa.Column("decide_us", sa.BigInteger(), nullable=False),
        sa.Column("latency_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["bundle_id"], ["bundles.id"], name="fk_inspections_bundle_id"),
        sa.ForeignKeyConstraint(["camera_id"], ["cameras.id"], name="fk_inspections_camera_id"),
        sa.ForeignKeyConstraint(["class_id"], ["classes.id"], name="fk_inspections_class_id"),
        sa.ForeignKeyConstraint(["line_id"], ["lines.id"], name="fk_inspections_line_id"),
        sa.ForeignKeyConstraint(["recipe_id"], ["recipes.id"], name="fk_inspections_recipe_id"),
        sa.ForeignKeyConstraint(["station_id"], ["stations.id"], name="fk_inspections_station_id"),
        sa.PrimaryKeyConstraint("line_id", "sequence", name="pk_inspections"),
        sqlite_with_rowid=False,
    )


def _index_inspections() -> None:
    op.create_index(
        "ix_inspections_bundle",
        "inspections",
        ["line_id", "bundle_id", "verdict", "receive_us", "sequence"],
        unique=False,
    )
    op.create_index(
        "ix_inspections_class",
        "inspections",
        ["line_id", "class_id", "receive_us", "sequence"],
        unique=False,
        sqlite_where=sa.text("class_id IS NOT NULL"),
        postgresql_where=sa.text("class_id IS NOT NULL"),
    )
    op.create_index(
        "ix_inspections_verdict",
        "inspections",
        ["line_id", "verdict", "receive_us", "sequence"],
        unique=False,
        sqlite_where=sa.text("verdict != 1"),
        postgresql_where=sa.text("verdict != 1"),
    )
    op.create_index(
        "ix_inspections_part",
        "inspections",
        ["line_id", "part_id", "receive_us", "sequence"],
        unique=False,
        sqlite_where=sa.text("part_id IS NOT NULL"),
        postgresql_where=sa.text("part_id IS NOT NULL"),
    )
    op.create_index("ix_inspections_time", "inspections", ["line_id", "receive_us", "sequence"], unique=False)


def _create_findings() -> None:
    op.create_table(
        "findings",
        sa.Column("line_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("class_id", sa.Integer(), nullable=False),
        sa.Column("x_px", sa.Integer(), nullable=False),
        sa.Column("y_px", sa.Integer(), nullable=False),
        sa.Column("width_px", sa.Integer(), nullable=False),
        sa.Column("height_px", sa.Integer(), nullable=False),
        sa.Column("area_px", sa.Double(), nullable=False),
        sa.Column("score", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["class_id"], ["classes.id"], name="fk_findings_class_id"),
        sa.PrimaryKeyConstraint("line_id", "sequence", "number", name="pk_findings"),
        sqlite_with_rowid=False,
    )


def _create_late_scores() -> None:
    op.create_table(
        "late_scores",
        sa.Column("line_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("score", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("line_id", "sequence", name="pk_late_scores"),
        sqlite_with_rowid=False,
    )


def _create_pictures() -> None:
    op.create_table(
        "pictures",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(length=32), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("stored_us", sa.BigInteger(), nullable=False),
        sa.Column("removed_us", sa.BigInteger(), nullable=True),
        sa.Column("removed_reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_pictures"),
        sa.UniqueConstraint("sha256", name="uq_pictures_sha256"),
    )


def _create_inspection_images() -> None:
    op.create_table(
        "inspection_images",
        sa.Column("line_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("picture_id", sa.Integer(), nullable=True),
        sa.Column("lost_reason", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["picture_id"], ["pictures.id"], name="fk_inspection_images_picture_id"),
        sa.PrimaryKeyConstraint("line_id", "sequence", "number", name="pk_inspection_images"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_inspection_images_picture_id", "inspection_images", ["picture_id"], unique=False)


def _create_labels() -> None:
    op.create_table(
        "labels",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("line_id", sa.Integer(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("labelled_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["line_id"], ["lines.id"], name="fk_labels_line_id"),
        sa.PrimaryKeyConstraint("id", name="pk_labels"),
    )
    op.create_index("ix_labels_line_id_sequence", "labels", ["line_id", "sequence"], unique=False)


def _create_journal_positions() -> None:
    op.create_table(
        "journal_positions",
        sa.Column("line_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("journal", sa.Text(), nullable=True),
        sa.Column("segment", sa.BigInteger(), nullable=True),
        sa.Column("byte_offset", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["line_id"], ["lines.id"], name="fk_journal_positions_line_id"),
        sa.PrimaryKeyConstraint("line_id", name="pk_journal_positions"),
    )
