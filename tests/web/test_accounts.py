"""Who may come in: sessions that end, tokens, and wrong passwords, with a clock that the test turns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from inspector.access.identity import Role
from inspector.errors import AccessDenied, InvalidRequest
from inspector.records.store import Store
from inspector.records.users import Users
from inspector.web.accounts import passwords
from inspector.web.accounts.accounts import BELIEVED_S, FAILURES, LOCKED, Accounts, LockedOut

PASSWORD = "correct horse battery"


@dataclass
class Clock:
    """Wall clock and monotonic clock, turned together."""

    now: datetime = field(default_factory=lambda: datetime(2026, 5, 4, 6, 0, tzinfo=UTC))
    seconds: float = 0.0

    def turn(self, by: timedelta) -> None:
        self.now += by
        self.seconds += by.total_seconds()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashing takes its time on purpose; here it only has to tell passwords apart."""
    monkeypatch.setattr(passwords, "_hasher", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def accounts(tmp_path: Path, clock: Clock) -> Iterator[Accounts]:
    store = Store(f"sqlite:///{tmp_path / 'quality.db'}")
    store.upgrade()
    made = Accounts(Users(store.database), 8, lambda: clock.now, lambda: clock.seconds)
    made.add("Erna", Role.ENGINEER, PASSWORD)
    made.add("ada", Role.ADMIN, PASSWORD)
    yield made
    store.close()


def test_passwords_are_hashed_as_the_standard_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    kept = passwords.hash_password(PASSWORD)
    assert kept.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert passwords.is_password(PASSWORD, kept)
    assert not passwords.is_password(PASSWORD + " ", kept)
    assert not passwords.is_outdated(kept)


def test_a_password_hashed_with_less_effort_is_hashed_anew(accounts: Accounts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "_hasher", PasswordHasher(time_cost=2, memory_cost=8, parallelism=1))
    user, secret = accounts.log_in("erna", PASSWORD, "10.0.0.1")
    row = accounts.users.find("erna")
    assert row is not None
    assert ",t=2," in (row.password or "")
    assert accounts.of_session(secret) == user


def test_a_name_is_the_same_however_it_is_written_and_a_session_ends_by_itself(
    accounts: Accounts, clock: Clock
) -> None:
    user, secret = accounts.log_in(" ERNA ", PASSWORD, "10.0.0.1")
    assert (user.name, user.role) == ("erna", Role.ENGINEER)
    clock.turn(timedelta(hours=7, minutes=59))
    assert accounts.of_session(secret) == user
    clock.turn(timedelta(minutes=1))
    assert accounts.believed(secret) is None
    assert accounts.of_session(secret) is None


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"role": Role.VIEWER}, id="another role: pages were built for the old one"),
        pytest.param({"password": "another long one"}, id="another password: the old one may be known to others"),
        pytest.param({"is_active": False}, id="locked out"),
    ],
)
def test_whoever_is_changed_is_logged_out_at_once(accounts: Accounts, change: dict[str, object]) -> None:
    _, secret = accounts.log_in("erna", PASSWORD, "10.0.0.1")
    accounts.change("erna", **change)  # type: ignore[arg-type]
    assert accounts.of_session(secret) is None


def test_a_change_by_another_program_counts_within_seconds(accounts: Accounts, clock: Clock) -> None:
    _, secret = accounts.log_in("erna", PASSWORD, "10.0.0.1")
    accounts.users.change("erna", must_stay=int(Role.ADMIN), is_active=False)
    clock.turn(timedelta(seconds=BELIEVED_S + 0.1))
    assert accounts.of_session(secret) is None


def test_a_theme_logs_nobody_out(accounts: Accounts) -> None:
    _, secret = accounts.log_in("erna", PASSWORD, "10.0.0.1")
    accounts.change("erna", theme="dark")
    user = accounts.of_session(secret)
    assert user is not None
    assert user.theme == "dark"


def fail(accounts: Accounts, times: int, address: str = "10.0.0.1") -> None:
    for _ in range(times):
        with pytest.raises(AccessDenied, match="unknown name or wrong password"):
            accounts.log_in("erna", "wrong", address)


def test_wrong_passwords_lock_a_name_for_one_address_only_and_for_a_time(accounts: Accounts, clock: Clock) -> None:
    fail(accounts, FAILURES - 1)
    with pytest.raises(LockedOut, match="wait 15 min") as locked:
        accounts.log_in("erna", "wrong", "10.0.0.1")
    assert locked.value.newly
    with pytest.raises(LockedOut) as still:
        accounts.log_in("erna", PASSWORD, "10.0.0.1")
    assert not still.value.newly
    assert accounts.log_in("erna", PASSWORD, "10.0.0.2")[0].name == "erna"
    clock.turn(LOCKED)
    assert accounts.log_in("erna", PASSWORD, "10.0.0.1")[0].name == "erna"


def test_a_right_password_forgives_the_wrong_ones(accounts: Accounts) -> None:
    fail(accounts, FAILURES - 1)
    accounts.log_in("erna", PASSWORD, "10.0.0.1")
    fail(accounts, FAILURES - 1)
    accounts.log_in("erna", PASSWORD, "10.0.0.1")


def test_an_address_that_tries_many_names_has_to_wait(accounts: Accounts) -> None:
    for number in range(20):
        with pytest.raises(AccessDenied):
            accounts.log_in(f"name{number}!", "wrong", "10.0.0.9")
    with pytest.raises(LockedOut, match=r"came from 10\.0\.0\.9"):
        accounts.log_in("ada", PASSWORD, "10.0.0.9")


def test_a_locked_out_user_cannot_log_in_and_learns_nothing_of_it(accounts: Accounts) -> None:
    accounts.change("erna", is_active=False)
    with pytest.raises(AccessDenied, match="unknown name or wrong password"):
        accounts.log_in("erna", PASSWORD, "10.0.0.1")


@pytest.mark.parametrize("change", [{"role": Role.APPROVER}, {"is_active": False}], ids=["role", "locked out"])
def test_the_last_admin_stays(accounts: Accounts, change: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest, match="last who manages users"):
        accounts.change("ada", **change)  # type: ignore[arg-type]
    assert accounts.log_in("ada", PASSWORD, "10.0.0.1")[0].role is Role.ADMIN


def test_a_token_does_what_both_it_and_its_user_may_until_it_ends(accounts: Accounts, clock: Clock) -> None:
    user, _ = accounts.log_in("erna", PASSWORD, "10.0.0.1")
    row, secret = accounts.new_token(user, "MES", Role.ENGINEER, 30)
    asked = accounts.of_token(secret)
    assert asked is not None
    assert (asked.name, asked.role, asked.token) == ("erna", Role.ENGINEER, row.number)
    accounts.change("erna", role=Role.VIEWER)
    asked = accounts.of_token(secret)
    assert asked is not None
    assert asked.role is Role.VIEWER
    clock.turn(timedelta(days=30))
    assert accounts.of_token(secret) is None


def test_tokens_end_when_revoked_by_their_user_or_an_admin(accounts: Accounts) -> None:
    erna, _ = accounts.log_in("erna", PASSWORD, "10.0.0.1")
    ada, _ = accounts.log_in("ada", PASSWORD, "10.0.0.1")
    row, secret = accounts.new_token(ada, "backup", Role.VIEWER, None)
    with pytest.raises(AccessDenied, match="not one of erna"):
        accounts.revoke_token(erna, row.number)
    assert accounts.of_token(secret) is not None
    accounts.revoke_token(ada, row.number)
    assert accounts.of_token(secret) is None


def test_a_token_is_for_no_more_than_its_user_and_makes_no_tokens(accounts: Accounts) -> None:
    user, _ = accounts.log_in("erna", PASSWORD, "10.0.0.1")
    with pytest.raises(AccessDenied, match="cannot do more than who made it"):
        accounts.new_token(user, "MES", Role.APPROVER, 30)
    _, secret = accounts.new_token(user, "MES", Role.VIEWER, 30)
    program = accounts.of_token(secret)
    assert program is not None
    with pytest.raises(AccessDenied, match="cannot make tokens"):
        accounts.new_token(program, "more", Role.VIEWER, 30)
