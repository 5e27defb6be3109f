"""The same tests on both databases.

Making the tables takes longer than most tests do: they are made once for those that only fill them.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from postgres import PostgresServer

from inspector.records.store import Store


@pytest.fixture(scope="session")
def sqlite_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file with its tables, for tests to copy."""
    file = tmp_path_factory.mktemp("tables") / "quality.db"
    _upgrade(f"sqlite:///{file}")
    return file


@pytest.fixture(scope="session")
def postgres_database(postgres: PostgresServer) -> str:
    """URL of an empty database that tests use one after the other."""
    return postgres.create()


@pytest.fixture(scope="session")
def postgres_tables(postgres: PostgresServer) -> tuple[str, str]:
    """URL of a database with its tables that tests use one after the other, and their shape."""
    url = postgres.create()
    _upgrade(url)
    return url, postgres.shape(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of a database without a row: with its tables if the test takes `store` too, else empty."""
    with_tables = "store" in request.fixturenames
    if request.param == "sqlite":
        file = tmp_path / "quality.db"
        if with_tables:
            shutil.copy(request.getfixturevalue("sqlite_tables"), file)
        yield f"sqlite:///{file}"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    if not with_tables:
        shared: str = request.getfixturevalue("postgres_database")
        yield shared
        server.empty(shared)
        return
    ready, shape = request.getfixturevalue("postgres_tables")
    yield ready
    server.clear(ready)
    if server.shape(ready) != shape:
        server.empty(ready)
        _upgrade(ready)


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    """A store with its tables."""
    with closing(Store(url)) as store:
        yield store


def _upgrade(url: str) -> None:
    with closing(Store(url)) as store:
        store.upgrade()
