"""How much memory is left on this machine, so that a second model is loaded only where there is room for it."""

from __future__ import annotations

from pathlib import Path

_MEMINFO = Path("/proc/meminfo")
_GROUP = Path("/sys/fs/cgroup")


def memory_left_bytes(meminfo: Path = _MEMINFO, group: Path = _GROUP) -> int | None:
    """Bytes that may still be used before the system begins to kill, also by the bound of a container; None if nobody says.

    Sources: proc_meminfo(5), MemAvailable; the kernel's cgroup-v2 document, memory.max and memory.current.
    """
    found = [left for left in (_available(meminfo), _within_group(group)) if left is not None]
    return min(found, default=None)


def _available(meminfo: Path) -> int | None:
    try:
        lines = meminfo.read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, IndexError, StopIteration):
        return None


def _within_group(group: Path) -> int | None:
    """None outside of a container, and in one without a bound ("max")."""
    try:
        most, used = (int((group / name).read_text(encoding="ascii")) for name in ("memory.max", "memory.current"))
        files = (group / "memory.stat").read_text(encoding="ascii").splitlines()
        kept = next((int(line.split()[1]) for line in files if line.startswith("inactive_file ")), 0)
    except (OSError, ValueError, IndexError):
        return None
    return max(0, most - (used - kept))
