"""Uploads on their way: which file, how large, with which hash, and what came of it. Their bytes lie elsewhere."""

from __future__ import annotations

import enum
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from inspector.errors import NotFound
from inspector.records import schema
from inspector.records.codec import from_microseconds, to_microseconds
from inspector.records.database import Database
from inspector.records.set_tables import image_sets, uploads
from inspector.records.text import clean


class UploadState(enum.StrEnum):
    """Where an upload stands; `OPEN` ones may go on."""

    OPEN = "open"
    DONE = "done"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that somebody sends to a set. `options` says what to make of it, `outcome` what was made; both plain JSON."""

    id: str
    set_name: str
    file_name: str
    options: Mapping[str, Any]
    size_bytes: int
    sha256: str
    sent_by: str
    begun: datetime
    seen: datetime
    state: UploadState
    outcome: Mapping[str, Any]


class Uploads:
    """The uploads of one line. Thread-safe. Every method raises what `Database` raises."""

    def __init__(self, database: Database, line: str) -> None:
        self._database = database
        self._line = clean(line)

    def begin(
        self,
        set_id: int,
        file_name: str,
        options: Mapping[str, Any],
        size_bytes: int,
        sha256: str,
        by: str,
        now: datetime,
    ) -> Upload:
        """The upload of that file by that person that is still open, or a new one."""
        text = json.dumps(options, sort_keys=True)
        same = (
            uploads.c.set_id == set_id,
            uploads.c.sha256 == bytes.fromhex(sha256),
            uploads.c.size_bytes == size_bytes,
            uploads.c.sent_by == clean(by),
            uploads.c.options == text,
            uploads.c.state == UploadState.OPEN,
        )
        with self._database.writing() as connection:
            known = connection.execute(sa.select(uploads.c.id).where(*same).limit(1)).scalar()
            if known is None:
                known = secrets.token_hex(16)
                values = {
                    "id": known,
                    "set_id": set_id,
                    "file_name": clean(file_name),
                    "options": text,
                    "size_bytes": size_bytes,
                    "sha256": bytes.fromhex(sha256),
                    "sent_by": clean(by),
                    "begun_us": to_microseconds(now),
                    "seen_us": to_microseconds(now),
                    "state": UploadState.OPEN,
                }
                connection.execute(sa.insert(uploads).values(values))
        return self.get(known)

    def get(self, number: str) -> Upload:
        """One upload. NotFound."""
        with self._database.reading() as connection:
            row = connection.execute(self._uploads().where(uploads.c.id == number)).one_or_none()
        if row is None:
            raise NotFound(f"there is no upload {number[:40]!a}: begin it anew")
        return _upload(row)

    def list(self, set_name: str = "", limit: int = 100) -> Sequence[Upload]:
        """Uploads, the newest first; to one set alone, if it is named."""
        query = self._uploads().order_by(uploads.c.begun_us.desc(), uploads.c.id).limit(limit)
        if set_name:
            query = query.where(image_sets.c.name == set_name)
        with self._database.reading() as connection:
            return [_upload(row) for row in connection.execute(query)]

    def announced(self, since: datetime) -> Sequence[tuple[str, int]]:
        """Ids and sizes of the uploads that are open and were begun or went on since then, of all lines."""
        live = (uploads.c.state == UploadState.OPEN, uploads.c.seen_us >= to_microseconds(since))
        with self._database.reading() as connection:
            rows = connection.execute(sa.select(uploads.c.id, uploads.c.size_bytes).where(*live))
            return [(row.id, row.size_bytes) for row in rows]

    def touch(self, number: str, now: datetime) -> None:
        """More of it has come."""
        with self._database.writing() as connection:
            values = {"seen_us": to_microseconds(now)}
            connection.execute(sa.update(uploads).where(uploads.c.id == number).values(values))

    def end(self, number: str, state: UploadState, outcome: Mapping[str, Any], now: datetime) -> Upload:
        """What came of it. Nothing changes for one that has ended already."""
        with self._database.writing() as connection:
            values = {"state": state, "outcome": json.dumps(outcome), "seen_us": to_microseconds(now)}
            open_ = (uploads.c.id == number, uploads.c.state == UploadState.OPEN)
            connection.execute(sa.update(uploads).where(*open_).values(values))
        return self.get(number)

    def _uploads(self) -> sa.Select[Any]:
        return (
            sa.select(uploads, image_sets.c.name.label("set_name"))
            .join(image_sets, image_sets.c.id == uploads.c.set_id)
            .join(schema.lines, schema.lines.c.id == image_sets.c.line_id)
            .where(schema.lines.c.name == self._line)
        )


def _upload(row: Row[Any]) -> Upload:
    return Upload(
        id=row.id,
        set_name=row.set_name,
        file_name=row.file_name,
        options=json.loads(row.options),
        size_bytes=row.size_bytes,
        sha256=bytes(row.sha256).hex(),
        sent_by=row.sent_by,
        begun=from_microseconds(row.begun_us),
        seen=from_microseconds(row.seen_us),
        state=UploadState(row.state),
        outcome=json.loads(row.outcome or "{}"),
    )
