"""A bundle is whole and untouched, or refused with the fact, the reason and the next step."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys import toy_bundle, toy_golden, toy_manifest, toy_model

from inspector.errors import BundleError, BundleTampered, BundleVersionError
from inspector.inference import bundle as bundle_module
from inspector.inference.bundle import MANIFEST_FILE, MODEL_FILE, LimitBasis, open_bundle, write_bundle
from inspector.inference.manifest import manifest_bytes, parse_manifest
from inspector.part import Limits


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return toy_bundle(tmp_path / "toy").path


def test_what_is_written_is_what_is_opened(tmp_path: Path) -> None:
    manifest = replace(
        toy_manifest(),
        name="tiles-7",
        provenance={"seed": 3, "folders": ["good"], "note": "Ø 5 mm"},
        metrics={"auroc": 0.998},
        basis=LimitBasis("order statistic", 0.005, 0.95, 612, True, "false rejects ≤ 0.5 %", 598),
    )
    template = {"template.png": b"a template"}
    written = write_bundle(tmp_path / "deep" / "tiles-7", manifest, toy_model(), toy_golden(), other=template)
    opened = open_bundle(str(written.path))
    assert opened == written
    assert replace(opened.manifest, files={}) == manifest
    assert opened.label == f"tiles-7@{opened.digest[:12]}"
    assert opened.read("template.png") == b"a template"
    assert os.listdir(tmp_path / "deep") == ["tiles-7"]


def test_digest_names_the_content_not_the_layout_of_the_manifest(folder: Path) -> None:
    before = open_bundle(folder).digest
    compact = json.dumps(json.loads((folder / MANIFEST_FILE).read_text())).encode()
    (folder / MANIFEST_FILE).write_bytes(compact)
    assert open_bundle(folder).digest == before
    rewrite(folder, lambda m: m["limits"].update(score=0.51))
    assert open_bundle(folder).digest != before


def test_a_moved_bundle_keeps_its_name(folder: Path) -> None:
    before = open_bundle(folder)
    moved = folder.rename(folder.with_name("elsewhere"))
    assert open_bundle(moved).label == before.label


def test_a_link_to_a_bundle_opens(folder: Path) -> None:
    link = folder.with_name("current")
    link.symlink_to(folder)
    assert open_bundle(link).digest == open_bundle(folder).digest


def test_read_refuses_what_changed_since_opening_and_what_is_not_of_the_bundle(folder: Path) -> None:
    bundle = open_bundle(folder)
    (folder / MODEL_FILE).write_bytes(toy_model(delay_loops=1))
    with pytest.raises(BundleTampered, match=r"hash of model\.onnx differs"):
        bundle.read(MODEL_FILE)
    with pytest.raises(BundleTampered, match="has no file"):
        bundle.read("../toy/model.onnx")


# --- the manifest -----------------------------------------------------------------------------------------------


def rewrite(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the manifest as someone would who edits it, NaN and all."""
    manifest = json.loads((folder / MANIFEST_FILE).read_text())
    change(manifest)
    (folder / MANIFEST_FILE).write_text(json.dumps(manifest))


def put(*path_and_value: Any) -> Callable[[dict[str, Any]], None]:
    """A change of one value, by its path."""
    *path, key, value = path_and_value

    def change(manifest: dict[str, Any]) -> None:
        target: Any = manifest
        for step in path:
            target = target[step]
        target[key] = value

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(put("limits", "score", math.nan), "NaN", id="NaN limit"),
        pytest.param(put("limits", "region", math.inf), "Infinity", id="infinite limit"),
        pytest.param(put("limits", "score", None), "limits.score", id="no limit"),
        pytest.param(put("limits", "score", "0.5"), "limits.score", id="limit as text"),
        pytest.param(put("limits", "score", True), "limits.score", id="limit as truth"),
        pytest.param(put("limits", "extra", 1), "limits.extra", id="unknown key inside"),
        pytest.param(put("metrics", {"auroc": math.nan}), "NaN", id="NaN metric"),
        pytest.param(put("preprocess", "x"), "preprocess", id="unknown key"),
        pytest.param(lambda m: m.pop("basis"), "basis", id="missing key"),
        pytest.param(put("basis", "false_reject_rate", 1.5), "false_reject_rate", id="rate above 1"),
        pytest.param(put("basis", "good_parts", -1), "good_parts", id="negative count"),
        pytest.param(put("input", "width_px", 0), "width_px", id="no width"),
        pytest.param(put("input", "width_px", 10**9), "width_px", id="absurd width"),
        pytest.param(put("input", "width_px", 32.5), "width_px", id="fractional width"),
        pytest.param(put("input", "channels", 4), "channels", id="four channels"),
        pytest.param(put("input", "location", []), "location", id="location no map"),
        pytest.param(put("classes", []), "classes", id="no class"),
        pytest.param(put("classes", ["a", "a"]), "named twice", id="class twice"),
        pytest.param(put("classes", ["a\n"]), "classes", id="control character in class"),
        pytest.param(put("golden", []), "golden", id="no golden image"),
        pytest.param(put("golden", 0, "verdict", "UNKNOWN"), "PASS or REJECT", id="UNKNOWN is no golden verdict"),
        pytest.param(put("golden", 0, "verdict", 1), "PASS or REJECT", id="verdict as number"),
        pytest.param(put("golden", 0, "verdict", "REJECT"), "contradicts", id="verdict against score"),
        pytest.param(put("golden", 0, "file", "golden/999.png"), "no hash", id="golden image without hash"),
        pytest.param(put("golden", 0, "file", "model.onnx"), "not in golden/", id="golden image elsewhere"),
        pytest.param(put("golden", 0, "file", "golden/240.png"), "named twice", id="golden image twice"),
        pytest.param(put("golden", 0, "media_type", "text/html"), "media_type", id="golden image no image"),
        pytest.param(put("score_tolerance", 0), "score_tolerance", id="no tolerance"),
        pytest.param(put("score_tolerance", -1.0), "score_tolerance", id="negative tolerance"),
        pytest.param(put("created_time", "2026-01-01T00:00:00"), "created_time", id="naive time"),
        pytest.param(put("created_time", 17), "created_time", id="time as number"),
        pytest.param(put("name", "../toy"), "name", id="name with a path"),
        pytest.param(put("name", ""), "name", id="no name"),
        pytest.param(put("files", "../escape", "0" * 64), "files", id="parent path"),
        pytest.param(put("files", "/etc/passwd", "0" * 64), "files", id="absolute path"),
        pytest.param(put("files", "a\\b", "0" * 64), "files", id="backslash"),
        pytest.param(put("files", "C:x", "0" * 64), "files", id="drive"),
        pytest.param(put("files", "a/../../b", "0" * 64), "files", id="parent path inside"),
        pytest.param(put("files", "a//b", "0" * 64), "files", id="empty part"),
        pytest.param(put("files", "a\x00b", "0" * 64), "files", id="NUL"),
        pytest.param(put("files", ".hidden", "0" * 64), "files", id="hidden"),
        pytest.param(put("files", "x.bin\n", "0" * 64), "files", id="line break at the end"),
        pytest.param(put("files", "MODEL.onnx", "0" * 64), "only in case", id="names that differ in case"),
        pytest.param(put("files", MANIFEST_FILE, "0" * 64), "its own hash", id="manifest in itself"),
        pytest.param(put("files", "model.onnx", "0" * 63), "files", id="short hash"),
        pytest.param(lambda m: m["files"].pop("model.onnx"), "has no hash", id="model without hash"),
        pytest.param(put("files", {f"f{i}": "0" * 64 for i in range(1025)}), "files", id="too many files"),
        pytest.param(put("schema_version", None), "schema version", id="no version"),
        pytest.param(put("schema_version", "1"), "schema version", id="version as text"),
        pytest.param(put("schema_version", True), "schema version", id="version as truth"),
    ],
)
def test_a_wrong_manifest_is_refused_with_the_place(folder: Path, change: Any, said: str) -> None:
    rewrite(folder, change)
    with pytest.raises(BundleError, match=said.replace(".", r"\.")) as caught:
        open_bundle(folder)
    assert "export the bundle again" in str(caught.value).lower()


@pytest.mark.parametrize(
    ("version", "step"),
    [pytest.param(2, "upgrade the inspector", id="newer"), pytest.param(0, "export it again", id="older")],
)
def test_another_schema_version_says_which_and_what_to_do(folder: Path, version: int, step: str) -> None:
    rewrite(folder, put("schema_version", version))
    rewrite(folder, put("keys_of_another_age", 1))
    with pytest.raises(BundleVersionError, match=f"schema version {version}, this inspector reads version 1: {step}"):
        open_bundle(folder)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\xff\xfe{}", id="not UTF-8"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b"null", id="null"),
        pytest.param(b'{"schema_version": 1', id="truncated"),
        pytest.param(b'{"schema_version": 1}', id="nothing but the version"),
        pytest.param(b'{"schema_version": 1, "schema_version": 1}', id="key twice"),
        pytest.param(b'{"schema_version": 1, "limits": {"score": 1e999}}', id="number that overflows to infinity"),
        pytest.param(b'{"schema_version": 1' + b"0" * 5000 + b"}", id="integer of 5000 digits"),
        pytest.param(b"[" * 500_000, id="nested without end"),
        pytest.param(b'{"schema_version": 1, "name": "\\ud800"}', id="half a surrogate"),
        pytest.param(b" " * (1 << 20) + b"{}", id="more than 1 MiB"),
    ],
)
def test_text_that_is_no_manifest(folder: Path, text: bytes) -> None:
    (folder / MANIFEST_FILE).write_bytes(text)
    with pytest.raises(BundleError):
        open_bundle(folder)


def test_a_free_value_that_overflows_to_infinity_is_refused(folder: Path) -> None:
    rewrite(folder, put("metrics", {"auroc": 12345.5}))
    text = (folder / MANIFEST_FILE).read_bytes()
    (folder / MANIFEST_FILE).write_bytes(text.replace(b"12345.5", b"1e999"))
    with pytest.raises(BundleError, match="1e999 is out of range"):
        open_bundle(folder)


def test_every_problem_is_named_at_once(folder: Path) -> None:
    rewrite(folder, put("input", "channels", 2))
    rewrite(folder, put("classes", []))
    with pytest.raises(BundleError, match=r"input\.channels.*classes"):
        open_bundle(folder)


@given(
    st.binary(max_size=200)
    | st.recursive(st.none() | st.floats() | st.text(), st.lists).map(lambda v: json.dumps(v).encode())
)
def test_parsing_raises_nothing_but_bundle_errors(text: bytes) -> None:
    with pytest.raises(BundleError):
        parse_manifest(text, "a manifest")


@given(st.data())
def test_a_manifest_with_any_value_replaced_parses_or_is_refused(data: st.DataObject) -> None:
    valid = replace(toy_manifest(), files={name: "0" * 64 for name in (MODEL_FILE, "golden/020.png", "golden/240.png")})
    raw = json.loads(manifest_bytes(valid))
    key = data.draw(st.sampled_from(sorted(raw)))
    raw[key] = data.draw(st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(), st.lists))
    try:
        parsed = parse_manifest(json.dumps(raw).encode(), "a manifest")
    except BundleError:
        return
    assert math.isfinite(parsed.limits.score)
    assert parse_manifest(manifest_bytes(parsed), "again") == parsed


# --- the directory ----------------------------------------------------------------------------------------------


def change_hash(folder: Path, name: str) -> None:
    digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    rewrite(folder, put("files", name, digest))


def _flip(folder: Path) -> None:
    data = bytearray((folder / MODEL_FILE).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / MODEL_FILE).write_bytes(data)


def _link_model(folder: Path) -> None:
    shutil.move(folder / MODEL_FILE, folder.parent / "outside.onnx")
    (folder / MODEL_FILE).symlink_to(folder.parent / "outside.onnx")


def _link_golden(folder: Path) -> None:
    shutil.move(folder / "golden", folder.parent / "outside")
    (folder / "golden").symlink_to(folder.parent / "outside")


def _pipe_model(folder: Path) -> None:
    (folder / MODEL_FILE).unlink()
    os.mkfifo(folder / MODEL_FILE)


def _pipe_manifest(folder: Path) -> None:
    (folder / MANIFEST_FILE).unlink()
    os.mkfifo(folder / MANIFEST_FILE)


def _link_manifest(folder: Path) -> None:
    shutil.move(folder / MANIFEST_FILE, folder.parent / "outside.json")
    (folder / MANIFEST_FILE).symlink_to(folder.parent / "outside.json")


def _model_directory(folder: Path) -> None:
    (folder / MODEL_FILE).unlink()
    (folder / MODEL_FILE).mkdir()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        pytest.param(_flip, "hash of model.onnx differs", id="one bit of the model"),
        pytest.param(lambda f: (f / "golden/020.png").write_bytes(b""), "hash of golden/020.png", id="emptied golden"),
        pytest.param(lambda f: (f / MODEL_FILE).unlink(), "lacks model.onnx", id="missing model"),
        pytest.param(lambda f: shutil.rmtree(f / "golden"), "lacks golden/020.png, golden", id="missing golden images"),
        pytest.param(lambda f: (f / "notes.txt").write_text("x"), "does not name: notes.txt", id="extra file"),
        pytest.param(lambda f: (f / "golden/.x").write_text("x"), "does not name: golden/.x", id="hidden extra file"),
        pytest.param(lambda f: (f / "more").mkdir(), "directory that is not of it: more", id="extra directory"),
        pytest.param(_link_model, "symbolic link", id="model is a link"),
        pytest.param(_link_golden, "symbolic link", id="folder is a link"),
        pytest.param(_link_manifest, "cannot be read as a plain file", id="manifest is a link"),
        pytest.param(_pipe_model, "special file", id="model is a pipe"),
        pytest.param(_pipe_manifest, "not a plain file", id="manifest is a pipe"),
        pytest.param(_model_directory, "directory that is not of it", id="model is a directory"),
    ],
)
def test_a_tampered_directory_is_refused(folder: Path, damage: Callable[[Path], object], said: str) -> None:
    damage(folder)
    with pytest.raises(BundleTampered, match=said.replace(".", r"\.")):
        open_bundle(folder)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        pytest.param("nowhere", "not a directory", id="no such path"),
        pytest.param("toy/manifest.json", "not a directory", id="a file"),
        pytest.param(".", "has no manifest.json", id="a directory without manifest"),
        pytest.param("a\x00b", "path", id="NUL in the path"),
        pytest.param("x" * 5000, "too long", id="endless path"),
    ],
)
def test_a_path_without_bundle(folder: Path, path: str, said: str) -> None:
    with pytest.raises(BundleError, match=said.replace(".", r"\.")):
        open_bundle(f"{folder.parent}/{path}")


def test_the_size_is_bounded_before_anything_is_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle_module, "MAX_BUNDLE_BYTES", 3 << 30)
    with open(folder / MODEL_FILE, "r+b") as stream:
        stream.truncate(4 << 30)  # sparse: takes no room on disk
    with pytest.raises(BundleError, match="exceeds 3072 MiB"):
        open_bundle(folder)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_directory(folder: Path) -> None:
    folder.chmod(0)
    try:
        with pytest.raises(BundleError, match="permission"):
            open_bundle(folder)
    finally:
        folder.chmod(0o755)


# --- writing ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", [pytest.param("directory", id="empty directory"), pytest.param("file", id="file")])
def test_nothing_is_overwritten(tmp_path: Path, what: str) -> None:
    target = tmp_path / "toy"
    target.mkdir() if what == "directory" else target.write_text("mine")
    with pytest.raises(BundleError, match="never overwritten"):
        toy_bundle(target)
    assert target.is_dir() or target.read_text() == "mine"
    assert os.listdir(tmp_path) == ["toy"]


@pytest.mark.parametrize(
    ("change", "golden", "said"),
    [
        pytest.param({"limits": Limits(math.nan, 0.5)}, None, "JSON", id="NaN limit"),
        pytest.param({"metrics": {"auroc": math.inf}}, None, "JSON", id="infinite metric"),
        pytest.param({"provenance": {"time": object()}}, None, "JSON", id="an object"),
        pytest.param({"golden": ()}, {}, "golden", id="no golden image"),
        pytest.param({}, {}, "no hash", id="golden image not given"),
        pytest.param({}, {**toy_golden(), "../x.png": b""}, "files", id="golden image outside"),
        pytest.param({}, {**toy_golden(), "model.onnx": b""}, "two files of one name", id="model twice"),
    ],
)
def test_what_would_be_refused_is_not_written(
    tmp_path: Path, change: dict[str, Any], golden: dict[str, bytes] | None, said: str
) -> None:
    manifest = replace(toy_manifest(), **change)
    with pytest.raises(BundleError, match=said):
        write_bundle(tmp_path / "toy", manifest, toy_model(), toy_golden() if golden is None else golden)
    assert os.listdir(tmp_path) == []


def test_a_broken_model_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="ends early"):
        write_bundle(tmp_path / "toy", toy_manifest(), toy_model()[:-20], toy_golden())
    assert os.listdir(tmp_path) == []


def test_a_writer_that_fails_half_way_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bundle_module.os, "fsync", full)
    with pytest.raises(BundleError, match="No space left on device; free space"):
        toy_bundle(tmp_path / "toy")
    assert os.listdir(tmp_path) == []


def test_a_truncated_model_with_a_matching_hash_is_refused(folder: Path) -> None:
    (folder / MODEL_FILE).write_bytes((folder / MODEL_FILE).read_bytes()[:-7])
    change_hash(folder, MODEL_FILE)
    with pytest.raises(BundleError, match="no whole ONNX file"):
        open_bundle(folder)
