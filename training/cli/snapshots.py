"""`inspector-train snapshot` and `diff-snapshots`: labels from the quality database to a folder that does not change."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from inspector.errors import ConfigError
from inspector.part import Verdict
from inspector.records.snapshots.diff import Difference, difference
from inspector.records.snapshots.format import Snapshot, read_snapshot
from training.cli.options import JsonFile, takes
from training.cli.screen import console, progress_bars, say
from training.data.files import check_free, write_whole
from training.data.samples import printable

_SHOWN = 10
_AGAIN = "cancelled; nothing was left half-written, and the same command goes on where it stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotOptions:
    """What is typed after `snapshot`."""

    source: Annotated[str, typer.Argument(metavar="LINE.toml|URL", help="Line file, or URL of a quality database.")]
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="New folder for the snapshot.")]
    images: Annotated[
        Path | None, typer.Option("--images", metavar="DIR", help="Image store; the line file knows it.")
    ] = None
    line: Annotated[str, typer.Option("--line", help="Only this line; the line file names its own.")] = ""
    since: Annotated[datetime | None, typer.Option("--since", help="Of parts received since (UTC unless it says).")] = (
        None
    )
    until: Annotated[datetime | None, typer.Option("--until", help="Of parts received before.")] = None
    recipe: Annotated[str, typer.Option("--recipe", help="Only of this recipe.")] = ""
    bundle: Annotated[str, typer.Option("--bundle", help="Only judged by this bundle, name or name@digest.")] = ""
    classes: Annotated[
        list[str] | None, typer.Option("--class", metavar="NAME", help="Only parts labelled so; repeatable.")
    ] = None
    verdicts: Annotated[list[str] | None, typer.Option("--verdict", help="Only with this verdict; repeatable.")] = None
    authors: Annotated[
        list[str] | None, typer.Option("--by", metavar="NAME", help="Only this person's labels count; repeatable.")
    ] = None
    lot_pattern: Annotated[
        str,
        typer.Option("--lot-pattern", metavar="REGEX", help="Finds the lot in a part id, such as '^L[0-9]+'."),
    ] = ""


@takes(SnapshotOptions)
def snapshot_command(options: SnapshotOptions) -> None:
    """Write labelled pictures of the quality database to a folder with a digest, for fit, evaluate and check-data."""
    # They bring the database's libraries along, which other commands need not wait for.
    from inspector.records.images import ImageStore
    from inspector.records.label_rows import LabelledFilter
    from inspector.records.labels import label_name
    from inspector.records.store import Store
    from training.data.snapshots.write import Wish, take_snapshot

    check_free(options.out)
    url, folder, line = _place(options.source, options.images)
    where = LabelledFilter(
        options.line or line,
        options.recipe,
        options.bundle,
        _verdicts(options.verdicts or ()),
        _utc(options.since),
        _utc(options.until),
    )
    classes, authors = frozenset(map(label_name, options.classes or ())), frozenset(options.authors or ())
    wish = Wish(where, classes, authors, options.lot_pattern)
    store = Store(url)
    try:
        store.check_schema()
        with progress_bars(_AGAIN) as progress:
            taken = take_snapshot(store, ImageStore(folder), options.out, wish, datetime.now(UTC), progress)
    finally:
        store.close()
    console.print(_labels_table(taken))
    left_out = ", ".join(f"{count} {kind}" for kind, count in taken.about["left_out"].items()) or "nothing"
    say(f"left out  {left_out}\ndigest    {taken.digest}\nin        {printable(str(options.out))}")


def diff_command(
    first: Annotated[Path, typer.Argument(metavar="A", help="Folder of the earlier snapshot.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Folder of the later one.")],
    json_file: JsonFile = None,
) -> None:
    """Say which pictures came, went, or are labelled otherwise, from one snapshot to another."""
    found = difference(read_snapshot(first, verify=False), read_snapshot(second, verify=False))
    console.print(_difference_view(found))
    if json_file is not None:
        write_whole(json_file, json.dumps(found.to_json(), indent=1).encode("ascii"))
        say(f"Difference in {printable(str(json_file))}")


def _place(source: str, images: Path | None) -> tuple[str, Path, str]:
    """URL of the database, folder of the image store, and the line, of a line file or a URL. Raises ConfigError."""
    if "://" in source:
        if images is None:
            raise ConfigError("a database URL does not say where the pictures are: give --images, or a line file")
        url, folder, line = source, images, ""
    else:
        from inspector.records.place import read_place

        place = read_place(Path(source))
        url, folder, line = place.database_url, images or place.image_folder, place.line
    if not folder.is_dir():
        raise ConfigError(
            f"there is no image store at {folder}: give the folder images of the line's data with --images"
        )
    return url, folder, line


def _verdicts(names: Iterable[str]) -> frozenset[Verdict]:
    known = {verdict.name: verdict for verdict in Verdict}
    if unknown := [name for name in names if name.upper() not in known]:
        raise ConfigError(f"{unknown[0][:40]!a} is no verdict: give {', '.join(known)}")
    return frozenset(known[name.upper()] for name in names)


def _utc(time: datetime | None) -> datetime | None:
    return time.replace(tzinfo=UTC) if time is not None and time.tzinfo is None else time


def _labels_table(snapshot: Snapshot) -> Table:
    table = Table("label", "pictures", "parts", "lots", title=printable(snapshot.root.name))
    for label in snapshot.about["labels"]:
        of_label = [picture for picture in snapshot.pictures if picture.label == label]
        parts, lots = (
            {value for value in values if value} for values in zip(*((p.group, p.lot) for p in of_label), strict=True)
        )
        table.add_row(Text(printable(label)), str(len(of_label)), str(len(parts) or "–"), str(len(lots) or "–"))
    return table


def _difference_view(found: Difference) -> RenderableType:
    if found.is_none:
        return Text(f"the same {found.unchanged} pictures under the same labels")
    table = Table("change", "pictures", "of which")
    moves = Counter(f"{item.before} → {item.after}" for item in found.relabelled)
    rows = {
        "added": (len(found.added), Counter(picture.label for picture in found.added)),
        "removed": (len(found.removed), Counter(picture.label for picture in found.removed)),
        "relabelled": (len(found.relabelled), moves),
        "other areas": (len(found.redrawn), Counter[str]()),
        "other part or lot": (len(found.regrouped), Counter[str]()),
        "unchanged": (found.unchanged, Counter[str]()),
    }
    for change, (count, kinds) in rows.items():
        shown = ", ".join(f"{number} {printable(kind)}" for kind, number in kinds.most_common(_SHOWN))
        table.add_row(change, str(count), Text(shown))
    return table
