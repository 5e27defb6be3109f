"""The line as its users meet it: the real service on loopback, and the commands around it."""

from __future__ import annotations

import errno
import os
import queue
import socket
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC
from pathlib import Path
from typing import Any

import grpc
import pytest
from plant import plant_in
from postgres import PostgresServer
from rich.console import Console
from toys import toy_bundle, toy_png
from typer.testing import CliRunner

from inspector import __version__
from inspector.access.identity import Role
from inspector.checkup import check_line
from inspector.cli import app
from inspector.errors import BundleError, ConfigError, InspectorError, StoreUnavailable
from inspector.line_records import open_journal
from inspector.part import Frame, PixelFormat
from inspector.records.store import Store
from inspector.reports import inspection_table, not_passed
from inspector.service import run_service
from inspector.settings import LineSettings, load_line_file, read_line_file
from inspector.signalling.registers import STATION_BLOCK_SIZE, unpack_block
from inspector.v1 import inspection_pb2 as values
from inspector.v1 import inspection_service_pb2 as api
from inspector.v1.inspection_service_pb2_grpc import InspectionServiceStub


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def line_file(tmp_path: Path) -> Path:
    toy_bundle(tmp_path / "toy")
    path = tmp_path / "line.toml"
    path.write_text(
        f"""
[line]
name = "l1"
[grpc]
listen = "127.0.0.1:{free_port()}"
[modbus]
listen = "127.0.0.1:{free_port()}"
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
    return path


@pytest.fixture
def settings(line_file: Path) -> LineSettings:
    return load_line_file(line_file)


@pytest.fixture
def judged(settings: LineSettings, line_file: Path) -> Path:
    """A line file whose line has judged four parts: PASS, REJECT, UNKNOWN (a gap), REJECT."""
    with run_service(settings):
        parts = stream(settings, [(1, 20, "A-1"), (2, 240, "A-2"), (4, 250, "A-4")])
        assert [part.trigger for part in parts] == [1, 2, 3, 4]
    return line_file


def stream(settings: LineSettings, parts: list[tuple[int, int, str]]) -> list[values.Inspection]:
    """Send (trigger, brightness, part id) one after the other; return all inspections that came."""
    requests: queue.SimpleQueue[api.InspectRequest | None] = queue.SimpleQueue()
    came: list[values.Inspection] = []
    with grpc.insecure_channel(str(settings.grpc_listen)) as channel:
        call = InspectionServiceStub(channel).Inspect(iter(requests.get, None), timeout=20)
        requests.put(api.InspectRequest(hello=api.Hello(line="l1", camera="c1", client="test")))
        assert next(call).HasField("session")
        for trigger, value, part_id in parts:
            frame = values.Frame(
                trigger=trigger, part_id=part_id, pixel_format=values.PIXEL_FORMAT_PNG, data=toy_png(value)
            )
            requests.put(api.InspectRequest(frame=frame))
            while not came or came[-1].trigger != trigger:
                came.append(next(call).inspection)
        requests.put(None)
    return came


def test_two_cameras_see_one_part(tmp_path: Path) -> None:
    """Two streams, two bundles with limits of their own; PLC, replies and database agree, `inspector show` tells the views."""
    from pymodbus.client import ModbusTcpClient

    from inspector.cameras.client import Answer, CameraClient

    toy_bundle(tmp_path / "top", name="top")
    toy_bundle(tmp_path / "side", name="side", limit=0.2, classes=("dent",))
    path = tmp_path / "line.toml"
    path.write_text(
        f"""
[line]
name = "l1"
[grpc]
listen = "127.0.0.1:{free_port()}"
[modbus]
listen = "127.0.0.1:{free_port()}"
[[station]]
name = "s1"
cameras = {{ top = "c1", side = "c2" }}
unit = 1
recipe = "toy"
[recipe.toy]
deadline_ms = 5000
[recipe.toy.view.top]
bundle = "top"
[recipe.toy.view.side]
bundle = "side"
"""
    )
    checked = check_line(path)
    assert not checked.problems
    assert any(note.startswith("recipe.toy.view.side: bundle side@") for note in checked.notes)
    settings = load_line_file(path)
    answers: dict[tuple[str, int], values.Inspection | None] = {}

    def frame(value: int) -> Frame:
        return Frame(0, PixelFormat.PNG, 0, 0, 0, toy_png(value))

    def note(camera: str) -> Callable[[Answer], None]:
        return lambda answer: answers.update({(camera, answer.trigger): answer.inspection})

    target = str(settings.grpc_listen)
    with (
        run_service(settings),
        CameraClient(target, "l1", "c1", note("c1")) as top,
        CameraClient(target, "l1", "c2", note("c2")) as side,
    ):
        assert (top.session.view, side.session.view) == ("top", "side")
        assert top.session.bundle.startswith("top+side@")
        for seen_by_top, seen_by_side in ((20, 20), (100, 20), (20, 100), (240, 20)):
            top.send(frame(seen_by_top))
            side.send(frame(seen_by_side))
        assert top.wait_answered(20)
        assert side.wait_answered(20)
        plc = ModbusTcpClient(settings.modbus_listen.host, port=settings.modbus_listen.port)
        assert plc.connect()
        block = unpack_block(plc.read_holding_registers(0, count=STATION_BLOCK_SIZE, device_id=1).registers)
        plc.close()
    verdicts = {trigger: told.verdict for (camera, trigger), told in answers.items() if told and camera == "c1"}
    assert verdicts == {1: 1, 2: 1, 3: 2, 4: 2}, "each view by its own limit"
    assert {key: told and told.name for key, told in answers.items() if key[0] == "c2"} == {
        ("c2", trigger): told and told.name for (camera, trigger), told in answers.items() if camera == "c1"
    }
    assert (block.state, block.bundle, block.sequence) == (1, "top+side", 4)
    store = Store(settings.database_url)
    rows = {stored.inspection.trigger: stored for stored in store.after("l1", 0, 10)}
    store.close()
    assert {t: (int(row.inspection.verdict), row.inspection.view) for t, row in rows.items() if t > 2} == {
        3: (2, "side"),
        4: (2, "top"),
    }
    rejected = rows[3]
    assert [(v.view, v.camera, v.bundle[:5]) for v in rejected.inspection.views if v.view == "side"] == [
        ("side", "c2", "side@")
    ]
    assert {image.view for image in rejected.images} <= {"top", "side"}
    number = f"#{rejected.inspection.sequence}"
    shown = CliRunner().invoke(app, ["show", number, "--line", str(path)], env={"COLUMNS": "200"})
    assert shown.exit_code == 0, shown.output
    assert "view side" in shown.output


def test_camera_plc_and_database_agree(settings: LineSettings) -> None:
    from pymodbus.client import ModbusTcpClient

    with run_service(settings):
        replies = stream(settings, [(1, 20, "A"), (2, 240, "B")])
        plc = ModbusTcpClient(settings.modbus_listen.host, port=settings.modbus_listen.port)
        assert plc.connect()
        block = unpack_block(plc.read_holding_registers(0, count=STATION_BLOCK_SIZE, device_id=1).registers)
        plc.close()
    store = Store(settings.database_url)
    rows = {stored.inspection.trigger: stored for stored in store.after("l1", 0, 10)}
    store.close()
    assert [reply.verdict for reply in replies] == [values.VERDICT_PASS, values.VERDICT_REJECT]
    assert (block.trigger, block.verdict, block.state, block.sequence) == (2, 2, 1, 2)
    assert [rows[t].inspection.verdict for t in (1, 2)] == [1, 2]
    assert [len(rows[t].images) for t in (1, 2)] == [0, 2]
    assert store.name


def test_a_camera_that_stops_sending_after_a_large_gap_still_gets_every_verdict(settings: LineSettings) -> None:
    frames = [values.Frame(trigger=t, pixel_format=values.PIXEL_FORMAT_PNG, data=toy_png(20)) for t in (1, 200)]
    hello = api.InspectRequest(hello=api.Hello(line="l1", camera="c1", client="test"))
    with run_service(settings), grpc.insecure_channel(str(settings.grpc_listen)) as channel:
        requests = iter([hello, *(api.InspectRequest(frame=frame) for frame in frames)])
        answers = list(InspectionServiceStub(channel).Inspect(requests, timeout=30))
    assert sorted(answer.inspection.trigger for answer in answers[1:]) == list(range(1, 201))


def test_a_restart_goes_on_counting(settings: LineSettings) -> None:
    with run_service(settings):
        first = stream(settings, [(1, 20, "A")])
    with run_service(settings):
        second = stream(settings, [(1, 240, "A"), (2, 20, "B")])
    assert second[0] == first[0], "the first verdict stands"
    assert [i.sequence for i in second] == [1, 2]


def test_a_bundle_that_fails_its_self_test_keeps_the_line_from_starting(settings: LineSettings, tmp_path: Path) -> None:
    (tmp_path / "toy" / "model.onnx").write_bytes(b"another model")
    with pytest.raises(BundleError, match=r"model\.onnx"), run_service(settings):
        pass


def test_one_bad_bundle_leaves_the_other_stations_at_work(line_file: Path) -> None:
    text = (
        line_file.read_text()
        + '[[station]]\nname="s2"\ncamera="c2"\nunit=2\nrecipe="bad"\n[recipe.bad]\nbundle="none"\n'
    )
    line_file.write_text(text)
    settings = load_line_file(line_file)
    with run_service(settings):
        assert stream(settings, [(1, 20, "A")])[0].verdict == values.VERDICT_PASS
        with grpc.insecure_channel(str(settings.grpc_listen)) as channel:
            frame = values.Frame(trigger=1, pixel_format=values.PIXEL_FORMAT_PNG, data=toy_png(20))
            request = api.InspectFrameRequest(line="l1", camera="c2", frame=frame)
            told = InspectionServiceStub(channel).InspectFrame(request, timeout=20).inspection
    assert told.reason == values.REASON_NOT_READY
    assert "none" in told.detail


def test_a_new_journal_asks_the_database_where_the_numbers_stand(settings: LineSettings, tmp_path: Path) -> None:
    with run_service(settings):
        stream(settings, [(1, 20, "A"), (2, 20, "B")])
    (tmp_path / "var" / "journal").rename(tmp_path / "lost")
    with run_service(settings):
        assert [i.sequence for i in stream(settings, [(3, 20, "C")])] == [3]


def test_a_new_journal_without_its_database_is_refused(settings: LineSettings) -> None:
    store = Store("postgresql+psycopg://nobody@127.0.0.1:1/none")
    with pytest.raises(StoreUnavailable, match="start it first"):
        open_journal(settings, store)


@pytest.mark.parametrize(
    ("change", "key", "says"),
    [
        pytest.param(('bundle = "toy"', 'bundle = "none"'), "recipe.toy.bundle", "none", id="no such bundle"),
        pytest.param(("127.0.0.1", "0.0.0.0"), "grpc.listen", "there is no table [grpc.tls]", id="open door"),
        pytest.param(
            ("[modbus]", '[records]\ndatabase = "mysql://x"\n[modbus]'),
            "records.database",
            "mysql",
            id="unknown database",
        ),
        pytest.param(
            ("[recipe.toy]", '[recipe.toy]\nlocation.kind = "magic"'), "recipe.toy.location", "magic", id="location"
        ),
    ],
)
def test_check_tells_what_would_keep_the_line_from_running(
    line_file: Path, change: tuple[str, str], key: str, says: str
) -> None:
    line_file.write_text(line_file.read_text().replace(*change, 1))
    told = {problem.key: str(problem) for problem in check_line(line_file).problems}
    assert list(told) == [key]
    assert says in told[key]


def test_check_finds_a_taken_port(line_file: Path, settings: LineSettings) -> None:
    with run_service(settings):
        told = {problem.key: problem.next_step for problem in check_line(line_file).problems}
    assert set(told) == {"grpc.listen", "modbus.listen"}
    assert all("may be running already" in step for step in told.values())


def test_check_tells_faults_of_the_file_and_of_this_machine_at_once(line_file: Path) -> None:
    text = line_file.read_text().replace("127.0.0.1", "0.0.0.0", 1).replace('bundle = "toy"', 'bundle = "none"')
    line_file.write_text(text.replace("unit = 1", "unit = 0").replace("5000", "-1").replace('"toy"', '"other"'))
    keys = [problem.key for problem in check_line(line_file).problems]
    assert sorted(keys) == [
        "grpc.listen",
        "recipe.toy.bundle",
        "recipe.toy.deadline_ms",
        "station.0.recipe",
        "station.0.unit",
    ]


@pytest.mark.parametrize(
    ("url", "prepared", "problems"),
    [
        pytest.param("sqlite:///new.db", "", [], id="SQLite file that does not exist yet"),
        pytest.param("sqlite:///deep/er/new.db", "", [], id="nor its folder"),
        pytest.param("sqlite:///empty.db", "empty.db", [], id="SQLite file without tables"),
        pytest.param("sqlite:///toy/manifest.json/new.db", "", ["records.database"], id="below a file"),
        pytest.param("sqlite:////dev/null", "", ["records.database"], id="a device"),
    ],
)
def test_a_new_database_is_no_problem_where_it_can_be_made(
    line_file: Path, url: str, prepared: str, problems: list[str]
) -> None:
    if prepared:
        (line_file.parent / prepared).touch()
    line_file.write_text(line_file.read_text() + f'[records]\ndatabase = "{url}"\n')
    checkup = check_line(line_file)
    assert [problem.key for problem in checkup.problems] == problems
    assert any("the first start makes its tables" in note for note in checkup.notes) == (not problems)


def test_an_empty_server_database_is_no_problem(line_file: Path, postgres: PostgresServer) -> None:
    line_file.write_text(line_file.read_text() + f'[records]\ndatabase = "{postgres.create()}"\n')
    checkup = check_line(line_file)
    assert not checkup.problems
    assert any("the first start makes its tables" in note for note in checkup.notes)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ('source = "folder"\nfolder = "shots"', "camera {}: frames by folder"),
        ('source = "video"\nfile = "gone.mp4"', "warning: camera {}: file {}/gone.mp4 is not here"),
        ('source = "v4l2"\ndevice = "/dev/video99"', "warning: camera {}: device /dev/video99 is not here"),
        ('source = "watched"\nfolder = "shots"\nmemory = "new.jsonl"', "camera {}: frames by watched"),
    ],
    ids=["here", "no file", "no device", "a memory to be made"],
)
def test_check_tells_where_frames_come_from(line_file: Path, source: str, told: str) -> None:
    (line_file.parent / "shots").mkdir()
    camera = next(iter(load_line_file(line_file).file.station[0].by_view.values()))
    line_file.write_text(f"{line_file.read_text()}\n[camera.{camera}]\n{source}\n")
    checkup = check_line(line_file)
    assert not checkup.problems
    assert any(note.startswith(told.format(camera, line_file.parent)) for note in checkup.notes), checkup.notes


def test_half_a_size_of_a_kernel_camera_is_refused(line_file: Path) -> None:
    camera = next(iter(load_line_file(line_file).file.station[0].by_view.values()))
    table = f'[camera.{camera}]\nsource = "v4l2"\ndevice = "/dev/video0"\nwidth_px = 320\n'
    line_file.write_text(f"{line_file.read_text()}\n{table}")
    with pytest.raises(ConfigError, match="width_px and height_px go together"):
        load_line_file(line_file)


def test_a_rate_of_a_kernel_camera_that_is_next_to_nothing_is_refused(line_file: Path) -> None:
    camera = next(iter(load_line_file(line_file).file.station[0].by_view.values()))
    table = f'[camera.{camera}]\nsource = "v4l2"\ndevice = "/dev/video0"\nrate_hz = 0.0001\n'
    line_file.write_text(f"{line_file.read_text()}\n{table}")
    with pytest.raises(ConfigError, match=r"at least 0\.01"):
        load_line_file(line_file)


def test_check_goes_on_where_a_share_cannot_be_looked_at(line_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    camera = next(iter(load_line_file(line_file).file.station[0].by_view.values()))
    share = 'source = "watched"\nfolder = "share/parts"\nmemory = "new.jsonl"'
    line_file.write_text(f"{line_file.read_text()}\n[camera.{camera}]\n{share}\n")
    real = os.stat

    def down(path: Any, *args: Any, **kwargs: Any) -> os.stat_result:
        if str(path).endswith("share/parts"):
            raise OSError(errno.EHOSTDOWN, "Host is down")
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, "stat", down)
    assert any("share/parts is not here" in note for note in check_line(line_file).notes)


@pytest.mark.parametrize(
    ("role", "fact"),
    [
        pytest.param(Role.ENGINEER, "the role engineer, too low to promote bundles", id="promotes nothing"),
        pytest.param(Role.APPROVER, "", id="does what people may do at the desk"),
        pytest.param(None, "is not for clients", id="that of a server"),
    ],
)
def test_check_says_whether_the_web_desk_may_do_what_people_do_there(
    line_file: Path, tmp_path: Path, role: Role | None, fact: str
) -> None:
    plant = plant_in(tmp_path / "plant")
    own = plant.server if role is None else plant.user("desk", role)
    tls = "".join(
        f'{key} = "{path}"\n'
        for key, path in (("certificate", plant.server.certificate), ("key", plant.server.key), ("ca", plant.ca))
    )
    desk = f'[web]\ngrpc_certificate = "{own.certificate}"\ngrpc_key = "{own.key}"\n'
    line_file.write_text(f"{line_file.read_text()}\n[grpc.tls]\n{tls}{desk}")
    checkup = check_line(line_file)
    assert [problem.key for problem in checkup.problems] == (["web.grpc_certificate"] if fact else [])
    if fact:
        assert fact in checkup.problems[0].fact
        assert "--role approver" in checkup.problems[0].next_step
    else:
        assert "web: its certificate for the service has the role approver" in checkup.notes


@pytest.mark.parametrize(("table", "role"), [("web", "approver"), ("opcua", "engineer")])
def test_a_program_without_a_certificate_for_the_service_is_told_the_role_that_it_needs(
    line_file: Path, table: str, role: str
) -> None:
    tls = '[grpc.tls]\ncertificate = "a.pem"\nkey = "a.key"\nca = "ca.pem"\n'
    line_file.write_text(f"{line_file.read_text()}\n{tls}[{table}]\n" + OPCUA.get(table, ""))
    (problem,) = (one for one in read_line_file(line_file).problems if one.key == f"{table}.grpc_certificate")
    assert f"--role {role}`" in problem.next_step


OPCUA = {"opcua": 'listen = "127.0.0.1:4840"\ncertificate = "o.pem"\nkey = "o.key"\nusers = "users.toml"\n'}


def open_modbus(line_file: Path) -> None:
    """Let one network read the registers from outside."""
    grpc_part, modbus_part = line_file.read_text().split("[modbus]")
    modbus_part = modbus_part.replace("127.0.0.1", "0.0.0.0", 1).replace("[[", 'allow = ["10.0.0.0/8"]\n[[', 1)
    line_file.write_text(f"{grpc_part}[modbus]{modbus_part}")


def test_check_says_who_can_read_an_open_modbus_port(line_file: Path) -> None:
    open_modbus(line_file)
    checkup = check_line(line_file)
    assert not checkup.problems
    assert any("no login" in note and "can read" in note for note in checkup.notes)


def test_serve_warns_of_an_open_modbus_port(
    line_file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_: LineSettings) -> None:
        raise BundleError("far enough")

    monkeypatch.setattr("inspector.service.run_service", refuse)
    monkeypatch.setattr("inspector.cli.log_to_stderr", lambda _, **__: None)
    open_modbus(line_file)
    CliRunner().invoke(app, ["serve", str(line_file)])
    assert "no login" in caplog.text


def test_the_version_needs_no_command() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.output) == (0, f"inspector {__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param(["show", "#99999999999999999999999"], "no number of an inspection", id="beyond the database"),
        pytest.param(["show", "#9223372036854775808"], "no number of an inspection", id="just beyond the database"),
        pytest.param(["show", "#" + "9" * 5000], "no number of an inspection", id="beyond Python"),
        pytest.param(["show", "#²"], "no number of an inspection", id="a digit that is no number"),
        pytest.param(["show", "#9223372036854775807"], "not on record", id="the greatest number"),
        pytest.param(["show", "A-2", "--save", "/dev/null/x"], "cannot be saved to /dev/null/x", id="below a file"),
        pytest.param(["show", "A-2", "--save", "/dev/null"], "cannot be saved to /dev/null", id="not a folder"),
    ],
)
def test_wrong_words_of_a_user_get_a_message(judged: Path, arguments: list[str], says: str) -> None:
    result = CliRunner().invoke(app, [*arguments, "--line", str(judged)])
    assert isinstance(result.exception, InspectorError), result.exception
    assert says in str(result.exception)


def test_a_removed_picture_does_not_keep_the_others_from_being_saved(judged: Path, tmp_path: Path) -> None:
    first, second = sorted(path for path in (tmp_path / "var" / "images").rglob("*.*") if path.is_file())[:2]
    first.unlink()
    second.write_bytes(b"damaged")
    told = ""
    for part in ("A-2", "A-4"):
        result = CliRunner().invoke(app, ["show", part, "--line", str(judged), "--save", str(tmp_path / "pictures")])
        assert result.exit_code == 0, result.output
        told += result.output
    assert told.count("not saved: ") == 2
    assert "retention removed it" in told
    assert "is damaged" in told
    assert told.count("\nsaved ") == len(list((tmp_path / "pictures").iterdir())) == 2


def test_the_list_of_rejects_shows_the_date_in_eighty_columns(judged: Path) -> None:
    store = Store(load_line_file(judged).database_url)
    found = not_passed(store, "l1", 20, None, "", unknown=True)
    store.close()
    console = Console(width=80)
    with console.capture() as capture:
        console.print(inspection_table(found))
        both = [found[0], replace(found[1], inspection=replace(found[1].inspection, station="s2"))]
        console.print(inspection_table(both))
    one, several = capture.get().split("2 part(s)")
    for stored in found:
        assert stored.inspection.receive_time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S") in one
    assert "station s1" in one
    assert "s2" in several


def test_check_of_a_good_line_says_so(line_file: Path) -> None:
    result = CliRunner().invoke(app, ["check", str(line_file)])
    assert result.exit_code == 0, result.output
    assert "reproduces its golden images" in result.output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param(["rejects", "LINE"], ["#4", "#3", "#2", "TRIGGER_GAP"], id="all that was not passed"),
        pytest.param(["rejects", "LINE", "--no-unknown", "--limit", "1"], ["#4", "A-4"], id="the newest reject"),
        pytest.param(
            ["show", "A-2", "--line", "LINE", "--save", "PICTURES"], ["REJECT", "finding", "saved"], id="a part"
        ),
        pytest.param(["show", "#3", "--line", "LINE"], ["trigger 3 was skipped"], id="an inspection by number"),
        pytest.param(["db", "stats", "LINE"], ["l1", "pictures"], id="what the database holds"),
        pytest.param(["db", "upgrade", "LINE"], ["now current"], id="upgrade of a current database"),
    ],
)
def test_records_can_be_read_on_the_command_line(
    judged: Path, tmp_path: Path, arguments: list[str], says: list[str]
) -> None:
    places = {"LINE": str(judged), "PICTURES": str(tmp_path / "pictures")}
    result = CliRunner().invoke(app, [places.get(argument, argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    for text in says:
        assert text in result.output


def test_bundles_can_be_looked_at_and_verified(line_file: Path, tmp_path: Path) -> None:
    info = CliRunner().invoke(app, ["bundle", "info", str(tmp_path / "toy")])
    verified = CliRunner().invoke(app, ["bundle", "verify", str(tmp_path / "toy")])
    assert "a toy promises nothing" in info.output
    assert "may go live" in verified.output


def test_text_from_outside_cannot_be_markup_or_move_the_cursor() -> None:
    from inspector.reports import _plain

    assert _plain("[red]x[/]\x1b[2J") == r"\[red]x\[/]�\[2J"
