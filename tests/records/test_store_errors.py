"""Databases that are locked, read-only, foreign, absent, or of another age: each is told with what to do next."""

from __future__ import annotations

import os
import pwd
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from postgres import PostgresServer
from record_samples import LINE, inspection, tiny_disk
from requires import require

from inspector.errors import ConfigError, RecordsError, SchemaOutdated, StoreUnavailable
from inspector.records import database, schema
from inspector.records.entries import Settled
from inspector.records.store import Store


def settle(store: Store, sequence: int = 1) -> None:
    store.apply(LINE, [Settled(inspection(sequence))])


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path / 'quality.db'}"
    with closing(Store(url)) as store:
        store.upgrade()
    return url


@pytest.mark.parametrize(
    ("url", "message"),
    [
        pytest.param("", "is not one: expected sqlite:///path", id="empty"),
        pytest.param("quality.db", "is not one: expected sqlite:///path", id="path"),
        pytest.param("postgresql://host:port/name", "is not one", id="port-is-no-number"),
        pytest.param("mysql://host/name", "'mysql' is not supported: use sqlite", id="other-kind"),
        pytest.param("sqlite://", "in memory would keep no records", id="memory"),
        pytest.param("sqlite:///:memory:", "in memory would keep no records", id="memory-by-name"),
    ],
)
def test_an_unusable_url_is_a_configuration_error(url: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Store(url)


def test_a_missing_driver_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "psycopg", None)
    with pytest.raises(ConfigError, match=r"needs the module psycopg: .* pip install 'inspector\[postgres\]'"):
        Store("postgresql://user:secret@host/name")


def test_the_password_is_not_shown() -> None:
    assert Store("postgresql://user:secret@host/name").name == "postgresql+psycopg://user:***@host/name"


def test_a_locked_database_is_told_after_the_wait(sqlite_url: str, tmp_path: Path) -> None:
    with closing(Store(sqlite_url, busy_timeout_s=0.05)) as store:
        with closing(sqlite3.connect(tmp_path / "quality.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreUnavailable, match=r"is locked: another program has held it for over 0\.05 s"):
                settle(store)
            other.execute("ROLLBACK")
        settle(store)
        assert store.last_sequence(LINE) == 1


def test_a_writer_waits_before_it_reads_not_halfway(sqlite_url: str) -> None:
    """A transaction that reads first and wants to write later could not wait: SQLite would refuse it at once."""
    with closing(Store(sqlite_url)) as first, closing(Store(sqlite_url, busy_timeout_s=0.05)) as second:
        with first._database.writing(), pytest.raises(StoreUnavailable, match="is locked"), second._database.writing():
            pytest.fail("two writers at once")
        settle(second)


@contextmanager
def as_nobody() -> Iterator[None]:
    """Without root's right to write everywhere."""
    require(os.geteuid() == 0, "only root can act as another user")
    nobody = pwd.getpwnam("nobody").pw_uid
    os.seteuid(nobody)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_read_only_database_is_told_and_can_be_read() -> None:
    folder = Path(tempfile.mkdtemp(prefix="inspector-read-only-"))
    try:
        file = folder / "quality.db"
        with closing(Store(f"sqlite:///{file}")) as store:
            store.upgrade()
            settle(store)
        folder.chmod(0o777)
        for path in (file, *folder.glob("quality.db-*")):
            path.chmod(0o444)
        with as_nobody(), closing(Store(f"sqlite:///{file}")) as store:
            assert store.last_sequence(LINE) == 1
            with pytest.raises(StoreUnavailable, match="is read-only: give this user write permission"):
                settle(store, 2)
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(
            b"this is a text file, and a longer one than a header" * 100, "is not an SQLite database", id="text"
        ),
        pytest.param(b"SQLite format 3\0" + b"\xff" * 5000, "is not an SQLite database|is damaged", id="torn-header"),
        pytest.param(b"", "has no tables yet: run `inspector db upgrade`", id="empty"),
    ],
)
def test_a_file_that_is_no_database_is_told(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "quality.db"
    file.write_bytes(content)
    with closing(Store(f"sqlite:///{file}")) as store, pytest.raises(RecordsError, match=message):
        store.check_schema()
    assert file.read_bytes() == content


def test_a_damaged_database_is_told(sqlite_url: str, tmp_path: Path) -> None:
    file = tmp_path / "quality.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with file.open("r+b") as handle:
        handle.seek(4096)
        handle.write(b"\xa5" * (file.stat().st_size - 4096))
    with closing(Store(sqlite_url)) as store, pytest.raises(StoreUnavailable, match="is damaged: restore a backup"):
        settle(store)


def test_a_folder_is_no_database(tmp_path: Path) -> None:
    with closing(Store(f"sqlite:///{tmp_path}")) as store:
        for use in (store.check_schema, store.upgrade):
            with pytest.raises(StoreUnavailable, match="cannot be opened: check that the path is a file"):
                use()


def test_a_missing_file_is_told_and_not_made(tmp_path: Path) -> None:
    file = tmp_path / "quality.db"
    with closing(Store(f"sqlite:///{file}")) as store:
        assert store.is_empty()
        with pytest.raises(StoreUnavailable, match=r"there is no database .*: check the path, or create it"):
            store.last_sequence(LINE)
    assert not file.exists()


def test_a_path_below_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        closing(Store(f"sqlite:///{tmp_path}/file/quality.db")) as store,
        pytest.raises(StoreUnavailable, match=r"cannot be created: .*: check the path"),
    ):
        store.upgrade()


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    with (
        tiny_disk(tmp_path / "disk", "1m") as disk,
        closing(Store(f"sqlite:///{disk / 'quality.db'}")) as store,
    ):
        store.upgrade()
        with pytest.raises(StoreUnavailable, match="the disk is full: free some disk space"):
            store.apply(LINE, [Settled(inspection(n)) for n in range(1, 20_000)])
        settle(store)
        assert store.last_sequence(LINE) == 1


# Versions


def set_version(url: str, version: str) -> None:
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = :v"), {"v": version})
    engine.dispose()


def test_an_empty_database_asks_for_an_upgrade(url: str) -> None:
    with closing(Store(url)) as store:
        assert store.is_empty()
        assert store.upgrade() is None
        store.check_schema()
        assert store.upgrade() == schema.VERSIONS[-1]


def test_an_older_schema_asks_for_an_upgrade(store: Store, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "VERSIONS", ("0000", *schema.VERSIONS))
    set_version(url, "0000")
    needed = schema.VERSIONS[-1]
    with pytest.raises(SchemaOutdated, match=f"version 0000, this program needs {needed}: run `inspector db upgrade`"):
        store.check_schema()


def test_a_newer_schema_asks_for_a_newer_program(store: Store, url: str) -> None:
    set_version(url, "9999")
    for use in (store.check_schema, store.upgrade):
        with pytest.raises(SchemaOutdated, match=r"has version 9999, which this program does not know .*: update this"):
            use()


def test_missing_tables_ask_for_an_upgrade(url: str) -> None:
    with closing(Store(url)) as store:
        if url.startswith("sqlite"):
            sqlite3.connect(url.removeprefix("sqlite:///")).close()
        for use in (lambda: store.last_sequence(LINE), lambda: settle(store)):
            with pytest.raises(RecordsError, match="inspector db upgrade"):
                use()


# PostgreSQL


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(("test-only", "wrong"), r"refuses the login \(.*\): check user and password", id="password"),
        pytest.param(("/postgres", "/nothing"), 'cannot be used: .*"nothing" does not exist', id="database"),
        pytest.param(("127.0.0.1", "no-such-host.invalid"), "check the server|cannot be reached", id="host"),
    ],
)
def test_a_wrong_address_is_told(postgres: PostgresServer, change: tuple[str, str], message: str) -> None:
    url = postgres.url().replace(*change)
    with closing(Store(url)) as store, pytest.raises(StoreUnavailable, match=message) as told:
        store.check_schema()
    assert "test-only" not in str(told.value)
    assert "wrong@" not in str(told.value)


def test_a_server_that_does_not_listen_is_told(postgres: PostgresServer) -> None:
    url = postgres.url().replace(f":{postgres.port}/", ":1/")
    with (
        closing(Store(url)) as store,
        pytest.raises(StoreUnavailable, match=r"cannot be reached: .*Connection refused"),
    ):
        store.check_schema()


def test_a_server_that_only_reads_is_told(postgres: PostgresServer) -> None:
    url = postgres.create()
    with closing(Store(url)) as store:
        store.upgrade()
    with closing(Store(f"{url}?options=-c%20default_transaction_read_only%3Don")) as store:
        assert store.last_sequence(LINE) == 0
        with pytest.raises(StoreUnavailable, match="is read-only: connect to the primary server"):
            settle(store)


def test_a_user_without_rights_is_told(postgres: PostgresServer) -> None:
    url = postgres.create()
    with closing(Store(url)) as store:
        store.upgrade()
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        connection.execute(sa.text("DROP ROLE IF EXISTS guest"))
        connection.execute(sa.text("CREATE ROLE guest LOGIN PASSWORD 'guest'"))
    engine.dispose()
    with (
        closing(Store(url.replace("inspector:test-only@", "guest:guest@"))) as store,
        pytest.raises(StoreUnavailable, match=r"denies access \(permission denied .*\): grant this user"),
    ):
        settle(store)


def test_a_server_that_restarts_is_used_again(own_postgres: PostgresServer) -> None:
    with closing(Store(own_postgres.create())) as store:
        store.upgrade()
        settle(store)
        own_postgres.stop("immediate")
        with pytest.raises(StoreUnavailable):
            settle(store, 2)
        own_postgres.start()
        settle(store, 2)
        assert store.last_sequence(LINE) == 2
