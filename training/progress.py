"""How long work says where it stands, without knowing who listens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from typing import Protocol, TypeVar

T = TypeVar("T", covariant=True)


class Progress(Protocol):
    """Told of every step of a stage: `done` of `total`, the first time with 0."""

    def __call__(self, stage: str, done: int, total: int) -> None: ...


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
