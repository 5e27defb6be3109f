"""A video and a share through `inspector camera run` into the real service; and what the line file makes of its tables."""

from __future__ import annotations

import json
import logging
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
import zxingcpp
from test_video import cut_off, write_video
from toys import toy_bundle, toy_png
from typer.testing import CliRunner

from inspector.camera_commands import _plans
from inspector.cameras.sources.codes import CodeStage
from inspector.cameras.sources.line_scan import LineScan
from inspector.cameras.sources.numbered import NumberedSource
from inspector.cameras.sources.v4l2 import V4l2Source
from inspector.cameras.sources.video import VideoSource
from inspector.cameras.sources.watched import WatchedFolder
from inspector.cli import app
from inspector.service import run_service
from inspector.settings import load_line_file, read_line_file
from inspector.sim.demo.processes import free_ports


def line_file(folder: Path, *cameras: str) -> Path:
    """A line of a station per camera table, "cam1" and so on, with the toy bundle."""
    toy_bundle(folder / "toy")
    grpc_port, modbus_port = free_ports(2)
    stations = "".join(
        f'[[station]]\nname = "s{n}"\ncamera = "cam{n}"\nunit = {n}\nrecipe = "toy"\n'
        for n in range(1, len(cameras) + 1)
    )
    tables = "".join(f"[camera.cam{n}]\n{text}\n" for n, text in enumerate(cameras, 1))
    path = folder / "line.toml"
    path.write_text(
        f'[line]\nname = "a"\n[grpc]\nlisten = "127.0.0.1:{grpc_port}"\n[modbus]\nlisten = "127.0.0.1:{modbus_port}"\n'
        f'[records]\npass_sampling = 0.0\n{stations}[recipe.toy]\nbundle = "toy"\ndeadline_ms = 10000\n{tables}'
    )
    return path


def code(text: str) -> bytes:
    barcode = zxingcpp.create_barcode(text, zxingcpp.BarcodeFormat.DataMatrix)
    picture = np.array(zxingcpp.write_barcode_to_image(barcode, scale=3))
    # Dark enough to pass: the toy rejects what is bright.
    return cv2.imencode(".png", np.pad((picture * 0.4).astype(np.uint8), 20, constant_values=102))[1].tobytes()


@pytest.mark.timeout(120)
def test_a_video_and_a_share_reach_the_service(tmp_path: Path) -> None:
    cut_off(write_video(tmp_path / "v.avi"), 0.6)
    share = tmp_path / "share"
    share.mkdir()
    for number in (1, 2, 10):
        (share / f"{number}.png").write_bytes(code(f"SN-{number}"))
    (share / "3.png").write_bytes(toy_png(20, 32)[:50])
    path = line_file(
        tmp_path,
        'source = "video"\nfile = "v.avi"',
        'source = "watched"\nfolder = "share"\nmemory = "var/shown"\nsettle_ms = 200\n'
        '[camera.cam2.code]\nformats = ["data-matrix"]',
    )
    results = tmp_path / "results.jsonl"
    with run_service(load_line_file(path)):
        for seconds in ("3", "1"):
            done = CliRunner().invoke(
                app, ["camera", "run", str(path), "--seconds", seconds, "--results", str(results)]
            )
            assert done.exit_code == 0, done.output
            if seconds == "3":
                told = [json.loads(line) for line in results.read_text().splitlines()]
    logging.getLogger().handlers.clear()
    video = [one for one in told if one["camera"] == "cam1"]
    reasons = Counter(one["reason"] for one in video)
    assert reasons["WITHIN_LIMITS"] > 10
    assert reasons["TRIGGER_GAP"] >= 1
    assert any("breaks off after frame" in one["detail"] for one in video)
    files = [(Path(one["origin"]).name, one["reason"]) for one in told if one["camera"] == "cam2"]
    assert files == [
        ("1.png", "WITHIN_LIMITS"),
        ("2.png", "WITHIN_LIMITS"),
        ("3.png", "FRAME_INVALID"),
        ("10.png", "WITHIN_LIMITS"),
    ]
    again = [json.loads(line) for line in results.read_text().splitlines()]
    assert not [one for one in again if one["camera"] == "cam2"], "nothing is shown twice across restarts"


EDGES = '[camera.cam1.line_scan]\njoin = "edges"\nmargin_rows = 8\nleft_px = 10\nright_px = 90'
MODBUS = '[camera.cam1.plc]\nprotocol = "modbus"\naddress = "[::1]:5020"\nid_registers = 4\ncount = "trigger"'
OPCUA = '[camera.cam1.plc]\nprotocol = "opc-ua"\naddress = "opc.tcp://plc:4840"\nnumber_node = "ns=2;s=Part"'
CODE = "[camera.cam1.code]\nregion = { x_px = 0, y_px = 0, width_px = 9, height_px = 9 }"
TABLES = [
    ('source = "video"\nfile = "v.avi"\nevery = 3', VideoSource),
    ('source = "rtsp"\naddress = "rtsp://cam/1"\ntransport = "udp"\npixel_format = "RGB8"', VideoSource),
    ('source = "v4l2"\ndevice = "/dev/video0"\nwidth_px = 640\nheight_px = 480\nrate_hz = 30.0', V4l2Source),
    ('source = "watched"\nfolder = "f"\nmemory = "m"\norder = "time"\nexisting = "skip"', WatchedFolder),
    (f'source = "video"\nfile = "v.avi"\n{EDGES}', LineScan),
    (
        'source = "video"\nfile = "v.avi"\n[camera.cam1.line_scan]\njoin = "rows"\nrows = 100\noverlap_rows = 20',
        LineScan,
    ),
    (f'source = "video"\nfile = "v.avi"\n{MODBUS}', NumberedSource),
    (f'source = "video"\nfile = "v.avi"\n{OPCUA}', NumberedSource),
    (f'source = "video"\nfile = "v.avi"\n{EDGES}\n{MODBUS}', NumberedSource),
]


@pytest.mark.parametrize(("text", "kind"), TABLES)
def test_every_table_makes_its_source(tmp_path: Path, text: str, kind: type) -> None:
    settings = load_line_file(line_file(tmp_path, text))
    (plan,) = _plans(settings, ["cam1"])
    assert isinstance(plan.source, kind)
    assert plan.source.describe()


VIDEO = 'source = "video"\nfile = "v.avi"\n'
FAULTS = [
    (f"{VIDEO}{OPCUA.replace('number_node', 'id_node')}", "camera.cam1.plc", "number_node is missing"),
    (f'{VIDEO}{OPCUA}\ncertificate = "c.pem"', "camera.cam1.plc", "one is missing"),
    (f"{VIDEO}{MODBUS.replace('[::1]:5020', 'plc')}", "camera.cam1.plc", 'expected "host:port"'),
    (f"{VIDEO}{MODBUS}\nfirst_registr = 3", "camera.cam1.plc.first_registr", 'did you mean "first_register"?'),
    (f"{VIDEO}{EDGES}\nmin_rows = 9\nmax_rows = 8", "camera.cam1.line_scan", "min_rows is more than max_rows"),
    (f"{VIDEO}{EDGES.replace('90', '9')}", "camera.cam1.line_scan", "right_px must be more than left_px"),
    (f"{VIDEO}{CODE.replace('width_px', 'widht_px')}", "camera.cam1.code.region.widht_px", 'did you mean "width_px"?'),
    ('source = "rtsp"\naddress = "http://cam"', "camera.cam1.address", "pattern"),
    ('source = "watched"\nfolder = "f"', "camera.cam1.memory", "is missing"),
]


@pytest.mark.parametrize(("text", "key", "says"), FAULTS)
def test_faults_of_a_table_are_told_by_key(tmp_path: Path, text: str, key: str, says: str) -> None:
    problems = read_line_file(line_file(tmp_path, text)).problems
    assert any(problem.key == key and says in str(problem) for problem in problems), problems


def test_a_code_table_makes_a_stage(tmp_path: Path) -> None:
    settings = load_line_file(line_file(tmp_path, f'source = "video"\nfile = "v.avi"\npart_id = "none"\n{CODE}'))
    (plan,) = _plans(settings, ["cam1"])
    assert [type(stage) for stage in plan.stages][-1] is CodeStage
    assert len(plan.stages) == 2
