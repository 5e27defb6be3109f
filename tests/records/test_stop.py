"""What the log says of the records when the line stops."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from record_samples import LINE, inspection, picture

from inspector import line_records
from inspector.errors import StoreUnavailable
from inspector.part import Reason
from inspector.records.entries import Position
from inspector.records.forwarding import Forwarder
from inspector.records.journal import Journal
from inspector.records.store import Store


class GoesAway(Store):
    """A store that takes nothing more once it is `away`."""

    away = False

    def apply(self, line: str, entries: object, position: Position | None = None) -> object:  # type: ignore[override]
        if self.away:
            raise StoreUnavailable("the database is away")
        return super().apply(line, entries, position)  # type: ignore[arg-type]


def nothing(journal: Journal) -> None:
    """A line that judged no part."""


def a_verdict(journal: Journal) -> None:
    journal.settle(inspection(2, Reason.SCORE_ABOVE_LIMIT))


def its_pictures(journal: Journal) -> None:
    journal.evidence(1, [picture(1)])


@pytest.mark.parametrize(
    ("judged", "noted", "away", "said"),
    [
        pytest.param(0, nothing, False, "every verdict is in the quality database", id="no part at all"),
        pytest.param(1, its_pictures, False, "every verdict is in the quality database", id="all is stored"),
        pytest.param(1, nothing, True, "every verdict is in the quality database", id="away, and nothing waits"),
        pytest.param(
            1, a_verdict, True, "1 verdicts wait in the journal and are stored at the next start", id="a verdict waits"
        ),
        pytest.param(1, its_pictures, True, "where their pictures are, waits in the journal", id="only pictures wait"),
    ],
)
def test_the_log_says_what_waits_for_the_next_start(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    judged: int,
    noted: Callable[[Journal], None],
    away: bool,
    said: str,
) -> None:
    monkeypatch.setattr(line_records, "DRAIN_S", 0.5)
    url = f"sqlite:///{tmp_path / 'quality.db'}"
    with closing(Store(url)) as store:
        store.create()
    with closing(Journal.open(tmp_path / "journal", LINE)) as journal:
        forwarder = Forwarder(journal, lambda: GoesAway(url), LINE, interval_s=0.01)
        for sequence in range(1, judged + 1):
            journal.settle(inspection(sequence, Reason.SCORE_ABOVE_LIMIT))
        assert not judged or forwarder.wait_idle(20)
        monkeypatch.setattr(GoesAway, "away", away)
        noted(journal)
        with caplog.at_level(logging.INFO, logger="inspector.line_records"):
            line_records._stop_forwarder(forwarder)
    (line,) = [record.getMessage() for record in caplog.records if record.name == "inspector.line_records"]
    assert said in line
