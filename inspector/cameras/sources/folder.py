"""A folder of pictures as a camera: one file is one part."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from inspector.errors import ConfigError
from inspector.part import Frame, PixelFormat

RawFormat = Literal["Mono8", "RGB8"]

FORMATS = {".png": PixelFormat.PNG, ".jpg": PixelFormat.JPEG, ".jpeg": PixelFormat.JPEG}
_MAGIC = {b"\x89PNG\r\n\x1a\n": PixelFormat.PNG, b"\xff\xd8\xff": PixelFormat.JPEG}
_DIGITS = re.compile(r"(\d+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Picture:
    """One part's frame (its trigger is still 0) and the file that it came from."""

    file: Path
    frame: Frame


class FolderSource:
    """The PNG and JPEG files of a folder and its subfolders, in natural order of their paths ("2.png" before "10.png").

    A file that cannot be read, or is no picture, is a part all the same: what there is of it is sent, and the service says
    UNKNOWN. With `raw` pictures are decoded here and sent as raw pixels, as a camera without a compressor would; what does
    not decode is sent as it is. `on_note` hears of files left out or sent damaged.
    """

    def __init__(
        self,
        folder: Path,
        *,
        raw: RawFormat | None = None,
        loop: bool = False,
        on_note: Callable[[str], None] = lambda _note: None,
    ) -> None:
        """List the folder. ConfigError if it cannot be read or has no pictures."""
        self._raw = raw
        self._loop = loop
        self._on_note = on_note
        self.files = _list(folder, on_note)
        if not self.files:
            raise ConfigError(f"{folder} has no PNG or JPEG files: name a folder with pictures, or convert them first")

    def __iter__(self) -> Iterator[Picture]:
        """Pictures, read from the disk one by one."""
        while True:
            for file in self.files:
                yield Picture(file, self._frame(file))
            if not self._loop:
                return

    def _frame(self, file: Path) -> Frame:
        try:
            data = file.read_bytes()
        except OSError as error:
            self._on_note(f"{file} cannot be read ({error.strerror}): its part is sent without a picture")
            data = b""
        pixel_format = picture_format(data)
        if pixel_format is None and data:
            self._on_note(f"{file} is no PNG or JPEG file, whatever its name says: it is sent as it is")
        frame = Frame(0, pixel_format or FORMATS[file.suffix.lower()], 0, 0, 0, data, part_id=part_id_of(file))
        return self._to_raw(file, frame) if self._raw is not None and pixel_format is not None else frame

    def _to_raw(self, file: Path, frame: Frame) -> Frame:
        grey = self._raw == "Mono8"
        # OpenCV applies the EXIF orientation in both modes.
        flags = cv2.IMREAD_GRAYSCALE if grey else cv2.IMREAD_COLOR_RGB
        try:
            pixels = cv2.imdecode(np.frombuffer(frame.data, np.uint8), flags)
        except cv2.error:
            pixels = None
        if pixels is None:
            self._on_note(f"{file} does not decode: it is sent as it is")
            return frame
        height, width = pixels.shape[:2]
        pixel_format = PixelFormat.MONO8 if grey else PixelFormat.RGB8
        return Frame(0, pixel_format, width, height, 0, pixels.tobytes(), part_id=frame.part_id)


def picture_format(data: bytes) -> PixelFormat | None:
    """What a file is by its first bytes; None if it is neither PNG nor JPEG."""
    return next((known for magic, known in _MAGIC.items() if data.startswith(magic)), None)


def part_id_of(file: Path) -> str:
    """The file's name, if it can be a part id."""
    return file.stem if file.stem.isprintable() and len(file.stem) <= 128 else ""


def _list(folder: Path, on_note: Callable[[str], None]) -> list[Path]:
    if not folder.is_dir():
        raise ConfigError(f"{folder} is not a folder: name one with PNG or JPEG files")
    try:
        found = sorted((p for p in folder.rglob("*") if not p.is_dir()), key=lambda p: natural(p.relative_to(folder)))
    except OSError as error:
        raise ConfigError(f"{folder} cannot be listed ({error.strerror}): check its permissions") from error
    files = []
    for path in found:
        if any(part.startswith(".") for part in path.relative_to(folder).parts):
            on_note(f"{path} is hidden: left out")
        elif path.suffix.lower() not in FORMATS:
            on_note(f"{path} is neither PNG nor JPEG: left out")
        elif path.exists() and not path.is_file():
            on_note(f"{path} is no regular file: left out")
        else:
            files.append(path)
    return files


def natural(path: Path) -> list[tuple[list[tuple[int, str]], str]]:
    """Sorts digits by value and letters without case, path part by path part; the exact text decides between equals."""
    return [([_weigh(run) for run in _DIGITS.split(part)], part) for part in path.parts]


def _weigh(run: str) -> tuple[int, str]:
    # The number of digits stands for the value of huge ones, which int() refuses to read.
    digits = run.lstrip("0")
    return (len(digits), digits) if run.isdigit() and run.isascii() else (-1, run.casefold())
