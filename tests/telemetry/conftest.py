"""A line with one station whose metrics can be read."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_service import free_port
from toys import toy_bundle

from inspector.settings import LineSettings, load_line_file

LINE = """
[line]
name = "l1"
[grpc]
listen = "127.0.0.1:{}"
[modbus]
listen = "127.0.0.1:{}"
[metrics]
listen = "127.0.0.1:{}"
[[station]]
name = "s1"
camera = "c1"
unit = 1
recipe = "toy"
[recipe.toy]
bundle = "toy"
deadline_ms = 5000
"""


@pytest.fixture
def settings(tmp_path: Path) -> LineSettings:
    toy_bundle(tmp_path / "toy")
    (tmp_path / "line.toml").write_text(LINE.format(free_port(), free_port(), free_port()))
    return load_line_file(tmp_path / "line.toml")
