"""Programs share the processor as the units of deploy/systemd let them: each in a control group of its weight.

Where systemd starts programs, niceness counts within a unit alone, and the units' weights among them.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

_UNITS = Path(__file__).parents[2] / "deploy" / "systemd"
_V1, _V2 = Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")
_LOOK_S = 0.2
# systemd's default weight, and the shares of the older interface that are as much (systemd.resource-control(5)).
_USUAL, _USUAL_SHARES = 100, 1024

Names = Mapping[str, str]
"""A unit's name, "" for a program that has none here, by words of its command line."""


def weight_of(unit: str) -> str:
    """`CPUWeight` of a unit of ours, systemd's default if it has none; "idle" is only what is left over."""
    if not unit:
        return str(_USUAL)
    found = re.findall(r"^CPUWeight=(\w+)$", (_UNITS / unit).read_text(), re.MULTILINE)
    return str(found[-1]) if found else str(_USUAL)


@contextmanager
def weighed(units: Names) -> Iterator[Callable[[], bool]]:
    """Keep programs, also those that start later, in groups of their units' weights.

    Gives a function that says whether all of them are, as far as they were seen; this machine may not let us.
    """
    groups: dict[str, Path] = {}
    placed: dict[int, str] = {}
    ending = threading.Event()
    keeper = threading.Thread(target=_keep, args=(groups, placed, ending.wait), daemon=True)
    try:
        with suppress(OSError):
            for words, unit in units.items():
                groups[words] = _make(re.sub(r"\W", "-", f"inspector-bench-{unit or words}"), weight_of(unit))
        keeper.start()
        time.sleep(2 * _LOOK_S if groups else 0)
        yield lambda: bool(units) and set(placed.values()) == set(units)
    finally:
        ending.set()
        keeper.join()
        for group in groups.values():
            _remove(group)


def _make(name: str, weight: str) -> Path:
    is_v2 = (_V2 / "cgroup.controllers").is_file()
    if is_v2:
        (_V2 / "cgroup.subtree_control").write_text("+cpu")
    group = (_V2 if is_v2 else _V1) / name
    group.mkdir(exist_ok=True)
    if weight == "idle":
        (group / "cpu.idle").write_text("1")
    elif is_v2:
        (group / "cpu.weight").write_text(weight)
    else:
        (group / "cpu.shares").write_text(str(int(weight) * _USUAL_SHARES // _USUAL))
    return group


def _keep(groups: Mapping[str, Path], placed: dict[int, str], wait: Callable[[float], bool]) -> None:
    while groups and not wait(_LOOK_S):
        for process in psutil.process_iter(["pid", "cmdline"]):
            command = " ".join(process.info["cmdline"] or ())
            words = next((words for words in groups if words in command), None)
            if words is not None and process.pid not in placed:
                with suppress(OSError):  # it has ended
                    (groups[words] / "cgroup.procs").write_text(str(process.pid))
                    placed[process.pid] = words


def _remove(group: Path) -> None:
    """What is still in it goes to where a program is that nobody placed."""
    with suppress(OSError):
        for pid in (group / "cgroup.procs").read_text().split():
            with suppress(OSError):
                (group.parent / "cgroup.procs").write_text(pid)
        group.rmdir()
