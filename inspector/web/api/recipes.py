"""/recipes: the recipes of the line file, and what wrong verdicts cost."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel, Field

from inspector.access.identity import Role
from inspector.records.recipe_costs import RecipeCosts, recipe_costs
from inspector.web.accounts.user import User
from inspector.web.api.access import needs
from inspector.web.desk import Desk, in_thread
from inspector.web.recipe_changes import change_costs, change_recipe
from inspector.web.recipes import MAX_SECTION, known, make_draft, read_recipe_file


class RecipeOut(BaseModel):
    """The tables of a recipe as the line file has them; `version` is that of the file, to be sent back with a change."""

    name: str
    text: str
    version: str


class RecipeChange(BaseModel):
    """New tables for a recipe. Without a reason it is only checked."""

    text: str = Field(max_length=MAX_SECTION)
    version: str = Field(max_length=64)
    reason: str = Field(default="", max_length=500)


class DraftOut(BaseModel):
    """What would change, what is wrong with it, and whether it was saved: the service takes it up at its next start."""

    diff: list[str]
    problems: list[str]
    is_saved: bool


class Costs(BaseModel):
    """What one wrong verdict costs, in a currency of ISO 4217."""

    false_reject: float = Field(ge=0)
    escape: float = Field(ge=0)
    currency: str = Field(max_length=3)


class CostsOut(Costs):
    """Costs, with who said so and when."""

    recipe: str
    author: str
    time: datetime


def router(desk: Desk) -> APIRouter:
    """Routes about recipes."""
    routes = APIRouter(prefix="/recipes", tags=["recipes"])

    @routes.get("")
    async def list_recipes(user: User = needs(Role.VIEWER)) -> list[RecipeOut]:
        """Every recipe of the line file."""
        file = await in_thread(read_recipe_file, desk.line_file)
        return [RecipeOut(name=name, text=text, version=file.version) for name, text in file.recipes.items()]

    @routes.get("/costs")
    async def list_costs(user: User = needs(Role.VIEWER)) -> list[CostsOut]:
        """The newest costs of every recipe that has any."""
        return [_costs(costs) for costs in (await in_thread(recipe_costs, desk.database)).values()]

    @routes.get("/{name}")
    async def get_recipe(name: str, user: User = needs(Role.VIEWER)) -> RecipeOut:
        """One recipe of the line file."""
        file = await in_thread(read_recipe_file, desk.line_file)
        return RecipeOut(name=name, text=known(file, name), version=file.version)

    @routes.put("/{name}")
    async def put_recipe(name: str, wanted: RecipeChange, user: User = needs(Role.ENGINEER)) -> DraftOut:
        """Check new tables for a recipe; with a reason, save them for the next start of the service.

        Refused if they change a bundle (promote it) or approvals (changed in the line file by whoever holds it).
        """

        def work() -> DraftOut:
            draft = make_draft(read_recipe_file(desk.line_file), name, wanted.text, desk.problems)
            if wanted.reason:
                change_recipe(desk, user, draft, wanted.version, wanted.reason)
            return DraftOut(diff=list(draft.diff), problems=list(draft.problems), is_saved=bool(wanted.reason))

        return await in_thread(work)

    @routes.put("/{name}/costs")
    async def put_costs(name: str, wanted: Costs, user: User = needs(Role.ENGINEER)) -> CostsOut:
        """From now on a wrong verdict costs this."""
        known(await in_thread(read_recipe_file, desk.line_file), name)
        about = (name, wanted.false_reject, wanted.escape, wanted.currency)
        return _costs(await in_thread(change_costs, desk, user, *about))

    return routes


def _costs(costs: RecipeCosts) -> CostsOut:
    return CostsOut(
        recipe=costs.recipe,
        false_reject=costs.false_reject,
        escape=costs.escape,
        currency=costs.currency,
        author=costs.author,
        time=costs.set,
    )
