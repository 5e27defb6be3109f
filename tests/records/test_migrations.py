from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from record_samples import LINE, START, inspection, label

from inspector.part import ImageKind, Reason
from inspector.records import database, schema
from inspector.records.entries import Evidence, Settled, StoredImage
from inspector.records.store import Store

SECOND = '''
"""A step of the future."""

import sqlalchemy as sa
from alembic import op

revision = "9999"
down_revision = "{last}"


def upgrade() -> None:
    op.create_table("notes", sa.Column("id", sa.Integer(), primary_key=True))
    {then}
'''

# Those of the first versions; what came later only added tables.
FIRST_TABLES = (
    "lines", "stations", "cameras", "classes", "recipes", "recipe_versions", "bundles", "inspections", "findings",
    "inspection_views", "late_scores", "pictures", "inspection_images", "labels", "label_areas", "journal_positions",
)  # fmt: skip


@pytest.fixture
def future(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The migrations with another step, whose file is returned for the test to write."""
    migrations = tmp_path / "migrations with 100% odd path"
    shutil.copytree(database.MIGRATIONS, migrations)
    monkeypatch.setattr(database, "MIGRATIONS", migrations)
    monkeypatch.setattr(database, "VERSIONS", (*schema.VERSIONS, "9999"))
    return migrations / "versions" / "v9999_notes.py"


def tables(store: Store) -> set[str]:
    return set(sa.inspect(store._database.engine).get_table_names())


def test_the_migrations_lead_to_the_tables_of_the_schema(store: Store) -> None:
    with store._database.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        differences = compare_metadata(context, schema.metadata)
        found = {index["name"]: index for index in sa.inspect(connection).get_indexes("inspections")}
    assert [d for d in differences if "alembic_version" not in str(d)] == []
    partial = {name for name, index in found.items() if any(k.endswith("_where") for k in index["dialect_options"])}
    assert partial == {"ix_inspections_class", "ix_inspections_near", "ix_inspections_part", "ix_inspections_verdict"}


def test_the_versions_are_those_of_the_migrations() -> None:
    config = Config()
    config.set_main_option("script_location", str(database.MIGRATIONS))
    steps = list(ScriptDirectory.from_config(config).walk_revisions())
    assert [step.revision for step in reversed(steps)] == list(schema.VERSIONS)


def test_an_upgrade_goes_from_version_to_version(store: Store, future: Path) -> None:
    future.write_text(SECOND.format(last=schema.VERSIONS[-1], then="pass"))
    assert store.upgrade() == schema.VERSIONS[-1]
    assert "notes" in tables(store)
    store.check_schema()


def test_a_step_that_fails_leaves_the_database_as_it_was(store: Store, future: Path) -> None:
    future.write_text(SECOND.format(last=schema.VERSIONS[-1], then='raise RuntimeError("power cut")'))
    before = tables(store)
    with pytest.raises(RuntimeError, match="power cut"):
        store.upgrade()
    assert tables(store) == before
    assert store._database.version() == schema.VERSIONS[-1]


def test_a_first_step_that_fails_leaves_an_empty_database(url: str, future: Path) -> None:
    future.write_text(SECOND.format(last=schema.VERSIONS[-1], then='raise RuntimeError("power cut")'))
    with closing(Store(url)) as store:
        with pytest.raises(RuntimeError, match="power cut"):
            store.upgrade()
        assert tables(store) == set()
        assert store.is_empty()


def test_sqlite_keeps_readers_and_the_writer_apart(tmp_path: Path) -> None:
    with closing(Store(f"sqlite:///{tmp_path / 'new folder' / 'quality.db'}")) as store:
        store.upgrade()
        with store._database.reading() as connection:
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
            assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1


def test_findings_of_the_first_version_are_kept_and_have_no_length(url: str) -> None:
    with closing(Store(url)) as store:
        store.upgrade()
        store.apply(LINE, [Settled(inspection(1, Reason.SCORE_ABOVE_LIMIT))])
        with store._database.engine.begin() as connection:  # as the first version left it
            _without_areas(connection)
            for name in ("length_px", "centre_x_px", "centre_y_px", "length_mm", "area_mm2", "x_mm", "y_mm"):
                connection.execute(sa.text(f"ALTER TABLE findings DROP COLUMN {name}"))
            connection.execute(sa.text("UPDATE alembic_version SET version_num = '0001'"))
        assert store.upgrade() == "0001"
        assert store.get(LINE, 1).inspection == inspection(1, Reason.SCORE_ABOVE_LIMIT)


def test_labels_of_the_second_version_are_kept_and_say_nothing_of_a_picture(url: str) -> None:
    with closing(Store(url)) as store:
        store.upgrade()
        store.apply(LINE, [Settled(inspection(1))])
        store.add_labels([label(1, "scratch")])
        with store._database.engine.begin() as connection:  # as the second version left it
            _without_areas(connection)
            connection.execute(sa.text("UPDATE alembic_version SET version_num = '0002'"))
        assert store.upgrade() == "0002"
        assert store.labels(LINE, 1).history == (label(1, "scratch"),)


def test_pictures_of_the_third_version_are_kept_and_are_of_the_only_view(url: str) -> None:
    picture = StoredImage(ImageKind.FRAME, "ab" * 32, "image/png", 9)
    with closing(Store(url)) as store:
        store.upgrade()
        store.apply(LINE, [Settled(inspection(1)), Evidence(1, (picture,), START)])
        with store._database.engine.begin() as connection:  # as the third version left it
            _without_views(connection)
            connection.execute(sa.text("UPDATE alembic_version SET version_num = '0003'"))
        assert store.upgrade() == "0003"
        stored = store.get(LINE, 1)
        assert (stored.images, stored.inspection.view, stored.inspection.views) == ((picture,), "", ())


def test_labels_of_the_fourth_version_are_kept_and_are_no_repeats(url: str) -> None:
    with closing(Store(url)) as store:
        store.upgrade()
        store.apply(LINE, [Settled(inspection(1))])
        store.add_labels([label(1, "scratch")])
        with store._database.engine.begin() as connection:  # as the fourth version left it
            _without_repeats(connection)
            connection.execute(sa.text("UPDATE alembic_version SET version_num = '0004'"))
        assert store.upgrade() == "0004"
        assert store.labels(LINE, 1).history == (label(1, "scratch"),)


def _without_later_tables(connection: sa.Connection) -> None:
    """Take back what only adds tables and indexes: every step since the sixth version. Children go before their parents."""
    for table in reversed(schema.metadata.sorted_tables):
        if table.name not in FIRST_TABLES:
            connection.execute(sa.text(f"DROP TABLE {table.name}"))
    connection.execute(sa.text("DROP INDEX ix_inspections_near"))


def _without_repeats(connection: sa.Connection) -> None:
    """Take the steps since the fifth version back."""
    _without_later_tables(connection)
    connection.execute(sa.text("ALTER TABLE labels DROP COLUMN is_repeat"))


def _without_views(connection: sa.Connection) -> None:
    """Take the steps since the fourth version back."""
    _without_repeats(connection)
    connection.execute(sa.text("DROP TABLE inspection_views"))
    for table in ("findings", "inspection_images"):
        connection.execute(sa.text(f"ALTER TABLE {table} DROP COLUMN view"))


def _without_areas(connection: sa.Connection) -> None:
    """Take the steps since the third version back."""
    _without_views(connection)
    connection.execute(sa.text("DROP TABLE label_areas"))
    for name in ("picture_sha256", "note"):
        connection.execute(sa.text(f"ALTER TABLE labels DROP COLUMN {name}"))
