"""Proposing, approving, rolling back and comparing bundles: over the API and in a browser, with a line that runs beside."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from plc_desk import wait_until
from toys import toy_bundle
from web_desk import LINE, WebDesk, free_port, prepare, serving

from inspector.inference.bundle import open_bundle
from inspector.promotions import PROMOTIONS_FILE
from inspector.records.audit import AuditLog
from inspector.records.comparisons import BundleComparison, ComparedImage, Comparisons
from inspector.records.model_history import ModelHistory
from inspector.service import run_service
from inspector.settings import load_line_file

NASTY = "<img src=x onerror=alert(3)>"
RECIPES = """
[[station]]
name = "top"
camera = "cam-1"
unit = 1
recipe = "tiles"
recipes = ["caps"]
[recipe.tiles]
bundle = "bundles/a"
[recipe.caps]
bundle = "bundles/a"
approvals = 2
"""


@dataclass
class Models:
    """A desk beside a line that runs, with bundles a to d and a comparison of a and b."""

    desk: WebDesk
    comparison: int
    clients: dict[str, httpx.Client] = field(default_factory=dict)

    @contextmanager
    def as_(self, name: str) -> Iterator[httpx.Client]:
        """A client of somebody who is logged in, once for all tests."""
        if name not in self.clients:
            self.clients[name] = self.desk.client(name)
        yield self.clients[name]

    def judging(self, recipe: str) -> str:
        """The name of the bundle that judges by a recipe now."""
        with self.as_("vera") as viewer:
            # On a busy machine the desk may think for a moment that the service is away.
            wait_until(lambda: viewer.get("/api/v1/judging").json()["away"] == "", "the service", 30)
            found = viewer.get("/api/v1/judging").json()
        (one,) = (view for view in found["views"] if view["recipe"] == recipe)
        return str(one["bundle"]["label"]).partition("@")[0]

    def audited(self, action: str) -> list[tuple[str, str, dict[str, Any]]]:
        entries = AuditLog(self.desk.data_dir / "audit.jsonl").entries()
        return [(one.actor, one.subject, dict(one.details)) for one in entries if one.action == action]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Models]:
    folder = tmp_path_factory.mktemp("models")
    grpc = free_port()
    desk = prepare(folder, 0, grpc=grpc)
    text = desk.line_file.read_text().partition("[[station]]")[0]
    desk.line_file.write_text(f'{text}[modbus]\nlisten = "127.0.0.1:{free_port()}"\n{RECIPES}')
    made = {name: toy_bundle(folder / "bundles" / name, name=name, limit=limit) for name, limit in LIMITS.items()}
    images = [
        ComparedImage(f"{label}/{n}.png", label, n, f"L{n % 2}", n / 20, min(1.0, n / 20 + 0.2), n == 3)
        for n in range(20)
        for label in [NASTY if n > 10 else "good"]
    ]
    found = BundleComparison(
        made["a"].label, made["b"].label, (0.5, 0.45), "held-out parts", "B is better.", tuple(images), {}, (NASTY,)
    )
    number = Comparisons(desk.store.database, LINE).add(found, NASTY, datetime.now(UTC))
    with ExitStack() as stack:
        stack.enter_context(run_service(load_line_file(desk.line_file)))
        stack.enter_context(serving(desk))
        running = Models(desk, number)
        with running.as_("vera") as viewer:
            wait_until(lambda: viewer.get("/api/v1/judging").json()["away"] == "", "the service", 30)
        yield running


LIMITS = {"a": 0.5, "b": 0.45, "c": 0.4, "d": 0.35}


@pytest.fixture(autouse=True)
def as_it_was(models: Models) -> Iterator[None]:
    """Both recipes are judged by bundle a again, and nothing waits for a decision."""
    yield
    with models.as_("ada") as admin:
        for one in admin.get("/api/v1/proposals").json():
            if one["state"] == "open":
                post(admin, f"proposals/{one['id']}/refuse", reason="end of the test")
        for recipe in ("tiles", "caps"):
            if models.judging(recipe) != "a":
                other = "anton" if recipe == "caps" else "ada"
                with models.as_(other) as proposer:
                    number = post(proposer, "proposals", bundle="a", recipe=recipe, reason="back").json()["id"]
                assert post(admin, f"proposals/{number}/approve").status_code == 200


def post(client: httpx.Client, path: str, **body: object) -> httpx.Response:
    return client.post(f"/api/v1/{path}", json=body)


def said(answer: httpx.Response) -> str:
    return str(answer.json()["error"]["message"])


def test_what_an_engineer_proposes_an_approver_promotes_and_it_is_on_record(models: Models) -> None:
    desk = models.desk
    with models.as_("erna") as erna, models.as_("anton") as anton:
        wish = {"bundle": "b", "recipe": "caps", "reason": "fewer escapes", "comparison": models.comparison}
        number = post(erna, "proposals", **wish).json()["id"]
        assert post(erna, f"proposals/{number}/approve").status_code == 403
        assert models.judging("caps") == "a"
        answer = post(anton, f"proposals/{number}/approve")
        assert answer.status_code == 200, answer.text
        assert answer.json()["promotion"]["proposed_by"] == "erna"
        assert models.judging("caps") == "b"
        again = post(anton, f"proposals/{number}/approve")
        assert (again.status_code, said(again)) == (
            409,
            f"proposal {number} is promoted by anton: look at what judges now",
        )
    (proposal,) = [one for one in models.audited("proposed a bundle") if one[2]["proposal"] == number]
    assert (proposal[:2], proposal[2]["statement"]) == (("erna", f"{LINE}/caps"), "B is better.")
    actor, subject, details = models.audited("approved a bundle")[-1]
    digests = {name: open_bundle(desk.folder / "bundles" / name).digest for name in "ab"}
    assert (actor, subject) == ("anton", f"{LINE}/caps")
    assert (details["old_digest"], details["new_digest"]) == (digests["a"], digests["b"])
    assert any(actor.endswith("for anton") for actor, *_ in models.audited("promoted a bundle"))
    history = ModelHistory(desk.store.database, LINE)
    wait_until(
        lambda: any(one.label.startswith("b@") for one in history.promotions()),
        "the promotion on record, which another thread stores",
    )
    assert (history.promotions()[0].proposed_by, history.promotions()[0].promoted_by) == ("erna", "anton")


def test_two_persons_are_two_persons(models: Models) -> None:
    with models.as_("anton") as anton, models.as_("ada") as ada:
        at_once = post(anton, "promotions", bundle="b", recipe="caps", reason="quick")
        assert "wants two persons" in said(at_once)
        number = post(anton, "proposals", bundle="b", recipe="caps", reason="quick").json()["id"]
        assert "let somebody else decide" in said(post(anton, f"proposals/{number}/approve"))
        assert models.judging("caps") == "a"
        assert post(ada, f"proposals/{number}/approve").status_code == 200
        assert models.judging("caps") == "b"


def test_of_two_who_approve_at_once_one_is_told(models: Models) -> None:
    with models.as_("erna") as erna:
        numbers = [
            post(erna, "proposals", bundle=name, recipe="tiles", reason="why").json()["id"] for name in ("b", "c")
        ]
    answers: list[tuple[int, str]] = []
    together = threading.Barrier(3)

    def approve(name: str, number: int) -> None:
        with models.as_(name) as client:
            together.wait(20)
            answer = post(client, f"proposals/{number}/approve")
            answers.append((answer.status_code, answer.text))

    people = (("anton", numbers[0]), ("ada", numbers[1]), ("ada", numbers[0]))
    threads = [threading.Thread(target=approve, args=about) for about in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(status for status, _ in answers) == [200, 409, 409], answers
    assert all(
        "promoting" in text or "as you saw it" in text or "look at what judges now" in text
        for status, text in answers
        if status == 409
    )
    assert models.judging("tiles") in ("b", "c")


def test_what_the_service_refuses_stays_proposed_with_the_reason(models: Models) -> None:
    folder = models.desk.folder / "bundles" / "spoilt"
    toy_bundle(folder, name="spoilt", limit=0.45)
    with models.as_("anton") as anton:
        number = post(anton, "proposals", bundle="spoilt", recipe="tiles", reason="why").json()["id"]
        (folder / "model.onnx").write_bytes(b"another model")
        refused = post(anton, f"proposals/{number}/approve")
        assert (refused.status_code, "was changed" in said(refused)) == (422, True)
        (one,) = [one for one in anton.get("/api/v1/proposals").json() if one["id"] == number]
        assert (one["state"], "was changed" in one["note"]) == ("open", True)
        assert post(anton, f"proposals/{number}/withdraw").status_code == 204
    assert models.judging("tiles") == "a"
    assert "was changed" in models.audited("could not promote a bundle")[-1][2]["why"]


REFUSED = [
    pytest.param("proposals", {"bundle": "none", "recipe": "tiles", "reason": "w"}, 404, "no bundle", id="no bundle"),
    pytest.param("proposals", {"bundle": "../a", "recipe": "tiles", "reason": "w"}, 404, "no bundle", id="a way out"),
    pytest.param("proposals", {"bundle": "b", "recipe": "nil", "reason": "w"}, 404, "tiles; caps", id="no recipe"),
    pytest.param("proposals", {"bundle": "a", "recipe": "tiles", "reason": "w"}, 422, "already", id="what judges"),
    pytest.param("proposals", {"bundle": "b", "recipe": "tiles", "reason": " "}, 422, "say why", id="no reason"),
    pytest.param("proposals", {"bundle": "b", "recipe": "tiles", "reason": "a\nb"}, 422, "one line", id="two lines"),
    pytest.param(
        "proposals",
        {"bundle": "c", "recipe": "tiles", "reason": "w", "comparison": 1},
        422,
        "not of c@",
        id="evidence of others",
    ),
    pytest.param("proposals/999/approve", {}, 404, "no proposal 999", id="no proposal"),
    pytest.param("judging/tiles/rollback", {"reason": ""}, 422, "say why", id="a rollback without a reason"),
    pytest.param(
        "judging/tiles/rollback", {"reason": "w", "replaced_digest": "0" * 12}, 409, "as you saw it", id="overtaken"
    ),
    pytest.param("bundles/a/limits", {"limit": 0.4, "name": "../x", "reason": "w"}, 422, "cannot be named", id="out"),
    pytest.param("bundles/a/limits", {"limit": 0.4, "name": "b", "reason": "w"}, 422, "never overwritten", id="taken"),
    pytest.param("bundles/a/limits", {"limit": 0.01, "name": "e", "reason": "w"}, 422, "golden image", id="golden"),
    pytest.param("bundles/a/limits", {"limit": 0.4, "name": "e", "reason": ""}, 422, "say why", id="limit, no reason"),
]


@pytest.mark.parametrize(("path", "body", "status", "says"), REFUSED)
def test_what_makes_no_sense_is_refused_in_words(
    models: Models, path: str, body: dict[str, object], status: int, says: str
) -> None:
    with models.as_("anton") as anton:
        answer = post(anton, path, **body)
    assert (answer.status_code, says in said(answer)) == (status, True), answer.text
    assert models.judging("tiles") == "a"


def test_only_the_proposer_takes_a_proposal_back(models: Models) -> None:
    with models.as_("erna") as erna, models.as_("anton") as anton:
        number = post(erna, "proposals", bundle="b", recipe="tiles", reason="why").json()["id"]
        twice = post(anton, "proposals", bundle="b", recipe="tiles", reason="me too")
        assert (twice.status_code, "erna proposed" in said(twice)) == (409, True)
        assert post(anton, f"proposals/{number}/withdraw").status_code == 403
        assert post(erna, f"proposals/{number}/withdraw").status_code == 204


def test_a_limit_by_hand_is_a_bundle_that_says_what_it_does_and_promises_nothing(models: Models) -> None:
    with models.as_("erna") as erna:
        wish = {"limit": 0.42, "name": "a-hand", "reason": "lets stains pass", "comparison": models.comparison}
        made = post(erna, "bundles/a/limits", **wish)
    assert made.status_code == 201, made.text
    found = made.json()
    assert (found["limit"], found["guaranteed"]) == (0.42, False)
    assert f"On the parts of comparison {models.comparison} (held-out parts), which also chose it" in found["promise"]
    assert models.audited("set a limit by hand")[-1][0] == "erna"


def test_a_comparison_can_be_asked_with_other_limits_and_without_what_a_bundle_knows(models: Models) -> None:
    with models.as_("vera") as viewer:
        path = f"/api/v1/comparisons/{models.comparison}"
        own = viewer.get(path).json()
        moved = viewer.get(path, params={"second_limit": 0.9, "known": True}).json()
    assert (own["parts"], own["limits"], moved["parts"], moved["limits"]) == (19, [0.5, 0.45], 20, [0.5, 0.9])
    assert own["paired"][1]["second"]["count"] == 5
    assert moved["paired"][1]["second"]["count"] == 0
    assert set(own["classes"]) == {"good", NASTY}
    assert set(own["lots"]) == {"L0", "L1"}


def test_an_approver_promotes_and_goes_back_at_the_page(models: Models, log_in: Any) -> None:
    page = log_in(models.desk, "anton", "/models")
    card = page.locator(".bundle", has=page.get_by_text(re.compile("^d@")))
    card.get_by_role("button", name="Promote…").click()
    dialog = page.locator(".ask-card")
    dialog.get_by_role("button", name="Go on").click()
    dialog.get_by_role("alert").get_by_text("say why").wait_for()
    dialog.get_by_label("Why, for the record").fill("trial")
    page.keyboard.press("Enter")
    page.locator(".model-card", has_text="Promoted by anton").first.wait_for()
    dialog.wait_for(state="detached")
    assert models.judging("tiles") == "d"
    page.get_by_role("button", name="Go back to a@").click()
    page.get_by_label("Why, for the record").fill("worse")
    page.get_by_role("button", name="Roll back").click()
    page.locator(".model-card", has_text="Rolled back by anton").first.wait_for()
    assert models.judging("tiles") == "a"
    assert page.faults == []
    assert (models.desk.data_dir / PROMOTIONS_FILE).exists()


def test_a_limit_is_moved_by_keyboard_and_says_what_flips(models: Models, log_in: Any) -> None:
    page = log_in(models.desk, "erna", f"/models/compare?id={models.comparison}")
    page.get_by_text("B is better.", exact=True).wait_for()
    page.locator(".limit-words").first.get_by_text("Limit 0.5: ").wait_for()
    page.get_by_role("button", name="One part laxer").first.focus()
    page.keyboard.press("Space")
    page.locator(".limit-words").first.get_by_text("Limit 0.55: ").wait_for()
    page.keyboard.press("Space")
    page.get_by_text("A passes 2 part(s) more than with its own 0.5: 0 rightly, 2 wrongly").wait_for()
    page.get_by_role("button", name="Back to its own limit").first.click()
    page.locator(".limit-words").first.get_by_text("Limit 0.5: ").wait_for()
    assert page.get_by_text(NASTY).count() > 0, "names are shown as they are, and do nothing"
    assert page.faults == []


def test_whose_role_is_low_sees_but_does_nothing(models: Models, log_in: Any) -> None:
    page = log_in(models.desk, "vera", "/models")
    page.get_by_text("What judges now").wait_for()
    assert page.get_by_role("button", name="Promote…").count() == 0
    assert page.get_by_role("button", name="Propose…").count() == 0
    assert page.get_by_role("button", name="Go back").count() == 0
