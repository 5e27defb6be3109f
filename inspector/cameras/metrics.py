"""What Prometheus reads of the camera program, put together from the accounts of its cameras when it asks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from inspector import __version__
from inspector.cameras.account import Account

_COUNTERS = (
    ("frames", "taken", "Frames taken from the source."),
    ("frame_bytes", "taken_bytes", "Bytes of those frames."),
    ("lost_parts", "lost", "Parts announced without a frame: packets lost, no exposure, the camera away."),
    ("crowded_out_frames", "crowded_out", "Frames not sent because the service was slower than the camera."),
    ("unanswered_parts", "unanswered", "Parts that the service will never tell of."),
    ("source_faults", "faults", "Times that the source failed and was opened anew."),
    ("reconnects", "reconnects", "Times that the stream to the service was made anew."),
)
_QUANTILES = (0.5, 0.99)


class CameraCollector(Collector):
    """Gives Prometheus what it asks for. Names follow its conventions: base units, `_total` for what only grows."""

    def __init__(self, line: str, accounts: Sequence[Account]) -> None:
        self._line = line
        self._accounts = accounts

    def describe(self) -> list[Metric]:
        """Nothing ahead of time, so that registering does not collect."""
        return []

    def collect(self) -> Iterator[Metric]:
        labels = ["line", "camera"]
        about = GaugeMetricFamily("inspector_camera_build_info", "Version of the program.", labels=["line", "version"])
        about.add_metric([self._line, __version__], 1)
        yield about
        for name, field, help_text in _COUNTERS:
            counter = CounterMetricFamily(f"inspector_camera_{name}", help_text, labels=labels)
            for account in self._accounts:
                counter.add_metric([self._line, account.camera], getattr(account, field))
            yield counter
        verdicts = CounterMetricFamily(
            "inspector_camera_verdicts", "What the service said of its parts.", labels=[*labels, "reason"]
        )
        streams = GaugeMetricFamily("inspector_camera_streaming", "1 while frames can flow, else 0.", labels=labels)
        waiting = GaugeMetricFamily("inspector_camera_waiting_parts", "Parts without an answer so far.", labels=labels)
        error = GaugeMetricFamily(
            "inspector_camera_clock_uncertainty_seconds", "Within what the capture times are right.", labels=labels
        )
        latency = GaugeMetricFamily(
            "inspector_camera_latency_seconds",
            "From showing a part to having its verdict, of the last parts.",
            labels=[*labels, "quantile"],
        )
        for account in self._accounts:
            of = [self._line, account.camera]
            with account.lock:
                reasons = sorted(account.reasons.items())
            for reason, count in reasons:
                verdicts.add_metric([*of, reason], count)
            streams.add_metric(of, account.state == "streams")
            waiting.add_metric(of, account.waiting)
            if account.uncertainty_ms is not None:
                error.add_metric(of, account.uncertainty_ms / 1000)
            for share in _QUANTILES:
                if not math.isnan(at_ms := account.percentile_ms(share)):
                    latency.add_metric([*of, f"{share:g}"], at_ms / 1000)
        yield from (verdicts, streams, waiting, error, latency)
