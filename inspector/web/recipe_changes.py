"""Changing recipes and costs, each change on record with its reason; what pages and API both call."""

from __future__ import annotations

from pathlib import Path

from inspector.errors import InspectorError, InvalidRequest
from inspector.records.recipe_costs import RecipeCosts, set_recipe_costs
from inspector.web.accounts.user import User
from inspector.web.desk import Desk
from inspector.web.recipes import Draft, save_draft

MAX_REASON = 500
BACKUPS = "line-files"
MAX_DIFF_LINES = 60


def change_recipe(desk: Desk, user: User, draft: Draft, version: str, reason: str) -> Path:
    """Replace the line file by the draft; returns where the one before is kept. InvalidRequest, ConfigError, AuditError."""
    why = reason.strip()
    if not why or len(why) > MAX_REASON:
        raise InvalidRequest(f"say why in 1 to {MAX_REASON} characters: the audit log keeps it with the change")
    changed = [line for line in draft.diff[2:] if line[:1] in "+-"]
    details = {"reason": why, "diff": changed[:MAX_DIFF_LINES], "lines": len(changed)}

    def record(backup: Path) -> None:
        desk.audit(user, "changed recipe in the line file", draft.recipe, {**details, "backup": backup.name})

    try:
        return save_draft(draft, desk.line_file, version, desk.folder / BACKUPS, desk.clock(), record)
    except InspectorError as error:
        desk.refuse(user.name, "change of a recipe", draft.recipe, str(error))
        raise


def change_costs(desk: Desk, user: User, recipe: str, false_reject: float, escape: float, currency: str) -> RecipeCosts:
    """From now on these count. InvalidRequest."""
    costs = RecipeCosts(recipe, false_reject, escape, currency, user.name, desk.clock())
    set_recipe_costs(desk.database, costs)
    about = {"false_reject": false_reject, "escape": escape, "currency": currency}
    desk.audit(user, "set costs of wrong verdicts", recipe, about)
    return costs
