"""Another bundle for a recipe of a running line: no part is missed for it, and what may not judge does not."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

import pytest
from plc_desk import wait_until
from test_control import Plc
from test_service import free_port, stream
from toys import toy_bundle, toy_manifest, toy_model, toy_png
from typer.testing import CliRunner

from inspector.cameras.client import Answer as Answered
from inspector.cameras.client import CameraClient
from inspector.checkup import check_line
from inspector.cli import app
from inspector.errors import ConfigError, InspectorError, InvalidRequest, NotFound, PromotionOvertaken, PromotionRefused
from inspector.inference.bundle import open_bundle, write_bundle
from inspector.inference.engine import Engine
from inspector.inference.memory import memory_left_bytes
from inspector.inference.signature import make_key_pair, sign_bundle
from inspector.part import Frame, PixelFormat, Reason, Verdict
from inspector.promotions import (
    PROMOTIONS_FILE,
    BundleAt,
    Promotion,
    ViewReading,
    Wish,
    newest,
    read_promotions,
    write_promotions,
)
from inspector.records.audit import AuditLog
from inspector.records.model_history import ModelHistory
from inspector.records.store import Store
from inspector.rpc.commander import Commander
from inspector.service import Service, run_service
from inspector.settings import LineSettings, load_line_file
from inspector.signalling.commands import Answer, Command
from inspector.v1 import inspection_pb2 as values

LINE = """
[line]
name = "l1"
[grpc]
listen = "127.0.0.1:{}"
[modbus]
listen = "127.0.0.1:{}"
write_allow = ["127.0.0.1"]
[[station]]
name = "s1"
camera = "c1"
unit = 1
recipe = "tiles"
[[station]]
name = "s2"
unit = 2
recipe = "caps"
cameras = {{ top = "c2", side = "c3" }}
[recipe.tiles]
bundle = "a"
deadline_ms = 5000
[recipe.caps]
deadline_ms = 5000
approvals = 2
[recipe.caps.view.top]
bundle = "a"
[recipe.caps.view.side]
bundle = "side"
"""


@pytest.fixture
def settings(tmp_path: Path) -> LineSettings:
    """A line whose recipe tiles is judged by bundle a; bundles b and c, with other limits, lie beside it."""
    for name, limit in {"a": 0.5, "b": 0.3, "c": 0.2, "side": 0.5}.items():
        toy_bundle(tmp_path / name, name=name, limit=limit)
    (tmp_path / "line.toml").write_text(LINE.format(free_port(), free_port()))
    return load_line_file(tmp_path / "line.toml")


@pytest.fixture
def service(settings: LineSettings) -> Iterator[Service]:
    with run_service(settings) as running:
        yield running


@pytest.fixture
def approver(settings: LineSettings, service: Service) -> Iterator[Commander]:
    commander = Commander(str(settings.grpc_listen), "l1")
    yield commander
    commander.close()


def wish(folder: str, recipe: str = "tiles", view: str = "", **more: str) -> Wish:
    return replace(Wish(recipe, view, folder, "fewer escapes", "", "anna"), **more)


def judging(settings: LineSettings) -> str:
    """Which bundle a part is judged by that comes now."""
    reading = Commander(str(settings.grpc_listen), "l1")
    (one,) = (view for view in reading.recipes() if view.recipe == "tiles")
    reading.close()
    assert one.bundle is not None
    return one.bundle.label[0]


@dataclass
class Pump:
    """Stations whose cameras show part after part, as fast as they are judged, until they are stopped."""

    target: str
    stations: tuple[tuple[str, ...], ...]
    answers: dict[tuple[str, int], list[Answered]] = field(default_factory=dict)
    stopped: threading.Event = field(default_factory=threading.Event)
    threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Pump:
        for cameras in self.stations:
            self.threads.append(threading.Thread(target=self._send, args=(cameras,)))
            self.threads[-1].start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        for thread in self.threads:
            thread.join(60)

    def _send(self, cameras: tuple[str, ...]) -> None:
        frame = Frame(0, PixelFormat.MONO8, 32, 32, 0, bytes([100]) * 1024)
        with ExitStack() as stack:
            clients = [stack.enter_context(self._client(camera)) for camera in cameras]
            while not self.stopped.is_set():
                for client in clients:
                    assert client.wait_for_room(20)
                for client in clients:
                    client.send(frame)
            assert all(client.wait_answered(20) for client in clients)

    def _client(self, camera: str) -> CameraClient:
        note = lambda answer: self.answers.setdefault((camera, answer.trigger), []).append(answer)  # noqa: E731
        return CameraClient(self.target, "l1", camera, note, max_in_flight=4, connect_timeout_s=60)

    def passed(self, more: int) -> None:
        """Wait until so many more parts have their verdict."""
        goal = len(self.answers) + more
        wait_until(lambda: len(self.answers) >= goal, "parts", 60)

    def bundles(self, camera: str) -> list[str]:
        """The bundles that judged, in the order of the triggers, each run of them once; every trigger answered once."""
        mine = {trigger: told for (which, trigger), told in self.answers.items() if which == camera}
        assert sorted(mine) == list(range(1, len(mine) + 1))
        assert all(len(told) == 1 for told in mine.values())
        seen = [mine[trigger][0].inspection for trigger in sorted(mine)]
        assert all(one is not None and one.verdict != Verdict.UNKNOWN for one in seen)
        return [name for name, _ in groupby(one.bundle.partition("@")[0] for one in seen if one is not None)]


def test_parts_stream_while_bundles_are_exchanged_and_each_is_judged_once_by_one_of_them(
    settings: LineSettings, approver: Commander
) -> None:
    """A recipe with one view, and one with two cameras whose triggers are shared."""
    with Pump(str(settings.grpc_listen), (("c1",), ("c2", "c3"))) as pump:
        pump.passed(40)
        assert approver.promote(wish("b")).bundle == read_promotions(settings.data_dir / PROMOTIONS_FILE)[-1].bundle
        pump.passed(40)
        approver.promote(wish("c", "caps", "top", proposed_by="ben"))
        pump.passed(40)
        approver.promote(wish(""))
        pump.passed(40)
        approver.promote(wish("", "caps", "top"))
        pump.passed(40)
    assert pump.bundles("c1") == ["a", "b", "a"]
    assert pump.bundles("c2") == pump.bundles("c3") == ["a+side", "c+side", "a+side"]


def test_parts_in_flight_are_judged_by_the_bundle_they_came_under(
    settings: LineSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    infer, entered, open_ = Engine.infer, threading.Event(), threading.Event()

    def held(engine: Engine, batch: object) -> object:
        if engine.bundle.manifest.name == "a":
            entered.set()
            assert open_.wait(20)
        return infer(engine, batch)  # type: ignore[arg-type]

    # The second worker proves the new bundle while a part is held in the first.
    settings.path.write_text(settings.path.read_text() + "[inference]\nworkers = 2\n")
    with run_service(load_line_file(settings.path)):
        monkeypatch.setattr(Engine, "infer", held)
        came: list[values.Inspection] = []
        camera = threading.Thread(target=lambda: came.extend(stream(settings, [(1, 100, "P1")])))
        camera.start()
        assert entered.wait(20)
        approver = Commander(str(settings.grpc_listen), "l1")
        approver.promote(wish("b"))
        approver.close()
        open_.set()
        camera.join(20)
        after = stream(settings, [(2, 100, "P2")])
    assert [(one.bundle[0], one.verdict) for one in (*came, *after)] == [("a", Verdict.PASS), ("b", Verdict.REJECT)]


def spoil(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"another model")


def lie(folder: Path) -> None:
    """Golden images that do not score here as recorded."""
    shutil.rmtree(folder)
    golden = {f"golden/{value:03d}.png": toy_png(30 if value == 20 else value) for value in (20, 240)}
    write_bundle(folder, toy_manifest(name="b"), toy_model(), golden)


REFUSED = [
    pytest.param(wish("none"), None, PromotionRefused, "no bundle at", id="a folder that was deleted"),
    pytest.param(wish("b"), spoil, PromotionRefused, "was changed", id="a changed graph"),
    pytest.param(wish("b"), lie, PromotionRefused, "golden image", id="golden images that fail here"),
    pytest.param(wish("a"), None, PromotionRefused, "judges by recipe tiles already", id="the one that judges"),
    pytest.param(
        wish("b", digest="0" * 12), None, PromotionRefused, "look at it again", id="another content than was seen"
    ),
    pytest.param(wish("b", replaces="0" * 12), None, PromotionOvertaken, "as you saw it", id="in place of another one"),
    pytest.param(wish(""), None, PromotionRefused, "nothing to go back to", id="a rollback without a promotion"),
    pytest.param(wish("b", reason=" "), None, InvalidRequest, "reason", id="no reason"),
    pytest.param(wish("b", reason="x" * 501), None, InvalidRequest, "reason", id="a long reason"),
    pytest.param(wish("b", reason="a\nb"), None, InvalidRequest, "one line", id="a reason that breaks logs"),
    pytest.param(wish("b", "tile"), None, NotFound, "tiles, caps", id="a recipe that is none"),
    pytest.param(wish("b", view="top"), None, NotFound, "without a name", id="a view that is none"),
    pytest.param(wish("b", "caps"), None, NotFound, "top, side", id="no view of a recipe that has some"),
    pytest.param(wish("b", "caps", "top"), None, PromotionRefused, "approvals = 2", id="nobody proposed it"),
    pytest.param(
        wish("b", "caps", "top", proposed_by=" Anna "), None, PromotionRefused, "somebody else", id="the same person"
    ),
]


@pytest.mark.parametrize(("asked", "prepare", "kind", "says"), REFUSED)
def test_what_may_not_judge_is_refused_with_the_reason_and_what_judged_goes_on(
    settings: LineSettings,
    service: Service,
    approver: Commander,
    tmp_path: Path,
    asked: Wish,
    prepare: Callable[[Path], None] | None,
    kind: type[InspectorError],
    says: str,
) -> None:
    if prepare is not None:
        prepare(tmp_path / "b")
    with pytest.raises(kind, match=says):
        approver.promote(asked)
    assert stream(settings, [(1, 100, "P1")])[0].bundle.startswith("a@")
    assert not (settings.data_dir / PROMOTIONS_FILE).exists()
    log = AuditLog(settings.data_dir / "audit.jsonl")
    wait_until(lambda: any(one.action == "refused a promotion" for one in log.entries()), "the record")
    entry = list(log.entries())[-1]
    assert (entry.actor, says in str(entry.details["why"])) == ("ipv4:127.0.0.1 for anna", True)


def test_a_model_too_slow_for_the_recipe_is_refused(settings: LineSettings, tmp_path: Path) -> None:
    path = tmp_path / "line.toml"
    path.write_text(path.read_text().replace("deadline_ms = 5000", "deadline_ms = 1", 1))
    toy_bundle(tmp_path / "slow", name="slow", delay_loops=60)
    with run_service(load_line_file(path)):
        commander = Commander(str(settings.grpc_listen), "l1")
        with pytest.raises(PromotionRefused, match="every part would be UNKNOWN"):
            commander.promote(wish("slow"))
        commander.close()


@pytest.mark.parametrize(("run_ms", "is_refused"), [(94.0, False), (96.0, True)])
def test_a_model_must_be_done_before_a_part_is_told_unknown(
    settings: LineSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_ms: float, is_refused: bool
) -> None:
    """Of a budget of 100 ms the last 5 are for telling."""
    path = tmp_path / "line.toml"
    path.write_text(path.read_text().replace("deadline_ms = 5000", "deadline_ms = 100", 1))
    monkeypatch.setattr("inspector.inference.schedule.RunTimes.expect_s", lambda *_: run_ms / 1000)
    with run_service(load_line_file(path)):
        commander = Commander(str(settings.grpc_listen), "l1")
        refused = pytest.raises(PromotionRefused, match="every part would be UNKNOWN") if is_refused else nullcontext()
        with refused:
            commander.promote(wish("b"))
        commander.close()


def test_a_bundle_that_would_not_fit_into_memory_is_not_even_loaded(
    settings: LineSettings, approver: Commander, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inspector.loading.memory_left_bytes", lambda: 100 << 20)
    with pytest.raises(PromotionRefused, match="100 MiB of memory are left"):
        approver.promote(wish("b"))
    assert judging(settings) == "a"


def test_only_a_bundle_that_a_trusted_key_signed_is_promoted(settings: LineSettings, tmp_path: Path) -> None:
    keys = {name: make_key_pair(tmp_path / "keys" / name)[0] for name in ("anna", "eve")}
    path = tmp_path / "line.toml"
    path.write_text(path.read_text() + '[inference]\ntrust = ["keys/anna.pub"]\n')
    for name in ("a", "side", "c"):
        sign_bundle(open_bundle(tmp_path / name), keys["anna"], "Anna")
    sign_bundle(open_bundle(tmp_path / "b"), keys["eve"], "Eve")
    with run_service(load_line_file(path)):
        commander = Commander(str(settings.grpc_listen), "l1")
        with pytest.raises(PromotionRefused, match="whose keys this line does not trust"):
            commander.promote(wish("b"))
        assert judging(settings) == "a"
        commander.promote(wish("c"))
        assert judging(settings) == "c"
        commander.close()


def test_of_two_promotions_at_once_one_wins_and_the_other_is_told_by_whom(
    settings: LineSettings, approver: Commander, monkeypatch: pytest.MonkeyPatch
) -> None:
    from inspector.loading import load_beside

    entered, open_ = threading.Event(), threading.Event()

    def held(*about: object) -> object:
        entered.set()
        assert open_.wait(20)
        return load_beside(*about)  # type: ignore[arg-type]

    monkeypatch.setattr("inspector.promoting.load_beside", held)
    told: list[ViewReading] = []
    first = threading.Thread(target=lambda: told.append(approver.promote(wish("b", by="ben"))))
    first.start()
    assert entered.wait(20)
    with pytest.raises(PromotionOvertaken, match=r"ben is promoting b for recipe tiles"):
        approver.promote(wish("c"))
    open_.set()
    first.join(20)
    assert told[0].bundle is not None
    assert judging(settings) == "b"
    seen = open_bundle(settings.path.parent / "a").digest
    with pytest.raises(PromotionOvertaken, match=r"b@\w+, promoted by ben on .*: fewer escapes, and not by"):
        approver.promote(wish("c", replaces=seen))


def test_a_golden_check_that_runs_keeps_a_promotion_out(
    settings: LineSettings, service: Service, approver: Commander, monkeypatch: pytest.MonkeyPatch
) -> None:
    from inspector.models import prove_again

    entered, open_ = threading.Event(), threading.Event()

    def held(*about: object) -> int:
        entered.set()
        assert open_.wait(20)
        return prove_again(*about)  # type: ignore[arg-type]

    monkeypatch.setattr("inspector.promoting.prove_again", held)
    check = threading.Thread(target=lambda: approver.give("s1", Command.CHECK, "anna"))
    check.start()
    assert entered.wait(20)
    with pytest.raises(PromotionRefused, match="golden check of station s1"):
        approver.promote(wish("b"))
    open_.set()
    check.join(20)
    approver.promote(wish("b"))
    assert judging(settings) == "b"


def test_a_promotion_heals_what_failed_its_golden_check_and_the_check_then_looks_at_the_new_bundle(
    settings: LineSettings, approver: Commander, monkeypatch: pytest.MonkeyPatch
) -> None:
    infer = Engine.infer

    def drifted(engine: Engine, batch: object) -> object:
        return infer(engine, 255 - batch if engine.bundle.manifest.name == "a" else batch)  # type: ignore[operator, arg-type]

    monkeypatch.setattr(Engine, "infer", drifted)
    assert approver.give("s1", Command.CHECK, "anna").answer is Answer.FAILED
    assert stream(settings, [(1, 20, "P1")])[0].reason == Reason.NOT_READY
    approver.promote(wish("b"))
    assert stream(settings, [(2, 20, "P2")])[0].verdict == Verdict.PASS
    assert approver.give("s1", Command.CHECK, "anna").answer is Answer.DONE
    with pytest.raises(PromotionRefused, match="golden image"):
        approver.promote(wish(""))
    plc = Plc(settings.modbus_listen.port)
    assert plc.give(Command.ACKNOWLEDGE)[0] is Answer.DONE


def test_a_promotion_of_one_view_does_not_heal_another_that_failed_its_golden_check(
    service: Service, approver: Commander, monkeypatch: pytest.MonkeyPatch
) -> None:
    infer = Engine.infer

    def drifted(engine: Engine, batch: object) -> object:
        return infer(engine, 255 - batch if engine.bundle.manifest.name == "side" else batch)  # type: ignore[operator, arg-type]

    monkeypatch.setattr(Engine, "infer", drifted)
    assert approver.give("s2", Command.CHECK, "anna").answer is Answer.FAILED
    with pytest.raises(PromotionRefused, match=r"recipe caps failed its golden check, and would with b@\w+ too"):
        approver.promote(wish("b", "caps", "top", proposed_by="ben"))
    assert not service.pipeline.setup_of("s2").is_usable
    approver.promote(wish("c", "caps", "side", proposed_by="ben"))
    assert service.pipeline.setup_of("s2").is_usable
    assert approver.give("s2", Command.CHECK, "anna").answer is Answer.DONE
    approver.promote(wish("b", "caps", "top", proposed_by="ben"))


def test_a_changeover_comes_back_to_the_promoted_bundle(settings: LineSettings, tmp_path: Path) -> None:
    path = tmp_path / "line.toml"
    text = path.read_text().replace('recipe = "tiles"', 'recipe = "tiles"\nrecipes = ["other"]', 1)
    path.write_text(text + '[recipe.other]\nbundle = "side"\n')
    with run_service(load_line_file(path)):
        commander = Commander(str(settings.grpc_listen), "l1")
        commander.give("s1", Command.CHANGE_RECIPE, "anna", "other")
        commander.promote(wish("b"))
        assert stream(settings, [(1, 20, "P1")])[0].bundle.startswith("side@")
        commander.give("s1", Command.CHANGE_RECIPE, "anna", "tiles")
        assert stream(settings, [(2, 20, "P2")])[0].bundle.startswith("b@")
        commander.close()


def test_a_promotion_outlives_a_restart_and_is_told_and_on_record(settings: LineSettings) -> None:
    with run_service(settings):
        commander = Commander(str(settings.grpc_listen), "l1")
        commander.promote(wish("b"))
        commander.close()
    assert any("b@" in note and "promoted by anna" in note for note in check_line(settings.path).notes)
    with run_service(settings):
        commander = Commander(str(settings.grpc_listen), "l1")
        assert stream(settings, [(1, 100, "P1")])[0].bundle.startswith("b@")
        back = commander.promote(wish(""))
        assert (back.bundle and back.bundle.label[0], back.before_is_warm) == ("a", True)
        again = commander.promote(wish(""))
        assert again.bundle
        assert again.bundle.label[0] == "b", "a rollback of a rollback goes forward"
        commander.close()
    entries = [e for e in AuditLog(settings.data_dir / "audit.jsonl").entries() if "a bundle" in e.action]
    assert [(e.action, e.subject, e.actor) for e in entries] == [
        ("promoted a bundle", "l1/tiles", "ipv4:127.0.0.1 for anna"),
        ("rolled back a bundle", "l1/tiles", "ipv4:127.0.0.1 for anna"),
        ("rolled back a bundle", "l1/tiles", "ipv4:127.0.0.1 for anna"),
    ]
    of = {name: open_bundle(settings.path.parent / name).digest for name in "ab"}
    assert [(e.details["old_digest"], e.details["new_digest"]) for e in entries[:2]] == [
        (of["a"], of["b"]),
        (of["b"], of["a"]),
    ]
    assert entries[0].details["reason"] == "fewer escapes"
    store = Store(settings.database_url)
    history = ModelHistory(store.database, "l1")
    assert [(one.label[0], one.label_before[0], one.is_rollback) for one in history.promotions()] == [
        ("b", "a", True),
        ("a", "b", True),
        ("b", "a", False),
    ]
    assert {(one.label[0], one.checked, one.failed) for one in history.golden()} == {
        ("a", 2, 0),
        ("b", 2, 0),
        ("s", 2, 0),
    }
    assert [use.label[0] for use in history.uses()] == ["b"]
    assert {stored.inspection.bundle[0] for stored in store.after("l1", 0, 10)} == {"b"}
    store.close()


def break_file(folder: Path) -> None:
    (folder / "var" / PROMOTIONS_FILE).write_text('{"version": 1, "promoted": [{}]}')


def test_the_line_does_not_guess_which_bundle_was_promoted(settings: LineSettings, tmp_path: Path) -> None:
    with run_service(settings):
        commander = Commander(str(settings.grpc_listen), "l1")
        commander.promote(wish("b"))
        commander.close()
    break_file(tmp_path)
    with pytest.raises(ConfigError, match="which bundles were promoted, and cannot be read"), run_service(settings):
        pass
    assert "cannot be read" in str(check_line(settings.path).problems[0])


@pytest.mark.parametrize(
    "harm",
    [
        pytest.param(shutil.rmtree, id="deleted"),
        pytest.param(spoil, id="changed"),
        pytest.param(lambda folder: (shutil.rmtree(folder), toy_bundle(folder, name="b", limit=0.9)), id="exchanged"),
    ],
)
def test_a_promoted_bundle_that_is_gone_at_the_start_is_a_fault_that_can_be_rolled_back(
    settings: LineSettings, tmp_path: Path, harm: Callable[[Path], object]
) -> None:
    with run_service(settings):
        commander = Commander(str(settings.grpc_listen), "l1")
        commander.promote(wish("b"))
        commander.close()
    harm(tmp_path / "b")
    assert [problem.key for problem in check_line(settings.path).problems] == ["recipe.tiles.bundle"]
    with run_service(settings):
        (part,) = stream(settings, [(1, 20, "P1")])
        assert part.reason == Reason.NOT_READY
        assert "promoted by anna" in part.detail
        commander = Commander(str(settings.grpc_listen), "l1")
        commander.promote(wish(""))
        commander.close()
        assert stream(settings, [(2, 20, "P2")])[0].bundle.startswith("a@")


@pytest.mark.parametrize("gone", [("c",), ("b", "c")], ids=["of one view", "of both views"])
def test_views_whose_promoted_bundles_are_gone_at_the_start_are_rolled_back_one_by_one(
    settings: LineSettings, tmp_path: Path, gone: tuple[str, ...]
) -> None:
    views = {"c": "top", "b": "side"}
    with run_service(settings):
        commander = Commander(str(settings.grpc_listen), "l1")
        for folder in gone:
            commander.promote(wish(folder, "caps", views[folder], proposed_by="ben"))
        commander.close()
    for folder in gone:
        shutil.rmtree(tmp_path / folder)
    with run_service(settings) as service:
        commander = Commander(str(settings.grpc_listen), "l1")
        for folder in gone:
            assert not service.pipeline.setup_of("s2").is_usable
            last = commander.promote(wish("", "caps", views[folder]))
            assert bool(last.fault) == (folder != "c")
        assert service.pipeline.setup_of("s2").is_usable
        assert commander.give("s2", Command.CHECK, "anna").answer is Answer.DONE
        commander.close()


def test_a_line_file_that_names_another_bundle_since_counts(settings: LineSettings, tmp_path: Path) -> None:
    with run_service(settings):
        commander = Commander(str(settings.grpc_listen), "l1")
        commander.promote(wish("b"))
        commander.close()
    path = tmp_path / "line.toml"
    path.write_text(path.read_text().replace('bundle = "a"', 'bundle = "c"', 1))
    with run_service(load_line_file(path)):
        assert judging(settings) == "c"


DYING = """
import os, signal, sys
import inspector.promoting as promoting
from inspector.cli import main
write = promoting.write_promotions
def dies(*about):
    write(*about)
    os.kill(os.getpid(), signal.SIGKILL)
promoting.write_promotions = dies
sys.argv = ["inspector", "serve", {path!r}]
main()
"""


def test_kill_9_between_the_disk_and_the_swap_costs_no_verdict_and_the_new_bundle_judges_after_it(
    settings: LineSettings,
) -> None:
    code = DYING.format(path=str(settings.path))
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    approver = Commander(str(settings.grpc_listen), "l1")
    try:
        with Pump(str(settings.grpc_listen), (("c1",),)) as pump:
            pump.passed(10)
            with pytest.raises(InspectorError):
                approver.promote(wish("b"))
            assert process.wait(20) == -9
            with run_service(settings):
                pump.passed(10)
                pump.stopped.set()
                for thread in pump.threads:
                    thread.join(30)
                assert judging(settings) == "b"
                told = [answers for (_, trigger), answers in sorted(pump.answers.items())]
                assert all(len(answers) == 1 for answers in told)
                lost = {one[0].inspection.reason for one in told if one[0].inspection is not None} - {1, 2}
                assert lost <= {Reason.SERVICE_RESTARTED, Reason.TRIGGER_GAP, Reason.DEADLINE_EXCEEDED}
    finally:
        process.kill()
        process.wait()
        approver.close()


def test_promote_and_rollback_on_the_command_line(settings: LineSettings, service: Service, tmp_path: Path) -> None:
    line = str(settings.path)
    arguments = ["promote", line, "tiles", str(tmp_path / "b"), "--reason", "better", "--by", "Anna Berg"]
    told = CliRunner().invoke(app, arguments)
    assert told.exit_code == 0, told.output
    assert "recipe tiles: b@" in told.output
    assert "before it a@" in told.output
    back = CliRunner().invoke(app, ["rollback", line, "tiles", "--reason", "worse after all"])
    assert "recipe tiles: a@" in back.output
    two = ["promote", line, "caps", str(tmp_path / "b"), "--view", "top", "--reason", "better", "--by", "anna"]
    refused = CliRunner().invoke(app, two)
    assert isinstance(refused.exception, PromotionRefused)
    assert CliRunner().invoke(app, [*two, "--proposed-by", "ben"]).exit_code == 0
    assert "--ca and --cert" in str(CliRunner().invoke(app, [*two, "--ca", "x"]).exception)


def test_the_file_keeps_the_newest_and_always_the_last_of_each_recipe(tmp_path: Path) -> None:
    at = BundleAt("/b", "b@1", "1" * 64)
    one = Promotion("old", "", at, None, "/a", "anna", "", "why", datetime(2026, 5, 4, tzinfo=UTC))
    many = [replace(one, recipe="tiles", reason=str(n), before=at) for n in range(150)]
    write_promotions(tmp_path / "p.json", [one, *many])
    assert read_promotions(tmp_path / "p.json") == (one, *many[50:])
    assert newest(read_promotions(tmp_path / "p.json")) == {("old", ""): one, ("tiles", ""): many[-1]}


def test_what_cannot_be_kept_is_not_promoted(
    settings: LineSettings, approver: Commander, monkeypatch: pytest.MonkeyPatch
) -> None:
    (settings.data_dir / "promotions.draft").mkdir()
    with pytest.raises(PromotionRefused, match="a restart would not know"):
        approver.promote(wish("b"))
    assert judging(settings) == "a"
    assert stream(settings, [(1, 100, "P1")])[0].verdict == Verdict.PASS


MEMORY = [
    pytest.param("MemAvailable: 2048 kB\n", {}, 2 << 20, id="a machine"),
    pytest.param("", {}, None, id="a system that does not say"),
    pytest.param("MemAvailable: many kB\n", {}, None, id="nonsense"),
    pytest.param(
        "MemAvailable: 2048 kB\n",
        {"memory.max": "1000", "memory.current": "900", "memory.stat": "anon 1\ninactive_file 400\n"},
        500,
        id="a container, whose cached files can go",
    ),
    pytest.param(
        "MemAvailable: 2048 kB\n",
        {"memory.max": "max", "memory.current": "900", "memory.stat": ""},
        2 << 20,
        id="a container without a bound",
    ),
]


@pytest.mark.parametrize(("meminfo", "group", "left"), MEMORY)
def test_memory_that_is_left(tmp_path: Path, meminfo: str, group: dict[str, str], left: int | None) -> None:
    (tmp_path / "meminfo").write_text(meminfo)
    for name, text in group.items():
        (tmp_path / name).write_text(text)
    assert memory_left_bytes(tmp_path / "meminfo", tmp_path) == left
