"""Reads what the three outputs of a run told: the camera program's file, the simulated PLC's file, the quality database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inspector.errors import DataError
from inspector.part import Reason, Verdict
from inspector.records.store import Store
from inspector.sim.demo.accounts import Told
from inspector.sim.demo.report import Storage

_PAGE = 1000


@dataclass(frozen=True, slots=True)
class CameraLog:
    """What the camera program sent and was told; times are CLOCK_MONOTONIC in ns."""

    sent_ns: dict[int, int]
    files: dict[int, str]
    told: list[Told]


@dataclass(frozen=True, slots=True)
class PlcLog:
    """What the PLC read, and which triggers' parts it ejected because of their verdict (True) or let through (False)."""

    told: list[Told]
    ejections: dict[int, bool]
    ejected_for_silence: int
    lost: int


def count_lines(path: Path, containing: bytes = b"") -> int:
    """How many whole lines of a growing file contain a text; 0 if it is not there yet."""
    if not path.is_file():
        return 0
    *whole, _ = path.read_bytes().split(b"\n")
    return sum(containing in line for line in whole)


def read_camera(path: Path) -> CameraLog:
    """Read the camera program's results. Raises DataError."""
    log = CameraLog({}, {}, [])
    for entry in _lines(path):
        with _as_data_error(path, entry):
            trigger = int(entry["trigger"])
            log.sent_ns.setdefault(trigger, int(entry["sent_ns"]))
            log.files.setdefault(trigger, Path(str(entry["file"])).name)
            if entry.get("verdict"):
                log.told.append(_told(entry, "received_ns"))
    return log


def read_plc(path: Path) -> PlcLog:
    """Read the simulated PLC's results. Raises DataError."""
    log = PlcLog([], {}, 0, 0)
    triggers: dict[int, int] = {}
    for_silence = lost = 0
    for entry in _lines(path):
        with _as_data_error(path, entry):
            if entry["event"] == "result":
                log.told.append(_told(entry, "read_ns"))
                triggers[int(entry["sequence"])] = int(entry["trigger"])
            elif entry["event"] == "ejector" and entry["cause"] == "stale heartbeat":
                for_silence += 1
            elif entry["event"] == "ejector":
                log.ejections[triggers[int(entry["sequence"])]] = entry["action"] == "eject"
            elif entry["event"] == "lost":
                lost += int(entry["count"])
    return PlcLog(log.told, log.ejections, for_silence, lost)


def _lines(path: Path) -> Iterator[Any]:
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            yield json.loads(line)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is not a file of results ({error}): its log beside it says why") from error


@contextmanager
def _as_data_error(path: Path, entry: object) -> Iterator[None]:
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: got the line {entry!r:.200}, which is no result ({error!r}): see its log") from error


def _told(entry: dict[str, Any], time_key: str) -> Told:
    return Told(int(entry["trigger"]), Verdict[entry["verdict"]], Reason[entry["reason"]], int(entry[time_key]))


def read_database(url: str, line: str) -> tuple[list[Told], Storage]:
    """Read every inspection of the line from the quality database, and count what is stored."""
    told: list[Told] = []
    images = image_bytes = lost = without = after = 0
    with closing(Store(url)) as store:
        while page := store.after(line, after, _PAGE):
            for stored in page:
                told.append(Told(stored.inspection.trigger, stored.inspection.verdict, stored.inspection.reason))
                kept = [image for image in stored.images if not image.lost_reason]
                lost += len(stored.images) - len(kept)
                without += not stored.images and stored.inspection.verdict is not Verdict.PASS
                images += len(kept)
                image_bytes += sum(image.size_bytes for image in kept)
            after = page[-1].inspection.sequence
    return told, Storage(len(told), images, image_bytes, lost, without)
