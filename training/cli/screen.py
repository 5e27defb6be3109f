"""What every command shows alike: plain text, bars that move, the bundle that was made."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from training.data.samples import printable
from training.progress import Progress as ProgressOfWork
from training.progress import silent

if TYPE_CHECKING:
    from inspector.inference.bundle import Bundle
    from training.export import Parity

console = Console()


def say(text: str, *, error: bool = False) -> None:
    """Print plain text: file names may hold what rich would take for markup."""
    Console(stderr=error).print(text, markup=False, highlight=False, soft_wrap=True)


class Bars:
    """Shows one bar per stage; is the `Progress` that the work reports to."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage)
        self._bars.update(self._tasks[stage], completed=done, total=total)


@contextmanager
def progress_bars(
    interrupted: str = "cancelled; nothing was left half-written", *, shown: bool = True
) -> Iterator[ProgressOfWork]:
    """Bars on standard error for as long as the block runs; an interrupt says what it left, as `interrupted` does.

    Not `shown`, nothing is said at all.
    """
    if not shown:
        yield silent
        return
    columns = (TextColumn("{task.description:26}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    try:
        with Progress(*columns, console=Console(stderr=True)) as bars:
            yield Bars(bars)
    except KeyboardInterrupt:
        say(interrupted, error=True)
        raise


def bundle_view(bundle: Bundle, parity: Parity, out: Path) -> RenderableType:
    """The bundle that an export made, and how far its graph is from the fitted model."""
    from training.tables import facts_view

    facts = {
        "parity       ": f"torch and ONNX Runtime differ by {parity.score:.1e} of a score on {parity.images} images"
    }
    if (found := parity.reduced) is not None:
        facts["verdicts     "] = (
            f"{found.flips} of {found.named} get another verdict than from the float32 graph "
            f"({found.low:.1%} to {found.high:.1%} with 95 % confidence); scores differ by {found.rms:.1%} (rms)"
        )
        facts["stays float  "] = "; ".join(parity.kept_float) or "nothing that could be converted"
    return facts_view({**facts, "bundle": f"{bundle.label} in {printable(str(out))}"})
