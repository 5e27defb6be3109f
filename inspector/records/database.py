"""Connections to the quality database: SQLite or PostgreSQL, its version, and its errors in the house's words."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.engine import URL, Connection, Engine, make_url

from inspector.errors import ConfigError, InspectorError, RecordRejected, SchemaOutdated, StoreUnavailable
from inspector.records.schema import VERSIONS

MIGRATIONS = Path(__file__).parent / "migrations"

_CONNECT_TIMEOUT_S = 5
_DEAD_PEER_MS = 10_000
# Any fixed number will do; it keeps two upgrades of one PostgreSQL database from running at once.
_UPGRADE_LOCK = 0x1259EC70


class Database:
    """A pool of connections. Thread-safe. Nothing is opened before the first use."""

    def __init__(self, url: str, *, busy_timeout_s: float = 5.0) -> None:
        """ConfigError if `url` is not one of SQLite (a file) or PostgreSQL, or its driver is not installed."""
        parsed = _parse(url)
        self.name = parsed.render_as_string(hide_password=True)
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        self.file = Path(parsed.database or "") if self.is_sqlite else None
        self._busy_timeout_s = busy_timeout_s
        try:
            self.engine = self._create_sqlite(parsed) if self.is_sqlite else _create_postgres(parsed)
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"database {self.name} needs the module {error.name}: install the extra with pip install "
                "'inspector[postgres]'"
            ) from error

    def _create_sqlite(self, url: URL) -> Engine:
        engine = sa.create_engine(url, connect_args={"timeout": self._busy_timeout_s})
        sa.event.listen(engine, "connect", _prepare_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
        return engine

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that only reads. StoreUnavailable, SchemaOutdated."""
        with self._translated():
            self._must_exist()
            with self.engine.connect() as connection, connection.begin():
                yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that writes all or nothing. StoreUnavailable, SchemaOutdated, RecordRejected."""
        with self._translated():
            self._must_exist()
            with self.engine.connect().execution_options(writes=True) as connection, connection.begin():
                yield connection

    def close(self) -> None:
        """Close idle connections; the next use opens new ones."""
        self.engine.dispose()

    # Version

    def version(self) -> str | None:
        """Schema version of the database, or None if it has no tables of this program. StoreUnavailable."""
        with self.reading() as connection:
            return _version(connection)

    def is_empty(self) -> bool:
        """Whether there are no tables of this program, or no SQLite file. StoreUnavailable."""
        return (self.file is not None and not self.file.exists()) or self.version() is None

    def check_schema(self) -> None:
        """SchemaOutdated unless the database has exactly this program's tables. StoreUnavailable."""
        self._check(self.version())

    def _check(self, version: str | None) -> None:
        if version == VERSIONS[-1]:
            return
        if version is None:
            raise SchemaOutdated(f"database {self.name} has no tables yet: run `inspector db upgrade`")
        self._refuse_newer(version)
        raise SchemaOutdated(
            f"database {self.name} has version {version}, this program needs {VERSIONS[-1]}: run `inspector db upgrade`"
        )

    def _refuse_newer(self, version: str | None) -> None:
        if version is not None and version not in VERSIONS:
            raise SchemaOutdated(
                f"database {self.name} has version {version}, which this program does not know (newest {VERSIONS[-1]}): "
                "a newer version wrote it: update this program"
            )

    def upgrade(self) -> str | None:
        """Bring the tables to this program's version, all steps in one transaction; returns the version before.

        Creates an SQLite file if there is none. StoreUnavailable, SchemaOutdated if the database is newer.
        """
        with self._translated():
            if self.file is not None:
                self._create_file(self.file)
            with self.engine.connect().execution_options(writes=True) as connection, connection.begin():
                if not self.is_sqlite:
                    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_UPGRADE_LOCK)))
                before = _version(connection)
                self._refuse_newer(before)
                _migrate(connection)
                return before

    def _create_file(self, file: Path) -> None:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreUnavailable(
                f"database {self.name} cannot be created: {error.strerror}: check the path and its permissions"
            ) from error
        # Readers do not block the writer in this mode; the file remembers it. It cannot be set inside a transaction.
        with contextlib.closing(sqlite3.connect(file, timeout=self._busy_timeout_s)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")

    # Errors

    def _must_exist(self) -> None:
        if self.file is not None and not self.file.exists():
            raise StoreUnavailable(
                f"there is no database {self.file}: check the path, or create it with `inspector db upgrade`"
            )

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except exc.DBAPIError as error:
            raise self._translate(error, error.orig) from error
        except sqlite3.Error as error:
            raise self._translate(error, error) from error
        except exc.TimeoutError as error:
            raise StoreUnavailable(f"database {self.name}: all connections are in use: try again later") from error

    def _translate(self, error: Exception, cause: BaseException | None) -> InspectorError:
        message = _first_line(str(cause))
        if isinstance(error, exc.DataError | exc.IntegrityError):
            return RecordRejected(
                f"database {self.name} refuses a record: {message}: keep the journal and report this as a fault"
            )
        for part, kind, reason in _KNOWN:
            if part in message.lower():
                return kind(f"database {self.name} {reason.format(seconds=self._busy_timeout_s, message=message)}")
        return StoreUnavailable(
            f"database {self.name} does not work: {message}: check the server, the address and its log"
        )


# What the drivers say, in lower case, and what that means. The first match counts.
_KNOWN: tuple[tuple[str, type[InspectorError], str], ...] = (
    (
        "database is locked",
        StoreUnavailable,
        "is locked: another program has held it for over {seconds:g} s: end that program or its transaction",
    ),
    (
        "readonly database",
        StoreUnavailable,
        "is read-only: give this user write permission on the file and its folder",
    ),
    (
        "read-only transaction",
        StoreUnavailable,
        "is read-only: connect to the primary server",
    ),
    (
        "unable to open database file",
        StoreUnavailable,
        "cannot be opened: check that the path is a file and its permissions",
    ),
    (
        "file is not a database",
        StoreUnavailable,
        "is not an SQLite database: check the path, or move that file away",
    ),
    (
        "disk image is malformed",
        StoreUnavailable,
        "is damaged: restore a backup",
    ),
    (
        "disk is full",
        StoreUnavailable,
        "cannot grow: the disk is full: free some disk space",
    ),
    (
        "no such table",
        SchemaOutdated,
        "lacks tables ({message}): run `inspector db upgrade`",
    ),
    (
        "no such column",
        SchemaOutdated,
        "lacks columns ({message}): run `inspector db upgrade`",
    ),
    (
        "password authentication failed",
        StoreUnavailable,
        "refuses the login ({message}): check user and password in the URL",
    ),
    (
        "no password supplied",
        StoreUnavailable,
        "wants a password: add it to the URL or to ~/.pgpass",
    ),
    (
        "permission denied",
        StoreUnavailable,
        "denies access ({message}): grant this user the rights on its tables",
    ),
    (
        'relation "',
        SchemaOutdated,
        "lacks tables ({message}): run `inspector db upgrade`",
    ),
    (
        "does not exist",
        StoreUnavailable,
        "cannot be used: {message}: create it, or correct the URL",
    ),
    (
        "connection",
        StoreUnavailable,
        "cannot be reached: {message}: check that the server runs and the address is right",
    ),
)


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (exc.ArgumentError, ValueError) as error:
        raise ConfigError(
            "the database URL is not one: expected sqlite:///path/to/file.db or postgresql://user:password@host/name"
        ) from error
    backend = parsed.get_backend_name()
    if backend == "postgresql":
        return parsed.set(drivername="postgresql+psycopg")
    if backend != "sqlite":
        raise ConfigError(f"database kind {backend!r} is not supported: use sqlite:///file or postgresql://…")
    if not parsed.database or parsed.database == ":memory:":
        raise ConfigError("an SQLite database in memory would keep no records: give a file, sqlite:///path/to/file.db")
    return parsed


def _create_postgres(url: URL) -> Engine:
    arguments: dict[str, Any] = {
        "connect_timeout": _CONNECT_TIMEOUT_S,
        # A server that went without a word (power, cable) must not hold the forwarder for the kernel's 15 minutes.
        "tcp_user_timeout": _DEAD_PEER_MS,
        "keepalives_idle": 10,
        "application_name": "inspector",
    }
    return sa.create_engine(url, connect_args=arguments | dict(url.query), pool_pre_ping=True, pool_size=4)


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    # The driver would begin transactions on its own and leave table changes outside them; `_begin_sqlite` does it right.
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys=ON")
    # A journal segment is deleted once it is stored, so what is stored must survive the machine.
    connection.execute("PRAGMA synchronous=FULL")


def _begin_sqlite(connection: Connection) -> None:
    # A writer takes the lock at once: a read that turns into a write could fail halfway, without waiting.
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _version(connection: Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


def _migrate(connection: Connection) -> None:
    # Alembic takes a while to import and only an upgrade needs it.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _first_line(message: str) -> str:
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return lines[0] if lines else "no message"
