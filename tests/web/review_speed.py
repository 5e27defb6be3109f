"""How fast a person reviews by keyboard: 1,000 parts in a real browser, as fast as the next picture is there.

    python tests/web/review_speed.py [PARTS] [WIDTHxHEIGHT]

Prints reviews a minute and how long the next picture took, from the key to the drawn canvas. Each key is pressed a moment
after the picture is drawn, as somebody does who sees at once what it is.
"""

from __future__ import annotations

import io
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "records"), str(TESTS / "web"), str(TESTS.parent)]

import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402
from playwright.sync_api import sync_playwright  # noqa: E402
from record_samples import inspection  # noqa: E402
from requires import require_tool  # noqa: E402
from web_desk import LINE, STATION, WebDesk, prepare, serving  # noqa: E402

from inspector.imaging.archive import heat_map_png  # noqa: E402
from inspector.part import Box, ImageKind, Reason  # noqa: E402
from inspector.records.entries import Evidence, Settled  # noqa: E402

LOOK_S = 0.3
BROWSER_OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]


def seed(desk: WebDesk, count: int, size: tuple[int, int]) -> None:
    """`count` rejects with pictures of that size and heat maps, all different."""
    width, height = size
    random = np.random.default_rng(7)
    ground = random.normal(120, 14, (height, width))
    entries: list[object] = []
    for number in range(1001, 1001 + count):
        x, y = int(random.integers(0, width - 60)), int(random.integers(0, height - 20))
        pixels = ground.copy()
        pixels[y : y + 12, x : x + 50] = 235
        stream = io.BytesIO()
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(stream, "PNG", compress_level=1)
        anomaly = np.full((height // 16, width // 16), 0.1, np.float32)
        anomaly[y // 16 : y // 16 + 2, x // 16 : x // 16 + 4] = 0.9
        heat = heat_map_png(anomaly, 0.5, Box(0, 0, width, height), size)
        kept = (
            desk.images.put(stream.getvalue(), ImageKind.FRAME, "image/png"),
            desk.images.put(heat, ImageKind.HEAT_MAP, "image/png"),
        )
        at = datetime.now(UTC) - timedelta(seconds=2000 - number)
        seen = inspection(number, Reason.SCORE_ABOVE_LIMIT, line=LINE, station=STATION, receive_time=at, decide_time=at)
        seen = replace(seen, score=0.5 + float(random.uniform(0, 0.4)))
        entries += [Settled(seen, evidence_expected=True), Evidence(number, kept, at)]
        if len(entries) >= 200:
            desk.store.apply(LINE, entries)  # type: ignore[arg-type]
            entries.clear()
    if entries:
        desk.store.apply(LINE, entries)  # type: ignore[arg-type]


def measure(desk: WebDesk, count: int) -> tuple[float, list[float]]:
    """Reviews a minute, and the milliseconds to each next picture."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=require_tool("chromium"), args=BROWSER_OPTIONS)
        context = browser.new_context(viewport={"width": 1366, "height": 768}, base_url=desk.url)
        (session,) = list(desk.client("otto").cookies.jar)
        context.add_cookies([{"name": session.name, "value": session.value or "", "url": desk.url}])
        page = context.new_page()
        page.goto("/review")
        page.wait_for_function("window.review?.state && review.state().loaded", timeout=30_000)
        began = time.monotonic()
        for number in range(count):
            time.sleep(LOOK_S)
            page.keyboard.press("01x1"[number % 4])
            page.wait_for_function(f"review.times.length > {number} || !review.state().shown", timeout=30_000)
        minutes = (time.monotonic() - began) / 60
        page.wait_for_function("review.state().unsent === 0", timeout=30_000)
        times: list[float] = page.evaluate("review.times")
        browser.close()
        return count / minutes, times


def main() -> None:
    """Seed, measure, print."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    size = tuple(int(side) for side in (sys.argv[2] if len(sys.argv) > 2 else "1600x1200").split("x"))
    reviewed = int(sys.argv[3]) if len(sys.argv) > 3 else count
    with tempfile.TemporaryDirectory() as folder:
        desk = prepare(Path(folder), 8)
        seed(desk, count, size)  # type: ignore[arg-type]
        with serving(desk):
            rate, times = measure(desk, reviewed)
    ordered = sorted(times)
    print(
        f"{count} parts of {size[0]} × {size[1]} px: {rate:.0f} reviews a minute with {LOOK_S * 1000:.0f} ms to look; next "
        f"picture after {statistics.median(times):.0f} ms (p95 {ordered[int(len(ordered) * 0.95)]:.0f}, most {ordered[-1]:.0f})"
    )


if __name__ == "__main__":
    main()
