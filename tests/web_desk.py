"""A web desk for tests: a seeded line, the real program as a process, and ways to log in."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import numpy as np
from PIL import Image
from record_samples import inspection

from inspector.access.identity import Role
from inspector.imaging.archive import heat_map_png
from inspector.part import Box, Finding, ImageKind, Inspection, Reason, ViewResult
from inspector.records.entries import Evidence, Settled
from inspector.records.images import ImageStore
from inspector.records.labels import Label
from inspector.records.store import Store
from inspector.records.users import Users
from inspector.web.accounts.accounts import Accounts
from inspector.web.accounts.passwords import hash_password

LINE, STATION = "tiles", "top"
SIDE = 96
PASSWORD = "correct horse battery"
PEOPLE = {"vera": Role.VIEWER, "otto": Role.OPERATOR, "erna": Role.ENGINEER, "anton": Role.APPROVER, "ada": Role.ADMIN}
START_S = 60.0
NASTY_PART = "<img src=x onerror=alert(1)>"
BUNDLE = "tiles-7@0123456789ab"


def scratched(number: int, defective: bool) -> tuple[bytes, np.ndarray]:
    """A grey tile as PNG, and its anomaly map; a defective one has a bright scratch."""
    rng = np.random.default_rng(number)
    pixels = rng.normal(120, 6, (SIDE, SIDE))
    anomaly = rng.uniform(0.05, 0.2, (SIDE // 4, SIDE // 4)).astype(np.float32)
    if defective:
        row, column = rng.integers(10, SIDE - 30, 2)
        pixels[row : row + 4, column : column + 26] = 235
        anomaly[row // 4 : row // 4 + 2, column // 4 : column // 4 + 7] = 0.9
    stream = io.BytesIO()
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(stream, "PNG")
    return stream.getvalue(), anomaly


def seed_inspections(
    store: Store, images: ImageStore, count: int, *, first: int = 1, until: datetime | None = None, line: str = LINE
) -> list[Inspection]:
    """`count` inspections as a line leaves them, one second apart until `until` (now): every fourth a reject with heat map,
    every tenth unknown, pictures of all. Number 4 has a part id, a class and a detail with script in them, number 8 two views.
    """
    end = until or datetime.now(UTC)
    made = []
    entries: list[Settled | Evidence] = []
    for number in range(first, first + count):
        reason = Reason.SCORE_ABOVE_LIMIT if number % 4 == 0 else Reason.WITHIN_LIMITS
        if number % 10 == 5:
            reason = Reason.IMAGE_BLURRED
        at = end - timedelta(seconds=first + count - number)
        defective = reason is Reason.SCORE_ABOVE_LIMIT
        rng = np.random.default_rng(number)
        judged = reason is not Reason.IMAGE_BLURRED
        score = float(rng.uniform(0.55, 0.9) if defective else rng.uniform(0.1, 0.49))
        seen = inspection(
            number,
            reason,
            line=line,
            station=STATION,
            score=score if judged else None,
            receive_time=at,
            capture_time=at - timedelta(milliseconds=3),
            decide_time=at + timedelta(milliseconds=4),
        )
        if number == 4:
            finding = Finding("<b>crack</b>", Box(4, 5, 30, 20), 412.5, 0.75)
            seen = replace(seen, part_id=NASTY_PART, findings=(finding,), detail="<script>alert(2)</script>")
        if number == 8:
            top = ViewResult("top", "cam-1", BUNDLE, Reason.SCORE_ABOVE_LIMIT, "", seen.score, seen.limit)
            side = ViewResult("side", "cam-2", BUNDLE, Reason.WITHIN_LIMITS, "", 0.2, 0.5)
            findings = tuple(replace(found, view="top") for found in seen.findings)
            seen = replace(seen, view="top", views=(top, side), findings=findings)
        data, anomaly = scratched(number, defective)
        pictures = [images.put(data, ImageKind.FRAME, "image/png")]
        if defective:
            heat = heat_map_png(anomaly, 0.5, Box(0, 0, SIDE, SIDE), (SIDE, SIDE))
            pictures.append(images.put(heat, ImageKind.HEAT_MAP, "image/png"))
        if number == 8:
            pictures = [replace(picture, view="top") for picture in pictures]
        entries += [Settled(seen, evidence_expected=True), Evidence(number, tuple(pictures), at)]
        made.append(seen)
    store.apply(line, entries)
    return made


@dataclass
class WebDesk:
    """A desk that runs: its address, its line file and folder, and its database."""

    url: str
    folder: Path
    line_file: Path
    store: Store
    images: ImageStore
    accounts: Accounts
    process: subprocess.Popen[bytes] | None = None
    log: Path = field(default=Path())

    @property
    def data_dir(self) -> Path:
        return self.folder / "var"

    def client(self, name: str = "") -> httpx.Client:
        """A client with the cookie of somebody who is logged in, or of a stranger; sends the Origin as browsers do."""
        client = httpx.Client(
            base_url=self.url, headers={"Origin": self.url}, timeout=30, trust_env=False, verify=False
        )
        if name:
            answer = client.post("/login", data={"name": name, "password": PASSWORD})
            assert answer.status_code == 303, answer.text
        return client


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def write_line_file(folder: Path, *, web: str = "", database: str = "", grpc: int = 0) -> tuple[Path, int]:
    """A line file that `inspector check` accepts but for its bundle, and the port of its desk."""
    port = free_port()
    records = f'[records]\ndatabase = "{database}"\n' if database else ""
    text = f"""# The line of the tests: this comment must survive.
[line]
name = "{LINE}"

[grpc]
listen = "127.0.0.1:{grpc or free_port()}"

[web]
listen = "127.0.0.1:{port}"
{web}
{records}
[[station]]
name = "{STATION}"
camera = "cam-1"
unit = 1
recipe = "tiles-a"

[recipe.tiles-a]
bundle = "bundles/tiles"
deadline_ms = 500   # ms
"""
    path = folder / "line.toml"
    path.write_text(text, encoding="utf-8")
    return path, port


def prepare(folder: Path, count: int = 60, *, web: str = "", database: str = "", grpc: int = 0) -> WebDesk:
    """Line file, database with inspections, labels and `PEOPLE`, pictures; nothing runs yet."""
    line_file, port = write_line_file(folder, web=web, database=database, grpc=grpc)
    store = Store(database or f"sqlite:///{folder / 'var' / 'quality.db'}")
    store.upgrade()
    images = ImageStore(folder / "var" / "images")
    seed_inspections(store, images, count)
    store.record_bundle(BUNDLE, "0123456789ab" + "0" * 52, {"name": "tiles-7"}, datetime.now(UTC))
    if count >= 8:
        label = Label(LINE, 4, "good", "erna", datetime.now(UTC), note="only dust <i>here</i>")
        store.add_labels([label, replace(label, sequence=8, what="crack", note="")])
    accounts = Accounts(Users(store.database), 12)
    hashed = hash_password(PASSWORD)  # once: it takes a while, and that is what it is for
    for name, role in PEOPLE.items():
        accounts.users.add(name, int(role), hashed, datetime.now(UTC))
    return WebDesk(f"http://127.0.0.1:{port}", folder, line_file, store, images, accounts)


@contextmanager
def serving(desk: WebDesk) -> Iterator[WebDesk]:
    """`inspector web` as a process, until the context ends."""
    desk.log = desk.folder / "web.log"
    with desk.log.open("wb") as log:
        desk.process = subprocess.Popen(
            # Beside as many busy tests as there are cores a desk that gives way would stand still.
            [sys.executable, "-m", "inspector", "web", str(desk.line_file), "--nice", "0"],
            stdout=log,
            stderr=log,
            cwd=desk.folder,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        )
    try:
        _wait_until_it_answers(desk)
        yield desk
    finally:
        desk.process.send_signal(signal.SIGTERM)
        desk.process.wait(20)
        desk.store.close()


def _wait_until_it_answers(desk: WebDesk) -> None:
    assert desk.process is not None
    pause = threading.Event()
    waited_s = 0.0
    while waited_s < START_S:
        assert desk.process.poll() is None, desk.log.read_text()
        try:
            if httpx.get(f"{desk.url}/healthz", trust_env=False, verify=False).status_code == 200:
                return
        except httpx.TransportError:
            pass
        pause.wait(0.05)
        waited_s += 0.05
    raise AssertionError(f"the desk did not start: {desk.log.read_text()}")
