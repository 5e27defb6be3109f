"""What the table [web] of a line file may say, and what would leave a door open."""

from __future__ import annotations

from datetime import UTC, datetime
from datetime import time as time_of_day
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from web_desk import write_line_file

from inspector.errors import ConfigError
from inspector.settings import load_line_file, read_line_file
from inspector.web.desk import shift_start
from inspector.web.program import open_desk
from inspector.web_commands import _options

OIDC = """
[web.oidc]
client = "c"
secret = "s"
roles = { quality = "engineer" }
"""


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        pytest.param(
            {"listen": '"0.0.0.0:8443"'}, "without TLS: anybody there could read passwords", id="open, no TLS"
        ),
        pytest.param({"listen": '"desk.plant.local:8443"'}, "without TLS", id="a name may point anywhere"),
        pytest.param(
            {"listen": '"0.0.0.0:8443"', "certificate": '"a.pem"'}, "certificate and key go together", id="half"
        ),
        pytest.param({"shifts": '["6:00"]'}, "time of day", id="no time of day"),
        pytest.param({"shifts": "[]"}, "web.shifts", id="no shift"),
        pytest.param({"session_hours": "0.0"}, "session_hours", id="a login that is over at once"),
        pytest.param({"address": '"line1.plant.local"'}, "web.address", id="an address without its scheme"),
        pytest.param({"pages": "1"}, "is not a key of this table", id="unknown key"),
        pytest.param({"grpc_key": '"a.key"'}, "certificate and key go together", id="half a client"),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused(tmp_path: Path, change: dict[str, str], problem: str) -> None:
    keys = "\n".join(f"{key} = {value}" for key, value in change.items())
    path, port = write_line_file(tmp_path, web=keys)
    if "listen" in change:
        path.write_text(path.read_text().replace(f'listen = "127.0.0.1:{port}"\n', ""))
    found = [str(one) for one in read_line_file(path).problems]
    assert any(problem in one for one in found), found


@pytest.mark.parametrize(
    ("issuer", "is_fine"),
    [
        ("https://login.plant.local/realms/plant", True),
        ("http://127.0.0.1:8000/plant", True),
        ("http://[::1]:8000", True),
        ("http://login.plant.local", False),
        ("http://127.0.0.1.evil.example", False),
        ("ftp://login.plant.local", False),
    ],
)
def test_an_identity_provider_is_reached_over_tls_or_on_this_machine(
    tmp_path: Path, issuer: str, is_fine: bool
) -> None:
    path, _ = write_line_file(tmp_path, web=f'{OIDC}issuer = "{issuer}"\n')
    found = [str(one) for one in read_line_file(path).problems]
    assert (found == []) == is_fine, found


def test_two_programs_on_one_port_are_told(tmp_path: Path) -> None:
    path, port = write_line_file(tmp_path)
    path.write_text(path.read_text() + f'[metrics]\nlisten = "127.0.0.1:{port}"\n')
    found = [str(one) for one in read_line_file(path).problems]
    assert any("is also metrics.listen" in one for one in found), found


def test_a_line_file_without_the_table_serves_this_machine(tmp_path: Path) -> None:
    path, port = write_line_file(tmp_path)
    path.write_text(path.read_text().replace(f'[web]\nlisten = "127.0.0.1:{port}"\n', ""))
    settings = read_line_file(path).settings
    assert settings is not None
    assert _options(settings).url == "http://127.0.0.1:8080"


SHIFTS = (time_of_day(6), time_of_day(14), time_of_day(22))


@pytest.mark.parametrize(
    ("now", "begin"),
    [
        ((2026, 5, 4, 6, 0), (2026, 5, 4, 6, 0)),
        ((2026, 5, 4, 13, 59), (2026, 5, 4, 6, 0)),
        ((2026, 5, 4, 23, 0), (2026, 5, 4, 22, 0)),
        ((2026, 5, 4, 5, 59), (2026, 5, 3, 22, 0)),
        ((2026, 3, 29, 5, 0), (2026, 3, 28, 22, 0)),
    ],
    ids=["begins", "lasts", "in the evening", "in the night", "over the change of the clocks"],
)
def test_a_shift_began_at_the_latest_of_its_times(
    now: tuple[int, ...], begin: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    import time

    time.tzset()
    try:
        berlin = ZoneInfo("Europe/Berlin")
        found = shift_start(datetime(*now, tzinfo=berlin).astimezone(UTC), SHIFTS)  # type: ignore[misc]
        assert found == datetime(*begin, tzinfo=berlin)  # type: ignore[misc]
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_folder_that_cannot_be_made_says_which_key_names_it(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    path, _ = write_line_file(tmp_path, web='folder = "taken/web"')
    with (
        pytest.raises(ConfigError, match=r"\[web\] folder: .*taken/web cannot be made"),
        open_desk(_options(load_line_file(path))),
    ):
        pass
