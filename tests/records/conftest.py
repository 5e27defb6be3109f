"""The same tests on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from postgres import PostgresServer

from inspector.records.store import Store


@pytest.fixture(scope="session")
def postgres_database(postgres: PostgresServer) -> str:
    """URL of a database that tests use one after the other."""
    return postgres.create()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of an empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'quality.db'}"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    shared: str = request.getfixturevalue("postgres_database")
    yield shared
    server.empty(shared)


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    """A store with its tables."""
    store = Store(url)
    store.upgrade()
    yield store
    store.close()
