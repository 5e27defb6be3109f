"""What pages share that are drawn on a canvas by a script of their own, so that no key press waits for the desk."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from nicegui import ui


def canvas_page(name: str, about: Mapping[str, Any], *others: str) -> None:
    """An element `name`, and the scripts of `static/` that fill it: `name`, which finds `about` in the page, and `others`."""
    # As JSON that cannot end the script element it stands in.
    embedded = json.dumps(about).replace("<", "\\u003c").replace("&", "\\u0026")
    ui.add_head_html(
        f'<script type="application/json" id="{name}-about">{embedded}</script>'
        f'<link rel="stylesheet" href="/static/canvas.css">'
        + "".join(f'<script src="/static/{script}.js" defer></script>' for script in ("viewer", *others, name))
    )
    ui.element("div").props(f'id="{name}"').classes(f"canvas-page {name}-page")
