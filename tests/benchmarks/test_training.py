"""The bench of training: what throws kept figures away, that it resumes, and what its rows say."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.rows import Row
from tests.benchmarks.training.__main__ import GROUPS
from tests.benchmarks.training.code import closure, code_digest
from tests.benchmarks.training.kept import Figures, Shelf, folder_digest
from tests.benchmarks.training.markdown import tables
from tests.benchmarks.training.place import LOOKED_AT, REGISTRY, Place, kind_code
from tests.benchmarks.training.tasks import Bench, Target, row_of
from training.data.input_size import parse_size
from training.models.registry import KINDS, model_kind, read_settings

TREE = {
    "house/__init__.py": "",
    "house/measure.py": "from typing import TYPE_CHECKING\n"
    "from house import registry\n"
    "if TYPE_CHECKING:\n    from house import page\n"
    "def measure():\n    from house.lazy import late\n    return late",
    "house/lazy.py": "late = 1\nif late > 1: raise ValueError(f'late: {late}')",
    "house/page.py": "colour = 'red'",
    "house/registry.py": "import house.models.bank\nimport house.models.other\n",
    "house/models/__init__.py": "",
    "house/models/bank/__init__.py": '"""A bank."""\nfrom house.models.bank.network import x',
    "house/models/bank/network.py": "import numpy\nx = 1  # one",
    "house/models/bank/weights.bin": "1",
    "house/models/bank/README.md": "good",
    "house/models/bank/plot.py": "plot = 1",
    "house/models/other/__init__.py": "y = 1",
}


def digest_of(root: Path, changes: dict[str, str]) -> str:
    """Digest of what decides a figure of the kind `bank` in a house with those files changed."""
    for name, text in (TREE | changes).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    measuring = closure(["house.measure"], without=["house.registry"], root=root)
    return code_digest(closure(["house.models.bank"], root=root) | measuring, root)


@pytest.mark.parametrize(
    ("name", "text", "changes", "reason"),
    [
        ("house/models/bank/network.py", "import numpy\nx = 2  # one", True, "the network computes otherwise"),
        ("house/models/bank/network.py", "import numpy\n\nx = 1  # two", False, "comments and layout compute nothing"),
        (
            "house/models/bank/__init__.py",
            '"""B."""\nfrom house.models.bank.network import x',
            False,
            "nor do docstrings",
        ),
        (
            "house/lazy.py",
            "late = 1\nif late > 2: raise ValueError(f'late: {late}')",
            True,
            "imported inside a function",
        ),
        ("house/lazy.py", "late = 1\nif late > 1: raise ValueError('oh')", False, "words of an error"),
        ("house/lazy.py", "late = 1\nif late > 1: raise KeyError(f'late: {late}')", True, "another error"),
        ("house/models/__init__.py", "import house.page", True, "packages run before their modules"),
        ("house/models/bank/weights.bin", "2", True, "data beside the code"),
        ("house/models/bank/README.md", "better", False, "words beside the code"),
        ("house/models/bank/plot.py", "plot = 2", False, "in the folder, but not imported"),
        ("house/models/other/__init__.py", "y = 2", False, "another kind, reached only through the registry"),
        ("house/registry.py", "import house.models.bank\n", False, "another kind is taken away"),
        ("house/page.py", "colour = 'blue'", False, "imported for type checkers only"),
    ],
)
def test_only_what_decides_a_figure_throws_it_away(
    tmp_path: Path, name: str, text: str, changes: bool, reason: str
) -> None:
    before, after = digest_of(tmp_path / "a", {}), digest_of(tmp_path / "b", {name: text})
    assert (before != after) == changes, reason


def test_an_unknown_module_is_an_error_rather_than_an_empty_digest(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match=r"no module house\.models\.bank"):
        closure(["house.models.bank"], root=tmp_path)


@pytest.mark.parametrize(
    ("roots", "there", "not_there"),
    [
        (
            ["training.models.memory_bank"],
            ["training.models.memory_bank.network", "training.backbones", "inspector.imaging.decode"],
            ["training.models.classifier", "training.report", "training.measure", "training.fit"],
        ),
        (["training.models.guided"], ["training.models.memory_bank.network"], ["training.models.guided.plot"]),
        (["training.measure"], ["training.data.splits", "training.statistics"], ["training.models.memory_bank"]),
    ],
)
def test_the_files_of_this_project_that_decide(roots: list[str], there: list[str], not_there: list[str]) -> None:
    found = closure(roots, without=(REGISTRY, *LOOKED_AT))
    assert found.issuperset(there)
    assert not found.intersection(not_there)


def test_every_kind_has_a_digest_of_its_own() -> None:
    digests = {name: kind_code(kind, "training.measure") for name, kind in KINDS.items()}
    assert len(set(digests.values())) == len(KINDS)


def test_a_folder_is_named_by_names_and_contents(tmp_path: Path) -> None:
    digests = []
    for number, (name, text) in enumerate([("a", "1"), ("a", "2"), ("b", "1")]):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / name).write_text(text)
        digests.append(folder_digest(folder))
    assert len(set(digests)) == 3


@dataclass(frozen=True)
class Toy:
    """A task whose figure is given, and which tells what was measured."""

    name: str
    values: tuple[float, ...]
    reason: str = ""
    asked: list[int] = field(default_factory=list, compare=False)
    seeds: int = 3

    def missing(self, place: Place) -> str:
        return ""

    def needs(self, place: Place) -> str:
        return self.reason

    def decides(self, place: Place, seed: int) -> dict[str, Any]:
        return {"toy": self.name, "seed": seed}

    def measure(self, place: Place, seed: int) -> Figures:
        self.asked.append(seed)
        return {"AUROC": self.values[seed]}


def bench(folder: Path, seeds: int = 2, *, only_kept: bool = False) -> Bench:
    return Bench(Place(folder, Shelf(folder / "kept")), seeds, only_kept)


def test_a_run_that_was_broken_off_goes_on_where_it_stood(tmp_path: Path) -> None:
    toy = Toy("bank", (0.9, 0.8, 0.7))
    row_of(bench(tmp_path, seeds=2), Target(toy, "AUROC", 0.8))
    row = row_of(bench(tmp_path, seeds=3), Target(toy, "AUROC", 0.8))
    assert toy.asked == [0, 1, 2]
    assert row.value == pytest.approx(0.8)
    assert row.samples == 3


def test_a_measurement_that_fails_keeps_nothing(tmp_path: Path) -> None:
    short = Toy("bank", (0.9,))
    with pytest.raises(IndexError):
        row_of(bench(tmp_path), Target(short, "AUROC"))
    longer = Toy("bank", (0.9, 0.8))
    row_of(bench(tmp_path), Target(longer, "AUROC"))
    assert longer.asked == [1]


@pytest.mark.parametrize(
    ("values", "limit", "at_least", "beside", "value", "holds", "reason"),
    [
        ((0.9, 0.8), 0.8, True, (), 0.85, True, "the mean counts"),
        ((0.9, 0.5), 0.8, True, (), 0.7, False, "a row that misses is a row"),
        ((0.2, 0.3), 0.3, False, (), 0.25, True, "at most"),
        ((0.9, 0.8), None, True, (), 0.85, None, "only explains"),
        ((0.9, 0.8), 0.03, True, ((0.8, 0.7), (0.5, 0.75)), 0.075, True, "the better of the others, seed by seed"),
    ],
)
def test_what_a_row_says(
    tmp_path: Path,
    values: tuple[float, ...],
    limit: float | None,
    at_least: bool,
    beside: tuple[tuple[float, ...], ...],
    value: float,
    holds: bool | None,
    reason: str,
) -> None:
    others = tuple(Toy(f"other {number}", figures) for number, figures in enumerate(beside))
    row = row_of(bench(tmp_path), Target(Toy("ours", values), "AUROC", limit, at_least, others))
    assert row.value == pytest.approx(value), reason
    assert row.holds == holds, reason
    assert "seeds 0–1" in row.note
    assert "others" in row.note


@pytest.mark.parametrize(
    ("reason", "only_kept", "said"),
    [("no anomalib", False, "bank, seed 1: no anomalib"), ("", True, "bank, seed 1: not measured yet")],
)
def test_a_row_that_is_not_measured_stands_there_without_a_value(
    tmp_path: Path, reason: str, only_kept: bool, said: str
) -> None:
    toy = Toy("bank", (0.9, 0.8), reason)
    measuring = bench(tmp_path, only_kept=only_kept)
    assert row_of(measuring, Target(toy, "AUROC", 0.8)) == Row("bank: AUROC", None, "", "≥ 0.8", None, 0)
    assert said in measuring.left_out
    assert not toy.asked


def test_the_tables_for_people_show_misses_and_what_was_not_measured(tmp_path: Path) -> None:
    measuring = bench(tmp_path)
    toys = [Target(Toy("good", (0.9, 0.9)), "AUROC", 0.8), Target(Toy("bad", (0.7, 0.7)), "AUROC", 0.8)]
    toys += [Target(Toy("away", (), "no anomalib"), "AUROC", 0.8), Target(Toy("beside", (0.5, 0.5)), "AUROC")]
    lines = tables([row_of(measuring, target) for target in toys], measuring).splitlines()
    assert [line.split(" | ")[-1] for line in lines[2:5]] == ["≥ 0.8 |", "≥ 0.8: missed |", "≥ 0.8 |"]
    assert lines[4].startswith("| away: AUROC | – |")
    assert not any("beside" in line for line in lines)
    # No set is there: every figure beside anomalib is a dash, none a number made up.
    assert lines[8].startswith("| memory-bank, magnetic tiles by part | – | – | –")
    assert {len(line.split("|")) for line in lines if line} == {5, 7, 6}


def test_every_group_asks_for_kinds_settings_and_sizes_that_there_are() -> None:
    waiting: list[Any] = [target.task for group in GROUPS.values() for target in group()]
    asked = 0
    while waiting:
        task = waiting.pop()
        waiting += [getattr(task, name) for name in ("fitted", "graphs", "other") if hasattr(task, name)]
        if hasattr(task, "settings"):
            read_settings(model_kind(task.kind), task.settings)
            parse_size(task.size)
            asked += 1
    assert asked > 20


def test_what_is_counted_is_summed_over_seeds_with_its_interval(tmp_path: Path) -> None:
    row = row_of(bench(tmp_path), Target(Toy("bank", (1.0, 2.0)), "AUROC", 0.005, False, of="AUROC"))
    assert (row.value, row.holds) == (1.0, False)
    assert row.note.startswith("3 of 3 AUROC, 29.2% to 100.0%")


def test_a_task_that_another_lacks_some_seeds_of_is_held_against_the_rest(tmp_path: Path) -> None:
    ours, many, few = Toy("ours", (0.9, 0.9)), Toy("many", (0.8, 0.7)), Toy("few", (0.9,), seeds=1)
    row = row_of(bench(tmp_path), Target(ours, "AUROC", 0.03, True, (many, few)))
    assert row.value == pytest.approx(0.1)
    assert "few only on 0" in row.note


def test_a_figure_that_a_seed_lacks_leaves_that_seed_out(tmp_path: Path) -> None:
    row = row_of(bench(tmp_path), Target(Toy("bank", (0.9, 0.8)), "AUPRO", 0.9))
    assert (row.value, row.samples) == (None, 0)


@pytest.mark.parametrize(
    ("others_cores", "asked", "reason"),
    [(0.0, [], "a quiet machine: the figure stands"), (1.5, [0], "another program ran: measured once more")],
)
def test_busy_times_are_measured_again_if_asked(
    tmp_path: Path, others_cores: float, asked: list[int], reason: str
) -> None:
    toy = Toy("bank", (0.9,), seeds=1)
    kept = {"figures": {"AUROC": 0.5}, "others_cores": others_cores, "seconds": 1.0}
    Shelf(tmp_path / "kept").keep({"toy": "bank", "seed": 0}, kept)
    measuring = bench(tmp_path)
    measuring.again = True
    row_of(measuring, Target(toy, "AUROC"))
    assert toy.asked == asked, reason


def test_nothing_is_begun_after_its_time(tmp_path: Path) -> None:
    toy = Toy("bank", (0.9, 0.8))
    measuring = bench(tmp_path)
    measuring.stop_s = 0.0
    assert row_of(measuring, Target(toy, "AUROC")).value is None
    assert not toy.asked


def test_files_are_made_whole_or_not_at_all(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)

    def break_off() -> None:
        with shelf.making({"a": 1}) as folder:
            (folder / "half").write_text("")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        break_off()
    assert not shelf.made({"a": 1}).exists()
    with shelf.making({"a": 1}) as folder:
        (folder / "whole").write_text("")
    assert [path.name for path in shelf.made({"a": 1}).iterdir()] == ["whole"]
    assert [path.name for path in tmp_path.iterdir()] == [shelf.made({"a": 1}).name]
