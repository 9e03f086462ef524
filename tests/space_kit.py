"""Simulated instruments with choices and constraints that refuse every setting outside them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import pytest

from sdl import registry
from sdl.clock import Clock
from sdl.drivers.base import space_of
from sdl.drivers.checks import checked
from sdl.grammar import parse_constraint
from sdl.types import Channel, Frozen, Input, Power, Reading, SafeState, Settings

OUTSIDE: list[str] = []
"""What any of these instruments was asked for although it is outside its space."""


class Bench(Frozen):
    """Any inputs and constraints; each channel is curved in the numbers, and each choice changes level and slopes."""

    simulated: ClassVar[bool] = True
    virtual: ClassVar[bool] = True
    reading_seconds: ClassVar[float] = 1.0
    identity: ClassVar[str] = "bench"

    kind: Literal["bench"] = "bench"
    inputs: tuple[Input, ...]
    constraints: tuple[str, ...] = ()
    count: int = 2
    seed: int = 0
    noise: float = 0.002
    curved: float = 0.2

    @property
    def channels(self) -> tuple[Channel, ...]:
        return tuple(Channel(name=f"y{i}", unit="") for i in range(self.count))

    @property
    def off(self) -> dict[str, Any]:
        return {item.name: item.choices[0] if item.choices else item.low for item in self.inputs}

    def open(self, clock: Clock) -> BenchDriver:
        return BenchDriver(self)

    def clean(self, settings: Settings) -> dict[str, float]:
        """Readings without noise."""
        readings = {}
        for channel in self.channels:
            rng = np.random.default_rng([self.seed, int(channel.name[1:])])
            total, factor = 2.0, 1.0
            for item in self.inputs:
                if item.choices:
                    levels = rng.uniform(-0.5, 0.5, len(item.choices))
                    factors = rng.uniform(0.7, 1.3, len(item.choices))
                    number = item.choices.index(str(settings[item.name]))
                    total, factor = total + float(levels[number]), factor * float(factors[number])
            for item in self.inputs:
                if item.numeric:
                    u = (float(settings[item.name]) - item.low) / (item.high - item.low)
                    total += factor * float(rng.uniform(0.3, 1.5)) * (u + self.curved * u * (1 - u))
            readings[channel.name] = total
        return readings

    def why_outside(self, settings: Settings) -> str:
        """Why these settings cannot be set; empty where they can."""
        if set(settings) != {item.name for item in self.inputs}:
            return f"other inputs: {dict(settings)}"
        for item in self.inputs:
            value = settings[item.name]
            if item.choices:
                if value not in item.choices:
                    return f"{item.name} = {value!r} is no choice"
                continue
            if isinstance(value, str) or not item.low <= value <= item.high:
                return f"{item.name} = {value!r} is out of bounds"
            if item.step is not None:
                steps = (value - item.low) / item.step
                if abs(steps - round(steps)) * item.step > 2e-6 * (item.high - item.low):
                    return f"{item.name} = {value!r} is on no step of {item.step:g}"
        for text in self.constraints:
            one = parse_constraint(text)
            terms = [c * float(settings[name]) for name, c in one.coefficients.items()]
            beyond = math.fsum([*terms, -one.bound])
            size = math.fsum(map(abs, [*terms, one.bound]))
            if (abs(beyond) > 1e-5 * size) if one.equality else (beyond > 1e-9 * size):
                return f"{text} is broken by {beyond:g} at {dict(settings)}"
        return ""


class BenchDriver:
    def __init__(self, bench: Bench) -> None:
        self._bench, self._rng = bench, np.random.default_rng(bench.seed)

    def measure(self, settings: Mapping[str, Any]) -> Reading:
        if why := self._bench.why_outside(settings):
            OUTSIDE.append(why)
        noise = self._bench.noise
        values = {name: v + noise * self._rng.standard_normal() for name, v in self._bench.clean(settings).items()}
        return Reading(dict(settings), {name: float(value) for name, value in values.items()})

    def safe(self) -> SafeState:
        return SafeState(Power.NOT_NEEDED)

    def close(self) -> None:
        pass


def random_bench(rng: np.random.Generator) -> Bench:
    """An instrument of one to five inputs, some with steps or choices, and up to two constraints that can be kept."""
    while True:
        inputs: list[Input] = []
        for i in range(int(rng.integers(1, 5))):
            if inputs and rng.random() < 0.25:
                inputs.append(Input(name=f"c{i}", choices=tuple(f"k{j}" for j in range(int(rng.integers(2, 5))))))
                continue
            low = float(np.round(rng.choice([0.0, 0.0, -3.0, 20.0]), 3))
            width = float(rng.choice([1.0, 10.0, 300.0]))
            step = width / float(rng.choice([10, 20, 60, 7])) if rng.random() < 0.4 else None
            inputs.append(Input(name=f"x{i}", low=low, high=low + width, step=step))
        numeric = [item for item in inputs if item.numeric]
        constraints = []
        if len(numeric) > 1:
            for _ in range(int(rng.choice([0, 1, 1, 2]))):
                some = [numeric[i] for i in rng.permutation(len(numeric))[: int(rng.integers(2, len(numeric) + 1))]]
                point = {item.name: item.low + 0.5 * (item.high - item.low) * rng.random() for item in some}
                parts = {item.name: float(rng.choice([1.0, 1.0, 2.0, -1.0])) / (item.high - item.low) for item in some}
                bound = sum(part * point[name] for name, part in parts.items())
                if rng.random() < 0.15 and all(item.step is None for item in some):
                    constraints.append(_text(parts, "=", bound))
                else:
                    constraints.append(_text(parts, "<=" if rng.random() < 0.8 else ">=", bound))
        bench = Bench(inputs=tuple(inputs), constraints=tuple(constraints), seed=int(rng.integers(1 << 30)))
        if is_roomy(bench):
            return bench


def is_roomy(bench: Bench) -> bool:
    """Whether the constraints leave something to set."""
    try:
        space = space_of(bench)
    except ValueError:
        return False
    if space.is_empty():
        return False
    rows = {
        tuple(space.encode(space.project(space.decode(row))[0])) for row in space.sample(20, np.random.default_rng(0))
    }
    return len(rows) > 5


def _text(parts: Mapping[str, float], sign: str, bound: float) -> str:
    return " + ".join(f"{part!r} * {name}" for name, part in parts.items()).replace("+ -", "- ") + f" {sign} {bound!r}"


class Solvents(Frozen):
    """A reactor with three solvents: level and slopes differ, and only one of them reaches y 95 and z 28."""

    simulated: ClassVar[bool] = True
    virtual: ClassVar[bool] = True
    reading_seconds: ClassVar[float] = 1.0
    identity: ClassVar[str] = "solvents"
    inputs: ClassVar[tuple[Input, ...]] = (
        Input(name="T", low=20.0, high=80.0, unit="°C"),
        Input(name="c", high=10.0, step=0.1, unit="mM"),
        Input(name="solvent", choices=("water", "ethanol", "dmso")),
    )
    channels: ClassVar[tuple[Channel, ...]] = (Channel(name="y", unit=""), Channel(name="z", unit=""))

    kind: Literal["solvents"] = "solvents"
    seed: int = 0
    reaches: str = "dmso"

    @property
    def off(self) -> dict[str, Any]:
        return {"T": 20.0, "c": 0.0, "solvent": "water"}

    def open(self, clock: Clock) -> SolventsDriver:
        return SolventsDriver(self)


class SolventsDriver:
    def __init__(self, solvents: Solvents) -> None:
        self._solvents, self._rng = solvents, np.random.default_rng(solvents.seed)

    def measure(self, settings: Mapping[str, Any]) -> Reading:
        applied = checked(settings, self._solvents.inputs)
        others = [text for text in ("water", "ethanol", "dmso") if text != self._solvents.reaches]
        gain, level, heat = ((2.5, -4.0, 1.0), (1.4, 5.0, 0.6), (1.0, 0.0, 0.2))[
            [self._solvents.reaches, *others].index(str(applied["solvent"]))
        ]
        t, c = (float(applied["T"]) - 20.0) / 60.0, float(applied["c"]) / 10.0
        clean = {"y": 20.0 + level + 40.0 * gain * c + 10.0 * t, "z": 10.0 + 30.0 * heat * t + 5.0 * c}
        readings = {name: value + 0.5 * float(self._rng.standard_normal()) for name, value in clean.items()}
        return Reading(applied, readings)

    def safe(self) -> SafeState:
        return SafeState(Power.NOT_NEEDED)

    def close(self) -> None:
        pass


class Dyes(Frozen):
    """Three dyes in a well of 300 uL: absorbances add, and a camera reads the transmitted colour."""

    simulated: ClassVar[bool] = True
    virtual: ClassVar[bool] = True
    reading_seconds: ClassVar[float] = 20.0
    identity: ClassVar[str] = "dyes"
    inputs: ClassVar[tuple[Input, ...]] = tuple(
        Input(name=name, high=300.0, step=5.0, unit="uL") for name in ("red", "yellow", "blue")
    )
    channels: ClassVar[tuple[Channel, ...]] = tuple(Channel(name=name, high=255.0) for name in "RGB")
    constraints: ClassVar[tuple[str, ...]] = ("red + yellow + blue <= 300",)

    kind: Literal["dyes"] = "dyes"
    seed: int = 0

    @property
    def off(self) -> dict[str, Any]:
        return {"red": 0.0, "yellow": 0.0, "blue": 0.0}

    def open(self, clock: Clock) -> DyesDriver:
        return DyesDriver(self)


ABSORBANCE = np.array([[0.0006, 0.0075, 0.0055], [0.0002, 0.0009, 0.0080], [0.0070, 0.0035, 0.0008]])
"""Absorbance per uL of each dye in R, G and B."""


def colour(volumes: Any) -> Any:
    """Readings without noise of the volumes of red, yellow and blue."""
    return 240.0 * 10.0 ** -(np.asarray(volumes) @ ABSORBANCE)


class DyesDriver:
    def __init__(self, dyes: Dyes) -> None:
        self._rng = np.random.default_rng(dyes.seed)

    def measure(self, settings: Mapping[str, Any]) -> Reading:
        volumes = [float(settings[name]) for name in ("red", "yellow", "blue")]
        if sum(volumes) > 300 or min(volumes) < 0 or any(volume % 5 for volume in volumes):
            OUTSIDE.append(f"the well holds 300 uL in steps of 5, not {volumes}")
        readings = np.clip(colour(volumes) + 0.6 * self._rng.standard_normal(3), 0, 255)
        return Reading(dict(settings), dict(zip("RGB", map(float, readings), strict=True)))

    def safe(self) -> SafeState:
        return SafeState(Power.NOT_NEEDED)

    def close(self) -> None:
        pass


KINDS = {"bench": "space_kit:Bench", "solvents": "space_kit:Solvents", "dyes": "space_kit:Dyes"}


@pytest.fixture
def benches(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kinds of this file, while a test runs."""
    for kind, place in KINDS.items():
        monkeypatch.setitem(registry.OURS["drivers"], kind, place)
    OUTSIDE.clear()
