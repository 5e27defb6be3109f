"""A plant's certificates: what they say is what another TLS stack reads; what is not of the plant is refused."""

from __future__ import annotations

import shutil
import stat
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from plant import Plant, plant_in
from requires import require_tool

from inspector.access.certificates import Authority, init_authority, read_certificate, revoked_serials
from inspector.access.identity import Role, identity_of_certificate
from inspector.errors import AccessDenied, AccessError


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    return plant_in(tmp_path / "plant")


def openssl(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([require_tool("openssl"), *arguments], capture_output=True, text=True, timeout=30)


def test_openssl_verifies_what_was_issued_and_for_what(plant: Plant) -> None:
    camera = plant.camera("cam1", "cam1", "cam2")
    chain = ("-CAfile", str(plant.ca), "-crl_check", "-CRLfile", str(plant.folder / "revoked.pem"))
    assert openssl("verify", *chain, "-purpose", "sslclient", str(camera.certificate)).returncode == 0
    assert openssl("verify", *chain, "-purpose", "sslserver", str(plant.server.certificate)).returncode == 0
    assert openssl("verify", *chain, "-purpose", "sslserver", str(camera.certificate)).returncode != 0
    names = openssl("x509", "-in", str(camera.certificate), "-noout", "-ext", "subjectAltName").stdout
    assert "URI:urn:inspector:camera:a:cam1" in names
    assert "URI:urn:inspector:camera:a:cam2" in names


def test_openssl_finds_a_revoked_certificate_on_the_list(plant: Plant) -> None:
    camera = plant.camera("cam1", "cam1")
    listed = plant.authority.revoke(camera.certificate)
    found = openssl("verify", "-CAfile", str(plant.ca), "-crl_check", "-CRLfile", str(listed), str(camera.certificate))
    assert "certificate revoked" in found.stderr
    assert revoked_serials(listed, plant.ca) == {camera.serial}


def test_a_certificate_says_who_its_holder_is(plant: Plant) -> None:
    camera = identity_of_certificate(plant.camera("cell-4", "cam1", "cam2").certificate.read_bytes())
    assert (camera.name, camera.role) == ("cell-4", Role.NONE)
    assert camera.cameras == {("a", "cam1"), ("a", "cam2")}
    user = identity_of_certificate(plant.user("mes", Role.ENGINEER).certificate.read_bytes())
    assert (user.name, user.role, user.cameras) == ("mes", Role.ENGINEER, frozenset())


def test_the_certificate_of_a_server_lets_nobody_in(plant: Plant) -> None:
    with pytest.raises(AccessDenied, match="not for clients"):
        identity_of_certificate(plant.server.certificate.read_bytes())


def test_renewing_keeps_what_it_says_and_changes_key_serial_and_time(plant: Plant) -> None:
    old = plant.camera("cam1", "cam1", "cam2")
    before, key = identity_of_certificate(old.certificate.read_bytes()), old.key.read_bytes()
    new = plant.authority.renew(old.certificate, now=datetime.now(UTC) + timedelta(days=30))
    after = identity_of_certificate(new.certificate.read_bytes())
    assert (after.name, after.cameras) == (before.name, before.cameras)
    assert new.serial != old.serial
    assert new.expires > old.expires
    assert new.key == old.key
    assert new.key.read_bytes() != key


def test_keys_are_for_their_owner_alone(plant: Plant) -> None:
    for path in (plant.folder / "ca.key", plant.server.key):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_key_with_a_passphrase_opens_with_it_alone(tmp_path: Path) -> None:
    init_authority(tmp_path, "works", "secret")
    assert b"ENCRYPTED" in (tmp_path / "ca.key").read_bytes()
    Authority(tmp_path, "secret").issue_user("a", Role.VIEWER)
    with pytest.raises(AccessError, match="give it a passphrase"):
        Authority(tmp_path)
    with pytest.raises(AccessError, match="wrong passphrase"):
        Authority(tmp_path, "guess")


REFUSED: list[tuple[str, Callable[[Plant], object], str]] = [
    ("a second authority in one folder", lambda p: init_authority(p.folder, "b"), "holds an authority already"),
    ("a plant without a name", lambda p: init_authority(p.folder / "x", " "), "cannot be named"),
    ("a plant named in control characters", lambda p: init_authority(p.folder / "x", "a\nb"), "cannot be named"),
    ("a name that leaves the folder", lambda p: p.user("../x"), "cannot be named"),
    ("an empty name", lambda p: p.user(""), "cannot be named"),
    ("the authority's own name", lambda p: p.user("ca"), "exists already"),
    ("a name that is taken", lambda p: p.user("service"), "exists already"),
    ("a server without hosts", lambda p: p.authority.issue_server("s", []), "give --host"),
    ("a host that is none", lambda p: p.authority.issue_server("s", ["a b"]), "no host name"),
    ("a host beyond ASCII", lambda p: p.authority.issue_server("s", ["wärk"]), "no host name"),
    ("a camera without cameras", lambda p: p.camera("c"), "give --camera"),
    ("a camera named like two", lambda p: p.camera("c", "cam1:cam2"), "is no name"),
    ("a camera on a line that is no name", lambda p: p.camera("c", "cam1", line="*"), "is no name"),
    ("a user without a role", lambda p: p.user("u", Role.NONE), "give --role"),
    ("no days at all", lambda p: p.authority.issue_user("u", Role.VIEWER, 0), "expected 1 to"),
    (
        "longer than the authority itself",
        lambda p: p.authority.issue_user("u", Role.VIEWER, 3650, now=datetime.now(UTC) + timedelta(days=9)),
        "authority itself ends",
    ),
    ("renewing what is no certificate", lambda p: p.authority.renew(p.folder / "ca.key"), "no certificate in PEM"),
    ("renewing what is not there", lambda p: p.authority.renew(p.folder / "none.pem"), "cannot be read"),
    ("revoking the authority's folder", lambda p: p.authority.revoke(p.folder), "cannot be read"),
]


@pytest.mark.parametrize(("refused", "message"), [pytest.param(r, m, id=name) for name, r, m in REFUSED])
def test_what_cannot_be_is_refused_and_leaves_nothing(
    plant: Plant, refused: Callable[[Plant], object], message: str
) -> None:
    before = sorted(plant.folder.iterdir())
    with pytest.raises(AccessError, match=message):
        refused(plant)
    assert [path for path in sorted(plant.folder.iterdir()) if path not in before and path.is_file()] == []


def test_a_revoked_certificate_is_neither_renewed_nor_revoked_again(plant: Plant) -> None:
    camera = plant.camera("cam1", "cam1")
    plant.authority.revoke(camera.certificate)
    with pytest.raises(AccessError, match="was revoked"):
        plant.authority.renew(camera.certificate)
    with pytest.raises(AccessError, match="revoked already"):
        plant.authority.revoke(camera.certificate)


def test_another_plants_certificate_and_list_are_not_taken(plant: Plant, tmp_path: Path) -> None:
    other = plant_in(tmp_path / "other")
    stranger = other.camera("cam1", "cam1")
    with pytest.raises(AccessError, match="not issued by the authority"):
        plant.authority.renew(stranger.certificate)
    with pytest.raises(AccessError, match="not signed by this authority"):
        revoked_serials(other.folder / "revoked.pem", plant.ca)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"", "no certificate in PEM", id="empty"),
        pytest.param(b"\0" * 100, "no certificate in PEM", id="not PEM"),
        pytest.param(b"x" * (2 << 20), "larger than", id="huge"),
        pytest.param(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "no certificate", id="broken"),
    ],
)
def test_a_file_that_is_no_certificate_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "c.pem"
    path.write_bytes(content)
    with pytest.raises(AccessError, match=message):
        read_certificate(path)


def test_an_authority_with_the_key_of_another_is_refused(plant: Plant, tmp_path: Path) -> None:
    other = plant_in(tmp_path / "other")
    shutil.copy(other.folder / "ca.key", plant.folder / "ca.key")
    with pytest.raises(AccessError, match="is not the key of"):
        Authority(plant.folder)
