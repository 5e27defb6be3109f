"""Pieces that pages of data and training are made of: tabs, forms that become the address, tiles of pictures.

Filters are plain forms whose fields become the query of the page's address: they can be kept, sent and gone back to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlencode

from nicegui import ui

from inspector.errors import ConfigError
from inspector.part import Verdict
from inspector.records.browsing import Frame
from inspector.records.image_sets import SetPicture
from inspector.web.reporting.markup import Markup, element
from inspector.web.words import VERDICT_SYMBOLS, number


@dataclass(frozen=True, slots=True)
class Tile:
    """A picture as a grid shows it: where its files are, a line of text, a second one, and what its frame tells."""

    source: str
    picture_id: int
    title: str
    text: str
    kind: str = ""
    badge: str = ""
    link: str = ""
    set_picture: int = 0
    note: str = ""
    labels: tuple[str, ...] = ()


def tile_of_frame(frame: Frame, note: str = "") -> Tile:
    """A frame of the line."""
    labels = tuple(dict.fromkeys(label for _, label in frame.said))
    view = f" · {frame.view}" if frame.view else ""
    return Tile(
        source=f"/api/v1/pictures/{frame.sequence}/{frame.place}",
        picture_id=frame.picture_id,
        title=f"{frame.part_id or 'no part id'}{view}",
        text=f"score {number(frame.score)} · limit {number(frame.limit)} · {frame.received.astimezone():%Y-%m-%d %H:%M:%S}",
        kind=frame.verdict.name.lower(),
        badge=f"{VERDICT_SYMBOLS[frame.verdict]} {', '.join(labels)}".strip(),
        labels=labels,
        link=f"/trace?sequence={frame.sequence}",
        note=note or (f"found: {frame.found_class}" if frame.found_class else ""),
    )


def tile_of_set(one: SetPicture, note: str = "") -> Tile:
    """A picture that somebody brought."""
    labels = tuple(dict.fromkeys(label.what for label in one.current))
    about = [
        f"{one.width_px} × {one.height_px}",
        *([f"part {one.part_id}"] if one.part_id else []),
        f"by {one.added_by}",
    ]
    agreed = one.agreed
    kind = "" if agreed is None else ("pass" if agreed.what == "good" else "reject")
    return Tile(
        source=f"/api/v1/image-sets/pictures/{one.id}",
        picture_id=one.picture_id,
        title=one.file_name,
        text=" · ".join(about),
        kind=kind,
        badge=", ".join(labels) or "not labelled",
        labels=labels,
        set_picture=one.id,
        note=note,
    )


def grid(tiles: Sequence[Tile], *, likes: str = "") -> None:
    """Tiles that the arrow keys go through; `likes` is the address of a page that shows pictures like one.

    One piece of HTML: hundreds of elements of their own would keep the page from being there for half a second.
    """
    inner = "".join(_tile(tile, likes, first=place == 0) for place, tile in enumerate(tiles))
    # Made by `reporting.markup`, which takes everything for text that it has not made itself.
    box = ui.html(inner, sanitize=False, tag="section").classes("tiles")
    box.props('role="listbox" aria-label="Pictures"')


def _tile(tile: Tile, likes: str, *, first: bool) -> Markup:
    picture = element(
        "img", class_="tile-picture", src=f"{tile.source}/thumbnail", loading="lazy", alt="", draggable="false"
    )
    note = [element("div", tile.note, class_="tile-note")] if tile.note else []
    return element(
        "article",
        picture,
        element("div", tile.badge, class_="tile-badge"),
        element("div", tile.title, class_="tile-title"),
        *note,
        class_="tile" + (f" is-{tile.kind}" if tile.kind else ""),
        role="option",
        tabindex="0" if first else "-1",
        data_source=tile.source,
        data_title=tile.title,
        data_text=tile.text,
        data_badge=tile.badge,
        data_note=tile.note,
        data_link=tile.link,
        data_set_picture=tile.set_picture or "",
        data_likes=f"{likes}{tile.picture_id}" if likes else "",
        aria_label=f"{tile.title}, {tile.badge}",
    )


def tabs(here: str, path: str, names: Mapping[str, str]) -> None:
    """Links to the parts of a page."""
    with ui.element("nav").classes("tabs").props('aria-label="Parts of this page"'):
        for key, name in names.items():
            link = ui.element("a").classes("tab")
            link.props["href"] = f"{path}?{urlencode({'tab': key})}"
            if key == here:
                link.props["aria-current"] = "true"
            with link:
                ui.label(name)


class Form:
    """A plain form that becomes the query of the page's own address."""

    def __init__(self, path: str, button: str, hidden: Mapping[str, str]) -> None:
        self._form = ui.element("form").classes("filters")
        self._form.props["action"], self._form.props["method"] = path, "get"
        self._button = button
        with self._form:
            for name, value in hidden.items():
                field = ui.element("input").props('type="hidden"')
                field.props["name"], field.props["value"] = name, value

    def __enter__(self) -> Form:
        self._form.__enter__()
        return self

    def __exit__(self, *about: object) -> None:
        with ui.element("button").classes("button is-strong").props('type="submit"'):
            ui.label(self._button)
        self._form.__exit__(*about)

    def text(self, label: str, name: str, value: str, kind: str = "text", hint: str = "") -> None:
        """A field to type in."""
        with ui.element("label").classes("field"):
            ui.label(label)
            field = ui.element("input")
            field.props["type"], field.props["name"], field.props["value"] = kind, name, value
            if hint:
                field.props["placeholder"] = hint

    def choice(self, label: str, name: str, value: str, options: Iterable[tuple[str, str]]) -> None:
        """A field to choose from (value, words)."""
        with ui.element("label").classes("field"):
            ui.label(label)
            box = ui.element("select")
            box.props["name"] = name
            with box:
                for key, words in options:
                    option = ui.element("option")
                    option.props["value"] = key
                    if key == value:
                        option.props["selected"] = True
                    with option:
                        ui.label(words).classes("option-words")


def action(words: str, href: str, *, key: str = "", strong: bool = False) -> None:
    """A link that looks like a button; `key` presses it."""
    link = ui.element("a").classes("button is-strong" if strong else "button")
    link.props["href"] = href
    if key:
        link.props["data-key"] = key
    with link:
        ui.label(words)
        if key:
            with ui.element("kbd"):
                ui.label(key)


def told(text: str, kind: str = "note") -> None:
    """A sentence that stands out: note, warn or error."""
    ui.label(text).classes(f"told is-{kind}").props('role="status"')


def query(name: str, default: str = "") -> str:
    """A field of the page's address."""
    request = ui.context.client.request
    return (request.query_params.get(name, default) if request is not None else default)[:300]


def day(text: str, what: str) -> datetime | None:
    """The beginning of a day as a date field gives it, here; None for nothing or no date."""
    try:
        return read_day(text)
    except ConfigError as error:
        told(f"{error}; “{what}” was left out.", "warn")
        return None


def read_day(text: str) -> datetime | None:
    """The beginning of a day as a date field gives it, in the time of this machine; None for nothing. ConfigError."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC) if text else None
    except ValueError as error:
        raise ConfigError(f"{text[:40]!r} is no date: give it as 2026-03-31") from error


VERDICT_CHOICES = (("", "any"), *((verdict.name, f"{VERDICT_SYMBOLS[verdict]} {verdict.name}") for verdict in Verdict))


def long_time(seconds: float) -> str:
    """How long in words, roughly."""
    if seconds < 90:
        return f"{max(5, round(seconds / 5) * 5)} seconds"
    minutes = seconds / 60
    return f"{round(minutes)} minutes" if minutes < 90 else f"{minutes / 60:.1f} hours"
