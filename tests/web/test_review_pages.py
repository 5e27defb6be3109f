"""Review and label in a real browser: by keyboard, drawing, two people at once, a reload, a full disk."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from record_samples import tiny_disk
from web_desk import LINE, PASSWORD, WebDesk, prepare, serving

LogIn = Callable[..., Any]
API = "/api/v1"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebDesk]:
    """A desk whose labels these tests change."""
    with serving(prepare(tmp_path_factory.mktemp("review"), 200)) as running:
        yield running


@pytest.fixture
def otto(own: WebDesk) -> Iterator[httpx.Client]:
    with closing(own.client("otto")) as client:
        yield client


def wait_for(page: Any, script: str) -> None:
    page.wait_for_function(script, timeout=30_000)


def review_page(own: WebDesk, log_in: LogIn, name: str) -> Any:
    """The review page, newest parts first, so that the older ones stay for the tests of labels."""
    page = log_in(own, name, "/account")
    page.evaluate("""localStorage.setItem("review-wish", '{"order": "newest"}')""")
    page.goto("/review")
    wait_for(page, "window.review?.state && review.state().loaded")
    return page


def test_reviewing_by_keyboard(own: WebDesk, log_in: LogIn) -> None:
    page = review_page(own, log_in, "otto")
    seen = []
    for key in ("0", "1", "x", "0"):
        state = page.evaluate("review.state()")
        seen.append(state["shown"])
        page.keyboard.press(key)
        wait_for(page, f"review.state().at > {state['at']} && review.state().loaded")
    wait_for(page, "review.state().unsent === 0")
    said = [own.store.labels(LINE, number).current for number in seen]
    assert [labels[0].what for labels in said] == ["good", "crack", "unsure", "good"]
    assert {label.author for labels in said for label in labels} == {"otto"}
    assert all(label.image for labels in said for label in labels), "it says of which picture"
    page.keyboard.press("z")
    wait_for(page, f"review.state().shown === {seen[-1]}")
    assert own.store.labels(LINE, seen[-1]).current == ()
    page.keyboard.press("1")
    wait_for(page, f"review.state().shown !== {seen[-1]} && review.state().unsent === 0")
    assert own.store.labels(LINE, seen[-1]).current[0].what == "crack"
    assert page.faults == []


def test_a_login_that_ends_loses_no_decision(own: WebDesk, log_in: LogIn) -> None:
    page = review_page(own, log_in, "otto")
    number = page.evaluate("review.state().shown")
    page.context.clear_cookies()
    page.keyboard.press("0")
    page.locator(".label-banner", has_text="Your login is over: 1 decision(s) are not saved yet").wait_for()
    at = page.evaluate("review.state().at")
    page.keyboard.press("0")
    assert page.evaluate("review.state().at") == at, "nothing more is taken until the login"
    assert own.store.labels(LINE, number).current == ()
    page.get_by_role("link", name="Log in").click()
    page.get_by_label("Name").fill("otto")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in", exact=True).click()
    page.wait_for_url("**/review")
    wait_for(page, "window.review?.state && review.state().loaded && review.state().unsent === 0")
    assert [(one.what, one.author) for one in own.store.labels(LINE, number).current] == [("good", "otto")]
    assert page.evaluate("Object.keys(sessionStorage).filter((key) => key.includes('outbox'))") == []


@pytest.mark.parametrize("status", [403, 429])
def test_a_desk_that_lets_nothing_in_loses_no_decision(own: WebDesk, log_in: LogIn, status: int) -> None:
    page = review_page(own, log_in, "otto")
    number = page.evaluate("review.state().shown")
    answer = {"error": {"kind": "Refused", "message": "the desk is shut"}}
    page.route("**/api/v1/review/decisions", lambda route: route.fulfill(status=status, json=answer))
    page.keyboard.press("0")
    page.locator(".label-banner", has_text="the desk is shut: 1 decision(s) are not saved yet").wait_for()
    page.unroute("**/api/v1/review/decisions")
    page.get_by_role("link", name="Load again").click()
    wait_for(
        page,
        "window.review?.state && review.state().loaded && review.state().unsent === 0 && review.state().done === 1",
    )
    assert [(one.what, one.author) for one in own.store.labels(LINE, number).current] == [("good", "otto")]


def test_parts_at_hand_are_held_while_somebody_looks_and_given_back_when_nobody_does(
    own: WebDesk, log_in: LogIn
) -> None:
    page = log_in(own, "otto", "/account")
    page.clock.install()
    page.goto("/review")
    wait_for(page, "window.review?.state && review.state().loaded")
    page.mouse.move(300, 300)
    with page.expect_request("**/review/claims") as asked:
        page.clock.fast_forward(75_000)
    assert asked.value.post_data_json["count"] == 0, "enough is at hand: only held"
    with page.expect_request("**/review/release"):
        page.clock.fast_forward(620_000)
    page.get_by_text("Are you there?").wait_for()
    assert page.evaluate("review.state().shown") == 0
    page.mouse.move(320, 320)
    wait_for(page, "review.state().loaded")
    assert page.faults == []


def test_two_windows_never_show_the_same_part(own: WebDesk, log_in: LogIn) -> None:
    pages = [review_page(own, log_in, name) for name in ("otto", "erna", "otto")]
    shown = [page.evaluate("review.state().shown") for page in pages]
    assert len(set(shown)) == 3


def test_text_from_cameras_and_people_stays_text(own: WebDesk, log_in: LogIn) -> None:
    page = log_in(own, "erna", "/label?part=4")
    wait_for(page, "window.labelling?.state && labelling.state().part === 4")
    assert page.locator(".label-side h2").first.inner_text().startswith("<img src=x onerror=alert(1)>")
    assert page.locator("img[src=x]").count() == 0
    assert "only dust <i>here</i>" in page.locator(".label-history").inner_text()
    assert page.faults == []


Place = tuple[float, float]


def on_screen(page: Any, *places: Place) -> list[Place]:
    """Where places of the picture are on the screen."""
    return page.evaluate(  # type: ignore[no-any-return]
        """(places) => {
        const s = labelling.state(), box = document.querySelector(".label-stage").getBoundingClientRect();
        return places.map(([x, y]) => [box.left + s.left + x * s.scale, box.top + s.top + y * s.scale]); }""",
        places,
    )


def drag(page: Any, start: Place, end: Place) -> None:
    """From one place of the picture to another."""
    places = on_screen(page, start, end)
    page.mouse.move(*places[0])
    page.mouse.down()
    page.mouse.move(*places[1], steps=4)
    page.mouse.up()


def fingers(page: Any, *paths: tuple[Place, Place]) -> None:
    """A finger for each path, from one place of the picture to another."""
    screen = page.context.new_cdp_session(page)
    ways = [on_screen(page, *path) for path in paths]

    def touch(kind: str, share: float) -> None:
        points = [
            {"id": n, "x": a[0] + (b[0] - a[0]) * share, "y": a[1] + (b[1] - a[1]) * share}
            for n, (a, b) in enumerate(ways)
        ]
        screen.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [] if kind == "touchEnd" else points})

    touch("touchStart", 0)
    for step in range(1, 6):
        touch("touchMove", step / 5)
    touch("touchEnd", 1)


def areas(page: Any) -> list[dict[str, Any]]:
    return page.evaluate("labelling.state().areas")  # type: ignore[no-any-return]


def test_drawing_by_hand(own: WebDesk, log_in: LogIn) -> None:
    page = log_in(own, "erna", "/label?part=32")
    wait_for(page, "window.labelling?.state && labelling.state().part === 32 && labelling.state().cls === 'crack'")
    page.keyboard.press("b")
    drag(page, (10, 10), (30, 24))
    assert areas(page) == [{"class": "crack", "box": [10, 10, 20, 14]}]
    page.keyboard.press("v")
    drag(page, (30, 24), (40, 30))
    assert areas(page)[0]["box"] == [10, 10, 30, 20], "a corner is dragged"
    page.keyboard.press("ArrowRight")
    assert areas(page)[0]["box"] == [11, 10, 30, 20]
    page.keyboard.press("m")
    page.keyboard.press("i")
    drag(page, (60, 60), (80, 60))
    page.keyboard.press("e")
    drag(page, (60, 60), (62, 60))
    (_, mask) = areas(page)
    assert mask["class"] == ""
    assert sum(mask["mask"]["counts"]) == 96 * 96
    page.keyboard.press("z")
    page.keyboard.press("z")
    assert len(areas(page)) == 1, "the eraser and the brush taken back"
    page.keyboard.press("y")
    assert len(areas(page)) == 2
    page.keyboard.press("s")
    wait_for(page, "!labelling.state().dirty")
    (label,) = own.store.labels(LINE, 32).current
    assert (label.what, label.author, len(label.areas)) == ("crack", "erna", 2)
    assert page.faults == []


def test_a_tablet_without_keys_reviews_draws_and_pinches(own: WebDesk, log_in: LogIn) -> None:
    page = log_in(own, "erna", "/label?part=52", width=1024, touch=True)
    wait_for(page, "window.labelling?.state && labelling.state().part === 52 && labelling.state().cls === 'crack'")
    page.locator(".label-tool", has_text="Box").tap()
    fingers(page, ((10, 10), (30, 24)))
    assert areas(page) == [{"class": "crack", "box": pytest.approx([10, 10, 20, 14], abs=0.5)}]
    before = page.evaluate("labelling.state().scale")
    fingers(page, ((48, 48), (30, 30)), ((52, 52), (70, 70)))
    wait_for(page, f"labelling.state().scale > {before} * 2")
    assert len(areas(page)) == 1, "two fingers draw nothing"
    page.locator(".label-tool", has_text="Save").tap()
    wait_for(page, "!labelling.state().dirty")
    assert len(own.store.labels(LINE, 52).current[0].areas) == 1

    page.goto("/review")
    wait_for(page, "window.review?.state && review.state().loaded")
    state = page.evaluate("review.state()")
    page.get_by_role("button", name="good (false reject)").tap()
    wait_for(page, f"review.state().at > {state['at']} && review.state().unsent === 0")
    assert [(one.what, one.author) for one in own.store.labels(LINE, state["shown"]).current] == [("good", "erna")]
    assert page.faults == []


def test_a_key_held_down_saves_once(own: WebDesk, log_in: LogIn) -> None:
    page = log_in(own, "erna", "/label?part=40")
    wait_for(page, "window.labelling?.state && labelling.state().part === 40 && labelling.state().cls === 'crack'")
    page.keyboard.press("b")
    drag(page, (10, 10), (30, 24))
    held: list[Any] = []
    page.route(f"**{API}/labels/40", lambda route: held.append(route))
    for _ in range(3):
        page.keyboard.down("s")
    page.keyboard.up("s")
    page.keyboard.press("s")
    page.wait_for_timeout(300)
    assert len(held) == 1, "the second save is the first one"
    held[0].continue_()
    wait_for(page, "!labelling.state().dirty && labelling.state().version === 1")
    assert not page.locator(".label-banner", has_text="meanwhile").is_visible()
    page.keyboard.down("s")
    page.keyboard.down("s")
    page.wait_for_timeout(300)
    assert len(held) == 2, "a key that repeats itself says nothing"


def test_accepting_the_models_region(own: WebDesk, log_in: LogIn) -> None:
    page = log_in(own, "erna", "/label?part=36")
    wait_for(page, "window.labelling?.state && labelling.state().part === 36")
    page.keyboard.press("a")
    wait_for(page, "labelling.state().areas.length > 0")
    page.keyboard.press("s")
    wait_for(page, "!labelling.state().dirty && labelling.state().version === 1")
    (label,) = own.store.labels(LINE, 36).current
    assert label.what == "crack"
    assert label.areas


def test_of_two_who_edit_the_second_is_told_and_loses_nothing(own: WebDesk, log_in: LogIn, otto: httpx.Client) -> None:
    page = log_in(own, "erna", "/label?part=44")
    wait_for(page, "window.labelling?.state && labelling.state().part === 44")
    page.keyboard.press("b")
    drag(page, (10, 10), (30, 24))
    assert otto.post(f"{API}/labels/44", json={"version": 0, "what": "good"}).status_code == 200
    page.keyboard.press("s")
    page.locator(".label-banner", has_text="otto has labelled this part as good").wait_for()
    assert len(areas(page)) == 1, "what was drawn is still there"
    page.get_by_role("button", name="Save mine beside theirs").click()
    wait_for(page, "!labelling.state().dirty")
    assert [label.author for label in own.store.labels(LINE, 44).history] == ["otto", "erna"]


def test_a_draft_survives_a_reload(own: WebDesk, log_in: LogIn) -> None:
    page = log_in(own, "erna", "/label?part=48")
    wait_for(page, "window.labelling?.state && labelling.state().part === 48")
    page.keyboard.press("b")
    drag(page, (10, 10), (30, 24))
    wait_for(page, "Object.keys(localStorage).some((key) => key.startsWith('label-draft'))")
    page.on("dialog", lambda dialog: dialog.accept())
    page.reload()
    page.locator(".label-banner", has_text="was not saved").wait_for()
    assert len(areas(page)) == 1


def fill(path: Path) -> None:
    """Write until the disk has no room."""
    with path.open("wb", buffering=0) as stream, contextlib.suppress(OSError):
        while stream.write(bytes(4096)):
            pass


def test_a_full_disk_loses_nothing(tmp_path: Any, log_in: LogIn) -> None:
    with tiny_disk(tmp_path / "disk", "24m") as folder, serving(prepare(folder, 12)) as desk:
        page = log_in(desk, "erna", "/label?part=12")
        wait_for(page, "window.labelling?.state && labelling.state().part === 12")
        page.keyboard.press("m")
        drag(page, (20, 20), (70, 60))
        fill(folder / "filler")
        page.keyboard.press("s")
        page.locator(".label-banner", has_text="Not saved, and nothing is lost").wait_for()
        assert desk.store.labels(LINE, 12).history == ()
        (folder / "filler").unlink()
        page.get_by_role("button", name="Try again").click()
        wait_for(page, "!labelling.state().dirty")
        assert len(desk.store.labels(LINE, 12).current[0].areas) == 1
