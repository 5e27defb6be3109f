"""`inspector opcua` as its users meet it: a program of its own that may die, its commands, what `inspector check` says."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from asyncua import ua
from opcua_line import PASSWORD, Loop, judged, line_in, logged_in, opcua_of
from plant import plant_in
from typer.testing import CliRunner

from inspector.access.application import make_application
from inspector.access.identity import Role
from inspector.access.logins import read_logins
from inspector.checkup import check_line
from inspector.cli import app
from inspector.errors import AccessError, SignalError
from inspector.opcua.users import read_trusted
from inspector.part import Verdict
from inspector.records.audit import AuditLog
from inspector.service import run_service
from inspector.settings import LineSettings, load_line_file


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> LineSettings:
    return line_in(tmp_path_factory.mktemp("line"))


@pytest.fixture
def do() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


def test_killing_the_program_costs_no_verdict(settings: LineSettings, do: Loop) -> None:
    command = [sys.executable, "-m", "inspector", "opcua", str(settings.path)]
    with run_service(settings), subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as program:
        assert program.stderr is not None
        assert any("is served over OPC UA" in line for line in program.stderr)
        with logged_in(do, settings) as desk:
            desk.wait_for("ContinuousExecution")
        assert judged(settings, (1, 20))[0].verdict == Verdict.PASS
        program.kill()
        assert program.wait(30) == -signal.SIGKILL
        assert judged(settings, (2, 20))[0].verdict == Verdict.PASS


def test_who_is_not_trusted_does_not_connect_and_who_is_anonymous_may_only_look(
    settings: LineSettings, do: Loop, tmp_path: Path
) -> None:
    folder = settings.path.parent
    stranger = make_application(tmp_path, "stranger", "client", ["localhost"])
    (tmp_path / "stranger.der").unlink()
    stranger.key.rename(tmp_path / "stranger-key.pem")
    trusted = tmp_path / "trusted"
    trusted.mkdir()
    (trusted / "client.der").write_bytes((folder / "client.der").read_bytes())
    with opcua_of(settings, trusted=trusted, anonymous=True):
        with pytest.raises(ua.UaStatusCodeError) as caught, logged_in(do, settings, shown=tmp_path / "stranger"):
            pass
        assert caught.value.code == ua.StatusCodes.BadCertificateUntrusted
        with logged_in(do, settings, user="") as desk:
            assert desk.state == "Preoperational"
            cause = (ua.Variant(0, ua.VariantType.Int32), "test")
            with pytest.raises(ua.UaStatusCodeError) as caught:
                desk.call("VisionStateMachine/Halt", *cause)
            assert caught.value.code == ua.StatusCodes.BadUserAccessDenied


def test_it_reaches_a_line_with_locked_doors_by_its_own_certificate(tmp_path: Path, do: Loop) -> None:
    settings = line_in(tmp_path / "line")
    plant = plant_in(tmp_path / "plant")
    own = plant.user("opcua", Role.ENGINEER)
    tls = f'[grpc.tls]\ncertificate = "{plant.server.certificate}"\nkey = "{plant.server.key}"\nca = "{plant.ca}"\n'
    shown = f'grpc_certificate = "{own.certificate}"\ngrpc_key = "{own.key}"\n'
    text = (
        settings.path.read_text()
        .replace("[modbus]", f"{tls}[modbus]")
        .replace('users = "users.toml"\n', f'users = "users.toml"\n{shown}')
    )
    settings.path.write_text(text)
    settings = load_line_file(settings.path)
    with run_service(settings), opcua_of(settings), logged_in(do, settings, "otto") as desk:
        desk.wait_for("ContinuousExecution")
        cause = (ua.Variant(0, ua.VariantType.Int32), "test")
        assert desk.call("VisionStateMachine/AutomaticModeStateMachine/Stop", *cause) == 0
        assert desk.state == "Ready"
    entries = AuditLog(settings.data_dir / "audit.jsonl").entries()
    assert "opcua at ipv4:127.0.0.1 for otto at 127.0.0.1" in [
        one.actor for one in entries if one.action == "command stop"
    ]


def test_a_port_that_is_taken_and_files_that_are_not_there_end_the_start_with_the_reason(
    settings: LineSettings, tmp_path: Path
) -> None:
    with pytest.raises(SignalError, match="cannot be served"), opcua_of(settings, host="203.0.113.1"):
        pass
    with pytest.raises(AccessError, match="opcua-user"), opcua_of(settings, users=tmp_path / "none.toml"):
        pass
    with pytest.raises(AccessError, match="no folder"), opcua_of(settings, trusted=tmp_path / "none"):
        pass
    (tmp_path / "a.pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    with pytest.raises(AccessError, match="is no certificate"):
        read_trusted(tmp_path)


def test_the_commands_make_a_certificate_and_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INSPECTOR_PASSPHRASE", PASSWORD)
    users = tmp_path / "users.toml"
    run = CliRunner().invoke(app, ["opcua-user", str(users), "mes", "--role", "viewer"])
    assert run.exit_code == 0, run.output
    assert read_logins(users)["mes"].role is Role.VIEWER
    monkeypatch.setenv("INSPECTOR_PASSPHRASE", "short")
    assert isinstance(
        CliRunner().invoke(app, ["opcua-user", str(users), "mes", "--role", "viewer"]).exception, AccessError
    )
    run = CliRunner().invoke(app, ["opcua-certificate", str(tmp_path), "o", "--line", "l1", "--host", "localhost"])
    assert run.exit_code == 0, run.output
    assert (tmp_path / "o.der").is_file()


def test_a_line_file_without_the_table_serves_no_opc_ua(settings: LineSettings, tmp_path: Path) -> None:
    text = settings.path.read_text()
    (tmp_path / "line.toml").write_text(text[: text.index("[opcua]")] + text[text.index("[[station]]") :])
    run = CliRunner().invoke(app, ["opcua", str(tmp_path / "line.toml")])
    assert "has no table [opcua]" in str(run.exception)


def test_check_says_what_opc_ua_is_missing(settings: LineSettings, tmp_path: Path) -> None:
    assert any(note.startswith("opcua: ") and "3 user(s)" in note for note in check_line(settings.path).notes)
    folder = settings.path.parent
    viewer = plant_in(tmp_path / "plant").user("mes", Role.VIEWER)
    grpc = f'grpc_certificate = "{viewer.certificate}"\ngrpc_key = "{viewer.key}"\n'
    changes = [
        ('users = "users.toml"', 'users = "none.toml"', "cannot be read"),
        ('key = "opcua.key"', 'key = "line.toml"', "cannot be read"),
        ('users = "users.toml"\n', f'users = "users.toml"\n{grpc}', "role viewer, too low"),
    ]
    for before, after, told in changes:
        path = folder / "changed.toml"
        path.write_text(settings.path.read_text().replace(before, after))
        problems = [str(problem) for problem in check_line(path).problems if problem.key.startswith("opcua")]
        assert any(told in problem for problem in problems), problems
