"""/comparisons: two bundles on the same parts, with the limits that they have or with others."""

from __future__ import annotations

import base64
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from inspector.access.identity import Role
from inspector.errors import NotFound
from inspector.quality import comparing
from inspector.quality.comparing import ComparedPart
from inspector.records.compare_wish import CompareWish
from inspector.records.comparisons import BundleComparison, Comparisons
from inspector.web.accounts.user import User
from inspector.web.api.access import needs
from inspector.web.bundles import comparison_of
from inspector.web.desk import Desk, in_thread
from inspector.web.promotion_desk import ask_comparison

JPEG = "data:image/jpeg;base64,"


class NewComparison(BaseModel):
    """Two bundles, by the names of their folders, and the snapshot that both judge."""

    first: str = Field(max_length=64)
    second: str = Field(max_length=64)
    snapshot: str = Field(max_length=64)


def router(desk: Desk) -> APIRouter:
    """Routes of comparisons."""
    routes = APIRouter(prefix="/comparisons", tags=["models"])

    @routes.get("")
    async def comparisons(user: User = needs(Role.VIEWER)) -> list[dict[str, Any]]:
        """Those on record, newest first."""
        return [asdict(one) for one in await in_thread(lambda: Comparisons(desk.database, desk.line).list())]

    @routes.post("", status_code=202)
    async def ask(wanted: NewComparison, user: User = needs(Role.ENGINEER)) -> dict[str, int]:
        """Ask a worker to compare two bundles; /jobs says how far it is."""
        wish = CompareWish(wanted.first, wanted.second, wanted.snapshot)
        return {"job": await in_thread(ask_comparison, desk, user, wish)}

    @routes.get("/{number}")
    async def comparison(
        number: int,
        first_limit: float | None = Query(default=None, allow_inf_nan=False),
        second_limit: float | None = Query(default=None, allow_inf_nan=False),
        known: bool = False,
        user: User = needs(Role.VIEWER),
    ) -> dict[str, Any]:
        """Counts, tests and flips; with `known` also of parts that a bundle was made with."""
        found = await in_thread(comparison_of, desk, number)
        limits = (
            found.limits[0] if first_limit is None else first_limit,
            found.limits[1] if second_limit is None else second_limit,
        )
        return await in_thread(_result, found, limits, known)

    @routes.get("/{number}/pictures")
    async def picture(number: int, path: str = Query(max_length=1024), user: User = needs(Role.VIEWER)) -> Response:
        """How one image looked, with the heat maps of both bundles, if it was drawn."""
        uri = (await in_thread(comparison_of, desk, number)).pictures.get(path, "")
        if not uri.startswith(JPEG):
            raise NotFound(f"comparison {number} has no picture of {path[:80]!a}: only parts that flip were drawn")
        data = base64.b64decode(uri.removeprefix(JPEG))
        return Response(data, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=86400, immutable"})

    return routes


def _result(found: BundleComparison, limits: tuple[float, float], known: bool) -> dict[str, Any]:
    images = [one for one in found.images if known or not one.known]
    parts = comparing.parts_of((one.part, one.label, one.lot, one.first, one.second) for one in images)
    paths = {one.part: one.path for one in reversed(images)}
    return {
        "first": found.first,
        "second": found.second,
        "limits": limits,
        "data": found.data,
        "statement": found.statement,
        "notes": found.notes,
        "parts": len(parts),
        "paired": [asdict(one) for one in comparing.paired(parts, limits)],
        "classes": _by(parts, limits, "label"),
        "lots": _by(parts, limits, "lot"),
        "flips": [
            {"path": paths[part.number], "label": part.label, "lot": part.lot, "scores": part.scores, "right": right}
            for part, right in comparing.differing(parts, limits)
        ],
    }


def _by(parts: list[ComparedPart], limits: tuple[float, float], what: str) -> dict[str, Any]:
    return {
        name: {
            side: asdict(comparing.errors(some, place, limits[place])) for place, side in enumerate(("first", "second"))
        }
        for name, some in comparing.groups(parts, lambda part: str(getattr(part, what))).items()
    }
