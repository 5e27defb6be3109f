"""The worker: takes jobs one by one, has each done by a child, and tells the database how far it is.

The database may be away for a while: the child goes on, and what it says waits. If the lease has ended by then and another
worker has the job, the child is ended and what it did is left to the other.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO

from inspector.errors import NotFound, RecordsError
from inspector.records.job import Heard, Job, News, Point
from inspector.records.jobs import LEASE_S, Jobs
from inspector.records.place import RecordsPlace
from training.worker.child import order
from training.worker.messages import Gathered
from training.worker.tasks import Task

log = logging.getLogger(__name__)

_ALIVE_EVERY_S = 10.0
_AGAIN_S = 2.0
_ERROR_LINES = 12
_GRACE_S = 20.0
"""How long a child that is told to end may take to clean up."""
_LINGER_S = 5.0
"""How long what an ended child has left running may still hold its pipes."""
_LOOK_S = 0.5
_MOST_UNTOLD_LINES = 2000
_MOST_UNTOLD_POINTS = 20_000
"""What waits for a database that is away. Of more, the newest lines stay, and every other point of a curve."""
_MOST_UNHEARD = 10_000
"""Lines that a child is ahead of its worker; then it waits."""


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """How a worker goes about it. `poll_s` is how often it looks for a job, `tell_s` how often it tells of one."""

    lease_s: float = LEASE_S
    poll_s: float = 2.0
    tell_s: float = 1.0


class WorkerLoop:
    """One worker. `run` returns after `stop`, or once the queue is empty if that is all it is to do."""

    def __init__(
        self,
        jobs: Jobs,
        place: RecordsPlace,
        say: Callable[[str], None],
        options: WorkerOptions | None = None,
        idle: Callable[[], bool] = lambda: False,
    ) -> None:
        """`idle` is called while there is no job, and says whether it has more to do."""
        self.name = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:6]}"
        self._jobs = jobs
        self._place = place
        self._say = say
        self._options = options or WorkerOptions()
        self._idle = idle
        self._stopping = threading.Event()
        self._seen_s = 0.0

    def stop(self) -> None:
        """End soon; the job in hand goes back to the queue. Never from a signal handler (see `inspector.ending`)."""
        self._stopping.set()

    def run(self, *, once: bool = False) -> None:
        """Do jobs until told to stop, or with `once` until there is none. Raises SchemaOutdated."""
        try:
            while not self._stopping.is_set():
                try:
                    self._show()
                    self._clear()
                    job = self._jobs.take(self.name, self._options.lease_s)
                except RecordsError as error:
                    self._say(f"the database does not answer, trying again: {error}")
                    self._stopping.wait(_AGAIN_S)
                    continue
                if job is not None:
                    self._do(job)
                elif once:
                    return
                elif not self._use_time():
                    self._stopping.wait(self._options.poll_s)
        finally:
            self._leave()

    def _use_time(self) -> bool:
        """Do a little of what can wait; whether there is more of it."""
        try:
            return self._idle()
        except (RecordsError, OSError) as error:
            self._say(f"what can wait has to wait: {error}")
            return False

    def _show(self) -> None:
        """That this worker is there."""
        if time.monotonic() - self._seen_s >= _ALIVE_EVERY_S:
            self._jobs.seen(self.name, socket.gethostname(), os.getpid())
            self._seen_s = time.monotonic()

    def _clear(self) -> None:
        """Remove what ended jobs left in their folders; those that wait or are at work go on with theirs."""
        for folder in (self._place.desk / "work").glob("job-*"):
            number = folder.name.removeprefix("job-")
            if not (number.isascii() and number.isdecimal()):
                continue
            try:
                is_ended = self._jobs.get(int(number)).state.is_end
            except NotFound:
                continue  # another line's, or another database's
            if is_ended:
                shutil.rmtree(folder, ignore_errors=True)

    def _leave(self) -> None:
        try:
            self._jobs.gone(self.name)
        except RecordsError as error:
            log.warning("the worker is not signed off: %s", error)

    # One job

    def _do(self, job: Job) -> None:
        self._say(f"job {job.id}: {job.kind} {job.title}, asked for by {job.asked_by}, attempt {job.attempt}")
        work = self._place.desk / "work" / f"job-{job.id}"
        task = Task(job.id, job.spec, job.asked_by, job.asked, self._place, work)
        child = _Child(order(job.kind, task))
        gathered = Gathered()
        gathered.note(f"taken by worker {self.name}")
        try:
            heard = self._follow(job, child, gathered)
        finally:
            child.end()
        self._settle(job, child, gathered, heard)

    def _follow(self, job: Job, child: _Child, gathered: Gathered) -> Heard:
        """Listen to the child and tell the database, until the child ends or has to. The last word of the database."""
        heard, untold = Heard.GO_ON, News()
        due_s = time.monotonic()
        while child.listen(gathered, due_s - time.monotonic()) and not self._stopping.is_set():
            if time.monotonic() < due_s:
                continue
            due_s = time.monotonic() + self._options.tell_s
            heard, untold = self._tell(job, _joined(untold, gathered.news()))
            if heard is not Heard.GO_ON:
                return heard
        child.listen_to_the_end(gathered, kill=self._stopping.is_set())
        self._tell(job, _joined(untold, gathered.news()))
        return heard

    def _tell(self, job: Job, news: News) -> tuple[Heard, News]:
        """What the database says, and what it could not be told."""
        try:
            self._show()
            return self._jobs.tell(job, news, self._options.lease_s), News()
        except RecordsError as error:
            log.warning("job %d goes on, and the database is told later: %s", job.id, error)
            return Heard.GO_ON, news

    def _settle(self, job: Job, child: _Child, gathered: Gathered, heard: Heard) -> None:
        if heard is Heard.LOST:
            self._say(f"job {job.id} was taken by another worker, which goes on with it")
            return
        while True:
            try:
                self._say(f"job {job.id} {self._end(job, child, gathered, heard)}")
                return
            except RecordsError as error:
                self._say(f"job {job.id} has ended and the database does not answer, trying again: {error}")
                if self._stopping.wait(_AGAIN_S):
                    return  # its lease ends, and another worker finds what is done

    def _end(self, job: Job, child: _Child, gathered: Gathered, heard: Heard) -> str:
        """Put the end of the job on record; says which it was."""
        if gathered.result is not None:
            return "is done" if self._jobs.finish(job, gathered.result) else "was ended by another worker"
        if heard is Heard.CANCEL:
            self._jobs.stop(job)
            return f"was cancelled by {self._jobs.get(job.id).cancel_by}"
        if self._stopping.is_set():
            self._jobs.give_back(job)
            return "goes back to the queue"
        error = gathered.error or child.obituary()
        self._jobs.fail(job, error)
        return f"failed: {error}"


class _Child:
    """The process of one job, its messages and its errors in one queue."""

    def __init__(self, what: str) -> None:
        # A session of its own: Ctrl-C at a terminal is for the worker, which ends the child in its own way.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "training.worker.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="backslashreplace",
            start_new_session=True,
            env={**os.environ, "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "passive")},
        )
        self._queue: queue.Queue[tuple[str, str] | None] = queue.Queue(_MOST_UNHEARD)
        self._ended_s: float | None = None
        self._over = threading.Event()
        self._errors: list[str] = []
        assert self._process.stdin is not None
        for name, stream in (("out", self._process.stdout), ("err", self._process.stderr)):
            threading.Thread(target=self._read, args=(name, stream), daemon=True).start()
        self._open = 2
        with contextlib.suppress(BrokenPipeError):  # it died at once, and its obituary says of what
            self._process.stdin.write(what + "\n")
            self._process.stdin.flush()

    def _read(self, name: str, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                self._put((name, line))
        self._put(None)

    def _put(self, said: tuple[str, str] | None) -> None:
        """Wait for room, unless nobody listens any more."""
        while not self._over.is_set():
            with contextlib.suppress(queue.Full):
                self._queue.put(said, timeout=_LOOK_S)
                return

    def listen(self, gathered: Gathered, wait_s: float) -> bool:
        """Take one line, if one comes in time; False once the child has said its last, or ended some seconds ago."""
        lingers = self._lingers()
        try:
            said = self._queue.get(timeout=max(0.0, min(wait_s, _LOOK_S)))
        except queue.Empty:
            return not lingers
        if said is None:
            self._open -= 1
            return self._open > 0
        name, line = said
        if name == "out":
            gathered.hear(line)
        else:
            self._errors = [*self._errors, line.rstrip()][-_ERROR_LINES:]
            gathered.note(line)
        return True

    def listen_to_the_end(self, gathered: Gathered, *, kill: bool) -> None:
        """Everything that is left to hear; `kill` ends the child first."""
        if kill:
            self._end_process(gathered)
        while self._open and self.listen(gathered, _LOOK_S):
            pass

    def end(self) -> None:
        """Let it clean up and end; end it if it does not, and whatever it has begun."""
        self._over.set()
        self._end_process(Gathered())
        if self._process.stdin is not None and not self._process.stdin.closed:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()

    def _end_process(self, gathered: Gathered) -> None:
        if not self._has_ended() and self._open:
            self._process.terminate()
        end_s = time.monotonic() + _GRACE_S
        while not self._has_ended() and time.monotonic() < end_s:
            # It must not wait for room to say its last.
            if not self._open or not self.listen(gathered, 0.05):
                time.sleep(0.05)
        self._kill_session()
        self._process.wait()

    def _has_ended(self) -> bool:
        """It stays a zombie, so that its number is no other's before its session has ended."""
        if self._process.returncode is not None:
            return True
        try:
            return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:  # somebody else has waited for it
            return self._process.poll() is not None

    def _lingers(self) -> bool:
        """Whether it ended some seconds ago. What it left running is ended then: it held the pipes open."""
        if not self._has_ended():
            return False
        now = time.monotonic()
        if self._ended_s is None:
            self._ended_s = now
        if now - self._ended_s < _LINGER_S:
            return False
        self._kill_session()
        return True

    def _kill_session(self) -> None:
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def obituary(self) -> str:
        """Of what it died, without a word of its own."""
        status = self._process.returncode
        how = f"signal {-status}" if status < 0 else f"status {status}"
        last = f"; its last words: {' | '.join(self._errors[-3:])}" if self._errors else ""
        return f"the process of this job ended with {how}{last}: see whether memory ran out, and ask for it again"


def _joined(first: News, second: News) -> News:
    stage = second if second.stage else first
    lines = first.lines + second.lines
    if len(lines) > _MOST_UNTOLD_LINES:
        lines = ("… lines are left out here: the database was away", *lines[-(_MOST_UNTOLD_LINES - 1) :])
    points = first.points + second.points
    if len(points) > _MOST_UNTOLD_POINTS:
        points = _thinned(points)
    return News(stage.stage, stage.done, stage.total, points, lines)


def _thinned(points: tuple[Point, ...]) -> tuple[Point, ...]:
    """Every other point of each curve, the last one always."""
    by_curve: dict[str, list[Point]] = {}
    for point in points:
        by_curve.setdefault(point.curve, []).append(point)
    kept = tuple(point for curve in by_curve.values() for point in reversed(curve[::-1][::2]))
    return kept[-_MOST_UNTOLD_POINTS:]
