"""Recipes told and read as files over OPC UA: what comes out opens again, and who overreaches gets nothing and costs little."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from asyncua import Node, ua
from opcua_line import Desk, Loop, line_in, logged_in, opcua_of
from plc_desk import wait_until
from toys import toy_bundle

from inspector.errors import BundleError, NotFound
from inspector.inference.bundle import open_bundle
from inspector.inference.signature import check_trust, make_key_pair, sign_bundle
from inspector.opcua import transfer
from inspector.opcua.recipe_files import RecipeFiles, RecipeSource
from inspector.opcua.run import OpcUaProgram
from inspector.promotions import BundleAt, Promotion, write_promotions
from inspector.records.audit import AuditLog
from inspector.service import run_service
from inspector.settings import LineSettings
from inspector.signalling.commands import Why
from inspector.station import bundles_label

TRANSFER = "RecipeManagement/RecipeTransfer"
KINDS = ua.VariantType


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> LineSettings:
    return line_in(tmp_path_factory.mktemp("line"))


@pytest.fixture(scope="module")
def program(settings: LineSettings) -> Iterator[OpcUaProgram]:
    with run_service(settings), opcua_of(settings) as program:
        yield program


@pytest.fixture(scope="module")
def do() -> Iterator[Loop]:
    do = Loop()
    yield do
    do.close()


@pytest.fixture
def desk(settings: LineSettings, program: OpcUaProgram, do: Loop) -> Iterator[Desk]:
    with logged_in(do, settings) as desk:
        desk.wait_for("ContinuousExecution")
        yield desk
    wait_until(lambda: not program._transfers._files, "the end of the session's files")


def status_of(call: Any, *arguments: Any) -> str:
    with pytest.raises(ua.UaStatusCodeError) as caught:
        call(*arguments)
    return str(ua.StatusCode(caught.value.code).name)


def add(desk: Desk, recipe: str, product: str = "") -> Any:
    about = ua.RecipeIdExternalDataType(Id=recipe), ua.ProductIdDataType(Id=product)
    return desk.call("RecipeManagement/AddRecipe", *about)


def options(recipe: str, version: str = "") -> Any:
    return ua.RecipeTransferOptions(InternalId=ua.RecipeIdInternalDataType(Id=recipe, Version=version))


def generate(desk: Desk, recipe: str = "bright", version: str = "") -> tuple[Node, Any]:
    """The file, and its handle as it is passed on."""
    nodeid, handle, machine = desk.call(f"{TRANSFER}/0:GenerateFileForRead", options(recipe, version))
    assert machine.is_null()
    return desk.client.get_node(nodeid), ua.Variant(handle, KINDS.UInt32)


def call(desk: Desk, file: Node, method: str, *arguments: Any) -> Any:
    return desk.do(file.call_method(f"0:{method}", *arguments))


def by_id(desk: Desk, file: Node, method: str, *arguments: Any) -> Any:
    """As `call`, by the number that the method had or has, whether or not it can be found."""
    return desk.do(
        file.call_method(ua.NodeId(f"{file.nodeid.Identifier}.{method}", file.nodeid.NamespaceIndex), *arguments)
    )


def number(value: int) -> ua.Variant:
    return ua.Variant(value, KINDS.Int32)


def value_of(desk: Desk, file: Node, name: str) -> Any:
    return desk.do(desk.do(file.get_child(f"0:{name}")).read_value())


def test_a_recipe_that_is_there_is_told_and_another_is_unknown(desk: Desk) -> None:
    internal, recipe, product, transfer_required, error = add(desk, "dark")
    assert (internal.Id, transfer_required, error) == ("dark", False, 0)
    assert internal.Version.startswith("dark@")
    assert recipe.is_null()
    assert product.is_null()
    internal, *_, transfer_required, error = add(desk, "nonsense")
    assert (internal.Id, transfer_required, error) == ("", False, Why.UNKNOWN_RECIPE)
    assert status_of(add, desk, "") == "BadInvalidArgument"
    assert status_of(add, desk, "dark", "a product") == "BadNotSupported"


def test_a_recipe_is_read_as_a_file_whose_bundle_opens(desk: Desk, settings: LineSettings, tmp_path: Path) -> None:
    bundle = open_bundle(settings.path.parent / "bright")
    assert desk.value("RecipeManagement", "RecipeTransfer", "0:ClientProcessingTimeout") == transfer.IDLE_S * 1000
    file, handle = generate(desk, "bright", bundle.label)
    size = value_of(desk, file, "Size")
    assert [value_of(desk, file, name) for name in ("OpenCount", "Writable", "UserWritable", "MimeType")] == [
        1,
        False,
        False,
        "application/x-tar",
    ]
    data = b""
    while part := call(desk, file, "Read", handle, number(777)):
        data += part
    assert len(data) == size == call(desk, file, "GetPosition", handle)
    call(desk, file, "SetPosition", handle, ua.Variant(3, KINDS.UInt64))
    assert call(desk, file, "Read", handle, number(5)) == data[3:8]
    call(desk, file, "SetPosition", handle, ua.Variant((1 << 64) - 1, KINDS.UInt64))
    assert call(desk, file, "Read", handle, number(5)) in (None, b"")
    second = ua.Variant(call(desk, file, "Open", ua.Variant(1, KINDS.Byte)), KINDS.UInt32)
    call(desk, file, "Close", handle)
    assert call(desk, file, "Read", second, number(5)) == data[:5]
    call(desk, file, "Close", second)
    assert status_of(by_id, desk, file, "Read", second, number(5)) == "BadNodeIdInvalid"
    with pytest.raises(ua.UaStatusCodeError):
        desk.do(file.read_browse_name())
    again, handle = generate(desk)
    assert value_of(desk, again, "Size") == size
    call(desk, again, "Close", handle)

    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        archive.extractall(tmp_path, filter="data")
    about = json.loads((tmp_path / "about.json").read_text())
    (view,) = about.pop("views")
    assert about == {"version": 1, "line": "l1", "recipe": "bright"}
    assert view == {
        "view": "",
        "bundle": bundle.label,
        "digest": bundle.digest,
        "folder": f"bundles/bright-{bundle.digest[:12]}",
    }
    assert open_bundle(tmp_path / view["folder"]).digest == bundle.digest
    text = (tmp_path / "recipe.toml").read_text()
    assert text == '[recipe.bright]\nbundle = "bright"\ndeadline_ms = 5000\n'
    entries = AuditLog(settings.data_dir / "audit.jsonl").entries
    wait_until(lambda: any(one.action == "read recipe over OPC UA" for one in entries()), "the reading on record")
    entry = next(one for one in entries() if one.action == "read recipe over OPC UA")
    assert (entry.actor, entry.subject) == ("erna at 127.0.0.1", "bright")


def test_nothing_can_be_sent(desk: Desk) -> None:
    assert status_of(desk.call, f"{TRANSFER}/0:GenerateFileForWrite", options("bright")) == "BadNotSupported"
    assert status_of(desk.call, f"{TRANSFER}/0:CloseAndCommit", ua.Variant(1, KINDS.UInt32)) == "BadInvalidArgument"
    file, handle = generate(desk)
    assert status_of(desk.call, f"{TRANSFER}/0:CloseAndCommit", handle) == "BadInvalidState"
    assert status_of(call, desk, file, "Write", handle, b"x") == "BadNotWritable"
    for mode in (2, 3, 6, 10):
        assert status_of(call, desk, file, "Open", ua.Variant(mode, KINDS.Byte)) == "BadNotWritable"
    call(desk, file, "Close", handle)


WANTED = [
    pytest.param(lambda: options("nonsense"), "BadNotFound", id="no such recipe"),
    pytest.param(lambda: options("bright", "bright@000000000000"), "BadNotFound", id="another version"),
    pytest.param(lambda: options("broken"), "BadResourceUnavailable", id="a recipe without a bundle"),
    pytest.param(lambda: options("../../etc/passwd"), "BadNotFound", id="a path"),
    pytest.param(lambda: options("x" * 100_000), "BadNotFound", id="a huge name"),
    pytest.param(lambda: options(""), "BadInvalidArgument", id="no name"),
    pytest.param(lambda: ua.ProductIdDataType(Id="bright"), "BadInvalidArgument", id="another structure"),
    pytest.param(lambda: ua.Variant(["bright"] * 1000), "BadInvalidArgument", id="an array"),
]


@pytest.mark.parametrize(("wanted", "status"), WANTED)
def test_recipes_that_are_none_give_no_file(desk: Desk, program: OpcUaProgram, wanted: Any, status: str) -> None:
    assert status_of(desk.call, f"{TRANSFER}/0:GenerateFileForRead", wanted()) == status
    assert not program._transfers._files


def test_nonsense_about_a_file_is_refused_and_the_file_stays(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "READ_BYTES", 1000)
    file, handle = generate(desk)
    wrong = ua.Variant(handle.Value + 1, KINDS.UInt32)
    assert len(call(desk, file, "Read", handle, number(0x7FFF_FFFF))) == 1000
    for length in (number(-1), ua.Variant(1 << 40, KINDS.Int64), ua.Variant("1"), ua.Variant(True), ua.Variant([1])):
        assert status_of(call, desk, file, "Read", handle, length) == "BadInvalidArgument"
    for bad in (wrong, ua.Variant("1"), ua.Variant([handle.Value]), ua.Variant(None)):
        assert status_of(call, desk, file, "Read", bad, number(1)) == "BadInvalidArgument"
        assert status_of(call, desk, file, "Close", bad) == "BadInvalidArgument"
        assert status_of(call, desk, file, "GetPosition", bad) == "BadInvalidArgument"
    assert status_of(call, desk, file, "SetPosition", handle, number(-1)) == "BadInvalidArgument"
    for mode in (ua.Variant(0, KINDS.Byte), ua.Variant("1"), ua.Variant(255, KINDS.Byte), ua.Variant([1])):
        assert status_of(call, desk, file, "Open", mode) == "BadInvalidArgument"
    for _ in range(transfer.HANDLES - 1):
        call(desk, file, "Open", ua.Variant(1, KINDS.Byte))
    assert status_of(call, desk, file, "Open", ua.Variant(1, KINDS.Byte)) == "BadTooManyOperations"
    assert call(desk, file, "GetPosition", handle) == 1000


def test_a_file_is_its_sessions_alone(desk: Desk, settings: LineSettings, do: Loop) -> None:
    file, handle = generate(desk)
    for user in ("erna", "otto", "vera"):
        with logged_in(do, settings, user) as guest:
            theirs = guest.client.get_node(file.nodeid)
            for method, *arguments in (
                ("Read", handle, number(1)),
                ("Close", handle),
                ("Open", ua.Variant(1, KINDS.Byte)),
            ):
                assert status_of(call, guest, theirs, method, *arguments) == "BadUserAccessDenied"
    assert call(desk, file, "Read", handle, number(10)) == b"about.json"


def test_a_flood_of_files_is_bounded_and_sessions_take_theirs_along(
    desk: Desk, settings: LineSettings, program: OpcUaProgram, do: Loop
) -> None:
    with ExitStack() as stack:
        others = [stack.enter_context(logged_in(do, settings)) for _ in range(transfer.FILES)]
        for one in others:
            generate(one)
            for _ in range(5):
                assert status_of(generate, one) == "BadTooManyOperations"
        assert status_of(generate, desk) == "BadTooManyOperations"
        assert len(program._transfers._files) == transfer.FILES
    wait_until(lambda: not program._transfers._files, "the end of the files of sessions that are over")
    children = [
        desk.do(child.read_browse_name()).Name for child in desk.do(desk.node(*TRANSFER.split("/")).get_children())
    ]
    assert sorted(children) == [
        "ClientProcessingTimeout",
        "CloseAndCommit",
        "GenerateFileForRead",
        "GenerateFileForWrite",
    ]
    nodes = program._transfers._model.server.iserver.aspace
    before = len(list(nodes.keys()))
    for _ in range(20):
        file, handle = generate(desk)
        call(desk, file, "Close", handle)
    assert len(list(nodes.keys())) == before


def test_a_file_that_is_left_alone_goes(desk: Desk, program: OpcUaProgram, monkeypatch: pytest.MonkeyPatch) -> None:
    file, handle = generate(desk)
    monkeypatch.setattr(program._transfers, "_idle_s", 0.2)
    wait_until(lambda: not program._transfers._files, "the end of the file")
    assert status_of(by_id, desk, file, "Read", handle, number(1)) == "BadNodeIdInvalid"


def test_what_is_too_large_is_refused_before_it_is_read(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "HELD_BYTES", 1000)
    assert status_of(generate, desk) == "BadResourceUnavailable"
    monkeypatch.undo()
    file, handle = generate(desk)
    call(desk, file, "Close", handle)


# ------------------------------------------------------------------------------------------------------------------ packing


def files_of(folder: Path, *bundles: str, views: tuple[str, ...] = ("",)) -> RecipeFiles:
    source = RecipeSource("[recipe.tiles]\n", {view: folder / name for view, name in zip(views, bundles, strict=True)})
    return RecipeFiles("l1", {"tiles": source}, folder)


def test_a_recipe_that_is_written_otherwise_is_not_sent_half(tmp_path: Path) -> None:
    bundle = toy_bundle(tmp_path / "tiles")
    files = RecipeFiles("l1", {"tiles": RecipeSource("", {"": tmp_path / "tiles"})}, tmp_path)
    with pytest.raises(NotFound, match=r"no tables \[recipe\.tiles\] of their own: write the recipe so"):
        files.pack("tiles", bundle.label, 1 << 20)


def names_in(data: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return archive.getnames()


def test_signatures_come_along_and_the_same_recipe_gives_the_same_bytes(tmp_path: Path) -> None:
    bundle = toy_bundle(tmp_path / "tiles")
    _, public, _ = make_key_pair(tmp_path / "key")
    sign_bundle(bundle, tmp_path / "key", "erna")
    files = files_of(tmp_path, "tiles")
    data = files.pack("tiles", bundle.label, 1 << 20)
    assert data == files.pack("tiles", bundle.label, 1 << 20)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        archive.extractall(tmp_path / "out", filter="data")
    (received,) = (tmp_path / "out" / "bundles").iterdir()
    trusted = check_trust(open_bundle(received), [public])
    assert trusted is not None
    assert trusted.signer == "erna"


def test_the_bundle_that_was_promoted_is_packed_and_no_other(tmp_path: Path) -> None:
    first, second = toy_bundle(tmp_path / "one"), toy_bundle(tmp_path / "two", limit=0.05)
    files = files_of(tmp_path, "one")
    at = BundleAt(str(second.path), second.label, second.digest)
    promotion = Promotion("tiles", "", at, None, str(first.path), "erna", "", "better", datetime.now(UTC))
    write_promotions(tmp_path / "promotions.json", [promotion])
    assert second.digest[:12] in "".join(names_in(files.pack("tiles", second.label, 1 << 20)))
    with pytest.raises(BundleError, match="start the service and this program anew"):
        files.pack("tiles", first.label, 1 << 20)


def test_a_recipe_of_several_views_holds_the_bundles_of_all(tmp_path: Path) -> None:
    labels = [toy_bundle(tmp_path / name, name=name).label for name in ("top", "side")]
    files = files_of(tmp_path, "top", "side", views=("top", "side"))
    folders = {
        name.split("/")[1].split("-")[0] for name in names_in(files.pack("tiles", bundles_label(labels), 1 << 20))[2:]
    }
    assert folders == {"top", "side"}


def test_what_was_changed_or_is_not_whole_is_not_sent(tmp_path: Path) -> None:
    bundle = toy_bundle(tmp_path / "tiles")
    files = files_of(tmp_path, "tiles")
    with pytest.raises(NotFound):
        files.pack("others", bundle.label, 1 << 20)
    with pytest.raises(BundleError):
        files.pack("tiles", "", 1 << 20)
    with pytest.raises(BundleError, match="larger than"):
        files.pack("tiles", bundle.label, sum(one.stat().st_size for one in bundle.path.rglob("*.*")) + 4096)
    (bundle.path / "link").symlink_to("/etc/passwd")
    with pytest.raises(BundleError):
        files.pack("tiles", bundle.label, 1 << 20)
    (bundle.path / "link").unlink()
    model = bundle.path / "model.onnx"
    model.write_bytes(model.read_bytes() + b"x")
    with pytest.raises(BundleError):
        files.pack("tiles", bundle.label, 1 << 20)
