"""A state of the twin: the parameters of one instrument on one day, read from a TOML file.

The shipped states are in `states/` beside this file, each number with its source; a user's file has the same keys.
Reading one does not load numpy, so that a campaign can be validated quickly.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import AwareDatetime, Field, model_validator

from sdl.errors import ConfigError
from sdl.twin.tomlfile import TomlFiles
from sdl.types import Channel, Frozen, Input

FOLDER = Path(__file__).parent / "states"
KNOWN = "night-2025-10"  # default state for solvers with prior knowledge of the instrument


class Dimming(Frozen):
    """Deviation of the light of one input from a straight line just inside its ends, which are exact."""

    above_zero: float = Field(
        default=0.0, ge=0, lt=0.5, description="light just above input 0, as a fraction of full light"
    )
    below_one: float = Field(
        default=0.0, ge=0, lt=0.5, description="light missing just below input 1, as a fraction of full light"
    )


class Response(Frozen):
    """The response of one channel."""

    window: str = Field(
        description="read window: the channels of one window are read at the same time and share their jitter"
    )
    ambient: float = Field(default=0.0, ge=0, description="ambient light, counts")
    gain: dict[str, float] = Field(description="counts at input 1, by input")
    curve: dict[str, float] = Field(
        default={},
        description="a of an additional response a d (1 - d), as a fraction of full light, by input",
    )


class SharedJitter(Frozen):
    """Inputs whose jitter is correlated inside a window."""

    inputs: list[str]
    correlation: float = Field(ge=0, lt=1)


class Drift(Frozen):
    """Relative change of the light of each input over the days."""

    slow: float = Field(ge=0, le=0.2, description="standard deviation over years")
    days: float = Field(gt=0, description="approximate days between two reversals of the slow change")
    daily: float = Field(ge=0, le=0.2, description="standard deviation from one day to the next")


class TwinState(Frozen):
    """All parameters of a twin. Inputs run from 0 to 1; readings are whole counts."""

    about: str = ""
    start: AwareDatetime = Field(description="when the state's day begins, for virtual time")
    latency: float = Field(ge=0, description="seconds a reading takes")
    latencies: list[list[float]] = Field(
        default=[],
        description="distribution of the reading time: pairs [fraction of the readings, largest seconds among them], "
        "both rising, from fraction 0 to 1",
    )
    drift: Drift | None = None
    curve: float = Field(default=0.0, ge=0, le=1, description="a of light = d + a d (1 - d), before the dimming")
    gamma: float = Field(default=1.0, ge=0.1, le=10, description="light = d to this power, before the dimming")
    droop: float = Field(
        default=0.0, ge=0, le=0.9, description="fraction of the light that is lost with every input at full"
    )
    full_scale: int = Field(
        default=65535, gt=0, description="the highest count; a channel that reaches it is saturated"
    )
    proportional_noise: float = Field(default=0.0, ge=0, description="standard deviation as a fraction of the reading")
    dark_noise: float = Field(default=0.0, ge=0, description="standard deviation with no light, counts")
    jitter: dict[str, float] = Field(description="s of sd(d) = s sqrt(d (1 - d)), units of input, by read window")
    shared_jitter: SharedJitter | None = None
    inputs: dict[str, Dimming] = Field(min_length=1)
    channels: dict[str, Response] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _of_an_led(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and given.get("kind") == "fitted":
            raise ValueError("a twin of a declared instrument; name it in `instrument: {kind: twin}` or `twin:`")
        return given

    @model_validator(mode="after")
    def _names_agree(self) -> TwinState:
        for name, channel in self.channels.items():
            if channel.window not in self.jitter:
                raise ValueError(f"channels.{name}.window: {channel.window!r} is not in jitter {list(self.jitter)}")
            if channel.gain.keys() != self.inputs.keys():
                raise ValueError(f"channels.{name}.gain names {list(channel.gain)}, the inputs are {list(self.inputs)}")
            if unknown := [i for i, a in channel.curve.items() if i not in self.inputs or abs(a) > 1]:
                raise ValueError(
                    f"channels.{name}.curve: {unknown}: each must be an input ({', '.join(self.inputs)}) "
                    "with a number from -1 to 1"
                )
        shared = self.shared_jitter.inputs if self.shared_jitter else []
        if unknown := [name for name in shared if name not in self.inputs]:
            raise ValueError(f"shared_jitter.inputs: {unknown} not in {list(self.inputs)}")
        if low := [name for name, value in self.jitter.items() if value < 0]:
            raise ValueError(f"jitter: {low} must not be below 0")
        if self.latencies and not _rises_to_one(self.latencies):
            raise ValueError("latencies: fractions must rise from 0 to 1; seconds must be above 0 and rise with them")
        if self.start.timestamp() < 0:
            raise ValueError(f"start: {self.start.isoformat()} is before 1970")
        return self

    def latency_quantile(self, share: float) -> float:
        """Seconds within which this share of the readings ends; log-linear between the given pairs."""
        right = max(bisect_left(self.latencies, share, key=lambda pair: pair[0]), 1)
        (low, short), (high, long) = self.latencies[right - 1], self.latencies[right]
        return float(short * (long / short) ** ((share - low) / (high - low)))

    def without_ambient(self) -> TwinState:
        """The same state without ambient light."""
        dark = {name: channel.model_copy(update={"ambient": 0.0}) for name, channel in self.channels.items()}
        return self.model_copy(update={"channels": dark})

    def input_list(self) -> tuple[Input, ...]:
        return tuple(Input(name=name, step=None) for name in self.inputs)

    def channel_list(self) -> tuple[Channel, ...]:
        return tuple(Channel(name=name, low=0.0, high=float(self.full_scale)) for name in self.channels)


def _rises_to_one(pairs: list[list[float]]) -> bool:
    if any(len(pair) != 2 for pair in pairs):
        return False
    parts, seconds = map(list, zip(*pairs, strict=True))
    rising = sorted(set(parts)) == parts and sorted(seconds) == seconds
    return rising and parts[0] == 0 and parts[-1] == 1 and seconds[0] > 0


STATES = TomlFiles(TwinState, FOLDER)
shipped, locate, load, fingerprint = STATES.shipped, STATES.locate, STATES.load, STATES.fingerprint


def known_state(name: str | None, inputs: Sequence[str], channels: Sequence[str]) -> TwinState:
    """The state `name`, by default `KNOWN`, for a solver with prior knowledge of the instrument.

    Raises:
        ConfigError: the state belongs to an instrument with other inputs or channels.
        ValueError: there is no such state.
    """
    state = load(name := name or KNOWN)
    if set(inputs) != set(state.inputs) or not set(channels) <= set(state.channels):
        raise ConfigError(
            f"solver bayes: the state {name} is of another instrument. It has the inputs "
            f"{', '.join(state.inputs)} and the channels {', '.join(state.channels)}; this instrument has the inputs "
            f"{', '.join(inputs)} and the channels {', '.join(channels)}"
        )
    return state
