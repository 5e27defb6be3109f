"""The REST API, one resource a module, all under /api/v1. A new one: a module with `router(desk)` and a line in `ROUTERS`."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter

from inspector.web.api import (
    audit,
    bundles,
    classes,
    comparisons,
    frames,
    image_sets,
    inspections,
    jobs,
    label_files,
    labels,
    line,
    me,
    promotions,
    recipes,
    reports,
    review,
    snapshots,
    tokens,
    uploads,
    users,
)
from inspector.web.desk import Desk

ROUTERS: tuple[Callable[[Desk], APIRouter], ...] = (
    me.router,
    reports.router,
    frames.router,
    bundles.router,
    promotions.router,
    comparisons.router,
    image_sets.router,
    uploads.router,
    snapshots.router,
    jobs.router,
    review.router,
    labels.router,
    classes.router,
    label_files.router,
    line.router,
    inspections.router,
    recipes.router,
    users.router,
    tokens.router,
    audit.router,
)
