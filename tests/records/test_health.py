from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from inspector.records.health import LATE_S, RecordsHealth


@dataclass
class Figures:
    """Stands for the journal, the forwarder and the evidence writer: the figures that they count."""

    sync_failures: int = 0
    lag: int = 0
    lag_s: float = 0.0
    error: str = ""
    rejected: int = 0
    conflicting: int = 0
    lost: dict[str, int] = field(default_factory=dict)
    journal_failures: int = 0
    waiting_bytes: int = 0


def watched(figures: Figures, interval_s: float = 3600.0) -> RecordsHealth:
    one = cast(Any, figures)
    return RecordsHealth(one, one, one, interval_s=interval_s)


@pytest.fixture
def figures() -> Figures:
    return Figures()


@pytest.fixture
def health(figures: Figures) -> Iterator[RecordsHealth]:
    health = watched(figures)
    yield health
    health.stop()


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]


@pytest.mark.parametrize(
    "quiet",
    [
        pytest.param({}, id="nothing-yet"),
        pytest.param({"lag": 400, "lag_s": LATE_S}, id="a-batch-on-its-way"),
        pytest.param({"waiting_bytes": 200 << 20}, id="pictures-on-their-way"),
        pytest.param({"lost": {"disk full": 0}}, id="a-reason-without-a-loss"),
    ],
)
def test_a_line_that_is_well_says_nothing(
    figures: Figures, health: RecordsHealth, caplog: pytest.LogCaptureFixture, quiet: dict[str, Any]
) -> None:
    vars(figures).update(quiet)
    assert health.check() == ""
    assert warnings(caplog) == []


@pytest.mark.parametrize(
    ("trouble", "told", "lasts"),
    [
        pytest.param(
            {"lag": 412, "lag_s": 65.2, "error": "connection refused"},
            "412 verdicts wait for the database, the oldest for 65 s (connection refused)",
            True,
            id="database-away",
        ),
        pytest.param(
            {"lag": 5, "lag_s": 11.0},
            "5 verdicts wait for the database, the oldest for 11 s",
            True,
            id="database-slow",
        ),
        pytest.param(
            {"journal_failures": 3, "waiting_bytes": 7 << 20},
            "the pictures of 3 verdicts are not noted in the journal, 7 MiB of pictures wait",
            True,
            id="journal-full",
        ),
        pytest.param({"rejected": 2}, "entries refused by the database: 2, 2 of them new", False, id="refused"),
        pytest.param(
            {"conflicting": 1}, "verdicts on record with another content: 1, 1 of them new", False, id="conflict"
        ),
        pytest.param({"sync_failures": 4}, "journal flushes failed: 4, 4 of them new", False, id="disk-errors"),
        pytest.param(
            {"lost": {"disk full": 9, "service stopped": 1}},
            "pictures lost (disk full): 9, 9 of them new; pictures lost (service stopped): 1, 1 of them new",
            False,
            id="pictures-by-reason",
        ),
    ],
)
def test_trouble_is_one_warning_each_time_while_it_lasts_or_grows(
    figures: Figures,
    health: RecordsHealth,
    caplog: pytest.LogCaptureFixture,
    trouble: dict[str, Any],
    told: str,
    lasts: bool,
) -> None:
    vars(figures).update(trouble)
    assert health.check() == told
    assert warnings(caplog) == [f"records: {told}"]
    assert health.check() == (told if lasts else "")


def test_only_what_grew_is_told_again(figures: Figures, health: RecordsHealth) -> None:
    figures.rejected, figures.lost = 2, {"disk full": 9}
    health.check()
    figures.lost = {"disk full": 12}
    assert health.check() == "pictures lost (disk full): 12, 3 of them new"


def test_the_thread_looks_until_it_is_stopped(figures: Figures, caplog: pytest.LogCaptureFixture) -> None:
    told = threading.Event()

    class Heard(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.set()

    logger, handler = logging.getLogger("inspector.records.health"), Heard()
    logger.addHandler(handler)
    try:
        figures.rejected = 1
        health = watched(figures, interval_s=0.001)
        assert told.wait(10)
        health.stop()
        assert not health._thread.is_alive()
        assert len(warnings(caplog)) == 1
    finally:
        logger.removeHandler(handler)


def test_the_end_tells_what_is_not_told_yet(figures: Figures, caplog: pytest.LogCaptureFixture) -> None:
    health = watched(figures)
    figures.lost = {"service stopped": 3}
    health.stop()
    health.stop()
    assert warnings(caplog) == ["records: pictures lost (service stopped): 3, 3 of them new"]
