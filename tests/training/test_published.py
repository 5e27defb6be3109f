"""What a published split does to the defective parts is told before and after a fit, and false alarms are notes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from training_kinds import SMALL
from training_pictures import exposure, part, save

from training.data.layouts import open_dataset
from training.data.published import marks_before_the_fit, marks_in_a_split
from training.data.reading import Preparation
from training.data.report import DataReport, report
from training.data.samples import Sample
from training.data.splits import Role, SplitShares, make_split
from training.data.survey import survey
from training.fit import FitPlan, fit
from training.tables import fit_view, report_view


def _shown(view: object) -> str:
    console = Console(width=400)
    with console.capture() as shown:
        console.print(view)
    return " ".join(shown.get().split())


def _samples(rows: dict[str, tuple[int, int]]) -> list[Sample]:
    """Different parts by label: so many marked as test, and so many others."""
    return [
        Sample(f"{label}-{n}", label, published_split="test" if n < marked else "train")
        for label, (marked, others) in rows.items()
        for n in range(marked + others)
    ]


@pytest.mark.parametrize(
    ("rows", "says", "few", "reason"),
    [
        ({"good": (0, 9)}, "", False, "no defect, nothing to say"),
        ({"good": (4, 9), "cut": (0, 9)}, "", False, "good marks alone take no defective part"),
        ({"good": (4, 9), "cut": (9, 0)}, "", False, "all are marked, as in MVTec AD: they are dealt"),
        ({"good": (0, 9), "cut": (12, 30)}, "12 of 42 parts of cut", False, "a test set that says something"),
        ({"good": (0, 9), "cut": (1, 30)}, "So 1 defective part is left to test on, and fewer than 10", True, "one"),
        ({"cut": (1, 20), "dent": (0, 5)}, "1 of 21 parts of cut, 0 of 5 parts of dent", True, "each class is counted"),
        ({"cut": (12, 20), "dent": (0, 5)}, "So nothing tests for dent. Mark more", True, "a class that nothing tests"),
    ],
)
def test_what_marks_do_is_said(rows: dict[str, tuple[int, int]], says: str, few: bool, reason: str) -> None:
    samples = _samples(rows)
    parts = range(len(samples))
    learns = make_split(
        [*samples, *_samples({"good": (0, 9)})], range(len(samples) + 9), SplitShares(defects_to_fit=0.6), 0
    )
    for marks in (marks_before_the_fit(samples, parts), marks_in_a_split(samples, parts, learns[: len(samples)])):
        assert (marks is not None) is bool(says), reason
        if marks is not None:
            assert says in marks.text, reason
            assert marks.leave_few is few, reason
            assert ("take the marks away" in marks.text) is few, "the next step"


@pytest.mark.parametrize(
    ("roles", "says"),
    [
        ([Role.TEST, Role.FIT, Role.FIT], "All the other defective parts fit the model"),
        ([Role.TEST, Role.CALIBRATION, Role.CALIBRATION], "All the other defective parts set its limit"),
        ([Role.TEST, Role.FIT, Role.CALIBRATION], "All the other defective parts fit the model or set its limit"),
        ([Role.TEST, Role.TEST, Role.TEST], ""),
    ],
)
def test_what_became_of_the_others_is_said(roles: Sequence[Role], says: str) -> None:
    marks = marks_in_a_split(_samples({"cut": (1, 2)}), range(3), roles)
    assert says in ("" if marks is None else marks.text)
    assert (marks is None) is not says


def _one_marked(root: Path) -> Path:
    lines = ["image,label,split"]
    for number in range(20):
        save(root / f"{number:02}.png", part(number, defect=number >= 12))
        lines.append(f"{number:02}.png,{'blot' if number >= 12 else 'good'},{'test' if number == 12 else ''}")
    (root / "labels.csv").write_text("\n".join(lines))
    return root


def _report(root: Path) -> DataReport:
    return report(survey(open_dataset(str(root)), Preparation(1, 1, 1)))


ONE_MARKED = "1 of 8 parts of blot"


def test_one_marked_defect_is_told_before_the_fit(tmp_path: Path) -> None:
    shown = _shown(report_view(_report(_one_marked(tmp_path))))
    assert "1 published test sets with few defective parts: 12.png: the published split marks" in shown
    assert ONE_MARKED in shown
    assert "So 1 defective part is left to test on" in shown


@pytest.mark.parametrize(("kind", "is_told"), [("classifier", True), ("memory-bank", False)])
def test_one_marked_defect_is_told_by_a_fit_that_learns_from_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str, is_told: bool
) -> None:
    told_at: list[str] = []

    def progress(stage: str, done: int, total: int) -> None:
        if caplog.records and not told_at:
            told_at.append(stage)

    with caplog.at_level(logging.WARNING, logger="training.fit"):
        outcome = fit(
            open_dataset(str(_one_marked(tmp_path))), FitPlan(64, 64, kind=kind, settings=SMALL[kind]), progress
        )
    counts = {role: labels.get("blot", 0) for role, labels in outcome.split.counts().items()}
    assert counts == ({"fit": 7, "calibration": 0, "test": 1} if is_told else {"fit": 0, "calibration": 0, "test": 8})
    assert (f"by the published split {ONE_MARKED} test the model" in _shown(fit_view(outcome))) is is_told
    assert [ONE_MARKED in record.message for record in caplog.records] == ([True] if is_told else [])
    assert told_at == (["Looking at images"] if is_told else []), "before the long work"


def test_parts_of_one_design_and_takes_of_one_part_are_notes(tmp_path: Path) -> None:
    for number in range(24):
        save(tmp_path / "good" / f"{number:02}.png", part(number))
    save(tmp_path / "good" / "again.png", exposure(part(3), 0.9, 1))
    found = _report(tmp_path)
    crowd = replace(found, problems=(*found.problems, *_crowded(tmp_path / "crowd").problems))
    shown = _shown(report_view(crowd))
    assert "Note: 1 part is shown by several images that look alike or are named so, and count once: 2 images:" in shown
    assert shown.count("Note, pictures that look like twenty others or more: ") == 1
    assert "the first of 120 of 120 pictures" in shown
    assert "1 images that look like one part" not in shown
    assert "1 pictures that look like" not in shown


def _crowded(root: Path) -> DataReport:
    for number in range(120):
        save(root / "good" / f"{number:03}.png", exposure(part(number % 4), 1 - number / 1000, number % 3 - 1))
    return _report(root)


def test_one_look_under_two_labels_stays_a_warning(tmp_path: Path) -> None:
    for number in range(12):
        save(tmp_path / "good" / f"{number:02}.png", part(number))
    save(tmp_path / "blot" / "again.png", exposure(part(3), 0.9, 1))
    for label in ("cut", "dent"):
        save(tmp_path / label / "a.png", exposure(part(50), 0.9 if label == "cut" else 1.1, 0))
    shown = _shown(report_view(_report(tmp_path)))
    assert (
        "1 good and defective images that look like one part (kept for testing): blot/again.png ~ good/03.png" in shown
    )
    assert "1 images of one part under several defect classes: cut/a.png" in shown
