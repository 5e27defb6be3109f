"""Proposing, approving, refusing and rolling back bundles, and limits set by hand: what people do at the page and over the API.

Every step is on record in the audit log under the name of who is logged in, before and apart from what the service itself
puts there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from inspector.access.identity import Role
from inspector.errors import (
    AccessDenied,
    BundleError,
    ConfigError,
    InspectorError,
    InvalidRequest,
    NotFound,
    PromotionRefused,
)
from inspector.inference.bundle import open_bundle
from inspector.inference.by_hand import HandLimit, with_limit_by_hand
from inspector.promotions import MAX_REASON, ViewReading, Wish
from inspector.quality import comparing
from inspector.records.compare_wish import COMPARE, CompareWish
from inspector.records.comparisons import Comparisons
from inspector.records.job import Wanted
from inspector.records.requests import PromotionRequest, PromotionRequests, Proposal, RequestState, same_person
from inspector.web.accounts.user import User
from inspector.web.bundles import BundleCard, bundle_named, place_of
from inspector.web.desk import Desk

_FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A bundle that somebody wants to judge a view of a recipe; `comparison` speaks for it, 0 if none does."""

    bundle: str
    recipe: str
    view: str
    reason: str
    comparison: int = 0


def propose(desk: Desk, user: User, wish: Candidate) -> int:
    """Put a proposal on record; returns its number. NotFound, PromotionOvertaken, InvalidRequest, ServiceUnreachable."""
    _check_reason(wish.reason)
    card, reading = bundle_named(desk, wish.bundle), _reading(desk, wish.recipe, wish.view)
    if reading.bundle is not None and reading.bundle.digest == card.digest:
        raise PromotionRefused(f"{card.label} judges {place_of(wish.recipe, wish.view)} already")
    evidence: dict[str, object] = {}
    if wish.comparison:
        comparison = Comparisons(desk.database, desk.line).get(wish.comparison)
        if card.label not in (comparison.first, comparison.second):
            raise InvalidRequest(f"comparison {wish.comparison} is not of {card.label}: name one that is")
        evidence = {"comparison": wish.comparison, "data": comparison.data, "statement": comparison.statement}
    proposal = Proposal(
        recipe=wish.recipe,
        view=wish.view,
        label=card.label,
        digest=card.digest,
        folder=str(card.path),
        digest_before="" if reading.bundle is None else reading.bundle.digest,
        proposed_by=user.name,
        reason=wish.reason.strip(),
        evidence=evidence,
    )
    number = PromotionRequests(desk.database, desk.line).propose(proposal, desk.clock())
    about = {"proposal": number, "bundle": card.label, "digest": card.digest, "reason": wish.reason, **evidence}
    desk.audit(user, "proposed a bundle", _subject(desk, wish.recipe, wish.view), about)
    return number


def approve(desk: Desk, user: User, number: int) -> ViewReading:
    """Let the service take a proposed bundle up; returns what judges then. What the service refuses stays proposed.

    Raises PromotionRefused with the reason, PromotionOvertaken if somebody else decided or promoted first, AccessDenied,
    NotFound, ServiceUnreachable.
    """
    _needs(user, Role.APPROVER)
    requests = PromotionRequests(desk.database, desk.line)
    one = requests.get(number).proposal
    reading = _reading(desk, one.recipe, one.view)
    subject = _subject(desk, one.recipe, one.view)
    about = {"proposal": number, "bundle": one.label, "new_digest": one.digest, "old_digest": one.digest_before}
    requests.claim(number, user.name, desk.clock(), second_person=reading.approvals > 1)
    wish = Wish(
        one.recipe, one.view, one.folder, one.reason, "", user.name, one.proposed_by, one.digest, one.digest_before
    )
    try:
        found = desk.commander.promote(wish)
    except InspectorError as error:
        requests.end(number, RequestState.OPEN, user.name, desk.clock(), str(error))
        desk.audit(user, "could not promote a bundle", subject, {**about, "why": str(error)})
        raise
    requests.end(number, RequestState.PROMOTED, user.name, desk.clock())
    desk.audit(user, "approved a bundle", subject, {**about, "proposed_by": one.proposed_by, "reason": one.reason})
    return found


def promote(desk: Desk, user: User, wish: Candidate) -> ViewReading:
    """Propose and approve in one, where a recipe wants one person only. Raises as both do."""
    _needs(user, Role.APPROVER)
    if _reading(desk, wish.recipe, wish.view).approvals > 1:
        raise PromotionRefused(
            f"recipe {wish.recipe} wants two persons: propose the bundle, and let somebody else approve it"
        )
    number = propose(desk, user, wish)
    try:
        return approve(desk, user, number)
    except InspectorError:
        _end(desk, user, number, RequestState.WITHDRAWN, "was to be promoted at once, and was not")
        raise


def refuse(desk: Desk, user: User, number: int, why: str) -> None:
    """Decide against a proposal. PromotionOvertaken, AccessDenied, NotFound, InvalidRequest."""
    _needs(user, Role.APPROVER)
    _check_reason(why)
    _end(desk, user, number, RequestState.REFUSED, why)


def withdraw(desk: Desk, user: User, number: int) -> None:
    """Take back a proposal of one's own. PromotionOvertaken, AccessDenied, NotFound."""
    proposer = PromotionRequests(desk.database, desk.line).get(number).proposal.proposed_by
    if not same_person(proposer, user.name):
        raise AccessDenied(f"{proposer} proposed this, and only {proposer} takes it back: an approver may refuse it")
    _end(desk, user, number, RequestState.WITHDRAWN, "")


def roll_back(desk: Desk, user: User, recipe: str, view: str, reason: str, replaces: str = "") -> ViewReading:
    """Let the bundle before judge again; returns what judges then. PromotionRefused, PromotionOvertaken, AccessDenied."""
    _needs(user, Role.APPROVER)
    _check_reason(reason)
    try:
        found = desk.commander.promote(Wish(recipe, view, "", reason.strip(), "", user.name, replaces=replaces))
    except InspectorError as error:
        desk.audit(user, "could not roll back", _subject(desk, recipe, view), {"reason": reason, "why": str(error)})
        raise
    label = "" if found.bundle is None else found.bundle.label
    digest = "" if found.bundle is None else found.bundle.digest
    about = {"bundle": label, "new_digest": digest, "old_digest": replaces, "reason": reason}
    desk.audit(user, "rolled back", _subject(desk, recipe, view), about)
    return found


def save_limit(
    desk: Desk, user: User, bundle: str, limit: float, name: str, reason: str, comparison: int = 0
) -> BundleCard:
    """Write a bundle with a limit set by hand beside the one it came from. BundleError, ConfigError, AccessDenied, NotFound."""
    _needs(user, Role.ENGINEER)
    _check_reason(reason)
    if not _FOLDER.fullmatch(name):
        raise ConfigError(
            f"a bundle cannot be named {name[:80]!a}: give up to 64 letters, digits, dots, dashes or underscores"
        )
    card = bundle_named(desk, bundle)
    if (desk.bundles / name).exists():
        raise BundleError(f"there is a bundle {name} already, and bundles are never overwritten: choose another name")
    wish = HandLimit(limit, user.name, reason.strip(), _seen(desk, card, limit, comparison))
    made = with_limit_by_hand(open_bundle(card.path), desk.bundles / name, name, wish, desk.clock())
    about = {"from": card.label, "bundle": made.label, "limit": limit, "limit_before": _limit(card), "reason": reason}
    desk.audit(user, "set a limit by hand", name, about)
    return bundle_named(desk, name)


def ask_comparison(desk: Desk, user: User, wish: CompareWish) -> int:
    """Let a worker judge a snapshot's pictures by two bundles; returns the job's number. NotFound, BundleError, DataError."""
    _needs(user, Role.ENGINEER)
    wish = CompareWish.from_json(wish.to_json())
    labels = [bundle_named(desk, name).label for name in (wish.first, wish.second)]
    digest = desk.work.snapshot(wish.snapshot).digest
    title = f"{wish.first} and {wish.second} on {wish.snapshot}"
    number = desk.work.jobs.ask(Wanted(COMPARE, title, wish.to_json(), snapshot_digest=digest), user.name)
    about = {"job": number, "first": labels[0], "second": labels[1], "snapshot": wish.snapshot, "digest": digest}
    desk.audit(user, "asked for a comparison", title, about)
    return number


def _seen(desk: Desk, card: BundleCard, limit: float, comparison: int) -> str:
    """What the limit does on the parts of a comparison, in words; empty without one."""
    if not comparison:
        return ""
    found = Comparisons(desk.database, desk.line).get(comparison)
    if card.label not in (found.first, found.second):
        raise InvalidRequest(f"comparison {comparison} is not of {card.label}: name one that is")
    side = 0 if card.label == found.first else 1
    images = (one for one in found.images if not one.known)
    parts = comparing.parts_of((one.part, one.label, one.lot, one.first, one.second) for one in images)
    errors = comparing.errors(parts, side, limit)
    return (
        f"On the parts of comparison {comparison} ({found.data}), which also chose it: escapes {errors.escapes.words}; "
        f"false rejects {errors.false_rejects.words}."
    )


def _end(desk: Desk, user: User, number: int, state: RequestState, why: str) -> None:
    requests = PromotionRequests(desk.database, desk.line)
    one: PromotionRequest = requests.claim(number, user.name, desk.clock(), second_person=False)
    requests.end(number, state, user.name, desk.clock(), why)
    about = {"proposal": number, "bundle": one.proposal.label, "why": why}
    desk.audit(user, f"{state.value} a proposal", _subject(desk, one.proposal.recipe, one.proposal.view), about)


def _reading(desk: Desk, recipe: str, view: str) -> ViewReading:
    found = desk.commander.recipes()
    for one in found:
        if (one.recipe, one.view) == (recipe, view):
            return one
    known = "; ".join(place_of(one.recipe, one.view) for one in found)
    raise NotFound(f"no station has {place_of(recipe, view)[:120]!a}; there are {known}: choose one of them")


def _limit(card: BundleCard) -> float:
    assert card.manifest is not None
    return card.manifest.limits.score


def _check_reason(reason: str) -> None:
    if not reason.strip() or len(reason) > MAX_REASON or not reason.isprintable():
        raise InvalidRequest(f"say why, in one line of up to {MAX_REASON} characters: it goes on record")


def _needs(user: User, role: Role) -> None:
    if not user.may(role):
        raise AccessDenied(f"{user.name} is {user.role.name.lower()}, and this needs {role.name.lower()}: ask an admin")


def _subject(desk: Desk, recipe: str, view: str) -> str:
    return "/".join(filter(None, (desk.line, recipe, view)))
