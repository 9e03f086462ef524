"""Other instruments of the same make, by name: what differs, and by how much."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from sdl.twin.led.state import Dimming, Response, TwinState

Variant = Literal["other-unit", "curved", "gamma", "droop", "rgbw", "green"]

SPREAD = 0.2  # gains of another unit lie within this part of the state's
CURVE, GAMMA, DROOP = 0.3, 1.8, 0.15
# Counts of a white LED, assumed: a mixture of the other three with more yellow.
WHITE = {
    "415nm": 420.0,
    "445nm": 9000.0,
    "480nm": 4600.0,
    "515nm": 21000.0,
    "555nm": 9400.0,
    "590nm": 8600.0,
    "630nm": 8000.0,
    "680nm": 1200.0,
    "clear": 49000.0,
    "nir": 900.0,
}
# Random stream of another unit's gains, default_rng([seed, *UNIT]), distinct from that of any reading.
UNIT = (2, 0, 0, 1)


def vary(state: TwinState, variant: Variant | None, seed: int) -> TwinState:
    """The state of another instrument.

    Args:
        state: the state from which it is derived.
        variant: other-unit (every gain times .8 to 1.2, by the seed), curved (d + .3 d (1 - d)), gamma (d to the 1.8),
            droop (15 % less light with every input at full), rgbw (a fourth input W, white), green (the instrument's
            "green machine": input G, channel 515nm). None changes nothing.
        seed: number of the other unit.

    Raises:
        ValueError: the state lacks the inputs or channels that the variant needs.
    """
    if variant is None:
        return state
    simple = {"curved": {"curve": CURVE}, "gamma": {"gamma": GAMMA}, "droop": {"droop": DROOP}}
    change: Mapping[str, object] = simple[variant] if variant in simple else _CHANGES[variant](state, seed)
    return TwinState.model_validate({**dict(state), **change})  # unlike a copy, validated


def _with_gains(state: TwinState, gains: Mapping[str, Mapping[str, float]]) -> dict[str, Response]:
    """The channels named in `gains`, with these gains by input."""
    return {name: state.channels[name].model_copy(update={"gain": gain}) for name, gain in gains.items()}


def _other_unit(state: TwinState, seed: int) -> dict[str, object]:
    import numpy as np

    rng = np.random.default_rng([seed, *UNIT])
    gains = {
        name: {i: gain * float(rng.uniform(1 - SPREAD, 1 + SPREAD)) for i, gain in channel.gain.items()}
        for name, channel in state.channels.items()
    }
    return {"channels": _with_gains(state, gains)}


def _rgbw(state: TwinState, _: int) -> dict[str, object]:
    if "W" in state.inputs or not state.channels.keys() <= WHITE.keys():
        raise ValueError(f"rgbw needs a state without input W and with channels among {', '.join(WHITE)}")
    gains = {name: {**channel.gain, "W": WHITE[name]} for name, channel in state.channels.items()}
    return {"inputs": {**state.inputs, "W": Dimming()}, "channels": _with_gains(state, gains)}


def _green(state: TwinState, _: int) -> dict[str, object]:
    if "G" not in state.inputs or "515nm" not in state.channels:
        raise ValueError("green needs a state with input G and channel 515nm")
    gains = {"515nm": {"G": state.channels["515nm"].gain["G"]}}
    return {"inputs": {"G": state.inputs["G"]}, "channels": _with_gains(state, gains), "shared_jitter": None}


_CHANGES: Mapping[str, Callable[[TwinState, int], dict[str, object]]] = {
    "other-unit": _other_unit,
    "rgbw": _rgbw,
    "green": _green,
}
