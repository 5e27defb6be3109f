"""Metrics of a real line: what Prometheus' own checker reads, and who may read it."""

from __future__ import annotations

import http.client
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from plant import plant_in
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from requires import require_tool
from rpc_line import wait_for
from test_service import stream

from inspector.access.certificates import Issued
from inspector.access.tls import TlsFiles
from inspector.errors import ConfigError
from inspector.service import run_service
from inspector.settings import LineSettings
from inspector.telemetry.server import MAX_CONNECTIONS, MetricsServer

DEPLOY = Path(__file__).parents[2] / "deploy"


def fetch(port: int, path: str = "/metrics", method: str = "GET") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path)
    response = connection.getresponse()
    found = response.status, response.read().decode()
    connection.close()
    return found


def values(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    families = text_string_to_metric_families(text)
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


@pytest.fixture
def judged(settings: LineSettings) -> str:
    """Metrics of a line that judged a good part, a bad one, and was not shown the third."""
    with run_service(settings):
        stream(settings, [(1, 20, "A"), (2, 240, "B"), (4, 20, "D")])
        assert settings.metrics_listen is not None
        status, text = fetch(settings.metrics_listen.port)
    assert status == 200
    return text


def test_every_verdict_and_stage_is_counted(judged: str) -> None:
    found = values(judged)

    def value(name: str, **labels: str) -> float:
        return found[name, frozenset({"line": "l1", **labels}.items())]

    for verdict, reason, count in (
        ("PASS", "WITHIN_LIMITS", 2),
        ("REJECT", "SCORE_ABOVE_LIMIT", 1),
        ("UNKNOWN", "TRIGGER_GAP", 1),
    ):
        assert value("inspector_inspections_total", station="s1", verdict=verdict, reason=reason) == count
    assert value("inspector_stage_seconds_count", station="s1", stage="total") == 4
    stages = {stage: value("inspector_stage_seconds_sum", station="s1", stage=stage) for stage in ("prepare", "model")}
    assert value("inspector_stage_seconds_count", station="s1", stage="prepare") == 3
    assert 0 < sum(stages.values()) <= value("inspector_stage_seconds_sum", station="s1", stage="total")
    assert value("inspector_deadline_margin_seconds_count", station="s1") == 3
    assert 0 < value("inspector_deadline_margin_seconds_sum", station="s1") < 15
    assert value("inspector_station_ready", station="s1") == 1
    assert value("inspector_parts_in_flight", station="s1") == 0
    assert value("inspector_model_parts_total", recipe="toy", outcome="scored") == 3
    assert value("inspector_heartbeats_total") > 0
    assert any(name == "inspector_bundle_info" and ("provider", "CPU") in labels for name, labels in found)


def test_promtool_finds_nothing_to_say_of_them(judged: str) -> None:
    checked = subprocess.run(
        [require_tool("promtool"), "check", "metrics"], input=judged, capture_output=True, text=True, timeout=30
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_the_buckets_of_a_histogram_only_grow(judged: str) -> None:
    found = {
        float(dict(labels)["le"]): count
        for (name, labels), count in values(judged).items()
        if name == "inspector_stage_seconds_bucket" and ("stage", "total") in labels
    }
    counts = [found[bound] for bound in sorted(found)]
    assert counts == sorted(counts)
    assert counts[-1] == found[float("inf")] == 4


def test_promtool_accepts_the_alert_rules_and_their_tests() -> None:
    promtool = require_tool("promtool")
    for words in (("check", "rules", "alerts.yml"), ("test", "rules", "alerts.test.yml")):
        run = subprocess.run([promtool, *words], cwd=DEPLOY / "prometheus", capture_output=True, text=True, timeout=60)
        assert run.returncode == 0, run.stdout + run.stderr


class TestServer:
    """The port that Prometheus reads."""

    @pytest.fixture
    def server(self) -> Iterator[MetricsServer]:
        made = MetricsServer("127.0.0.1", 0, CollectorRegistry())
        made.start()
        yield made
        made.stop()

    @pytest.mark.parametrize(
        ("path", "method", "status"),
        [
            pytest.param("/metrics", "GET", 200, id="what it is for"),
            pytest.param("/metrics?name[]=x", "GET", 200, id="with a query"),
            pytest.param("/", "GET", 404, id="another path"),
            pytest.param("/../../etc/passwd", "GET", 404, id="a path upwards"),
            pytest.param("/metrics", "POST", 501, id="another method"),
            pytest.param("/" + "x" * 70_000, "GET", 414, id="an endless path"),
        ],
    )
    def test_only_metrics_are_served(self, server: MetricsServer, path: str, method: str, status: int) -> None:
        assert fetch(server.port, path, method)[0] == status

    @pytest.mark.parametrize(
        "garbage", [b"\x16\x03\x01\x02\x00", b"\0" * 5000, b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b""]
    )
    def test_garbage_hurts_nobody(self, server: MetricsServer, garbage: bytes) -> None:
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
            client.sendall(garbage)
        assert fetch(server.port)[0] == 200

    def test_the_log_says_who_sends_garbage_on_one_line(
        self, server: MetricsServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        with socket.create_connection(("127.0.0.1", server.port), source_address=("127.0.0.66", 0)) as client:
            client.sendall(b"GET /\x1b[2J\xff HTTP/9.9\r\n\r\n")
            while client.recv(4096):
                pass
        wait_for(lambda: bool(caplog.messages), "the log")
        assert "127.0.0.66: a metrics request was refused" in caplog.messages[0]
        assert caplog.messages[0].isascii()
        assert caplog.messages[0].isprintable()

    def test_clients_that_say_nothing_cannot_take_every_place_for_ever(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("inspector.telemetry.server.PATIENCE_S", 0.2)
        monkeypatch.setattr("inspector.telemetry.server._Handler.timeout", 0.2)
        server = MetricsServer("127.0.0.1", 0, CollectorRegistry())
        server.start()
        silent = [socket.create_connection(("127.0.0.1", server.port), timeout=10) for _ in range(2 * MAX_CONNECTIONS)]

        def answered() -> bool:
            try:
                return fetch(server.port)[0] == 200
            except (OSError, http.client.HTTPException):
                return False

        wait_for(answered, "an answer beside silent clients")
        for client in silent:
            client.close()
        server.stop()

    @pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.1", "", "inspector.local"])
    def test_beyond_this_machine_it_needs_certificates(self, host: str) -> None:
        with pytest.raises(ConfigError, match=r"\[grpc\.tls\]"):
            MetricsServer(host, 0, CollectorRegistry())

    def test_a_port_that_is_taken_is_told(self, server: MetricsServer) -> None:
        with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(ConfigError, match="cannot be served on"):
            MetricsServer("127.0.0.1", other.getsockname()[1], CollectorRegistry())

    def test_with_certificates_only_clients_of_the_plant_read(self, tmp_path: Path) -> None:
        plant, stranger = plant_in(tmp_path / "plant"), plant_in(tmp_path / "other")
        tls = TlsFiles(plant.paths)
        refused: list[tuple[str, ...]] = []
        server = MetricsServer("127.0.0.1", 0, CollectorRegistry(), tls, lambda *about: refused.append(about))
        server.start()

        def status(issued: Issued | None) -> int:
            context = ssl.create_default_context(cafile=str(plant.ca))
            if issued is not None:
                context.load_cert_chain(issued.certificate, issued.key)
            connection = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=10, context=context)
            try:
                connection.request("GET", "/metrics")
                return connection.getresponse().status
            except (OSError, http.client.HTTPException):
                return 0
            finally:
                connection.close()

        try:
            viewer = plant.user("prometheus")
            assert status(viewer) == 200
            assert status(None) == 0
            assert status(stranger.user("prometheus")) == 0
            assert status(plant.camera("cell", "cam1")) == 0
            assert "has no role" in refused[-1][3]
            plant.authority.renew(plant.server.certificate)
            tls.look()
            assert status(viewer) == 200
            plant.authority.revoke(viewer.certificate)
            tls.look()
            assert status(viewer) == 0
        finally:
            server.stop()
