"""The certificate that an OPC UA server shows."""

from __future__ import annotations

import os
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from plant import plant_in
from requires import require_tool

from inspector.access.application import application_uri, check_application, make_application, uri_of
from inspector.errors import AccessError

NOW = datetime.now(UTC)


def test_it_says_what_opc_ua_asks_for_and_openssl_agrees(tmp_path: Path) -> None:
    made = make_application(tmp_path, "opcua", "line1", ["line1.plant.local", "192.168.10.5"])
    loaded = check_application(made.certificate, made.key, NOW)
    assert uri_of(loaded) == application_uri("line1") == "urn:inspector:opcua:line1"
    openssl = require_tool("openssl")
    text = subprocess.run(
        [openssl, "x509", "-in", made.certificate, "-noout", "-text"], capture_output=True, text=True, check=True
    ).stdout
    for said in (
        "sha256WithRSAEncryption",
        "2048 bit",
        "URI:urn:inspector:opcua:line1, DNS:line1.plant.local, IP Address:192.168.10.5",
        "Digital Signature, Non Repudiation, Key Encipherment, Data Encipherment",
        "TLS Web Server Authentication, TLS Web Client Authentication",
        "CA:FALSE",
    ):
        assert said in text
    assert made.key.stat().st_mode & 0o077 == 0
    assert (tmp_path / "opcua.der").read_bytes()[:1] == b"\x30"


def test_one_that_clients_trust_is_not_written_over(tmp_path: Path) -> None:
    make_application(tmp_path, "opcua", "line1", ["localhost"])
    with pytest.raises(AccessError, match="exists already"):
        make_application(tmp_path, "opcua", "line1", ["localhost"])
    with pytest.raises(AccessError, match="--host"):
        make_application(tmp_path, "other", "line1", [])


def test_its_folder_is_made_and_one_that_cannot_be_is_told(tmp_path: Path) -> None:
    mask = os.umask(0)
    try:
        made = make_application(tmp_path / "etc" / "opcua", "line1", "line1", ["localhost"])
    finally:
        os.umask(mask)
    check_application(made.certificate, made.key, NOW)
    assert made.key.parent.stat().st_mode & 0o022 == 0, "who may write there can exchange the key"
    with pytest.raises(AccessError, match=r"line1\.pem/below cannot be made: Not a directory; choose another folder"):
        make_application(made.certificate / "below", "line1", "line1", ["localhost"])


def test_what_a_server_cannot_show_is_refused(tmp_path: Path) -> None:
    made = make_application(tmp_path, "opcua", "line1", ["localhost"])
    other = make_application(tmp_path, "other", "line1", ["localhost"])
    old = make_application(tmp_path, "old", "line1", ["localhost"], 1, now=NOW - timedelta(days=9))
    plant = plant_in(tmp_path / "plant")
    torn = tmp_path / "torn.pem"
    torn.write_bytes(made.certificate.read_bytes()[:200])
    shutil.copy(made.key, tmp_path / "torn.key")
    cases = [
        (made.certificate, other.key, "does not belong"),
        (plant.server.certificate, plant.server.key, "no RSA key"),
        (old.certificate, old.key, "ended on"),
        (torn, tmp_path / "torn.key", "cannot be read"),
        (tmp_path / "none.pem", made.key, "cannot be read"),
    ]
    for certificate, key, told in cases:
        with pytest.raises(AccessError, match=told):
            check_application(certificate, key, NOW)
