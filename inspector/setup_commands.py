"""`inspector camera setup` and `board`: commissioning a camera, and the board for it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from inspector.errors import ConfigError, FrameError
from inspector.settings import load_line_file, parse_address

if TYPE_CHECKING:
    from inspector.cameras.sources.source import Source
    from inspector.commissioning.session import Session
    from inspector.imaging.calibration.board import Board
    from inspector.part import Image

out = Console()
# A camera holds frames for so long: looking at one for a reference takes some 50 ms.
_PATIENCE_MS = 1000

BoardSize = Annotated[str, typer.Option("--board", metavar="COLUMNSxROWS", help="Squares of the board.")]
Square = Annotated[float, typer.Option(help="Side of a square in mm: measure it.")]
Tolerance = Annotated[float, typer.Option(help="How far two corners may be from where they should be, in mm.")]


def camera_setup(
    line_file: Annotated[Path, typer.Argument(help="The line file, with [camera.NAME].", show_default=False)],
    camera: Annotated[str, typer.Option(help="The camera that is commissioned.")],
    by: Annotated[str, typer.Option(help="Who does it; goes on record.")],
    folder: Annotated[Path | None, typer.Option("--out", help="New folder.  [default: references/CAMERA-DATE]")] = None,
    parts: Annotated[int, typer.Option(min=20, max=512, help="Frames of good parts.")] = 60,
    boards: Annotated[int, typer.Option(min=0, max=100, help="Pictures of the board; 0: no scale.")] = 0,
    flat: Annotated[int, typer.Option(min=0, max=256, help="Frames of an even target; 0: no flat field.")] = 0,
    board: BoardSize = "11x8",
    square_mm: Square = 15.0,
    tolerance_mm: Tolerance = 0.2,
    height_mm: Annotated[float, typer.Option(help="How far parts may lie above or below the board, in mm.")] = 0.0,
    page: Annotated[str, typer.Option(help="Address of the page, on this machine; empty: no page.")] = "127.0.0.1:8099",
    by_itself: Annotated[bool, typer.Option(help="Ask for nothing: take the frames in order as they come.")] = False,
) -> None:
    """Commission a camera: exposure and focus live, flat field, lens and scale, a reference of good parts, and a report."""
    from inspector.commissioning.leave import REPORT, leave
    from inspector.commissioning.page import Page
    from inspector.commissioning.session import Session, Wanted

    settings = load_line_file(line_file)
    if camera not in settings.file.camera:
        known = ", ".join(settings.file.camera) or "none"
        raise ConfigError(
            f"{line_file} has no table [camera.{camera}] (it has {known}): say there where its frames come from"
        )
    start = datetime.now(UTC)
    target = folder or settings.resolve(f"references/{camera}-{start:%Y-%m-%d}")
    if target.exists() and any(target.iterdir()):
        raise ConfigError(f"{target} is there already: name another folder with --out")
    about = read_board(board, square_mm, tolerance_mm)
    table = settings.file.camera[camera]
    wanted = Wanted(flat, boards, parts, by_itself)
    session = Session(wanted, about, height_tolerance_mm=height_mm, corrected=table.correct)
    source = _source(table.source, table.options(settings.resolve, _PATIENCE_MS))
    with ExitStack() as stack:
        link = ""
        if page:
            address = parse_address(page)
            shown = Page(session, camera, address.host, address.port)
            stack.callback(shown.close)
            link = shown.link
        source.open()
        stack.callback(source.close)
        _commission(session, _images(source), camera, link, by_itself)
        description = source.describe()
    end = datetime.now(UTC)
    outcome = session.outcome(start, end)
    made = leave(outcome, target, camera, description, end, by)
    _tell(made.label, target, camera, outcome, target / REPORT)


def camera_board(
    file: Annotated[Path, typer.Argument(help="Where it goes: FILE.png and FILE.pdf are written.")],
    board: BoardSize = "11x8",
    square_mm: Square = 15.0,
    paper: Annotated[str, typer.Option(help="A3, A4, A5 or A6.")] = "A4",
) -> None:
    """Draw the ChArUco board for `camera setup`, to be printed at 100 %."""
    from inspector.imaging.calibration.board import print_board

    about = read_board(board, square_mm, 0.2)
    for ending, data in print_board(about, paper).items():
        path = file.with_suffix(ending)
        try:
            path.write_bytes(data)
        except OSError as error:
            raise ConfigError(f"{path} cannot be written ({error.strerror}): name another") from error
        out.print(f"{path}: {about.name} on {paper}", markup=False, highlight=False, soft_wrap=True)
    out.print(
        "Print at 100 %, glue it onto something flat, measure the line below it, and give --square-mm what a square then has.",
        markup=False,
        soft_wrap=True,
    )


def read_board(board: str, square_mm: float, tolerance_mm: float) -> Board:
    """ "11x8" and a size as a board. Raises ConfigError."""
    from inspector.imaging.calibration.board import Board

    columns, cross, rows = board.lower().partition("x")
    if not (cross and columns.isdigit() and rows.isdigit() and len(columns + rows) <= 6):
        raise ConfigError(f'--board is "{board}", expected COLUMNSxROWS, such as 11x8')
    return Board(int(columns), int(rows), square_mm, tolerance_mm=tolerance_mm)


def _source(kind: str, options: dict[str, object]) -> Source:
    from inspector.cameras.sources.registry import make_source

    return make_source(kind, options)


def _images(source: Source) -> Iterator[Image | None]:
    """What the source gives, decoded; None while it gives nothing, or what cannot be decoded."""
    from inspector.cameras.sources.source import Taken
    from inspector.imaging.decode import DecodeLimits, decode

    for grab in source.grabs():
        if not isinstance(grab, Taken):
            yield None
            continue
        try:
            # Pixels of their own: what is kept must not hold a buffer that the camera's driver wants back.
            yield decode(replace(grab.frame, data=bytes(grab.frame.data)), DecodeLimits())
        except FrameError as error:
            out.print(f"a frame is left out: {error}", style="yellow", markup=False, soft_wrap=True)
            yield None


def _commission(session: Session, images: Iterator[Image | None], camera: str, link: str, by_itself: bool) -> None:
    """Feed the session until it is done, and show it. Raises ConfigError if the source ends before."""
    from rich.live import Live

    from inspector.commissioning.screen import screen

    if not by_itself and sys.stdin.isatty():
        threading.Thread(target=_listen, args=(session,), name="keys", daemon=True).start()
    elif not by_itself and not link:
        raise ConfigError("nobody can say when to go on: run it in a terminal, with a page, or --by-itself")
    with Live(console=out, auto_refresh=False, transient=True) as live:
        for image in images:
            if image is not None:
                session.take(image)
            live.update(screen(session.view(), camera, link), refresh=True)
            if session.is_done:
                return
    view = session.view()
    raise ConfigError(
        f"the camera gave no more frames at step {view.step.value} ({view.taken} of {view.wanted} taken"
        f"{'; ' + view.told if view.told else ''}): let it go on, or ask for fewer"
    )


def _listen(session: Session) -> None:
    """Enter goes on, "s" and Enter skips."""
    for line in sys.stdin:
        (session.skip if line.strip().lower() == "s" else session.go_on)()


def _tell(label: str, target: Path, camera: str, outcome: object, report: Path) -> None:
    from inspector.commissioning.screen import summary_lines
    from inspector.commissioning.session import Outcome

    assert isinstance(outcome, Outcome)
    out.print(f"reference {label} in {target}", markup=False, highlight=False, soft_wrap=True)
    for line in summary_lines(outcome):
        out.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)
    out.print(f"report: {report}", markup=False, highlight=False, soft_wrap=True)
    out.print(f'Name it in the line file: [health.{camera}] reference = "{target}"', markup=False, soft_wrap=True)
