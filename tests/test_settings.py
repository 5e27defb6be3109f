"""The line file: every fault is told at once, with its key and the next step."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.engine import make_url

from inspector.errors import ConfigError
from inspector.records.store import Store
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
    assert settings.data_dir == tmp_path / "var"
    assert str(settings.grpc_listen) == "127.0.0.1:50051"
    assert settings.file.recipe["r"].deadline_ms == 500
    assert settings.resolve("bundles/r") == tmp_path / "bundles" / "r"


def test_the_example_holds() -> None:
    example = Path(__file__).parents[1] / "deploy" / "line.example.toml"
    assert load_line_file(example).file.station[0].camera == "cam1"


SEEN = """
[line]
name = "l1"
[[station]]
name = "s1"
cameras = { top = "c1", side = "c2" }
unit = 1
recipe = "r"
[recipe.r.view.top]
bundle = "bundles/top"
[recipe.r.view.side]
bundle = "bundles/side"
check = { min_sharpness = 0.5 }
"""


def test_a_station_has_a_camera_for_each_view(tmp_path: Path) -> None:
    file = load_line_file(written(tmp_path, SEEN)).file
    assert file.station[0].by_view == {"top": "c1", "side": "c2"}
    views = file.recipe["r"].by_view
    assert {name: (view.bundle, view.check.min_sharpness) for name, view in views.items()} == {
        "top": ("bundles/top", 0.0),
        "side": ("bundles/side", 0.5),
    }
    alone = load_line_file(written(tmp_path, GOOD)).file
    assert (alone.station[0].by_view, alone.recipe["r"].by_view[""].bundle) == ({"": "c1"}, "bundles/r")


@pytest.mark.parametrize(
    ("text", "given", "expected"),
    [
        pytest.param(GOOD, "", (1, 2, 2), id="one camera has both cores"),
        pytest.param(SEEN, "", (2, 1, 1), id="two cameras share them"),
        pytest.param(SEEN, "workers = 1", (1, 2, 2), id="as told"),
        pytest.param(SEEN, "max_batch = 8", (2, 1, 8), id="batches as told"),
        pytest.param(SEEN, 'provider = "CUDA"', (1, 2, 2), id="a graphics processor shares itself out"),
        pytest.param(SEEN, 'provider = "CUDA"\nworkers = 2', (2, 1, 2), id="and gains by batches"),
        pytest.param(SEEN, 'oip = "127.0.0.1:8001"', (1, 2, 2), id="so does an inference server"),
    ],
)
def test_what_runs_at_once_follows_from_cameras_and_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, given: str, expected: tuple[int, int, int]
) -> None:
    monkeypatch.setattr("inspector.inference.cores.usable_cores", lambda: 2)
    inference = load_line_file(written(tmp_path, f"[inference]\n{given}\n{text}")).inference
    assert (inference.workers, inference.threads, inference.max_batch) == expected


MANY = "".join(f'[recipe.r.view.v{n}]\nbundle = "b"\n' for n in range(20))


@pytest.mark.parametrize(
    ("text", "key", "says"),
    [
        pytest.param(SEEN.replace(', side = "c2"', ""), "station.0.cameras", "has the views top, side", id="no camera"),
        pytest.param(SEEN.replace("c2", "c1"), "station.0.cameras.side", "is also that of", id="one camera, two views"),
        pytest.param(SEEN.replace("c2", "c 2"), "station.0.cameras.side", "letters, digits", id="no name"),
        pytest.param(
            SEEN.replace("side =", '"" ='), "station.0.cameras.", "letters, digits", id="a view without a name"
        ),
        pytest.param(
            SEEN.replace("unit", 'camera = "c3"\nunit'), "station.0.camera", "not both", id="camera and cameras"
        ),
        pytest.param(
            SEEN.replace("[recipe.r.view.top]", '[recipe.r]\nbundle = "b"\n[recipe.r.view.top]'),
            *("recipe.r.bundle", "not both"),
            id="bundle and views",
        ),
        pytest.param(
            SEEN.replace("[recipe.r.view.top]", '[recipe.r.location]\nkind = "none"\n[recipe.r.view.top]'),
            *("recipe.r.location", "each of which has its own"),
            id="a location for all views",
        ),
        pytest.param(
            SEEN.replace('cameras = { top = "c1", side = "c2" }', 'camera = "c1"'),
            *("station.0.camera", "and the station has one view without a name"),
            id="one camera for two views",
        ),
        pytest.param(
            GOOD.replace('camera = "c1"', 'cameras = { top = "c1", side = "c2" }'),
            *("station.0.cameras", "has one view without a name, and the station has the views"),
            id="two cameras for one view",
        ),
        pytest.param(
            SEEN.replace('bundle = "bundles/top"', ""), "recipe.r.view.top.bundle", "is missing", id="no bundle"
        ),
        pytest.param(SEEN.replace("bundle =", "bundel ="), "recipe.r.view.top.bundel", 'mean "bundle"', id="typo"),
        pytest.param(SEEN + MANY, "recipe.r.view", "at most 16", id="too many views"),
        pytest.param(
            SEEN.replace('cameras = { top = "c1", side = "c2" }', ""), "station.0.camera", "missing", id="none"
        ),
    ],
)
def test_views_and_cameras_that_do_not_match_are_told(tmp_path: Path, text: str, key: str, says: str) -> None:
    told = {problem.key: str(problem) for problem in read_line_file(written(tmp_path, text)).problems}
    assert says in told[key], told


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
    reading = read_line_file(written(tmp_path, text))
    assert reading.settings is None
    told = {problem.key: f"{problem.fact}; {problem.next_step}" for problem in reading.problems}
    assert says in told.get(key, ""), reading.problems


def test_all_problems_come_at_once(tmp_path: Path) -> None:
    text = GOOD.replace("unit = 1", "unit = 0").replace('"l1"', '""') + "deadline_ms = -1\n"
    problems = read_line_file(written(tmp_path, text)).problems
    assert {problem.key for problem in problems} == {"line.name", "station.0.unit", "recipe.r.deadline_ms"}


SECOND = '[[station]]\nname="s2"\ncamera="c1"\nunit=2\nrecipe="q"\n'


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        pytest.param(
            GOOD.replace("unit = 1", "unit = 0") + SECOND,
            {"station.0.unit", "station.1.camera", "station.1.recipe"},
            id="a bad unit hides neither the same camera nor the unknown recipe",
        ),
        pytest.param(
            GOOD.replace('"l1"', '""') + '[grpc]\nlisten = "127.0.0.1:5020"\n',
            {"line.name", "modbus.listen"},
            id="a bad name does not hide a port used twice",
        ),
        pytest.param(
            GOOD + '[grpc]\nlisten = "nowhere"\n[modbus]\nlisten = "nowhere"\n',
            {"grpc.listen", "modbus.listen"},
            id="addresses that are none are not compared",
        ),
        pytest.param(
            GOOD.replace('name = "s1"\n', "") + SECOND,
            {"station.0.name", "station.1.camera", "station.1.recipe"},
            id="a station without a name still has its camera",
        ),
        pytest.param("line = 1\nstation = 2\nrecipe = 3\n", {"line", "station", "recipe"}, id="no table at all"),
        pytest.param(
            'station = [1]\nrecipe = {r = 2}\n[line]\nname = "l"\n', {"station.0", "recipe.r"}, id="numbers for tables"
        ),
    ],
)
def test_a_fault_in_one_place_hides_none_in_another(tmp_path: Path, text: str, keys: set[str]) -> None:
    assert {problem.key for problem in read_line_file(written(tmp_path, text)).problems} == keys


@pytest.mark.parametrize(
    ("added", "database"),
    [
        pytest.param("", "FOLDER/var/quality.db", id="none given: in the data folder"),
        pytest.param('[records]\ndatabase = "sqlite:///q.db"\n', "FOLDER/q.db", id="relative to the line file"),
        pytest.param('[records]\ndatabase = "sqlite:////srv/q.db"\n', "/srv/q.db", id="absolute"),
        pytest.param('[records]\ndatabase = "postgresql://u:p%40ss@h/quality"\n', "quality", id="a server"),
        pytest.param('[records]\ndatabase = "nothing"\n', None, id="no URL: left for the store to refuse"),
    ],
)
def test_the_database_is_where_the_line_file_says(tmp_path: Path, added: str, database: str | None) -> None:
    url = load_line_file(written(tmp_path, GOOD + added)).database_url
    if database is None:
        assert url == "nothing"
    else:
        assert make_url(url).database == database.replace("FOLDER", str(tmp_path))
        assert make_url(url).password == ("p@ss" if database == "quality" else None)


@pytest.mark.parametrize("name", ["a?b=c", "50%25", "x#y", "with space", "ü"])
def test_any_name_of_a_data_folder_works(tmp_path: Path, name: str) -> None:
    settings = load_line_file(written(tmp_path, GOOD.replace('"l1"', f'"l1"\ndata_dir = "{name}"')))
    store = Store(settings.database_url)
    store.create()
    store.close()
    assert (tmp_path / name / "quality.db").is_file()


@pytest.mark.parametrize(
    ("listen", "warned"),
    [
        pytest.param("127.0.0.1:5020", False, id="loopback"),
        pytest.param("[::1]:5020", False, id="loopback of IPv6"),
        pytest.param("localhost:5020", False, id="loopback by name"),
        pytest.param("0.0.0.0:5020", True, id="every network"),
        pytest.param("192.168.1.5:5020", True, id="one network"),
        pytest.param("plc-net.local:5020", True, id="a name, which may be anywhere"),
    ],
)
def test_an_open_modbus_port_is_warned_of(tmp_path: Path, listen: str, warned: bool) -> None:
    table = f'[modbus]\nlisten = "{listen}"\nallow = ["192.168.1.0/24"]\n'
    warnings = load_line_file(written(tmp_path, GOOD + table)).warnings()
    assert ["no login" in warning and "can read" in warning for warning in warnings] == [True] * warned


TLS = '[grpc.tls]\ncertificate = "s.pem"\nkey = "s.key"\nca = "ca.pem"\n'
OPCUA = '[opcua]\ncertificate = "o.pem"\nkey = "o.key"\nusers = "u.toml"\n'
DOORS = [
    pytest.param('[grpc]\nlisten = "0.0.0.0:1"\n', ["grpc.listen"], id="gRPC for all without certificates"),
    pytest.param('[grpc]\nlisten = "inspector.local:1"\n', ["grpc.listen"], id="under a name that may be anywhere"),
    pytest.param(f'[grpc]\nlisten = "0.0.0.0:1"\n{TLS}', [], id="gRPC for all with certificates"),
    pytest.param('[grpc]\nlisten = "[::1]:1"\n', [], id="gRPC for this machine"),
    pytest.param('[modbus]\nlisten = "0.0.0.0:1"\n', ["modbus.listen"], id="Modbus for all"),
    pytest.param('[modbus]\nlisten = "0.0.0.0:1"\nallow = []\n', ["modbus.listen"], id="Modbus for nobody is for all"),
    pytest.param('[modbus]\nlisten = "0.0.0.0:1"\nallow = ["10.0.0.7"]\n', [], id="Modbus for one PLC"),
    pytest.param('[modbus]\nallow = ["10.0.0.0/8", "plc"]\n', ["modbus.allow.1"], id="a name is no network"),
    pytest.param('[modbus]\nallow = ["10.0.0.1/8"]\n', ["modbus.allow.0"], id="a network with host bits"),
    pytest.param('[grpc.tls]\ncertificate = "s.pem"\n', ["grpc.tls.key", "grpc.tls.ca"], id="half a table"),
    pytest.param(f'{OPCUA}listen = "0.0.0.0:1"\n', [], id="OPC UA for all, with certificate and users"),
    pytest.param('[opcua]\nlisten = "0.0.0.0:1"\n', ["opcua.certificate", "opcua.key", "opcua.users"], id="without"),
    pytest.param(f'{OPCUA}listen = "0.0.0.0:1"\nanonymous = true\n', ["opcua.anonymous"], id="OPC UA for anybody"),
    pytest.param(f"{OPCUA}anonymous = true\n", [], id="OPC UA for anybody on this machine"),
    pytest.param(f"{OPCUA}{TLS}", ["opcua.grpc_certificate"], id="OPC UA that could not reach its line"),
    pytest.param(f'{OPCUA}grpc_certificate = "c.pem"\n', ["opcua.grpc_key"], id="a certificate without its key"),
    pytest.param(f'{OPCUA}listen = "127.0.0.1:5020"\n', ["opcua.listen"], id="the PLC's port"),
    pytest.param(f"{OPCUA}max_sessions = 0\n", ["opcua.max_sessions"], id="OPC UA for nobody"),
    pytest.param(f"{OPCUA}usres = 3\n", ["opcua.usres"], id="a key of OPC UA with a typing mistake"),
    pytest.param(TLS.replace("key", "kye"), ["grpc.tls.key", "grpc.tls.kye"], id="a key with a typing mistake"),
]


@pytest.mark.parametrize(("table", "keys"), DOORS)
def test_a_door_that_lets_anybody_in_is_a_problem(tmp_path: Path, table: str, keys: list[str]) -> None:
    reading = read_line_file(written(tmp_path, GOOD + table))
    assert sorted(problem.key for problem in reading.problems) == sorted(keys)


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


CAMERA = GOOD + '[camera.c1]\nsource = "folder"\nfolder = "parts"\n'


def test_a_camera_has_the_keys_of_its_source(tmp_path: Path) -> None:
    table = load_line_file(written(tmp_path, CAMERA + "rate_hz = 5\n")).file.camera["c1"]
    assert table.options(lambda path: tmp_path / path, 500) == {
        "folder": tmp_path / "parts",
        "rate_hz": 5.0,
        "loop": False,
        "raw": None,
    }


@pytest.mark.parametrize(
    ("text", "key", "says"),
    [
        pytest.param(CAMERA.replace('source = "folder"', ""), "camera.c1.source", "is missing; write", id="no source"),
        pytest.param(CAMERA.replace('"folder"', '"webcam"'), "camera.c1.source", 'there is no "webcam"', id="unknown"),
        pytest.param(CAMERA + "rate_hs = 5\n", "camera.c1.rate_hs", 'did you mean "rate_hz"', id="typo"),
        pytest.param(CAMERA + "rate_hz = -5\n", "camera.c1.rate_hz", "greater than or equal", id="range"),
        pytest.param(CAMERA + "gain = 5\n", "camera.c1.gain", "is not a key of this table", id="key of another kind"),
        pytest.param(CAMERA.replace("camera.c1", "camera.c2"), "camera.c2", "no station has that camera", id="stray"),
        pytest.param(CAMERA + 'key = "k"\n', "camera.c1.key", "one is missing", id="a key alone"),
        pytest.param(
            CAMERA + '[grpc.tls]\ncertificate = "c"\nkey = "k"\nca = "a"\n',
            *("camera.c1.certificate", "there is none for this camera to show"),
            id="a line with certificates",
        ),
        pytest.param(
            CAMERA.replace('"folder"', '"genicam"').replace("folder =", "device =") + "[camera.c1.region]\nwidth = 5\n",
            *("camera.c1.region.width", 'did you mean "width_px"'),
            id="a table in it",
        ),
    ],
)
def test_faults_of_cameras_are_told(tmp_path: Path, text: str, key: str, says: str) -> None:
    problems = read_line_file(written(tmp_path, text)).problems
    assert any(problem.key == key and says in str(problem) for problem in problems), problems
