"""The web desk on 200,000 inspections and 20,000 pictures, on SQLite and PostgreSQL, and what its use costs the line."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import sqlalchemy as sa

from inspector.part import PixelFormat
from inspector.records.images import ImageStore
from inspector.records.set_tables import picture_descriptors
from inspector.records.store import Store
from inspector.sim.demo.processes import free_ports
from tests.benchmarks.line import Camera, service
from tests.benchmarks.model import BenchModel, jpeg_tile
from tests.benchmarks.rows import Row, below, percentile
from tests.benchmarks.web_data import PASSWORD, USERS, fill, image_folder
from tests.benchmarks.web_desk import desk, users

sys.path.insert(0, str(Path(__file__).parents[1]))  # the tests' helpers import each other by plain names

from postgres import postgres_server
from requires import require_tool

_LOOKS, _SEARCHES, _REVIEWS = 5, 20, 60
_PART_S = 0.05
"""A part every 50 ms, as on a line that the machine carries easily."""
_BROWSER = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
_SHOWN = "() => (document.querySelector('#desk-main')?.innerText ?? '').trim().length > 20"


def measure(model: BenchModel, folder: Path, quick: bool) -> Iterator[Row]:
    """Everything on either database. `quick` has a twentieth of the rows and pictures."""
    yield from _on("SQLite", "", model, folder / "web-sqlite", quick)
    with postgres_server() as server:
        yield from _on("PostgreSQL", server.create(), model, folder / "web-postgres", quick)


def _on(name: str, database: str, model: BenchModel, folder: Path, quick: bool) -> Iterator[Row]:
    count, pictured = (10_000, 1_000) if quick else (200_000, 20_000)
    url = database or f"sqlite:///{folder / 'quality.db'}"
    folder.mkdir(parents=True)
    store = Store(url)
    store.upgrade()
    begin = time.perf_counter()
    fill(store, ImageStore(image_folder(folder)), count, pictured)
    filled_s = time.perf_counter() - begin
    store_ids = _picture_ids(store)
    store.close()
    rows = f"{name}, {count:,} inspections"
    yield Row(f"{rows}: filled with {pictured:,} pictures", filled_s, "s")
    (port,) = free_ports(1)
    web = f'[web]\nlisten = "127.0.0.1:{port}"\nlot_pattern = "^L[0-9]+"\n'
    with service(folder, model.bundle.path, cameras=1, database=url, extra=web) as line:
        with desk(folder, port) as address:
            yield from _pages(rows, address)
            yield from _similar(rows, address, store_ids)
            yield from _review(rows, address)
        yield from _line_and_users(rows, folder, port, line.target, quick)


def _client(address: str, name: str = USERS[0]) -> httpx.Client:
    client = httpx.Client(base_url=address, headers={"Origin": address}, timeout=60, trust_env=False)
    client.post("/login", data={"name": name, "password": PASSWORD})
    return client


# Pages


def _pages(rows: str, address: str) -> Iterator[Row]:
    """First content of every page in a browser, each looked at a few times; the slowest look counts."""
    from inspector.web.pages import PAGES

    with _browser(address) as page:
        page.goto("/")
        for one in PAGES:
            if not one.in_menu or one.role.value > 3:
                continue
            times = [_first_content(page, one.path) for _ in range(_LOOKS)]
            name = f"{rows}: first content of {one.title}"
            note = f"median {statistics.median(times):.0f} ms; slowest of {_LOOKS}"
            yield below(name, max(times), "ms", 1000, _LOOKS, note=note)


def _first_content(page: Any, path: str) -> float:
    begin = time.perf_counter()
    page.goto(path, wait_until="commit")
    page.wait_for_function(_SHOWN)
    return (time.perf_counter() - begin) * 1000


@contextmanager
def _browser(address: str) -> Iterator[Any]:
    """A page of Debian's chromium, logged in."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=require_tool("chromium"), args=_BROWSER)
        context = started.new_context(viewport={"width": 1366, "height": 768}, base_url=address)
        client = _client(address)
        context.add_cookies([{"name": c.name, "value": str(c.value), "url": address} for c in client.cookies.jar])
        yield context.new_page()
        started.close()


def _picture_ids(store: Store) -> list[int]:
    """A few pictures to ask for others like them."""
    with store.database.reading() as connection:
        ids = list(connection.execute(sa.select(picture_descriptors.c.picture_id)).scalars())
    return ids[:: max(1, len(ids) // _SEARCHES)][:_SEARCHES]


def _similar(rows: str, address: str, ids: Sequence[int]) -> Iterator[Row]:
    """Pictures like a picture, among all; the first search also reads all descriptions into memory."""
    client = _client(address)
    times = []
    for number in ids:
        begin = time.perf_counter()
        client.get(f"/api/v1/image-sets/like/{number}").raise_for_status()
        times.append((time.perf_counter() - begin) * 1000)
    note = f"median {statistics.median(times):.0f} ms, the first {times[0]:.0f} ms; slowest counts"
    yield below(f"{rows}: pictures like one", max(times), "ms", 1000, len(times), note=note)


def _review(rows: str, address: str) -> Iterator[Row]:
    """From a key to the next part's picture on the screen, at a pace of two parts a second."""
    with _browser(address) as page:
        page.goto("/review")
        page.wait_for_function("window.review && review.state().loaded")
        for _ in range(_REVIEWS):
            at = page.evaluate("review.state().at")
            page.keyboard.press("0")
            page.wait_for_function(f"review.state().at !== {at} && review.state().loaded")
            time.sleep(0.5)
        times = page.evaluate("review.times")
    note = f"median {statistics.median(times):.0f} ms; from the key to the picture drawn"
    yield below(f"{rows}: review's next image, p95", percentile(times, 95), "ms", 150, len(times), note=note)


# The line


def _line_and_users(rows: str, folder: Path, port: int, target: str, quick: bool) -> Iterator[Row]:
    """The line's latency with ten people at the desk and with the desk stopped, in turns."""
    camera = Camera(target)
    tiles = [jpeg_tile(number) for number in range(16)]
    parts = 60 if quick else 200
    alone: list[float] = []
    used: list[float] = []
    asked: list[tuple[str, float, int]] = []
    _stream(camera, tiles, 40)
    for _ in range(2 if quick else 6):
        alone += _stream(camera, tiles, parts)
        with desk(folder, port) as address, users(address) as browse:
            asked += browse(lambda: used.extend(_stream(camera, tiles, parts)))
    camera.close()
    failed = [path for path, _, status in asked if status != 200]
    if failed:
        raise RuntimeError(f"{len(failed)} pages failed, such as {failed[0]}")
    taken = [took for _, took, _ in asked]
    note = f"{len(USERS)} people, a page every 2 s each; median {statistics.median(taken):.0f} ms"
    yield below(f"{rows}: pages of ten users at once, p95", percentile(taken, 95), "ms", 1000, len(taken), note=note)
    before, after = percentile(alone, 99), percentile(used, 99)
    yield Row(f"{rows}: line's p99 without the desk", before, "ms", samples=len(alone))
    yield Row(f"{rows}: line's p99 with ten users", after, "ms", samples=len(used))
    more = 100 * (after / before - 1)
    yield below(f"{rows}: the line's p99 changes by", more, "%", 10, len(used))


def _stream(camera: Camera, tiles: Sequence[bytes], parts: int) -> list[float]:
    """Milliseconds from sending a part to having its verdict, a part every 50 ms."""
    times = []
    due = time.perf_counter()
    for number in range(parts):
        due += _PART_S
        time.sleep(max(0.0, due - time.perf_counter()))
        begin = time.perf_counter()
        camera.send(tiles[number % len(tiles)], PixelFormat.JPEG)
        camera.receive()
        times.append((time.perf_counter() - begin) * 1000)
    return times
