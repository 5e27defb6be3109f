"""HTML by hand: everything that is put into it is text, unless it was made here."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

_EMPTY = frozenset({"img", "input"})
"""Elements that hold nothing and have no end."""


class Markup(str):
    """HTML that is safe to put into a page."""

    __slots__ = ()


def text(value: object) -> Markup:
    """A value as text of a page."""
    return value if isinstance(value, Markup) else Markup(html.escape(str(value), quote=True))


def element(tag: str, *inner: object, **attributes: object) -> Markup:
    """An element; attributes with an underscore at the end lose it, others inside become dashes."""
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{html.escape(str(value), quote=True)}"'
        for name, value in attributes.items()
        if value is not None
    )
    if tag in _EMPTY:
        return Markup(f"<{tag}{written}>")
    return Markup(f"<{tag}{written}>{''.join(text(one) for one in inner)}</{tag}>")


def table(head: Sequence[str], rows: Iterable[Sequence[object]], *, caption: str = "", numbers: int = 99) -> Markup:
    """A table; cells from the one numbered `numbers` stand to the right."""
    titles = element("tr", *(element("th", one, scope="col", class_=_side(n, numbers)) for n, one in enumerate(head)))
    body = [element("tr", *(element("td", one, class_=_side(n, numbers)) for n, one in enumerate(row))) for row in rows]
    told = [element("caption", caption)] if caption else []
    return element("table", *told, element("thead", titles), element("tbody", *body), class_="report-table")


def _side(number: int, numbers: int) -> str | None:
    return "number" if number >= numbers else None


def listed(sentences: Iterable[object], **attributes: object) -> Markup:
    """Sentences, one below the other."""
    return element("ul", *(element("li", one) for one in sentences), **attributes)
