"""Names, roles and passwords: kept hashed, checked in the same time, and not to be guessed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.access import passwords
from inspector.access.identity import Role
from inspector.access.logins import FAILURE_EVERY_S, FAILURES, Logins, read_logins, write_login
from inspector.access.passwords import check_hash, hash_password, is_password
from inspector.errors import AccessDenied, AccessError, Overloaded

PASSWORD = "correct horse"


@pytest.fixture(scope="module")
def kept() -> str:
    return hash_password(PASSWORD)


@pytest.fixture
def users(tmp_path: Path) -> Path:
    write_login(tmp_path / "users.toml", "anna", Role.OPERATOR, PASSWORD)
    write_login(tmp_path / "users.toml", "mes@plant", Role.VIEWER, "another one!")
    return tmp_path / "users.toml"


def test_a_password_is_recognised_and_no_other(kept: str) -> None:
    assert is_password(PASSWORD, kept)
    for other in ("", "correct hors", "Correct horse", "correct horse\0", "x" * 5000, "\udcff"):
        assert not is_password(other, kept)


def test_the_same_password_is_never_kept_twice_alike(kept: str) -> None:
    assert hash_password(PASSWORD) != kept


@pytest.mark.parametrize(
    "password", ["", "short", "é" * 1000, "correct horse\0"], ids=["empty", "short", "huge", "with NUL"]
)
def test_passwords_that_are_none_are_refused(password: str) -> None:
    with pytest.raises(AccessError):
        hash_password(password)


HASHES = [
    pytest.param("", id="empty"),
    pytest.param("secret", id="a password as it is"),
    pytest.param("scrypt$32768$8$3$c2FsdHNhbHQ=", id="cut off"),
    pytest.param("scrypt$1073741824$8$3$c2FsdHNhbHQ=$" + "A" * 43 + "=", id="a cost that takes the machine's memory"),
    pytest.param("scrypt$32768$8$100000$c2FsdHNhbHQ=$" + "A" * 43 + "=", id="a cost that takes hours"),
    pytest.param("scrypt$32767$8$3$c2FsdHNhbHQ=$" + "A" * 43 + "=", id="a cost that is no power of two"),
    pytest.param("md5$32768$8$3$c2FsdHNhbHQ=$" + "A" * 43 + "=", id="another kind"),
    pytest.param("scrypt$32768$8$3$not base64$" + "A" * 43 + "=", id="no base64"),
]


@pytest.mark.parametrize("text", HASHES)
def test_what_is_no_hash_is_refused(text: str) -> None:
    with pytest.raises(AccessError):
        check_hash(text)


@given(st.text(max_size=200))
def test_no_text_breaks_the_check_of_hashes(text: str) -> None:
    try:
        check_hash(text)
    except AccessError:
        return
    assert text.startswith("scrypt$")


def test_users_are_read_as_they_were_written_and_for_their_owner_alone(users: Path) -> None:
    found = read_logins(users)
    assert {name: login.role for name, login in found.items()} == {"anna": Role.OPERATOR, "mes@plant": Role.VIEWER}
    assert PASSWORD not in users.read_text()
    assert users.stat().st_mode & 0o007 == 0
    write_login(users, "anna", Role.ENGINEER, "quite a new one")
    assert read_logins(users)["anna"].role is Role.ENGINEER
    assert is_password("quite a new one", read_logins(users)["anna"].password)


def test_the_first_user_makes_the_folder_of_the_file(tmp_path: Path) -> None:
    write_login(tmp_path / "etc" / "opcua" / "users.toml", "anna", Role.VIEWER, PASSWORD)
    assert set(read_logins(tmp_path / "etc" / "opcua" / "users.toml")) == {"anna"}
    with pytest.raises(AccessError, match=r"cannot be made: Not a directory; choose another folder"):
        write_login(tmp_path / "etc" / "opcua" / "users.toml" / "more" / "users.toml", "ben", Role.VIEWER, PASSWORD)


FILES = [
    pytest.param("", "names no user", id="empty"),
    pytest.param("[user]\n", "names no user", id="nobody"),
    pytest.param("user = 3\n", "names no user", id="a number"),
    pytest.param("[user.a]\nrole='viewer'\npassword='x'\n[other]\n", "names no user", id="another table"),
    pytest.param("[user.a]\nrole='viewer'\n", "needs role and password", id="no password"),
    pytest.param("[user.a]\nrole='king'\npassword='x'\n", "has the role", id="no such role"),
    pytest.param("[user.a]\nrole='none'\npassword='x'\n", "has the role", id="the role of nobody"),
    pytest.param("[user.a]\nrole='viewer'\npassword='plain'\n", "no hashed password", id="a password as it is"),
    pytest.param("[user.a]\nrole='viewer'\npassword=3\n", "no text", id="a number for a password"),
    pytest.param('[user."a b"]\nrole="viewer"\npassword="x"\n', "is no name", id="a name with a space"),
    pytest.param("[user.a\n", "is no TOML", id="torn"),
    pytest.param("#" * 300_000, "the most is", id="huge"),
]


@pytest.mark.parametrize(("text", "told"), FILES)
def test_a_file_of_users_that_cannot_be_used_says_why(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "users.toml").write_text(text)
    with pytest.raises(AccessError, match=told):
        read_logins(tmp_path / "users.toml")


def test_no_file_of_users_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(AccessError, match="opcua-user"):
        read_logins(tmp_path / "none.toml")


def test_who_logs_in_is_who_the_file_says(users: Path) -> None:
    logins = Logins(read_logins(users))
    assert logins.check("anna", PASSWORD, "10.0.0.1").role is Role.OPERATOR
    for name, password in (("anna", "wrong"), ("nobody", PASSWORD), ("", ""), ("mes@plant", PASSWORD)):
        with pytest.raises(AccessDenied):
            logins.check(name, password, "10.0.0.1")


def test_guessing_is_slowed_for_the_guessing_address_alone(users: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 0.0
    looked = 0

    def is_password(password: str, kept: str) -> bool:
        nonlocal looked
        looked += 1
        return password == PASSWORD

    monkeypatch.setattr("inspector.access.logins.is_password", is_password)
    logins = Logins(read_logins(users), lambda: now_s)
    for _ in range(FAILURES):
        with pytest.raises(AccessDenied):
            logins.check("anna", "wrong", "10.0.0.66")
    for password in ("wrong", PASSWORD):
        with pytest.raises(Overloaded, match="wait"):
            logins.check("anna", password, "10.0.0.66")
    assert looked == FAILURES
    assert logins.check("anna", PASSWORD, "10.0.0.1").name == "anna"
    now_s += FAILURE_EVERY_S + 1
    assert logins.check("anna", PASSWORD, "10.0.0.66").name == "anna"


def test_who_logs_in_rightly_may_do_so_as_often_as_they_like(users: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inspector.access.logins.is_password", lambda password, _: password == PASSWORD)
    logins = Logins(read_logins(users), lambda: 0.0)
    for _ in range(10 * FAILURES):
        assert logins.check("anna", PASSWORD, "10.0.0.1").name == "anna"


def test_an_unknown_name_costs_as_much_as_a_wrong_password(users: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    derived: list[str] = []
    derive = passwords._derive

    def counted(password: str, *more: object) -> bytes:
        derived.append(password)
        return derive(password, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(passwords, "_derive", counted)
    for name in ("anna", "nobody"):
        with pytest.raises(AccessDenied):
            Logins(read_logins(users)).check(name, "wrong", "10.0.0.1")
    assert derived == ["wrong", "wrong"]
