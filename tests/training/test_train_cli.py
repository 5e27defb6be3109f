"""`inspector-train` as it is typed: results, one clear message per error, and nothing half-written after Ctrl-C."""

from __future__ import annotations

import json
import operator
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from full_disk import files_of_at_most
from training_line import Line
from training_pictures import part, save, write_parts

import training
from inspector.errors import BundleError
from inspector.inference.bundle import MODEL_FILE, open_bundle
from training import cli
from training.checkpoint import load_fitted, save_fitted
from training.cli.screen import Bars
from training.data.splits import Role, read_split, write_split

ROOT = Path(__file__).resolve().parents[2]


def _run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Run the command in this process (importing torch anew takes seconds); its exit status."""
    monkeypatch.setattr(sys, "argv", ["inspector-train", *map(str, arguments)])
    previous = signal.getsignal(signal.SIGTERM)
    try:
        cli.main()
    except SystemExit as done:
        return int(done.code or 0)
    finally:
        signal.signal(signal.SIGTERM, previous)
    return 0


def test_fit_evaluate_and_export_in_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_parts(tmp_path / "data", good=20, defects={"blot": 4, "[odd]": 2})
    out, split, kept = tmp_path / "bundles" / "blots", tmp_path / "split.json", tmp_path / "kept"
    options = ["--name", "blots-2", "--size", "64x48", "--split-out", split, "--checkpoint", kept]
    assert _run(monkeypatch, "fit", data, "--out", out, *options) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for expected in ("[odd]", "not a promise", "false rejects", "AUROC", "blots-2@"):
        assert expected in shown
    manifest = open_bundle(out).manifest
    assert (manifest.name, manifest.input.width_px, manifest.input.height_px) == ("blots-2", 64, 48)
    tests = read_split(split).of(Role.TEST)
    assert len(tests) == 10

    result = tmp_path / "result.json"
    assert _run(monkeypatch, "evaluate", out, data, "--split", split, "--json", result) == 0
    assert "false rejects" in capsys.readouterr().out
    assert len(json.loads(result.read_text())["images"]) == len(tests)

    again = tmp_path / "again"
    monkeypatch.setattr("training.export.to_onnx", lambda network, shape: (out / MODEL_FILE).read_bytes())
    assert _run(monkeypatch, "export", kept, "--out", again) == 0
    assert open_bundle(again).manifest.limits == manifest.limits
    assert open_bundle(again).manifest.name == "again"


@pytest.mark.parametrize(
    ("options", "there", "told"),
    [
        pytest.param((), (), "kept in {folder}/new.fitted:", id="beside the bundle that was to be"),
        pytest.param(
            (), ("new.fitted",), "kept in {folder}/new.fitted1:", id="the name is taken: nothing is overwritten"
        ),
        pytest.param(("--checkpoint", "mine"), (), "kept in {folder}/mine:", id="where it was asked to be kept"),
    ],
)
def test_a_refused_export_keeps_the_fit(
    fitted_line: Line,
    exported: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    there: tuple[str, ...],
    told: str,
) -> None:
    _refuse_int8(fitted_line, monkeypatch)
    given = [tmp_path / each if number % 2 else each for number, each in enumerate(options)]
    for name in there:
        (tmp_path / name).mkdir()
    out = tmp_path / "new"
    assert _run(monkeypatch, "fit", fitted_line.dataset.root, "--out", out, "--precision", "int8", *given) == 2
    said = capsys.readouterr().err
    assert "3 of 9 images get another verdict" in said
    assert told.format(folder=tmp_path) in said
    kept = Path(said.split("kept in ")[1].split(":")[0])
    assert load_fitted(kept).limits == fitted_line.outcome.fitted.limits
    assert not out.exists()
    assert _run(monkeypatch, "export", kept, "--out", out) == 0
    assert open_bundle(out).manifest.limits == fitted_line.outcome.fitted.limits


_SMALL_FILES = 100_000
"""Bytes: more than a manifest, a split or a list of images has, less than a network."""


@pytest.mark.parametrize("options", [(), ("--checkpoint", "mine")], ids=["beside the bundle", "where it was asked for"])
def test_a_fit_that_cannot_be_kept_either_says_so(
    fitted_line: Line,
    exported: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
) -> None:
    _refuse_int8(fitted_line, monkeypatch)
    given = [tmp_path / each if number % 2 else each for number, each in enumerate(options)]
    out = ("--out", tmp_path / "new", "--precision", "int8")
    with files_of_at_most(_SMALL_FILES):
        assert _run(monkeypatch, "fit", fitted_line.dataset.root, *out, *given) == 2
    assert re.search(r"3 of 9 images.*is lost: .*new.fitted cannot be written: .*too large", capsys.readouterr().err)
    assert not list(tmp_path.iterdir())


def test_a_bundle_that_the_disk_does_not_take_is_no_traceback(
    fitted_line: Line,
    exported: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("training.fit.fit", lambda dataset, plan, progress: fitted_line.outcome)
    with files_of_at_most(_SMALL_FILES):
        assert _run(monkeypatch, "fit", fitted_line.dataset.root, "--out", tmp_path / "new") == 2
    assert re.search(
        r"bundle .*new cannot be written: File too large.*is lost: .*cannot be written", capsys.readouterr().err
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("place", ["training.checkpoint.save_file", "training.data.splits.write_whole"])
def test_a_full_disk_elsewhere_does_not_take_the_bundle(
    fitted_line: Line,
    exported: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    place: str,
) -> None:
    """The checkpoint or the split lies on a disk that is full, the bundle on another one."""
    monkeypatch.setattr("training.fit.fit", lambda dataset, plan, progress: fitted_line.outcome)
    write = operator.attrgetter(place.removeprefix("training."))(training)

    def full(*given: object) -> None:
        with files_of_at_most(100):
            write(*given)

    monkeypatch.setattr(place, full)
    options = ("--checkpoint", tmp_path / "kept", "--split-out", tmp_path / "split.json")
    assert _run(monkeypatch, "fit", fitted_line.dataset.root, "--out", tmp_path / "new", *options) == 2
    assert re.search(r"cannot be written.*The bundle is whole, in .*new", capsys.readouterr().err)
    assert open_bundle(tmp_path / "new").manifest.limits == fitted_line.outcome.fitted.limits
    assert len(list(tmp_path.iterdir())) == 2


def test_a_form_that_a_kind_has_not_is_refused_before_the_fit(
    fitted_line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fit(*given: object) -> NoReturn:
        raise AssertionError("it was fitted")

    monkeypatch.setattr("training.fit.fit", fit)
    form = ["--model", "fast-bank", "--precision", "fp16"]
    assert _run(monkeypatch, "fit", fitted_line.dataset.root, "--out", tmp_path / "new", *form) == 2
    assert "has no float16 form" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def _refuse_int8(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `fit` give the model that there is, and the gate of INT8 refuse it."""

    def refuse(*given: object) -> None:
        raise BundleError("3 of 9 images get another verdict")

    monkeypatch.setattr("training.fit.fit", lambda dataset, plan, progress: line.outcome)
    monkeypatch.setattr("training.export.reduce_precision", refuse)


def test_check_data_shows_and_writes_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_parts(tmp_path / "data", good=3, defects={"cut": 1})
    save(tmp_path / "data" / "cut" / "copy.png", part(1))
    (tmp_path / "data" / "good" / "broken.png").write_bytes(b"")
    assert _run(monkeypatch, "check-data", tmp_path / "data", "--json", tmp_path / "report.json") == 0
    assert "1 cannot be read" in capsys.readouterr().out
    written = json.loads((tmp_path / "report.json").read_text())
    assert written["labels"] == {"good": 3, "cut": 2}
    assert written["equal_under_two_labels"] == [["cut/copy.png", "good/001.png"]]


ERRORS = [
    pytest.param(["fit", "{tmp}/missing", "--out", "{tmp}/b"], "there is no such folder", id="no such data"),
    pytest.param(["fit", "{tmp}/empty", "--out", "{tmp}/b"], "holds no images", id="empty folder"),
    pytest.param(["fit", "{tmp}/one", "--out", "{tmp}/b"], "1 different parts", id="one image"),
    pytest.param(["fit", "{tmp}/bad", "--out", "{tmp}/b"], "no readable images of good parts", id="all defects"),
    pytest.param(["fit", "{tmp}/one", "--out", "{tmp}/one"], "exists already", id="a bundle over something else"),
    pytest.param(
        ["fit", "{tmp}/one", "--out", "{tmp}/b", "--size", "big"], "--size is 'big'.*auto", id="a size in words"
    ),
    pytest.param(["fit", "{tmp}/one", "--out", "{tmp}/b", "--size", "٣٢x٣٢"], "--size is", id="digits of no number"),
    pytest.param(["fit", "{tmp}/one", "--out", "{tmp}/b", "--size", "0x0"], "--size is", id="no size at all"),
    pytest.param(["fit", "{tmp}/one", "--out", "{tmp}/b", "--size", "9x9"], "give sides from 32", id="too small"),
    pytest.param(["fit", "{tmp}/one", "--out", "{tmp}/b", "--test-fraction", "2"], "leave too little", id="test share"),
    pytest.param(
        ["fit", "{tmp}/good", "--out", "{tmp}/b", "--false-reject-rate", "0"],
        "cannot be promised",
        id="no false rejects",
    ),
    pytest.param(["fit", "{tmp}/one", "--out", "{tmp}/b", "--name", "no/name"], "--name", id="a name with a slash"),
    pytest.param(
        ["fit", "{tmp}/one", "--out", "{tmp}/b", "--location", "{tmp}/no.toml"], "cannot be read", id="no location file"
    ),
    pytest.param(
        ["fit", "{tmp}/one", "--out", "{tmp}/b", "--location", "{tmp}/bad.toml"], "is no TOML file", id="not TOML"
    ),
    pytest.param(
        ["fit", "{tmp}/one", "--out", "{tmp}/b", "--location", "{tmp}/other.toml"],
        r"no table \[location\]",
        id="no table",
    ),
    pytest.param(
        ["fit", "{tmp}/one", "--out", "{tmp}/b", "--resume", "{tmp}/state"],
        "leave --resume to classifier",
        id="a kind with nothing to resume",
    ),
    pytest.param(
        ["fit", "{tmp}/one", "--out", "{tmp}/b", "--model", "classifier", "--resume", "{tmp}/bad.toml"],
        "is no folder that may be written to",
        id="a state where a file is",
    ),
    pytest.param(
        ["fit", "{tmp}/one", "--out", "{tmp}/b", "--roi", "{tmp}/nosuch.png"],
        "region of interest .*nosuch.png: .*No such file",
        id="no such region",
    ),
    pytest.param(
        ["fit", "{tmp}/good", "--out", "{tmp}/b", "--roi", "{tmp}/black.png", "--model", "classifier"],
        "region of interest, brightest at 0 of 255, .*Draw white where defects count",
        id="a region of nothing",
    ),
    pytest.param(
        ["fit", "{tmp}/one", "--out", "{tmp}/b", "--seed", str(2**64)],
        f"seed of {2**64}: give a whole number from 0 to",
        id="a seed that torch does not take",
    ),
    pytest.param(["evaluate", "{tmp}/missing", "{tmp}/one"], "no bundle at", id="no such bundle"),
    pytest.param(["export", "{tmp}/missing", "--out", "{tmp}/b"], "is no fitted model", id="no such fitted model"),
    pytest.param(["fit", "{tmp}/blank", "--out", "{tmp}/b"], "6 of 6 .* are blank", id="a covered lens"),
    pytest.param(
        ["evaluate", "{tmp}/b", "{tmp}/one", "--report", "{tmp}/x", "--json", "{tmp}/x"],
        "are both",
        id="one file for two",
    ),
    pytest.param(["check-data", "{tmp}/empty"], "holds no images", id="nothing to check"),
]


@pytest.mark.parametrize(("arguments", "says"), ERRORS)
def test_an_error_is_one_message_and_status_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    says: str,
) -> None:
    (tmp_path / "empty").mkdir()
    save(tmp_path / "black.png", np.zeros((64, 64), np.uint8))
    save(tmp_path / "one" / "good" / "a.png", part(1))
    save(tmp_path / "bad" / "cut" / "a.png", part(1))
    write_parts(tmp_path / "good", good=6)
    for grey in range(6):
        save(tmp_path / "blank" / "good" / f"{grey}.png", np.full((64, 64), 30 * grey, np.uint8))
    (tmp_path / "bad.toml").write_text("[location")
    (tmp_path / "other.toml").write_text("[station]\n")
    before = sorted(tmp_path.rglob("*"))
    assert _run(monkeypatch, *(argument.format(tmp=tmp_path) for argument in arguments)) == 2
    error = capsys.readouterr().err
    assert re.search(says, error)
    assert "Traceback" not in error
    assert error.count("inspector-train:") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_torchrun_is_refused_where_settings_leave_nothing_to_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    write_parts(tmp_path / "data", good=2, defects={"blot": 2})
    options = ("--out", tmp_path / "b", "--model", "classifier")
    assert _run(monkeypatch, "fit", tmp_path / "data", *options) == 2
    assert "with these settings classifier learns in one go" in " ".join(capsys.readouterr().err.split())


def test_a_location_file_decides_what_is_learned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fitted_line: Line, exported: None
) -> None:
    data = write_parts(tmp_path / "data", good=8)
    place = tmp_path / "place.toml"
    place.write_text('[location]\nkind = "region"\nx_px = 0\ny_px = 0\nwidth_px = 40\nheight_px = 60\n')
    monkeypatch.setattr("training.export.check_parity", lambda fitted, model, images: fitted_line.parity)
    monkeypatch.setattr("training.export.check_judged", lambda fitted, model: None)
    assert _run(monkeypatch, "fit", data, "--out", tmp_path / "b", "--size", "64x64", "--location", place) == 0
    location = open_bundle(tmp_path / "b").manifest.input.location
    assert (location["kind"], location["width_px"]) == ("region", 40)


def test_without_a_size_the_parts_decide(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fitted_line: Line,
    exported: None,
) -> None:
    data = write_parts(tmp_path / "data", good=8)  # of 64 × 64 px
    monkeypatch.setattr("training.export.check_parity", lambda fitted, model, images: fitted_line.parity)
    monkeypatch.setattr("training.export.check_judged", lambda fitted, model: None)
    assert _run(monkeypatch, "fit", data, "--out", tmp_path / "b") == 0
    manifest = open_bundle(tmp_path / "b").manifest
    assert (manifest.input.width_px, manifest.input.height_px) == (64, 64)
    recorded = manifest.provenance["input"]
    assert isinstance(recorded, dict)
    assert (recorded["width_px"], recorded["height_px"]) == (64, 64)
    assert f"64 × 64 px: {recorded['reason']}" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("stage", ["Learning good parts", "Setting the limit", "Exporting"])
def test_ctrl_c_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], exported: None, stage: str
) -> None:
    data = write_parts(tmp_path / "data", good=10)
    report = Bars.__call__

    def interrupt(self: Bars, name: str, done: int, total: int) -> None:
        report(self, name, done, total)
        if name == stage and done:
            raise KeyboardInterrupt

    monkeypatch.setattr(Bars, "__call__", interrupt)
    out = tmp_path / "out"
    assert _run(monkeypatch, "fit", data, "--out", out / "b", "--size", "64x64", "--split-out", out / "s.json") == 130
    assert "nothing was left half-written" in capsys.readouterr().err
    assert not out.exists() or [path.name for path in out.iterdir()] == ["s.json"]
    if (out / "s.json").exists():
        read_split(out / "s.json")


def test_help_names_every_command_without_importing_torch() -> None:
    code = """
import sys
from training.cli import main
sys.argv = ["inspector-train", "--help"]
try:
    main()
finally:
    assert "torch" not in sys.modules
"""
    environment = {**os.environ, "COLUMNS": "120"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr
    for command in ("fit", "evaluate", "export", "check-data"):
        assert re.search(rf"\b{command}\b", done.stdout)


def test_a_split_and_a_fitted_model_replace_nothing_by_accident(fitted_line: Line, tmp_path: Path) -> None:
    """A split may be written again, it says the same for the same seed; a fitted model may not."""
    write_split(tmp_path / "s.json", fitted_line.outcome.split)
    write_split(tmp_path / "s.json", fitted_line.outcome.split)
    save_fitted(fitted_line.outcome.fitted, tmp_path / "kept")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "s.json"]
