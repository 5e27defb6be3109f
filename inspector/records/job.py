"""Jobs as values: what was asked for, how far it is, what a worker tells and hears."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


class JobState(enum.StrEnum):
    """Where a job stands; the last three are ends."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_end(self) -> bool:
        return self not in (JobState.QUEUED, JobState.RUNNING)


@dataclass(frozen=True, slots=True)
class Job:
    """A piece of work as it is on record. `spec` is what was asked for and `result` what came of it, in plain JSON.

    `done` of `total` steps of `stage` are behind it. `cancel_by` is who wants it to end.
    """

    id: int
    line: str
    kind: str
    title: str
    spec: Mapping[str, Any]
    model_kind: str
    snapshot_digest: str
    asked_by: str
    asked: datetime
    state: JobState
    attempt: int
    worker: str
    started: datetime | None
    ended: datetime | None
    cancel_by: str
    stage: str
    done: int
    total: int
    result: Mapping[str, Any]
    error: str

    @property
    def seconds(self) -> float | None:
        """How long it took from the first take to the end."""
        if self.started is None or self.ended is None:
            return None
        return (self.ended - self.started).total_seconds()


@dataclass(frozen=True, slots=True)
class Point:
    """A value of a curve at a step; a second one at the same step replaces the first."""

    curve: str
    step: int
    value: float


@dataclass(frozen=True, slots=True)
class LogLine:
    """What a job said, numbered from 1."""

    number: int
    time: datetime
    text: str


@dataclass(frozen=True, slots=True)
class News:
    """What a worker tells of a job since it last did."""

    stage: str = ""
    done: int = 0
    total: int = 0
    points: tuple[Point, ...] = ()
    lines: tuple[str, ...] = ()


class Heard(enum.Enum):
    """What a worker learns when it tells: to go on, to end because somebody wants so, or that the job is not its own."""

    GO_ON = enum.auto()
    CANCEL = enum.auto()
    LOST = enum.auto()


@dataclass(frozen=True, slots=True)
class Worker:
    """A process that does jobs; `is_alive` if it was heard of lately."""

    name: str
    host: str
    pid: int
    started: datetime
    seen: datetime
    is_alive: bool


@dataclass(frozen=True, slots=True)
class Wanted:
    """A job as it is asked for."""

    kind: str
    title: str
    spec: Mapping[str, Any] = field(default_factory=dict)
    model_kind: str = ""
    snapshot_digest: str = ""
