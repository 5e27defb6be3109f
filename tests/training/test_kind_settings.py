"""Settings of kinds as they are typed: what cannot be is refused before any picture is read."""

from __future__ import annotations

import pytest

from inspector.errors import ConfigError
from training.models.registry import model_kind, read_settings

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


@pytest.mark.parametrize(("typed", "says"), WRONG)
def test_settings_that_cannot_be_are_refused(typed: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        read_settings(model_kind("memory-bank"), [typed])


def test_settings_within_their_bounds_are_taken() -> None:
    read = read_settings(model_kind("memory-bank"), ["bank_size=1", 'spec={"levels":[2,6],"neighbourhood":1}'])
    assert (read.bank_size, read.spec.levels, read.spec.neighbourhood) == (1, (2, 6), 1)
