"""The lines that the faults are done to, and what each kind of fault did to the verdicts."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from chaos.account import Fault, Tally
from chaos.cable import Cable
from chaos.camera import CannotMeasure, NotPossibleHere
from chaos.camera_kinds import CAMERA, VIEWS_KIND
from chaos.clock import Clock
from chaos.disk import ext4_disk, small_disk
from chaos.fuzz_kinds import FUZZ, TLS
from chaos.kinds import Kind
from chaos.line import FAST, FUZZED, SLOW, TIGHT, VIEWS, Line, Site, Station
from chaos.many_kinds import CAMERAS, MANY
from chaos.network import Network
from chaos.network_kinds import network_kinds
from chaos.plc_kinds import PLCS
from chaos.process_kinds import AGAIN, RESTARTS, clock_steps
from chaos.records_kinds import (
    JOURNAL_DISK,
    JOURNAL_KIB,
    PICTURE_DISK,
    SQLITE,
    databases_frozen,
    databases_gone,
    databases_slow,
    slow_disks,
    still_disks,
)
from plant import plant_in
from postgres import PostgresServer, postgres_server

from inspector.part import Verdict
from inspector.records.queries import StoredInspection

_PICTURES_KIB = 32 << 10
_DISK_MIB = 192


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is done: `count` faults of each kind, in an order and timing that `seed` sets; `say` is told which.

    A `quick` run leaves out what takes long. What this machine cannot do is entered in `missing`.
    """

    count: int
    seed: int = 1
    quick: bool = False
    say: Callable[[str], None] = lambda _: None
    missing: list[str] = field(default_factory=list)

    def rng(self, of: str = "") -> random.Random:
        return random.Random(f"{self.seed} {of}")


Scene = Callable[[Path, Effort], dict[str, Tally]]
"""A line in a folder, and the faults that it is made for. CannotMeasure if that is not possible here."""


def steady(folder: Path, effort: Effort) -> dict[str, Tally]:
    """What one service lives through: faults of cameras, frames, load, PLC, clock, strangers, a picture store without room."""
    kinds = [*CAMERA, SQLITE, VIEWS_KIND, *PLCS, *FUZZ]
    site = Site()
    with ExitStack() as stack:
        with _noting(effort, "clock set"):
            wall = Clock(folder / "wall")
            site = Site(environment=wall.environment)
            kinds.append(Kind("clock set", lambda line, rng, count: clock_steps(line, rng, count, wall)))
        with _noting(effort, PICTURE_DISK.name):
            stack.enter_context(small_disk(folder / "var" / "images", _PICTURES_KIB))
            kinds.append(PICTURE_DISK)
        return _measure(folder, (FAST, SLOW, TIGHT, VIEWS, FUZZED), kinds, effort, site=site)


@contextmanager
def _noting(effort: Effort, kind: str) -> Iterator[None]:
    """Do without what this machine cannot do, and say so."""
    try:
        yield
    except NotPossibleHere as error:
        effort.missing.append(f"{kind}: {error}")


def restarts(folder: Path, effort: Effort) -> dict[str, Tally]:
    """Faults of the service's process."""
    return _measure(folder, (FAST, SLOW), RESTARTS, effort)


def doors(folder: Path, effort: Effort) -> dict[str, Tally]:
    """Strangers before a line that asks for certificates."""
    return _measure(folder, (FAST,), (TLS,), effort, site=Site(plant=plant_in(folder / "plant")))


def journal_disk(folder: Path, effort: Effort) -> dict[str, Tally]:
    """A journal without room."""
    with small_disk(folder / "var" / "journal", JOURNAL_KIB):
        return _measure(folder, (FAST,), (JOURNAL_DISK,), effort)


def disk(folder: Path, effort: Effort) -> dict[str, Tally]:
    """One disk for all, which is slow or stands still."""
    with ext4_disk(folder / "var", _DISK_MIB) as own:
        kinds = (
            Kind("disk slow", lambda line, rng, count: slow_disks(line, rng, count, own), most=5),
            Kind("disk stands still", lambda line, rng, count: still_disks(line, rng, count, own)),
        )
        return _measure(folder, (FAST,), kinds, effort)


def postgres(folder: Path, effort: Effort) -> dict[str, Tally]:
    """A database that comes and goes, at the end of a cable. Skips the test if PostgreSQL is not installed."""
    with postgres_server() as server:
        return postgres_of(server, folder, effort)


def postgres_of(server: PostgresServer, folder: Path, effort: Effort) -> dict[str, Tally]:
    """As `postgres`, with a server that runs."""
    cable = Cable(server.port)
    kinds = (
        Kind("database gone (PostgreSQL)", lambda line, rng, count: databases_gone(line, rng, count, server)),
        Kind("database frozen (PostgreSQL)", lambda line, rng, count: databases_frozen(line, rng, count, server)),
        Kind("database slow (PostgreSQL)", lambda line, rng, count: databases_slow(line, rng, count, cable)),
    )
    url = server.create().replace(f":{server.port}/", f":{cable.port}/")
    try:
        return _measure(folder, (FAST,), kinds, effort, database=url)
    finally:
        cable.close()


def network(folder: Path, effort: Effort) -> dict[str, Tally]:
    """A service at the end of a bad network."""
    with Network(effort.rng("network")) as link:
        plant = plant_in(folder / "plant", hosts=(link.inside,))
        site = Site(link.inside, link.outside, link.command, plant=plant)
        return _measure(folder, (FAST, SLOW), network_kinds(link), effort, site=site)


def many(folder: Path, effort: Effort) -> dict[str, Tally]:
    """Ten cameras."""
    stations = tuple(replace(FAST, name=f"station{number}") for number in range(1, CAMERAS + 1))
    return _measure(folder, stations, (MANY,), effort, plc_poll_ms=25)


# What a run of a minute has time for.
QUICK = ("steady", "restarts", "postgres", "network")
SCENES: dict[str, Scene] = {
    "steady": steady,
    "restarts": restarts,
    "many": many,
    "journal-disk": journal_disk,
    "disk": disk,
    "postgres": postgres,
    "network": network,
    "doors": doors,
}


def _measure(
    folder: Path,
    stations: tuple[Station, ...],
    kinds: Sequence[Kind],
    effort: Effort,
    *,
    database: str = "",
    site: Site | None = None,
    plc_poll_ms: int = 5,
) -> dict[str, Tally]:
    """Do every kind of fault and close the books. CannotMeasure."""
    kinds = [kind for kind in kinds if kind.quick or not effort.quick]
    tallies = {kind.name: Tally() for kind in kinds}
    with _running(Line(folder, stations, effort.rng(), database=database, site=site, plc_poll_ms=plc_poll_ms)) as line:
        for kind in kinds:
            effort.say(kind.name)
            tallies[kind.name].faults = kind.run(line, effort.rng(kind.name), min(effort.count, kind.most))
            tallies[kind.name].expected = min(effort.count, kind.most)
        effort.say("closing the books")
        books = line.close_books()
    for part in books.announced.values():
        tally = tallies.setdefault(part.kind, Tally())
        tally.triggers += 1
        tally.must_not_pass += not part.may_pass
    if AGAIN in tallies:
        tallies[AGAIN].faults = tallies[AGAIN].triggers
    for key, told in books.verdicts.items():
        if key in books.announced:
            tallies[books.announced[key].kind].verdicts[told.verdict] += 1
    for kind_name, told_ms in books.told_ms.items():
        tallies[kind_name].told_ms = told_ms
    for fault in [*books.broken, *_unexplained(books.records)]:
        tallies.setdefault(fault.kind, Tally()).broken.append(fault)
    return tallies


@contextmanager
def _running(line: Line) -> Iterator[Line]:
    """A line; what goes wrong with the harness is told with the service's last words."""
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
