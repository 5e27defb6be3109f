"""Locked doors as a plant uses them, from the command line: certificates, TLS, signed bundles and the audit log."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from test_service import free_port
from toys import toy_bundle, toy_png
from typer.testing import CliRunner, Result

from inspector.access_commands import PASSPHRASE_VARIABLE
from inspector.checkup import check_line
from inspector.cli import app
from inspector.errors import AccessError, BundleUntrusted
from inspector.records.audit import AuditLog
from inspector.service import run_service
from inspector.settings import load_line_file


def run(*words: str | Path, **environment: str) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "300", **environment})


def done(*words: str | Path, **environment: str) -> str:
    result = run(*words, **environment)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


@pytest.fixture
def plant(tmp_path: Path) -> Path:
    folder = tmp_path / "plant"
    done("certs", "init", folder, "--plant", "works", "--no-passphrase")
    done("certs", "server", folder, "service", "--host", "127.0.0.1")
    done("certs", "camera", folder, "cell", "--line", "l1", "--camera", "c1")
    done("certs", "user", folder, "mes", "--role", "viewer")
    return folder


@pytest.fixture
def line_file(tmp_path: Path, plant: Path) -> Path:
    toy_bundle(tmp_path / "toy")
    path = tmp_path / "line.toml"
    path.write_text(
        f"""
[line]
name = "l1"
[grpc]
listen = "127.0.0.1:{free_port()}"
[grpc.tls]
certificate = "plant/service.pem"
key = "plant/service.key"
ca = "plant/ca.pem"
revoked = "plant/revoked.pem"
[modbus]
listen = "127.0.0.1:{free_port()}"
[inference]
trust = ["keys/anna.pub"]
[[station]]
name = "s1"
camera = "c1"
unit = 1
recipe = "toy"
[recipe.toy]
bundle = "toy"
deadline_ms = 5000
"""
    )
    done("bundle", "key", tmp_path / "keys" / "anna", "--no-passphrase")
    return path


def test_a_line_with_locked_doors_end_to_end(line_file: Path, plant: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleUntrusted, match="is not signed"), run_service(load_line_file(line_file)):
        pass
    assert "is not signed" in str(check_line(line_file).problems[0])
    key = tmp_path / "keys" / "anna"
    done("bundle", "sign", tmp_path / "toy", "--key", key, "--by", "Anna", "--no-passphrase")
    assert "signed by Anna" in done("bundle", "verify", tmp_path / "toy", "--trust", f"{key}.pub")
    checkup = check_line(line_file)
    assert not checkup.problems
    assert any("grpc.tls: service.pem counts for" in note for note in checkup.notes)

    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number, value in enumerate((20, 240), start=1):
        (pictures / f"{number}.png").write_bytes(toy_png(value))
    settings = load_line_file(line_file)
    with run_service(settings):

        def show(certificate: str) -> subprocess.CompletedProcess[str]:
            words = ["folder", pictures, "--line", "l1", "--camera", "c1", "--target", settings.grpc_listen]
            words += ["--ca", plant / "ca.pem", "--cert", plant / certificate]
            command = [sys.executable, "-m", "inspector", "camera", *map(str, words)]
            return subprocess.run(command, capture_output=True, text=True, timeout=120)

        assert "2 parts shown: 1 PASS, 1 REJECT" in show("cell.pem").stdout
        refused = show("mes.pem")
        assert refused.returncode == 2
        assert "does not let it stream" in refused.stderr
    audit = AuditLog(settings.data_dir / "audit.jsonl")
    told = [(entry.action, entry.subject) for entry in audit.entries()]
    assert told == [
        ("did not start the line", "l1"),
        ("started the line", "l1"),
        ("refused stream", "l1/c1"),
        ("stopped the line", "l1"),
    ]
    head = audit.verify()
    assert f"4 entries, unbroken; head {head}" in done("audit", "verify", line_file, "--head", str(head))
    assert "refused stream" in done("audit", "list", line_file)


def test_a_broken_audit_log_is_told_and_kept_and_does_not_stop_the_line(
    line_file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    done("bundle", "sign", tmp_path / "toy", "--key", tmp_path / "keys" / "anna", "--by", "Anna", "--no-passphrase")
    settings = load_line_file(line_file)
    with run_service(settings):
        pass
    log = settings.data_dir / "audit.jsonl"
    log.write_text(log.read_text().replace('"started the line"', '"stayed at home"'))
    broken = run("audit", "verify", line_file)
    assert "was changed" in str(broken.exception)
    with run_service(settings):
        pass
    assert "was changed" in caplog.text
    (aside,) = settings.data_dir.glob("audit.broken-*.jsonl")
    assert "stayed at home" in aside.read_text()
    assert [entry.action for entry in AuditLog(log).entries()][:2] == ["began a new audit log", "started the line"]


def test_a_line_whose_certificate_is_not_its_keys_does_not_start(line_file: Path, plant: Path) -> None:
    line_file.write_text(
        line_file.read_text().replace("plant/service.key", "plant/cell.key").replace('"keys/anna.pub"', "")
    )
    assert [problem.key for problem in check_line(line_file).problems] == ["grpc.tls"]
    with pytest.raises(AccessError, match="does not belong to its key"), run_service(load_line_file(line_file)):
        pass


def test_what_was_issued_is_listed_and_on_record(plant: Path) -> None:
    done("certs", "renew", plant, plant / "cell.pem")
    done("certs", "revoke", plant, plant / "mes.pem")
    listed = done("certs", "list", plant)
    rows = {line.split()[0]: line for line in listed.splitlines() if line.strip()}
    assert "urn:inspector:camera:l1:c1" in rows["cell.pem"]
    assert "revoked" in rows["mes.pem"]
    assert "127.0.0.1" in rows["service.pem"]
    actions = [entry.action for entry in AuditLog(plant / "audit.jsonl").entries()]
    assert actions == [
        "made the authority",
        "issued a server",
        "issued a camera",
        "issued a user",
        "renewed",
        "revoked",
    ]
    assert "6 entries, unbroken" in done("audit", "verify", plant / "audit.jsonl")


def test_a_passphrase_is_asked_for_and_may_come_from_the_environment(tmp_path: Path) -> None:
    secret = {PASSPHRASE_VARIABLE: "secret"}
    done("certs", "init", tmp_path / "p", "--plant", "works", **secret)
    done("certs", "user", tmp_path / "p", "mes", "--role", "viewer", **secret)
    wrong = run("certs", "user", tmp_path / "p", "mes2", "--role", "viewer", **{PASSPHRASE_VARIABLE: "guess"})
    assert "wrong passphrase" in str(wrong.exception)
    asked = CliRunner().invoke(
        app, ["certs", "user", str(tmp_path / "p"), "mes3", "--role", "viewer"], input="secret\n"
    )
    assert asked.exit_code == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("certs", "camera", "PLANT", "../x", "--line", "l1", "--camera", "c1"), "cannot be named"),
        (("certs", "renew", "PLANT", "PLANT/none.pem"), "cannot be read"),
        (("certs", "list", "PLANT/none"), "cannot be read"),
        (("certs", "init", "PLANT", "--plant", "again", "--no-passphrase"), "holds an authority already"),
        (("audit", "verify", "PLANT/none.jsonl"), "there is no audit log"),
        (("audit", "verify", "PLANT/audit.jsonl", "--head", "5"), "is no head"),
        (("camera", "folder", "PLANT", "--line", "l1", "--camera", "c1", "--ca", "PLANT/ca.pem"), "--ca and --cert"),
        (("bundle", "sign", "PLANT", "--key", "PLANT/ca.key", "--by", "x"), "no bundle"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value[:2]),
)
def test_wrong_words_get_a_message(plant: Path, words: tuple[str, ...], says: str) -> None:
    result = run(*(word.replace("PLANT", str(plant)) for word in words))
    assert says in str(result.exception)
    assert type(result.exception).__module__ == "inspector.errors"


def test_the_audit_log_shows_hostile_text_as_text(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "audit.jsonl")
    log.append("[red]x[/red]\x1b[2J", "did", "<script>", {"why": "a\nb"})
    shown = done("audit", "list", log.path)
    assert "[red]x[/red]?[2J" in shown
    assert "\x1b[2J" not in shown
    assert json.loads(log.path.read_text())["actor"] == "[red]x[/red]\x1b[2J"


@pytest.mark.parametrize(
    "words",
    [
        ("certs", "init", "{path}", "--plant", "works", "--no-passphrase"),
        ("certs", "server", "{path}", "service", "--host", "127.0.0.1"),
        ("audit", "verify", "{path}/audit.jsonl"),
        ("opcua-certificate", "{path}", "server", "--line", "l1", "--host", "127.0.0.1"),
        ("opcua-user", "{path}/users.toml", "anna", "--role", "viewer"),
    ],
    ids=lambda words: " ".join(words[:2]) if words[1].isalpha() else words[0],
)
def test_a_path_that_cannot_be_looked_at_is_an_error_with_the_next_step(tmp_path: Path, words: tuple[str, ...]) -> None:
    path = str(tmp_path / ("x" * 300))
    error = run(*(word.format(path=path) for word in words), **{PASSPHRASE_VARIABLE: "a long enough one"}).exception
    assert isinstance(error, AccessError)
    assert "cannot be looked at: File name too long; choose another path" in str(error)
