"""A fitted twin as a simulated instrument: noise, ends, resolution, sessions, drift and lag."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from sdl.twin.faults import Fault
from sdl.twin.fitted.lag import lagged
from sdl.twin.fitted.state import FittedState
from sdl.twin.fitted.surrogate import Surrogate

from .fitted_kit import NOISE, START, fitted_mixer, mixer

AT = {"red": 100.0, "blue": 50.0}
DAY = 86400.0


def changed(channel: str = "R", **options: Any) -> FittedState:
    state = fitted_mixer()
    tree = state.model_dump()
    tree["channels"][channel] |= options
    return FittedState.model_validate(tree)


def values(twin: Surrogate, n: int = 400, *, at: float = START, settings: dict[str, float] = AT) -> np.ndarray:
    found = [twin.respond(settings, at + 20 * k, at + 20 * k + 1).readings for k in range(n)]
    return np.array([[each["R"], each["T"]] for each in found])


def test_the_same_seed_and_time_give_the_same_reading_whatever_was_read_before() -> None:
    one, other = Surrogate(fitted_mixer(), 3), Surrogate(fitted_mixer(), 3)
    values(other, 5)
    assert one.respond(AT, START, START + 20) == other.respond(AT, START, START + 20)
    assert one.respond(AT, START, START + 20) != Surrogate(fitted_mixer(), 4).respond(AT, START, START + 20)


def test_readings_scatter_about_the_noise_free_one_as_the_readings_of_the_instrument_do() -> None:
    twin = Surrogate(fitted_mixer())
    seen = values(twin)
    assert seen.mean(axis=0) == pytest.approx(list(twin.noise_free(AT).values()), abs=0.1)
    assert seen.std(axis=0) == pytest.approx(list(NOISE.values()), rel=0.3)
    assert list(twin.noise_free(AT).values()) == pytest.approx(list(mixer(AT).values()), abs=0.5)


def test_without_noise_a_reading_is_the_noise_free_one() -> None:
    twin = Surrogate(changed(session={"offset": 5.0, "gain": 0.1}), noise=False)
    assert dict(twin.respond(AT, START, START + 20).readings) == pytest.approx(twin.noise_free(AT))


def test_the_noise_of_two_channels_goes_together_as_the_file_says() -> None:
    tree = fitted_mixer().model_dump() | {"correlation": ((1.0, 0.8), (0.8, 1.0))}
    seen = values(Surrogate(FittedState.model_validate(tree)), 1000)
    assert np.corrcoef(seen.T)[0, 1] == pytest.approx(0.8, abs=0.05)


def test_a_reading_lies_on_a_step_of_the_resolution_and_inside_the_ends() -> None:
    twin = Surrogate(changed(resolution=5.0, high=220.0))
    seen = values(twin, 50)[:, 0]
    assert np.allclose(seen / 5.0, np.round(seen / 5.0))
    blank = twin.respond({"red": 0.0, "blue": 0.0}, START, START + 20)
    assert (blank.readings["R"], blank.saturated) == (220.0, ("R",))
    assert twin.respond(AT, START, START + 20).saturated == ()


def test_sessions_differ_and_readings_of_one_do_not() -> None:
    twin = Surrogate(changed(session={"offset": 20.0}, noise={}))
    start = twin.state.start.timestamp()
    level = [values(twin, 5, at=start + day * DAY + 1000)[:, 0] for day in range(200)]
    assert max(np.ptp(one) for one in level) < 1e-9
    assert np.std([one[0] for one in level]) == pytest.approx(20.0, rel=0.2)
    assert all(one == values(twin, 5, at=start + k * DAY + 1000)[0, 0] for k, (one, *_) in enumerate(level))


def test_a_gain_that_differs_leaves_the_middle_of_the_rows_where_it_is() -> None:
    twin = Surrogate(changed(session={"gain": 0.1}, noise={}))
    far, near = {"red": 0.0, "blue": 0.0}, {"red": 300.0, "blue": 0.0}
    spread = [np.std([values(twin, 1, at=START + d * DAY, settings=s)[0, 0] for d in range(60)]) for s in (far, near)]
    away = [abs(twin.noise_free(s, START)["R"] - twin.middle[0]) for s in (far, near)]
    assert spread[0] > 2 * spread[1]
    assert away[0] > away[1]


def test_a_drift_begins_anew_with_each_session() -> None:
    twin = Surrogate(changed(drift=2.0, noise={}))
    start = twin.state.start.timestamp()
    first, later, next_day = (values(twin, 1, at=start + s)[0, 0] for s in (0.0, 3600.0, DAY))
    assert later - first == pytest.approx(2.0, abs=0.01)
    assert next_day - first == pytest.approx(0.0, abs=0.01)


def test_after_a_change_a_reading_approaches_its_value_exponentially() -> None:
    def settled() -> Surrogate:
        twin = Surrogate(changed(settling=30.0, noise={}))
        twin.respond({"red": 0.0, "blue": 0.0}, START, START + 1000)
        return twin

    twin = settled()
    before, after = (twin.noise_free(settings)["R"] for settings in ({"red": 0.0, "blue": 0.0}, AT))
    for seconds in (10.0, 30.0, 90.0):
        seen = settled().respond(AT, START + 1000, START + 1000 + seconds).readings["R"]
        assert seen == pytest.approx(after + (before - after) * math.exp(-seconds / 30.0), rel=1e-6)
    twin.respond(AT, START + 1000, START + 1990)
    twin.switch_off(START + 2000)
    seen = twin.respond({"red": 0.0, "blue": 0.0}, START + 2030, START + 2030).readings["R"]
    assert seen == pytest.approx(before + (after - before) * math.exp(-1.0), rel=1e-6)


def test_the_lag_of_rows_is_that_of_the_twin() -> None:
    twin = Surrogate(changed(settling=30.0, noise={}), noise=False)
    rng = np.random.default_rng(1)
    drawn = [{"red": 5.0 * rng.integers(30), "blue": 5.0 * rng.integers(30)} for _ in range(8)]
    wait = rng.uniform(5.0, 60.0, 8)
    at = START + np.cumsum(wait)
    twin.respond(drawn[0], at[0] - 1e6, at[0])
    seen = [twin.respond(drawn[i], at[i - 1], at[i]).readings["R"] for i in range(1, 8)]
    settled = np.array([[twin.noise_free(settings)["R"]] for settings in drawn])
    expected = lagged(settled, np.concatenate([[np.inf], wait[1:]]), np.array([30.0]))[1:, 0]
    assert seen == pytest.approx(expected.tolist(), rel=1e-6)


def test_a_clamp_keeps_every_input_below_a_fraction_of_its_range_and_says_so() -> None:
    clamp = Fault(name="clamp", at=(0,), size=0.25)
    reading = Surrogate(fitted_mixer(), noise=False).respond(AT, START, START + 20, [clamp])
    assert (dict(reading.applied), reading.fault) == ({"red": 75.0, "blue": 50.0}, "not-applied")


@pytest.mark.parametrize("value", [None, math.nan, "word", -1.0, 1e300, True])
def test_a_value_that_is_no_reading_is_refused_with_what_is_allowed(value: Any) -> None:
    twin = Surrogate(fitted_mixer())
    assert twin.refuse({"R": 10.0, "T": 20.0}) == ""
    assert "is no number from 0 to 255" in twin.refuse({"R": value, "T": 20.0})
