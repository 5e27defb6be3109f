"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from inspector.errors import DataError


def write_whole(path: Path, data: bytes) -> None:
    """Write `data` to `path`, replacing what is there in one step. Raises DataError.

    A device or a pipe is written to, never replaced: the programs of a whole machine need /dev/null. Of a link the target is.
    """
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(data)
            return
        path = Path(os.path.realpath(path))
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with open(descriptor, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            os.chmod(draft, 0o644)
            os.replace(draft, path)
        except BaseException:
            os.unlink(draft)
            raise
    except OSError as error:
        raise DataError(
            f"{path} cannot be written: {error.strerror or error}; free space or choose another path"
        ) from error


def check_free(path: Path) -> None:
    """Raise DataError if something is at `path`: nothing is ever overwritten."""
    if os.path.lexists(path):
        raise DataError(f"{path} exists already and is not overwritten; choose another name or remove it")
