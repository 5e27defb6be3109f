"""The dashboard and the alert rules: read by Grafana's own types, and asked of a real Prometheus that scrapes a real line."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from requires import require_tool
from rpc_line import wait_for
from test_service import free_port, stream

from inspector.service import run_service
from inspector.settings import LineSettings

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARD = DEPLOY / "grafana" / "lines.json"
RULES = DEPLOY / "prometheus" / "alerts.yml"
CHOSEN = {"$line": ".*", "$station": ".*", "$__rate_interval": "1m"}
"""What Grafana puts in place of the dashboard's variables, everything chosen."""
WITH_A_REFERENCE = ("inspector_camera_alarm", "inspector_camera_change")
"""Measured for a commissioned camera only; tests/test_watching.py has one."""


def ask(port: int, expression: str) -> list[dict[str, Any]]:
    """The series that Prometheus answers with; urllib.error.HTTPError if it does not understand."""
    words = urllib.parse.urlencode({"query": expression})
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/query?{words}", timeout=10) as response:
        found: list[dict[str, Any]] = json.load(response)["data"]["result"]
    return found


def asked_for() -> list[tuple[str, str]]:
    """Where something is asked, and the query as Prometheus gets it."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    variables = re.compile("|".join(map(re.escape, CHOSEN)))
    return [
        (panel["title"], variables.sub(lambda at: CHOSEN[at[0]], target["expr"]))
        for panel in panels
        for target in panel["targets"]
    ]


@pytest.fixture
def prometheus(settings: LineSettings, tmp_path: Path) -> Iterator[int]:
    """Port of a Prometheus that reads the line's metrics every second and knows the alert rules."""
    assert settings.metrics_listen is not None
    port = free_port()
    (tmp_path / "prometheus.yml").write_text(
        json.dumps(
            {
                "global": {"scrape_interval": "1s"},
                "rule_files": [str(RULES)],
                "scrape_configs": [
                    {
                        "job_name": "inspector",
                        "static_configs": [{"targets": [f"127.0.0.1:{settings.metrics_listen.port}"]}],
                    }
                ],
            }
        )
    )
    command = [
        require_tool("prometheus"),
        f"--config.file={tmp_path / 'prometheus.yml'}",
        f"--storage.tsdb.path={tmp_path / 'prometheus'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (
        (tmp_path / "prometheus.log").open("w") as log,
        subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=subprocess.STDOUT) as process,
    ):
        try:
            yield port
        finally:
            process.terminate()


def answers(port: int, expression: str) -> list[dict[str, Any]]:
    """As `ask`, none while Prometheus does not listen yet."""
    try:
        return ask(port, expression)
    except ConnectionError:
        return []
    except urllib.error.URLError as error:
        if isinstance(error.reason, ConnectionError):
            return []
        raise


def test_every_panel_and_alert_finds_what_it_asks_of_a_prometheus(settings: LineSettings, prometheus: int) -> None:
    asked = asked_for()
    assert len(asked) > 20
    asked += [("alerts", name) for name in re.findall(r"\binspector_[a-z_]+", RULES.read_text())]
    # The first part with its reason counts too: its series was there, at zero, before it.
    asked.append(("a gap", 'increase(inspector_inspections_total{reason="TRIGGER_GAP"}[1m]) > 0'))

    def found(expression: str) -> bool:
        return bool(answers(prometheus, expression))

    with run_service(settings):
        wait_for(partial(found, "inspector_build_info"), "a first scrape", 60)
        stream(settings, [(1, 20, "A"), (2, 240, "B"), (4, 20, "D")])  # good, bad, one not shown, good
        for where, expression in asked:
            if expression not in WITH_A_REFERENCE:
                wait_for(partial(found, expression), f"{where}: {expression}", 60)


def test_grafana_s_own_types_read_the_dashboard_and_write_the_same() -> None:
    register_default_plugins()
    raw = json.loads(DASHBOARD.read_text())
    written = json.loads(JSONEncoder().encode(Dashboard.from_json(raw)))
    assert _missing(raw, written, "") == []


def _missing(raw: Any, written: Any, where: str) -> list[str]:
    """Where the file says something that did not survive."""
    if isinstance(raw, dict) and isinstance(written, dict):
        return [one for key in raw for one in _missing(raw[key], written.get(key), f"{where}/{key}")]
    if isinstance(raw, list) and isinstance(written, list) and len(raw) == len(written):
        return [
            one for at, (a, b) in enumerate(zip(raw, written, strict=True)) for one in _missing(a, b, f"{where}/{at}")
        ]
    return [] if raw == written else [where]


def test_panels_lie_beside_each_other_on_the_grid_of_24_columns() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24, panel["title"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
