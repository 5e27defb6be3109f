"""The tables of README.md: rows with a target, and our models of good parts side by side with anomalib's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tests.benchmarks.rows import Row, shown
from tests.benchmarks.training.anomalies import AUROC, BY_PART, ESCAPES, bank
from tests.benchmarks.training.limits import default_limit
from tests.benchmarks.training.peers import peer
from tests.benchmarks.training.precisions import TILES
from tests.benchmarks.training.tasks import Bench, Target, Task, row_of
from tests.benchmarks.training.timing import FASTEST, live_tiles, verdicts_of

OURS = ("memory-bank", "fast-bank")
NONE = "–"


def tables(rows: Sequence[Row], bench: Bench) -> str:
    """Both, as Markdown. What was not measured is a dash."""
    return "\n".join([*_targets(rows), "", *_beside(bench), "", *_times(bench)]) + "\n"


def _targets(rows: Sequence[Row]) -> Iterator[str]:
    yield "| what | measured | target |"
    yield "|---|---|---|"
    for row in rows:
        if row.target:
            note = f" ({row.note})" if row.note else ""
            missed = ": missed" if row.holds is False else ""
            yield f"| {row.name} | {shown(row)}{note} | {row.target}{missed} |"


def _beside(bench: Bench) -> Iterator[str]:
    """By set and tool: AUROC, escapes where 1 % of good test images are rejected, and what the tool's own limit does."""
    yield "| set, tool | AUROC | escapes at 1 % false rejects | own limit: false rejects, escapes | from good parts only |"
    yield "|---|---|---|---|---|"
    for name in BY_PART:
        for kind in OURS:
            task = bank(name, kind)
            own = _limit(bench, default_limit(name, kind)) if kind == OURS[0] else NONE
            yield _line(bench, task.name, task, NONE, own)
        for model in ("padim", "patchcore"):
            task_of_peer = peer(model, name)
            blind = _limit(bench, peer(model, name, sees_defects=False)) if model == "padim" else NONE
            yield _line(bench, task_of_peer.name, task_of_peer, _limit(bench, task_of_peer), blind)


def _line(bench: Bench, name: str, task: Task, own: str, blind: str) -> str:
    area, escapes = (shown(row_of(bench, Target(task, figure))).strip() for figure in (AUROC, ESCAPES))
    return f"| {name} | {area} | {escapes} | {own} | {blind} |"


def _limit(bench: Bench, task: Task) -> str:
    """ "12 %, 34 %": good images rejected and defective images passed."""
    pairs = (("good images rejected", "good images"), ("defective images passed", "defective images"))
    values = [row_of(bench, Target(task, figure, of=of)).value for figure, of in pairs]
    return NONE if None in values else ", ".join(f"{value:.0%}" for value in values if value is not None)


def _times(bench: Bench) -> Iterator[str]:
    yield f"| {TILES}, tool | seconds to fit | MiB at most | ms for a verdict from a file |"
    yield "|---|---|---|---|"
    name = f"{OURS[0]}, from pictures to a live bundle"
    rows: list[tuple[str, list[tuple[Task, str]]]] = [
        (name, [(live_tiles(), "seconds"), (live_tiles(), "MiB at most"), (verdicts_of(OURS[0]), FASTEST)])
    ]
    for model in ("padim", "patchcore"):
        task = peer(model, TILES, timed=True)
        rows.append((task.name, [(task, figure) for figure in ("seconds to fit", "MiB at most", "ms for a file")]))
    for name, figures in rows:
        cells = (shown(row_of(bench, Target(task, figure))).strip() for task, figure in figures)
        yield f"| {name} | {' | '.join(cells)} |"
