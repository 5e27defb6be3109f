"""`inspector label`, `labels`, `import-labels` and `export-labels`: what people say of parts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from inspector.settings import load_line_file

if TYPE_CHECKING:
    from inspector.labelling import Labelling

LineFile = Annotated[Path, typer.Argument(help="The line file.", show_default=False)]
out = Console()


def label(
    line_file: LineFile,
    part: Annotated[str, typer.Argument(help="A part id, or the number of an inspection as '#123'.")],
    what: Annotated[str, typer.Option("--class", help="good, unsure, withdrawn or the class of the defect.")],
    by: Annotated[str, typer.Option(metavar="NAME", help="Who says so.")],
    mask: Annotated[Path | None, typer.Option(help="PNG of the picture's size, white where the defect is.")] = None,
    box: Annotated[list[str] | None, typer.Option(metavar="X,Y,W,H", help="Box around it; repeatable.")] = None,
    ignore_box: Annotated[list[str] | None, typer.Option(metavar="X,Y,W,H", help="What does not count.")] = None,
    ignore_mask: Annotated[Path | None, typer.Option(help="PNG, white where nothing counts.")] = None,
    note: Annotated[str, typer.Option(help="Why.")] = "",
    new_class: Annotated[bool, typer.Option("--new-class", help="The class is not a known one misspelt.")] = False,
) -> None:
    """Say what a part is. Nothing is overwritten: the newest label of each person counts."""
    from inspector import labelling, reports
    from inspector.records.parts import find_part

    areas = [labelling.Drawn(labelling.read_box(text)) for text in box or ()]
    areas += [labelling.Drawn(labelling.read_box(text), counts=False) for text in ignore_box or ()]
    areas += [labelling.Drawn(path, counts) for path, counts in ((mask, True), (ignore_mask, False)) if path]
    wanted = labelling.Wanted(part, what, by, tuple(areas), note)
    with _desk(line_file) as desk:
        added = desk.add([wanted], datetime.now(UTC), new_class=new_class)
        found = find_part(desk.store, desk.line, part)
        out.print(reports.labels_table([desk.store.labels(desk.line, found[0].inspection.sequence)]))
    if not added:
        out.print(f"{by} has said so already: nothing was added", markup=False, highlight=False)


def labels(
    line_file: LineFile,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most this many, newest last.")] = 20,
    since: Annotated[datetime | None, typer.Option(help="Of parts received since (UTC unless it says).")] = None,
    what: Annotated[str, typer.Option("--class", help="Of which somebody says this.")] = "",
    by: Annotated[str, typer.Option(metavar="NAME", help="Of which this person says something.")] = "",
    disagreement: Annotated[bool, typer.Option("--disagreement", help="Only where people disagree.")] = False,
) -> None:
    """List labelled parts: who says what, and what it comes to."""
    from inspector import reports
    from inspector.records.label_rows import LabelledFilter
    from inspector.records.labels import Outcome

    outcome = Outcome.DISAGREED if disagreement else None
    with _desk(line_file) as desk:
        where = LabelledFilter(desk.line, start_time=reports.as_utc(since))
        found = reports.labelled_parts(desk.store, where, limit, what=what, author=by, outcome=outcome)
    out.print(reports.labels_table(found))


def import_labels(
    line_file: LineFile,
    file: Annotated[Path, typer.Argument(help="A file, a folder or a ZIP file of labels.")],
    by: Annotated[str, typer.Option(metavar="NAME", help="Whose labels they are where the file does not say.")] = "",
    new_class: Annotated[bool, typer.Option("--new-class", help="Classes are not known ones misspelt.")] = False,
    format_: Annotated[
        str,
        typer.Option(
            "--format", help="coco, yolo, yolo-seg, mvtec, label-studio or csv.  [default: what it looks like]"
        ),
    ] = "",
) -> None:
    """Add the labels of a file, all or none; a second time adds nothing."""
    from inspector.formats.registry import read_labels
    from inspector.formats.sources import open_source

    with open_source(file) as (source, given):
        wanted = read_labels(source, given, by, format_)
    with _desk(line_file) as desk:
        added = desk.add(wanted, datetime.now(UTC), new_class=new_class)
    out.print(f"{added} label(s) added, {len(wanted) - added} said already", markup=False, highlight=False)


def export_labels(
    line_file: LineFile,
    folder: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to make.")],
    format_: Annotated[
        str, typer.Option("--format", help="coco, yolo, yolo-seg, mvtec, label-studio or csv.")
    ] = "coco",
    by: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only what this person says; repeatable.")
    ] = None,
    since: Annotated[datetime | None, typer.Option(help="Of parts received since (UTC unless it says).")] = None,
) -> None:
    """Write labels with their pictures for another program; `import-labels` takes them back as they were."""
    from inspector import reports
    from inspector.formats.exporting import export_labels as export
    from inspector.records.label_rows import LabelledFilter

    with _desk(line_file) as desk:
        where = LabelledFilter(desk.line, start_time=reports.as_utc(since))
        done = export(desk.store, desk.images, where, format_, folder, authors=by or (), limits=desk.limits)
    out.print(f"{done.labels} label(s) of {done.pictures} picture(s) in {folder}", markup=False, highlight=False)
    for what, count in done.notes:
        out.print(f"  {count} {what}", markup=False, highlight=False, soft_wrap=True)
    for why, count in done.left_out:
        out.print(f"  left out: {count}, {why}", markup=False, highlight=False, soft_wrap=True)


@contextmanager
def _desk(line_file: Path) -> Iterator[Labelling]:
    """Where the labels of a line are given; closed afterwards."""
    from inspector.imaging.decode import DecodeLimits
    from inspector.labelling import Labelling
    from inspector.line_records import open_image_store
    from inspector.records.store import Store

    settings = load_line_file(line_file)
    grpc, store = settings.file.grpc, Store(settings.database_url)
    try:
        store.check_schema()
        limits = DecodeLimits(grpc.max_frame_mib << 20, grpc.max_pixels)
        yield Labelling(store, open_image_store(settings), settings.file.line.name, limits)
    finally:
        store.close()
