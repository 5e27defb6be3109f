"""/judging, /proposals and /promotions: what judges now, what shall, and what did when."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from inspector.access.identity import Role
from inspector.promotions import ViewReading
from inspector.records.model_history import ModelHistory
from inspector.records.requests import PromotionRequest, PromotionRequests
from inspector.web import promotion_desk
from inspector.web.accounts.user import User
from inspector.web.api.access import needs
from inspector.web.bundles import readings_of
from inspector.web.desk import Desk, in_thread
from inspector.web.promotion_desk import Candidate


class Proposed(BaseModel):
    """A bundle for a view of a recipe, and why; `comparison` is the number of the comparison that speaks for it."""

    bundle: str = Field(max_length=64)
    recipe: str = Field(max_length=256)
    view: str = Field(default="", max_length=256)
    reason: str = Field(max_length=500)
    comparison: int = Field(default=0, ge=0)


class Why(BaseModel):
    """A reason for the record."""

    reason: str = Field(max_length=500)


class WayBack(Why):
    """A rollback; `replaced_digest` is of the bundle that judged when this was decided."""

    view: str = Field(default="", max_length=256)
    replaced_digest: str = Field(default="", pattern=r"^([0-9a-f]{12,64})?$")


def router(desk: Desk) -> APIRouter:
    """Routes of promotions."""
    routes = APIRouter(tags=["models"])

    @routes.get("/judging")
    async def judging(user: User = needs(Role.VIEWER)) -> dict[str, Any]:
        """What judges each view of each recipe now; `away` says why the line's service cannot be asked."""
        readings, away = await in_thread(readings_of, desk)
        return {"away": away, "views": [_reading(one) for one in readings]}

    @routes.post("/judging/{recipe}/rollback")
    async def rollback(recipe: str, wanted: WayBack, user: User = needs(Role.APPROVER)) -> dict[str, Any]:
        """Let the bundle before judge again."""
        about = (recipe, wanted.view, wanted.reason, wanted.replaced_digest)
        return _reading(await in_thread(promotion_desk.roll_back, desk, user, *about))

    @routes.get("/promotions")
    async def promotions(user: User = needs(Role.VIEWER)) -> list[dict[str, Any]]:
        """Who let which bundle judge, newest first."""
        return [asdict(one) for one in await in_thread(lambda: ModelHistory(desk.database, desk.line).promotions())]

    @routes.post("/promotions", status_code=201)
    async def promote(wanted: Proposed, user: User = needs(Role.APPROVER)) -> dict[str, Any]:
        """Let a bundle judge at once, where a recipe wants one person only."""
        return _reading(await in_thread(promotion_desk.promote, desk, user, _candidate(wanted)))

    @routes.get("/proposals")
    async def proposals(user: User = needs(Role.VIEWER)) -> list[dict[str, Any]]:
        """Proposals and what became of them, newest first."""
        return [_request(one) for one in await in_thread(lambda: PromotionRequests(desk.database, desk.line).list())]

    @routes.post("/proposals", status_code=201)
    async def propose(wanted: Proposed, user: User = needs(Role.ENGINEER)) -> dict[str, int]:
        """Propose a bundle."""
        return {"id": await in_thread(promotion_desk.propose, desk, user, _candidate(wanted))}

    @routes.post("/proposals/{number}/approve")
    async def approve(number: int, user: User = needs(Role.APPROVER)) -> dict[str, Any]:
        """Let a proposed bundle judge."""
        return _reading(await in_thread(promotion_desk.approve, desk, user, number))

    @routes.post("/proposals/{number}/refuse", status_code=204)
    async def refuse(number: int, wanted: Why, user: User = needs(Role.APPROVER)) -> Response:
        """Decide against a proposal."""
        await in_thread(promotion_desk.refuse, desk, user, number, wanted.reason)
        return Response(status_code=204)

    @routes.post("/proposals/{number}/withdraw", status_code=204)
    async def withdraw(number: int, user: User = needs(Role.ENGINEER)) -> Response:
        """Take back one's own proposal."""
        await in_thread(promotion_desk.withdraw, desk, user, number)
        return Response(status_code=204)

    return routes


def _candidate(wanted: Proposed) -> Candidate:
    return Candidate(wanted.bundle, wanted.recipe, wanted.view, wanted.reason, wanted.comparison)


def _reading(one: ViewReading) -> dict[str, Any]:
    found = asdict(one)
    found["difference"] = one.difference if math.isfinite(one.difference) else None
    return found


def _request(one: PromotionRequest) -> dict[str, Any]:
    return {**asdict(one), "state": one.state.value}
