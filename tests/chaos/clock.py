"""A wall clock of the service's own, which a test can set, as somebody or NTP sets that of a machine.

`clock.c` stands between the service and the C library. libfaketime would do the same, but its version of Debian 12 makes
`time.sleep` of Python fail.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Mapping
from pathlib import Path

from chaos.camera import NotPossibleHere

_SOURCE = Path(__file__).with_name("clock.c")


class Clock:
    """Give `environment` to the service, then `step` as often as you like."""

    def __init__(self, folder: Path) -> None:
        """NotPossibleHere without a C compiler."""
        compiler = shutil.which("cc")
        if compiler is None:
            raise NotPossibleHere("there is no C compiler (cc) to build the clock that can be set")
        folder.mkdir(parents=True, exist_ok=True)
        self._library = folder / "clock.so"
        self._file = folder / "step"
        self._file.write_bytes(bytes(8))
        command = [compiler, "-O2", "-shared", "-fPIC", "-o", str(self._library), str(_SOURCE)]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
        except (OSError, subprocess.SubprocessError) as error:
            raise NotPossibleHere(f"{_SOURCE.name} cannot be built here: {error}") from error
        self.step_s = 0

    @property
    def environment(self) -> Mapping[str, str]:
        """Of the process whose clock this is."""
        return {"LD_PRELOAD": str(self._library), "CHAOS_CLOCK": str(self._file)}

    def step(self, seconds: int) -> None:
        """Set the clock to that many seconds after the true time, at once."""
        with self._file.open("r+b") as file:
            file.write(struct.pack("=q", seconds))
        self.step_s = seconds
