"""What every page and route gets: one line with its records, its pictures, its service, and its people."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from datetime import time as time_of_day
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from starlette.concurrency import run_in_threadpool

from inspector.records.audit import AuditEntry, AuditLog
from inspector.records.auditing import AuditWriter
from inspector.records.database import Database
from inspector.records.images import ImageStore
from inspector.records.lots import LotOf
from inspector.records.store import Store
from inspector.rpc.commander import Commander
from inspector.web.accounts.accounts import Accounts
from inspector.web.accounts.user import User
from inspector.web.live import LiveLine
from inspector.web.workroom import Workroom

_P = ParamSpec("_P")
_T = TypeVar("_T")


async def in_thread(work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """What `work` returns or raises, beside the event loop: for what waits for a disk, database or service."""
    return await run_in_threadpool(work, *args, **kwargs)


@dataclass(frozen=True, slots=True)
class Desk:
    """One line's desk. Everything that reads or writes the database or files belongs in a thread: `await in_thread(…)`.

    `folder` is for uploads, snapshots and backups, `bundles` the folder of bundles. `lot_of` finds the lot in a part id, if
    the line file says how. `problems` says what is wrong with a line
    file at a path, one text each. `clock` gives the time in UTC.
    """

    line: str
    stations: tuple[str, ...]
    line_file: Path
    store: Store
    pictures: ImageStore
    accounts: Accounts
    audit_log: AuditLog
    audit_writer: AuditWriter
    live: LiveLine
    commander: Commander
    bundles: Path
    folder: Path
    shifts: tuple[time_of_day, ...]
    lot_of: LotOf | None
    problems: Callable[[Path], tuple[str, ...]]
    clock: Callable[[], datetime]
    work: Workroom

    @property
    def database(self) -> Database:
        """Connections of the quality database, for tables beside the inspections."""
        return self.store.database

    def audit(self, user: User, action: str, subject: str = "", details: Mapping[str, Any] | None = None) -> AuditEntry:
        """Put on record what somebody did; it is on the disk when this returns. AuditError."""
        about = dict(details or {})
        if user.token:
            about["token"] = user.token
        return self.audit_log.append(user.name, action, subject, about)

    def refuse(self, actor: str, action: str, subject: str, why: str) -> None:
        """Put a refusal on record soon; repetitions are counted, not kept. Never waits."""
        self.audit_writer.refuse(actor, action, subject, why)

    def shift_start(self, now: datetime) -> datetime:
        """When the shift began that `now` is in."""
        return shift_start(now, self.shifts)


def shift_start(now: datetime, shifts: tuple[time_of_day, ...]) -> datetime:
    """The latest of the times of day, in the time of this machine, that is not after `now`."""
    local = now.astimezone()
    # Made from the wall's date each day: around a change of the clocks a day has 23 or 25 hours.
    days = (local.date(), local.date() - timedelta(days=1))
    begins = [datetime.combine(day, begin).astimezone() for day in days for begin in shifts]
    return max(begin for begin in begins if begin <= local).astimezone(now.tzinfo)
