"""Label: what parts are and where, by hand or from the model. The work is done in `static/label.js` over the API."""

from __future__ import annotations

from inspector.access.identity import Role
from inspector.web.accounts.user import User
from inspector.web.desk import Desk
from inspector.web.pages.canvas import canvas_page
from inspector.web.pages.page import Page


def build(desk: Desk, user: User) -> None:
    """Fill the frame."""
    about = {"line": desk.line, "user": user.name, "edits": user.may(Role.ENGINEER)}
    canvas_page("label", about, "areas", "classes", "label_files")


PAGE = Page(
    path="/label",
    title="Label",
    icon="draw",
    role=Role.OPERATOR,
    build=build,
    keys=(
        ("v b p m e d", "select, box, outline, brush, eraser, move"),
        ("1–9, i", "class; area that does not count"),
        ("0, x", "the part is good; can't tell"),
        ("a", "accept the model's region"),
        ("Enter, Esc", "close an outline; cancel"),
        ("Alt+click", "take out a corner; a click on an edge adds one"),
        ("Del", "delete the chosen area"),
        ("arrows", "move it, with Shift by 10 px"),
        ("z, y", "undo, redo"),
        ("s", "save"),
        ("j, k", "save and go to the part before, after"),
        ("[ ]", "smaller, larger brush"),
        ("h, o", "heat map, findings"),
        ("+ − f", "zoom, all of the picture"),
    ),
)
