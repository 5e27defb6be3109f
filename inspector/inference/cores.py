"""How many cores the engine may use."""

from __future__ import annotations

import os
from pathlib import Path

_CPUS = Path("/sys/devices/system/cpu")
_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def usable_cores(cpus: Path = _CPUS, quota: Path = _QUOTA) -> int:
    """Physical cores that this process may run on, no more than its container's CPU quota, at least 1.

    Two hardware threads of one core share its vector units, so a second one adds no speed to a convolution. ONNX
    Runtime counts cores itself but sees neither affinity nor quota, and then pins its threads to cores it may not use.
    """
    return max(1, min(len(_cores(cpus)), _quota_cores(quota)))


def share_cores(cameras: int, workers: int = 0, threads: int = 0, cores: int = 0) -> tuple[int, int]:
    """How many runs go at the same time, and the threads of each, for a line with so many cameras; 0: not told.

    A lone camera gets all cores for each of its parts. Parts of several cameras come at the same time: a run for each, on cores
    of its own, waits neither for the other nor for a thread that something else keeps from its core (DECISIONS.md).
    """
    cores = cores or usable_cores()
    workers = workers or max(1, min(cameras, cores // max(1, threads)))
    return workers, threads or max(1, cores // workers)


def own_cores(workers: int, cpus: Path = _CPUS, quota: Path = _QUOTA) -> list[frozenset[int]]:
    """The hardware threads of a core for each of the workers that have all cores between them; of fewer or more, nothing.

    Without cores of their own two workers may wait for each other on one, while the other has something that gives way to the
    line: Linux evens that out after some milliseconds, and thinks of no niceness when it places a thread (DECISIONS.md).
    """
    cores = _cores(cpus)
    if workers < 2 or len(cores) != workers or _quota_cores(quota) < workers:
        return []
    return [frozenset(core) for _, core in sorted(cores.items())]


def _cores(cpus: Path) -> dict[tuple[int, int], set[int]]:
    """The hardware threads that this process may run on, by core."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    cores: dict[tuple[int, int], set[int]] = {}
    try:
        for index in allowed:
            cores.setdefault(_core(cpus / f"cpu{index}" / "topology"), set()).add(index)
    except (OSError, ValueError):  # no sysfs here, as on macOS: hardware threads are the best there is
        return {(0, index): {index} for index in allowed}
    return cores


def _core(topology: Path) -> tuple[int, int]:
    return int((topology / "physical_package_id").read_text()), int((topology / "core_id").read_text())


def _quota_cores(quota: Path) -> int:
    """Whole cores of a cgroup v2 quota ("200000 100000" is two); a large number if there is none."""
    try:
        limit_us, period_us = quota.read_text().split()
        return max(1, int(limit_us) // int(period_us))
    except (OSError, ValueError, ZeroDivisionError):  # no cgroup v2, or "max 100000": no quota
        return 1 << 16
