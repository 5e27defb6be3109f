"""The demo's account: a verdict lost, doubled, invented or contradicted on any output is found and fails the run."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from inspector.errors import DataError
from inspector.part import Reason
from inspector.sim.demo.accounts import ShownPart, Told, count_agreeing, find_faults, latency, truth_table
from inspector.sim.demo.outputs import count_lines, read_camera, read_plc
from inspector.sim.demo.report import Run, Storage, faults_of, print_next_steps, print_report

PASS, REJECT, LATE = Reason.WITHIN_LIMITS, Reason.SCORE_ABOVE_LIMIT, Reason.DEADLINE_EXCEEDED
MS = 1_000_000


def _told(trigger: int, reason: Reason, time_ns: int = 0) -> Told:
    return Told(trigger, reason.verdict, reason, time_ns)


def _run() -> Run:
    """Four good parts, two defective ones; one false reject, one escape, all outputs of one mind."""
    labels = ["good", "good", "scratch", "good", "dent", "good"]
    bands = ["", "", "clearly visible", "", "barely visible", ""]
    reasons = [PASS, REJECT, REJECT, PASS, PASS, PASS]
    shown = [
        ShownPart(i, f"{i}.png", label, band) for i, (label, band) in enumerate(zip(labels, bands, strict=True), 1)
    ]
    sent = {i: i * 1000 * MS for i in range(1, 7)}
    database = [_told(i, reason) for i, reason in enumerate(reasons, 1)]
    return Run(
        shown=shown,
        sent_ns=sent,
        camera=[replace(one, time_ns=sent[one.trigger] + one.trigger * MS) for one in database],
        plc=[replace(one, time_ns=sent[one.trigger] + 10 * one.trigger * MS) for one in database],
        database=database,
        ejections={i: reason is not PASS for i, reason in enumerate(reasons, 1)},
        storage=Storage(rows=6, images=3, image_bytes=123_456),
        promise="false rejects at most 1 % with 95 % confidence, from 320 good parts",
        rate=20.0,
        poll_ms=2.0,
    )


def _report(run: Run) -> str:
    text = io.StringIO()
    print_report(run, faults_of(run), Console(file=text, width=140))
    return text.getvalue()


def test_nothing_told_of_nothing_sent_is_whole() -> None:
    assert find_faults([], {"camera reply": [], "PLC": [], "database": []}) == []


def test_run_of_one_mind_has_no_fault() -> None:
    assert faults_of(_run()) == []
    assert "exactly one verdict, the same on all outputs" in _report(_run())


def _without(told: Sequence[Told], trigger: int) -> list[Told]:
    return [one for one in told if one.trigger != trigger]


Change = Callable[[Sequence[Told]], list[Told]]
CHANGES: dict[str, tuple[str, Change]] = {
    "lost": ("lost", lambda told: _without(told, 4)),
    "all lost": ("lost", lambda told: []),
    "doubled with the same verdict": ("doubled", lambda told: [*told, told[3]]),
    "doubled with another verdict": ("doubled", lambda told: [*told, _told(4, LATE)]),
    "invented": ("invented", lambda told: [*told, _told(99, PASS)]),
    "another verdict": ("contradicted", lambda told: [*_without(told, 4), _told(4, REJECT)]),
    "same verdict for another reason": (
        "contradicted",
        lambda told: [Told(one.trigger, one.verdict, LATE) if one.trigger == 4 else one for one in told],
    ),
}


@pytest.mark.parametrize("output", ["camera", "plc", "database"])
@pytest.mark.parametrize(("kind", "change"), CHANGES.values(), ids=CHANGES.keys())
def test_broken_promise_on_any_output_is_found(output: str, kind: str, change: Change) -> None:
    run = _run()
    broken = replace(run, **{output: change(getattr(run, output))})
    faults = faults_of(broken)
    assert faults
    assert kind in {fault.kind for fault in faults}
    assert "exactly one verdict, the same" not in _report(broken)


@pytest.mark.parametrize(
    ("trigger", "ejected"), [(1, True), (2, False)], ids=["a PASS ejected", "a REJECT let through"]
)
def test_ejector_against_the_verdict_is_found(trigger: int, ejected: bool) -> None:
    run = _run()
    faults = faults_of(replace(run, ejections={**run.ejections, trigger: ejected}))
    assert [(fault.kind, fault.trigger) for fault in faults] == [("wrong ejection", trigger)]


def test_many_faults_are_counted_and_the_first_are_shown() -> None:
    shown = [ShownPart(i, f"{i}.png", "good") for i in range(1, 41)]
    run = replace(_run(), shown=shown, camera=[], plc=[], database=[], ejections={}, sent_ns={})
    text = _report(run)
    assert "trigger 1: lost" in text
    assert "and 108 more" in text, "3 outputs x 40 parts, 12 of them shown"


def test_trouble_of_a_process_is_shown_and_the_run_is_not_whole() -> None:
    run = replace(_run(), troubles=("the camera ended with status 1",))
    assert not run.whole
    assert "the camera ended with status 1" in _report(run)


@given(st.lists(st.sampled_from([PASS, REJECT, LATE]), max_size=20), st.data())
def test_losing_any_one_verdict_is_one_fault(reasons: list[Reason], data: st.DataObject) -> None:
    shown = [ShownPart(i, "", "good") for i in range(len(reasons))]
    told = [_told(i, reason) for i, reason in enumerate(reasons)]
    assert find_faults(shown, {"a": told, "b": told}) == []
    assert count_agreeing(shown, told, told) == len(reasons)
    if reasons:
        gone = data.draw(st.integers(0, len(reasons) - 1))
        faults = find_faults(shown, {"a": told, "b": _without(told, gone)})
        assert [(fault.kind, fault.trigger) for fault in faults] == [("lost", gone)]
        assert count_agreeing(shown, told, _without(told, gone)) == len(reasons) - 1


def test_truth_table_counts_each_group() -> None:
    (good, defective), classes, bands = truth_table(_run().shown, _run().database)
    assert (good.parts, good.passed, good.rejected, good.unknown) == (4, 3, 1, 0)
    assert good.wrong.rate == 0.25
    assert (defective.parts, defective.passed, defective.rejected) == (2, 1, 1)
    assert defective.wrong.rate == 0.5
    assert {one.group: one.wrong.rate for one in classes} == {"scratch": 0.0, "dent": 1.0}
    assert {one.group: one.wrong.rate for one in bands} == {"clearly visible": 0.0, "barely visible": 1.0}


def test_unknown_is_neither_escape_nor_false_reject() -> None:
    shown = [ShownPart(1, "", "good"), ShownPart(2, "", "dent")]
    whole, _, _ = truth_table(shown, [_told(1, LATE), _told(2, LATE)])
    assert [one.unknown for one in whole] == [1, 1]
    assert [one.wrong.rate for one in whole] == [0.0, 0.0]


def test_images_shown_again_add_no_confidence() -> None:
    once = [ShownPart(i, "", "dent") for i in range(1, 11)]
    twice = once + [ShownPart(i, "", "dent", again=True) for i in range(11, 21)]
    told = [_told(i, REJECT) for i in range(1, 21)]
    (_, first), _, _ = truth_table(once, told)
    (_, both), _, _ = truth_table(twice, told)
    assert both.rejected == 20
    assert both.wrong == first.wrong


def test_latency_by_nearest_rank() -> None:
    sent = {i: 1000 * MS for i in range(1, 1001)}
    told = [_told(i, PASS, 1000 * MS + i * MS) for i in range(1, 1001)]
    assert latency(sent, told) == replace(latency(sent, told), p50_ms=500.0, p99_ms=990.0, p999_ms=999.0, parts=1000)


def test_latency_of_nothing_is_not_a_number() -> None:
    none = latency({}, [])
    assert none.parts == 0
    assert math.isnan(none.p50_ms)


def test_report_holds_every_figure() -> None:
    text = _report(_run())
    for words in (
        "6 parts past the camera, 20 per second",
        "25.0 % (0.6–80.6)",
        "50.0 % (1.3–98.7)",
        "clearly visible",
        "scratch",
        "verdict at camera",
        "PLC agrees with the database on 6 of 6 parts; it ejected 2",
        "6 rows, 3 images (0.1 MB)",
        "from 320 good parts",
    ):
        assert words in text, words


def test_table_fits_into_a_narrow_terminal() -> None:
    text = io.StringIO()
    run = _run()
    shown = [ShownPart(i, "", "possibly-defective", "clearly visible") for i in range(1, 10_001)]
    many = replace(run, shown=shown, database=[_told(1, PASS)])
    print_report(many, [], Console(file=text, width=80))
    assert "100.0 % (2.5–100.0)" in text.getvalue()
    assert "possibly-defective" in text.getvalue()
    assert "…" not in text.getvalue(), "nothing is cut off"


def test_next_steps_name_the_files() -> None:
    text = io.StringIO()
    print_next_steps(
        Path("demo-run"), Path("demo-run/line.toml"), True, "inspector demo --web", Console(file=text, width=140)
    )
    assert "inspector demo --web" in text.getvalue()
    assert "inspector rejects demo-run/line.toml" in text.getvalue()
    assert "--data DIR" in text.getvalue()


def _write(path: Path, *entries: dict[str, object]) -> Path:
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return path


def test_plc_file_gives_results_and_ejections(tmp_path: Path) -> None:
    result = {"event": "result", "read_ns": 5, "sequence": 7, "trigger": 3, "verdict": "REJECT", "reason": REJECT.name}
    passed = {**result, "sequence": 8, "trigger": 4, "verdict": "PASS", "reason": PASS.name}
    log = read_plc(
        _write(
            tmp_path / "plc.jsonl",
            {"event": "connected"},
            result,
            {"event": "ejector", "sequence": 7, "action": "eject", "cause": "verdict"},
            passed,
            {"event": "ejector", "sequence": 8, "action": "eject", "cause": "stale heartbeat"},
            {"event": "lost", "count": 2, "before_sequence": 9},
            {"event": "summary", "results": 1},
        )
    )
    assert log.told == [_told(3, REJECT, 5), _told(4, PASS, 5)]
    assert log.ejections == {3: True}
    assert log.ejected_for_silence == 1
    assert log.lost == 2


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param('{"trigger": 1', id="torn"),
        pytest.param("[1, 2]\n", id="not an object"),
        pytest.param('{"event": "result"}\n', id="no fields"),
        pytest.param("\x00\xff\n", id="not text"),
    ],
)
@pytest.mark.parametrize("read", [read_camera, read_plc])
def test_unusable_results_are_a_data_error_or_no_results(
    read: Callable[[Path], object], text: str, tmp_path: Path
) -> None:
    path = tmp_path / "results.jsonl"
    path.write_bytes(text.encode("latin-1"))
    if not text:
        assert read(path).told == []  # type: ignore[attr-defined]
        return
    with pytest.raises(DataError, match=r"results\.jsonl"):
        read(path)


def test_missing_results_are_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="log beside it"):
        read_camera(tmp_path / "none.jsonl")


def test_lines_of_a_growing_file(tmp_path: Path) -> None:
    path = tmp_path / "growing"
    assert count_lines(path) == 0
    path.write_text("one\ntwo\nthr")
    assert count_lines(path) == 2
    assert count_lines(path, b"one") == 1
