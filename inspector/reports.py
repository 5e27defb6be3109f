"""What the command line prints of records and bundles, as rich tables."""

from __future__ import annotations

import mimetypes
from collections import deque
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.table import Table

from inspector.errors import ConfigError, ImageStoreError, NotFound
from inspector.inference.bundle import Bundle
from inspector.inference.manifest import Change
from inspector.inference.tiling import Tiles
from inspector.part import Finding, Inspection, Verdict
from inspector.records.images import ImageStore
from inspector.records.label_rows import LabelledFilter
from inspector.records.labels import Label, Labelled, Outcome
from inspector.records.queries import InspectionFilter, StoredInspection
from inspector.records.store import Store, StoreStats

_STYLES = {Verdict.PASS: "green", Verdict.REJECT: "red", Verdict.UNKNOWN: "yellow"}


def not_passed(
    store: Store, line: str, limit: int, since: datetime | None, defect_class: str, unknown: bool
) -> Sequence[StoredInspection]:
    """The newest inspections of the line that are not PASS, at most `limit`; a naive `since` is taken as UTC."""
    verdicts = {Verdict.REJECT, Verdict.UNKNOWN} if unknown else {Verdict.REJECT}
    where = InspectionFilter(
        line=line, verdicts=frozenset(verdicts), defect_class=defect_class, start_time=as_utc(since)
    )
    return store.list(where, limit).inspections


def as_utc(time: datetime | None) -> datetime | None:
    """A time without a zone is taken as UTC."""
    return time.replace(tzinfo=UTC) if time is not None and time.tzinfo is None else time


def inspection_table(inspections: Sequence[StoredInspection]) -> Table:
    """One row an inspection, in 80 columns; the station is named only if there are several."""
    stations = {stored.inspection.station for stored in inspections}
    title = f"{len(inspections)} part(s) not passed, newest first"
    if len(stations) == 1:
        title += f", station {_plain(next(iter(stations)))}"
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0))
    several = ("station",) if len(stations) > 1 else ()
    for column in ("number", "received (UTC)", *several, "trigger", "part", "why", "class", "score / limit"):
        table.add_column(column, overflow="fold", no_wrap=column in {"number", "received (UTC)", "trigger", "why"})
    for stored in inspections:
        i = stored.inspection
        table.add_row(
            f"#{i.sequence}",
            i.receive_time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S"),
            *((_plain(i.station),) if several else ()),
            str(i.trigger),
            _plain(i.part_id) or "–",
            f"[{_STYLES[i.verdict]}]{'REJECT' if i.verdict is Verdict.REJECT else i.reason.name}[/]",
            _plain(i.defect_class) or "–",
            _score(i),
        )
    return table


def inspection_card(labelled: Labelled) -> Table:
    """Everything that is on record of one inspection, with what people said of it."""
    stored = labelled.stored
    i = stored.inspection
    card = Table(title=_plain(i.name), show_header=False, title_justify="left")
    card.add_column(style="bold")
    card.add_column(overflow="fold")
    card.add_row("verdict", f"[{_STYLES[i.verdict]}]{i.verdict.name}[/] {i.reason.name}")
    card.add_row("why", _plain(i.detail) or "–")
    card.add_row(
        "part",
        f"{_plain(i.part_id) or '–'}, trigger {i.trigger} of station {_plain(i.station)}, camera {_plain(i.camera)}",
    )
    card.add_row("score / limit", _score(i) + (f" (view {_plain(i.view)})" if i.view else ""))
    for one in i.views:
        limit = "" if one.score is None else f", {one.score:.4f} / {one.limit:.4f}"
        about = f"{one.reason.name}{limit}, camera {_plain(one.camera)}, {_plain(one.bundle) or '–'}"
        card.add_row(f"view {_plain(one.view)}", about + (f": {_plain(one.detail)}" if one.detail else ""))
    if stored.late_score is not None:
        card.add_row("late score", f"{stored.late_score:.4f} (after the deadline: changed nothing)")
    for finding in i.findings:
        card.add_row("finding", _finding(finding))
    card.add_row("recipe, bundle", f"{_plain(i.recipe)}, {_plain(i.bundle) or '–'}")
    card.add_row("captured", _time(i.capture_time) if i.capture_time else "–")
    card.add_row("received, decided", f"{_time(i.receive_time)}, {_time(i.decide_time)} ({i.latency_ms:.2f} ms)")
    for image in stored.images:
        kept = (
            f"{image.sha256} ({image.media_type}, {image.size_bytes:,} bytes)"
            if image.sha256
            else f"lost: {image.lost_reason}"
        )
        of_view = f" of {_plain(image.view)}" if image.view else ""
        card.add_row(image.kind.name.lower().replace("_", " ") + of_view, _plain(kept))
    for label in labelled.history:
        counts = "" if label in labelled.current else " (no longer counts)"
        card.add_row("label", _plain(_label(label)) + counts)
    return card


def _label(label: Label) -> str:
    """Who said what, when, of how many areas, and why."""
    areas = f", {len(label.areas)} area(s)" if label.areas else ""
    return f"{label.author}: {label.what}, {_time(label.time)}{areas}" + (f": {label.note}" if label.note else "")


def labelled_parts(
    store: Store,
    where: LabelledFilter,
    limit: int,
    *,
    what: str = "",
    author: str = "",
    outcome: Outcome | None = None,
) -> Sequence[Labelled]:
    """The labelled inspections with the highest numbers, at most `limit`, highest last.

    `what` and `author` keep those of which a label that counts says so, `outcome` those whose labels come to it.
    """
    found: deque[Labelled] = deque(maxlen=limit)
    for labelled in store.labelled(where):
        counts = [label for label in labelled.current if author in ("", label.author) and what in ("", label.what)]
        if (counts or not (what or author)) and outcome in (None, labelled.outcome):
            found.append(labelled)
    return found


def labels_table(found: Sequence[Labelled]) -> Table:
    """One row an inspection: what the line said, what people say, and what that comes to."""
    table = Table(
        title=f"{len(found)} labelled part(s), newest last", title_justify="left", box=None, padding=(0, 1, 0, 0)
    )
    for column in ("number", "part", "verdict", "labels", "comes to"):
        table.add_column(column, overflow="fold", no_wrap=column in {"number", "verdict"})
    for labelled in found:
        i, agreed = labelled.stored.inspection, labelled.agreed
        style = "bold yellow" if labelled.outcome is Outcome.DISAGREED else ""
        labels = "; ".join(f"{label.author}: {label.what}" for label in labelled.current)
        table.add_row(
            f"#{i.sequence}",
            _plain(i.part_id) or "–",
            f"[{_STYLES[i.verdict]}]{i.verdict.name}[/]",
            _plain(labels) or "–",
            _plain(agreed.what) if agreed else labelled.outcome.value,
            style=style,
        )
    return table


def _finding(finding: Finding) -> str:
    """Class, box, dimensions where they are known, and score."""
    box, size = finding.box, finding.size
    text = f"{_plain(finding.defect_class)}: x {box.x_px}, y {box.y_px}, {box.width_px} × {box.height_px} px, "
    text += f"area {finding.area_px:.0f} px"
    if finding.length_px is not None:
        text += f", length {finding.length_px:.0f} px"
    if size is not None:
        text += f"; {size.length_mm:.2f} mm long, {size.area_mm2:.2f} mm², at x {size.x_mm:.1f}, y {size.y_mm:.1f} mm"
    return f"{text}, score {finding.score:.4f}"


def save_pictures(inspections: Sequence[StoredInspection], images: ImageStore, folder: Path) -> Iterator[str]:
    """Write the pictures of inspections to a folder, named by number and kind; yields what became of each, as a line.

    A picture that is gone or damaged does not keep the others from being saved. ConfigError if the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for stored in inspections:
            for image in stored.images:
                name = f"{stored.inspection.sequence}-{image.kind.name.lower()}"
                if not image.sha256:
                    yield f"not saved: {name} was never stored ({image.lost_reason})"
                    continue
                try:
                    data, media_type = images.get(image.sha256)
                except (NotFound, ImageStoreError) as error:
                    yield f"not saved: {name}: {error}"
                    continue
                path = folder / f"{name}{mimetypes.guess_extension(media_type) or '.bin'}"
                path.write_bytes(data)
                yield f"saved {path}"
    except OSError as error:
        raise ConfigError(
            f"pictures cannot be saved to {folder}: {error.strerror}: name a folder that this user may write, with space"
        ) from error


def bundle_card(bundle: Bundle) -> Table:
    """What a bundle is and promises."""
    manifest = bundle.manifest
    card = Table(title=_plain(bundle.label), show_header=False, title_justify="left")
    card.add_column(style="bold")
    card.add_column(overflow="fold")
    spec = manifest.input
    card.add_row("model", f"{manifest.model_kind}, made {_time(manifest.created_time)}")
    card.add_row(
        "input",
        f"{spec.width_px} × {spec.height_px} px, {spec.channels} channel(s), location {dict(spec.location) or 'none'}",
    )
    if (tiling := spec.tiling) is not None:
        where = ", in a region of interest" if tiling.region_of_interest else ""
        card.add_row(
            "tiles",
            f"{len(Tiles(spec).boxes)} of {tiling.width_px} × {tiling.height_px} px, sharing {tiling.overlap_px} px or more"
            f"{where}; the worst one is the picture's score",
        )
    card.add_row("classes", _plain(", ".join(manifest.classes)))
    card.add_row("limits", f"score {manifest.limits.score:.4f}, region {manifest.limits.region:.4f}")
    card.add_row("basis", _plain(manifest.basis.statement))
    if manifest.basis.assumes:
        card.add_row("taken for granted", _plain(manifest.basis.assumes))
    for change in manifest.history:
        card.add_row(change.what, _plain(_change(change)))
    card.add_row("golden images", f"{len(manifest.golden)}, tolerance {manifest.score_tolerance:g}")
    card.add_row("data set", manifest.dataset_digest or "–")
    for key, value in {**manifest.provenance, **manifest.metrics}.items():
        card.add_row(_plain(str(key)), _plain(str(value)))
    return card


def _change(change: Change) -> str:
    """When, from which bundle, what and why, in one line; the parent is the way back."""
    details = dict(change.details)
    what = f"addition {details['number']}, {details.get('patches')} patches" if "number" in details else ""
    if "new_limit" in details:
        what = f"limit {details['old_limit']:.4g} to {details['new_limit']:.4g}"
    why = f": {change.reason}" if change.reason else ""
    return f"{_time(change.time)} from {change.parent[:12]}, {what}{why}"


def stats_table(stats: StoreStats) -> Table:
    """What the quality database holds."""
    table = Table(title=f"schema {stats.version}, {stats.size_bytes / 2**20:.1f} MiB")
    for column in ("line", "PASS", "REJECT", "UNKNOWN", "from (UTC)", "to (UTC)"):
        table.add_column(column)
    for line in stats.lines:
        counts = [str(line.verdicts.get(verdict, 0)) for verdict in Verdict]
        first, last = (_time(time) if time else "–" for time in (line.first_time, line.last_time))
        table.add_row(_plain(line.line), *counts, first, last)
    table.caption = f"{stats.pictures} pictures, {stats.pictures_removed} removed by retention, {stats.labels} labels"
    return table


def _score(inspection: Inspection) -> str:
    if inspection.score is None:
        return "–"
    return f"{inspection.score:.4g}" + (f" / {inspection.limit:.4g}" if inspection.limit is not None else "")


def _time(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def _plain(text: str) -> str:
    """Text from outside, so that it cannot be markup or move the cursor."""
    return "".join(c if c.isprintable() else "�" for c in text).replace("[", r"\[")
