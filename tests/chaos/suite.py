"""The three lines that the faults are done to, and what each kind of fault did to the verdicts."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from chaos.account import Fault, Tally
from chaos.camera import CannotMeasure
from chaos.kinds import AGAIN, BENIGN, DISK, POSTGRES, RESTARTS, Database, Kind, databases_gone, small_disk
from chaos.line import FAST, SLOW, TIGHT, Line, Station

from inspector.part import Verdict
from inspector.records.queries import StoredInspection

Progress = Callable[[str], None]
_DISK_KIB = 32 << 10


def steady(folder: Path, seed: int, count: int, progress: Progress, *, with_disk: bool) -> dict[str, Tally]:
    """Faults that one service lives through."""
    with ExitStack() as stack:
        kinds: tuple[Kind, ...] = BENIGN
        if with_disk:
            stack.enter_context(small_disk(folder / "var" / "images", _DISK_KIB))
            kinds = (*BENIGN, DISK)
        return _measure(folder, (FAST, SLOW, TIGHT), kinds, seed, count, progress)


def restarts(folder: Path, seed: int, count: int, progress: Progress) -> dict[str, Tally]:
    """Faults that end the service."""
    return _measure(folder, (FAST, SLOW), RESTARTS, seed, count, progress)


def postgres(folder: Path, seed: int, count: int, progress: Progress, server: Database, url: str) -> dict[str, Tally]:
    """A database that comes and goes."""
    kind = Kind(POSTGRES, lambda line, rng, faults: databases_gone(line, rng, faults, server))
    return _measure(folder, (FAST,), (kind,), seed, count, progress, url)


def _measure(
    folder: Path,
    stations: tuple[Station, ...],
    kinds: tuple[Kind, ...],
    seed: int,
    count: int,
    progress: Progress,
    database: str = "",
) -> dict[str, Tally]:
    """Do every kind of fault `count` times and close the books. CannotMeasure."""
    rng = random.Random(seed)
    tallies = {kind.name: Tally() for kind in kinds}
    with _line(folder, stations, rng, database) as line:
        for kind in kinds:
            progress(kind.name)
            tallies[kind.name].faults = kind.run(line, random.Random(f"{seed} {kind.name}"), count)
        progress("closing the books")
        broken, verdicts, records = line.close_books()
        announced = line.ledger.snapshot()[0]
    for part in announced.values():
        tallies.setdefault(part.kind, Tally()).triggers += 1
    if AGAIN in tallies:
        tallies[AGAIN].faults = tallies[AGAIN].triggers
    for key, told in verdicts.items():
        if key in announced:
            tallies[announced[key].kind].verdicts[told.verdict] += 1
    for fault in [*broken, *_unexplained(records)]:
        tallies.setdefault(fault.kind, Tally()).broken.append(fault)
    return tallies


@contextmanager
def _line(folder: Path, stations: tuple[Station, ...], rng: random.Random, database: str) -> Iterator[Line]:
    """A line; what goes wrong with the harness is told with the service's last words."""
    line = Line(folder, stations, rng, database)
    try:
        with line:
            yield line
    except CannotMeasure as error:
        words = line.service.tail() if line.service else "it never started"
        raise CannotMeasure(f"{error}\nthe service's last words:\n{words}") from error


def _unexplained(records: list[StoredInspection]) -> Iterator[Fault]:
    """Rejected parts whose pictures are neither stored nor told lost: evidence must not vanish without a word."""
    for stored in records:
        inspection = stored.inspection
        accounted = stored.images and all(image.sha256 or image.lost_reason for image in stored.images)
        if inspection.verdict is Verdict.REJECT and not accounted:
            key = (inspection.station, inspection.trigger)
            yield Fault("lost", "pictures of rejects", key, f"{inspection.name} has no picture and no word of why")
