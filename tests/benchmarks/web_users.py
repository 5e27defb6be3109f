"""Ten people at the desk, in a process of their own: `python -m tests.benchmarks.web_users URL`.

Each opens a page, looks at it for a while, and opens the next, as people do. "go" on standard input lets them begin, "stop"
ends them; what every request took is written as JSON.
"""

from __future__ import annotations

import itertools
import json
import sys
import threading
import time

import httpx

from tests.benchmarks.web_data import PASSWORD, USERS

THINK_S = 2.0
"""What a person takes between two pages, on average."""


def main(url: str, paths: list[str]) -> None:
    """Wait to be told to go, browse until told to stop."""
    clients = [_logged_in(url, name) for name in USERS]
    print("ready", flush=True)
    for line in sys.stdin:
        if line.strip() != "go":
            continue
        stop = threading.Event()
        took: list[tuple[str, float, int]] = []
        threads = [
            threading.Thread(
                target=_browse, args=(client, paths[n % len(paths) :] + paths[: n % len(paths)], n, stop, took)
            )
            for n, client in enumerate(clients)
        ]
        for thread in threads:
            thread.start()
        sys.stdin.readline()
        stop.set()
        for thread in threads:
            thread.join()
        print(json.dumps(took), flush=True)


def _logged_in(url: str, name: str) -> httpx.Client:
    client = httpx.Client(base_url=url, headers={"Origin": url}, timeout=60, trust_env=False)
    answer = client.post("/login", data={"name": name, "password": PASSWORD})
    if answer.status_code != 303:
        raise RuntimeError(f"{name} could not log in: {answer.status_code} {answer.text[:300]}")
    return client


def _browse(
    client: httpx.Client, paths: list[str], number: int, stop: threading.Event, took: list[tuple[str, float, int]]
) -> None:
    # Not all in step.
    if stop.wait(THINK_S * number / len(USERS)):
        return
    for path in itertools.cycle(paths):
        begin = time.perf_counter()
        try:
            status = client.get(path).status_code
        except httpx.TransportError:  # a browser would open another connection, and people try again
            status = 0
        took.append((path, (time.perf_counter() - begin) * 1000, status))
        if stop.wait(THINK_S):
            return


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
