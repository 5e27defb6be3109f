"""What the documents say is what the code does."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from inspector.cli import app
from inspector.decision.dimensions import DimensionLimit, Dimensions, Zone
from inspector.part import Reason
from inspector.settings import (
    CAMERA_TABLES,
    CheckTable,
    GrpcTable,
    GrpcTlsTable,
    InferenceTable,
    LineTable,
    MetricsTable,
    ModbusTable,
    OpcUaTable,
    RecipeTable,
    RecordsTable,
    RegionTable,
    StationTable,
    WebOidcTable,
    WebTable,
)
from inspector.signalling.registers import (
    ANSWER_ADDRESS,
    ANSWER_BLOCK,
    CONTROL_ADDRESS,
    CONTROL_BLOCK,
    RING_ENTRY,
    STATION_BLOCK,
    register_table,
)
from training.cli import app as training_app

ROOT = Path(__file__).parents[2]
PACKAGE_DATA = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"][
    "package-data"
]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands(group: typer.Typer, prefix: str) -> list[str]:
    """Every command line of a typer application, without options."""
    own = [
        f"{prefix} {c.name or c.callback.__name__.replace('_', '-')}" for c in group.registered_commands if c.callback
    ]
    below = [
        name
        for g in group.registered_groups
        if g.typer_instance
        for name in commands(g.typer_instance, f"{prefix} {g.name}")
    ]
    return own + below


@pytest.mark.parametrize("command", commands(app, "inspector"))
def test_every_command_is_in_the_readme(command: str) -> None:
    assert command in README


def test_the_torch_that_the_readme_installs_is_the_pinned_one() -> None:
    (shown,) = re.findall(r"venv && \.venv/bin/pip install (torch==\S+)", README)
    assert shown in (ROOT / "constraints.txt").read_text(encoding="utf-8").split()


@pytest.mark.parametrize("command", re.findall(r"inspector-train (\S+) ([^#\n]*)", README), ids=lambda found: found[0])
def test_every_training_option_in_the_readme_exists(command: tuple[str, str]) -> None:
    help_text = CliRunner().invoke(training_app, [command[0], "--help"], env={"COLUMNS": "200"}).output
    for option in re.findall(r"--[a-z-]+", command[1].split("`")[0]):
        assert option in help_text


def test_the_readme_evaluates_on_images_that_were_not_fitted_on() -> None:
    assert re.search(r"inspector-train fit .*--split-out (\S+).*\n.*inspector-train evaluate .*--split \1\b", README)


@pytest.mark.parametrize(("package", "pattern"), [(p, g) for p, globs in PACKAGE_DATA.items() for g in globs])
def test_every_pattern_of_package_data_matches_a_file(package: str, pattern: str) -> None:
    assert list((ROOT / package).glob(pattern))


@pytest.mark.parametrize("package", ["inspector", "training"])
def test_every_package_ships_its_types(package: str) -> None:
    assert "py.typed" in PACKAGE_DATA[package]


@pytest.mark.parametrize(
    ("block", "start"),
    [
        pytest.param(STATION_BLOCK, 0, id="station"),
        pytest.param(RING_ENTRY, 0, id="ring"),
        pytest.param(CONTROL_BLOCK, CONTROL_ADDRESS, id="commands"),
        pytest.param(ANSWER_BLOCK, ANSWER_ADDRESS, id="answers"),
    ],
)
def test_the_register_map_in_the_readme_is_that_of_the_code(block: tuple[object, ...], start: int) -> None:
    assert register_table(block, start) in README  # type: ignore[arg-type]


@pytest.mark.parametrize("reason", list(Reason), ids=lambda reason: reason.name)
def test_every_reason_is_in_the_readme_with_number_and_verdict(reason: Reason) -> None:
    assert f"| {int(reason)} | {reason.name} | {reason.verdict.name} |" in README


@pytest.mark.parametrize(
    "room", sorted(f"inspector/{p.name}/" for p in (ROOT / "inspector").iterdir() if (p / "__init__.py").exists())
)
def test_every_room_is_in_the_room_map(room: str) -> None:
    assert f"`{room}`" in README


@pytest.mark.parametrize(
    "table",
    [
        LineTable,
        GrpcTable,
        GrpcTlsTable,
        MetricsTable,
        ModbusTable,
        OpcUaTable,
        RecordsTable,
        InferenceTable,
        StationTable,
        RecipeTable,
        CheckTable,
        RegionTable,
        *CAMERA_TABLES.values(),
        WebTable,
        WebOidcTable,
    ],
    ids=lambda table: table.__name__,
)
def test_the_example_line_file_shows_every_key(table: type) -> None:
    example = (ROOT / "deploy" / "line.example.toml").read_text(encoding="utf-8")
    for key in table.model_fields:  # type: ignore[attr-defined]
        assert re.search(rf"^#? ?(\[(recipe\.tiles|grpc|camera\.cam1|web)\.)?{key}\b", example, re.MULTILINE), key


@pytest.mark.parametrize("table", [Dimensions, DimensionLimit, Zone], ids=lambda table: table.__name__)
def test_the_example_line_file_shows_every_key_of_a_dimension(table: type) -> None:
    example = (ROOT / "deploy" / "line.example.toml").read_text(encoding="utf-8")
    for field in dataclasses.fields(table):
        assert re.search(rf"(recipe\.tiles\.dimensions\.|^# |[{{,] ){field.name}\b", example, re.MULTILINE), field.name


@pytest.mark.parametrize(
    ("table", "name"),
    [
        (GrpcTable, "grpc"),
        (ModbusTable, "modbus"),
        (MetricsTable, "metrics"),
        (WebTable, "web"),
        (RecordsTable, "records"),
        (InferenceTable, "inference"),
        (CheckTable, "recipe.tiles.check"),
    ],
)
def test_the_defaults_in_the_example_line_file_are_those_of_the_code(table: type, name: str) -> None:
    example = (ROOT / "deploy" / "line.example.toml").read_text(encoding="utf-8")
    section = re.search(rf"^#? ?\[{re.escape(name)}\].*\n((?:#? ?\w+ = .*\n)+)", example, re.MULTILINE)
    assert section is not None
    shown = tomllib.loads("\n".join(line.removeprefix("# ") for line in section[1].splitlines()))
    shown.pop("database", None)  # the example shows a server, the default is a file
    shown.pop("oip", None)  # likewise: by default graphs run here
    model = table.model_validate(shown)  # type: ignore[attr-defined]
    assert model == table()


THREATS = (ROOT / "deploy" / "threat-model.md").read_text(encoding="utf-8")


def test_every_test_that_the_threat_model_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", THREATS))
    there = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"def (test_\w+)", path.read_text(encoding="utf-8"))
    }
    assert len(named) > 30
    assert named <= there, sorted(named - there)


def test_every_row_of_the_threat_model_names_a_test_or_says_what_is_open() -> None:
    rows = [row.split("|")[1:-1] for row in THREATS.splitlines() if re.match(r"\| \d", row)]
    assert len(rows) > 25
    for number, *_, shown in rows:
        assert "`test_" in shown or "open" in shown or "plant" in shown, number
