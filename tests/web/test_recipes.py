"""Recipes of the line file, changed by people: nothing else of it may change, and nothing that would not start is saved."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.errors import InvalidRequest
from inspector.settings import read_line_file
from inspector.web.recipes import RecipeFile, make_draft, read_recipe_file, save_draft, sections, whole_sections

FILE = """# head
[line]
name = "a"

[[station]]
name = "s"
camera = "c"
unit = 1
recipe = "tiles"

# tiles: of the north kiln
[recipe.tiles]
bundle = "b/tiles"   # fitted in May
deadline_ms = 500
# trailing, of tiles

[recipe.tiles.check]
min_mean = 8.0

[recipe."odd.name"]
bundle = "b/odd"

[records]
pass_sampling = 0.5
"""
PIECES = (
    "[recipe.tiles]\n", "[recipe.tiles.check]\n", "[recipe.x]\n", "[line]\n", "[[station]]\n", 'bundle = "b"\n', "unit = 2\n",
    '"""', "'''", "\n", "# [line]\n", "a = [\n  [1],\n  [2]\n]\n", "x", "]", 'recipe = { tiles = 1 }\n',
)  # fmt: skip
NOW = datetime(2026, 5, 4, tzinfo=UTC)


def problems(path: Path) -> tuple[str, ...]:
    return tuple(str(problem) for problem in read_line_file(path).problems)


@pytest.fixture
def file(tmp_path: Path) -> RecipeFile:
    path = tmp_path / "line.toml"
    path.write_text(FILE)
    return read_recipe_file(path)


def test_each_recipe_has_its_tables_and_comments() -> None:
    found = sections(FILE)
    assert list(found) == ["tiles", "odd.name"]
    assert found["tiles"].startswith("# tiles: of the north kiln\n[recipe.tiles]")
    assert found["tiles"].endswith("[recipe.tiles.check]\nmin_mean = 8.0\n")
    assert "# trailing, of tiles" in found["tiles"]


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        (FILE, ["tiles", "odd.name"]),
        ('recipe = { tiles = { bundle = "b" } }\n', []),
        ('[recipe]\ntiles.bundle = "b"\n[recipe.rims]\nbundle = "b"\n', ["rims"]),
        ("recipe.tiles.deadline_ms = 5\n[recipe.tiles.check]\nmin_mean = 8.0\n", []),
    ],
    ids=["tables", "inline", "below another table", "in part"],
)
def test_only_recipes_that_their_lines_say_all_of_are_whole(text: str, whole: list[str]) -> None:
    assert list(whole_sections(text)) == whole


def test_saving_changes_the_recipe_alone_keeps_the_file_before_and_says_what_changed(
    file: RecipeFile, tmp_path: Path
) -> None:
    section = file.recipes["tiles"].replace("500", "400")
    draft = make_draft(file, "tiles", section, problems)
    assert draft.problems == ()
    assert [line for line in draft.diff if line[:1] in "+-"][2:] == ["-deadline_ms = 500", "+deadline_ms = 400"]
    told: list[Path] = []
    backup = save_draft(draft, file.path, file.version, tmp_path / "kept", NOW, told.append)
    assert told == [backup]
    assert backup.read_text() == FILE
    assert file.path.read_text() == FILE.replace("500", "400")
    assert [path.name for path in tmp_path.iterdir() if "draft" in path.name] == []


def test_a_new_recipe_is_added_at_the_end(file: RecipeFile) -> None:
    draft = make_draft(file, "new", '[recipe.new]\nbundle = "b/new"', problems)
    assert draft.problems == ()
    assert tomllib.loads(draft.text)["recipe"]["new"] == {"bundle": "b/new"}
    assert draft.text.startswith(FILE.rstrip("\n"))


@pytest.mark.parametrize(
    ("section", "why"),
    [
        pytest.param(
            '[recipe.tiles]\nbundle = "b"\n[grpc]\nlisten = "0.0.0.0:1"', "more than recipe", id="opens a door"
        ),
        pytest.param(
            '[recipe.tiles]\nbundle = "b"\n[web.oidc.roles]\nmine = "admin"', "more than", id="makes an admin"
        ),
        pytest.param(
            '[recipe.tiles]\nbundle = "b"\n[recipe.other]\nbundle = "b"', "more than recipe", id="adds another"
        ),
        pytest.param('[recipe.other]\nbundle = "b"', "more than recipe", id="removes it"),
        pytest.param("", "more than recipe", id="is empty"),
        pytest.param('[recipe.tiles]\nbundle = "b', "no TOML", id="is no TOML"),
        pytest.param('[recipe.tiles]\nbundle = """\n[line]\nname = "x"\n', "no TOML", id="swallows what follows"),
        pytest.param("[recipe.tiles]\nbundle = 'b'\n[line]\nname = 'x'", "no TOML|more than", id="a table twice"),
    ],
)
def test_a_draft_that_touches_anything_else_is_refused(file: RecipeFile, section: str, why: str) -> None:
    with pytest.raises(InvalidRequest, match=why):
        make_draft(file, "tiles", section, problems)
    assert file.path.read_text() == FILE


TWO_VIEWS = """[line]
name = "a"

[[station]]
name = "s"
unit = 1
recipe = "rims"
recipes = ["later"]
cameras = { top = "c", side = "d" }

[recipe.rims]
approvals = 2

[recipe.rims.view.top]
bundle = "b/top"

[recipe.rims.view.side]
bundle = "b/side"
"""


@pytest.mark.parametrize(
    ("recipe", "change", "why"),
    [
        pytest.param("tiles", ('"b/tiles"', '"b/mine"'), "promote the bundle on Models", id="another bundle"),
        pytest.param(
            "tiles", ("deadline_ms = 500", "approvals = 2"), "changed in the line file by whoever", id="more approvals"
        ),
        pytest.param("rims", ('"b/side"', '"b/mine"'), "promote the bundle on Models", id="another bundle of a view"),
        pytest.param("rims", ("view.side", "view.other"), "promote the bundle on Models", id="another name of a view"),
        pytest.param("rims", ("approvals = 2", "approvals = 1"), "by whoever holds it", id="one person is enough"),
        pytest.param("rims", ("approvals = 2\n", ""), "by whoever holds it", id="one person, without saying so"),
    ],
)
def test_neither_bundles_nor_approvals_are_changed_with_a_recipe(
    tmp_path: Path, recipe: str, change: tuple[str, str], why: str
) -> None:
    file = RecipeFile(tmp_path / "line.toml", FILE if recipe == "tiles" else TWO_VIEWS)
    section = file.recipes[recipe]
    assert change[0] in section
    with pytest.raises(InvalidRequest, match=why):
        make_draft(file, recipe, section.replace(*change), lambda _: ())


def test_a_new_recipe_that_a_station_names_already_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="would judge without an approver"):
        make_draft(RecipeFile(tmp_path / "a", TWO_VIEWS), "later", '[recipe.later]\nbundle = "b"', lambda _: ())


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("deadline_ms = 500", "deadline_ms = 0"), "deadline_ms"),
        (("deadline_ms = 500", "dead_line = 5"), "is not a key of this table"),
        (("min_mean = 8.0", 'min_mean = "8"'), "min_mean"),
    ],
    ids=["out of range", "unknown key", "a text for a number"],
)
def test_what_the_line_would_not_start_with_is_said_and_not_saved(
    file: RecipeFile, tmp_path: Path, change: tuple[str, str], why: str
) -> None:
    draft = make_draft(file, "tiles", file.recipes["tiles"].replace(*change), problems)
    assert why in draft.problems[0]
    assert draft.problems[0].startswith("line.toml: ")
    with pytest.raises(InvalidRequest, match="would not start"):
        save_draft(draft, file.path, file.version, tmp_path / "kept", NOW, lambda _: None)
    assert file.path.read_text() == FILE


def test_a_file_that_changed_meanwhile_is_left_alone(file: RecipeFile, tmp_path: Path) -> None:
    draft = make_draft(file, "tiles", file.recipes["tiles"].replace("500", "400"), problems)
    theirs = FILE.replace("500", "600")
    file.path.write_text(theirs)
    with pytest.raises(InvalidRequest, match="changed meanwhile"):
        save_draft(draft, file.path, file.version, tmp_path / "kept", NOW, lambda _: None)
    assert file.path.read_text() == theirs


@given(st.lists(st.sampled_from(PIECES), max_size=8).map("".join))
def test_no_section_changes_what_is_not_its_own(tmp_path_factory: pytest.TempPathFactory, section: str) -> None:
    folder = tmp_path_factory.getbasetemp()
    file = RecipeFile(folder / "line.toml", FILE)
    try:
        draft = make_draft(file, "tiles", section, lambda _: ())
    except InvalidRequest:
        return
    before, after = tomllib.loads(FILE), tomllib.loads(draft.text)
    mine = after["recipe"].pop("tiles"), before["recipe"].pop("tiles")
    assert all(isinstance(table, dict) for table in mine)
    assert after == before
