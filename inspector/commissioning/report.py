"""The report of a commissioning: one page, for the folder and for people, that needs nothing else."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from datetime import datetime
from html import escape

import cv2
import numpy as np
from numpy.typing import NDArray

from inspector.commissioning.live import BINS, preview, read_frame
from inspector.commissioning.session import Outcome
from inspector.imaging.calibration.lens import COVERAGE_FACTOR, Calibration, Scale, advice
from inspector.imaging.health.alarms import limit_here
from inspector.imaging.health.compare import compare
from inspector.imaging.health.kinds import HealthLimits, Kind
from inspector.imaging.health.words import NAMES, day
from inspector.part import Image

_STYLE = """
:root{color-scheme:light dark;--line:#8884}
body{font:15px/1.45 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:1.8rem 0 .4rem}
table{border-collapse:collapse}td,th{text-align:left;padding:.2rem .9rem .2rem 0;border-bottom:1px solid var(--line)}
td{vertical-align:top}
td.n{text-align:right;font-variant-numeric:tabular-nums}.warn{color:#b35c00}figure{display:inline-block;margin:0 1rem 1rem 0}
figure img,figure svg{max-width:18rem;height:auto;border:1px solid var(--line)}figcaption{font-size:.85rem;opacity:.8}
p{margin:.4rem 0}
"""


def report_page(outcome: Outcome, camera: str, source: str, taken: datetime, by: str) -> str:
    """The page as HTML."""
    parts = [
        f"<h1>Camera {escape(camera)}</h1>",
        f"<p>Commissioned on {day(taken)}, {taken:%H:%M} UTC, by {escape(by)}. Frames from {escape(source)}.</p>",
        *_picture(outcome),
        *(_calibrated(outcome) if outcome.calibration is not None else ()),
        *_flat(outcome),
        *_alarms(outcome),
        *_pictures(outcome),
    ]
    body = "\n".join(parts)
    title = f"Camera {escape(camera)}, {day(taken)}"
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>\n<body>\n{body}\n</body></html>\n'
    )


def _picture(outcome: Outcome) -> Iterator[str]:
    """What the parts look like to the camera."""
    reference, frames = outcome.reference, [one for name, one in outcome.pictures.items() if name.startswith("part")]
    width, height = reference.size_px
    by_what = (
        f"by what stands still: {reference.steady.mean():.0%} of the picture"
        if reference.has_background
        else "by the parts themselves, since nothing stands still: its limit is wider for that"
    )
    yield "<h2>Picture</h2>"
    yield _table(
        [
            ("size", f"{width} × {height} px, {'colour' if reference.colour.size else 'grey'}"),
            ("frames", f"{reference.frames} of good parts"),
            ("mean level", f"{reference.level:.1f} of 255"),
            ("saturated", f"{reference.saturated:.2%} of the pixels"),
            ("light is judged", by_what),
        ]
    )
    if frames:
        reading = read_frame(frames[0])
        if reading.advice:
            yield f'<p class="warn">{escape(reading.advice)}</p>'
        yield _figure(_histogram(reading.histogram), "grey levels of the first frame, 0 to 255")
    middle = np.exp(reference.middle)
    yield _figure(_map(middle, middle.min(), middle.max()), "median picture, by cells")
    yield _figure(_map(reference.spread, 0.0, 0.3), "how each cell varies with the parts: white 30 % and more")


def _calibrated(outcome: Outcome) -> Iterator[str]:
    calibration = outcome.calibration
    assert calibration is not None
    lens = calibration.lens
    yield "<h2>Scale</h2>"
    yield _table([("", "as it comes", "straightened"), *_budget(calibration)])
    yield (
        f"<p>The uncertainty is the field's half range, and {COVERAGE_FACTOR:g} × the root of the summed squares of the rest. "
        "Dimension limits are held with it.</p>"
    )
    rows = [
        (
            "board",
            f"{calibration.board.name}, within {calibration.board.tolerance_mm:g} mm; {calibration.pictures} pictures",
        ),
        ("seen in", f"{calibration.coverage:.0%} of the picture"),
        ("corners off by", f"{lens.rms_px:.3f} px (root mean square)"),
        ("leaning", f"{calibration.tilt_deg:.2f}°"),
        ("distortion", "k1 {:.4g}, k2 {:.4g}, p1 {:.4g}, p2 {:.4g}".format(*lens.distortion)),
    ]
    if calibration.distance_mm is not None:
        rows.append(("focal length", f"{lens.focal_px[0]:.1f} × {lens.focal_px[1]:.1f} px"))
        rows.append(("distance", f"{calibration.distance_mm:.1f} mm"))
    yield _table(rows)
    for words in advice(calibration):
        yield f'<p class="warn">{escape(words)}</p>'


def _budget(calibration: Calibration) -> Iterator[tuple[str, ...]]:
    both: Sequence[Scale] = (calibration.as_seen, calibration.straightened)
    yield "mm per pixel", *(f"{scale.mm_per_px:.6g}" for scale in both)
    yield "uncertainty", *(f"± {scale.uncertainty:.3%}" for scale in both)
    yield "field: over the picture", *(f"± {scale.field:.3%}" for scale in both)
    yield "lens and place, by the corners", *(f"{scale.lens:.3%}" for scale in both)
    yield "board's tolerance", *(f"{scale.board:.3%}" for scale in both)
    yield "height of the parts", *(f"{scale.height:.3%}" for scale in both)


def _flat(outcome: Outcome) -> Iterator[str]:
    if outcome.flat is None:
        return
    gain = outcome.flat.gain if outcome.flat.gain.ndim == 2 else outcome.flat.gain[..., 1]
    shrink = max(1, max(gain.shape) // 160)
    small = cv2.blur(gain, (shrink, shrink))[::shrink, ::shrink]
    yield "<h2>Flat field</h2>"
    yield f"<p>From {outcome.flat.frames} frames; the light is uneven by {outcome.flat.unevenness:.1%}.</p>"
    yield _figure(
        _map(np.asarray(1 / np.maximum(small, 0.05), np.float32), 0.5, 1.2),
        "light over the picture, black half of the mean",
    )


def _alarms(outcome: Outcome) -> Iterator[str]:
    """Which alarms these frames can tell, and from where on: chance and the parts may ask for more than the usual limit."""
    limits, found = HealthLimits(), compare(outcome.summary, outcome.reference)
    rows: list[tuple[str, ...]] = [("alarm", "usual limit", "told here from")]
    for kind in Kind:
        usual = limits.of(kind)
        here = "cannot be told by this picture"
        if kind in found:
            here = _amount(kind, limit_here(found[kind], usual))
        rows.append((NAMES[kind], _amount(kind, usual), here))
    yield "<h2>Alarms</h2>"
    yield _table(rows)


def _amount(kind: Kind, value: float) -> str:
    return f"{value:.2g} px" if kind in (Kind.FOCUS, Kind.VIBRATION) else f"{value * 100:.3g} %"


def _pictures(outcome: Outcome) -> Iterator[str]:
    if outcome.pictures:
        yield "<h2>Frames</h2>"
    for name, image in outcome.pictures.items():
        yield _figure(_jpeg(image), f"images/{name}.png")


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    cells = ("".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows)
    return f"<table>{''.join(f'<tr>{row}</tr>' for row in cells)}</table>"


def _figure(picture: str, caption: str) -> str:
    return f"<figure>{picture}<figcaption>{escape(caption)}</figcaption></figure>"


def _histogram(shares: Sequence[float]) -> str:
    top = max(shares) or 1.0
    bars = "".join(
        f'<rect x="{4 * n}" y="{100 - 100 * share / top:.1f}" width="4" height="{100 * share / top:.1f}"/>'
        for n, share in enumerate(shares)
    )
    return f'<svg viewBox="0 0 {4 * BINS} 100" width="256" height="100" fill="currentColor" role="img">{bars}</svg>'


def _map(values: NDArray[np.float32], low: float, high: float) -> str:
    scaled = np.clip((values - low) / max(high - low, 1e-6) * 255, 0, 255).astype(np.uint8)
    large = cv2.resize(scaled, None, fx=4, fy=4, interpolation=cv2.INTER_NEAREST)
    _, png = cv2.imencode(".png", large)
    return _embedded(png.tobytes(), "image/png")


def _jpeg(image: Image) -> str:
    return _embedded(preview(image), "image/jpeg")


def _embedded(data: bytes, media_type: str) -> str:
    return f'<img alt="" src="data:{media_type};base64,{base64.b64encode(data).decode()}">'
