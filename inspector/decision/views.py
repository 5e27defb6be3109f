"""What a part is, by what is known of its views. Pure.

REJECT as soon as one view rejects; PASS when all pass; otherwise UNKNOWN once nothing more can come, at the latest at the
deadline. A view that is not judged can never be outvoted: no part passes with a view that nobody has looked at.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from inspector.part import Judgement, Reason, Verdict


@dataclass(frozen=True, slots=True)
class ViewState:
    """What is known of one view: its judgement once it has one, whether a frame of it came, and why none will (`lost`)."""

    view: str
    judgement: Judgement | None = None
    came: bool = False
    lost: str = ""


Decision = tuple[int, Judgement]
"""Which view decided, by its place, and what the part is."""


def decide(views: Sequence[ViewState]) -> Decision | None:
    """The part's judgement as soon as it is certain, or None.

    A view that could not be judged in time is certain to spoil the part, and is told at once: so is a part with no frame at
    all to come. Any other unknown view waits for the rest, one of which may show a defect.
    """
    several = len(views) > 1
    for place, one in enumerate(views):
        known = one.judgement
        if known is not None and (known.verdict is Verdict.REJECT or known.reason is Reason.OVERLOADED):
            return place, _of_view(one.view, known) if several else known
    if any(one.judgement is None and not one.lost for one in views):
        return None
    lost = [place for place, one in enumerate(views) if one.judgement is None]
    if lost:
        first = lost[0]
        if len(lost) == len(views):
            return first, Judgement(Reason.TRIGGER_GAP, views[first].lost)
        return first, _missing([views[place] for place in lost])
    for place, one in enumerate(views):
        assert one.judgement is not None
        if one.judgement.verdict is Verdict.UNKNOWN:
            return place, _of_view(one.view, one.judgement) if several else one.judgement
    closest = min(range(len(views)), key=lambda place: _margin(views[place].judgement))
    passed = views[closest].judgement
    assert passed is not None
    return closest, passed


def decide_at_deadline(views: Sequence[ViewState], budget_ms: int) -> Decision:
    """The part's judgement when its time is over: what is certain by now, or why it is not."""
    if certain := decide(views):
        return certain
    missing = [one for one in views if one.judgement is None and not one.came]
    if missing:
        return views.index(missing[0]), _missing(missing, f" in time for its deadline of {budget_ms} ms")
    late = next(place for place, one in enumerate(views) if one.judgement is None)
    of_view = f"view {views[late].view}: " if len(views) > 1 else ""
    return late, Judgement(
        Reason.DEADLINE_EXCEEDED, f"{of_view}not judged in time for its deadline, {budget_ms} ms from receipt"
    )


def _missing(views: Sequence[ViewState], when: str = "") -> Judgement:
    names = ", ".join(one.view for one in views)
    why = f": {views[0].lost}" if views[0].lost else ""
    return Judgement(Reason.MISSING_VIEW, f"no frame of view {names} came{when}{why}")


def _of_view(view: str, judgement: Judgement) -> Judgement:
    """The same, told as one view's."""
    findings = tuple(replace(finding, view=view) for finding in judgement.findings)
    return replace(judgement, detail=f"view {view}: {judgement.detail}", findings=findings)


def _margin(judgement: Judgement | None) -> float:
    """How far a score is below its limit, as a share of that, so that models with other scales compare."""
    if judgement is None or judgement.score is None or judgement.limit is None:
        return math.inf
    return (judgement.limit - judgement.score) / (abs(judgement.limit) or 1.0)
