"""Whether an instrument still matches its fitted twin, judged by readings that the twin has not seen."""

from __future__ import annotations

import numpy as np
import pytest

from sdl.twin.fitted.check import check
from sdl.twin.fitted.fit import fit
from sdl.twin.fitted.state import FittedState

from .fitted_kit import MIXER, Response, fitted_mixer, mixer, readings

OFFSETS = (0.0, 8.0, -6.0, 3.0, -7.0, 5.0)


def shifted(by: float) -> Response:
    return lambda settings: mixer(settings) | {"R": mixer(settings)["R"] + by}


@pytest.fixture(scope="module")
def several() -> FittedState:
    """A twin whose sessions differ."""
    return fit(readings(120, sessions=OFFSETS), MIXER).state


def test_new_readings_match_with_the_figures_of_chance() -> None:
    coverage = []
    for seed in range(10, 22):
        found = check(readings(seed=seed), fitted_mixer())
        assert not found.divergent
        assert found.readings == 60
        coverage += [channel.coverage for channel in found.channels]
    assert np.mean(coverage) == pytest.approx(0.683, abs=0.07)


def test_a_change_of_three_times_the_noise_is_found_and_its_channel_named() -> None:
    found = check(readings(seed=11, response=shifted(3.0)), fitted_mixer())
    assert found.divergent
    assert found.verdict.startswith("the instrument no longer matches its twin in R: ")
    assert [channel.channel for channel in found.channels if channel.left] == ["R"]


def test_a_new_session_may_differ_as_sessions_did_and_no_more(several: FittedState) -> None:
    assert not check(readings(40, seed=12, response=shifted(6.0)), several).divergent
    jump = [0.0] * 20 + [6.0] * 20
    rows = readings(40, seed=12)
    other = readings(40, seed=12, response=shifted(6.0))
    mixed = [b if by else a for a, b, by in zip(rows, other, jump, strict=True)]
    spread = {c.channel: c.spread for c in check(mixed, several).channels}
    assert spread["R"] > 2 * spread["T"]


def test_readings_at_the_end_of_a_channel_are_not_compared() -> None:
    tree = fitted_mixer().model_dump()
    tree["channels"]["R"]["high"] = 60.0
    found = check(readings(seed=13), FittedState.model_validate(tree))
    by_name = {channel.channel: channel.readings for channel in found.channels}
    assert by_name["R"] < by_name["T"] == 60


def test_nothing_to_compare_is_said() -> None:
    with pytest.raises(ValueError, match="nothing to compare"):
        check(readings(2), fitted_mixer())
