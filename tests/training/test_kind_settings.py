"""Settings of kinds as they are typed: what cannot be is refused before any picture is read."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from inspector.errors import ConfigError, DataError
from training.fit import MAX_SEED, FitPlan
from training.models.registry import model_kind, read_settings
from training.models.segmentation.fitting import FitSettings as SegmentationSettings
from training.models.segmentation.fitting import _seed_of

WRONG = [
    pytest.param("bank_size=0", "bank_size", id="nothing remembered"),
    pytest.param("bank_size=-1", "bank_size", id="less than nothing"),
    pytest.param("candidates=0", "candidates", id="nothing to choose from"),
    pytest.param("candidates=1000000000", "candidates", id="more than memory holds"),
    pytest.param('spec={"levels":[]}', "levels", id="no level"),
    pytest.param('spec={"levels":[9]}', "levels", id="a level that the backbone has not"),
    pytest.param('spec={"levels":[5,4]}', "rising", id="levels out of order"),
    pytest.param('spec={"neighbourhood":2}', "neighbourhood", id="an even window has no middle"),
    pytest.param('spec={"smoothing":0}', "smoothing", id="a blur of no width"),
    pytest.param('spec={"top_share":0}', "top_share", id="the mean of nothing"),
    pytest.param("bank_size=many", "bank_size", id="a word for a number"),
    pytest.param("spec", "KEY=VALUE", id="no value"),
    pytest.param("seed=3", "sets nothing", id="the seed has an option of its own"),
]


WRONG_OF_OTHERS = [
    pytest.param("guided", 'spec={"top_share":5}', "top_share", id="more cells than there are"),
    pytest.param("guided", 'spec={"top_share":0}', "top_share", id="the mean of no cells"),
    pytest.param("guided", 'spec={"heads":0}', "heads", id="no head"),
    pytest.param("guided", 'spec={"width":0}', "width", id="heads of no width"),
    pytest.param("guided", 'spec={"heads":100000}', "heads", id="more heads than memory holds"),
    pytest.param("segmentation", 'spec={"width":0}', "width", id="a decoder of no width"),
    pytest.param("segmentation", 'spec={"smoothing":4}', "smoothing", id="an even window has no middle"),
    pytest.param("fast-bank", "bank_size=0", "bank_size", id="nothing remembered by integers"),
    pytest.param("classifier", "train_from=5", "last stage .* is 4", id="to learn from a stage that is cut off"),
    pytest.param("guided", 'spec={"headz":9}', "'headz' sets nothing of spec of guided: .*heads", id="a misspelt name"),
    pytest.param("guided", 'spec={"bank":{"level":[1]}}', "'level' sets nothing of bank of spec", id="deeper inside"),
    pytest.param("guided", 'spec={"levels":[1]}', "'levels' sets nothing", id="a name of one level further in"),
    pytest.param("classifier", 'loop={"epoch":1}', "'epoch' sets nothing of loop .*epochs", id="one letter too few"),
    pytest.param(
        "classifier", 'augmentation={"rotate_degrees":9}', "rotation_degrees", id="another kind's word for it"
    ),
    pytest.param("guided", "spec={bad", "no JSON", id="a value that begins like JSON and is none"),
    pytest.param("classifier", "train_from=-2", "train_from -2", id="a stage before the first"),
]


@pytest.mark.parametrize(("kind", "typed", "says"), WRONG_OF_OTHERS)
def test_what_no_network_can_be_made_of_is_refused(kind: str, typed: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        read_settings(model_kind(kind), [typed])


@pytest.mark.parametrize("seed", [0, 2**44, 20261130123000, MAX_SEED])
def test_every_view_of_a_segmentation_has_a_seed_that_torch_takes(seed: int) -> None:
    fit = replace(SegmentationSettings(), seed=seed)
    seeds = {_seed_of(fit, number) for number in range(100)}
    assert len(seeds) == 100
    for each in seeds:
        torch.Generator().manual_seed(each)


@pytest.mark.parametrize("seed", [-1, MAX_SEED + 1, 2**64])
def test_a_seed_that_torch_does_not_take_is_refused_before_any_picture_is_read(seed: int) -> None:
    with pytest.raises(DataError, match=f"seed of {seed}: give a whole number from 0 to {MAX_SEED}"):
        FitPlan(seed=seed)


@pytest.mark.parametrize(("typed", "says"), WRONG)
def test_settings_that_cannot_be_are_refused(typed: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        read_settings(model_kind("memory-bank"), [typed])


def test_a_path_may_begin_with_a_bracket() -> None:
    read = read_settings(model_kind("memory-bank"), ["weights=[old] parts.safetensors"])
    assert read.weights == "[old] parts.safetensors"


def test_settings_within_their_bounds_are_taken() -> None:
    read = read_settings(model_kind("memory-bank"), ["bank_size=1", 'spec={"levels":[2,6],"neighbourhood":1}'])
    assert (read.bank_size, read.spec.levels, read.spec.neighbourhood) == (1, (2, 6), 1)
