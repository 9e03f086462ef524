"""Other instruments of the same make, by a word: what is the same, what differs and by how much is said here."""

from __future__ import annotations

from typing import Literal

from sdl.twin.state import Dimming, TwinState

Variant = Literal["other-unit", "curved", "gamma", "droop", "rgbw", "green"]

SPREAD = 0.2  # gains of another unit lie within this part of the state's
CURVE, GAMMA, DROOP = 0.3, 1.8, 0.15
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
"""Counts of a white LED: a guess, a mixture of the other three with more yellow."""
UNIT = (2, 0, 0, 1)
"""Where another unit's gains come from: default_rng([seed, *UNIT]), apart from every reading's."""


def vary(state: TwinState, variant: Variant | None, seed: int) -> TwinState:
    """The state of another instrument.

    Args:
        state: it is derived from this one.
        variant: other-unit (every gain times .8 to 1.2, by the seed), curved (d + .3 d (1 - d)), gamma (d to the 1.8),
            droop (15 % less with every input full on), rgbw (a fourth input W, white), green (the instrument's own
            "green machine": input G, channel 515nm). None changes nothing.
        seed: which other unit.

    Raises:
        ValueError: the state has not the inputs or channels that the variant needs.
    """
    if variant is None:
        return state
    match variant:
        case "curved":
            change: dict[str, object] = {"curve": CURVE}
        case "gamma":
            change = {"gamma": GAMMA}
        case "droop":
            change = {"droop": DROOP}
        case "other-unit":
            change = {"channels": _other_unit(state, seed)}
        case "rgbw":
            if "W" in state.inputs or not state.channels.keys() <= WHITE.keys():
                raise ValueError(f"rgbw needs a state without input W and with channels among {', '.join(WHITE)}")
            change = {"inputs": {**state.inputs, "W": Dimming()}, "channels": _with_white(state)}
        case "green":
            change = _green(state)
    # Validated like a state from a file; a copy would not be.
    return TwinState.model_validate({**dict(state), **change})


def _other_unit(state: TwinState, seed: int) -> dict[str, object]:
    import numpy as np

    rng = np.random.default_rng([seed, *UNIT])
    return {
        name: channel.model_copy(
            update={"gain": {i: gain * float(rng.uniform(1 - SPREAD, 1 + SPREAD)) for i, gain in channel.gain.items()}}
        )
        for name, channel in state.channels.items()
    }


def _with_white(state: TwinState) -> dict[str, object]:
    return {
        name: channel.model_copy(update={"gain": {**channel.gain, "W": WHITE[name]}})
        for name, channel in state.channels.items()
    }


def _green(state: TwinState) -> dict[str, object]:
    if "G" not in state.inputs or "515nm" not in state.channels:
        raise ValueError("green needs a state with input G and channel 515nm")
    channel = state.channels["515nm"]
    return {
        "inputs": {"G": state.inputs["G"]},
        "channels": {"515nm": channel.model_copy(update={"gain": {"G": channel.gain["G"]}})},
        "shared_jitter": None,
    }
