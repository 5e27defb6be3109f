"""Where a line keeps its records, as its line file says, for those who need nothing else of it."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from inspector.errors import ConfigError

DATA_DIR = "var"
"""Folder of a line's data, beside its line file, if that names no other."""
BUNDLES, DESK = "bundles", "web"
"""Folders of new bundles and of the web desk, beside the line file, if `[web]` names no others."""
_MAX_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class RecordsPlace:
    """The quality database's URL, which may hold a password, the folder of the image store, and the line's name.

    `bundles` is where new bundles go, and `desk` the web desk's folder, with snapshots and uploads; both as `[web]` says.
    """

    database_url: str
    image_folder: Path
    line: str = ""
    bundles: Path = Path(BUNDLES)
    desk: Path = Path(DESK)

    @property
    def snapshots(self) -> Path:
        """Folder of the snapshots that were asked for at the web desk."""
        return snapshot_folder(self.desk)


def read_place(line_file: Path) -> RecordsPlace:
    """What a line file says of its records; the rest of it may be wrong. Raises ConfigError."""
    try:
        with line_file.open("rb") as stream:
            document = tomllib.loads(stream.read(_MAX_BYTES).decode("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"line file {line_file} cannot be read ({error}): give the path of a line file") from error
    line, records, web = document.get("line"), document.get("records", {}), document.get("web", {})
    if not isinstance(line, dict) or not isinstance(records, dict) or not isinstance(web, dict):
        raise ConfigError(f"{line_file} has no table [line]: give a line file, see deploy/line.example.toml")
    name, data_dir, database = line.get("name"), line.get("data_dir", DATA_DIR), records.get("database", "")
    if not (isinstance(name, str) and isinstance(data_dir, str) and isinstance(database, str)):
        raise ConfigError(f"{line_file} does not name its line and data: `inspector check` says what is wrong with it")
    bundles, desk = (web.get(key, default) for key, default in (("bundles", BUNDLES), ("folder", DESK)))
    if not (isinstance(bundles, str) and isinstance(desk, str)):
        raise ConfigError(
            f"{line_file} does not name its folders in [web]: `inspector check` says what is wrong with it"
        )
    folder = line_file.parent
    data = (folder / data_dir).resolve()
    return RecordsPlace(
        database_url(database, data, folder),
        image_folder(data),
        name,
        (folder / bundles).resolve(),
        (folder / desk).resolve(),
    )


def snapshot_folder(desk: Path) -> Path:
    """Where the snapshots are that were asked for at a web desk with this folder."""
    return desk / "snapshots"


def image_folder(data_dir: Path) -> Path:
    """Where the pictures of a line are."""
    return data_dir / "images"


def database_url(database: str, data_dir: Path, folder: Path) -> str:
    """SQLAlchemy URL of what a line file in `folder` calls its database; by default SQLite in the data folder."""
    # Takes a while to import, and only some commands need it.
    from sqlalchemy.engine import URL, make_url
    from sqlalchemy.exc import ArgumentError

    if not database:
        return URL.create("sqlite", database=str(data_dir / "quality.db")).render_as_string(hide_password=False)
    try:
        url = make_url(database)
    except (ArgumentError, ValueError):
        return database  # the store says what is wrong with it
    if url.get_backend_name() == "sqlite" and url.database and not url.database.startswith((":", "file:")):
        url = url.set(database=str((folder / url.database).resolve()))
    return url.render_as_string(hide_password=False)
