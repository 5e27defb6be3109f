"""A line that runs, with its desk, a worker and a camera, each a process of its own, and the account of all its triggers."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cv2
import grpc
import httpx
import numpy as np
from grpc_health.v1 import health_pb2, health_pb2_grpc
from numpy.typing import NDArray
from toys import toy_bundle
from web_desk import PASSWORD, free_port

from inspector.access.identity import Role
from inspector.part import Inspection, Verdict
from inspector.records.place import snapshot_folder
from inspector.records.store import Store
from inspector.records.users import Users
from inspector.web.accounts.accounts import Accounts

LINE, STATION, CAMERA, RECIPE = "works", "s1", "c1", "parts"
FIRST = "brightness"
PEOPLE = {"erna": Role.ENGINEER, "anton": Role.APPROVER}
GOOD, BLOT = "good", "blot"
Picture = tuple[NDArray[np.uint8], str]
"""Grey pixels, and what the part is."""
SIZE_PX = 64
_TESTS = Path(__file__).parents[1]


def wait_until(done: Callable[[], Any], what: str, timeout_s: float = 240.0) -> Any:
    """What `done` gives once it is true. Fails after `timeout_s`."""
    deadline, pause = time.monotonic() + timeout_s, threading.Event()
    while not (found := done()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        pause.wait(0.05)
    return found


class StoryLine:
    """Use as a context. The first bundle knows nothing but brightness: it rejects good parts and lets blots pass."""

    def __init__(
        self, folder: Path, database: str = "", pictures: Sequence[Picture] = (), rate_hz: float = 8.0
    ) -> None:
        """Shows `pictures` again and again; simulated parts if there are none."""
        self.folder = folder
        self.line_file = folder / "line.toml"
        self.grpc, self.port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.database = database or f"sqlite:///{folder / 'var' / 'quality.db'}"
        self.truth: dict[str, str] = {}
        self.password = PASSWORD
        self._rate_hz = rate_hz
        self._results = folder / "camera.jsonl"
        self._stack = ExitStack()
        self._camera: subprocess.Popen[bytes] | None = None
        self._write(pictures or simulated(400))

    def __enter__(self) -> StoryLine:
        self.store = Store(self.database)
        self.store.upgrade()
        self._stack.callback(self.store.close)
        accounts = Accounts(Users(self.store.database), 12)
        for name, role in PEOPLE.items():
            accounts.add(name, role, PASSWORD)
        self._web = self._start_web()
        self._start("worker", "training.cli", "worker", self.line_file, "--nice", "0")
        self._start("serve", "inspector", "serve", self.line_file)
        # A camera program gives up where nobody answers for ten seconds.
        wait_until(self._serves, "the service")
        where = ("--line", LINE, "--camera", CAMERA, "--target", f"127.0.0.1:{self.grpc}", "--rate", self._rate_hz)
        folder = self.folder / "parts"
        self._camera = self._start(
            "camera", "inspector", "camera", "folder", folder, *where, "--loop", "--results", self._results
        )
        wait_until(self._answers, "the desk")
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def kill_the_desk(self) -> None:
        """kill -9, and start it anew."""
        self._web.kill()
        self._web.wait()
        self._web = self._start_web()
        wait_until(self._answers, "the desk")

    def log(self, name: str) -> str:
        """What a process has said last."""
        path = self.folder / f"{name}.log"
        return path.read_text()[-2000:] if path.exists() else ""

    def told(self) -> list[dict[str, Any]]:
        """Everything that the camera was told of its triggers so far."""
        lines = self._results.read_text().splitlines() if self._results.exists() else []
        return [json.loads(line) for line in lines if line.endswith("}")]

    def inspections(self, since: int = 0) -> list[Inspection]:
        """Everything on record after an inspection."""
        found: list[Inspection] = []
        while page := self.store.after(LINE, found[-1].sequence if found else since, 500):
            found += [stored.inspection for stored in page]
        return found

    def what(self, sequence: int) -> str:
        """What the part of an inspection is in truth."""
        return self.truth[self.store.get(LINE, sequence).inspection.part_id]

    def bundles_seen(self, since: int = 0) -> Counter[str]:
        """How many parts each bundle has judged, by its name."""
        return Counter(one.bundle.partition("@")[0] for one in self.inspections(since))

    def wrong(self, bundle: str) -> float:
        """The share of parts that a bundle judged wrongly."""
        judged = [one for one in self.inspections() if one.bundle.startswith(f"{bundle}@")]
        return sum((one.verdict is Verdict.PASS) != (self.truth[one.part_id] == GOOD) for one in judged) / len(judged)

    def snapshot(self, name: str) -> Path:
        """The folder of a snapshot that was taken at the desk."""
        return snapshot_folder(self.folder / "web") / name

    def end_and_account(self) -> None:
        """Stop the camera and check that every trigger had one verdict, the same in reply and record, and none was lost."""
        assert self._camera is not None
        self._camera.send_signal(signal.SIGINT)
        self._camera.wait(30)
        told = {one["trigger"]: one for one in self.told() if "verdict" in one}
        last = max(told)
        assert sorted(told) == list(range(1, last + 1)), "a trigger without a verdict"
        wait_until(lambda: self.store.last_sequence(LINE) >= last, "the records")
        kept = self.inspections()
        records = {one.trigger: one for one in kept}
        assert len(records) == len(kept), "a trigger with two verdicts"
        assert [n for n, one in told.items() if records[n].verdict.name != one["verdict"]] == []
        assert [one.reason.name for one in kept if one.verdict is Verdict.UNKNOWN] == [], "a part was not judged"

    def _serves(self) -> bool:
        with grpc.insecure_channel(f"127.0.0.1:{self.grpc}") as channel:
            try:
                answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=2)
            except grpc.RpcError:
                return False
            return answer.status == health_pb2.HealthCheckResponse.SERVING

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/healthz", trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    def _start_web(self) -> subprocess.Popen[bytes]:
        return self._start("web", "inspector", "web", self.line_file, "--nice", "0")

    def _start(self, name: str, module: str, *arguments: object) -> subprocess.Popen[bytes]:
        log = self._stack.enter_context((self.folder / f"{name}.log").open("ab"))
        process = subprocess.Popen(
            [sys.executable, "-m", module, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(_TESTS.parent)},
        )
        self._stack.callback(_end, process)
        return process

    def _write(self, pictures: Sequence[Picture]) -> None:
        (self.folder / "parts").mkdir()
        for number, (pixels, what) in enumerate(pictures, start=1):
            part_id = f"L{number // 100}-{number:04d}"
            self.truth[part_id] = what
            cv2.imwrite(str(self.folder / "parts" / f"{part_id}.png"), pixels)
        # Half of the good parts are brighter than this, and so rejected.
        limit = statistics.median(float(pixels.mean()) / 255 for pixels, what in pictures if what == GOOD)
        toy_bundle(self.folder / "bundles" / FIRST, size=SIZE_PX, limit=limit, name=FIRST)
        records = f'database = "{self.database}"\n' if self.database.startswith("postgres") else ""
        self.line_file.write_text(
            f'[line]\nname = "{LINE}"\n[grpc]\nlisten = "127.0.0.1:{self.grpc}"\n'
            f'[modbus]\nlisten = "127.0.0.1:{free_port()}"\n[web]\nlisten = "127.0.0.1:{self.port}"\n'
            f"[records]\n{records}pass_sampling = 1.0\n"
            f'[[station]]\nname = "{STATION}"\ncamera = "{CAMERA}"\nunit = 1\nrecipe = "{RECIPE}"\n'
            f'[recipe.{RECIPE}]\nbundle = "bundles/{FIRST}"\ndeadline_ms = 20000\n'
        )


def simulated(count: int) -> list[Picture]:
    """Every third part has a blot."""
    return [(part(number, blot=not number % 3), GOOD if number % 3 else BLOT) for number in range(count)]


def tiles(data: Path, count: int) -> list[Picture]:
    """Magnetic tiles, every third with a blowhole, made small: the story is of the loop, and not of what a model reaches."""
    good = sorted((data / "MT_Free" / "Imgs").glob("*.jpg"))
    blowholes = sorted((data / "MT_Blowhole" / "Imgs").glob("*.jpg"))
    chosen = [good[number] if number % 3 else blowholes[number // 3] for number in range(count)]
    shown = [cv2.resize(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), (SIZE_PX, SIZE_PX)) for path in chosen]
    return [(np.asarray(pixels, np.uint8), GOOD if n % 3 else BLOT) for n, pixels in enumerate(shown)]


def part(number: int, *, blot: bool) -> NDArray[np.uint8]:
    """A brushed part with its own grain, uint8 (64, 64); a blot is dark and 14 px wide."""
    random = np.random.default_rng(number)
    grain = cv2.GaussianBlur(random.normal(0, 60, (SIZE_PX, SIZE_PX)), (0, 0), 0.8)
    pixels = 130 + grain + 25 * np.sin(np.arange(SIZE_PX) / 5)
    if blot:
        x, y = random.integers(12, SIZE_PX - 26, 2)
        pixels[y : y + 14, x : x + 14] = 15
    return np.asarray(np.clip(pixels, 0, 255), np.uint8)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
