"""What a line puts on record: its quality database, journal, pictures and audit log, opened with it and closed after it."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from inspector.errors import AuditError, StoreUnavailable
from inspector.records.audit import AUDIT_FILE, AuditLog
from inspector.records.auditing import AuditWriter
from inspector.records.entries import StationMark
from inspector.records.evidence import EvidenceWriter, record_missing_evidence
from inspector.records.forwarding import Forwarder
from inspector.records.health import RecordsHealth
from inspector.records.images import ImageStore
from inspector.records.journal import Journal
from inspector.records.place import image_folder
from inspector.records.store import Store
from inspector.settings import LineSettings

log = logging.getLogger(__name__)

DRAIN_S = 5.0


@dataclass(frozen=True, slots=True)
class LineRecords:
    """A running line's records. `open_store` opens the database once more, for a thread of its own."""

    open_store: Callable[[], Store]
    store: Store
    journal: Journal
    audit: AuditWriter
    images: ImageStore


def open_records(settings: LineSettings, stack: ExitStack) -> LineRecords:
    """Open everything, to be closed by `stack`. Raises SchemaOutdated, JournalError, StoreUnavailable."""
    open_store = functools.partial(Store, settings.database_url)
    store = open_store()
    stack.callback(store.close)
    journal = open_journal(settings, store)
    stack.callback(journal.close)
    record_missing_evidence(journal)
    audit = AuditWriter(_open_audit_log(settings))
    stack.callback(audit.close)
    images = open_image_store(settings)
    images.discard_unfinished()
    return LineRecords(open_store, store, journal, audit, images)


def forward(records: LineRecords, evidence: EvidenceWriter, line: str, stack: ExitStack) -> Forwarder:
    """Bring the journal to the database from now on; at the stop, what waits is stored first as far as some seconds allow."""
    forwarder = Forwarder(records.journal, records.open_store, line)
    stack.callback(RecordsHealth(records.journal, forwarder, evidence).stop)
    stack.callback(_stop_forwarder, forwarder)
    stack.callback(_stop_evidence, evidence)
    return forwarder


def open_image_store(settings: LineSettings) -> ImageStore:
    """The pictures of a line."""
    records = settings.file.records
    return ImageStore(
        image_folder(settings.data_dir),
        max_age_days=records.image_max_age_days,
        quota_bytes=records.image_quota_mib << 20,
    )


def open_journal(settings: LineSettings, store: Store) -> Journal:
    """The line's journal, which goes on counting where the quality database stands.

    The database may be away if the journal is there; a new journal needs it once, or numbers would be given twice. An empty
    database gets its tables here. Raises SchemaOutdated, JournalError or StoreUnavailable.
    """
    line, folder = settings.file.line.name, settings.data_dir / "journal"
    first_sequence, marks = 1, dict[str, StationMark]()
    try:
        store.create()
        store.check_schema()
        first_sequence, marks = store.last_sequence(line) + 1, store.station_marks(line)
    except StoreUnavailable as error:
        if not Journal.exists(folder):
            raise StoreUnavailable(
                f"{error}; a new journal must once ask the database where the line's numbers stand: start it first"
            ) from error
        log.warning(
            "the line starts without its quality database, the journal keeps the records until it answers: %s", error
        )
    return Journal.open(folder, line, first_sequence=first_sequence, stations=marks)


def _open_audit_log(settings: LineSettings) -> AuditLog:
    """The line's audit log. A broken one is set aside and told: the line must run all the same."""
    audit_log = AuditLog(settings.data_dir / AUDIT_FILE)
    try:
        log.info("audit log: newest entry %s", audit_log.verify())
    except AuditError as error:
        log.error("%s; it is kept as %s, a new log begins", error, audit_log.set_aside(error))
    return audit_log


def _stop_forwarder(forwarder: Forwarder) -> None:
    if forwarder.stop(DRAIN_S):
        log.info("every verdict is in the quality database")
    elif forwarder.lag:
        log.warning(
            "%d verdicts wait in the journal and are stored at the next start: %s", forwarder.lag, forwarder.error
        )
    else:
        log.warning(
            "every verdict is in the quality database, but what was noted after them, such as where their pictures are, "
            "waits in the journal and is stored at the next start: %s",
            forwarder.error or "the time to stop was over",
        )


def _stop_evidence(evidence: EvidenceWriter) -> None:
    if lost := evidence.stop(DRAIN_S):
        log.warning("the pictures of %d verdicts could not be stored in time: they are on record as lost", lost)
