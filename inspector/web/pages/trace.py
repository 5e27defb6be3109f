"""One part, everything: pictures, views, scores, verdict, limits, bundle, recipe, labels, audit rows, late evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from nicegui import ui

from inspector.access.identity import Role
from inspector.errors import InspectorError, NotFound
from inspector.part import Inspection
from inspector.records.audit import AuditEntry
from inspector.records.audit_search import AuditFilter, find_entries
from inspector.records.labels import Labelled
from inspector.records.queries import InspectionFilter, StoredInspection
from inspector.records.trace import BundleRecord, RecipeVersion, bundle_record, recipe_at
from inspector.web.accounts.user import User
from inspector.web.desk import Desk, in_thread
from inspector.web.pages.looks import Look, looks_of, picture_url
from inspector.web.pages.page import Page
from inspector.web.pages.tables import facts, table
from inspector.web.words import VERDICT_SYMBOLS, number, reason_words

MOST = 200
AUDIT_ROWS = 50


@dataclass(frozen=True, slots=True)
class Trace:
    """All that is on record of one inspection."""

    stored: StoredInspection
    labelled: Labelled
    bundles: tuple[BundleRecord, ...]
    recipe: RecipeVersion | None
    audit: tuple[AuditEntry, ...]


def trace_of(desk: Desk, sequence: int) -> Trace:
    """Everything of an inspection. NotFound, StoreUnavailable, AuditError."""
    labelled = desk.store.labels(desk.line, sequence)
    seen = labelled.stored.inspection
    names = dict.fromkeys([seen.bundle, *(view.bundle for view in seen.views)])
    bundles = [record for name in names if (record := bundle_record(desk.database, name)) is not None]
    subjects = {seen.name, str(sequence), f"{desk.line}/{sequence}", seen.recipe, f"recipe {seen.recipe}", *names}
    audit = find_entries(desk.audit_log.path, AuditFilter(subjects=frozenset(subjects)), AUDIT_ROWS)
    return Trace(
        labelled.stored, labelled, tuple(bundles), recipe_at(desk.database, seen.recipe, seen.decide_time), audit
    )


async def build(desk: Desk, user: User) -> None:
    """Fill the frame: a search, and what it found."""
    query = ui.context.client.request.query_params
    part, sequence = query.get("part", "").strip(), query.get("sequence", "").strip()
    _search(part or sequence, is_first=not (part or sequence))
    if sequence.isdecimal() and len(sequence) < 19:
        await _show(desk, int(sequence))
    elif part or sequence:
        await _find(desk, part or sequence)
    else:
        ui.label("Enter a part id or an inspection number; everything on record of it comes up.").classes("muted")


def _search(text: str, is_first: bool) -> None:
    with ui.element("form").classes("search").props('action="/trace" method="get" role="search"'):
        field = (
            ui.element("input").classes("desk-field").props('name="part" aria-label="Part id or number" data-key="/"')
        )
        if is_first:
            field.props("autofocus")
        field.props["value"] = text
        field.props["placeholder"] = "Part id, or number of the inspection"
        with ui.element("button").classes("desk-button").props('type="submit"'):
            ui.label("Trace")


async def _find(desk: Desk, part: str) -> None:
    page = await in_thread(desk.store.list, InspectionFilter(desk.line, part_id=part), MOST)
    if len(page.inspections) == 1:
        await _show(desk, page.inspections[0].inspection.sequence)
        return
    if not page.inspections and part.isdecimal() and len(part) < 19:
        await _show(desk, int(part))
        return
    if not page.inspections:
        with ui.element("section").classes("panel"):
            ui.label("No such part").classes("panel-title")
            ui.label(
                f"Line {desk.line} has no inspection of a part {part[:200]!r}: check the spelling, or try its number."
            )
        return
    more = "" if not page.next_page_token else f"; these are the newest {MOST}"
    ui.label(f"This part was inspected {len(page.inspections)} times{more}.")
    rows = [_row(stored.inspection) for stored in page.inspections]
    table(("Number", "Verdict", "Why", "Received", "Station", "Score", "Bundle"), rows)


def _row(seen: Inspection) -> Sequence[object]:
    def link() -> None:
        anchor = ui.element("a")
        anchor.props["href"] = f"/trace?{urlencode({'sequence': seen.sequence})}"
        with anchor:
            ui.label(str(seen.sequence))

    verdict = f"{VERDICT_SYMBOLS[seen.verdict]} {seen.verdict.name}"
    at = f"{seen.receive_time.astimezone():%Y-%m-%d %H:%M:%S}"
    return link, verdict, reason_words(seen)[0], at, seen.station, number(seen.score), seen.bundle


async def _show(desk: Desk, sequence: int) -> None:
    try:
        trace = await in_thread(trace_of, desk, sequence)
    except NotFound as error:
        with ui.element("section").classes("panel"):
            ui.label("Not on record").classes("panel-title")
            ui.label(str(error))
        return
    except InspectorError as error:
        ui.label(str(error)).classes("error-box").props('role="alert"')
        return
    _head(trace)
    with ui.element("div").classes("trace-grid"):
        with ui.element("div").classes("stack"):
            _pictures(trace)
            _findings(trace)
            _views(trace)
        with ui.element("div").classes("stack"):
            _judged_by(trace)
            _labels(trace)
    _audit(trace)


def _head(trace: Trace) -> None:
    seen = trace.stored.inspection
    headline, text = reason_words(seen)
    with ui.element("section").classes(f"panel verdict-head is-{seen.verdict.name.lower()}"):
        ui.label(VERDICT_SYMBOLS[seen.verdict]).classes("verdict-symbol")
        with ui.element("div").classes("fill"):
            ui.label(f"{seen.verdict.name} · {headline}").classes("verdict-word")
            ui.label(f"{text} {seen.detail}".strip())
            for_part = f"Part {seen.part_id}" if seen.part_id else "No part id"
            ui.label(f"{for_part} · inspection {seen.sequence} of line {seen.line} · station {seen.station}").classes(
                "muted"
            )
        with ui.element("div").classes("steps"):
            for title, other in (("‹ Previous", seen.sequence - 1), ("Next ›", seen.sequence + 1)):
                step = (
                    ui.element("a")
                    .classes("desk-button second")
                    .props(f'data-key="{"k" if other < seen.sequence else "j"}"')
                )
                step.props["href"] = f"/trace?sequence={other}"
                with step:
                    ui.label(title)


def _pictures(trace: Trace) -> None:
    seen = trace.stored.inspection
    looks = looks_of(trace.stored.images, seen.view)
    with ui.element("section").classes("panel"):
        ui.label("Pictures").classes("panel-title")
        if not looks:
            ui.label(
                "No picture was kept of this part: of passed parts only a share is (records.pass_sampling)."
            ).classes("muted")
        for look in looks:
            _picture(seen, look)
        with ui.element("div").classes("links"):
            for place, image in enumerate(trace.stored.images):
                if not image.sha256:
                    continue
                link = ui.element("a").props("download")
                link.props["href"] = picture_url(seen.sequence, place, "original")
                with link:
                    kind = image.kind.name.lower().replace("_", " ")
                    ui.label(f"{kind} {image.view} as kept ({image.size_bytes / 1024:,.0f} KiB)".replace("  ", " "))


def _picture(seen: Inspection, look: Look) -> None:
    if look.view:
        ui.label(f"View {look.view}").classes("muted")
    if look.frame is None:
        ui.label(look.lost_reason or "no frame was kept").classes("muted")
        return
    with ui.element("div").classes("big-shot"):
        frame = ui.element("img")
        frame.props["src"], frame.props["alt"] = picture_url(seen.sequence, look.frame, "view"), f"Frame {look.view}"
        if look.heat_map is not None:
            heat = ui.element("img").classes("heat")
            heat.props["src"], heat.props["alt"] = picture_url(seen.sequence, look.heat_map, "overlay"), "Heat map"
    if look.heat_map is not None:
        with ui.element("label").classes("slider"):
            ui.label("Heat map")
            slider = ui.element("input").props('type="range" min="0" max="1" step="0.05" value="0.6" data-heat')
            slider.on("input", js_handler=_FADE)


_FADE = """(event) => {
  const shot = event.target.closest(".panel").querySelectorAll(".heat");
  shot.forEach((heat) => (heat.style.opacity = event.target.value));
}"""


def _findings(trace: Trace) -> None:
    findings = trace.stored.inspection.findings
    if not findings:
        return
    with ui.element("section").classes("panel"):
        ui.label("Findings").classes("panel-title")
        rows = []
        for found in findings:
            size = "–" if found.size is None else f"{found.size.length_mm:.2f} mm, {found.size.area_mm2:.2f} mm²"
            box = f"{found.box.x_px}, {found.box.y_px} · {found.box.width_px} × {found.box.height_px} px"
            rows.append(
                (found.defect_class, number(found.score), box, f"{found.area_px:,.0f} px", size, found.view or "–")
            )
        table(("Class", "Score", "Place and size", "Area", "Measured", "View"), rows)


def _views(trace: Trace) -> None:
    seen = trace.stored.inspection
    if not seen.views:
        return
    with ui.element("section").classes("panel"):
        ui.label("Views").classes("panel-title")
        rows = [
            (
                f"{one.view} {'(decided)' if one.view == seen.view else ''}",
                one.reason.name,
                f"{number(one.score)} / {number(one.limit)}",
                one.camera,
                one.bundle,
                one.detail or "–",
            )
            for one in seen.views
        ]
        table(("View", "Reason", "Score / limit", "Camera", "Bundle", "Detail"), rows)


def _judged_by(trace: Trace) -> None:
    seen, recipe = trace.stored.inspection, trace.recipe
    capture = "–" if seen.capture_time is None else f"{seen.capture_time.astimezone():%Y-%m-%d %H:%M:%S.%f}"[:-3]
    with ui.element("section").classes("panel"):
        ui.label("Verdict").classes("panel-title")
        late = (
            []
            if trace.stored.late_score is None
            else [("Late score (changes nothing)", number(trace.stored.late_score))]
        )
        facts(
            ("Score / limit", f"{number(seen.score)} / {number(seen.limit)}"),
            *late,
            ("Reason", f"{seen.reason.name} ({int(seen.reason)})"),
            ("Trigger", str(seen.trigger)),
            ("Number at the station", str(seen.station_sequence)),
            ("Camera", seen.camera),
            ("Captured", capture),
            ("Received", f"{seen.receive_time.astimezone():%Y-%m-%d %H:%M:%S.%f}"[:-3]),
            ("Decided after", f"{seen.latency_ms:.1f} ms"),
        )
    with ui.element("section").classes("panel"):
        ui.label("Judged by").classes("panel-title")
        for bundle in trace.bundles:
            recorded = "–" if bundle.recorded is None else f"{bundle.recorded.astimezone():%Y-%m-%d %H:%M}"
            about = ("Model", str(bundle.manifest.get("model_kind", "–"))), ("Recorded", recorded)
            facts(("Bundle", bundle.label), ("Digest", bundle.digest or "only its label is on record"), *about)
        if recipe is None:
            facts(("Recipe", f"{seen.recipe}, whose content is not on record"))
        else:
            facts(
                ("Recipe", f"{recipe.name}, version {recipe.version} of {recipe.versions}"),
                ("Digest", recipe.digest),
                ("Since", f"{recipe.recorded.astimezone():%Y-%m-%d %H:%M}"),
            )
            with ui.element("details"):
                with ui.element("summary"):
                    ui.label("What it said")
                facts(*((str(key), str(value)) for key, value in recipe.content.items()))


def _labels(trace: Trace) -> None:
    with ui.element("section").classes("panel"):
        ui.label("Labels").classes("panel-title")
        ui.label(f"Together: {trace.labelled.outcome.value}.").classes("muted")
        rows = [
            (
                label.what,
                label.author,
                f"{label.time.astimezone():%Y-%m-%d %H:%M}",
                f"{len(label.areas)} areas" if label.areas else "–",
                label.note or "–",
            )
            for label in reversed(trace.labelled.history)
        ]
        if rows:
            table(("Label", "Who", "When", "Where", "Note"), rows)


def _audit(trace: Trace) -> None:
    with ui.element("section").classes("panel"):
        ui.label("On the audit log, of this part, its bundle and its recipe").classes("panel-title")
        if not trace.audit:
            ui.label("Nothing.").classes("muted")
            return
        table(("Number", "Time (UTC)", "Who", "What", "Of", "Details"), [audit_row(entry) for entry in trace.audit])


def audit_row(entry: AuditEntry) -> Sequence[str]:
    """An entry as cells."""
    details = ", ".join(f"{key}: {value}" for key, value in entry.details.items())
    return str(entry.number), entry.time[:19].replace("T", " "), entry.actor, entry.action, entry.subject, details


PAGE = Page(
    path="/trace",
    title="Trace",
    icon="manage_search",
    role=Role.VIEWER,
    build=build,
    keys=(("/", "search"), ("j / k", "next / previous inspection")),
)
