"""A real PostgreSQL server of the tests' own: a temporary cluster on a free port, started, stopped and thrown away."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from requires import require, require_tool

_PASSWORD = "test-only"

_ALONE = (
    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
_NO_ROWS = """
DO $$ DECLARE name text; BEGIN
  SET LOCAL session_replication_role = replica;  -- neither foreign keys nor triggers
  FOR name IN SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version'
  LOOP EXECUTE 'DELETE FROM ' || name; END LOOP;
  PERFORM setval(quote_ident(sequencename)::regclass, start_value, false) FROM pg_sequences WHERE schemaname = 'public';
END $$
"""
_SHAPE = """
SELECT (SELECT string_agg(version_num, ' ') FROM alembic_version), md5(string_agg(fact, ',' ORDER BY fact)) FROM (
  SELECT concat_ws(' ', relname, attname, format_type(atttypid, atttypmod), attnotnull, pg_get_expr(adbin, adrelid)) AS fact
    FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
    WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND attnum > 0 AND NOT attisdropped
  UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
  UNION ALL SELECT concat_ws(' ', conrelid::regclass, conname, pg_get_constraintdef(oid)) FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace) AS facts
"""


class PostgresServer:
    """A cluster in a temporary folder. Tests take databases with `create`, or share one that they empty or clear."""

    def __init__(self, folder: Path, bin_folder: Path) -> None:
        self.folder = folder
        self._bin = bin_folder
        self.port = _free_port()
        # The server refuses to run as root.
        self._user = "postgres" if os.geteuid() == 0 else None
        # Not subprocess's own `user`: that forks instead of vforking, and a fork aborts in a process with gRPC's threads.
        to_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        self._as_user = to_user if self._user is not None else []

    def initialise(self) -> None:
        if self._user is not None:
            os.chown(self.folder, pwd.getpwnam(self._user).pw_uid, -1)
        password = self.folder / "password"
        password.write_text(_PASSWORD)
        password.chmod(0o644)
        self._call(
            "initdb",
            f"--pgdata={self.folder / 'data'}",
            "--username=inspector",
            f"--pwfile={password}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--no-sync",
        )

    def start(self) -> None:
        """Start, and wait until it answers. What it commits survives the death of the server, not of the machine."""
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.folder} -c fsync=off"
        self._control("start", "--wait", f"--log={self.folder / 'log'}", f"--options={options}")

    def stop(self, mode: str = "fast") -> None:
        """Stop; mode "immediate" is a crash, without shutdown and with recovery at the next start."""
        self._control("stop", "--wait", f"--mode={mode}")

    def freeze(self) -> None:
        """SIGSTOP for all its processes: connections stay, and nothing answers until `thaw`."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def url(self, database: str = "postgres", *, password: str = _PASSWORD) -> str:
        return f"postgresql://inspector:{password}@127.0.0.1:{self.port}/{database}"

    def create(self) -> str:
        """URL of a new, empty database."""
        import psycopg

        name = f"test_{uuid.uuid4().hex[:12]}"
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self.url(name)

    def empty(self, url: str) -> None:
        """Remove everything from a database that `create` made, and whoever is still connected to it; faster than a new one."""
        self._execute(url, _ALONE, "DROP SCHEMA public CASCADE; CREATE SCHEMA public")

    def clear(self, url: str) -> None:
        """Remove all rows but those of versions, and whoever is still connected, and count from the start; tables stay."""
        self._execute(url, _ALONE, _NO_ROWS)

    def shape(self, url: str) -> str:
        """A digest of its tables, indexes and constraints, and the version; "" without a version. Nothing of triggers."""
        (version,) = self._execute(url, "SELECT to_regclass('alembic_version')")[0]
        return "" if version is None else str(self._execute(url, _SHAPE))

    def _execute(self, url: str, *statements: str) -> list[tuple[object, ...]]:
        """The rows of the last statement."""
        import psycopg

        with psycopg.connect(url, autocommit=True) as connection:
            for statement in statements:
                cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def _signal(self, number: signal.Signals) -> None:
        server = psutil.Process(int((self.folder / "data" / "postmaster.pid").read_text().split()[0]))
        for process in (server, *server.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def _control(self, *arguments: str) -> None:
        self._call("pg_ctl", f"--pgdata={self.folder / 'data'}", *arguments)

    def _call(self, program: str, *arguments: str) -> None:
        environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8"}
        # Output goes to a file: the server keeps it open, so a pipe would never end.
        with (self.folder / "calls.log").open("ab") as log:
            done = subprocess.run(
                [*self._as_user, self._bin / program, *arguments],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                check=False,
                timeout=60,
            )
        if done.returncode:
            raise RuntimeError(f"{program} failed: {(self.folder / 'calls.log').read_text()[-2000:]}")


@contextlib.contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """A running server; skips the test if PostgreSQL or its driver is not installed."""
    program = Path(require_tool("initdb"))
    try:
        import psycopg  # noqa: F401
    except ModuleNotFoundError:
        require(False, "psycopg is not installed; pip install 'inspector[postgres]'")
    if os.geteuid() == 0:
        require("postgres" in {entry.pw_name for entry in pwd.getpwall()}, "there is no user postgres to run a server")
    # Not under pytest's own folder: that is closed to the user who runs the server.
    folder = Path(tempfile.mkdtemp(prefix="inspector-postgres-"))
    server = PostgresServer(folder, program.resolve().parent)
    try:
        server.initialise()
        server.start()
        yield server
    finally:
        with contextlib.suppress(RuntimeError):
            server.stop("immediate")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One server for all tests that leave it running."""
    with postgres_server() as server:
        yield server


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A server for a test that stops or breaks it."""
    with postgres_server() as server:
        yield server


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
