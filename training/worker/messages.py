"""What a child tells its worker, one JSON object a line, and how it is gathered on either side."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from inspector.records.job import News, Point

TOLD_EVERY_S = 0.2
_MOST_POINTS = 2000
"""Points that wait to be told; a flood of them drops the oldest."""


class Teller:
    """The child's side: is the `Progress` that the work reports to, and draws curves."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._stage, self._told = "", -math.inf
        self._runs: dict[str, tuple[int, int]] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        now = self._clock()
        if stage != self._stage or done >= total or now - self._told >= TOLD_EVERY_S:
            self._stage, self._told = stage, now
            self._send({"stage": stage, "done": done, "total": total})

    def point(self, curve: str, step: int, value: float) -> None:
        """A value of a curve. One that begins anew belongs to another fit, such as those of cross-fitting."""
        last, run = self._runs.get(curve, (0, 1))
        run += step <= last
        self._runs[curve] = step, run
        self._send({"curve": curve if run == 1 else f"{curve}, fit {run}", "step": step, "value": value})

    def say(self, text: str) -> None:
        """A line of the log."""
        self._send({"log": text})

    def result(self, values: Mapping[str, Any]) -> None:
        """The end: it is done."""
        self._send({"result": dict(values)})

    def error(self, text: str) -> None:
        """The end: it cannot be done."""
        self._send({"error": text})

    def _send(self, message: Mapping[str, Any]) -> None:
        self._stream.write(json.dumps(message) + "\n")
        self._stream.flush()


class Gathered:
    """The worker's side: what a child has told since the worker last told the database. Not thread-safe."""

    def __init__(self) -> None:
        self.result: dict[str, Any] | None = None
        self.error = ""
        self._stage: tuple[str, int, int] = ("", 0, 0)
        self._points: list[Point] = []
        self._lines: list[str] = []

    def hear(self, line: str) -> None:
        """A line of the child; one that is no message is kept as log."""
        try:
            message = json.loads(line)
            if not isinstance(message, dict):
                raise ValueError
            self._take(message)
        except (ValueError, KeyError, TypeError):
            self.note(line)

    def note(self, text: str) -> None:
        """A line for the log."""
        if text.strip():
            self._lines.append(text.rstrip())

    def news(self) -> News:
        """What there is to tell; the next has what comes after it."""
        told = News(*self._stage, tuple(self._points), tuple(self._lines))
        self._points, self._lines = [], []
        return told

    def _take(self, message: dict[str, Any]) -> None:
        if "stage" in message:
            stage, done, total = str(message["stage"]), int(message["done"]), int(message["total"])
            if stage != self._stage[0]:
                self._lines.append(stage)
            self._stage = stage, done, total
        elif "curve" in message:
            self._points.append(Point(str(message["curve"]), int(message["step"]), float(message["value"])))
            del self._points[:-_MOST_POINTS]
        elif "log" in message:
            self.note(str(message["log"]))
        elif "result" in message:
            self.result = dict(message["result"])
        else:
            self.error = str(message["error"])
