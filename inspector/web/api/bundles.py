"""/bundles: the bundles in the line's folder, and new ones with a limit set by hand."""

from __future__ import annotations

import math
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from inspector.access.identity import Role
from inspector.web.accounts.user import User
from inspector.web.api.access import needs
from inspector.web.bundles import BundleCard, look, measured
from inspector.web.desk import Desk, in_thread
from inspector.web.promotion_desk import save_limit


class NewLimit(BaseModel):
    """A limit set by hand, and the name of the bundle that has it."""

    limit: float = Field(allow_inf_nan=False)
    name: str = Field(max_length=64)
    reason: str = Field(max_length=500)
    comparison: int = Field(default=0, ge=0)


def router(desk: Desk) -> APIRouter:
    """Routes of bundles."""
    routes = APIRouter(prefix="/bundles", tags=["models"])

    @routes.get("")
    async def bundles(user: User = needs(Role.VIEWER)) -> list[dict[str, Any]]:
        """Every bundle in the folder, the newest first."""
        return [_about(card) for card in (await in_thread(look, desk)).bundles]

    @routes.post("/{name}/limits", status_code=201)
    async def new_limit(name: str, wanted: NewLimit, user: User = needs(Role.ENGINEER)) -> dict[str, Any]:
        """A new bundle with another limit, which promises nothing."""
        about = (wanted.limit, wanted.name, wanted.reason, wanted.comparison)
        return _about(await in_thread(save_limit, desk, user, name, *about))

    return routes


def _about(card: BundleCard) -> dict[str, Any]:
    golden = [
        {
            "machine": one.machine,
            "provider": one.provider,
            "checked": one.checked,
            "failed": one.failed,
            "largest_difference": one.difference,
            "time": one.time,
        }
        for one in card.golden
    ]
    found: dict[str, Any] = {"name": card.name, "bundle": card.label, "digest": card.digest, "fault": card.fault}
    found |= {"signed_by": card.signers, "golden": golden}
    found["judges"] = [{"recipe": recipe, "view": view} for recipe, view in card.judges]
    if card.use is not None:
        counts = {verdict.name.lower(): count for verdict, count in card.use.verdicts.items()}
        found["judged"] = {"from": card.use.first_time, "to": card.use.last_time, **counts}
    if (manifest := card.manifest) is not None:
        limit = manifest.limits.score
        found |= {
            "kind": manifest.model_kind,
            "created": manifest.created_time,
            "classes": manifest.classes,
            "limit": limit if math.isfinite(limit) else None,
            "promise": manifest.basis.statement,
            "guaranteed": manifest.basis.guaranteed,
            "data_digest": manifest.dataset_digest,
            "measured": dict(measured(manifest)),
            "provenance": manifest.provenance,
        }
    return found
