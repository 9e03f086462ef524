"""Our campaigns on the plants of `objective_plants.py`: the real loop, in memory."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from objective_plants import PLANTS, TRIALS

import sdl
from sdl.clock import Clock
from sdl.types import Channel, Frozen, Input, Power, Reading, SafeState


class Simulated(Frozen):
    """A plant as an instrument; `pair` seeds its noise."""

    kind: Literal["objective plant"] = "objective plant"
    plant: str
    pair: int

    inputs = property(lambda self: tuple(Input(name=f"x{i}") for i in range(PLANTS[self.plant].d)))
    channels = property(lambda self: tuple(Channel(name=name, unit="") for name in self.names))
    names = property(lambda self: ("y", "c") if PLANTS[self.plant].at_most is not None else ("y",))
    off = property(lambda self: {item.name: 0.0 for item in self.inputs})
    identity = property(lambda self: f"{self.plant}:{self.pair}")
    simulated = virtual = may_repeat = property(lambda self: True)
    reading_seconds = property(lambda self: 1.0)

    def open(self, clock: Clock) -> Connection:
        return Connection(self)


class Connection:
    """An open plant."""

    def __init__(self, instrument: Simulated) -> None:
        self.instrument, self.rng = instrument, np.random.default_rng([instrument.pair, 1])

    def measure(self, settings: Mapping[str, float]) -> Reading:
        x = np.array([settings[item.name] for item in self.instrument.inputs])
        y = PLANTS[self.instrument.plant].measure(x, self.rng)
        return Reading(settings, dict(zip(self.instrument.names, map(float, y), strict=True)))

    def safe(self) -> SafeState:
        return SafeState(Power.OFF, self.instrument.off)

    def close(self) -> None:
        pass


def campaigns(name: str, solver: str, first: int, last: int) -> dict[str, Any]:
    """The simple regrets at the best settings of the campaigns first ... last - 1, and the seconds of the whole."""
    plant, began, regrets = PLANTS[name], time.monotonic(), []
    for pair in range(first, last):
        instrument = Simulated(plant=name, pair=pair)
        limit = {} if plant.at_most is None else {"c": {"at most": plant.at_most}}
        done = sdl.run(
            {
                "name": "objective",
                "instrument": instrument,
                "goal": {"y": "maximise", **limit},
                "confirm": 0,
                "design": {"kind": "sobol", "trials": plant.d + 1},
                "solver": solver,
                "stop": {"trials": TRIALS, "unreachable": None},
                "seed": pair,
            },
            runs=None,
        )
        best = [done.settings.get(item.name, np.nan) for item in instrument.inputs]
        feasible = done.objective is not None and done.objective.value is not None
        regrets.append(plant.regret(np.array(best)) if feasible else float("inf"))
    return {"regrets": regrets, "seconds": time.monotonic() - began}
