"""Logging in at an identity provider: a small real one, and tokens that must not count."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey
from plant import plant_in
from web_desk import PASSWORD, WebDesk, free_port, prepare, serving

from inspector.access.identity import Role
from inspector.errors import AccessDenied
from inspector.records.audit import AuditLog
from inspector.web.accounts.oidc import OidcOptions, check_id_token, who_is

CLIENT, SECRET = "inspector", "s3cret"
NOW = 1_800_000_000
OPTIONS = OidcOptions(
    "https://login.plant.local",
    CLIENT,
    SECRET,
    {"quality": Role.ENGINEER, "boss": Role.APPROVER},
    "name",
    "groups",
    "r",
)
KEY = RSAKey.generate_key(2048, {"kid": "1"})
OTHER = RSAKey.generate_key(2048, {"kid": "1"})
GOOD = {"iss": OPTIONS.issuer, "aud": CLIENT, "sub": "17", "exp": NOW + 60, "iat": NOW, "nonce": "n", "name": "Nina"}


def signed(claims: dict[str, Any], key: Any = KEY, algorithm: str = "RS256") -> str:
    return jwt.encode({"alg": algorithm, "kid": "1"}, claims, key, algorithms=[algorithm])


def checked(token: str) -> Any:
    return check_id_token(token, {"keys": [KEY.as_dict(private=False)]}, OPTIONS, "n", NOW)


def test_a_token_that_is_fresh_for_us_and_the_answer_counts() -> None:
    assert checked(signed(GOOD))["name"] == "Nina"


def unsigned() -> str:
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in ({"alg": "none"}, GOOD)]
    return b".".join([*parts, b""]).decode()


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(lambda: signed({**GOOD, "nonce": "other"}), id="an answer to another question"),
        pytest.param(lambda: signed({**GOOD, "aud": "payroll"}), id="for another program"),
        pytest.param(lambda: signed({**GOOD, "aud": [CLIENT, "payroll"], "azp": "payroll"}), id="given to another"),
        pytest.param(lambda: signed({**GOOD, "iss": "https://evil.example"}), id="of another provider"),
        pytest.param(lambda: signed({**GOOD, "exp": NOW - 3600}), id="over"),
        pytest.param(lambda: signed({key: GOOD[key] for key in GOOD if key != "exp"}), id="without an end"),
        pytest.param(lambda: signed(GOOD, OTHER), id="signed by somebody else"),
        pytest.param(lambda: signed(GOOD, OctKey.import_key(SECRET * 8), "HS256"), id="signed with our own secret"),
        pytest.param(unsigned, id="not signed"),
        pytest.param(lambda: "a.b.c", id="no token"),
        pytest.param(lambda: "", id="nothing"),
    ],
)
def test_a_token_that_must_not_count_is_refused(token: Any) -> None:
    with pytest.raises(AccessDenied):
        checked(token())


@pytest.mark.parametrize(
    ("claims", "role"),
    [
        ({"name": "Nina", "groups": ["quality"]}, Role.ENGINEER),
        ({"name": "Nina", "groups": ["other", "quality", "boss"]}, Role.APPROVER),
        ({"name": "Nina", "groups": "quality"}, Role.ENGINEER),
        ({"name": "Nina", "groups": ["other"]}, None),
        ({"name": "Nina"}, None),
        ({"name": "Nina", "groups": [["quality"]]}, None),
        ({"groups": ["quality"]}, None),
        ({"name": "<script>", "groups": ["quality"]}, None),
    ],
    ids=[
        "one group",
        "the highest counts",
        "a text",
        "no group of ours",
        "no groups",
        "nested",
        "no name",
        "a name with script",
    ],
)
def test_groups_give_the_role(claims: dict[str, Any], role: Role | None) -> None:
    if role is None:
        with pytest.raises(AccessDenied):
            who_is(claims, OPTIONS)
    else:
        assert who_is(claims, OPTIONS) == ("nina", role)


@dataclass
class Idp:
    """A provider on loopback that lets everybody in as `claims` say, and checks what its clients send."""

    port: int
    claims: dict[str, Any]
    codes: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}/plant"

    def get(self, url: str) -> tuple[int, dict[str, Any] | str]:
        parts = urlsplit(url)
        if parts.path == "/plant/.well-known/openid-configuration":
            ends = {"authorization_endpoint": "auth", "token_endpoint": "token", "jwks_uri": "keys"}
            return 200, {"issuer": self.issuer, **{name: f"{self.issuer}/{end}" for name, end in ends.items()}}
        if parts.path == "/plant/keys":
            return 200, {"keys": [KEY.as_dict(private=False)]}
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        assert (asked["client_id"], asked["response_type"], asked["code_challenge_method"]) == (CLIENT, "code", "S256")
        code = secrets.token_urlsafe(8)
        self.codes[code] = asked
        return 302, f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}"

    def token(self, form: dict[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        asked = self.codes.pop(form["code"])
        assert authorization == "Basic " + base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        challenge = (
            base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).rstrip(b"=").decode()
        )
        assert challenge == asked["code_challenge"]
        now = int(time.time())
        about = {"iss": self.issuer, "aud": CLIENT, "sub": "17", "exp": now + 60, "iat": now, "nonce": asked["nonce"]}
        return 200, {"access_token": "a", "token_type": "Bearer", "id_token": signed({**about, **self.claims})}


@pytest.fixture
def idp() -> Iterator[Idp]:
    provider = Idp(free_port(), {"preferred_username": "nina", "groups": ["quality"]})

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send(*provider.get(self.path))

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"])).decode()
            form = {name: values[0] for name, values in parse_qs(raw).items()}
            self._send(*provider.token(form, self.headers.get("Authorization", "")))

        def _send(self, status: int, body: dict[str, Any] | str) -> None:
            self.send_response(status)
            if isinstance(body, str):
                self.send_header("Location", body)
                self.end_headers()
                return
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_: object) -> None:
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", provider.port), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield provider
    server.shutdown()
    server.server_close()


@pytest.fixture
def plant(tmp_path: Path, idp: Idp) -> Iterator[WebDesk]:
    """A desk with TLS, whose people log in at `idp`."""
    (tmp_path / "oidc-secret").write_text(SECRET + "\n")
    plant_in(tmp_path / "plant")
    table = f"""
certificate = "plant/service.pem"
key = "plant/service.key"
[web.oidc]
issuer = "{idp.issuer}"
client = "{CLIENT}"
secret = "oidc-secret"
roles = {{ quality = "engineer", boss = "approver" }}
"""
    desk = prepare(tmp_path, 0, web=table)
    desk.url = desk.url.replace("http:", "https:")
    with serving(desk):
        yield desk


def log_in_there(desk: WebDesk) -> httpx.Response:
    with httpx.Client(base_url=desk.url, follow_redirects=True, trust_env=False, verify=False) as client:
        return client.get("/oidc/start", params={"next": "/api/v1/me"})


def test_people_log_in_at_the_provider_and_its_groups_decide(plant: WebDesk, idp: Idp) -> None:
    me = log_in_there(plant).json()
    assert (me["name"], me["role"]) == ("nina", "engineer")
    idp.claims["groups"] = ["boss"]
    assert log_in_there(plant).json()["role"] == "approver"
    for claims, why in (
        ({"groups": ["canteen"]}, "nina is in none of the groups"),
        ({"preferred_username": "ada"}, "ada logs in with a password here"),
        ({"aud": "payroll"}, "token does not count"),
    ):
        before, idp.claims = idp.claims, {**idp.claims, **claims}
        answer = log_in_there(plant)
        assert answer.status_code == 403
        assert why in answer.text
        idp.claims = before
    plant.accounts.change("nina", is_active=False)
    assert "nina was locked out here" in log_in_there(plant).text
    done = [(entry.actor, entry.action, entry.subject) for entry in AuditLog(plant.data_dir / "audit.jsonl").entries()]
    assert (idp.issuer, "added user", "nina") in done
    assert (idp.issuer, "changed user", "nina") in done

    # An answer that another browser got must not log this one in: its owner would work as somebody else.
    with plant.client() as attacker, plant.client() as victim:
        at_provider = attacker.get("/oidc/start")
        back = httpx.get(at_provider.headers["location"], trust_env=False).headers["location"]
        answer = victim.get(back)
        assert answer.status_code == 403
        assert "belongs to another browser" in answer.text
        assert victim.get("/api/v1/me").status_code == 401
    shown = plant.client().get("/login")
    assert "Log in with the plant&#x27;s account" in shown.text.replace("'", "&#x27;")
    assert shown.headers["strict-transport-security"] == "max-age=31536000"
    assert "; Secure" in plant.client().post("/login", data={"name": "ada", "password": PASSWORD}).headers["set-cookie"]
