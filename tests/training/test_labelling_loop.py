"""The loop: a line rejects, people say what the parts are, a snapshot is taken, a model fitted and honestly evaluated."""

from __future__ import annotations

import signal
import socket
import sys
from pathlib import Path

import pytest
from postgres import PostgresServer
from toys import toy_bundle
from training_pictures import part, save
from typer.testing import CliRunner

from inspector.cameras.program import run_camera
from inspector.cameras.sources.folder import FolderSource
from inspector.cli import app
from inspector.inference.bundle import open_bundle
from inspector.records.snapshots.format import read_snapshot
from inspector.service import run_service
from inspector.settings import load_line_file
from training.cli import main

GOOD, BLOTS = 12, 4


@pytest.fixture(params=["sqlite", "postgresql"])
def line_file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A line that has not judged anything yet."""
    database = ""
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres")
        database = f'database = "{server.create()}"\n'
    toy_bundle(tmp_path / "toy")
    path = tmp_path / "line.toml"
    path.write_text(
        f'[line]\nname = "l1"\n[grpc]\nlisten = "127.0.0.1:{_free_port()}"\n[modbus]\nlisten = "127.0.0.1:{_free_port()}"\n'
        f'[records]\n{database}pass_sampling = 1.0\n[[station]]\nname = "s1"\ncamera = "c1"\nunit = 1\nrecipe = "toy"\n'
        '[recipe.toy]\nbundle = "toy"\ndeadline_ms = 20000\n'
    )
    if database:
        assert CliRunner().invoke(app, ["db", "upgrade", str(path)]).exit_code == 0
    return path


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _inspector(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.exception
    return result.output


def _train(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    before, handler = sys.argv, signal.getsignal(signal.SIGTERM)
    sys.argv = ["inspector-train", *map(str, arguments)]
    status: object = 0
    try:
        main()
    except SystemExit as done:
        status = done.code
    finally:
        sys.argv = before
        signal.signal(signal.SIGTERM, handler)
    assert not status, capsys.readouterr().err
    return " ".join(capsys.readouterr().out.split())


def _stream(line_file: Path, folder: Path) -> None:
    settings = load_line_file(line_file)
    with run_service(settings):
        run = run_camera(str(settings.grpc_listen), "l1", "c1", FolderSource(folder))
    assert run.shown == GOOD + BLOTS


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_from_rejects_to_a_bundle_that_says_what_it_knows(
    line_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(1, GOOD + BLOTS + 1):
        save(tmp_path / "parts" / f"{number:03d}-L{number % 2}.png", part(number, defect=number > GOOD))
    _stream(line_file, tmp_path / "parts")

    rows = "".join(f"#{number},good\n" for number in range(1, GOOD + 1))
    (tmp_path / "good.csv").write_text("part,label\n" + rows)
    assert f"{GOOD} label(s) added" in _inspector("import-labels", line_file, tmp_path / "good.csv", "--by", "anna")
    for number in range(GOOD + 1, GOOD + BLOTS + 1):
        part_id = f"{number:03d}-L{number % 2}"
        _inspector("label", line_file, part_id, "--class", "blot", "--by", "anna", "--box", "10,10,30,30")
    _inspector("label", line_file, "#1", "--class", "blot", "--by", "ben")
    assert "disagreement" in _inspector("labels", line_file, "--disagreement")

    snapshot, bundle = tmp_path / "snapshot", tmp_path / "blots"
    shown = _train(capsys, "snapshot", line_file, "--out", snapshot, "--lot-pattern", "L[0-9]$")
    assert "1 disagreement" in shown
    taken = read_snapshot(snapshot)
    assert taken.about["labels"] == {"blot": BLOTS, "good": GOOD - 1}
    assert {picture.group for picture in taken.pictures} == {p.stem for p in (tmp_path / "parts").iterdir()} - {
        "001-L1"
    }

    settings = [
        "--size",
        "64x64",
        "--set",
        "bank_size=100",
        "--set",
        "candidates=1000",
        "--split-out",
        tmp_path / "s.json",
    ]
    _train(capsys, "fit", snapshot, "--out", bundle, *settings)
    assert taken.digest in "".join(_inspector("bundle", "info", bundle).replace("│", "").split())
    assert open_bundle(bundle).manifest.provenance["snapshot"] == taken.digest

    options = ["--latency-runs", "0"]
    known = _train(capsys, "evaluate", bundle, snapshot, *options)
    assert "the bundle was made with" in known
    held_out = _train(capsys, "evaluate", bundle, snapshot, "--split", tmp_path / "s.json", *options)
    assert "No image judged was in the fit" in held_out
