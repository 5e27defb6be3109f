"""How long work says where it stands, without knowing who listens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from typing import Protocol, TypeVar, runtime_checkable

T = TypeVar("T", covariant=True)


class Progress(Protocol):
    """Told of every step of a stage: `done` of `total`, the first time with 0."""

    def __call__(self, stage: str, done: int, total: int) -> None: ...


@runtime_checkable
class DrawsCurves(Protocol):
    """A listener that also wants to know how a value moves, such as the loss, besides how much is done."""

    def point(self, curve: str, step: int, value: float) -> None: ...


def point(progress: Progress, curve: str, step: int, value: float) -> None:
    """Tell a listener that draws curves of a value at a step; others are not told."""
    if isinstance(progress, DrawsCurves):
        progress.point(curve, step, value)


class Curve:
    """Gathers values that come too often to draw each: of `steps` about `points` are told, each the mean since the last."""

    def __init__(self, progress: Progress, name: str, steps: int, points: int = 300) -> None:
        self._progress = progress if isinstance(progress, DrawsCurves) else None
        self._name = name
        self._every = max(1, -(-steps // points))
        self._sum, self._count = 0.0, 0

    def add(self, step: int, value: float) -> None:
        """The value at a step, counted from 1."""
        self._sum, self._count = self._sum + value, self._count + 1
        if self._progress is not None and step % self._every == 0:
            self._progress.point(self._name, step, self._sum / self._count)
            self._sum, self._count = 0.0, 0


def silent(stage: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


def stage(progress: Progress, name: str, total: int) -> Callable[[int], None]:
    """Begin a stage; what comes back is told how many are done."""
    progress(name, 0, total)
    return lambda done: progress(name, done, total)


class _SizedIterable(Sized, Iterable[T], Protocol[T]):
    pass


def track(items: _SizedIterable[T], stage: str, progress: Progress) -> Iterator[T]:
    """Iterate over `items` and report after each."""
    total = len(items)
    progress(stage, 0, total)
    for done, item in enumerate(items, start=1):
        yield item
        progress(stage, done, total)
