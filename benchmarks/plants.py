"""Simulated plants that solvers are compared on, and a campaign on one of them without files, clock or record.

A plant is simpler than the twin and bends where the twin does not: each differs from the affine one in one respect, so
that a table of results says what a solver can cope with. Goals are readings of the plant itself without noise at
settings drawn from .1 to .9, so that every goal can be reached.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sdl.core.goal import Band, Goal
from sdl.designs.filling import LatinHypercube
from sdl.designs.given import Axis
from sdl.errors import Degenerate, NotEnoughData, SolverError
from sdl.inverse.propose import propose
from sdl.solvers.base import Data, Solver, Targets
from sdl.types import Channel, Input, Verdict

Floats = NDArray[np.float64]
Rng = np.random.Generator

FULL = 65535.0
"""Where a 16-bit sensor ends."""
SPECTRUM = ("415nm", "445nm", "480nm", "515nm", "555nm", "590nm", "630nm", "680nm", "clear", "nir")
GOAL = ("445nm", "515nm", "630nm")
# Counts of the real instrument for each input at 1, in the dark (fit to 226 public readings of autumn 2025).
GAINS = np.array(
    [
        [423, 122, 421, 365, 477, 15393, 29264, 298, 22663, 1513],
        [938, 365, 11728, 63597, 9989, 1283, 1322, 1255, 50702, 1322],
        [1176, 30226, 8503, 428, 412, 485, 753, 948, 27968, 112],
    ],
    dtype=float,
).T
WHITE = np.array([9000.0, 21000.0, 8000.0])
"""Counts of a white LED, a mixture, in the three channels of the goal."""
COLUMNS = [SPECTRUM.index(name) for name in GOAL]
WINDOW = np.array([0, 0, 0, 0, 1, 1, 1, 1, 2, 2])
"""Channels that the sensor reads at the same time and that therefore jitter together."""
JITTER = np.array([[0.0045], [0.0070], [0.012]])
"""Standard deviation of an input in each window, in units of sqrt(d (1 - d))."""
SHARED = 0.8
"""Correlation of the jitters of G and B."""
CAP = 60
"""Trials after which a campaign has failed."""


@dataclass(frozen=True)
class Plant:
    """An instrument of d inputs from 0 to 1 and m channels: settings -> light -> readings.

    Attributes:
        gains: (m, d) readings for the light of each input.
        ambient: (m,) readings without light.
        light: from settings (..., d) to light (..., d).
        channels: names; the goal's are among them.
        noise: standard deviation of a reading as a part of it.
        jitter: the real instrument's noise instead: shared by the channels of a window, none at both ends.
        drift: part of the gains that is lost with every reading.
        near_corner: goals are drawn close to the ends of the inputs instead of from .1 to .9.
    """

    gains: Floats
    ambient: Floats = field(default_factory=lambda: np.zeros(1))
    light: Callable[[Floats], Floats] = field(default=lambda X: X)
    channels: tuple[str, ...] = GOAL
    noise: float = 0.0035
    jitter: bool = False
    drift: float = 0.0
    near_corner: bool = False

    @property
    def inputs(self) -> tuple[Input, ...]:
        return tuple(Input(name=name) for name in "RGBW"[: self.gains.shape[1]])

    @property
    def goal(self) -> NDArray[np.intp]:
        """Columns of the channels that goals are set for."""
        return np.array([self.channels.index(name) for name in GOAL])

    def noise_free(self, X: Floats, n: int = 0) -> Floats:
        """(..., m) readings at settings (..., d) without noise, after n readings."""
        return np.minimum(self.ambient + self.light(X) @ self.gains.T * (1 - self.drift) ** n, FULL)

    def read(self, X: Floats, n: int, rng: Rng) -> Floats:
        """(m,) the reading at settings (d,) that comes after n others; whole counts."""
        light, gains = self.light(X), self.gains * (1 - self.drift) ** n
        clean = self.ambient + gains @ light
        if self.jitter:
            common, own = rng.normal(size=(3, 1)), rng.normal(size=(3, len(X)))
            own[:, 1:3] = np.sqrt(SHARED) * common + np.sqrt(1 - SHARED) * own[:, 1:3]
            window = WINDOW[[SPECTRUM.index(name) for name in self.channels]]
            shake = (JITTER * np.sqrt(X * (1 - X)) * own)[window]
            clean = clean + (gains * shake).sum(axis=1) + 2.8e-4 * clean * rng.normal(size=len(clean))
        else:
            clean = clean * (1 + self.noise * rng.normal(size=len(clean)))
        return np.floor(np.clip(clean, 0, FULL))

    def rows(self, X: Floats, rng: Rng, n: int = 0) -> Data:
        """What a solver gets when the settings (k, d) are read one after the other."""
        Y = np.array([self.read(x, n + i, rng) for i, x in enumerate(X)]).reshape(len(X), len(self.channels))
        return self.data(X, Y)

    def data(self, X: Floats, Y: Floats, sitting: Floats | None = None) -> Data:
        """Rows (n, d) and (n, m), oldest first, as a solver gets them."""
        wanted = np.isin(np.arange(len(self.channels)), self.goal)
        channels = tuple(Channel(name=name, low=0.0, high=FULL) for name in self.channels)
        age = np.arange(len(X) - 1, -1, -1, dtype=float)
        return Data(
            X, Y, Y >= FULL, wanted, age, np.zeros(len(X)) if sitting is None else sitting, self.inputs, channels
        )

    def draw(self, rng: Rng) -> Floats:
        """(d,) settings of a goal that a noisy reading at them can hit without being cut at full scale."""
        d = self.gains.shape[1]
        for _ in range(1000):
            x = rng.uniform(0.1, 0.9, d)
            if self.near_corner:
                x = np.where(rng.random(d) < 0.5, x / 20, 1 - x / 20)  # .005 to .045 from an end
            if (self.ambient + self.light(x) @ self.gains.T)[self.goal].max() < 0.985 * FULL:
                return x
        raise RuntimeError("no goal below full scale was found in 1000 draws")


def _curved(a: float) -> Callable[[Floats], Floats]:
    return lambda X: X + a * X * (1 - X)


def _sag(X: Floats) -> Floats:
    """A supply that gives 15 % less where all inputs are full on."""
    return X * (1 - 0.15 * X.mean(axis=-1, keepdims=True))


def _unit(rng: Rng) -> Plant:
    """Another instrument of the same make, in another room."""
    return Plant(THREE * rng.uniform(0.8, 1.2, THREE.shape), rng.uniform(0, 5000, 3))


THREE = GAINS[COLUMNS]
PLANTS: dict[str, Callable[[Rng], Plant]] = {
    "affine": lambda rng: Plant(THREE),
    "curved .3": lambda rng: Plant(THREE, light=_curved(0.3)),
    "curved .8": lambda rng: Plant(THREE, light=_curved(0.8)),
    "gamma 1.8": lambda rng: Plant(THREE, light=lambda X: np.maximum(X, 0) ** 1.8),
    "droop": lambda rng: Plant(THREE, light=_sag),
    "drift": lambda rng: Plant(THREE, drift=0.001),
    "noise 1 %": lambda rng: Plant(THREE, noise=0.01),
    "jitter": lambda rng: Plant(GAINS, channels=SPECTRUM, jitter=True),
    "spectrum": lambda rng: Plant(GAINS, channels=SPECTRUM),
    "saturating": lambda rng: Plant(2 * THREE),
    "RGBW": lambda rng: Plant(np.column_stack([THREE, WHITE])),
    "corner": lambda rng: Plant(THREE, near_corner=True),
    "unit": _unit,
}
"""Each is drawn anew for every pair; all but `unit` are always the same."""


@dataclass(frozen=True)
class Scenario:
    """What is asked of a solver on a plant.

    Attributes:
        plant: a key of PLANTS.
        tolerance: per cent of each target.
        criterion: `noise-free`: a proposal's reading without noise, as the plant is then, lies inside every band;
            `measured`: its one noisy reading does; `confirmed`: and so does the mean with two more.
        initial: Latin-hypercube points before the solver is asked; None: the inputs + 1 axis points.
        options: hyper-parameters for the solvers that have them.
        prior: rows of an earlier record of the same unit that every campaign starts with; no design then.
        moved: most that each channel's ambient light has changed since that record, counts.
        asked: what the default solver must reach: trials median and at `tail` per cent, design included.
        tail: percentile of the second of them.
        over_floor: the same as trials beyond the median of one that knows the plant.
    """

    plant: str
    tolerance: float
    criterion: Literal["noise-free", "measured", "confirmed"] = "noise-free"
    initial: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    prior: int = 0
    moved: float = 0.0
    asked: tuple[int, int] | None = None
    tail: int = 95
    over_floor: int | None = None


TWIN = {"knows": "twin"}
SCENARIOS: dict[str, Scenario] = {
    "affine, 1 %": Scenario("affine", 1, asked=(5, 6)),
    "affine, 0.5 %": Scenario("affine", 0.5, asked=(5, 7)),
    "jitter, 2 % confirmed": Scenario("jitter", 2, "confirmed", over_floor=1),
    "curved .3, 1 %": Scenario("curved .3", 1, asked=(7, 10)),
    "curved .3, 0.5 %": Scenario("curved .3", 0.5, asked=(8, 11)),
    "curved .8, 1 %": Scenario("curved .8", 1, asked=(9, 13)),
    "gamma 1.8, 2 % measured": Scenario("gamma 1.8", 2, "measured", asked=(7, 9)),
    "droop, 2 % measured": Scenario("droop", 2, "measured", asked=(6, 7)),
    "drift, 0.5 %, 4 axis points": Scenario("drift", 0.5, asked=(CAP, CAP)),
    "drift, 0.5 %, 4 points": Scenario("drift", 0.5, initial=4, asked=(CAP, CAP)),
    "drift, 0.5 %, 10 points": Scenario("drift", 0.5, initial=10, asked=(CAP, CAP)),
    "drift, 0.5 %, 20 points": Scenario("drift", 0.5, initial=20, asked=(CAP, CAP)),
    "noise 1 %, 1 %": Scenario("noise 1 %", 1),
    "saturating, 1 %": Scenario("saturating", 1),
    "RGBW, 1 %": Scenario("RGBW", 1),
    "near a corner, 1 %": Scenario("corner", 1),
    "another unit, 2 % measured": Scenario("unit", 2, "measured", initial=0, options=TWIN, asked=(2, 3)),
    "known unit, room ≤ 300": Scenario("unit", 2, "measured", 0, TWIN, prior=30, moved=300, asked=(1, 2), tail=90),
    "known unit, room ≤ 5000": Scenario("unit", 2, "measured", 0, TWIN, prior=30, moved=5000, asked=(2, 3)),
}


@dataclass(frozen=True)
class Ended:
    """How a campaign went.

    Attributes:
        reached: within CAP trials.
        trials: all of them, design included, the prior left out.
        proposals: the solver's.
        cpu: seconds of processor time that all its proposals took.
        alarms: proposals that called the goal, which can be reached, unreachable.
        error: why the solver failed, where it did.
    """

    reached: bool
    trials: int
    proposals: int
    cpu: float
    alarms: int
    error: str = ""


class Perfect:
    """Not a solver: stands for one that knows the plant, so that a campaign shows what its noise alone costs."""

    kind = "perfect"

    def fit(self, data: Data) -> Any:
        """Never asked: `campaign` gives its answers."""
        raise NotImplementedError


def campaign(scenario: Scenario, solver: Solver, pair: int, cap: int = CAP) -> Ended:
    """One campaign, as the runner would do it: goal, unit, noise and draws depend on `pair` alone.

    Design points come first; a solver that cannot answer yet is replaced by the next axis point, and after these by
    the point farthest from those taken.
    """
    plant, goal, truth = task(scenario, pair)
    noise = np.random.default_rng([pair, 1])
    X, Y = _prior(scenario, plant, pair)
    taken = len(X)
    inputs, axis = plant.inputs, Axis()
    planned = len(inputs) + 1 if scenario.initial is None else scenario.initial
    design = LatinHypercube(trials=max(scenario.initial or 1, 1)) if scenario.initial else axis
    proposals = alarms = readings = 0
    cpu = 0.0
    for trial in range(cap):
        asked = trial >= planned
        if asked:
            data = plant.data(X, Y, (np.arange(len(X)) >= taken) * 1.0)
            began = time.process_time()
            try:
                if isinstance(solver, Perfect):
                    x = _perfect(plant, goal, truth, readings)
                else:
                    answer = propose(solver, data, goal, np.random.default_rng([pair, 2, trial]))
                    x = np.array([answer.settings[item.name] for item in inputs])
                    alarms += answer.verdict is Verdict.UNREACHABLE
                proposals += 1
            except (NotEnoughData, Degenerate):
                asked = False
                point = trial if not scenario.initial else cap
                x = axis.point(point, X, inputs, lambda n: np.random.default_rng([pair, 3, n]))
            except SolverError as error:
                return Ended(False, trial, proposals, cpu, alarms, str(error))
            cpu += time.process_time() - began
        else:
            x = design.point(trial, X, inputs, lambda n: np.random.default_rng([pair, 3, n]))
        if asked and scenario.criterion == "noise-free" and _hit(plant, goal, plant.noise_free(x, readings)):
            return Ended(True, trial + 1, proposals, cpu, alarms)
        got = [plant.read(x, readings, noise)]
        if scenario.criterion != "noise-free" and _hit(plant, goal, got[0]):
            if scenario.criterion == "confirmed":
                got += [plant.read(x, readings + 1 + i, noise) for i in range(2)]
            if _hit(plant, goal, np.mean(got, axis=0), np.max(got, axis=0)):
                return Ended(True, trial + 1, proposals, cpu, alarms)
        readings += len(got)
        X, Y = np.vstack([X, np.tile(x, (len(got), 1))]), np.vstack([Y, *got])
    return Ended(False, cap, proposals, cpu, alarms)


def task(scenario: Scenario, pair: int) -> tuple[Plant, Goal, Floats]:
    """The plant, a goal that it can reach, and the settings (d,) that reach it, of one pair."""
    plant = PLANTS[scenario.plant](np.random.default_rng([pair, 4]))
    truth = plant.draw(np.random.default_rng([pair, 0]))
    target = plant.noise_free(truth)[plant.goal]
    bands = {name: Band.around(t, t * scenario.tolerance / 100) for name, t in zip(GOAL, target.tolist(), strict=True)}
    return plant, Goal(bands), truth


def targets(plant: Plant, value: Floats, tolerance: float) -> Targets:
    """Goals (k, channels of the goal) with a tolerance in per cent, as a solver gets them."""
    return targets_of_columns(value, tolerance, plant.goal.tolist(), len(plant.channels))


def targets_of_columns(value: Floats, tolerance: float, columns: Sequence[int], channels: int) -> Targets:
    """The same for some columns of so many channels."""
    parts = [np.full((len(value), channels), fill) for fill in (np.nan, -np.inf, np.inf)]
    half = np.abs(value) * tolerance / 100
    for part, wanted in zip(parts, (value, value - half, value + half), strict=True):
        part[:, columns] = wanted
    return Targets(*parts)


def spread_out(n: int, d: int, rng: Rng) -> Floats:
    """(n, d) settings: the axis points first, then a Latin hypercube."""
    plan = np.column_stack([(rng.permutation(n) + rng.uniform(size=n)) / n for _ in range(d)])[: max(n - d - 1, 0)]
    first = np.full((d + 1, d), 0.1)
    first[1:] += 0.8 * np.eye(d)
    return np.vstack([first, plan])[:n]


def _prior(scenario: Scenario, plant: Plant, pair: int) -> tuple[Floats, Floats]:
    """An earlier record of the same unit under another ambient light, each channel's within the range of units."""
    d, m = len(plant.inputs), len(plant.channels)
    if not scenario.prior:
        return np.empty((0, d)), np.empty((0, m))
    rng = np.random.default_rng([pair, 5])
    change = rng.uniform(-scenario.moved, scenario.moved, m)
    before = replace(plant, ambient=np.clip(plant.ambient + change, 0, 5000))
    data = before.rows(spread_out(scenario.prior, d, rng), rng)
    return data.X, data.Y


def _perfect(plant: Plant, goal: Goal, truth: Floats, readings: int) -> Floats:
    """Settings that give the goal's readings as the plant is now."""
    from scipy.optimize import least_squares

    target = np.array(list(goal.targets.values()))

    def miss(x: Floats) -> Floats:
        error: Floats = plant.noise_free(x, readings)[plant.goal] / target - 1
        return error

    found: Floats = least_squares(miss, truth, bounds=(0, 1), xtol=1e-12).x
    return found


def _hit(plant: Plant, goal: Goal, y: Floats, highest: Floats | None = None) -> bool:
    readings = dict(zip(plant.channels, y.tolist(), strict=True))
    full = [name for name, v in zip(plant.channels, y if highest is None else highest, strict=True) if v >= FULL]
    return goal.reached(readings, full)
