"""node-opcua, an OPC UA client that nobody here wrote, driven step by step."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from requires import require, require_tool

FOREIGN = Path(__file__).parent / "foreign"
MODULES = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "inspector-tests" / "node-opcua"


class ForeignError(Exception):
    """A step failed; the message is node-opcua's."""


class ForeignClient:
    """A process with the client in it. Skips the test if node or its packages are not there."""

    def __init__(self, url: str, folder: Path) -> None:
        node = require_tool("node")
        installed = MODULES / "node_modules" / "node-opcua-client" / "package.json"
        wanted = json.loads((FOREIGN / "package.json").read_text())["dependencies"]["node-opcua-client"]
        there = installed.is_file() and json.loads(installed.read_text())["version"] == wanted
        require(there, f"node-opcua-client {wanted} is not in {MODULES}; run deploy/install-test-tools.sh")
        # Beside its modules, because node looks for them from the script's own folder upwards.
        script = shutil.copy(FOREIGN / "client.js", folder / "client.js")
        self._process = subprocess.Popen(
            [node, script, url, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "NODE_PATH": str(MODULES / "node_modules"), "HOME": str(folder)},
        )

    def __call__(self, step: str, **about: Any) -> Any:
        """Do one step; ForeignError if it fails."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"step": step, **about}) + "\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith("{"):
                answer = json.loads(line)
                if "error" in answer:
                    raise ForeignError(answer["error"])
                return answer["value"]
        raise ForeignError(f"node-opcua ended: {self._process.stderr.read() if self._process.stderr else ''}")

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()
