"""Whether a disk has room for what is to come, so that what people send leaves the line the space that it writes to."""

from __future__ import annotations

import shutil
from pathlib import Path

from inspector.errors import ImageStoreError

RESERVE_BYTES = 200 << 20
"""What stays free for the line."""


def check_room(folder: Path, coming_bytes: int) -> None:
    """Raises ImageStoreError if so many bytes more would leave less than `RESERVE_BYTES` on the disk of `folder`."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    try:
        free = shutil.disk_usage(there).free
    except OSError as error:
        raise ImageStoreError(
            f"the disk of {folder} cannot be looked at: {error.strerror}: see whether it is there"
        ) from error
    if free - coming_bytes < RESERVE_BYTES:
        raise ImageStoreError(
            f"the disk of {folder} has {free >> 20} MiB free, {-(-coming_bytes >> 20)} MiB are to come and "
            f"{RESERVE_BYTES >> 20} MiB stay free for the line: free space and go on"
        )
