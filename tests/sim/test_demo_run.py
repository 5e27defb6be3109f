"""The demo before and around the stream: options, bad image folders, its own folder, the order of parts, its processes."""

from __future__ import annotations

import io
import json
import math
import signal
import socket
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from rich.console import Console

from inspector.errors import ConfigError, DataError
from inspector.settings import load_line_file
from inspector.sim.demo import DemoOptions, run_demo
from inspector.sim.demo import run as demo_run
from inspector.sim.demo.images import TestImage, check_folder, lay_out, order_stream, read_split
from inspector.sim.demo.processes import (
    Child,
    Children,
    DemoFailed,
    free_ports,
    run_visibly,
    sigterm_like_ctrl_c,
    tail,
    wait_serving,
    wait_until,
)
from inspector.sim.demo.run import Files, check_training, prepare_folder, write_line_file


def _pictures(folder: Path, count: int, suffix: str = ".png") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        (folder / f"{index:03d}{suffix}").write_bytes(b"not looked into here")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        pytest.param({"count": 0}, "--count 0", id="no parts"),
        pytest.param({"count": 10**9}, "--count", id="more parts than anyone would wait for"),
        pytest.param({"rate": 0.0}, "--rate", id="no rate"),
        pytest.param({"rate": math.nan}, "--rate", id="rate not a number"),
        pytest.param({"rate": math.inf}, "--rate", id="endless rate"),
        pytest.param({"seed": -1}, "--seed", id="negative seed"),
        pytest.param({"size_px": 4}, "--size", id="model sees nothing at 4 px"),
        pytest.param({"size_px": 100_000}, "--size", id="model too large for memory"),
    ],
)
def test_impossible_options_are_refused(wrong: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        DemoOptions(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("layout", ["good", "train/good", "MT_Free/Imgs"])
def test_known_layouts_are_accepted(tmp_path: Path, layout: str) -> None:
    _pictures(tmp_path / layout, 25, ".JPG")
    assert check_folder(tmp_path) == 25


def test_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no folder"):
        check_folder(tmp_path / "nowhere")


def test_file_instead_of_folder_is_refused(tmp_path: Path) -> None:
    _pictures(tmp_path, 1)
    with pytest.raises(DataError, match="is no folder"):
        check_folder(tmp_path / "000.png")


def test_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds nothing, but no good/"):
        check_folder(tmp_path)


def test_folder_without_good_parts_says_what_it_holds(tmp_path: Path) -> None:
    _pictures(tmp_path / "scratch", 30)
    with pytest.raises(DataError, match=r"holds scratch, but no good/.*put images of good parts"):
        check_folder(tmp_path)


def test_empty_good_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "good").mkdir()
    with pytest.raises(DataError, match="holds 0 images"):
        check_folder(tmp_path)


def test_one_image_is_not_enough(tmp_path: Path) -> None:
    _pictures(tmp_path / "good", 1)
    _pictures(tmp_path / "dent", 9)
    with pytest.raises(DataError, match="holds 1 images; 20 good parts are the least"):
        check_folder(tmp_path)


def test_files_that_are_no_images_do_not_count(tmp_path: Path) -> None:
    _pictures(tmp_path / "good", 40, ".txt")
    with pytest.raises(DataError, match="holds 0 images"):
        check_folder(tmp_path)


def test_folder_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """A name that no file system takes: the one read error that root gets too."""
    with pytest.raises(DataError, match="cannot be read"):
        check_folder(tmp_path / ("x" * 300))


def test_bad_folder_ends_the_demo_with_status_1_and_makes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo_run, "check_training", lambda data: None)
    text = io.StringIO()
    options = DemoOptions(data=str(tmp_path / "nowhere"), folder=tmp_path / "run")
    assert run_demo(options, Console(file=text, width=200)) == 1
    assert "is no folder" in text.getvalue()
    assert not (tmp_path / "run").exists()


def test_missing_training_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "torch" else object())
    with pytest.raises(ConfigError, match=r"torch is not installed: pip install 'inspector\[training\]'"):
        check_training(None)


def test_missing_solar_cells_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "elpv_dataset" else object())
    check_training(None)
    with pytest.raises(ConfigError, match=r"inspector\[elpv\]"):
        check_training("elpv")


def test_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.doc").write_text("years of work")
    with pytest.raises(ConfigError, match="left alone"):
        prepare_folder(Files(tmp_path), DemoOptions())
    assert (tmp_path / "thesis.doc").read_text() == "years of work"


def test_file_in_the_place_of_the_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file")
    with pytest.raises(ConfigError, match="left alone"):
        prepare_folder(Files(tmp_path / "run"), DemoOptions())


def _last_run(folder: Path, options: DemoOptions) -> Files:
    files = Files(folder)
    assert not prepare_folder(files, options)
    files.parts.mkdir()
    files.bundle.mkdir(parents=True)
    files.split.write_text("[]")
    files.camera_results.write_text("old")
    files.stream.mkdir()
    return files


def test_last_run_is_made_anew(tmp_path: Path) -> None:
    files = _last_run(tmp_path / "run", DemoOptions())
    assert not prepare_folder(files, DemoOptions())
    assert sorted(path.name for path in files.folder.iterdir()) == [".inspector-demo.json", "bundles", "logs"]


@pytest.mark.parametrize(
    ("again", "kept"),
    [
        pytest.param(DemoOptions(keep=True, rate=5, count=7), True, id="rate and count change nothing that is kept"),
        pytest.param(DemoOptions(keep=True, seed=1), False, id="another seed needs other images"),
        pytest.param(DemoOptions(keep=True, size_px=128), False, id="another size needs another model"),
        pytest.param(DemoOptions(keep=True, data="elpv"), False, id="other images"),
    ],
)
def test_images_and_bundle_are_kept_on_demand(tmp_path: Path, again: DemoOptions, kept: bool) -> None:
    files = _last_run(tmp_path / "run", DemoOptions())
    assert prepare_folder(files, again) is kept
    assert files.bundle.is_dir() is kept
    assert not files.camera_results.exists()


def test_unfinished_last_run_is_not_kept(tmp_path: Path) -> None:
    files = _last_run(tmp_path / "run", DemoOptions())
    files.split.unlink()
    assert not prepare_folder(files, DemoOptions(keep=True))


def _split(path: Path, *rows: tuple[str, str, str]) -> Path:
    images = [{"path": p, "label": label, "group": n, "role": role} for n, (p, label, role) in enumerate(rows)]
    path.write_text(json.dumps({"root": str(path.parent), "images": images}))
    return path


def test_split_gives_test_images_alone(tmp_path: Path) -> None:
    split = _split(
        tmp_path / "split.json",
        ("good/2.png", "good", "test"),
        ("good/1.png", "good", "fit"),
        ("good/0.png", "good", "calibration"),
        ("dent/1.png", "dent", "test"),
    )
    assert read_split(split) == [
        TestImage(tmp_path / "dent/1.png", "dent", ""),
        TestImage(tmp_path / "good/2.png", "good", ""),
    ]


def test_bands_come_from_the_table_of_simulated_parts(tmp_path: Path) -> None:
    (tmp_path / "parts.csv").write_text(
        "file,part_type,defect,severity,seed\ngood/1.png,gear,,0.0,1\ndent/1.png,gear,dent,0.9,2\n"
    )
    split = _split(tmp_path / "split.json", ("good/1.png", "good", "test"), ("dent/1.png", "dent", "test"))
    assert [image.band for image in read_split(split)] == ["clearly visible", ""]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("{}", id="no images"),
        pytest.param("[1]", id="not a split"),
        pytest.param('{"root": ".", "images": [{"path": "a.png"}]}', id="no role"),
        pytest.param('{"root": ".", "images": [1]}', id="not an entry"),
        pytest.param(
            '{"root": ".", "images": [{"path": "a.png", "label": "good", "role": "fit"}]}', id="nothing left to show"
        ),
    ],
)
def test_unusable_split_is_a_data_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "split.json").write_text(text)
    with pytest.raises(DataError, match=r"split\.json"):
        read_split(tmp_path / "split.json")


IMAGES = [TestImage(Path(f"/images/{index}.png"), "good" if index % 2 else "dent", "") for index in range(10)]


def test_stream_shows_each_image_once_before_any_again() -> None:
    stream = order_stream(IMAGES, 25, seed=3)
    assert len({image.path for image, _ in stream[:10]}) == 10
    assert [again for _, again in stream] == [False] * 10 + [True] * 15
    assert len({image.path for image, _ in stream[10:20]}) == 10


def test_order_is_mixed_and_the_seed_decides_it() -> None:
    order = [image.path for image, _ in order_stream(IMAGES, None, seed=3)]
    assert len(order) == len(IMAGES)
    assert order == [image.path for image, _ in order_stream(IMAGES, None, seed=3)]
    assert order != [image.path for image, _ in order_stream(IMAGES, None, seed=4)]
    assert order != [image.path for image in IMAGES]


def test_stream_folder_sorts_in_the_order_of_the_triggers(tmp_path: Path) -> None:
    _pictures(tmp_path / "good", 12)
    images = [TestImage(path, "good", "") for path in sorted((tmp_path / "good").iterdir())]
    stream = order_stream(images, 12, seed=1)
    shown = lay_out(stream, tmp_path / "stream")
    assert [part.trigger for part in shown] == list(range(1, 13))
    assert sorted(path.name for path in (tmp_path / "stream").iterdir()) == [part.file for part in shown]
    for part, (image, _) in zip(shown, stream, strict=True):
        assert (tmp_path / "stream" / part.file).resolve() == image.path


def test_other_file_formats_are_sent_as_png_of_the_same_pixels(tmp_path: Path) -> None:
    pixels = np.arange(600, dtype=np.uint16).reshape(20, 30) * 100
    cv2.imwrite(str(tmp_path / "deep.tif"), pixels)
    (part,) = lay_out([(TestImage(tmp_path / "deep.tif", "good", ""), False)], tmp_path / "stream")
    sent = cv2.imread(str(tmp_path / "stream" / part.file), cv2.IMREAD_UNCHANGED)
    assert part.file.endswith(".png")
    assert sent is not None
    assert np.array_equal(sent, pixels)


def test_image_that_vanished_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read any more"):
        lay_out([(TestImage(tmp_path / "gone.bmp", "good", ""), False)], tmp_path / "stream")


def test_line_file_is_one_that_the_inspector_accepts(tmp_path: Path) -> None:
    write_line_file(Files(tmp_path), 50101, 50102, 50103)
    settings = load_line_file(tmp_path / "line.toml")
    assert str(settings.grpc_listen) == "127.0.0.1:50101"
    assert str(settings.modbus_listen) == "127.0.0.1:50102"
    assert settings.data_dir == (tmp_path / "data").resolve()
    assert settings.resolve(settings.file.recipe["demo"].bundle) == (tmp_path / "bundles" / "demo").resolve()
    assert settings.file.web is not None
    assert settings.file.web.listen == "127.0.0.1:50103"


def test_free_ports_are_free_and_different() -> None:
    ports = free_ports(4)
    assert len(set(ports)) == 4
    for port in ports:
        with socket.socket() as one:
            one.bind(("127.0.0.1", port))


SLEEP = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]
DEAF = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)",
]


def _up(log: Path) -> None:
    wait_until(lambda: log.read_bytes().startswith(b"up"), "the child to be up", 20, lambda: None)


def test_children_are_stopped_when_the_demo_is_interrupted(tmp_path: Path) -> None:
    started = []

    def demo() -> None:
        with Children() as children:
            started.append(children.start("sleeper", SLEEP, tmp_path / "log"))
            _up(tmp_path / "log")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        demo()
    assert not started[0].running


def test_nobody_is_left_behind_when_ctrl_c_is_pressed_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stop, impatient = Child.stop, iter([True, False, False])

    def stop_or_be_interrupted(child: Child, timeout_s: float) -> None:
        if next(impatient):
            raise KeyboardInterrupt
        stop(child, timeout_s)

    monkeypatch.setattr(Child, "stop", stop_or_be_interrupted)
    with Children() as children:
        started = [
            children.start("sleeper", SLEEP, tmp_path / "sleeper"),
            children.start("deaf", DEAF, tmp_path / "deaf"),
        ]
        for name in ("sleeper", "deaf"):
            _up(tmp_path / name)
    assert not any(child.running for child in started)
    assert "deaf did not stop within 1 s" in capsys.readouterr().err


def test_child_that_ignores_the_request_is_killed_and_told_of(tmp_path: Path) -> None:
    with Children() as children:
        child = children.start("deaf", DEAF, tmp_path / "log")
        _up(tmp_path / "log")
        with pytest.raises(DemoFailed, match="deaf did not stop"):
            child.stop(timeout_s=0.2)
        assert not child.running


def test_child_that_fails_is_told_of_with_its_last_words(tmp_path: Path) -> None:
    with Children() as children:
        code = "import sys; print('no such port'); sys.exit(3)"
        child = children.start("service", [sys.executable, "-c", code], tmp_path / "log")
        with pytest.raises(DemoFailed, match=r"service ended with status 3[\s\S]*no such port"):
            wait_serving(f"127.0.0.1:{free_ports(1)[0]}", child, 30)


CLUMSY = [
    sys.executable,
    "-c",
    "import signal, sys, time\n"
    "signal.signal(signal.SIGTERM, lambda *_: sys.exit('lost the evidence'))\n"
    "print('up', flush=True); time.sleep(60)",
]


def test_child_that_fails_while_stopping_is_told_of(tmp_path: Path) -> None:
    with Children() as children:
        child = children.start("clumsy", CLUMSY, tmp_path / "log")
        _up(tmp_path / "log")
        with pytest.raises(DemoFailed, match=r"clumsy ended with status 1[\s\S]*lost the evidence"):
            child.stop()


def test_program_that_is_not_there(tmp_path: Path) -> None:
    with Children() as children, pytest.raises(DemoFailed, match="cannot be started"):
        children.start("ghost", [str(tmp_path / "ghost")], tmp_path / "log")


def test_waiting_ends(tmp_path: Path) -> None:
    with pytest.raises(DemoFailed, match="waited 0 s for Godot"):
        wait_until(lambda: False, "Godot", 0.01, lambda: None)


def test_visible_program_that_fails() -> None:
    run_visibly([sys.executable, "-c", "pass"], "nothing", "no next step")
    with pytest.raises(DemoFailed, match="fitting ended with status 4; look above"):
        run_visibly([sys.executable, "-c", "raise SystemExit(4)"], "fitting", "look above")


def test_sigterm_ends_the_demo_as_ctrl_c_does() -> None:
    before = signal.getsignal(signal.SIGTERM)

    def demo() -> None:
        with sigterm_like_ctrl_c():
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        demo()
    assert signal.getsignal(signal.SIGTERM) is before


def test_interrupted_demo_has_its_own_status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_data: str | None) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(demo_run, "check_training", interrupt)
    assert run_demo(DemoOptions(folder=tmp_path / "run"), Console(file=io.StringIO())) == 130


def test_tail_of_an_empty_log(tmp_path: Path) -> None:
    assert "nothing" in tail(tmp_path / "none")
