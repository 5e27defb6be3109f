"""Pictures of inspections as browsers show them: as kept, viewable, small, or as a coloured layer over the picture."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import Response
from numpy.typing import NDArray

from inspector.access.identity import Role
from inspector.errors import FrameError, NotFound
from inspector.imaging.archive import AT_LIMIT, unarchive
from inspector.imaging.decode import DecodeLimits, decode
from inspector.imaging.normalise import to_8_bit
from inspector.imaging.pixels import as_pixels
from inspector.imaging.png import write_png
from inspector.part import ImageKind
from inspector.records.entries import StoredImage
from inspector.web.accounts.user import User
from inspector.web.api.access import needs
from inspector.web.desk import Desk, in_thread

Form = Literal["original", "view", "thumbnail", "overlay", "small-overlay"]
THUMBNAIL_PX = 320
_LIMITS = DecodeLimits()
_CACHE = "private, max-age=3600"
# A picture is somebody else's file: whatever it is, it runs nothing.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox"


def picture_router(desk: Desk) -> APIRouter:
    """/pictures/SEQUENCE/NUMBER/FORM, the number counting the pictures of the inspection from 0."""
    routes = APIRouter(prefix="/pictures", tags=["pictures"])

    @routes.get("/{sequence}/{number}/{form}", response_class=Response)
    async def picture(
        request: Request, sequence: int, number: int, form: Form, user: User = needs(Role.VIEWER)
    ) -> Response:
        """One picture: `original` as kept, `view` for any browser, `thumbnail` small, `overlay` a heat map."""
        image = await in_thread(find_picture, desk, sequence, number)
        return await answer_picture(desk, request, image, form, f"{sequence}-{number}")

    return routes


async def answer_picture(desk: Desk, request: Request, image: StoredImage, form: Form, name: str) -> Response:
    """A picture, or that the browser has it already; `name` is for who saves it."""
    tag = f'"{image.sha256[:32]}-{form}"'
    headers = {"ETag": tag, "Cache-Control": _CACHE, "Content-Security-Policy": _POLICY}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    data, media_type = await in_thread(render, desk, image, form)
    if media_type == "application/octet-stream":
        headers["Content-Disposition"] = f'attachment; filename="{desk.line}-{name}.bin"'
    return Response(data, media_type=media_type, headers=headers)


def find_picture(desk: Desk, sequence: int, number: int) -> StoredImage:
    """Picture `number` of an inspection. NotFound, also for one that was lost or removed."""
    images = desk.store.get(desk.line, sequence).images
    if not 0 <= number < len(images):
        raise NotFound(f"inspection {sequence} has {len(images)} pictures and none with the number {number}")
    if not images[number].sha256:
        raise NotFound(f"picture {number} of inspection {sequence} is not there any more: {images[number].lost_reason}")
    return images[number]


def render(desk: Desk, image: StoredImage, form: Form) -> tuple[bytes, str]:
    """Bytes and media type. NotFound, ImageStoreError."""
    data, media_type = desk.pictures.get(image.sha256)
    if form == "original":
        return data, media_type
    if form in ("overlay", "small-overlay"):
        return _overlay(data, image, THUMBNAIL_PX if form == "small-overlay" else None)
    try:
        shown = decode(unarchive(data, _LIMITS), _LIMITS)
    except FrameError as error:
        raise NotFound(f"picture {image.sha256[:12]} cannot be shown: {error}: fetch the original") from error
    if form == "view" and shown.bits == 8 and media_type != "application/octet-stream" and not _is_raw(data):
        return data, media_type
    pixels = to_8_bit(shown.pixels, shown.bits)
    if pixels.ndim == 3:
        pixels = pixels[:, :, ::-1]
    if form == "view":
        return write_png(as_pixels(np.ascontiguousarray(pixels))), "image/png"
    pixels = _shrunk(pixels, THUMBNAIL_PX)
    return cv2.imencode(".jpg", np.ascontiguousarray(pixels), [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes(), "image/jpeg"


def _shrunk(pixels: NDArray[np.uint8], side_px: int) -> NDArray[np.uint8]:
    """At most `side_px` wide and high."""
    scale = side_px / max(pixels.shape[:2])
    if scale >= 1:
        return pixels
    return cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA).astype(np.uint8)


def _is_raw(data: bytes) -> bool:
    """Whether a PNG holds a camera's own format, such as a Bayer mosaic, which no browser knows."""
    return b"tEXtPixelFormat" in data[:4096]


def _overlay(data: bytes, image: StoredImage, side_px: int | None) -> tuple[bytes, str]:
    """A heat map in colours that everybody can tell apart, clear where the map is far below its limit."""
    if image.kind is not ImageKind.HEAT_MAP:
        raise NotFound(f"picture {image.sha256[:12]} is a frame, and only a heat map is a layer: ask for its view")
    levels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    if levels is None:
        raise NotFound(f"heat map {image.sha256[:12]} is no picture: fetch the original")
    levels = levels.astype(np.uint8) if side_px is None else _shrunk(levels.astype(np.uint8), side_px)
    coloured = cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO)
    half = AT_LIMIT // 2
    alpha = np.clip((levels.astype(np.float32) - half) / (AT_LIMIT - half), 0.0, 1.0) * 255
    layered = np.dstack([coloured, alpha.astype(np.uint8)])
    return cv2.imencode(".png", layered)[1].tobytes(), "image/png"
