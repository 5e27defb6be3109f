"""Every filter reads a stretch of an index, not the table, and needs no sorting."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from postgres import PostgresServer
from record_samples import LINE, START, inspection
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from inspector.part import Reason, Verdict
from inspector.records.entries import Settled
from inspector.records.queries import InspectionFilter, statements
from inspector.records.store import Store

REJECTS = frozenset({Verdict.REJECT})
BUNDLE, PART, CLASS = "tiles-7@0123456789ab", "P000300", "crack"
SINCE = START + timedelta(seconds=2000)

PLANS = [
    pytest.param({}, "time", id="nothing"),
    pytest.param({"start_time": SINCE, "end_time": SINCE + timedelta(hours=1)}, "time", id="time"),
    pytest.param({"part_id": PART}, "part", id="part"),
    pytest.param({"verdicts": REJECTS}, "verdict", id="rejects"),
    pytest.param({"verdicts": REJECTS | {Verdict.UNKNOWN}}, "verdict", id="all-that-did-not-pass"),
    pytest.param({"verdicts": REJECTS, "start_time": SINCE}, "verdict", id="rejects-since"),
    pytest.param({"verdicts": frozenset({Verdict.PASS})}, "time", id="passed"),
    pytest.param({"defect_class": CLASS}, "class", id="class"),
    pytest.param({"defect_class": CLASS, "verdicts": REJECTS}, "class", id="class-and-verdict"),
    pytest.param({"defect_class": CLASS, "bundle": BUNDLE}, "class", id="class-and-bundle"),
    pytest.param({"bundle": BUNDLE}, "bundle", id="bundle"),
    pytest.param({"bundle": BUNDLE, "verdicts": REJECTS}, "bundle", id="bundle-and-verdict"),
    pytest.param({"bundle": BUNDLE, "verdicts": REJECTS, "start_time": SINCE}, "bundle", id="bundle-verdict-time"),
    pytest.param({"part_id": PART, "bundle": BUNDLE, "verdicts": REJECTS}, "part", id="part-bundle-verdict"),
    pytest.param({"part_id": PART, "defect_class": CLASS, "bundle": BUNDLE}, "part", id="part-class-bundle"),
]


def fill(store: Store, count: int) -> None:
    store.upgrade()
    for first in range(1, count, 500):
        batch = []
        for n in range(first, first + 500):
            reason = Reason.SCORE_ABOVE_LIMIT if n % 100 == 0 else Reason.WITHIN_LIMITS
            batch.append(Settled(inspection(n, reason, bundle=BUNDLE if n % 50 else "tiles-6@ba9876543210")))
        store.apply(LINE, batch)


@pytest.fixture(scope="module")
def sqlite_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with closing(Store(f"sqlite:///{tmp_path_factory.mktemp('plans') / 'quality.db'}")) as store:
        fill(store, 1000)
        yield store


@pytest.fixture(scope="module")
def postgres_store(postgres: PostgresServer) -> Iterator[Store]:
    with closing(Store(postgres.create())) as store:
        fill(store, 10_000)
        with store._database.writing() as connection:
            connection.execute(sa.text("ANALYZE"))
        yield store


def explain(connection: Connection, query: sa.Select[Any]) -> list[str]:
    dialect = sqlite.dialect() if connection.dialect.name == "sqlite" else postgresql.dialect()  # type: ignore[no-untyped-call]
    text = str(query.compile(dialect=dialect, compile_kwargs={"literal_binds": True})).replace("%%", "%")
    prefix = "EXPLAIN QUERY PLAN " if connection.dialect.name == "sqlite" else "EXPLAIN "
    return [str(row[-1]) for row in connection.exec_driver_sql(prefix + text).all()]


def both_pages(store: Store, fields: dict[str, Any]) -> Iterator[list[str]]:
    """Plans of the first page and of one further on."""
    from inspector.records.queries import _Place

    where = InspectionFilter(line=LINE, **fields)
    with store._database.reading() as connection:
        for before in (None, _Place(2_000_000_000_000_000, 1, 500)):
            queries = statements(connection, where, before, 50)
            assert queries
            for query in queries:
                yield explain(connection, query)


@pytest.mark.parametrize(("fields", "index"), PLANS)
def test_sqlite_reads_a_stretch_of_the_index(sqlite_store: Store, fields: dict[str, Any], index: str) -> None:
    for plan in both_pages(sqlite_store, fields):
        text = "\n".join(plan)
        assert f"SEARCH inspections USING INDEX ix_inspections_{index} (line_id=?" in text, text
        assert "SCAN" not in text, text
        assert "TEMP B-TREE" not in text, text


@pytest.mark.parametrize(("fields", "index"), PLANS)
def test_postgresql_does_not_read_the_whole_table(postgres_store: Store, fields: dict[str, Any], index: str) -> None:
    """Its planner chooses by statistics, so only what it must not do is said."""
    for plan in both_pages(postgres_store, fields):
        text = "\n".join(plan)
        assert "Seq Scan on inspections" not in text, text


def test_going_on_from_a_number_reads_the_primary_key(sqlite_store: Store) -> None:
    with sqlite_store._database.reading() as connection:
        rows = connection.exec_driver_sql(
            "EXPLAIN QUERY PLAN SELECT * FROM inspections WHERE line_id = 1 AND sequence > 5 ORDER BY sequence LIMIT 9"
        ).all()
    assert "USING PRIMARY KEY (line_id=? AND sequence>?)" in str(rows)
