"""Other instruments, by a word."""

from __future__ import annotations

import numpy as np
import pytest

from sdl.twin.led.model import Plant
from sdl.twin.led.state import load
from sdl.twin.led.variants import Variant, vary

NIGHT = load("night-2025-10")


def net(variant: Variant | None, seed: int = 0, **duty: float) -> dict[str, float]:
    plant = Plant(vary(NIGHT, variant, seed))
    dark = dict.fromkeys(plant.state.inputs, 0.0)
    off, on = plant.noise_free(dark), plant.noise_free({**dark, **duty})
    return {name: on[name] - off[name] for name in on}


def test_no_variant_is_the_state_itself() -> None:
    assert vary(NIGHT, None, 3) is NIGHT


def test_another_unit_has_gains_within_a_fifth_and_by_its_seed() -> None:
    one, same, other = (vary(NIGHT, "other-unit", seed) for seed in (1, 1, 2))
    assert one == same != other
    ratios = np.array([c.gain[i] / NIGHT.channels[n].gain[i] for n, c in one.channels.items() for i in NIGHT.inputs])
    assert 0.8 <= ratios.min() < 0.85
    assert 1.15 < ratios.max() <= 1.2


@pytest.mark.parametrize(("variant", "half"), [(None, 0.498), ("curved", 0.573), ("gamma", 0.286)])
def test_light_at_half_the_input(variant: Variant | None, half: float) -> None:
    assert net(variant, G=0.5)["515nm"] / net(variant, G=1.0)["515nm"] == pytest.approx(half, abs=0.002)


def test_droop_takes_light_where_all_inputs_are_on() -> None:
    alone, together = net("droop", G=1.0)["515nm"], net("droop", R=1.0, G=1.0, B=1.0)["480nm"]
    assert alone == pytest.approx(net(None, G=1.0)["515nm"] * 0.95)
    assert together == pytest.approx(net(None, R=1.0, G=1.0, B=1.0)["480nm"] * 0.85)


def test_rgbw_has_a_white_input_besides() -> None:
    state = vary(NIGHT, "rgbw", 0)
    assert list(state.inputs) == ["R", "G", "B", "W"]
    assert net("rgbw", W=1.0)["515nm"] == pytest.approx(21000)
    assert net("rgbw", G=1.0)["515nm"] == net(None, G=1.0)["515nm"]


def test_the_green_machine_has_one_input_and_one_channel() -> None:
    state = vary(NIGHT, "green", 0)
    assert (list(state.inputs), list(state.channels)) == (["G"], ["515nm"])
    reading = Plant(state).read({"G": 0.5}, 1.0)
    assert reading.readings.keys() == {"515nm"}
    assert reading.readings["515nm"] == pytest.approx(net(None, G=0.5)["515nm"], rel=0.02)


def test_a_variant_of_a_state_that_lacks_what_it_needs_says_so() -> None:
    with pytest.raises(ValueError, match="rgbw needs"):
        vary(vary(NIGHT, "rgbw", 0), "rgbw", 0)
    lone = NIGHT.model_copy(update={"channels": {"445nm": NIGHT.channels["445nm"]}})
    with pytest.raises(ValueError, match="green needs"):
        vary(lone, "green", 0)


def test_drift_is_nothing_on_the_state_s_first_day_and_little_after_a_year() -> None:
    start = NIGHT.start.timestamp()
    still, drifting = Plant(NIGHT, 1), Plant(NIGHT, 1, drifts=True)
    assert drifting.drift(start).tolist() == [1.0, 1.0, 1.0]
    assert still.drift(start + 3e7).tolist() == [1.0, 1.0, 1.0]
    year = np.array([Plant(NIGHT, seed, drifts=True).drift(start + 3e7) for seed in range(200)])
    assert year.std() == pytest.approx(np.hypot(0.005, 0.0007) * 2**0.5, rel=0.15)
    full = {"R": 0.0, "G": 1.0, "B": 0.0}
    ratio = drifting.noise_free(full, start + 3e7)["515nm"] / still.noise_free(full)["515nm"]
    assert ratio == pytest.approx(drifting.drift(start + 3e7)[1], abs=1e-4)
    reading = np.mean([drifting.read(full, start + 3e7 + k).readings["515nm"] for k in range(50)])
    assert reading / still.noise_free(full)["515nm"] == pytest.approx(ratio, abs=2e-4)


def test_without_noise_a_reading_is_exact_whatever_else_is_on() -> None:
    plant = Plant(NIGHT, 1, drifts=True, noise=False)
    time = NIGHT.start.timestamp() + 1e6
    exact = plant.noise_free({"R": 0.2, "G": 0.3, "B": 0.4}, time)
    assert plant.read({"R": 0.2, "G": 0.3, "B": 0.4}, time).readings == {k: int(v) for k, v in exact.items()}
