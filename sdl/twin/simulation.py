"""The interface of a simulated instrument that the twin's driver uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from sdl.twin.faults import Fault
from sdl.types import Reading, Settings

STREAM = 2  # the twin's place in `default_rng([seed, stream, n])`


class Simulation(Protocol):
    """A simulated instrument: readings as a function of settings and time.

    Noise is a function of the seed and the time, so that a resumed campaign gets the same one.
    """

    def noise_free(self, settings: Settings, time: float | None = None) -> dict[str, float]:
        """The readings without noise; `time` is in seconds since 1970 UTC, by default that of the start."""
        ...

    def respond(self, settings: Settings, began: float, ended: float, faults: Sequence[Fault]) -> Reading:
        """The reading that ends at a time, after its settings were requested at another.

        `faults` are those of this reading that change what the instrument does; others are ignored.
        """
        ...

    def switch_off(self, time: float) -> None:
        """Set the inputs to the settings `off`."""
        ...

    def refuse(self, readings: Mapping[str, Any]) -> str:
        """Why these values, perhaps changed by a fault, are not a reading; empty if they are."""
        ...

    def full(self, readings: Mapping[str, float]) -> tuple[str, ...]:
        """The channels at the upper end of their range."""
        ...
