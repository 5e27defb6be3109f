"""Pictures of the web desk for the README: `python -m tests.screenshots [OUT] [--all]`, a few minutes.

Simulated parts go past a real line with a model fitted on good ones; people label them, a snapshot is taken, a second model is
fitted, compared and proposed. Nothing on the pictures is made for them but ten days of earlier parts, which have no pictures.
"""

from __future__ import annotations

import io
import math
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

from inspector.access.identity import Role
from inspector.part import Box, Finding, Inspection, Reason
from inspector.records.entries import Settled
from inspector.records.labels import Label
from inspector.records.recipe_costs import RecipeCosts, set_recipe_costs
from inspector.records.store import Store
from inspector.records.users import Users
from inspector.sim.demo.processes import Children, free_ports, wait_serving, wait_until
from inspector.sim.parts import write_data_set
from inspector.web.accounts.accounts import Accounts

LINE, STATION, CAMERA, RECIPE = "demo", "station1", "cam1", "demo"
PASSWORD = "only for these pictures"
PEOPLE = {"olga": Role.OPERATOR, "erik": Role.ENGINEER, "anna": Role.APPROVER, "ada": Role.ADMIN}
MADE = Path("build/screenshots")
LEARNED, SHOWN, EARLIER = 100, 120, 12_000
DAYS = 10
WIDTH_PX, HEIGHT_PX = 1366, 820
BROWSER = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
CLASSES = ("scratch", "dent", "stain", "crack", "missing-feature")


def main(out: Path, *, every: bool) -> None:
    """Run the line and take the README's pictures, or those of `every` page."""
    folder = Path(tempfile.mkdtemp(prefix="inspector-screenshots-"))
    try:
        with ExitStack() as stack:
            desk = Scene(folder)
            desk.start(stack)
            desk.play()
            take(desk, out, (*PAGES, *MORE) if every else PAGES)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Scene:
    """The line, its desk and what happened there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.line_file = folder / "line.toml"
        self.grpc, modbus, self.port = free_ports(3)
        self.url = f"http://127.0.0.1:{self.port}"
        made = prepared()
        shutil.copytree(made / "bundle", folder / "bundles" / "demo")
        self.truth = lay_out(made / "show", folder / "stream")
        self.line_file.write_text(
            f'[line]\nname = "{LINE}"\n[grpc]\nlisten = "127.0.0.1:{self.grpc}"\n'
            f'[modbus]\nlisten = "127.0.0.1:{modbus}"\n[records]\npass_sampling = 1.0\n'
            f'[web]\nlisten = "127.0.0.1:{self.port}"\nlot_pattern = "^L[0-9]+"\n'
            f'[[station]]\nname = "{STATION}"\ncamera = "{CAMERA}"\nunit = 1\nrecipe = "{RECIPE}"\n'
            f'[recipe.{RECIPE}]\nbundle = "bundles/demo"\ndeadline_ms = 1000\napprovals = 2\n',
            encoding="utf-8",
        )
        self.store = Store(f"sqlite:///{folder / 'var' / 'quality.db'}")
        self.store.upgrade()
        self.store.apply(LINE, [Settled(one) for one in earlier()])
        accounts = Accounts(Users(self.store.database), 12)
        for name, role in PEOPLE.items():
            accounts.add(name, role, PASSWORD)

    def start(self, stack: ExitStack) -> None:
        """Every process of the line, and its desk."""
        stack.callback(self.store.close)
        self.children = stack.enter_context(Children())
        inspector = [sys.executable, "-m", "inspector"]
        serve = self.children.start("service", [*inspector, "serve", str(self.line_file)], self.folder / "serve.log")
        self.children.start("desk", [*inspector, "web", str(self.line_file)], self.folder / "web.log")
        worker = [sys.executable, "-m", "training.cli", "worker", str(self.line_file)]
        self.children.start("worker", worker, self.folder / "worker.log")
        wait_serving(f"127.0.0.1:{self.grpc}", serve, 60)
        camera = [*inspector, "camera", "folder", str(self.folder / "stream"), "--line", LINE, "--camera", CAMERA]
        self.children.start(
            "camera",
            [*camera, "--target", f"127.0.0.1:{self.grpc}", "--rate", "8", "--loop"],
            self.folder / "camera.log",
        )

    def play(self) -> None:
        """What people do: labels, a snapshot, a model, a comparison, a proposal."""
        enough = EARLIER + SHOWN
        wait_until(lambda: self.store.last_sequence(LINE) >= enough, "the parts", 300, self.children.check)
        set_recipe_costs(self.store.database, RecipeCosts(RECIPE, 1.80, 240.0, "EUR", "anna", datetime.now(UTC)))
        self.store.add_labels(self._labels())
        erik = self.client("erik")
        for number, name in enumerate(CLASSES, start=1):
            book = {"definition": BOOK[name], "colour": COLOURS_OF[name], "hot_key": number, "examples": []}
            erik.put(f"/api/v1/classes/{name}", json=book).raise_for_status()
        self._job(erik, erik.post("/api/v1/snapshots", json={"name": "november"}), "the snapshot", 180)
        wish = {"snapshot": "november", "bundle": "fine-2", "kind": "memory-bank", "false_reject_rate": 0.02}
        self._job(erik, erik.post("/api/v1/jobs/fits", json=wish), "the fit", 900)
        self._compare()
        reason = "finds more of the fine scratches"
        wish = {"bundle": "fine-2", "recipe": RECIPE, "reason": reason, "comparison": 1}
        erik.post("/api/v1/proposals", json=wish).raise_for_status()

    def client(self, name: str) -> httpx.Client:
        """Somebody who is logged in."""
        client = httpx.Client(base_url=self.url, headers={"Origin": self.url}, timeout=60, trust_env=False)
        answer = client.post("/login", data={"name": name, "password": PASSWORD})
        if answer.status_code != 303:
            raise RuntimeError(f"{name} could not log in: {answer.text[:300]}")
        return client

    def _job(self, client: httpx.Client, asked: httpx.Response, what: str, timeout_s: float) -> None:
        asked.raise_for_status()
        number = asked.json()["id"]

        def ended() -> bool:
            job = client.get(f"/api/v1/jobs/{number}").json()
            if job["state"] in ("failed", "cancelled"):
                raise RuntimeError(f"{what} failed: {job['error']}")
            return bool(job["state"] == "done")

        wait_until(ended, what, timeout_s, self.children.check)

    def _compare(self) -> None:
        bundles = self.folder / "bundles"
        data = self.folder / "web" / "snapshots" / "november"
        command = [sys.executable, "-m", "training.cli", "compare", bundles / "demo", bundles / "fine-2", data]
        subprocess.run([*map(str, command), "--record", str(self.line_file)], check=True)

    def _labels(self) -> list[Label]:
        """Three people, of whom one is not so sure, on the parts that were shown; some are looked at twice."""
        draw = random.Random(3)
        now = datetime.now(UTC)
        labels = []
        for stored in self.store.after(LINE, EARLIER, SHOWN):
            number, truth = stored.inspection.sequence, self.truth[stored.inspection.part_id]
            for name, error, share in (("erik", 0.01, 1.0), ("olga", 0.06, 0.5), ("anna", 0.02, 0.35)):
                for look in range(2 if draw.random() < 0.3 else 1):
                    if draw.random() < share:
                        said = truth if draw.random() > error else "good"
                        at = now + timedelta(milliseconds=len(labels))
                        labels.append(Label(LINE, number, said, name, at, is_repeat=look == 1))
        return labels


BOOK = {
    "scratch": "A line of more than 2 mm that a fingernail feels.",
    "dent": "A hollow that breaks the light, of any size.",
    "stain": "A spot that does not come off with a dry cloth.",
    "crack": "A dark line with an end inside the part. Always a defect.",
    "missing-feature": "A hole, tooth or print that is not there or not whole.",
}
COLOURS_OF = {
    "scratch": "#d55e00",
    "dent": "#0072b2",
    "stain": "#cc79a7",
    "crack": "#e69f00",
    "missing-feature": "#009e73",
}


def prepared() -> Path:
    """The folder with the parts to be shown and a bundle fitted on others, made at the first call."""
    if not (MADE / "show" / "parts.csv").is_file():
        shutil.rmtree(MADE, ignore_errors=True)
        write_data_set(MADE / "learn", good=LEARNED, per_defect=0, seed=1)
        write_data_set(MADE / "show", good=SHOWN * 5 // 8, per_defect=SHOWN * 3 // 40, seed=2)
    if not (MADE / "bundle").is_dir():
        fit = [sys.executable, "-m", "training.cli", "fit", MADE / "learn", "--out", MADE / "bundle", "--name", "demo"]
        fit += ["--size", "160x160", "--false-reject-rate", "0.05"]
        subprocess.run([str(word) for word in fit], check=True)
    return MADE


def lay_out(parts: Path, folder: Path) -> dict[str, str]:
    """The pictures that the line is shown, named by their part ids, and what each part is."""
    folder.mkdir()
    images = sorted(path for path in parts.glob("*/*.png") if path.parent.name != "ground_truth")
    random.Random(1).shuffle(images)
    truth = {}
    for number, image in enumerate(images, start=1):
        part_id = f"L{412 + number // 60}-{number:05d}"
        shutil.copy(image, folder / f"{part_id}.png")
        truth[part_id] = image.parent.name
    return truth


def earlier() -> Iterator[Inspection]:
    """Ten days before today, two shifts a day; in one of them a lamp failed slowly."""
    draw = random.Random(5)
    begin = (datetime.now().astimezone() - timedelta(days=DAYS)).replace(hour=6, minute=0, second=0, microsecond=0)
    moments = sorted(begin + timedelta(days=number % DAYS, hours=16 * draw.random()) for number in range(EARLIER))
    for number, moment in enumerate(moments, start=1):
        at = moment.astimezone(UTC)
        bad_shift = (moment - begin).days == DAYS - 3 and moment.hour >= 14
        share = 0.028 + 0.004 * math.sin(number / 700) + (0.05 if bad_shift else 0.0)
        chance = draw.random()
        reason = Reason.WITHIN_LIMITS
        if chance < share:
            reason = Reason.SCORE_ABOVE_LIMIT
        elif chance < share + 0.002:
            reason = Reason.IMAGE_BLURRED
        yield _inspection(number, at, reason, draw)


def _inspection(number: int, at: datetime, reason: Reason, draw: random.Random) -> Inspection:
    made = Inspection(
        line=LINE,
        station=STATION,
        camera=CAMERA,
        sequence=number,
        station_sequence=number,
        trigger=number,
        part_id=f"L{300 + number // 400}-{number:05d}",
        verdict=reason.verdict,
        reason=reason,
        detail="",
        score=draw.uniform(1.0, 4.0),
        limit=4.2,
        findings=(),
        recipe=RECIPE,
        bundle="demo-0@5c1e0a77b2d4",
        capture_time=at,
        receive_time=at,
        decide_time=at + timedelta(milliseconds=9),
        latency_ms=9.0,
    )
    if reason is Reason.IMAGE_BLURRED:
        return replace(made, score=None, limit=None)
    if reason is Reason.SCORE_ABOVE_LIMIT:
        kind = draw.choices(CLASSES, (9, 5, 3, 2, 1))[0]
        return replace(made, score=draw.uniform(4.3, 8), findings=(Finding(kind, Box(60, 60, 40, 20), 600.0, 5.0),))
    return made


# Pictures

PAGES = (
    ("line", "/", "anna", ".reject"),
    ("review", "/review", "olga", ".review-verdict"),
    ("label", "/label", "erik", ".label-stage"),
    ("data", "/data", "erik", ".tile"),
    ("train", "/train?job=2", "erik", ".job-detail"),
    ("models", "/models", "anna", ".bundle"),
    ("compare", "/models/compare?id=1", "anna", ".plot"),
    ("reports", "/reports?by=day", "anna", "svg.chart"),
    ("agreement", "/agreement", "anna", ".report-table"),
)
MORE = (
    ("label-part", "/label?part={part}", "erik", ".label-stage"),
    ("alike", "/data?tab=alike", "erik", ".panel-title"),
    ("doubts", "/data?tab=doubts", "erik", "#desk-main"),
    ("sets", "/data?tab=sets", "erik", ".panel"),
    ("snapshots", "/data?tab=snapshots", "erik", ".table"),
    ("trace", "/trace?part={part}", "anna", "table"),
    ("recipes", "/recipes", "erik", "#desk-main .panel"),
    ("audit", "/audit", "erik", "#desk-main table"),
    ("admin", "/admin", "ada", "#desk-main .panel"),
    ("account", "/account", "ada", "#desk-main .panel"),
)
"""Looked at by whoever changes a page; not shown in the README."""
SETTLE_S = 1.5
"""For pictures and charts to be drawn after their frame is there."""


def take(scene: Scene, out: Path, pages: Sequence[tuple[str, str, str, str]]) -> None:
    """Pages in both themes."""
    from playwright.sync_api import TimeoutError as PlaywrightTimeout
    from playwright.sync_api import sync_playwright

    out.mkdir(parents=True, exist_ok=True)
    missing = []
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=BROWSER)
        for theme in ("light", "dark"):
            people = {who: _page(started, scene, who, theme) for who in {page[2] for page in pages}}
            for name, path, who, there in pages:
                people[who].goto(path.format(part=next(iter(scene.truth))))
                try:
                    people[who].locator(there).first.wait_for()
                except PlaywrightTimeout:
                    missing.append(f"{name}-{theme} shows no {there}")
                time.sleep(SETTLE_S)
                (out / f"{name}-{theme}.webp").write_bytes(_small(people[who].screenshot()))
        started.close()
    if missing:
        raise RuntimeError(f"pictures were taken, and not all show what they should: {'; '.join(missing)}")


def _page(browser: Any, scene: Scene, who: str, theme: str) -> Any:
    context = browser.new_context(
        viewport={"width": WIDTH_PX, "height": HEIGHT_PX}, color_scheme=theme, base_url=scene.url
    )
    cookies = scene.client(who).cookies.jar
    context.add_cookies([{"name": one.name, "value": str(one.value), "url": scene.url} for one in cookies])
    return context.new_page()


def _small(png: bytes) -> bytes:
    """The same picture as WebP, a tenth of its size."""
    stream = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").save(stream, "WEBP", quality=82, method=6)
    return stream.getvalue()


if __name__ == "__main__":
    asked = [word for word in sys.argv[1:] if word != "--all"]
    main(Path(asked[0]) if asked else Path("docs/desk"), every="--all" in sys.argv)
