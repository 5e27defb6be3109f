"""Whose turn it is before the models of one device, and who can no longer be in time. Memory only; the caller locks.

Earliest deadline first: if any order keeps every deadline, this one does (Liu and Layland, Scheduling algorithms for
multiprogramming in a hard-real-time environment, J. ACM 20, 1973). When more is offered than can be judged, that order alone
would make every part late by a little; so whoever is expected to be late is taken out at once, and the rest is in time.
"""

from __future__ import annotations

import bisect
import heapq
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

# From the end of a run to the verdict on every output, with some to spare: settling takes a tenth of a millisecond.
RESERVE_S = 0.001
# Gains of mean and deviation as for TCP's round-trip times (RFC 6298, section 2.3). There four deviations guard against a
# needless repeat; here two: a part that is refused needlessly is as bad as one that is late.
_MEAN_GAIN, _DEVIATION_GAIN, _DEVIATIONS = 1 / 8, 1 / 4, 2.0
# A run that took longer than so many means was a pause of the machine: it counts, but does not refuse the next dozen parts.
_OUTLIER = 4.0
# What was not run for so long is expected to take half as long with every further such time. Otherwise a model that was slow
# once would be refused for ever beside one that is always busy, and nobody would ever learn that it is fast again.
FADE_S = 1.0


@dataclass(slots=True)
class _Known:
    mean_s: float
    deviation_s: float
    last_s: float


class RunTimes:
    """How long the runs of one model take, by how many parts they judge; the newest count most. Seconds."""

    def __init__(self) -> None:
        self._by_size: dict[int, _Known] = {}

    def note(self, size: int, seconds: float, now_s: float) -> None:
        """A run of `size` parts took so long, and ended at `now_s`."""
        known = self._by_size.get(size)
        if known is None:
            self._by_size[size] = _Known(seconds, seconds / 2, now_s)
            return
        seconds = min(seconds, _OUTLIER * known.mean_s)
        known.deviation_s += _DEVIATION_GAIN * (abs(seconds - known.mean_s) - known.deviation_s)
        known.mean_s += _MEAN_GAIN * (seconds - known.mean_s)
        known.last_s = now_s

    def expect_s(self, size: int, now_s: float) -> float:
        """How long a run of `size` parts may take: a mean and two deviations. 0 while nothing is known.

        A size that was not run yet takes as long as the next larger one, and none longer than as many runs of the next smaller.
        """
        larger = [known for known in self._by_size if known >= size]
        smaller = [known for known in self._by_size if known < size]
        bounds = [self._once_s(min(larger), now_s)] if larger else []
        if smaller:
            nearest = max(smaller)
            bounds.append(self._once_s(nearest, now_s) * size / nearest)
        return min(bounds, default=0.0)

    def part_s(self, now_s: float) -> float:
        """What one of many waiting parts adds: the least that a part took in any size of run, in the mean.

        Not with deviations: runs that last longer and shorter make up for each other, and deviations of sums grow with the root
        of their number. A part that waits behind others is asked with deviations when it is the first.
        """
        return min((self._once_s(size, now_s, 0.0) / size for size in self._by_size), default=0.0)

    def _once_s(self, size: int, now_s: float, deviations: float = _DEVIATIONS) -> float:
        known = self._by_size[size]
        faded: float = 0.5 ** max(0.0, (now_s - known.last_s) / FADE_S - 1)
        return (known.mean_s + deviations * known.deviation_s) * faded


class Judge(Protocol):
    """A model as the schedule sees it: how many parts it judges in a run at most, how long its runs take, and whether they
    stop here and there for more urgent parts of other models."""

    @property
    def max_batch(self) -> int: ...

    @property
    def times(self) -> RunTimes: ...

    @property
    def gives_way(self) -> bool: ...


J = TypeVar("J", bound=Judge)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Waiting(Generic[J, T]):
    """A part that waits for `judge`; `deadline_s` on the monotonic clock, infinite for what can wait for ever."""

    judge: J
    deadline_s: float
    number: int
    item: T

    @property
    def order(self) -> tuple[float, int]:
        """The earliest deadline first; of equal ones the first that came."""
        return self.deadline_s, self.number


@dataclass(frozen=True, slots=True)
class Turn(Generic[J, T]):
    """What runs next, all by one judge, and whom it leaves without hope. Both may be empty."""

    batch: Sequence[Waiting[J, T]]
    hopeless: Sequence[Waiting[J, T]]


@dataclass(eq=False)
class Schedule(Generic[J, T]):
    """The parts that wait before the models of one device."""

    _waiting: list[Waiting[J, T]] = field(default_factory=list)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, judge: J, deadline_s: float, item: T) -> None:
        """Let a part wait for its turn."""
        waiting = Waiting(judge, deadline_s, next(self._numbers), item)
        bisect.insort(self._waiting, waiting, key=lambda one: one.order)

    def take_out(self, which: Callable[[Waiting[J, T]], bool]) -> list[Waiting[J, T]]:
        """Take out all for whom `which` is true, in order."""
        taken = [one for one in self._waiting if which(one)]
        if taken:
            numbers = {one.number for one in taken}
            self._waiting = [one for one in self._waiting if one.number not in numbers]
        return taken

    def has_time(self, judge: J, deadline_s: float, now_s: float, free_s: Sequence[float]) -> bool:
        """Whether a part that came now would be judged by `deadline_s`, after those with earlier deadlines.

        `free_s` says when each worker of the device is expected to be free; an idle one was free before `now_s`. An idle
        worker before whom nobody waits takes any part: that costs nobody anything, and shows when a model that was slow for
        a while is fast again.
        """
        if not self._waiting and min(free_s) <= now_s:
            return True
        workers = [max(now_s, one) for one in free_s]
        heapq.heapify(workers)
        for one in self._waiting:
            if one.deadline_s > deadline_s:
                break
            heapq.heapreplace(workers, workers[0] + one.judge.times.part_s(now_s))
        return workers[0] + judge.times.expect_s(1, now_s) + RESERVE_S <= deadline_s

    def next_turn(self, now_s: float, others_free_s: Sequence[float] = ()) -> Turn[J, T]:
        """Take out what a worker that is free now runs next, and who is expected to be late even so.

        `others_free_s` says when the other workers are expected to be free. If all who wait would be late, the one with most
        time left is tried: the expectation may be wrong, and nobody loses by it.
        """
        hopeless = self._take_hopeless([now_s, *(max(now_s, one) for one in others_free_s)])
        if not self._waiting:
            last = [hopeless.pop()] if hopeless else []
            return Turn(last, hopeless)
        return self._take_batch(now_s, hopeless)

    def urgent_turn(self, now_s: float, than_s: float, others_free_s: Sequence[float] = ()) -> Turn[J, T]:
        """As `next_turn`, for a worker that would stop a run whose deadline is `than_s`: only for parts with earlier ones."""
        hopeless = self._take_hopeless([now_s, *(max(now_s, one) for one in others_free_s)])
        if not self._waiting or self._waiting[0].deadline_s >= than_s or self._waiting[0].judge.gives_way:
            return Turn([], hopeless)
        return self._take_batch(now_s, hopeless)

    def _take_batch(self, now_s: float, hopeless: Sequence[Waiting[J, T]]) -> Turn[J, T]:
        batch = self._batch(now_s)
        taken = {one.number for one in batch}
        self._waiting = [one for one in self._waiting if one.number not in taken]
        return Turn(batch, hopeless)

    def _take_hopeless(self, workers: list[float]) -> list[Waiting[J, T]]:
        """`workers` says when each is free, the first of them now."""
        now_s = workers[0]
        heapq.heapify(workers)
        kept: list[Waiting[J, T]] = []
        hopeless: list[Waiting[J, T]] = []
        for one in self._waiting:
            # The first may run alone; those behind it in company.
            times = one.judge.times
            cost_s = times.part_s(now_s) if kept else times.expect_s(1, now_s)
            if workers[0] + cost_s + RESERVE_S > one.deadline_s:
                hopeless.append(one)
                continue
            heapq.heapreplace(workers, workers[0] + times.part_s(now_s))
            kept.append(one)
        self._waiting = kept
        return hopeless

    def _batch(self, now_s: float) -> list[Waiting[J, T]]:
        """The first that waits, and others for its judge as long as that makes nobody late who would be in time."""
        first = self._waiting[0]
        judge, times = first.judge, first.judge.times
        batch = [first]
        end_s = now_s + times.expect_s(1, now_s)
        tightest_s = first.deadline_s - RESERVE_S
        ahead_s, slack_s = 0.0, float("inf")
        for one in self._waiting[1:]:
            if len(batch) == judge.max_batch or slack_s < 0:
                break
            if one.judge is judge:
                extra_s = times.expect_s(len(batch) + 1, now_s) - times.expect_s(len(batch), now_s)
                if extra_s <= slack_s and end_s + extra_s <= tightest_s:
                    batch.append(one)
                    end_s += extra_s
                    slack_s -= extra_s
                    continue
            ahead_s += one.judge.times.part_s(now_s)
            slack_s = min(slack_s, one.deadline_s - RESERVE_S - end_s - ahead_s)
        return batch
