"""The evaluation page and its JSON: what they say, that nothing gets in or out, and that thin data is told as thin."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from training_kinds import SMALL
from training_line import Line
from training_pictures import mark, part, save, write_parts

from inspector.errors import ConfigError, DataError
from inspector.inference.bundle import Bundle
from training import cli
from training.cli.screen import Bars, console
from training.data.layouts import open_dataset
from training.data.splits import Role, Split, SplitEntry, write_split
from training.evaluate import evaluate
from training.export import export_bundle
from training.fit import FitPlan, fit
from training.report.build import Plan, Report, build_report
from training.report.page import check_can_write, evaluation_page
from training.tables import evaluation_view

QUICK = Plan(threads=1, latency_runs=3)
HOSTILE_CLASS = "<img src=x onerror=alert(1)> $x^{"
HOSTILE_FILE = "<script>alert(1)<"


class _Seen(HTMLParser):
    """What a browser would make of a page: tags, attributes, and text outside of style."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] != "style":
            self.text += data + " "


def _read(page: str) -> _Seen:
    seen = _Seen()
    seen.feed(page)
    seen.text = " ".join(seen.text.split())
    return seen


def _hostile(root: Path) -> Path:
    """Good parts, two defect classes with masks, one with a hostile name, and an image with one."""
    write_parts(root, good=12, defects={"blot": 6, HOSTILE_CLASS: 3})
    save(root / HOSTILE_CLASS / f"{HOSTILE_FILE}.png", part(77, defect=True))
    save(root / "good" / f"{HOSTILE_FILE}.png", part(78, defect=True))
    for index in range(6):
        mask = np.zeros((64, 64), np.uint8)
        mask[20 : 22 + 3 * index, 20:30] = 255
        save(root / "ground_truth" / "blot" / f"{index:03d}_mask.png", mask)
    return root


@pytest.fixture(scope="module")
def told(fitted_line: Line, tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, str]:
    root = _hostile(tmp_path_factory.mktemp("hostile") / "data")
    report = build_report(fitted_line.bundle, open_dataset(str(root)), None, replace(QUICK, mm_per_px=0.5))
    return report, evaluation_page(report)


def test_the_page_loads_nothing_and_runs_nothing(told: tuple[Report, str]) -> None:
    seen = _read(told[1])
    assert "script" not in seen.tags
    assert not {"iframe", "link", "object", "embed", "base", "form"} & set(seen.tags)
    assert not [name for name, _ in seen.attributes if name.startswith("on")]
    addresses = [value for name, value in seen.attributes if name in ("src", "href", "xlink:href", "action")]
    assert addresses
    assert all(value.startswith(("data:image/jpeg;base64,", "#")) for value in addresses)
    assert not re.search(r"@import|url\((?!#)", told[1])
    policy = [value for name, value in seen.attributes if name == "content" and "-src" in value]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_hostile_names_are_shown_as_text(told: tuple[Report, str]) -> None:
    seen = _read(told[1])
    assert HOSTILE_CLASS in seen.text
    assert HOSTILE_FILE in seen.text
    assert HOSTILE_FILE not in told[1]


def test_ids_in_the_page_are_unique_and_what_is_referred_to_is_there(told: tuple[Report, str]) -> None:
    seen = _read(told[1])
    ids = [value for name, value in seen.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    referred = {value[1:] for name, value in seen.attributes if name in ("href", "xlink:href")}
    referred |= set(re.findall(r"url\(#([^)]*)\)", told[1]))
    assert referred <= set(ids)


SECTIONS = [
    pytest.param("of defective parts pass", id="escapes on top"),
    pytest.param("Did it hold?", id="whether the promise held"),
    pytest.param("name, signature", id="a place to sign"),
    pytest.param("Clopper-Pearson", id="the kind of interval"),
    pytest.param("bootstrap samples of whole parts", id="how the bands were made"),
    pytest.param("AUPRO", id="pixel figures"),
    pytest.param("length of the defect, mm", id="sizes in mm where a scale is given"),
    pytest.param("Time to a verdict", id="latency"),
    pytest.param("digest of the data", id="data"),
    pytest.param("those first that looked worst", id="false rejects as pictures"),
]


@pytest.mark.parametrize("words", SECTIONS)
def test_the_page_has(told: tuple[Report, str], words: str) -> None:
    assert words in _read(told[1]).text


def test_the_json_has_what_the_page_has(told: tuple[Report, str], tmp_path: Path) -> None:
    from training.report.page import write_json

    write_json(tmp_path / "r.json", told[0].to_json())
    read = json.loads((tmp_path / "r.json").read_text(), parse_constant=lambda name: pytest.fail(f"{name} in JSON"))
    assert read["counts"]["false_rejects"]["parts"]["total"] == 13
    assert read["counts"]["escapes"]["images"]["total"] == 10
    assert len(read["images"]) == 23
    assert read["masks"]["length"]["sizes"] == pytest.approx(
        [0.5 * np.hypot(10, 2 + 3 * index) for index in range(6)], rel=1e-6
    )
    assert read["masks"]["pixels"]["without_mask"] == 4
    assert read["curves"]["roc"]["area"] == pytest.approx(read["auroc"])
    assert read["latency"]["providers"][0]["runs"] == 3
    assert read["summary"]["promise"] == told[0].basis.statement


def _no_masks(root: Path) -> None:
    write_parts(root, good=4, defects={"blot": 2})


def _good_only(root: Path) -> None:
    write_parts(root, good=3)


def _defects_only(root: Path) -> None:
    write_parts(root, good=0, defects={"blot": 3})


def _one_image(root: Path) -> None:
    write_parts(root, good=1)


def _wrong_masks(root: Path) -> None:
    write_parts(root, good=2, defects={"blot": 3})
    save(root / "ground_truth" / "blot" / "000_mask.png", np.full((10, 10), 255, np.uint8))
    save(root / "ground_truth" / "blot" / "001_mask.png", np.zeros((64, 64), np.uint8))
    (root / "ground_truth" / "blot" / "002_mask.png").write_bytes(b"no picture")


def _one_broken(root: Path) -> None:
    write_parts(root, good=2, defects={"blot": 1})
    (root / "good" / "broken.png").write_bytes(b"")


THIN = [
    pytest.param(_no_masks, "Masks give the sizes", id="no masks"),
    pytest.param(_good_only, "How many defective parts would pass is not known", id="good only"),
    pytest.param(_good_only, "need good and defective parts", id="no ROC of good parts alone"),
    pytest.param(_defects_only, "no good part was judged", id="defects only"),
    pytest.param(_one_image, "1 part judged, shown by 1 image", id="one image"),
    pytest.param(_wrong_masks, "the mask is 10 × 10 px, its image 64 × 64", id="a mask of another size"),
    pytest.param(_wrong_masks, "the mask marks nothing", id="an empty mask"),
    pytest.param(_wrong_masks, "Masks give the sizes", id="no usable mask at all"),
    pytest.param(_one_broken, "1 image could not be judged (UNKNOWN)", id="an unreadable file"),
    pytest.param(_one_broken, "the file is empty", id="why it is unreadable"),
]


@pytest.mark.parametrize(("write", "says"), THIN)
def test_thin_data_is_told_as_thin(fitted_line: Line, tmp_path: Path, write: Callable[[Path], None], says: str) -> None:
    write(tmp_path)
    page = evaluation_page(
        build_report(fitted_line.bundle, open_dataset(str(tmp_path)), None, replace(QUICK, latency_runs=0))
    )
    assert says in _read(page).text
    assert "nan" not in _read(page).text


def test_scores_that_are_no_numbers_are_unknown_and_drawn_nowhere(
    fitted_line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from inspector.inference import engine

    infer = engine.Model.infer

    def broken(self: engine.Model, batch: np.ndarray) -> list:
        return [replace(scores, score=float("nan")) for scores in infer(self, batch)]

    monkeypatch.setattr(engine.Model, "infer", broken)
    write_parts(tmp_path, good=2, defects={"blot": 2})
    report = build_report(fitted_line.bundle, open_dataset(str(tmp_path)), None, QUICK)
    assert report.counts.unknown.images.count == 4
    assert (report.counts.escapes.parts.count, report.counts.false_rejects.parts.count) == (0, 0)
    assert "No image could be scored" in _read(evaluation_page(report)).text


def test_no_readable_image_at_all_is_an_error(fitted_line: Line, tmp_path: Path) -> None:
    write_parts(tmp_path, good=1)
    (tmp_path / "good" / "000.png").write_bytes(b"x")
    with pytest.raises(DataError, match="none of the 1 images"):
        build_report(fitted_line.bundle, open_dataset(str(tmp_path)), None, QUICK)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_a_scale_must_be_one(scale: float) -> None:
    with pytest.raises(ConfigError, match="mm per pixel"):
        Plan(mm_per_px=scale)


def test_the_split_says_which_parts_are_new(fitted_line: Line) -> None:
    report = build_report(
        fitted_line.bundle, fitted_line.dataset, fitted_line.outcome.split, replace(QUICK, latency_runs=0)
    )
    assert report.data.new_to_model is True
    assert "file by file" in report.data.statement
    without = build_report(fitted_line.bundle, fitted_line.dataset, None, replace(QUICK, latency_runs=0))
    assert without.data.new_to_model is False
    assert "flatter the bundle" in without.data.statement
    unlisted = build_report(_unlisted(fitted_line), fitted_line.dataset, None, replace(QUICK, latency_runs=0))
    assert unlisted.data.new_to_model is False
    assert "all of them" in unlisted.data.statement


def _unlisted(line: Line) -> Bundle:
    """The bundle as one that does not list its images."""
    return replace(line.bundle, manifest=replace(line.bundle.manifest, image_list=""))


def test_a_copy_of_a_fitted_part_among_the_test_parts_is_found(fitted_line: Line, tmp_path: Path) -> None:
    """Someone moved images about after the split: the same picture now fits and tests."""
    write_parts(tmp_path, good=6)
    save(tmp_path / "good" / "copy.png", part(0))
    roles = [Role.FIT if number < 3 else Role.TEST for number in range(6)]
    entries = [SplitEntry(f"good/{n:03d}.png", "good", n, role) for n, role in enumerate(roles)]
    entries.append(SplitEntry("good/copy.png", "good", 9, Role.TEST))
    split = Split(tmp_path, 0, fitted_line.bundle.manifest.dataset_digest, tuple(entries))
    report = build_report(_unlisted(fitted_line), open_dataset(str(tmp_path)), split, replace(QUICK, latency_runs=0))
    assert report.data.shared == (("good/copy.png", "good/000.png"),)
    assert report.data.new_to_model is False


def test_parts_of_a_split_by_lots_are_parts(fitted_line: Line) -> None:
    split = fitted_line.outcome.split
    lots = replace(split, entries=tuple(replace(entry, group=0) for entry in split.entries))
    judged = evaluate(fitted_line.bundle, fitted_line.dataset, lots).judged
    assert len({image.part for image in judged}) == len({entry.part for entry in split.of(Role.TEST)}) > 1


def _run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    import signal

    monkeypatch.setattr(sys, "argv", ["inspector-train", *map(str, arguments)])
    previous = signal.getsignal(signal.SIGTERM)
    try:
        cli.main()
    except SystemExit as done:
        return int(done.code or 0)
    finally:
        signal.signal(signal.SIGTERM, previous)
    return 0


def test_the_command_writes_page_and_json(
    fitted_line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_split(tmp_path / "split.json", fitted_line.outcome.split)
    out = ["--report", tmp_path / "new" / "r.html", "--json", tmp_path / "r.json", "--latency-runs", 0]
    data = fitted_line.dataset.root
    assert _run(monkeypatch, "evaluate", fitted_line.bundle.path, data, "--split", tmp_path / "split.json", *out) == 0
    assert "did it hold?" in capsys.readouterr().out
    assert "<h1>Evaluation of blots-1@" in (tmp_path / "new" / "r.html").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "r.json").read_text())["data"]["new_to_model"] is True


@pytest.mark.parametrize("stage", ["Reading images", "Judging images", "Drawing pictures", "Measuring latency"])
def test_ctrl_c_leaves_no_report(
    fitted_line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], stage: str
) -> None:
    report = Bars.__call__

    def interrupt(self: Bars, name: str, done: int, total: int) -> None:
        report(self, name, done, total)
        if name == stage:
            raise KeyboardInterrupt

    monkeypatch.setattr(Bars, "__call__", interrupt)
    arguments = [
        fitted_line.bundle.path,
        fitted_line.dataset.root,
        "--report",
        tmp_path / "r.html",
        "--latency-runs",
        1,
    ]
    assert _run(monkeypatch, "evaluate", *arguments) == 130
    assert list(tmp_path.iterdir()) == []
    assert "nothing was left half-written" in capsys.readouterr().err


def test_a_path_that_cannot_be_written_is_told_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path, says in ((tmp_path, "is a folder"), (tmp_path / "file" / "r.html", "no folder that may be written to")):
        with pytest.raises(DataError, match=says):
            check_can_write(path)
    check_can_write(tmp_path / "new" / "deep" / "r.html")
    assert not (tmp_path / "new").exists()


@pytest.fixture(scope="module")
def outlined(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Of a bundle that outlines two classes."""
    root = tmp_path_factory.mktemp("outlined")
    write_parts(root / "parts", good=10, defects={"blot": 5, "cut": 5})
    dataset = open_dataset(str(mark(root / "parts")))
    outcome = fit(dataset, FitPlan(64, 64, kind="segmentation", settings=SMALL["segmentation"]))
    bundle, _ = export_bundle(outcome.fitted, root / "bundle", "outlines-1")
    return build_report(bundle, dataset, None, replace(QUICK, latency_runs=0))


@pytest.mark.parametrize(
    ("says", "never", "reason"),
    [
        ("Not judged here: every verdict is by the score alone", "", "a recipe may limit lengths and areas as well"),
        (
            "With this bundle and its limit on the score, and none by length or area, of parts",
            "",
            "what is signed says so",
        ),
        (
            "They are of the evidence of any defect; how well the outlines by class",
            "",
            "AUPRO is not of the class outlines",
        ),
        ("the class that any of its cells is surest of", "to be its strongest class", "class scores are of cells"),
        ("in the cell where it was surest", "", "and so is what the reliability shows"),
        ("the probabilities are of cells", "", "and the figures of it"),
        ("mean highest probability of a cell", "mean probability of the class named", "in the plot too"),
    ],
)
def test_a_page_of_a_model_that_outlines_says_what_its_scores_are(
    outlined: Report, told: tuple[Report, str], says: str, never: str, reason: str
) -> None:
    text = _read(evaluation_page(outlined)).text
    assert says in text, reason
    assert not never or never not in text, reason
    assert says not in _read(told[1]).text, "a model of whole images keeps its words"


def test_the_heat_map_of_a_model_that_outlines_is_evidence_of_a_defect(
    outlined: Report, told: tuple[Report, str]
) -> None:
    escape = next(picture for picture in told[0].escapes + told[0].false_rejects)
    text = _read(evaluation_page(replace(outlined, escapes=(escape,)))).text
    assert "bright where the evidence of any defect is strong" in text
    assert "bright where it is unlike good parts" in _read(told[1]).text


def test_the_command_tells_that_lengths_and_areas_are_not_judged(outlined: Report, told: tuple[Report, str]) -> None:
    for report, is_told in ((outlined, True), (told[0], False)):
        with console.capture() as shown:
            console.print(evaluation_view(report))
        assert ("lengths and areas" in shown.get()) is is_told
