"""The line file: every fault is told at once, with its key and the next step."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.errors import ConfigError
from inspector.settings import MAX_LINE_FILE_BYTES, load_line_file, parse_address, read_line_file

GOOD = """
[line]
name = "l1"
[[station]]
name = "s1"
camera = "c1"
unit = 1
recipe = "r"
[recipe.r]
bundle = "bundles/r"
"""


def written(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "line.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_the_smallest_line_file_has_defaults_for_the_rest(tmp_path: Path) -> None:
    settings = load_line_file(written(tmp_path, GOOD))
    assert settings.database_url == f"sqlite:///{tmp_path / 'var' / 'quality.db'}"
    assert str(settings.grpc_listen) == "127.0.0.1:50051"
    assert settings.file.recipe["r"].deadline_ms == 500
    assert settings.resolve("bundles/r") == tmp_path / "bundles" / "r"


def test_the_example_holds() -> None:
    example = Path(__file__).parents[1] / "deploy" / "line.example.toml"
    assert load_line_file(example).file.station[0].camera == "cam1"


@pytest.mark.parametrize(
    ("text", "key", "says"),
    [
        pytest.param("", "line", "is missing", id="empty file"),
        pytest.param("[line\n", "file", "is not TOML", id="broken TOML"),
        pytest.param(b"\xff\xfe[line]", "file", "is not UTF-8", id="UTF-16"),
        pytest.param("x=" + "[" * 5000, "file", "is not TOML", id="nesting bomb"),
        pytest.param("#" * (MAX_LINE_FILE_BYTES + 1), "file", "the most is", id="huge"),
        pytest.param(GOOD.replace("unit = 1", 'unit = "1"'), "station.0.unit", "integer", id="text for a number"),
        pytest.param(GOOD.replace("unit = 1", "unit = true"), "station.0.unit", "integer", id="bool for a number"),
        pytest.param(GOOD.replace("unit = 1", "unit = 248"), "station.0.unit", "247", id="beyond Modbus"),
        pytest.param(GOOD.replace("camera =", "camra ="), "station.0.camra", 'did you mean "camera"', id="typo"),
        pytest.param(GOOD + "[grcp]\n", "grcp", 'did you mean "grpc"', id="typo in a table"),
        pytest.param(GOOD + "deadline_ms = 0\n", "recipe.r.deadline_ms", "greater than", id="no time at all"),
        pytest.param(GOOD + "check.min_mean = nan\n", "recipe.r.check.min_mean", "finite", id="NaN"),
        pytest.param(GOOD.replace('"r"', '"q"', 1), "station.0.recipe", "no [recipe.q]", id="unknown recipe"),
        pytest.param(GOOD.replace('"l1"', '"../l1"'), "line.name", "letters", id="path in a name"),
        pytest.param(GOOD.replace('"l1"', '"l\\u0000"'), "line.name", "letters", id="NUL in a name"),
        pytest.param(GOOD + '[grpc]\nlisten = "nowhere"\n', "grpc.listen", "host:port", id="address without port"),
        pytest.param(GOOD + '[grpc]\nlisten = "127.0.0.1:5020"\n', "modbus.listen", "also grpc", id="port used twice"),
        pytest.param(
            GOOD + '[[station]]\nname="s2"\ncamera="c1"\nunit=2\nrecipe="r"\n',
            "station.1.camera",
            "also",
            id="same camera",
        ),
        pytest.param(GOOD.replace("[[station]]", "[[stations]]"), "stations", 'did you mean "station"', id="plural"),
    ],
)
def test_a_wrong_file_is_told_by_key(tmp_path: Path, text: str | bytes, key: str, says: str) -> None:
    settings, problems = read_line_file(written(tmp_path, text))
    assert settings is None
    told = {problem.key: f"{problem.fact}; {problem.next_step}" for problem in problems}
    assert says in told.get(key, ""), problems


def test_all_problems_come_at_once(tmp_path: Path) -> None:
    text = GOOD.replace("unit = 1", "unit = 0").replace('"l1"', '""') + "deadline_ms = -1\n"
    _, problems = read_line_file(written(tmp_path, text))
    assert {problem.key for problem in problems} == {"line.name", "station.0.unit", "recipe.r.deadline_ms"}


def test_a_missing_file_is_a_problem_not_a_crash(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_line_file(tmp_path / "none.toml")


@given(st.text(max_size=200))
def test_any_address_text_is_read_or_refused(text: str) -> None:
    try:
        address = parse_address(text)
    except ValueError:
        return
    assert address.host
    assert 1 <= address.port <= 65535
