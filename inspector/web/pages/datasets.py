"""Data sets: look through pictures, find those alike and those whose label looks wrong, bring new ones, take snapshots."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlencode

from nicegui import ui

from inspector.access.identity import Role
from inspector.errors import InspectorError
from inspector.part import Verdict
from inspector.records.browsing import BrowseFilter, Frame
from inspector.records.descriptors import MOST_GROUPED
from inspector.records.image_sets import SetFilter, SetPicture
from inspector.web.accounts.user import User
from inspector.web.api.frames import position_of, text_of
from inspector.web.desk import Desk, in_thread
from inspector.web.pages.brought import show_sets
from inspector.web.pages.page import Page
from inspector.web.pages.pieces import (
    VERDICT_CHOICES,
    Form,
    Tile,
    action,
    day,
    grid,
    query,
    tabs,
    tile_of_frame,
    tile_of_set,
    told,
)
from inspector.web.pages.snapshots import show_snapshots

PATH = "/data"
_PAGE = 60
_LEAST = 0.985
_MOST_GROUPS = 40
_TABS = {
    "pictures": "Pictures",
    "doubts": "Suspicious labels",
    "alike": "Near-duplicates",
    "sets": "Sets and uploads",
    "snapshots": "Snapshots",
}
_LABELLED = (("", "any"), ("yes", "labelled"), ("no", "not labelled"))


async def build(desk: Desk, user: User) -> None:
    """Fill the frame."""
    ui.add_head_html('<script src="/static/tiles.js" defer></script>')
    here = query("tab", "pictures")
    here = here if here in _TABS else "pictures"
    tabs(here, PATH, _TABS)
    if query("like"):
        await _show_alike_one(desk)
    elif here == "doubts":
        await _show_doubts(desk)
    elif here == "alike":
        await _show_groups(desk)
    elif here == "sets":
        await show_sets(desk, user)
    elif here == "snapshots":
        await show_snapshots(desk, user)
    else:
        await _show_pictures(desk, user)


async def _show_pictures(desk: Desk, user: User) -> None:
    source = query("source")
    sets = await in_thread(desk.work.sets.list)
    classes = sorted(await in_thread(desk.store.label_classes) | await in_thread(desk.work.sets.classes))
    where = await _filters(desk, source, [one.name for one in sets], classes)
    if source and any(one.name == source for one in sets):
        await _show_set(desk, user, source, where, classes)
        return
    frames, after = await in_thread(desk.work.browsing.page, where, position_of(query("after")), _PAGE)
    if not frames:
        told("No picture is kept that these filters let through.")
        return
    grid([tile_of_frame(frame) for frame in frames], likes=f"{PATH}?like=")
    if after is not None:
        _next(text_of(after))


async def _show_set(desk: Desk, user: User, name: str, where: BrowseFilter, classes: Sequence[str]) -> None:
    text = query("after", "0")
    after = int(text) if text.isascii() and text.isdecimal() and len(text) < 18 else 0
    chosen = SetFilter(where.label, where.reviewer, where.part, where.labelled)
    pictures, next_after = await in_thread(desk.work.sets.look, name, chosen, after, _PAGE)
    if not pictures:
        told("No picture of this set that these filters let through.")
    elif user.may(Role.OPERATOR):
        keys = [f"{place} {name}" for place, name in enumerate(classes[:9], start=1)]
        ui.label(" · ".join(("Keys: 0 good", *keys, "u unsure"))).classes("muted")
    grid([tile_of_set(one) for one in pictures], likes=f"{PATH}?like=")
    if next_after is not None:
        _next(str(next_after))


def _next(after: str) -> None:
    request = ui.context.client.request
    fields = {**dict(request.query_params), "after": after} if request is not None else {"after": after}
    with ui.element("div").classes("row"):
        action("Next page", f"{PATH}?{urlencode(fields)}", key="n")


async def _filters(desk: Desk, source: str, sets: Sequence[str], classes: Sequence[str]) -> BrowseFilter:
    work = desk.work
    reviewers = await in_thread(lambda: work.sets.reviewers(source) if source else work.browsing.reviewers())
    label, reviewer, found = query("label"), query("reviewer"), query("found")
    part, verdict, labelled = query("part"), query("verdict"), query("labelled")
    since, until = query("since"), query("until")
    with Form(PATH, "Show", {"tab": "pictures"}) as form:
        form.choice("From", "source", source, [("", f"line {desk.line}"), *((name, f"set {name}") for name in sets)])
        form.choice("Label", "label", label, [("", "any"), *((n, n) for n in ("good", "unsure", *classes))])
        form.choice("Labelled", "labelled", labelled, _LABELLED)
        form.choice("Reviewer", "reviewer", reviewer, [("", "anybody"), *((name, name) for name in reviewers)])
        form.text("Part or lot begins", "part", part, hint="L2026-07")
        if not source:  # cameras know these of a part, people who bring pictures do not
            form.choice("Verdict", "verdict", verdict, VERDICT_CHOICES)
            form.text("Found class", "found", found)
            form.text("Since", "since", since, "date")
            form.text("Before", "until", until, "date")
    verdicts = frozenset({Verdict[verdict]}) if verdict in Verdict.__members__ else frozenset()
    return BrowseFilter(
        label=label,
        reviewer=reviewer,
        found_class=found,
        part=part,
        verdicts=verdicts,
        labelled={"yes": True, "no": False}.get(labelled),
        start_time=day(since, "since"),
        end_time=day(until, "before"),
    )


async def _show_doubts(desk: Desk) -> None:
    told(
        "Labels that the model contradicts, the strongest contradiction first: look again whether the label or the model is "
        "wrong."
    )
    doubts = await in_thread(desk.work.browsing.doubts, 120)
    frames = await in_thread(desk.work.browsing.of_sequences, [doubt.sequence for doubt in doubts])
    by_sequence: dict[int, Frame] = {}
    for frame in frames:
        by_sequence.setdefault(frame.sequence, frame)
    tiles = []
    for doubt in doubts:
        if (frame_of := by_sequence.get(doubt.sequence)) is None:
            continue
        other = "defective ones" if doubt.label == "good" else "good ones"
        way = "higher" if doubt.label == "good" else "lower"
        note = f"labelled {doubt.label}, scores {way} than {doubt.share:.0%} of {other}"
        tiles.append(tile_of_frame(frame_of, note))
    if not tiles:
        told("No label contradicts the model: nothing to look at here.")
    grid(tiles, likes=f"{PATH}?like=")


async def _show_alike_one(desk: Desk) -> None:
    text = query("like")
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        told("This is no picture.", "error")
        return
    await _describe(desk)
    vector = await in_thread(desk.work.descriptors.vector, int(text))
    if vector is None:
        told(
            "This picture is not described yet. A worker describes pictures when it has no job; open this page again soon."
        )
        return
    alike = await in_thread(desk.work.descriptors.nearest, vector, _PAGE)
    tiles = await _tiles_of(desk, [one.picture_id for one in alike], {one.picture_id: one.likeness for one in alike})
    told("The picture, and those most like it, of the line and of all sets.")
    grid(tiles, likes=f"{PATH}?like=")


async def _show_groups(desk: Desk) -> None:
    text = query("least", f"{_LEAST:g}")
    try:
        least = min(1.0, max(0.9, float(text)))
    except ValueError:
        least = _LEAST
    with Form(PATH, "Find", {"tab": "alike"}) as form:
        form.text("Alike by at least (0.9 to 1)", "least", f"{least:g}")
    await _describe(desk)
    place = ui.element("div").classes("column")
    with place:
        told("Comparing all pictures with each other …")

    async def find() -> None:
        # Seconds with tens of thousands of pictures: the page is there before.
        try:
            groups = await in_thread(desk.work.groups, least)
        except InspectorError as error:
            place.clear()
            with place:
                told(f"{error}.", "warn")
            return
        place.clear()
        with place:
            await _show_found(desk, groups)

    ui.timer(0.05, find, once=True)


async def _show_found(desk: Desk, groups: Sequence[Sequence[int]]) -> None:
    told(
        f"{len(groups)} group{'s' * (len(groups) != 1)} of pictures that look the same; one physical part belongs on one side "
        "of a split only."
        if groups
        else "No two pictures are so alike."
    )
    told(f"Pictures of the last minutes may be missing; of more than {MOST_GROUPED:,} the newest are compared.")
    for group in groups[:_MOST_GROUPS]:
        tiles = await _tiles_of(desk, group[:12], {})
        with ui.element("section").classes("panel"):
            labels = {label for tile in tiles for label in tile.labels}
            conflict = " · labelled differently" if len(labels) > 1 else ""
            ui.label(f"{len(group)} pictures{conflict}").classes("panel-title")
            grid(tiles, likes=f"{PATH}?like=")


async def _describe(desk: Desk) -> None:
    """Some of what nobody has described yet; a worker does the rest when it has no job."""
    if await in_thread(desk.work.describe_some, 200) == 200:
        told(
            "More pictures wait to be described: a worker does so when it has no job, or this page, 200 at each visit.",
            "warn",
        )


async def _tiles_of(desk: Desk, ids: Sequence[int], likeness: dict[int, float]) -> list[Tile]:
    frames: dict[int, Frame] = {}
    for frame in await in_thread(desk.work.browsing.of_pictures, list(ids)):
        frames.setdefault(frame.picture_id, frame)
    brought: dict[int, SetPicture] = {}
    for one in await in_thread(desk.work.sets.of_pictures, list(ids)):
        brought.setdefault(one.picture_id, one)
    tiles = []
    for picture_id in ids:
        note = f"{likeness[picture_id]:.1%} alike" if picture_id in likeness else ""
        if picture_id in frames:
            tiles.append(tile_of_frame(frames[picture_id], note))
        elif picture_id in brought:
            tiles.append(tile_of_set(brought[picture_id], note))
    return tiles


PAGE = Page(
    path=PATH,
    title="Data sets",
    icon="photo_library",
    role=Role.VIEWER,
    build=build,
    keys=(
        ("arrows", "go through the pictures"),
        ("Enter", "show the picture large"),
        ("l", "pictures like this one"),
        ("o", "open the part"),
        ("0", "label a picture of a set good"),
        ("1 … 9", "label it with a class, in the order shown"),
        ("u", "label it unsure"),
        ("n", "next page"),
    ),
)
