"""Recipes of the line file, changed by people: one recipe's tables at a time, the rest of the file byte for byte as it was.

A draft must read as a line file and differ from the file in nothing but that recipe, so that whoever may change recipes cannot
open a door. Nor may it say which bundles judge, or how many persons approve one: a bundle in the line file overrules its
promotion. The file is replaced whole, and the one before is kept.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import re
import tempfile
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from inspector.errors import ConfigError, InvalidRequest, NotFound

MAX_SECTION = 100_000
_HEADER = re.compile(r"\s*\[\[?\s*([^\]]*?)\s*\]\]?\s*(#.*)?")
_RECIPE = re.compile(r"""recipe\s*\.\s*(?:"([^"]*)"|'([^']*)'|([A-Za-z0-9_-]+))\s*(?:\..*)?""")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")


@dataclass(frozen=True, slots=True)
class Draft:
    """A line file with one recipe changed. `problems` is empty if the service would take it; `diff` is unified."""

    recipe: str
    text: str
    diff: tuple[str, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RecipeFile:
    """A line file as it is now. `version` tells it from what it was and will be."""

    path: Path
    text: str

    @property
    def version(self) -> str:
        """SHA-256 of the text."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def recipes(self) -> dict[str, str]:
        """The lines of each recipe, by its name."""
        return sections(self.text)


def read_recipe_file(path: Path) -> RecipeFile:
    """The line file. ConfigError."""
    try:
        return RecipeFile(path, path.read_bytes().decode("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the line file {path} cannot be read ({error}): check its permissions") from error


def sections(text: str) -> dict[str, str]:
    """The lines of each recipe of a line file, tables below it included, in the order of the file."""
    found: dict[str, list[str]] = {}
    for name, line in _owned(text):
        if name:
            found.setdefault(name, []).append(line)
    return {name: "".join(lines).strip("\n") + "\n" for name, lines in found.items()}


def whole_sections(text: str) -> dict[str, str]:
    """As `sections`, of a line file that was read; only recipes that their lines say all of, as TOML has other ways too."""
    says = tomllib.loads(text).get("recipe", {})
    return {name: lines for name, lines in sections(text).items() if _says(lines, {"recipe": {name: says.get(name)}})}


def make_draft(file: RecipeFile, recipe: str, section: str, check: Callable[[Path], tuple[str, ...]]) -> Draft:
    """The line file with the tables of `recipe` as in `section`; a name that is not there yet is added at the end.

    Raises InvalidRequest if anything else of the file would change, or a bundle or approvals, or the section is no TOML.
    """
    if not _NAME.fullmatch(recipe):
        raise InvalidRequest(f"{recipe[:80]!r} is no name of a recipe: use letters, digits, '_', '.' or '-'")
    if len(section) > MAX_SECTION or "\0" in section:
        raise InvalidRequest(f"a recipe has at most {MAX_SECTION:,} characters, and no NUL")
    text = _replaced(file.text, recipe, section.replace("\r\n", "\n").strip("\n") + "\n")
    before, after = _parsed(file.text), _parsed(text)
    if _without(before, recipe) != _without(after, recipe) or recipe not in after.get("recipe", {}):
        raise InvalidRequest(
            f"the draft changes more than recipe {recipe}: keep to tables [recipe.{recipe}] and what is below them; the "
            "rest of the line file is for who looks after the machine"
        )
    _check_bundles(before, after, recipe)
    difference = difflib.unified_diff(file.text.splitlines(), text.splitlines(), "in use", "draft", lineterm="", n=2)
    return Draft(recipe, text, tuple(difference), _problems(file.path, text, check))


def save_draft(
    draft: Draft, path: Path, version: str, backups: Path, now: datetime, record: Callable[[Path], None]
) -> Path:
    """Replace the line file; returns where the one before is kept. `record` is told that before anything changes.

    InvalidRequest if the draft has problems, or the file is not of that `version`; ConfigError if it cannot be written.
    """
    if draft.problems:
        raise InvalidRequest(f"the line would not start with this recipe: {draft.problems[0]}")
    before = read_recipe_file(path)
    if before.version != version:
        raise InvalidRequest("the line file was changed meanwhile: read it again and make the change anew")
    if before.text == draft.text:
        raise InvalidRequest("the draft says what the line file says already: nothing to save")
    try:
        backups.mkdir(parents=True, exist_ok=True)
        backup = backups / f"{path.stem}-{now:%Y%m%dT%H%M%S%f}{path.suffix}"
        _write(backup, before.text, 0o640)
        record(backup)
        _write(path, draft.text, path.stat().st_mode & 0o777)
    except OSError as error:
        raise ConfigError(
            f"the line file {path} cannot be written ({error.strerror}): give the desk's account the right to its folder; "
            "nothing was changed"
        ) from error
    return backup


def _owned(text: str) -> list[tuple[str, str]]:
    """Each line with the recipe that it belongs to; comments right before a header belong to it, up to the blank line above."""
    owned: list[tuple[str, str]] = []
    owner = ""
    loose: list[str] = []
    in_string = ""
    for line in text.splitlines(keepends=True):
        header = None if in_string else _HEADER.fullmatch(line.rstrip("\n"))
        for quotes in ('"""', "'''"):
            if in_string in ("", quotes) and line.count(quotes) % 2:
                in_string = "" if in_string else quotes
        if header is not None:
            cut = max((place + 1 for place, one in enumerate(loose) if not one.strip()), default=len(loose))
            owned += [(owner, one) for one in loose[:cut]]
            match = _RECIPE.fullmatch(header[1])
            owner = next((group for group in match.groups() if group is not None), "") if match else ""
            owned += [(owner, one) for one in [*loose[cut:], line]]
            loose = []
        elif not in_string and (not line.strip() or line.lstrip().startswith("#")):
            loose.append(line)
        else:
            owned += [(owner, one) for one in loose]
            owned.append((owner, line))
            loose = []
    return owned + [(owner, one) for one in loose]


def _replaced(text: str, recipe: str, section: str) -> str:
    owned = _owned(text)
    places = [place for place, (name, _) in enumerate(owned) if name == recipe]
    if not places:
        return text.rstrip("\n") + "\n\n" + section
    first, last = places[0], places[-1]
    lines = [line for name, line in owned[:first]]
    if any(name != recipe for name, _ in owned[first : last + 1]):
        raise InvalidRequest(
            f"the tables of recipe {recipe} are not together in the line file: put them together by hand first"
        )
    blank = "\n" if lines and lines[-1].strip() else ""
    after = [line for _, line in owned[last + 1 :]]
    gap = "\n" if after and after[0].strip() else ""
    return "".join([*lines, blank, section, gap, *after])


def _parsed(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InvalidRequest(f"the draft is no TOML: {error}; correct that place") from error


def _says(text: str, document: dict[str, Any]) -> bool:
    try:
        return tomllib.loads(text) == document
    except (tomllib.TOMLDecodeError, RecursionError):
        return False


def _without(document: dict[str, Any], recipe: str) -> dict[str, Any]:
    recipes = document.get("recipe", {})
    if not isinstance(recipes, dict):
        raise InvalidRequest("the line file has no tables [recipe.NAME]: `inspector check` says what is wrong with it")
    return {**document, "recipe": {name: table for name, table in recipes.items() if name != recipe}}


def _check_bundles(before: dict[str, Any], after: dict[str, Any], recipe: str) -> None:
    """InvalidRequest if the draft would let a bundle judge that nobody approved, or change who has to approve one."""
    old, new = before.get("recipe", {}).get(recipe), after["recipe"][recipe]
    if old is None:
        if recipe in _used(before):
            raise InvalidRequest(
                f"a station names recipe {recipe}, so its bundle would judge without an approver: whoever looks after the "
                "machine adds it to the line file"
            )
        return
    if _bundles(old) != _bundles(new):
        raise InvalidRequest(
            f"the draft changes which bundles judge by recipe {recipe}, and that takes an approver: leave bundle and the "
            "views as they are, and promote the bundle on Models"
        )
    if _key(old, "approvals") != _key(new, "approvals"):
        raise InvalidRequest(
            f"the draft changes approvals of recipe {recipe}, which say how many persons let a bundle go live: leave them as "
            "they are; approvals are changed in the line file by whoever holds it"
        )


def _used(document: dict[str, Any]) -> set[str]:
    """The recipes that stations name."""
    stations = document.get("station", [])
    tables = [table for table in stations if isinstance(table, dict)] if isinstance(stations, list) else []
    return {str(name) for table in tables for name in (table.get("recipe"), *_listed(table.get("recipes")))}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _bundles(table: Any) -> tuple[Any, dict[str, Any]]:
    """The bundle of a recipe, and that of each view."""
    views = _key(table, "view")
    of_views = {name: _key(view, "bundle") for name, view in views.items()} if isinstance(views, dict) else {}
    return _key(table, "bundle"), of_views


def _key(table: Any, key: str) -> Any:
    """None without it; the check of the draft says what is wrong with a table that is none."""
    return table.get(key) if isinstance(table, dict) else None


def _problems(path: Path, text: str, check: Callable[[Path], tuple[str, ...]]) -> tuple[str, ...]:
    """What is wrong with the text, as a file beside the line file, from where its paths count."""
    try:
        descriptor, draft = tempfile.mkstemp(prefix=f".{path.stem}-draft-", suffix=path.suffix, dir=path.parent)
    except OSError as error:
        raise ConfigError(f"a draft cannot be written beside {path} ({error.strerror}): check permissions") from error
    try:
        with open(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
        return tuple(problem.replace(draft, path.name) for problem in check(Path(draft)))
    finally:
        os.unlink(draft)


def _write(path: Path, text: str, mode: int) -> None:
    """The whole text, on the disk, or nothing of it."""
    descriptor, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(descriptor, "w", encoding="utf-8") as stream:
            os.fchmod(stream.fileno(), mode)
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(draft, path)
    except OSError:
        Path(draft).unlink(missing_ok=True)
        raise


def known(file: RecipeFile, recipe: str) -> str:
    """The lines of a recipe. NotFound."""
    found = file.recipes
    if recipe not in found:
        raise NotFound(f"the line file has no tables [recipe.{recipe}]: it has {', '.join(found) or 'none'}")
    return found[recipe]
