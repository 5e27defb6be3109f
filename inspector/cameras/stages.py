"""What is done with each part between its source and the service: small functions that give a part id, or take it away."""

from __future__ import annotations

from dataclasses import replace

from inspector.cameras.sources.source import Grab, Lost


def without_part_id(grab: Grab) -> Grab:
    """Parts go by their trigger alone, whatever the source calls them."""
    if isinstance(grab, Lost):
        return replace(grab, part_id="")
    return replace(grab, frame=replace(grab.frame, part_id=""))
