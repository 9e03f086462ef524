"""The result of a replay: differences and their sizes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

STEP = 2e-6
"""Settings closer than this fraction of an input's range are equal: the last bit of another processor's linear algebra
may move them by one step of their rounding."""
FIGURE_TOLERANCE = 1e-4
"""Relative difference up to which the figures of a proposal count as equal on every processor."""


@dataclass(frozen=True, slots=True)
class Shift:
    """One input: recorded and recomputed.

    Attributes:
        by: now − then, in the input's unit.
        part: the same as a fraction of the input's range.
        spreads: the same in units of the recorded proposal's spread; None = unknown.
    """

    then: float
    now: float
    by: float
    part: float
    spreads: float | None


@dataclass(frozen=True, slots=True)
class Difference:
    """One trial with another decision today.

    Attributes:
        trial: its number.
        what: description of the difference.
        shifts: the inputs whose settings differ.
    """

    trial: int
    what: str
    shifts: Mapping[str, Shift] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Replayed:
    """The result of a replay.

    Attributes:
        run: the run's directory.
        finished: whether the campaign had stopped.
        proposals, readings: numbers compared.
        decided: trials with other settings, another proposer or another verdict.
        told: trials whose figures (spread, uncertainty, expected readings) differ although the decision is the same,
            with the largest relative difference. Settings that differ by a step of rounding are included, relative to
            their range.
        measured: readings for which the twin gives another value, as text; always empty for a real instrument.
        loop: text about the first event after which the campaign continues differently; else empty.
        unasked: why the twin could not be asked again; otherwise empty.
        versions: packages with another version now: (then, now), "" if not installed.
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
        """Whether today's code makes the same decisions and, on a twin, gets the same readings."""
        return not (self.decided or self.measured or self.loop)

    @property
    def far(self) -> float:
        """The largest difference in `told`; 0 without any."""
        return max(self.told.values(), default=0.0)

    @property
    def equal(self) -> bool:
        """Whether decisions and figures are the same, as far as processors agree on them."""
        return self.same and self.far <= FIGURE_TOLERANCE

    @property
    def identical(self) -> bool:
        """Whether decisions and figures are the same to the last digit."""
        return self.same and not self.told


def plain(replayed: Replayed) -> dict[str, Any]:
    """The result as plain values, for JSON."""
    return dataclasses.asdict(replayed) | {"same": replayed.same, "identical": replayed.identical}
