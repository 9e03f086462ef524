"""What a replay found: differences, and the sizes of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

STEP = 2e-6
"""Settings closer than this part of an input's range are the same: one step of what they are rounded to, which the last
bit of another processor's linear algebra may turn."""
FIGURE_TOLERANCE = 1e-4
"""Figures beside a decision that are closer than this part of themselves are the same on every processor."""


@dataclass(frozen=True, slots=True)
class Shift:
    """One input, then and now.

    Attributes:
        by: now − then, in the input's unit.
        part: the same as a part of the input's range.
        spreads: the same in standard deviations of one reading, as the proposal told them then; None = unknown.
    """

    then: float
    now: float
    by: float
    part: float
    spreads: float | None


@dataclass(frozen=True, slots=True)
class Difference:
    """One trial that is decided otherwise today.

    Attributes:
        trial: its number.
        what: in words.
        shifts: the inputs whose settings differ.
    """

    trial: int
    what: str
    shifts: Mapping[str, Shift] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay found.

    Attributes:
        run: the run's directory.
        finished: whether the campaign had stopped.
        proposals, readings: how many were compared.
        decided: trials for which other settings, another proposer or another verdict come out.
        told: proposals whose figures (spread, uncertainty, expected readings) differ although the decision is the same;
            with the largest difference as a part of the figure. Settings that differ by a step of rounding count too,
            as a part of their range.
        measured: readings that the twin gives otherwise, in words; always empty for a real instrument.
        loop: where the campaign itself goes on otherwise, in words; empty where it does not.
        unasked: why the twin was not asked again, where it could not; empty otherwise.
        versions: packages whose version is another one now: (then, now), "" where there is none.
    """

    run: str
    finished: bool
    proposals: int
    readings: int
    decided: tuple[Difference, ...]
    told: Mapping[int, float]
    measured: tuple[str, ...]
    loop: str
    unasked: str
    versions: Mapping[str, tuple[str, str]]

    @property
    def same(self) -> bool:
        """Whether today's code would have done the same: the same decisions and, on a twin, the same readings."""
        return not (self.decided or self.measured or self.loop)

    @property
    def far(self) -> float:
        """The largest of the differences in `told`; 0 where there is none."""
        return max(self.told.values(), default=0.0)

    @property
    def equal(self) -> bool:
        """Whether it is the same, figures too, as far as processors agree on them."""
        return self.same and self.far <= FIGURE_TOLERANCE

    @property
    def identical(self) -> bool:
        """Whether every figure is the same to the last digit."""
        return self.same and not self.told


def plain(found: Replayed) -> dict[str, Any]:
    """For JSON."""
    return dataclasses.asdict(found) | {"same": found.same, "identical": found.identical}
