"""The desk in a real browser: logging in, the frame, the theme, logging out."""

from __future__ import annotations

from typing import Any

from web_desk import PASSWORD, WebDesk


def test_somebody_logs_in_sees_the_line_changes_the_theme_and_logs_out(desk: WebDesk, browser: Any) -> None:
    page = browser.new_page(base_url=desk.url)
    page.goto("/account")
    assert "/login?next=" in page.url
    page.get_by_label("Name").fill("Erna")
    page.get_by_label("Password").fill("not this one")
    page.get_by_role("button", name="Log in").click()
    assert "Unknown name or wrong password." in page.get_by_role("alert").text_content()
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/account")
    page.get_by_text("erna, engineer; this login counts until").wait_for()
    before = page.locator("html").get_attribute("data-theme")
    page.get_by_role("button", name="Light or dark").click()
    page.wait_for_function(f"document.documentElement.dataset.theme != '{before}'")
    page.reload()
    assert page.locator("html").get_attribute("data-theme") != before
    page.keyboard.press("?")
    page.get_by_text("show these keys").wait_for()
    page.get_by_text("go to Trace").wait_for()
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.keyboard.press("l")
    page.wait_for_url(f"{desk.url}/")
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url("**/login")
    page.goto("/account")
    assert "/login?next=" in page.url
    page.close()


def test_a_line_whose_service_is_away_says_so_in_large_letters(page: Any) -> None:
    page.locator(".board.is-lost").wait_for()
    assert page.locator(".board-word").text_content() == "NO CONTACT"
    assert page.faults == []
