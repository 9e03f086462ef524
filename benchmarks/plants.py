"""Simulated plants that solvers are compared on, and a campaign on one of them without files, clock or record.

A plant is an ambient reading and gains times features of the settings. Plants of the LED (`affine` to `unit`) differ
from the real instrument in one respect each; plants of a shape (`SHAPES`) are nonlinear, and the coefficients of each
are drawn anew for every pair. Goals are readings of the plant itself without noise at settings drawn from .1 to .9, so
that every goal can be reached.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sdl.core.goal import Band, Goal
from sdl.designs.filling import Axis, LatinHypercube
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
    """An instrument of d inputs from 0 to 1 and m channels: settings -> light (f features) -> readings.

    Attributes:
        gains: (m, f) readings for each feature; of the LED: for the light of each input.
        ambient: (m,) readings without light.
        light: from settings (..., d) to features (..., f).
        d: number of inputs; by default f.
        channels: names; the goal's are among them.
        goals: channels that goals are set for.
        full: readings at which the channels (m,) end.
        headroom: `task` sets `full` to so many times the goal; 0: leaves it.
        noise: standard deviation of a reading as a part of it.
        jitter: the real instrument's noise instead: shared by the channels of a window, none at both ends.
        drift: part of the gains that is lost with every reading.
        step: part of the gains that is lost at once, before the reading of the first proposal after an axis design.
        near_corner: goals are drawn close to the ends of the inputs instead of from .1 to .9.
    """

    gains: Floats
    ambient: Floats = field(default_factory=lambda: np.zeros(1))
    light: Callable[[Floats], Floats] = field(default=lambda X: X)
    d: int = 0
    channels: tuple[str, ...] = GOAL
    goals: tuple[str, ...] = GOAL
    full: float | Floats = FULL
    headroom: float = 0.0
    noise: float = 0.0035
    jitter: bool = False
    drift: float = 0.0
    step: float = 0.0
    near_corner: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "d", self.d or self.gains.shape[1])

    @property
    def inputs(self) -> tuple[Input, ...]:
        return tuple(Input(name="RGBW"[i] if self.d <= 4 else f"x{i + 1}") for i in range(self.d))

    @property
    def goal(self) -> NDArray[np.intp]:
        """Columns of the channels that goals are set for."""
        return np.array([self.channels.index(name) for name in self.goals])

    def left(self, n: int) -> float:
        """Part of the gains that is left after n readings."""
        return float((1 - self.drift) ** n * (1 - self.step * (n > self.d)))

    def noise_free(self, X: Floats, n: int = 0) -> Floats:
        """(..., m) readings at settings (..., d) without noise, after n readings."""
        return np.minimum(self.ambient + self.light(X) @ self.gains.T * self.left(n), self.full)

    def read(self, X: Floats, n: int, rng: Rng) -> Floats:
        """(m,) the reading at settings (d,) that comes after n others; whole counts."""
        light, gains = self.light(X), self.gains * self.left(n)
        clean = self.ambient + gains @ light
        if self.jitter:
            common, own = rng.normal(size=(3, 1)), rng.normal(size=(3, len(X)))
            own[:, 1:3] = np.sqrt(SHARED) * common + np.sqrt(1 - SHARED) * own[:, 1:3]
            window = WINDOW[[SPECTRUM.index(name) for name in self.channels]]
            shake = (JITTER * np.sqrt(X * (1 - X)) * own)[window]
            clean = clean + (gains * shake).sum(axis=1) + 2.8e-4 * clean * rng.normal(size=len(clean))
        else:
            clean = clean * (1 + self.noise * rng.normal(size=len(clean)))
        return np.floor(np.clip(clean, 0, self.full))

    def rows(self, X: Floats, rng: Rng, n: int = 0) -> Data:
        """What a solver gets when the settings (k, d) are read one after the other."""
        Y = np.array([self.read(x, n + i, rng) for i, x in enumerate(X)]).reshape(len(X), len(self.channels))
        return self.data(X, Y)

    def data(self, X: Floats, Y: Floats, sitting: Floats | None = None) -> Data:
        """Rows (n, d) and (n, m), oldest first, as a solver gets them."""
        wanted = np.isin(np.arange(len(self.channels)), self.goal)
        ends = np.broadcast_to(self.full, len(self.channels)).tolist()
        channels = tuple(
            Channel(name=name, low=0.0, high=end if end < np.inf else None)
            for name, end in zip(self.channels, ends, strict=True)
        )
        age = np.arange(len(X) - 1, -1, -1, dtype=float)
        return Data(
            X,
            Y,
            np.floor(self.full) <= Y,
            wanted,
            age,
            np.zeros(len(X)) if sitting is None else sitting,
            self.inputs,
            channels,
        )

    def draw(self, rng: Rng) -> Floats:
        """(d,) settings of a goal that a noisy reading at them can hit without being cut at full scale."""
        d = self.d
        for _ in range(1000):
            x = rng.uniform(0.1, 0.9, d)
            if self.near_corner:
                x = np.where(rng.random(d) < 0.5, x / 20, 1 - x / 20)  # .005 to .045 from an end
            if (self.ambient + self.light(x) @ self.gains.T)[self.goal].max() < 0.985 * np.max(self.full):
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


# Plants of a shape; coefficients as in the table of benchmarks/README.md ---------------------------------------------
def _shape(ambient: float, gains: Floats, light: Callable[[Floats], Floats], d: int = 0) -> Plant:
    names = tuple(f"y{i + 1}" for i in range(len(gains)))
    return Plant(gains, np.full(len(gains), ambient), light, d, names, names, np.inf)


def _mixing(rng: Rng, d: int = 3) -> Floats:
    """(d, d) gains, each input's own channel the strongest."""
    A = rng.uniform(6000, 16000, (d, d))
    A[np.diag_indices(d)] = rng.uniform(26000, 34000, d)
    return A


def _turning(rng: Rng, d: int) -> Floats:
    """(d, d) gains of the turning plants."""
    B = np.array([[40.0, 9.0], [7.0, 42.0]])[:d, :d]
    return 1e3 * B * rng.uniform(0.9, 1.1, (d, d))


def linear_plant(gains: Floats) -> Plant:
    return _shape(1000, gains, lambda X: X)


def _plane(rng: Rng) -> Plant:
    return _shape(rng.uniform(500, 1500), _mixing(rng), lambda X: X)


def _products(rng: Rng) -> Plant:
    S = rng.choice([-1, 1], (3, 3)) * rng.uniform(5250, 10500, (3, 3))
    both = lambda X: np.concatenate([X, X * np.roll(X, -1, axis=-1)], axis=-1)  # noqa: E731
    return _shape(12000, np.hstack([0.8 * _mixing(rng), S]), both, 3)


def _beer(rng: Rng) -> Plant:
    E = rng.uniform(0.15, 0.6, (3, 3))
    E[np.diag_indices(3)] = rng.uniform(1.3, 1.7, 3)
    return _shape(300, 58000 * np.eye(3), lambda X: np.exp(-X @ E.T))


def _beer54(rng: Rng) -> Plant:
    E = (rng.uniform(2000, 15000, (4, 5)) + 14000 * np.eye(4, 5)) / 18000
    return _shape(300, 58000 * np.eye(4), lambda X: np.exp(-X @ E.T), 5)


def _michaelis(rng: Rng) -> Plant:
    k = rng.uniform(0.2, 0.45, 3)
    return _shape(800, _mixing(rng), lambda X: X * (1 + k) / (k + X))


def _competitive(rng: Rng) -> Plant:
    k, q = rng.uniform(0.2, 0.45, 3), rng.uniform(1, 2, 3)
    return _shape(800, _mixing(rng), lambda X: X * (1 + k) / (k * (1 + q * np.roll(X, 1, axis=-1)) + X))


def _hill(rng: Rng) -> Plant:
    k, h = rng.uniform(0.35, 0.6, 3), rng.uniform(2, 3, 3)
    return _shape(800, _mixing(rng), lambda X: np.maximum(X, 0) ** h * (1 + k**h) / (k**h + np.maximum(X, 0) ** h))


def _square(rng: Rng, d: int = 2) -> Plant:
    c = rng.uniform(0.42, 0.58, d)
    return _shape(5000, _turning(rng, d), lambda X: 4 * (X - c) ** 2)


def _peaks(rng: Rng, d: int = 2) -> Plant:
    c, w = rng.uniform(0.4, 0.6, d), rng.uniform(0.2, 0.35, d)
    return _shape(2000, _turning(rng, d), lambda X: 1 / (1 + ((X - c) / w) ** 2))


def _swap(rng: Rng) -> Plant:
    return _shape(4000, np.diag([20000.0, 40000.0]), lambda X: np.stack([X.sum(axis=-1), X.prod(axis=-1)], axis=-1), 2)


def _sine(rng: Rng) -> Plant:
    gains = np.array([[8000.0, 0, 0, 2000], [0, 8000, 1500, 0]])
    return _shape(10000, gains, lambda X: np.concatenate([np.sin(2 * np.pi * X), X], axis=-1), 2)


def _ring(rng: Rng) -> Plant:
    return _shape(5000, np.array([[60000.0]]), lambda X: ((X - 0.5) ** 2).sum(axis=-1, keepdims=True), 2)


def _random(rng: Rng) -> Plant:
    """Of 1 to 4 inputs and up to one channel more than inputs, one of six kinds; channels from 10,000 to 60,000."""
    d = int(rng.integers(1, 5))
    m = int(rng.integers(1, d + 2))
    A, P, kind = rng.normal(size=(m, d)), np.abs(rng.normal(size=(m, d))), int(rng.integers(6))
    if kind == 0:  # inputs that act together
        Q = 2 * rng.normal(size=(m, d, d))
        light = lambda X: X @ A.T + np.einsum("...i,mij,...j->...m", X - 0.5, Q, X - 0.5)  # noqa: E731
    elif kind == 1:  # a peak
        c, w = rng.uniform(0.2, 0.8, (m, d)), rng.uniform(0.3, 0.8, (m, d))
        light = lambda X: np.exp(-0.5 * (((X[..., None, :] - c) / w) ** 2).sum(axis=-1))  # noqa: E731
    elif kind == 2:  # waves on a sigmoid
        B = 0.5 * rng.normal(size=(m, d)) / np.sqrt(d)
        light = lambda X: np.tanh(2 * (X - 0.5) @ A.T) + np.sin(3 * X) @ B.T  # noqa: E731
    elif kind == 3:
        light = lambda X: np.exp(1.5 * X @ P.T)  # noqa: E731
    elif kind == 4:
        k = rng.uniform(0.1, 0.5, d)
        light = lambda X: X / (k + X) @ P.T  # noqa: E731
    else:  # a steep step, as of a titration
        P, c, steep = P / P.sum(axis=1, keepdims=True), rng.uniform(0.25, 0.75, m), rng.uniform(15, 60, m)
        light = lambda X: 1 / (1 + np.exp(-steep * (X @ P.T - c))) + 0.1 * X @ P.T  # noqa: E731
    seen = light(rng.random((2000, d)))
    low, gain = seen.min(axis=0), 50000 / np.ptp(seen, axis=0)
    return _shape(10000, np.diag(gain), lambda X: light(X) - low, d)


def _near_full(make: Callable[[Rng], Plant]) -> Callable[[Rng], Plant]:
    """The same with each channel's full scale 3 % above the goal (`task` sets it)."""
    return lambda rng: replace(make(rng), headroom=1.03)


SHAPES: dict[str, Callable[[Rng], Plant]] = {
    "plane": _plane,
    "products": _products,
    "Beer": _beer,
    "Beer 5→4": _beer54,
    "Michaelis": _michaelis,
    "competitive": _competitive,
    "Hill": _hill,
    "square": _square,
    "parabola": lambda rng: _square(rng, 1),
    "peak": lambda rng: _peaks(rng, 1),
    "two peaks": _peaks,
    "swap": _swap,
    "sine": _sine,
    "ring": _ring,
    "random": _random,
    "plane, full": _near_full(_plane),
    "Beer, full": _near_full(_beer),
    "Michaelis, full": _near_full(_michaelis),
    "plane, noise 3.5 %": lambda rng: replace(_plane(rng), noise=0.035),
    "plane, drift": lambda rng: replace(_plane(rng), drift=0.001),
    "plane, step": lambda rng: replace(_plane(rng), step=0.03),
    "Beer, step": lambda rng: replace(_beer(rng), step=0.03),
}
"""Formulas: benchmarks/README.md. `full`: each channel ends 3 % above its goal; `step`: 3 % of the gains go at once."""

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
    **SHAPES,
}
"""Each is drawn anew for every pair; those of the LED, but for `unit`, are always the same."""


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
        cap: trials after which a campaign has failed.
        wrong: so many rows of the prior are wrong: by turns of the pairs other settings, zero readings, a lamp left on.
        beyond: part of each target by which the goal lies outside the plant's readings; such a campaign succeeds where
            the solver says so twice running.
    """

    plant: str
    tolerance: float
    criterion: Literal["noise-free", "measured", "confirmed"] = "noise-free"
    initial: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    prior: int = 0
    moved: float = 0.0
    asked: tuple[float, float] | None = None
    tail: int = 95
    over_floor: int | None = None
    cap: int = CAP
    wrong: int = 0
    beyond: float = 0.0


TWIN = {"knows": "twin"}
ASKED: dict[str, tuple[float, float] | None] = {
    "plane": (5, 6),
    "products": (8, 10),
    "Beer": (6.5, 8),
    "Beer 5→4": (9, 11),
    "Michaelis": (8, 9.5),
    "competitive": (8, 10),
    "Hill": None,
    "square": (9.5, 12),
    "parabola": (6.5, 9),
    "peak": (6.5, 9),
    "two peaks": (9, 11),
    "random": None,
    "plane, full": (9, 11),
    "Beer, full": (9, 11),
    "Michaelis, full": (9, 11),
    "plane, noise 3.5 %": None,
    "plane, drift": (5, 6),
    "plane, step": (7, 12),
    "Beer, step": (7, 12),
}
"""Trials to 1 %, median and p95, that the default solver must reach."""
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
    **{f"{name}, 1 %": Scenario(name, 1, asked=asked, cap=40) for name, asked in ASKED.items()},
    **{
        f"{name}, {wrong} of 40 rows wrong": Scenario(name, 1, initial=0, prior=40, wrong=wrong, cap=40)
        for name in ("plane", "Beer")
        for wrong in (0, 1, 2, 4)
    },
    **{
        f"{name}, impossible": Scenario(name, 1, beyond=0.08, asked=(12, 12), cap=40)
        for name in ("plane", "products", "Beer", "Michaelis", "competitive", "random")
    },
}


@dataclass(frozen=True)
class Ended:
    """How a campaign went.

    Attributes:
        reached: within CAP trials.
        trials: all of them, design included, the prior left out.
        proposals: the solver's.
        cpu: seconds of processor time that all its proposals took.
        alarms: proposals that called the goal unreachable.
        twice: how often that was so twice running, which ends a campaign.
        error: why the solver failed, where it did.
    """

    reached: bool
    trials: int
    proposals: int
    cpu: float
    alarms: int
    twice: int
    error: str = ""


class Perfect:
    """Not a solver: stands for one that knows the plant, so that a campaign shows what its noise alone costs."""

    kind = "perfect"

    def fit(self, data: Data) -> Any:
        """Never asked: `campaign` gives its answers."""
        raise NotImplementedError


def campaign(scenario: Scenario, solver: Solver, pair: int, cap: int | None = None) -> Ended:
    """One campaign, as the runner would do it: goal, unit, noise and draws depend on `pair` alone.

    Design points come first; a solver that cannot answer yet is replaced by the next axis point, and after these by
    the point farthest from those taken.
    """
    plant, goal, truth = task(scenario, pair)
    cap = scenario.cap if cap is None else cap
    noise = np.random.default_rng([pair, 1])
    X, Y = _prior(scenario, plant, pair)
    taken = len(X)
    inputs, axis = plant.inputs, Axis()
    planned = len(inputs) + 1 if scenario.initial is None else scenario.initial
    design = LatinHypercube(trials=max(scenario.initial or 1, 1)) if scenario.initial else axis
    proposals = alarms = running = twice = readings = 0
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
                    said = answer.verdict is Verdict.UNREACHABLE
                    alarms, running = alarms + said, (running + 1) * said
                proposals += 1
            except (NotEnoughData, Degenerate):
                asked = False
                point = trial if not scenario.initial else cap
                x = axis.point(point, X, inputs, lambda n: np.random.default_rng([pair, 3, n]))
            except SolverError as error:
                return Ended(False, trial, proposals, cpu, alarms, twice, str(error))
            cpu += time.process_time() - began
            twice += running == 2
        else:
            x = design.point(trial, X, inputs, lambda n: np.random.default_rng([pair, 3, n]))
        if scenario.beyond and running == 2:
            return Ended(True, trial, proposals, cpu, alarms, twice)
        if asked and scenario.criterion == "noise-free" and _hit(plant, goal, plant.noise_free(x, readings)):
            return Ended(True, trial + 1, proposals, cpu, alarms, twice)
        got = [plant.read(x, readings, noise)]
        if scenario.criterion != "noise-free" and _hit(plant, goal, got[0]):
            if scenario.criterion == "confirmed":
                got += [plant.read(x, readings + 1 + i, noise) for i in range(2)]
            if _hit(plant, goal, np.mean(got, axis=0), np.max(got, axis=0)):
                return Ended(True, trial + 1, proposals, cpu, alarms, twice)
        readings += len(got)
        X, Y = np.vstack([X, np.tile(x, (len(got), 1))]), np.vstack([Y, *got])
    return Ended(False, cap, proposals, cpu, alarms, twice)


def task(scenario: Scenario, pair: int) -> tuple[Plant, Goal, Floats]:
    """The plant, a goal that it can reach, and the settings (d,) that reach it, of one pair."""
    plant = PLANTS[scenario.plant](np.random.default_rng([pair, 4]))
    truth = plant.draw(np.random.default_rng([pair, 0]))
    target = plant.noise_free(truth)[plant.goal]
    if plant.headroom:
        plant = replace(plant, full=plant.headroom * target)
    half = scenario.tolerance / 100
    if scenario.beyond:
        target = outside(plant, scenario.beyond + half, np.random.default_rng([pair, 6]))
    bands = {name: Band.around(t, t * half) for name, t in zip(plant.goals, target.tolist(), strict=True)}
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


def outside(plant: Plant, by: float, rng: Rng) -> Floats:
    """(channels of the goal,) a goal whose nearest readings miss it in the worst channel by this part of it."""
    start = plant.noise_free(plant.draw(rng))[plant.goal]
    way = rng.uniform(-1, 1, len(start))
    way /= np.abs(way).max()
    near, far = 0.0, 0.0
    while nearest(plant, start * np.exp(far * way), rng) < by:
        near, far = far, far + 0.2
    for _ in range(8):
        middle = (near + far) / 2
        near, far = (middle, far) if nearest(plant, start * np.exp(middle * way), rng) < by else (near, middle)
    return np.asarray(start * np.exp(far * way))


def nearest(plant: Plant, value: Floats, rng: Rng) -> float:
    """The least relative miss of the worst channel that any settings reach, by a random search that narrows."""

    def miss(X: Floats) -> Floats:
        found: Floats = np.abs(plant.noise_free(X)[:, plant.goal] / value - 1).max(axis=1)
        return found

    X = rng.uniform(-0.15, 1.15, (3000, plant.d)).clip(0, 1)  # many at the ends
    for width in 0.2 * 0.6 ** np.arange(14):
        best = X[np.argsort(miss(X))[:8]]
        X = np.vstack([best, (best.repeat(40, axis=0) + width * rng.normal(size=(320, plant.d))).clip(0, 1)])
    return float(miss(X).min())


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
    X, Y = data.X.copy(), data.Y.copy()
    for row in rng.choice(len(X), scenario.wrong, replace=False):
        if pair % 3 == 0:
            X[row] = rng.random(d)
        elif pair % 3 == 1:
            Y[row] = 0
        else:
            Y[row] = before.read(np.ones(d), 0, rng)
    return X, Y


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
    ends = dict(zip(plant.channels, np.floor(np.broadcast_to(plant.full, len(y))).tolist(), strict=True))
    full = [name for name, v in zip(plant.channels, y if highest is None else highest, strict=True) if v >= ends[name]]
    return goal.reached(readings, full)
