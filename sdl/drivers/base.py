"""The contract of an instrument: what it has (known without connecting), and how one reading is taken."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from sdl.clock import Clock
from sdl.types import Channel, Input, Reading, SafeState


class Driver(Protocol):
    """An open connection. One reading at a time; no averaging, retries or back-off: the campaign does those."""

    def measure(self, settings: Mapping[str, float]) -> Reading:
        """Takes one reading at `settings` (every input, in its unit, inside its bounds).

        Raises:
            InstrumentError: no reading; its `retryable` and `maybe_measured` say what is known.
        """
        ...

    def safe(self) -> SafeState:
        """Switches the instrument off: one bounded attempt (at most about a minute), and what is known after it.

        `off` is said only where a reply of the instrument proves it, `not-needed` where nothing was switched on over
        this connection. Whoever calls it asks again until then (`sdl.runner.shutdown`), so a driver does not. May be
        called at any time, again and again; once off is proven and nothing was measured since, nothing is sent.

        Raises:
            InstrumentError: as good as `unknown`.
        """
        ...

    def close(self) -> None:
        """Gives the connection back; may be called twice."""
        ...


@runtime_checkable
class Instrument(Protocol):
    """The YAML side: a frozen model with the address, time-outs or twin parameters."""

    @property
    def kind(self) -> str: ...
    @property
    def inputs(self) -> tuple[Input, ...]: ...
    @property
    def channels(self) -> tuple[Channel, ...]: ...
    @property
    def identity(self) -> str: ...  # the same for two campaigns that would drive the same thing
    @property
    def simulated(self) -> bool: ...
    @property
    def virtual(self) -> bool: ...  # simulated and in no hurry to really wait
    @property
    def reading_seconds(self) -> float: ...  # a typical reading, for estimates only
    def open(self, clock: Clock) -> Driver: ...

    # It may also say `timeout_seconds`: the longest one reading may take before it fails; for estimates only.
    # `may_repeat`: True where equal readings in a row are no sign of a frozen sensor, because a person rounds them or
    # the driver looks for itself; otherwise it is what `simulated` is (`sdl.drivers.checks.Repeats`).
    # `ready()`: raises ConfigError where something of this machine, such as an environment variable, would break every
    # reading; it sends nothing, and is called before a campaign begins.
    # And `tells_background`, where it has no option `background`: whether its readings carry one all the same.
    # And `known_as(look_up: bool)`, where one instrument can be spelt in several ways: what else it is known by, such
    # as a name for each address of its host. Two that share a name are one. False asks no network.


def names(instrument: Instrument, *, look_up: bool = True) -> tuple[str, ...]:
    """The identity of an instrument, and what else it is known by.

    Args:
        instrument: as configured.
        look_up: false asks no network, and finds fewer.
    """
    known = getattr(instrument, "known_as", None)
    return (instrument.identity, *(sorted(known(look_up)) if known else ()))
