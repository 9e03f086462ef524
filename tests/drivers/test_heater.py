"""Campaigns on a simulated heater: no command beyond the ramp, and off within one reading of a limit."""

from __future__ import annotations

import itertools
import math
import random
from typing import Any, ClassVar, Literal

import pytest
from pydantic import PrivateAttr

import sdl
from sdl.clock import Clock
from sdl.drivers.declared.config import Declared
from sdl.errors import InstrumentError
from sdl.types import Outcome, Power, Reading, SafeState, Settings

CAMPAIGNS, A_TEST = 200, 10
SLACK = 1 + 1e-6


class Plant:
    """A heater with a fan: the temperature follows power and fan with a lag. Keeps every command and what it showed."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.gain, self.lag, self.noise = rng.uniform(1, 4), rng.uniform(1, 120), rng.uniform(0, 0.5)
        self.seconds, self.failing = rng.choice([0.0, 0.5, 5.0, 40.0]), rng.choice([0.0, 0.1])
        self.temperature, self.power, self.fan, self.at = 20.0, 0.0, 0.0, 0.0
        self.log: list[tuple[float, dict[str, float] | None, float]] = []  # time, settings (None: off), reading
        self.clock: Clock

    def move(self) -> None:
        now = self.clock.monotonic()
        end = 20 + self.gain * self.power - 10 * self.fan
        self.temperature = end + (self.temperature - end) * math.exp(-(now - self.at) / self.lag)
        self.at = now

    def measure(self, settings: Settings) -> Reading:
        self.move()
        self.power, self.fan = float(settings["power"]), float(settings["fan"])
        began = self.clock.monotonic()
        self.clock.sleep(self.seconds)
        self.move()
        shown = self.temperature + self.rng.gauss(0, self.noise)
        fails = self.rng.random() < self.failing
        self.log.append((began, {"power": self.power, "fan": self.fan}, -math.inf if fails else shown))
        if fails:
            raise InstrumentError("no answer", retryable=True, maybe_measured=True)
        return Reading(settings, {"T": shown})

    def safe(self) -> SafeState:
        self.move()
        self.power = self.fan = 0.0
        self.log.append((self.clock.monotonic(), None, -math.inf))
        return SafeState(Power.OFF, {"power": 0.0, "fan": 0.0})

    def close(self) -> None:
        pass


class Heater(Declared):
    """The plant as a declared instrument in virtual time."""

    simulated: ClassVar[bool] = True  # type: ignore[misc]
    virtual: ClassVar[bool] = True  # type: ignore[misc]

    kind: Literal["heater"] = "heater"
    _plant: Any = PrivateAttr(None)

    @property
    def address(self) -> str:
        return "heater"

    def connect(self, clock: Clock) -> Plant:
        self._plant.clock = clock
        plant: Plant = self._plant
        return plant


def drawn(seed: int) -> tuple[dict[str, Any], Plant, float, float]:
    """A campaign with its plant, its rate (per second) and its limit."""
    rng = random.Random(seed)
    plant, step = Plant(rng), rng.choice([None, 0.5, 3.0])
    rate, limit = rng.choice([1.0, 10.0, 60.0, 300.0]), rng.uniform(60, 300)
    power = {"high": 99.0, "unit": "W"} | ({} if step is None else {"step": step})
    settle: Any = rng.choice([None, 30.0, {"until": "T", "within": 3.0, "for": 20.0, "at most": 1200.0}])
    tree = {
        "inputs": {"power": power, "fan": {}},
        "channels": {"T": {"unit": "°C"}},
        "constraints": ("power + 50 * fan <= 120",),
        "derived": {"above": "T - 20"},
        "off": {"power": 0, "fan": 0},
        "settle": settle,
        "takes": max(plant.seconds, 0.1),
        "ramp": {"power": f"{rate} per min"},
        "limits": {rng.choice(["T"] * 3 + ["above"]): {"at most": limit}},
    }
    instrument = Heater.model_validate(tree)
    instrument._plant = plant
    if "above" in instrument.limits:
        limit += 20
    design = {"kind": "latin-hypercube", "trials": 4}
    campaign = {
        "name": "heater", "instrument": instrument, "goal": {"T": rng.uniform(30, 300)}, "tolerance": 3.0, "seed": seed,
        "design": design, "solver": rng.choice(["linear", "random"]), "confirm": 1, "stop": {"trials": 8},
    }  # fmt: skip
    return campaign, plant, rate / 60, limit


@pytest.mark.parametrize("first", range(0, CAMPAIGNS, A_TEST))
def test_no_command_is_beyond_the_ramp_and_it_is_off_within_one_reading_of_a_limit(first: int) -> None:
    ended: set[Outcome | None] = set()
    for seed in range(first, first + A_TEST):
        campaign, plant, rate, limit = drawn(seed)
        result = sdl.run(campaign, runs=None)
        ended.add(result.outcome)
        beyond = [n for n, (_, _, shown) in enumerate(plant.log) if shown > limit]
        assert all(plant.log[n + 1][1] is None for n in beyond), seed
        assert bool(beyond) == (result.by == "interlock"), seed
        assert len(beyond) <= 1, seed
        if beyond:
            assert result.outcome is Outcome.FAILED
            assert "above its limit" in result.reason
            assert "it was switched off" in result.reason
        for (then, before, _), (now, after, _) in itertools.pairwise(plant.log):
            if after is None:
                continue
            start = 0.0 if before is None else before["power"]
            assert abs(after["power"] - start) <= rate * (now - then) * SLACK + 1e-9, seed
            assert after["power"] + 50 * after["fan"] <= 120 + 1e-6, seed
        assert plant.log[-1][1] is None, seed
        assert result.safe is None or result.safe.proven
    assert len(ended) > 1
