"""The commissioning of one camera, step by step: what has been taken, what is to be done next, and what came of it.

    LOOK ──▶ FLAT ──▶ BOARD ──▶ PARTS ──▶ DONE

A session is fed with frames by one thread and moved on by others (the terminal, the page). It decides; it neither draws nor
waits.
"""

from __future__ import annotations

import enum
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from inspector.commissioning.live import Reading, read_frame
from inspector.errors import ConfigError
from inspector.imaging.calibration.board import Board, Corners, find_corners
from inspector.imaging.calibration.correct import Correction, correct
from inspector.imaging.calibration.flat import FlatField, build_flat
from inspector.imaging.calibration.lens import Calibration, calibrate
from inspector.imaging.calibration.straighten import straightener_of
from inspector.imaging.health.measure import FrameHealth, is_measurable, measure
from inspector.imaging.health.reference import Reference, build_reference
from inspector.imaging.health.window import Summary, summarise
from inspector.part import Image

KEPT_PARTS = 8
"""Frames of parts that are kept as pictures."""
MOST_FRAMES = 512
# A board counts again when its middle has moved by this share of the picture, or its size or lean has changed as much.
_MOVED_SHARE = 0.06


class Step(enum.StrEnum):
    """Where a commissioning is."""

    LOOK = "look"
    FLAT = "flat"
    BOARD = "board"
    PARTS = "parts"
    DONE = "done"


TASKS: Mapping[Step, str] = {
    Step.LOOK: "set exposure and focus: sharpness as high as it goes, nothing saturated; then go on",
    Step.FLAT: "show an even, bright, empty target that fills the picture; then go on, and frames are taken",
    Step.BOARD: "lay the board flat where the parts lie for the first picture; then hold it tilted, and into every corner",
    Step.PARTS: "let good parts pass as in production",
    Step.DONE: "all is taken",
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """How many frames each step takes; 0 leaves it out. `by_itself` goes on without being told to (files, tests)."""

    flat: int = 0
    board: int = 0
    parts: int = 60
    by_itself: bool = False

    def of(self, step: Step) -> int:
        return {Step.FLAT: self.flat, Step.BOARD: self.board, Step.PARTS: self.parts}.get(step, 0)


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A session as those see it who show it."""

    step: Step
    task: str
    taken: int
    wanted: int
    is_taking: bool
    told: str
    frames: int
    best_sharpness: float
    reading: Reading | None
    image: Image | None
    steps: tuple[Step, ...]
    can_skip: bool


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What a commissioning made; None for what it left out. `pictures` are frames by name, as they came."""

    reference: Reference
    summary: Summary
    calibration: Calibration | None
    flat: FlatField | None
    pictures: Mapping[str, Image]
    corrected: tuple[str, ...] = ()


@dataclass(slots=True)
class _Taken:
    flat: list[Image] = field(default_factory=list)
    corners: list[Corners] = field(default_factory=list)
    boards: list[Image] = field(default_factory=list)
    parts: list[FrameHealth] = field(default_factory=list)
    kept: list[Image] = field(default_factory=list)


class Session:
    """See the module. All methods may be called from any thread."""

    def __init__(
        self, wanted: Wanted, board: Board, *, height_tolerance_mm: float = 0.0, corrected: Sequence[str] = ()
    ) -> None:
        """`corrected` is what the camera program will take out of the pictures: parts are then seen without it.

        Errors: ConfigError if a step that this needs is left out.
        """
        for name, count, option in (("flat", wanted.flat, "--flat"), ("lens", wanted.board, "--boards")):
            if name in corrected and not count:
                raise ConfigError(f'[camera.NAME] corrects "{name}", and {option} is 0: give frames for it')
        self._corrected = tuple(corrected)
        self._correction: Correction | None = None
        self._wanted, self._board = wanted, board
        self._height_tolerance_mm = height_tolerance_mm
        self._lock = threading.Lock()
        self._taken = _Taken()
        self._step = Step.LOOK
        self._taking = False
        self._frames = 0
        self._best = 0.0
        self._told = ""
        self._reading: Reading | None = None
        self._image: Image | None = None
        self._size: tuple[int, int] | None = None
        if wanted.by_itself:
            self._advance()

    @property
    def is_done(self) -> bool:
        return self._step is Step.DONE

    def take(self, image: Image) -> None:
        """Look at a frame, and keep of it what the step wants."""
        if not is_measurable(image):
            self._tell(f"a frame of {image.width_px} × {image.height_px} px is too small for a commissioning")
            return
        reading = read_frame(image)
        with self._lock:
            self._frames += 1
            self._image, self._reading = image, reading
            self._best = max(self._best, reading.sharpness)
            step, taking = self._step, self._taking
        if taking and self._is_of_one_size(image):
            {Step.FLAT: self._take_flat, Step.BOARD: self._take_board, Step.PARTS: self._take_part}[step](image)

    def go_on(self) -> None:
        """A person is ready: take the frames of this step, or, where there is nothing to take, begin the next."""
        with self._lock:
            if self._step is Step.LOOK:
                self._advance()
            elif self._step is not Step.DONE:
                self._taking = True
                self._told = ""

    @property
    def can_skip(self) -> bool:
        """Whether the step may be left out or ended early: not if something is corrected by it, nor the parts."""
        needed = {Step.FLAT: "flat", Step.BOARD: "lens"}.get(self._step, "")
        return self._step in (Step.LOOK, Step.FLAT, Step.BOARD) and needed not in self._corrected

    def skip(self) -> None:
        """Leave the rest of this step, if it can be. Boards that were seen count; a flat field of few frames does not."""
        with self._lock:
            if self.can_skip:
                if self._step is Step.FLAT:
                    self._taken.flat.clear()
                self._advance()

    def view(self) -> View:
        """How it stands."""
        with self._lock:
            return View(
                step=self._step,
                task=TASKS[self._step],
                taken=self._count(),
                wanted=self._wanted.of(self._step),
                is_taking=self._taking,
                told=self._told,
                frames=self._frames,
                best_sharpness=self._best,
                reading=self._reading,
                image=self._image,
                steps=tuple(s for s in Step if s in (Step.LOOK, Step.DONE) or self._wanted.of(s)),
                can_skip=self.can_skip,
            )

    def outcome(self, start: datetime, end: datetime) -> Outcome:
        """What it made. Errors: ConfigError if the frames do not do, with what to do about it."""
        with self._lock:
            taken = self._taken
            if not taken.parts:
                raise ConfigError("no parts were seen, so there is no reference: let good parts pass the camera")
            calibration = self._calibrated() if self._wanted.board and taken.corners else None
            pictures = {f"part-{number:02d}": image for number, image in enumerate(taken.kept, start=1)}
            pictures |= {f"board-{number:02d}": image for number, image in enumerate(taken.boards, start=1)}
            summary = summarise(taken.parts, start, end, len(taken.parts))
            return Outcome(
                reference=build_reference(summary),
                summary=summary,
                calibration=calibration,
                flat=build_flat(taken.flat) if self._wanted.flat and taken.flat else None,
                pictures=pictures,
                corrected=self._corrected,
            )

    # ------------------------------------------------------------------------------------------------------- the steps

    def _take_flat(self, image: Image) -> None:
        self._add(self._taken.flat, image)

    def _take_board(self, image: Image) -> None:
        corners = find_corners(image, self._board)
        if corners is None:
            self._tell(f"no board of {self._board.name} is seen: light, focus, and is it the right one?")
            return
        if not self._wanted.by_itself and not self._is_another(corners):
            self._tell("seen: now hold it in another way")
            return
        with self._lock:
            self._taken.boards.append(image)
        self._add(self._taken.corners, corners)

    def _made_correction(self) -> Correction:
        """Of what has been taken so far. Errors: ConfigError if the frames do not do."""
        flat = build_flat(self._taken.flat) if "flat" in self._corrected else None
        lens = straightener_of(self._calibrated().lens) if "lens" in self._corrected else None
        return Correction(flat, lens)

    def _calibrated(self) -> Calibration:
        assert self._size is not None
        return calibrate(self._taken.corners, self._board, self._size, height_tolerance_mm=self._height_tolerance_mm)

    def _take_part(self, image: Image) -> None:
        if self._corrected:
            self._correction = self._correction or self._made_correction()
            image = correct(image, self._correction)
        frame = measure(image, probe=True)
        with self._lock:
            every = max(1, self._wanted.parts // KEPT_PARTS)
            if len(self._taken.parts) % every == 0 and len(self._taken.kept) < KEPT_PARTS:
                self._taken.kept.append(image)
        self._add(self._taken.parts, frame)

    def _add(
        self, several: list[Image] | list[Corners] | list[FrameHealth], one: Image | Corners | FrameHealth
    ) -> None:
        with self._lock:
            several.append(one)  # type: ignore[arg-type]
            self._told = ""
            if self._count() >= min(self._wanted.of(self._step), MOST_FRAMES):
                self._advance()

    def _advance(self) -> None:
        """To the next step that takes something. Caller holds the lock, or is the only one."""
        order: Sequence[Step] = list(Step)
        left = order[order.index(self._step) + 1 :]
        self._step = next((step for step in left if step is Step.DONE or self._wanted.of(step)), Step.DONE)
        self._taking = self._wanted.by_itself or self._step is Step.PARTS
        self._told = ""

    def _count(self) -> int:
        taken = self._taken
        counts = {Step.FLAT: len(taken.flat), Step.BOARD: len(taken.corners), Step.PARTS: len(taken.parts)}
        return counts.get(self._step, 0)

    def _is_another(self, corners: Corners) -> bool:
        """Whether the board is held in a way that has not been taken yet."""
        with self._lock:
            size = self._size or (1, 1)
            known = [_held(one, size) for one in self._taken.corners]
        held = _held(corners, size)
        return all(float(np.abs(held - other).max()) > _MOVED_SHARE for other in known)

    def _is_of_one_size(self, image: Image) -> bool:
        size = (image.width_px, image.height_px)
        with self._lock:
            self._size = self._size or size
            fits = self._size == size
        if not fits:
            self._tell(f"a frame of {size[0]} × {size[1]} px among others of {self._size}: leave the camera as it is")
        return fits

    def _tell(self, words: str) -> None:
        with self._lock:
            self._told = words


def _held(corners: Corners, size: tuple[int, int]) -> np.typing.NDArray[np.float64]:
    """How the board is held, in shares of the picture: its middle, its extent, and how its corners lean."""
    px = corners.px / max(size)
    spread = px - px.mean(axis=0)
    lean = float((spread[:, 0] * spread[:, 1]).mean() / max(1e-9, float(spread.std(axis=0).prod()))) / 4
    return np.array([*px.mean(axis=0), *spread.std(axis=0) * 2, lean])
