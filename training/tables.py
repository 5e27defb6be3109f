"""What the command line shows: rich tables of reports and results, made of plain text only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from inspector.inference.bundle import Bundle
from inspector.part import Verdict
from training.calibration.outlook import OddParts, Outlook
from training.calibration.recalibrate import Recalibration
from training.data.importers.unused import UNUSED
from training.data.report import DataReport
from training.data.samples import printable
from training.data.survey import Survey
from training.detection import Detection
from training.extend import Extension
from training.fit import FitOutcome
from training.models.kind import DoubtedLabel
from training.report.build import Report
from training.report.comparison import Comparison
from training.statistics import Rate

_SHOWN = 5


def rate_text(rate: Rate, counted: str = "images") -> str:
    """ "3 of 120 = 2.5 % (0.5 to 7.1 %)", with the 95 % interval."""
    if not rate.total:
        return f"no {counted}"
    return f"{rate.count} of {rate.total} = {rate.value:.1%} ({rate.low:.1%} to {rate.high:.1%})"


def evaluation_view(report: Report) -> RenderableType:
    """Verdicts by label, with escapes and false rejects by part, and what a manager signs or refuses."""
    table = Table("label", "images", "PASS", "REJECT", "UNKNOWN", "wrong, of parts", title=report.bundle)
    for label, counts in report.counts.verdicts.items():
        numbers = [str(counts[verdict]) for verdict in Verdict]
        wrong = rate_text(report.counts.wrong_by_label[label].parts)
        table.add_row(Text(printable(label)), str(sum(counts.values())), *numbers, wrong)
    words, masks = report.summary, report.masks
    facts = {
        "judged": f"{words.judged} {words.unknown}".strip(),
        "escapes": rate_text(report.counts.escapes.parts),
        "false rejects": rate_text(report.counts.false_rejects.parts),
        "limit": f"{report.limit:.4g}. {words.promise}",
        **({"lengths and areas": words.dimensions} if words.dimensions else {}),
        words.question.lower(): words.held,
        "new to the model?": words.data,
        "AUROC": _auroc_text(report.evaluation.auroc),
    }
    if masks.pixels is not None and masks.pixels.aupro is not None:
        facts["AUPRO"] = f"{masks.pixels.aupro:.4f}, pixel AUROC {masks.pixels.auroc:.4f}"
    if masks.length.sizes:
        facts["a90, a90/95"] = _size_text(masks.length, masks.unit)
    facts["rates"] = "of parts, wrong if any image of theirs is, with 95 % intervals (Clopper-Pearson)"
    return Group(table, facts_view(facts))


def comparison_view(comparison: Comparison) -> RenderableType:
    """What differs between two bundles, and whether the difference can be shown."""
    table = Table(
        "of parts", "A", "B", "only A", "only B", "B - A, 95 %", "McNemar p", title="A and B on the same parts"
    )
    for paired in (comparison.escapes, comparison.false_rejects):
        spread = "–" if paired.interval is None else "{:+.1%} to {:+.1%}".format(*paired.interval)
        counts = [str(paired.only_first), str(paired.only_second)]
        table.add_row(
            paired.name, rate_text(paired.first), rate_text(paired.second), *counts, spread, f"{paired.p:.3g}"
        )
    facts = {
        "A": comparison.first.label,
        "B": comparison.second.label,
        "verdict": comparison.statement,
        "escapes": comparison.escapes.statement,
        "false rejects": comparison.false_rejects.statement,
        "AUROC": comparison.area.statement,
        "flips": f"{len(comparison.flips)} images are judged otherwise",
    }
    return Group(table, facts_view(facts))


def _size_text(detection: Detection, unit: str) -> str:
    given = [f"{value:.3g} {unit}" for value in (detection.a90, detection.a90_95) if value is not None]
    return "; ".join([*given, detection.remark] if detection.remark else given)


def fit_view(outcome: FitOutcome) -> RenderableType:
    """Images by role and label, the limit with its promise, and how it did on the test images."""
    counts = outcome.split.counts()
    table = Table("label", *counts, title="Images")
    for label in sorted({label for labels in counts.values() for label in labels}, key=lambda x: (x != "good", x)):
        table.add_row(Text(printable(label)), *(str(labels.get(label, 0)) for labels in counts.values()))
    test, fitted = outcome.test, outcome.fitted
    facts = {"left out": left_out} if (left_out := left_out_text(outcome.survey)) else {}
    if outcome.marks:
        facts["marked as test"] = outcome.marks
    facts |= {
        "input": str(outcome.size),
        "limit": f"{fitted.limits.score:.4g}. {fitted.basis.statement}",
        "oddest good": "; ".join(f"{printable(path)} ({score:.4g})" for path, score in outcome.oddest)
        + (
            ". They set the limit"
            if fitted.basis.cost is None
            else ". They and the defective parts weighed set the limit"
        )
        + ": look whether they are good",
        "false rejects": rate_text(test.false_rejects),
        "escapes": rate_text(test.escapes),
        "AUROC": _auroc_text(test.auroc),
        "taken for granted": fitted.basis.assumes,
    }
    if (odd := outcome.outlook.odd) is not None:
        facts["odd good parts"] = odd_parts_text(odd, fitted.limits.score)
    if outcome.doubts:
        facts["doubted labels"] = doubts_text(outcome.doubts)
    return Group(table, facts_view(facts), promises_view(outcome.outlook))


def doubts_text(doubts: Sequence[DoubtedLabel]) -> str:
    """The labels that a person should look at again, worst first."""
    paths = "; ".join(
        f"{printable(d.path)} ({printable(d.label)}, looks like {printable(d.says)} at {100 * d.probability:.0f} %)"
        for d in doubts[:_SHOWN]
    )
    more = f" and {len(doubts) - _SHOWN} more" if len(doubts) > _SHOWN else ""
    labels = "1 label is" if len(doubts) == 1 else f"{len(doubts)} labels are"
    return f"{labels} not what a model fitted without the image says: {paths}{more}. Look which is right, and fit again"


def left_out_text(seen: Survey) -> str:
    """What lies in the data set and was not fitted on; empty if all of it was."""
    said = [f"{len(seen.unreadable)} unreadable images"] if seen.unreadable else []
    notes = seen.dataset.notes
    if unlabelled := sum(note.kind in ("unlabelled", "label") for note in notes):
        said.append(f"{unlabelled} images without a label that can be used")
    unused = [note for note in notes if note.kind == UNUSED]
    said += [f"{printable(note.about)}: {note.reason.partition(';')[0]}" for note in unused[:_SHOWN]]
    if len(unused) > _SHOWN:
        said.append(f"{len(unused) - _SHOWN} more kinds of files")
    return f"{'; '.join(said)}. check-data says why" if said else ""


def odd_parts_text(odd: OddParts, limit: float) -> str:
    """What a person should decide about the good parts that are unlike the others."""
    count = len(odd.parts)
    paths = "; ".join(f"{printable(part.path)} ({part.score:.4g})" for part in odd.parts[:_SHOWN])
    more = f" and {count - _SHOWN} more" if count > _SHOWN else ""
    return (
        f"{count} score far above the rest: {paths}{more}. If they are not good, relabel them and fit again: the limit "
        f"would fall from {limit:.4g} to about {odd.limit_without:.4g}, and the defective parts that pass from "
        f"{rate_text(odd.escapes)} to {rate_text(odd.escapes_without)}. If they are good, parts like them will come again, and "
        "the limit is right"
    )


def promises_view(outlook: Outlook) -> RenderableType:
    """What each promise takes and costs."""
    title = f"Promises to choose from, each with {outlook.confidence:.0%} confidence (--false-reject-rate)"
    table = Table("false rejects up to", "limit", "it is", "defective parts that would pass", title=title)
    for option in outlook.options:
        kind = "guaranteed" if option.guaranteed else "an estimate"
        passed = rate_text(option.escapes, "defective parts")
        table.add_row(f"{option.false_reject_rate:.3g}", f"{option.limit:.4g}", kind, passed)
    return table


def recalibration_view(result: Recalibration) -> RenderableType:
    """The limit before and now, and what changed with it."""
    facts = {
        "limit": f"{result.bundle.manifest.limits.score:.4g}, before {result.old_limit:.4g}. {result.basis.statement}",
        "taken for granted": result.basis.assumes,
    }
    if (odd := result.outlook.odd) is not None:
        facts["odd good parts"] = odd_parts_text(odd, result.bundle.manifest.limits.score)
    if result.flipped:
        facts["golden images"] = "; ".join(map(str, result.flipped))
    facts["bundle"] = f"{result.bundle.label} in {printable(str(result.bundle.path))}"
    return Group(facts_view(facts), promises_view(result.outlook))


def extension_view(result: Extension, before: Bundle) -> RenderableType:
    """Each picture before and after, how much was added, and how to go back."""
    limit = result.bundle.manifest.limits.score
    table = Table("picture", "score before", "now", "verdict", title=f"Against the limit of {limit:.4g}")
    for picture in result.pictures:
        verdict = "PASS" if picture.after <= limit else "still REJECT: fit again with it among the good ones"
        table.add_row(Text(picture.file), f"{picture.before:.4g}", f"{picture.after:.4g}", verdict)
    done = f"{abs(result.patches)} patches {'added as' if result.patches > 0 else 'left out with'} addition {result.number}"
    checked = (
        f"{len(result.bundle.manifest.golden)} golden images and {result.checked} other defects keep their verdict"
    )
    facts = {
        "memory": done,
        "checked": checked,
        "go back": f"run {before.label} again, or extend --without {result.number}"
        if result.patches > 0
        else f"run {before.label} again",
        "bundle": f"{result.bundle.label} in {printable(str(result.bundle.path))}",
    }
    return Group(*([table] if result.pictures else []), facts_view(facts))


def facts_view(facts: Mapping[str, str]) -> RenderableType:
    """Names and what is to say of them, in two columns."""
    grid = Table.grid(padding=(0, 2))
    for name, text in facts.items():
        grid.add_row(name, Text(text))
    return grid


def _auroc_text(value: float | None) -> str:
    return "needs good and defective test images" if value is None else f"{value:.4f}"


def report_view(report: DataReport) -> RenderableType:
    """The data report, the worst first and long lists cut."""
    table = Table(show_header=False, title=Text(report.root))
    table.add_row("layout", report.layout)
    table.add_row("images", Text(_counts(report.labels)))
    table.add_row("masks", f"{report.masks}, and {len(report.mask_problems)} that look wrong")
    table.add_row("sizes", _counts(report.sizes))
    table.add_row("kinds", _counts(report.modes))
    table.add_row("parts", f"{report.parts}, of which {report.good_parts} good (images of one part count as one)")
    table.add_row("digest", report.digest)
    problems = {
        "cannot be read": [f"{path}: {reason}" for path, reason in report.unreadable],
        "masks that look wrong": [f"{path}: {reason}" for path, reason in report.mask_problems],
        "equal pictures under two labels (fit refuses these)": [" = ".join(x) for x in report.equal_under_two_labels],
        "good and defective images that look like one part (kept for testing)": [
            " ~ ".join(x[:4]) for x in report.good_like_defective
        ],
        "far darker or brighter than others of their label": [
            f"{path}: mean {value:.0f} of 255" for path, value in report.brightness_outliers
        ],
    }
    for problem in report.problems:
        if not problem.is_note:
            problems.setdefault(problem.kind, []).append(f"{problem.about}: {problem.text}")
    shown = [Text(line) for title, items in problems.items() for line in _cut(title, items)]
    return Group(table, *shown, *(Text(line) for line in _notes(report)))


def _notes(report: DataReport) -> Iterable[str]:
    """What is to be known of a data set and need not be wrong."""
    if count := report.parts_shown_again:
        parts = "1 part is" if count == 1 else f"{count} parts are"
        groups = "; ".join(_group_text(paths) for paths in report.largest_groups[:_SHOWN])
        more = f"; {count - _SHOWN} more" if count > _SHOWN else ""
        yield f"Note: {parts} shown by several images that look alike or are named so, and count once: {groups}{more}"
    for problem in report.problems:
        if problem.is_note:
            yield f"Note, {problem.kind}: {problem.about}: {problem.text}"


def _group_text(paths: Sequence[str]) -> str:
    return f"{len(paths)} images: {', '.join(paths[:3])}{' …' if len(paths) > 3 else ''}"


def _counts(counts: Mapping[str, int]) -> str:
    text = ", ".join(f"{count} {name}" for name, count in list(counts.items())[:_SHOWN])
    rest = len(counts) - _SHOWN
    return text + (f" and {rest} more" if rest > 0 else "")


def _cut(title: str, items: list[str]) -> Iterable[str]:
    if not items:
        return
    yield f"{len(items)} {title}:"
    yield from (f"  {item}" for item in items[:_SHOWN])
    if len(items) > _SHOWN:
        yield f"  … and {len(items) - _SHOWN} more (--json has all)"
