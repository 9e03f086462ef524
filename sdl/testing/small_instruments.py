"""Five small simulated instruments to test solvers on, each with one difficulty of real instruments.

| name | difficulty |
|---|---|
| affine | none: three inputs, three channels, each mostly of one input |
| Beer–Lambert | two dyes in steps of 5 µL, seen through exponentials |
| mixture | two volumes with a limited sum, and a choice of solvents that changes offsets and slopes |
| turning curve | the reading rises and falls again |
| drifting probe | it drifts from reading to reading and has not settled when it is read |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from sdl.clock import Clock
from sdl.drivers.base import OpenDriver
from sdl.types import Channel, Frozen, Input, Power, Reading, SafeState, Settings

Response = Callable[[Mapping[str, Any]], dict[str, float]]
DRIFT, LAG = 0.02, 0.05  # of the drifting probe: °C a reading, and the part of a change that is missing after one


@dataclass(frozen=True)
class _Kind:
    """One of the instruments.

    Attributes:
        inputs, channels, constraints: as an instrument declares them.
        response: readings without noise, drift and lag.
        noise: standard deviation of a reading, in the unit of the channels.
        goals: settings whose readings are the goals of its campaigns.
        tolerance: of every channel.
    """

    inputs: tuple[Input, ...]
    channels: tuple[Channel, ...]
    response: Response
    noise: float
    goals: tuple[Settings, ...]
    tolerance: float
    constraints: tuple[str, ...] = ()


def _affine(s: Mapping[str, Any]) -> dict[str, float]:
    return {
        "x": 2.0 + 60.0 * s["a"] + 3.0 * s["b"] + 1.0 * s["c"],
        "y": 1.0 + 2.0 * s["a"] + 45.0 * s["b"] + 4.0 * s["c"],
        "z": 3.0 + 1.0 * s["a"] + 5.0 * s["b"] + 70.0 * s["c"],
    }


def _beer_lambert(s: Mapping[str, Any]) -> dict[str, float]:
    return {
        "red light": 240.0 * 10 ** -(0.0006 * s["red"] + 0.0060 * s["blue"]),
        "green light": 240.0 * 10 ** -(0.0050 * s["red"] + 0.0010 * s["blue"]),
    }


def _mixture(s: Mapping[str, Any]) -> dict[str, float]:
    level, slope = (0.0, 1.0) if s["solvent"] == "water" else (4.0, 1.6)
    return {
        "conductivity": 10.0 + level + slope * 0.2 * s["salt"] + 0.03 * s["acid"],
        "absorbance": 5.0 + 0.05 * s["salt"] + slope * 0.15 * s["acid"],
    }


def _turning_curve(s: Mapping[str, Any]) -> dict[str, float]:
    return {"yield": 80.0 - 1.5 * (s["T"] - 6.0) ** 2}


def _drifting_probe(s: Mapping[str, Any]) -> dict[str, float]:
    return {"T": 20.0 + 0.6 * s["power"]}


SMALL: dict[str, _Kind] = {
    "affine": _Kind(
        tuple(Input(name=name) for name in "abc"),
        tuple(Channel(name=name, unit="mV") for name in "xyz"),
        _affine,
        0.1,
        ({"a": 0.47, "b": 0.3, "c": 0.55}, {"a": 0.7, "b": 0.65, "c": 0.2}),
        0.8,
    ),
    "Beer–Lambert": _Kind(
        tuple(Input(name=name, high=300.0, step=5.0, unit="uL") for name in ("red", "blue")),
        tuple(Channel(name=name) for name in ("red light", "green light")),
        _beer_lambert,
        0.6,
        ({"red": 60.0, "blue": 50.0}, {"red": 30.0, "blue": 120.0}),
        4.0,
    ),
    "mixture": _Kind(
        (*(Input(name=name, high=100.0, unit="uL") for name in ("salt", "acid")),
         Input(name="solvent", choices=("water", "ethanol"))),
        tuple(Channel(name=name, unit="") for name in ("conductivity", "absorbance")),
        _mixture,
        0.05,
        ({"salt": 70.0, "acid": 40.0, "solvent": "ethanol"}, {"salt": 30.0, "acid": 60.0, "solvent": "water"}),
        0.5,
        ("salt + acid <= 120",),
    ),
    "turning curve": _Kind(
        (Input(name="T", high=10.0, unit="°C"),),
        (Channel(name="yield", unit="%"),),
        _turning_curve,
        0.2,
        ({"T": 3.0}, {"T": 8.0}),
        1.5,
    ),
    "drifting probe": _Kind(
        (Input(name="power", high=100.0, unit="W"),),
        (Channel(name="T", unit="°C"),),
        _drifting_probe,
        0.05,
        ({"power": 40.0}, {"power": 75.0}),
        0.4,
    ),
}  # fmt: skip


class SmallInstrument(Frozen):
    """One of the small instruments, in virtual time."""

    simulated: ClassVar[bool] = True
    virtual: ClassVar[bool] = True
    reading_seconds: ClassVar[float] = 20.0
    session_gap: ClassVar[float] = 600.0

    kind: Literal["small"] = "small"
    name: str
    seed: int = 0

    @property
    def identity(self) -> str:
        return f"small:{self.name}"

    @property
    def inputs(self) -> tuple[Input, ...]:
        return SMALL[self.name].inputs

    @property
    def channels(self) -> tuple[Channel, ...]:
        return SMALL[self.name].channels

    @property
    def constraints(self) -> tuple[str, ...]:
        return SMALL[self.name].constraints

    def open(self, clock: Clock) -> SmallDriver:
        return SmallDriver(self, clock)


class SmallDriver(OpenDriver):
    """An open small instrument."""

    def __init__(self, instrument: SmallInstrument, clock: Clock) -> None:
        self._instrument, self._clock, self._kind = instrument, clock, SMALL[instrument.name]
        import numpy as np  # not with the module: a YAML file can name its instruments

        self._rng = np.random.default_rng([instrument.seed, 2])
        self._level: dict[str, float] = {}
        self._count = 0

    def measure(self, settings: Settings) -> Reading:
        self.require_open()
        self._clock.sleep(self._instrument.reading_seconds)
        exact = self._kind.response(settings)
        if self._instrument.name == "drifting probe":
            missing = {name: LAG * (self._level.get(name, value) - value) for name, value in exact.items()}
            exact = {name: value + missing[name] for name, value in exact.items()}
            self._level = dict(exact)
            exact = {name: value + DRIFT * self._count for name, value in exact.items()}
        self._count += 1
        readings = {name: value + self._kind.noise * self._rng.standard_normal() for name, value in exact.items()}
        return Reading(dict(settings), readings)

    def safe(self) -> SafeState:
        return SafeState(Power.NOT_NEEDED)

    def close(self) -> None:
        super().close()
