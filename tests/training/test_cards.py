"""The cards of known data sets say what they must, and local copies are as they say."""

from __future__ import annotations

import importlib.util
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from requires import DATA
from training_pictures import part, save

from inspector.errors import DataError
from training.data.cards import check_card
from training.data.layouts import ELPV, open_dataset
from training.data.samples import Dataset

CARDS = sorted((Path(__file__).resolve().parents[2] / "datasets").glob("*.toml"))
KEYS = {"name": str, "title": str, "source": str, "citation": str, "licence": str, "about": str, "splits": dict}
LAYOUT_KEYS = {"importer": str, "folder": str, "images": str, "masks": str, "total": int, "masked": int, "labels": dict}


def _card(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"))


def test_every_known_set_has_a_card() -> None:
    assert [path.stem for path in CARDS] == ["elpv", "kolektor-sdd", "magnetic-tile", "mvtec-screw", "visa", "x-sdd"]


@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.stem)
def test_a_card_says_what_it_must(path: Path) -> None:
    card = _card(path)
    assert card["name"] == path.stem
    assert {key: type(card[key]) for key in KEYS} == KEYS
    assert {key: type(card["layout"][key]) for key in LAYOUT_KEYS} == LAYOUT_KEYS
    assert all(card[key] for key in KEYS)
    assert sum(card["layout"]["labels"].values()) == card["layout"]["total"]
    assert set(card["splits"]) == {"published", "here"}
    assert card["published"]
    for result in card["published"]:
        assert 0 < result["value"] <= 1
        assert result["method"]
        assert result["measure"]
        assert result["of"]


def _local(layout: dict[str, Any]) -> Path | None:
    if layout["importer"] != ELPV:
        return DATA / layout["folder"]
    spec = importlib.util.find_spec("elpv_dataset")
    return (
        Path(next(iter(spec.submodule_search_locations))) / "data" if spec and spec.submodule_search_locations else None
    )


@pytest.mark.realdata
@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.stem)
def test_a_local_copy_is_as_the_card_says(path: Path) -> None:
    layout = _card(path)["layout"]
    folder = _local(layout)
    if folder is None or not folder.is_dir():
        pytest.skip(f"no local copy of {path.stem}")
    assert len(list(folder.glob(layout["images"]))) == layout["total"]
    if layout["importer"]:
        dataset = open_dataset(ELPV if layout["importer"] == ELPV else str(folder))
        assert dataset.layout == layout["importer"]
        assert Counter(sample.label for sample in dataset.samples) == layout["labels"]
        assert sum(bool(sample.mask) for sample in dataset.samples) == layout["masked"]
        assert _all_there(dataset)


def test_a_copy_that_is_not_complete_says_what_is_missing(tmp_path: Path) -> None:
    for name in ("good/1.png", "good/2.png", "cut/3.png", "odd/4.png"):
        save(tmp_path / "set" / name, part(1))
    card = tmp_path / "card.toml"
    card.write_text('name = "x"\n[layout]\nimporter = "generic"\nmasked = 0\nlabels = {good = 2, cut = 3}\n')
    found = check_card(card, open_dataset(str(tmp_path / "set")))
    assert not found.complete
    assert found.differences == (("cut", 1, 3), ("odd", 1, 0))
    assert "2 missing" in found.sentences()[0]
    card.write_text(
        card.read_text() + '[[version]]\nversion = "small"\nmasked = 0\nlabels = {good = 2, cut = 1, odd = 1}\n'
    )
    nearest = check_card(card, open_dataset(str(tmp_path / "set")))
    assert (nearest.complete, nearest.version, nearest.sentences()) == (True, "small", [])


@pytest.mark.parametrize("text", ["", "name = 3", "[", "layout = 3"])
def test_what_is_no_card_says_so(tmp_path: Path, text: str) -> None:
    save(tmp_path / "set" / "good" / "1.png", part(1))
    (tmp_path / "card.toml").write_text(text)
    with pytest.raises(DataError, match="is no card"):
        check_card(tmp_path / "card.toml", open_dataset(str(tmp_path / "set")))


def _all_there(dataset: Dataset) -> bool:
    return all(
        dataset.file(s).is_file() and (s.mask == "" or (dataset.root / s.mask).is_file()) for s in dataset.samples
    )
