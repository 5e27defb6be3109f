"""What a verdict costs by provider and precision: decode, locate, resize and score, one picture at a time.

    python -m tests.benchmarks.precision BUNDLE [BUNDLE …] [--threads 2] [--rounds 300] [--json FILE]

Give the float32 and the INT8 bundle of one model. Pictures are the bundle's own golden images. Rows take turns of some
verdicts each, so that whatever else the machine does falls on all of them alike; within a turn a row has caches and threads to
itself, as on a line, where one engine runs. A provider that fails the self-test gets no time.
"""

from __future__ import annotations

import argparse
import functools
import json
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from inspector.errors import InspectorError
from inspector.imaging.archive import unarchive
from inspector.imaging.decode import DecodeLimits, decode
from inspector.imaging.locate import locate, location_from_dict
from inspector.imaging.normalise import normalise
from inspector.inference.bundle import Bundle, open_bundle
from inspector.inference.engine import Engine, available_providers
from inspector.models import prove_bundle

_TURN, _SETTLING = 25, 5
"""Verdicts of one row in a row, the first of which do not count: they find the caches and threads of the row before."""


@dataclass(frozen=True)
class Row:
    """Times in ms of one bundle on one provider; `refused` says why there are none."""

    bundle: str
    precision: str
    provider: str
    p50_ms: float = float("nan")
    p95_ms: float = float("nan")
    p50_graph_ms: float = float("nan")
    refused: str = ""


def verdicts(bundle: Bundle, engine: Engine, pictures: Sequence[bytes] = ()) -> list[Callable[[], tuple[float, float]]]:
    """For each picture, or golden image: a function that judges it once and tells when its graph began and when all was done.

    `pictures` are files as a camera sends them.
    """
    location = location_from_dict(bundle.manifest.input.location, bundle.path)
    spec, limits = bundle.manifest.input, DecodeLimits()

    def judge(data: bytes) -> tuple[float, float]:
        image = decode(unarchive(data), limits)
        pixels = normalise(image, locate(image, location), spec.width_px, spec.height_px, spec.channels)
        begin = time.perf_counter()
        engine.infer(pixels[None])
        return begin, time.perf_counter()

    given = pictures or [bundle.read(image.file) for image in bundle.manifest.golden]
    return [functools.partial(judge, data) for data in given]


def measure(
    paths: Sequence[Path], threads: int, rounds: int, pictures: Sequence[bytes] = (), providers: Sequence[str] = ()
) -> list[Row]:
    """One row for each bundle and provider, all there are if none is named, of `pictures` or the bundles' golden images.

    `rounds` verdicts each, made up to whole turns.
    """
    ready, rows = [], []
    for path in paths:
        bundle = open_bundle(path)
        precision = str(bundle.manifest.provenance.get("precision", "fp32"))
        for provider in providers or available_providers():
            try:
                engine, _ = prove_bundle(bundle, provider, threads)
            except InspectorError as error:
                rows.append(Row(bundle.label, precision, provider, refused=str(error).splitlines()[0]))
                continue
            ready.append((Row(bundle.label, precision, provider), verdicts(bundle, engine, pictures)))
    times: list[list[tuple[float, float]]] = [[] for _ in ready]
    counted = _TURN - _SETTLING
    for turn in range(-1, -(-rounds // counted)):
        for (_, judges), kept in zip(ready, times, strict=True):
            first = turn * (_TURN + 1)  # so that other pictures come first, which do not count, whatever their number
            told = [_timed(judges[number % len(judges)]) for number in range(first, first + _TURN)]
            if turn >= 0:
                kept += told[_SETTLING:]
    for (row, _), kept in zip(ready, times, strict=True):
        whole, graph_only = np.array(kept).T
        p50, p95 = map(float, np.percentile(whole, [50, 95]))
        rows.append(Row(row.bundle, row.precision, row.provider, p50, p95, float(np.median(graph_only))))
    return rows


def _timed(judge: Callable[[], tuple[float, float]]) -> tuple[float, float]:
    """Ms of a verdict and of its graph alone."""
    begin = time.perf_counter()
    graph, end = judge()
    return (end - begin) * 1e3, (end - graph) * 1e3


def main() -> None:
    """Measure, print and, if asked, write JSON."""
    parser = argparse.ArgumentParser(description="Latency of a verdict by provider and precision.")
    parser.add_argument("bundles", nargs="+", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = measure(arguments.bundles, arguments.threads, arguments.rounds)
    table = Table("bundle", "precision", "provider", "p50 ms", "p95 ms", "graph p50 ms", "against the first")
    base = next((row.p50_graph_ms for row in rows if not row.refused), float("nan"))
    for row in rows:
        if row.refused:
            table.add_row(row.bundle, row.precision, row.provider, "-", "-", "-", row.refused)
            continue
        figures = [f"{value:.2f}" for value in (row.p50_ms, row.p95_ms, row.p50_graph_ms)]
        table.add_row(row.bundle, row.precision, row.provider, *figures, f"{base / row.p50_graph_ms:.2f} ×")
    Console(width=150).print(table)
    if arguments.json:
        facts = {"machine": platform.processor() or platform.machine(), "threads": arguments.threads}
        arguments.json.write_text(json.dumps({**facts, "rows": [asdict(row) for row in rows]}, indent=1))


if __name__ == "__main__":
    main()
