"""Those who should not get in, and text that should not run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from rpc_line import wait_for
from starlette.datastructures import Headers
from web_desk import NASTY_PART, PASSWORD, PEOPLE, WebDesk, prepare, serving
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from inspector.access.identity import Role
from inspector.records.audit import AuditLog
from inspector.web.bodies import BodyTooLarge, bounded
from inspector.web.gate import client_behind, same_site

FOREIGN = "https://evil.example"


def actions(desk: WebDesk) -> list[tuple[str, str, str]]:
    return [(entry.actor, entry.action, entry.subject) for entry in AuditLog(desk.data_dir / "audit.jsonl").entries()]


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        pytest.param(None, 403, id="a cookie without an Origin is no browser of ours"),
        pytest.param(FOREIGN, 403, id="a form on a foreign page"),
        pytest.param("null", 403, id="a sandboxed frame"),
        pytest.param("own", 204, id="the desk's own page"),
    ],
)
def test_a_request_with_a_cookie_must_come_from_the_desk_itself(desk: WebDesk, origin: str | None, status: int) -> None:
    with closing(desk.client("erna")) as client:
        del client.headers["Origin"]
        headers = {} if origin is None else {"Origin": desk.url if origin == "own" else origin}
        assert client.put("/api/v1/me/theme", json={"theme": "light"}, headers=headers).status_code == status


def test_a_foreign_page_cannot_log_somebody_in_or_out(desk: WebDesk) -> None:
    with closing(desk.client("erna")) as client:
        assert client.post("/logout", headers={"Origin": FOREIGN}).status_code == 403
        assert client.get("/api/v1/me").status_code == 200
        form = {"name": "erna", "password": PASSWORD}
        assert httpx.post(f"{desk.url}/login", data=form, headers={"Origin": FOREIGN}).status_code == 403


@pytest.mark.parametrize("origin", [FOREIGN, None], ids=["foreign", "none"])
def test_a_foreign_page_gets_no_web_socket(desk: WebDesk, origin: str | None) -> None:
    with closing(desk.client("erna")) as client:
        (cookie,) = client.cookies.jar
    address = desk.url.replace("http", "ws") + "/_nicegui_ws/socket.io/?EIO=4&transport=websocket"

    headers = {"Cookie": f"{cookie.name}={cookie.value}"}
    with pytest.raises(InvalidStatus) as refused:
        connect(address, additional_headers=headers, origin=origin)  # type: ignore[arg-type]
    assert refused.value.response.status_code == 403


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(desk: WebDesk) -> None:
    with closing(desk.client()) as client:
        answer = client.post("/login", data={"name": "vera", "password": PASSWORD})
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert "path=/" in cookie


def test_a_token_works_for_the_api_alone_and_needs_no_origin(desk: WebDesk) -> None:
    with closing(desk.client("erna")) as client:
        made = client.post("/api/v1/tokens", json={"name": "MES", "role": "viewer", "days": 1})
        assert made.status_code == 201
    bearer = {"Authorization": f"Bearer {made.json()['secret']}"}
    with httpx.Client(base_url=desk.url, headers=bearer) as program:
        me = program.get("/api/v1/me").json()
        assert (me["name"], me["role"]) == ("erna", "viewer")
        assert program.put("/api/v1/me/theme", json={"theme": ""}).status_code == 204
        assert program.get("/trace", headers={"Accept": "text/html"}).status_code == 303
        assert program.post("/api/v1/tokens", json={"name": "x", "role": "viewer"}).status_code == 403
        assert program.put("/api/v1/recipes/tiles-a", json={"text": "", "version": ""}).status_code == 403
    with closing(desk.client("ada")) as admin:
        number = made.json()["token"]["number"]
        assert admin.delete(f"/api/v1/tokens/{number}").status_code == 204
    assert httpx.get(f"{desk.url}/api/v1/me", headers=bearer).status_code == 401
    assert ("erna", "made token", f"token {number}") in actions(desk)
    assert ("ada", "revoked token", f"token {number}") in actions(desk)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        pytest.param(("bundles/tiles", "bundles/mine"), "promote the bundle on Models", id="another bundle"),
        pytest.param(("[recipe.tiles-a]", "[recipe.tiles-a]\napprovals = 2"), "whoever holds it", id="approvals"),
    ],
)
def test_no_bundle_goes_live_past_its_approver_by_way_of_its_recipe(
    desk: WebDesk, change: tuple[str, str], why: str
) -> None:
    before = desk.line_file.read_text()
    with closing(desk.client("erna")) as client:
        recipe = client.get("/api/v1/recipes/tiles-a").json()
        assert change[0] in recipe["text"]
        wanted = {"text": recipe["text"].replace(*change), "version": recipe["version"], "reason": "mine is better"}
        answer = client.put("/api/v1/recipes/tiles-a", json=wanted)
    assert answer.status_code == 422
    assert why in answer.json()["error"]["message"]
    assert desk.line_file.read_text() == before


def in_chunks(count: int) -> Iterator[bytes]:
    """A body that does not say how long it is."""
    for _ in range(count):
        yield b"x" * 65_536


MULTIPART = {"Content-Type": "multipart/form-data; boundary=b"}
JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("who", "method", "path", "headers", "size", "most"),
    [
        pytest.param("", "POST", "/login", MULTIPART, 2, "64 KiB", id="a stranger's form"),
        pytest.param("vera", "POST", "/api/v1/users", JSON, 150, "8 MiB", id="JSON of somebody who may not"),
        pytest.param("erna", "PUT", "/api/v1/uploads/x?offset=0", {}, 150, "8 MiB", id="a piece of a file"),
    ],
)
@pytest.mark.parametrize("is_chunked", [True, False], ids=["chunked", "announced"])
def test_a_body_that_is_too_large_is_refused_before_it_is_kept(
    desk: WebDesk, who: str, method: str, path: str, headers: dict[str, str], size: int, most: str, is_chunked: bool
) -> None:
    with closing(desk.client(who)) as client:
        start = (
            b'--b\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n' if headers is MULTIPART else b""
        )
        chunks = (part for part in (start, *in_chunks(size)) if part)
        body = chunks if is_chunked else b"".join(chunks)
        answer = client.request(method, path, content=body, headers=headers)
    assert answer.status_code == 413, answer.text
    error = answer.json()["error"]
    assert error["kind"] == "RequestTooLarge"
    assert f"at most {most} are taken here; send" in error["message"]


def test_a_length_that_is_announced_is_believed_if_it_is_too_large() -> None:
    with pytest.raises(BodyTooLarge):
        bounded(None, "/login", True, "9" * 30)  # type: ignore[arg-type]
    with pytest.raises(BodyTooLarge, match="at most 1024 MiB are taken here; divide the file"):
        bounded(None, "/api/v1/label-files", False, str((1 << 30) + 1))  # type: ignore[arg-type]
    bounded(None, "/api/v1/label-files", False, str(1 << 30))  # type: ignore[arg-type]


def test_wrong_passwords_lock_out_say_so_and_are_on_record(desk: WebDesk) -> None:
    transport = httpx.HTTPTransport(local_address="127.0.0.7")
    with httpx.Client(base_url=desk.url, headers={"Origin": desk.url}, transport=transport) as guesser:
        for _ in range(4):
            assert guesser.post("/login", data={"name": "vera", "password": "guess"}).status_code == 401
        locked = guesser.post("/login", data={"name": "vera", "password": "guess"})
        assert locked.status_code == 429
        assert "too many wrong passwords for vera from 127.0.0.7: wait 15 min" in locked.text
        assert guesser.post("/login", data={"name": "vera", "password": PASSWORD}).status_code == 429
        assert ("vera", "locked out", "web desk") in actions(desk)
        with closing(desk.client("ada")) as admin:
            assert admin.delete("/api/v1/users/vera/failures").status_code == 204
        assert guesser.post("/login", data={"name": "vera", "password": PASSWORD}).status_code == 303


OUTSIDE = "https://line1.plant.local"


def test_behind_a_server_that_speaks_tls_each_client_waits_for_itself_and_the_cookie_stays_on_tls(
    tmp_path: Path,
) -> None:
    right, wrong = {"name": "vera", "password": PASSWORD}, {"name": "vera", "password": "guess"}
    with (
        serving(prepare(tmp_path, 0, web=f'address = "{OUTSIDE}"')) as behind,
        httpx.Client(base_url=behind.url, headers={"Origin": OUTSIDE}, trust_env=False) as proxy,
    ):
        # What the guesser wrote itself stands first.
        guesser, other = {"X-Forwarded-For": "10.0.0.8, 10.0.0.7"}, {"X-Forwarded-For": "10.0.0.8"}
        statuses = [proxy.post("/login", data=wrong, headers=guesser).status_code for _ in range(5)]
        assert statuses == [401, 401, 401, 401, 429]
        assert "from 10.0.0.7: wait" in proxy.post("/login", data=right, headers=guesser).text
        answer = proxy.post("/login", data=right, headers=other)
    assert answer.status_code == 303
    assert "; secure" in answer.headers["set-cookie"].lower()
    assert "max-age" in answer.headers["strict-transport-security"]


def test_without_tls_the_cookie_is_taken_by_browsers_and_nobody_speaks_for_others(desk: WebDesk) -> None:
    with closing(desk.client()) as client:
        form = {"name": "vera", "password": PASSWORD}
        answer = client.post("/login", data=form, headers={"X-Forwarded-For": "10.0.0.9"})
    assert "; secure" not in answer.headers["set-cookie"].lower()
    assert "strict-transport-security" not in answer.headers
    entries = list(AuditLog(desk.data_dir / "audit.jsonl").entries())
    assert [one.details["from"] for one in entries if one.action == "logged in"][-1] == "127.0.0.1"


@pytest.mark.parametrize(
    ("peer", "named", "client"),
    [
        pytest.param("127.0.0.1", ["10.0.0.7"], "10.0.0.7", id="a server on this machine"),
        pytest.param("::1", ["2001:db8::7"], "2001:db8::7", id="by IPv6"),
        pytest.param("127.0.0.1", ["10.0.0.8", "10.0.0.7"], "10.0.0.7", id="the last of several headers"),
        pytest.param("127.0.0.1", ["10.0.0.7, junk"], "127.0.0.1", id="no address"),
        pytest.param("127.0.0.1", [], "127.0.0.1", id="names nobody"),
        pytest.param("10.0.0.9", ["10.0.0.7"], "10.0.0.9", id="from another machine"),
    ],
)
def test_only_a_server_on_this_machine_is_believed_whom_it_speaks_for(peer: str, named: list[str], client: str) -> None:
    headers = Headers(raw=[(b"x-forwarded-for", one.encode()) for one in named])
    found = client_behind((peer, 4711), headers)
    assert found is not None
    assert found[0] == client


@pytest.mark.parametrize(
    ("target", "goes"),
    [
        ("/trace?part=a%20b", "/trace?part=a%20b"),
        ("https://evil.example/", "/"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("/\r\nSet-Cookie: a=b", "/"),
        ("", "/"),
    ],
)
def test_logging_in_leads_to_the_desk_alone(target: str, goes: str) -> None:
    assert same_site(target) == goes


def test_script_in_part_ids_classes_and_notes_is_shown_and_does_not_run(desk: WebDesk, log_in: Any) -> None:
    page = log_in(desk, "erna")
    ran = []
    page.on("dialog", lambda dialog: (ran.append(dialog.message), dialog.dismiss()))
    for path in (
        "/trace?sequence=4",
        f"/trace?part={NASTY_PART}",
        "/trace?part=</script><script>alert(3)</script>",
        "/",
    ):
        page.goto(path)
        page.locator("main .panel").first.wait_for()
    page.goto("/trace?sequence=4")
    for text in (NASTY_PART, "<b>crack</b>", "<script>alert(2)</script>", "only dust <i>here</i>"):
        page.get_by_text(text).first.wait_for()
    assert page.locator("main b, main i:not(.q-icon), main script").count() == 0
    assert ran == []
    assert page.faults == []


def test_a_login_that_is_over_takes_the_open_page_along(desk: WebDesk, log_in: Any) -> None:
    desk.accounts.add("emil", Role.ENGINEER, PASSWORD)
    page = log_in(desk, "emil", "/account")
    button = page.get_by_role("button", name="New token")
    button.wait_for()
    with closing(desk.client("ada")) as admin:
        assert admin.patch("/api/v1/users/emil", json={"role": "viewer"}).status_code == 204
    button.click()
    page.wait_for_url("**/login?next=*")
    assert "Your login is over" in page.content()
    assert ("ada", "changed user", "emil") in actions(desk)
    assert desk.client("emil").get("/api/v1/me").json()["role"] == "viewer"


def test_a_page_does_not_act_for_somebody_who_logged_out_in_another_tab(desk: WebDesk, log_in: Any) -> None:
    page = log_in(desk, "ada", "/admin")
    page.get_by_role("button", name="Add a user").wait_for()
    (cookie,) = desk.client("vera").cookies.jar
    page.context.add_cookies([{"name": cookie.name, "value": cookie.value, "url": desk.url}])
    page.evaluate("window.socket.disconnect(); window.socket.connect()")
    page.get_by_text("Admin needs the role admin, and vera is viewer.").wait_for()


def test_a_refused_page_is_on_record(desk: WebDesk) -> None:
    with closing(desk.client("vera")) as client:
        answer = client.get("/admin", headers={"Accept": "text/html"})
    assert answer.status_code == 403
    assert "needs the role admin" in answer.text
    wait_for(lambda: ("vera", "refused web page", "/admin") in actions(desk), "the refusal on record")


def test_the_roles_of_the_tests_are_those_of_the_house() -> None:
    assert set(PEOPLE.values()) == set(Role) - {Role.NONE}
