"""The data, targets and proposals of a model, as arrays.

The shapes: n rows, d inputs, m channels, k goals asked at once.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from sdl.grammar import LinearConstraint
from sdl.types import Channel, Input, Verdict

if TYPE_CHECKING:
    from sdl.arrays import Bools, Floats
    from sdl.space import Space


class Knowledge(NamedTuple):
    """What is known of an instrument before any reading: each channel a linear function of the settings.

    Attributes:
        mean: (m, d + 1) reading with all inputs at their lower bounds, and its change over the range of each input.
        sd: (m, d + 1) standard deviations of these.
    """

    mean: Floats
    sd: Floats


class Objective(NamedTuple):
    """The channel to maximise (sign 1) or minimise (sign -1), by its column."""

    column: int
    sign: float


@dataclass(frozen=True)
class Data:
    """The rows that a model is fitted to, oldest first. The background is subtracted from the readings."""

    X: Floats  # (n, d) applied settings, one for each column of `space`; without choices and equalities, each input
    Y: Floats  # (n, m) readings; NaN where a channel was not measured
    saturated: Bools  # (n, m) a bound, not a value
    goal: Bools  # (m,) the channels that proposals will be asked for
    age: Floats  # (n,) number of readings taken since; 0 for the newest row
    session: Floats  # (n,) rows with the same number were taken together
    inputs: tuple[Input, ...]
    channels: tuple[Channel, ...]
    current_session: float | None = None  # session of the next reading; None: that of the newest row
    prefer: tuple[float, ...] | None = None  # (d,) cost of each column over its range; lower total cost is preferred
    average: int = 1  # number of readings averaged before they are compared with the goal
    objective: Objective | None = None  # the other channels of the goal are then constraints
    knowledge: Knowledge | None = None  # prior knowledge of the instrument, for a solver that asks for it
    constraints: tuple[LinearConstraint, ...] = ()  # conditions on the inputs that every proposal keeps

    @cached_property
    def space(self) -> Space:
        """The space of the inputs; its columns are those of X."""
        from sdl.space import Space  # it needs numpy, which a validation should not load

        return Space(self.inputs, self.constraints)

    @property
    def sitting(self) -> Floats:
        """Old name of `session`."""
        warnings.warn("Data.sitting is called Data.session", DeprecationWarning, stacklevel=2)
        return self.session


class Targets(NamedTuple):
    """k goals: the target value (NaN = none) and the accepted band (±inf = no limit), each (k, m)."""

    value: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True)
class Proposals:
    """Proposed settings for k goals; NaN = unknown.

    They may lie outside the bounds: `sdl.inverse.propose` rounds and clips them, and records that it did.
    """

    settings: Floats  # (k, d)
    spread: Floats  # (k, d) standard deviation of the settings for one noisy reading at the goal
    uncertainty: Floats  # (k, d) the same for the noise-free goal: standard error of the model
    expected: Floats | None  # (k, m) readings expected at the settings
    verdict: tuple[Verdict, ...]  # (k,)
    why: tuple[str, ...]  # (k,) a sentence for the record
    nearest: Floats | None = None  # (k, m) closest readings that can be reached, if the goal is unreachable; else NaN
    probability: Floats | None = None  # (k,) that any settings reach the goal; NaN = unknown
    lack_of_fit: Floats | None = None  # (k, m) standard deviation of the lack of fit; NaN = not significant
    model: str = ""  # name of the model that the goals were judged by
    expected_error: Floats | None = None  # (k, m) standard deviation of the mean of a trial's readings about `expected`
    readings_needed: Floats | None = None  # (k,) to average where the tolerance is below the noise; else NaN
    # With an objective:
    incumbent: Floats | None = None  # (k, d) best settings measured that keep the constraints; NaN = none
    estimate: Floats | None = None  # (k,) noise-free reading of the objective there, by the model
    estimate_error: Floats | None = None  # (k,) its standard error
    expected_improvement: Floats | None = None  # (k,) of the reading at the settings over the estimate
