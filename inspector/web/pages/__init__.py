"""The pages of the desk, one a module. A new one: a module with `PAGE` and its place in `PAGES`, in the order of the menu."""

from __future__ import annotations

from inspector.web.pages import account, agreement, datasets, label, line, reports, review, train
from inspector.web.pages.page import Page

PAGES: tuple[Page, ...] = (
    line.PAGE,
    review.PAGE,
    label.PAGE,
    datasets.PAGE,
    train.PAGE,
    reports.PAGE,
    agreement.PAGE,
    account.PAGE,
)
