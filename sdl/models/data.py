"""What a model learns from, what it is asked for, and what it answers; arrays all through.

The shapes: n rows, d inputs, m channels, k goals asked at once.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from sdl.types import Channel, Input, Verdict

if TYPE_CHECKING:
    from sdl.arrays import Bools, Floats


class Knowledge(NamedTuple):
    """What is known of an instrument before any reading: each channel a linear function of the settings.

    Attributes:
        mean: (m, d + 1) reading with all inputs at their lower bounds, and its change over the range of each.
        sd: (m, d + 1) standard deviations of these.
    """

    mean: Floats
    sd: Floats


@dataclass(frozen=True)
class Data:
    """The rows to learn from, oldest first. Readings have their background taken off."""

    X: Floats  # (n, d) applied settings
    Y: Floats  # (n, m) readings; NaN where a channel was not measured
    saturated: Bools  # (n, m) a bound, not a value
    goal: Bools  # (m,) the channels that proposals will be asked for
    age: Floats  # (n,) readings since: 0 is the newest
    session: Floats  # (n,) rows with the same number were taken together
    inputs: tuple[Input, ...]
    channels: tuple[Channel, ...]
    current_session: float | None = None  # that the next reading belongs to; None: that of the newest row
    prefer: tuple[float, ...] | None = None  # (d,) cost of each input over its range: the cheapest settings that hit
    average: int = 1  # readings that are averaged before a goal is judged
    knowledge: Knowledge | None = None  # known of the instrument before any reading, for a solver that asks for it

    @property
    def sitting(self) -> Floats:
        """Old name of `session`."""
        warnings.warn("Data.sitting is called Data.session", DeprecationWarning, stacklevel=2)
        return self.session


class Targets(NamedTuple):
    """k goals: the value wanted (NaN = free) and the accepted band (±inf = free), each (k, m)."""

    value: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True)
class Proposals:
    """k answers. May lie outside the bounds: `sdl.inverse.propose` rounds and clips, and says so. NaN = unknown."""

    settings: Floats  # (k, d)
    spread: Floats  # (k, d) standard deviation of the settings for one noisy reading at the goal
    uncertainty: Floats  # (k, d) the same for the noise-free goal: standard error of the model
    expected: Floats | None  # (k, m) readings expected at the settings
    verdict: tuple[Verdict, ...]  # (k,)
    why: tuple[str, ...]  # (k,) a sentence for the record
    nearest: Floats | None = None  # (k, m) where unreachable: the nearest readings that can be had; else NaN
    probability: Floats | None = None  # (k,) that any settings reach the goal; NaN = unknown
    lack_of_fit: Floats | None = None  # (k, m) sd of what the model misses beyond the noise; NaN = none found
    model: str = ""  # that the goals were judged by
