"""Makes sure that a directory is used by one process at a time."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from inspector.errors import JournalError


def acquire(directory: Path) -> int:
    """File descriptor that holds the directory's lock. JournalError."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        fd = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise JournalError(
            f"journal directory {directory} cannot be used: {error.strerror}: check the path and its permissions"
        ) from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        pid = os.pread(fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(fd)
        raise JournalError(
            f"journal {directory} is in use by process {pid}: stop that service or give this one its own directory"
        ) from error
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return fd
