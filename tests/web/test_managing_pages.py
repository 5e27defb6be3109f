"""Admin, recipes, audit and account in a real browser: what people change is changed, and on record."""

from __future__ import annotations

import json
from contextlib import closing
from typing import Any

from rpc_line import wait_for
from web_desk import PASSWORD, WebDesk

from inspector.records.audit import AuditEntry, AuditLog
from inspector.records.recipe_costs import recipe_costs


def entry(desk: WebDesk, action: str, subject: str) -> AuditEntry | None:
    """The newest entry like that."""
    found = [
        one
        for one in AuditLog(desk.data_dir / "audit.jsonl").entries()
        if (one.action, one.subject) == (action, subject)
    ]
    return found[-1] if found else None


def test_an_admin_adds_somebody_gives_a_role_and_locks_them_out(desk: WebDesk, log_in: Any) -> None:
    page = log_in(desk, "ada", "/admin")
    page.get_by_role("button", name="Add a user").click()
    page.get_by_label("Name", exact=True).fill("Nora")
    page.get_by_label("First password").fill("short")
    page.get_by_role("button", name="Add", exact=True).click()
    page.get_by_text("a password needs at least 10 characters").wait_for()
    page.get_by_role("button", name="OK").click()
    page.get_by_label("First password").fill(PASSWORD)
    page.get_by_role("button", name="Add", exact=True).click()
    row = page.locator("tr", has_text="nora")
    row.wait_for()
    page.get_by_label("Role of nora").click()
    page.get_by_role("option", name="approver").click()
    wait_for(lambda: entry(desk, "changed user", "nora") is not None, "the change on record")
    changed = entry(desk, "changed user", "nora")
    assert changed is not None
    assert (changed.actor, changed.details) == ("ada", {"role": {"from": "operator", "to": "approver"}})
    page.reload()
    row.get_by_role("button", name="Lock out").click()
    page.get_by_role("dialog").get_by_role("button", name="Lock out").click()
    page.locator("tr", has_text="locked out by an admin").wait_for()
    with closing(desk.client()) as nora:
        assert nora.post("/login", data={"name": "nora", "password": PASSWORD}).status_code == 401
    assert page.faults == []


def test_an_engineer_changes_a_recipe_with_a_look_and_a_reason(desk: WebDesk, log_in: Any) -> None:
    before = desk.line_file.read_text()
    page = log_in(desk, "erna", "/recipes")
    field = page.locator("textarea")
    field.wait_for()
    field.fill(field.input_value().replace("bundles/tiles", "bundles/mine"))
    page.get_by_role("button", name="Save for the next start").click()
    page.get_by_text("leave bundle and the views as they are, and promote the bundle on Models").wait_for()
    field.fill(field.input_value().replace("bundles/mine", "bundles/tiles").replace("500", "0"))
    page.get_by_role("button", name="Check and show").click()
    page.get_by_text("recipe.tiles-a.deadline_ms").wait_for()
    field.fill(field.input_value().replace("= 0", "= 450"))
    page.get_by_role("button", name="Check and show").click()
    page.get_by_text("The line would start with this.").wait_for()
    assert page.locator(".diff-line.added").text_content().startswith("+deadline_ms = 450")
    page.get_by_role("button", name="Save for the next start").click()
    page.get_by_text("say why in 1 to 500 characters").wait_for()
    page.get_by_role("button", name="OK").click()
    assert desk.line_file.read_text() == before
    page.get_by_label("Why?").fill("the ejector moved <b>50 ms</b> closer")
    page.get_by_role("button", name="Save for the next start").click()
    page.get_by_text("Saved. The service takes it up when it is started next").wait_for()
    assert desk.line_file.read_text() == before.replace("= 500", "= 450")
    changed = entry(desk, "changed recipe in the line file", "tiles-a")
    assert changed is not None
    assert changed.actor == "erna"
    assert changed.details["reason"] == "the ejector moved <b>50 ms</b> closer"
    assert (desk.folder / "web" / "line-files" / changed.details["backup"]).read_text() == before
    page.get_by_label("False reject").fill("3.5")
    page.get_by_label("Escape").fill("900")
    page.get_by_role("button", name="Set costs").click()
    page.get_by_text("900.00 EUR").wait_for()
    costs = recipe_costs(desk.store.database)["tiles-a"]
    assert (costs.false_reject, costs.escape, costs.author) == (3.5, 900.0, "erna")
    assert page.faults == []


def test_the_audit_page_finds_entries_and_says_whether_the_log_is_whole(desk: WebDesk, log_in: Any) -> None:
    page = log_in(desk, "erna", "/audit?action=logged+in&actor=ern")
    page.get_by_text("✓ Whole:").wait_for()
    cells = page.locator("tbody tr td:nth-child(3)").all_text_contents()
    assert cells
    assert set(cells) == {"erna"}
    log = desk.data_dir / "audit.jsonl"
    kept = log.read_bytes()
    try:
        lines = kept.splitlines(keepends=True)
        forged = {**json.loads(lines[0]), "actor": "nobody"}
        log.write_bytes(json.dumps(forged, separators=(",", ":")).encode() + b"\n" + b"".join(lines[1:]))
        page.reload()
        page.get_by_text("✕ NOT WHOLE: entry 1 of the audit log").wait_for()
    finally:
        log.write_bytes(kept)
    assert page.faults == []


def test_a_token_is_made_shown_once_and_revoked(desk: WebDesk, log_in: Any) -> None:
    page = log_in(desk, "otto", "/account")
    page.get_by_role("button", name="New token").click()
    page.get_by_label("What for?").fill("MES line 1")
    page.get_by_role("button", name="Make it").click()
    secret = page.locator(".secret").text_content()
    assert secret.startswith("inspector_")
    page.get_by_role("button", name="I have kept it").click()
    row = page.locator("tr", has_text="MES line 1")
    row.wait_for()
    with closing(desk.client()) as program:
        assert program.get("/api/v1/me", headers={"Authorization": f"Bearer {secret}"}).status_code == 200
        row.get_by_role("button", name="Revoke").click()
        page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
        page.locator("tr", has_text="revoked 2").wait_for()
        assert program.get("/api/v1/me", headers={"Authorization": f"Bearer {secret}"}).status_code == 401
    assert page.faults == []


def test_a_trace_has_everything_and_goes_on_by_keyboard(desk: WebDesk, log_in: Any) -> None:
    page = log_in(desk, "vera", "/trace?part=P000008")
    for text in ("REJECT · Looks defective: crack", "top (decided)", "cam-2", "0123456789ab00", "crack", "erna"):
        page.get_by_text(text).first.wait_for()
    for image in page.locator(".big-shot img").all():
        page.wait_for_function("image => image.complete && image.naturalWidth > 0", arg=image.element_handle())
    page.locator("[data-heat]").fill("0.2")
    assert page.locator(".big-shot .heat").first.evaluate("heat => heat.style.opacity") == "0.2"
    page.keyboard.press("j")
    page.wait_for_url("**/trace?sequence=9")
    page.get_by_text("PASS · Good").wait_for()
    page.keyboard.press("/")
    page.keyboard.type("nobody")
    page.keyboard.press("Enter")
    page.get_by_text("has no inspection of a part 'nobody'").wait_for()
    assert page.faults == []
