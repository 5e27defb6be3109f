"""Review: the parts that ask for a look, one by one, by keyboard. The work is done in `static/review.js` over the API."""

from __future__ import annotations

from inspector.access.identity import Role
from inspector.web.accounts.user import User
from inspector.web.desk import Desk
from inspector.web.pages.canvas import canvas_page
from inspector.web.pages.page import Page


def build(desk: Desk, user: User) -> None:
    """Fill the frame."""
    canvas_page("review", {"line": desk.line, "user": user.name, "stations": list(desk.stations)})


PAGE = Page(
    path="/review",
    title="Review",
    icon="fact_check",
    role=Role.OPERATOR,
    build=build,
    keys=(
        ("1–9", "defect of that class"),
        ("0", "good: a false reject"),
        ("x", "can't tell"),
        ("z", "undo, also several"),
        ("h", "heat map on or off"),
        ("[ ]", "heat map weaker, stronger"),
        ("+ −", "zoom; the wheel too"),
        ("f", "all of the picture"),
        ("b", "good part on or off"),
        ("l", "label this part"),
    ),
)
