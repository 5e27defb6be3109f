"""The pages of the desk, one a module. A new one: a module with `PAGE` and its place in `PAGES`, in the order of the menu."""

from __future__ import annotations

from inspector.web.pages import (
    account,
    admin,
    agreement,
    audit,
    datasets,
    label,
    line,
    models,
    models_compare,
    recipes,
    reports,
    review,
    trace,
    train,
)
from inspector.web.pages.page import Page

PAGES: tuple[Page, ...] = (
    line.PAGE,
    review.PAGE,
    label.PAGE,
    datasets.PAGE,
    train.PAGE,
    models.PAGE,
    models_compare.PAGE,
    reports.PAGE,
    agreement.PAGE,
    trace.PAGE,
    recipes.PAGE,
    audit.PAGE,
    admin.PAGE,
    account.PAGE,
)
