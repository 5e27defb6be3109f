"""Signed bundles: exactly the content that a trusted key vouched for loads, and nothing else."""

from __future__ import annotations

import base64
import json
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from toys import toy_bundle

from inspector.errors import BundleTampered, BundleUntrusted, ConfigError
from inspector.inference.bundle import MANIFEST_FILE, Bundle, open_bundle
from inspector.inference.manifest import SIGNATURE_FILE
from inspector.inference.signature import check_trust, make_key_pair, read_public_key, sign_bundle, signatures_of


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return toy_bundle(tmp_path / "toy")


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return make_key_pair(tmp_path / "keys" / "anna")[0]


def public(key: Path) -> Path:
    return key.with_name(key.name + ".pub")


def test_a_signed_bundle_is_the_same_bundle_and_trusted(bundle: Bundle, key: Path) -> None:
    sign_bundle(bundle, key, "Anna")
    opened = open_bundle(bundle.path)
    assert opened == bundle
    signature = check_trust(opened, [public(key)])
    assert signature is not None
    assert signature.signer == "Anna"


def test_without_trusted_keys_every_bundle_is_trusted(bundle: Bundle) -> None:
    assert check_trust(bundle, []) is None


def test_one_of_several_trusted_keys_is_enough(bundle: Bundle, key: Path, tmp_path: Path) -> None:
    other = make_key_pair(tmp_path / "keys" / "bert")[0]
    sign_bundle(bundle, key, "Anna")
    sign_bundle(bundle, other, "Bert")
    sign_bundle(bundle, other, "Bert again")
    assert [one.signer for one in signatures_of(bundle)] == ["Anna", "Bert again"]
    for trusted in ([public(other)], [public(key)], [public(other), public(key)]):
        assert check_trust(bundle, trusted) is not None


def test_an_unsigned_bundle_is_not_trusted(bundle: Bundle, key: Path) -> None:
    with pytest.raises(BundleUntrusted, match=r"is not signed; the line trusts .*anna\.pub"):
        check_trust(bundle, [public(key)])


def test_the_signature_of_a_stranger_is_not_trusted(bundle: Bundle, key: Path, tmp_path: Path) -> None:
    sign_bundle(bundle, make_key_pair(tmp_path / "mallory")[0], "Anna")
    with pytest.raises(BundleUntrusted, match="signed by 'Anna', whose keys this line does not trust"):
        check_trust(bundle, [public(key)])


def rewritten(change: Callable[[dict[str, str]], None]) -> Callable[[Path], None]:
    def rewrite(path: Path) -> None:
        document = json.loads(path.read_text())
        change(document["signatures"][0])
        path.write_text(json.dumps(document))

    return rewrite


FORGERIES = [
    ("another signer", rewritten(lambda s: s.update(signer="Boss")), "not of this content"),
    ("another time", rewritten(lambda s: s.update(time="2020-01-01T00:00:00+00:00")), "not of this content"),
    ("a value of zeros", rewritten(lambda s: s.update(value=base64.b64encode(bytes(64)).decode())), "not of this"),
    ("a value that is no base64", rewritten(lambda s: s.update(value="!")), "not of this content"),
    ("an empty value", rewritten(lambda s: s.update(value="")), "not of this content"),
    ("a number for a text", rewritten(lambda s: s.update(signer=7)), "no list of signatures"),  # type: ignore[call-overload]
    ("another key", rewritten(lambda s: s.update(more="x")), "no list of signatures"),
    ("an empty file", lambda p: p.write_text(""), "no list of signatures"),
    ("another version", lambda p: p.write_text('{"version": 2, "signatures": []}'), "another version"),
    ("no signatures", lambda p: p.write_text('{"version": 1, "signatures": []}'), "is not signed"),
    ("a list", lambda p: p.write_text("[]"), "no list of signatures"),
    ("nested too deep", lambda p: p.write_text("[" * 50_000), "no list of signatures"),
    ("a huge file", lambda p: p.write_bytes(b" " * (1 << 20)), "larger than"),
]


@pytest.mark.parametrize(("forge", "message"), [pytest.param(f, m, id=name) for name, f, m in FORGERIES])
def test_a_forged_signature_is_refused(bundle: Bundle, key: Path, forge: Callable[[Path], None], message: str) -> None:
    sign_bundle(bundle, key, "Anna")
    forge(bundle.path / SIGNATURE_FILE)
    with pytest.raises(BundleUntrusted, match=message):
        check_trust(bundle, [public(key)])


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_no_changed_byte_of_a_signature_makes_another_one(bundle: Bundle, key: Path, data: st.DataObject) -> None:
    path = bundle.path / SIGNATURE_FILE
    path.unlink(missing_ok=True)
    made = sign_bundle(bundle, key, "Anna")
    whole = path.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    path.write_bytes(whole[:place] + bytes([data.draw(st.integers(0, 255))]) + whole[place + 1 :])
    try:
        found = check_trust(bundle, [public(key)])
    except BundleUntrusted:
        return
    assert found == made


def test_the_signature_of_one_bundle_is_not_that_of_another(bundle: Bundle, key: Path, tmp_path: Path) -> None:
    other = toy_bundle(tmp_path / "other", limit=0.9)
    sign_bundle(bundle, key, "Anna")
    shutil.copy(bundle.path / SIGNATURE_FILE, other.path / SIGNATURE_FILE)
    with pytest.raises(BundleUntrusted, match="not of this content"):
        check_trust(open_bundle(other.path), [public(key)])


def test_a_bundle_that_was_changed_soundly_is_another_one_and_not_trusted(bundle: Bundle, key: Path) -> None:
    sign_bundle(bundle, key, "Anna")
    manifest = bundle.path / MANIFEST_FILE
    manifest.write_text(manifest.read_text().replace('"name": "toy"', '"name": "toys"'))
    with pytest.raises(BundleUntrusted, match="changed after it was signed"):
        check_trust(open_bundle(bundle.path), [public(key)])


def test_a_signature_that_is_a_link_or_a_folder_keeps_the_bundle_closed(bundle: Bundle) -> None:
    (bundle.path / SIGNATURE_FILE).symlink_to("/etc/hostname")
    with pytest.raises(BundleTampered, match="symbolic link"):
        open_bundle(bundle.path)
    (bundle.path / SIGNATURE_FILE).unlink()
    (bundle.path / SIGNATURE_FILE).mkdir()
    with pytest.raises(BundleTampered, match="directory"):
        open_bundle(bundle.path)


def test_keys_are_private_never_overwritten_and_may_have_a_passphrase(tmp_path: Path, bundle: Bundle) -> None:
    private, _, _ = make_key_pair(tmp_path / "k", "secret")
    assert stat.S_IMODE(os.stat(private).st_mode) == 0o600
    with pytest.raises(ConfigError, match="never overwritten"):
        make_key_pair(tmp_path / "k")
    with pytest.raises(ConfigError, match="give its passphrase"):
        sign_bundle(bundle, private, "Anna")
    with pytest.raises(ConfigError, match="wrong passphrase"):
        sign_bundle(bundle, private, "Anna", "guess")
    sign_bundle(bundle, private, "Anna", "secret")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"", "no public key", id="empty"),
        pytest.param(b"\0" * 50_000, "no public key", id="huge and not PEM"),
        pytest.param(None, "cannot be read", id="missing"),
    ],
)
def test_what_is_no_key_is_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "x.pub"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        read_public_key(path)


def test_a_private_key_is_not_taken_for_a_trusted_one_nor_a_nameless_signer(bundle: Bundle, key: Path) -> None:
    with pytest.raises(ConfigError, match="no public key"):
        check_trust(bundle, [key])
    for name in ("", "a\nb", "x" * 200):
        with pytest.raises(ConfigError, match="cannot be named"):
            sign_bundle(bundle, key, name)
