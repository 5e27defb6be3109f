"""Users, costs, shift counts, bundles and recipes on record, on both databases; and entries of an audit log found."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from record_samples import LINE, START, inspection

from inspector.errors import AuditError, InvalidRequest, NotFound
from inspector.part import Reason, Verdict
from inspector.records.audit import AuditLog
from inspector.records.audit_search import AuditFilter, find_entries
from inspector.records.entries import Settled
from inspector.records.recipe_costs import RecipeCosts, recipe_costs, set_recipe_costs
from inspector.records.shift_counts import ShiftCounts, count_since
from inspector.records.store import Store
from inspector.records.trace import bundle_record, recipe_at, recipe_names
from inspector.records.users import Users

LATER = START + timedelta(hours=1)


def test_users_sessions_and_tokens_are_kept(store: Store) -> None:
    users = Users(store.database)
    users.add("anna", 3, "hash", START)
    with pytest.raises(InvalidRequest, match="there is a user anna already"):
        users.add("anna", 5, "other", START)
    users.open_session("anna", b"s" * 32, "10.0.0.1", START, LATER)
    session = users.session(b"s" * 32, START)
    assert session is not None
    assert (session.user.name, session.expires, session.user.last_login) == ("anna", LATER, START)
    assert users.session(b"s" * 32, LATER) is None
    token = users.add_token("anna", "MES", b"t" * 32, 1, START, None)
    assert users.token(b"t" * 32, LATER) is not None
    assert users.tokens("anna")[0].used == LATER
    users.revoke_token(token.number, LATER)
    assert users.token(b"t" * 32, LATER) is None
    with pytest.raises(NotFound):
        users.revoke_token(99, LATER)
    with pytest.raises(NotFound):
        users.change("nobody", must_stay=5, role=1)
    with pytest.raises(NotFound):
        users.open_session("nobody", b"u" * 32, "10.0.0.1", START, LATER)


def test_wrong_passwords_are_counted_by_name_and_address_and_forgotten(store: Store) -> None:
    users = Users(store.database)
    since = START - timedelta(minutes=15)
    assert [users.add_failure("anna", "10.0.0.1", START, since) for _ in range(3)] == [1, 2, 3]
    assert users.add_failure("anna", "10.0.0.2", START, since) == 1
    assert users.failures("anna", "10.0.0.1", since) == (3, START)
    assert users.locked(3, since) == [("anna", "10.0.0.1", START)]
    assert users.add_failure("bert", "10.0.0.1", LATER, LATER - timedelta(minutes=15)) == 1
    assert users.failures("anna", "10.0.0.1", since) == (0, None)
    users.forgive("bert")
    assert users.failures("bert", "10.0.0.1", since) == (0, None)


def test_the_newest_costs_of_a_recipe_count(store: Store) -> None:
    for name in ("tiles-a", "new"):
        store.record_recipe(name, {}, START)
    set_recipe_costs(store.database, RecipeCosts("tiles-a", 2.0, 500.0, "EUR", "anna", START))
    set_recipe_costs(store.database, RecipeCosts("tiles-a", 3.0, 400.0, "EUR", "bert", LATER))
    set_recipe_costs(store.database, RecipeCosts("new", 1.0, 2.0, "USD", "bert", START))
    found = recipe_costs(store.database)
    assert {name: (one.false_reject, one.author) for name, one in found.items()} == {
        "tiles-a": (3.0, "bert"),
        "new": (1.0, "bert"),
    }


@pytest.mark.parametrize(
    "costs",
    [
        RecipeCosts("a", float("nan"), 1, "EUR", "anna", START),
        RecipeCosts("a", -1, 1, "EUR", "anna", START),
        RecipeCosts("a", 1, float("inf"), "EUR", "anna", START),
        RecipeCosts("a", 1, 1, "euro", "anna", START),
    ],
    ids=["no number", "negative", "infinite", "no currency"],
)
def test_costs_that_are_none_are_refused(store: Store, costs: RecipeCosts) -> None:
    with pytest.raises(InvalidRequest):
        set_recipe_costs(store.database, costs)


def test_a_shift_is_counted_by_station_and_verdict(store: Store) -> None:
    assert count_since(store.database, LINE, START) == ShiftCounts()
    reasons = [Reason.WITHIN_LIMITS, Reason.SCORE_ABOVE_LIMIT, Reason.QUEUE_FULL, Reason.WITHIN_LIMITS]
    store.apply(LINE, [Settled(inspection(number, reason)) for number, reason in enumerate(reasons, 1)])
    store.apply(LINE, [Settled(inspection(5, station="side"))])
    counted = count_since(store.database, LINE, START + timedelta(seconds=2))
    assert counted.upto == 5
    assert counted.by_station == {
        "top": {Verdict.PASS: 1, Verdict.REJECT: 1, Verdict.UNKNOWN: 1},
        "side": {Verdict.PASS: 1},
    }


def test_a_part_is_traced_to_its_bundle_and_to_what_its_recipe_said_then(store: Store) -> None:
    store.apply(LINE, [Settled(inspection(1))])
    label = inspection(1).bundle
    known = bundle_record(store.database, label)
    assert known is not None
    assert (known.digest, known.recorded) == ("", None)
    store.record_bundle(label, "0123", {"model_kind": "memory-bank"}, START)
    known = bundle_record(store.database, label)
    assert known is not None
    assert (known.digest, known.manifest["model_kind"]) == ("0123", "memory-bank")
    assert bundle_record(store.database, "no@such") is None
    assert recipe_at(store.database, "tiles-a", START) is None
    store.record_recipe("tiles-a", {"deadline_ms": 500}, START)
    store.record_recipe("tiles-a", {"deadline_ms": 400}, LATER)
    for time, said in ((START - timedelta(days=1), 500), (START, 500), (LATER, 400)):
        version = recipe_at(store.database, "tiles-a", time)
        assert version is not None
        assert (version.content["deadline_ms"], version.versions) == (said, 2)
    assert recipe_names(store.database) == ["tiles-a"]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("log") / "audit.jsonl"
    made = AuditLog(path)
    for number in range(1, 13):
        about = {"note": "Ärger" if number == 7 else "x" * 400}
        made.append("anna" if number % 3 else "bert", "labelled", f"lines/a/inspections/{number}", about)
    return path


@pytest.mark.parametrize(
    ("where", "limit", "numbers"),
    [
        pytest.param(AuditFilter(), 3, [12, 11, 10], id="newest first, so many"),
        pytest.param(AuditFilter(before=4), 10, [3, 2, 1], id="the next page"),
        pytest.param(AuditFilter(actor="BER"), 10, [12, 9, 6, 3], id="part of a name, whatever the case"),
        pytest.param(AuditFilter(text="ärger"), 10, [7], id="in the details, beyond ASCII"),
        pytest.param(AuditFilter(subjects=frozenset({"lines/a/inspections/1"})), 10, [1], id="an exact subject"),
        pytest.param(AuditFilter(since="2999"), 10, [], id="none so new"),
        pytest.param(AuditFilter(until="2000"), 10, [], id="none so old"),
    ],
)
def test_entries_are_found(
    log: Path, where: AuditFilter, limit: int, numbers: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inspector.records.audit_search.BLOCK_BYTES", 1000)  # some entries lie across blocks
    assert [entry.number for entry in find_entries(log, where, limit)] == numbers


def test_a_log_that_is_not_there_has_no_entries_and_one_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    assert find_entries(tmp_path / "none.jsonl", AuditFilter(), 10) == ()
    with pytest.raises(AuditError, match="cannot be read"):
        find_entries(tmp_path, AuditFilter(), 10)
