"""The contract of an instrument: what it has (known without connecting), and how one reading is taken."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Protocol, runtime_checkable

from pydantic import Field

from sdl.clock import Clock
from sdl.types import SESSION_GAP, Channel, Frozen, Input, Reading, SafeState

SessionGap = Annotated[
    float, Field(gt=0, le=1e7, description="seconds between two readings that begin a new session of a data set")
]
"""The option `session_gap` of an instrument."""


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
        this connection. The caller asks again until then (`sdl.runner.shutdown`), so a driver does not. May be
        called at any time, again and again; once off is proven and nothing was measured since, nothing is sent.

        Raises:
            InstrumentError: as good as `unknown`.
        """
        ...

    def close(self) -> None:
        """Release the connection; may be called twice."""
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

    # It may also declare `off`: the settings at which it does no harm (a pump: stopped; a cooler: what its owner says).
    # It is left there, and backgrounds are measured there. Inputs that it leaves out, or all without it: at their low.
    # `session_gap`: seconds between two readings that begin a new session; 600 without it. Every kind shipped here has
    # it as an option: `session_gap: SessionGap = SESSION_GAP`.
    # `timeout_seconds`: the longest one reading may take before it fails; for estimates only.
    # `may_repeat`: True where equal readings in a row are no sign of a frozen sensor, because a person rounds them or
    # the driver looks for itself; otherwise it is what `simulated` is (`sdl.drivers.checks.Repeats`).
    # `ready()`: raises ConfigError where something of this machine, such as an environment variable, would break every
    # reading; it sends nothing, and is called before a campaign begins.
    # `simulation(start: str, seed: int)`: the instrument in virtual time that replaces it in `sdl lab simulate`: the
    # same inputs (perhaps with another high) and channels; virtual time begins at `start` (ISO 8601).
    # And `tells_background`, where it has no option `background`: whether its readings carry one all the same.
    # And `known_as(look_up: bool)`, where one instrument can be spelt in several ways: what else it is known by, such
    # as a name for each address of its host. Two that share a name are one. False asks no network.


class RealInstrument(Frozen):
    """The base of kinds that drive hardware: never simulated, never in virtual time."""

    simulated: ClassVar[bool] = False
    virtual: ClassVar[bool] = False


def off_settings(instrument: Instrument) -> dict[str, float]:
    """The settings at which an instrument is off: as it declares them, else every input at its low."""
    return {item.name: item.low for item in instrument.inputs} | dict(getattr(instrument, "off", None) or {})


def session_gap(instrument: Instrument) -> float:
    """Seconds between two readings that begin a new session."""
    return float(getattr(instrument, "session_gap", SESSION_GAP))


def names(instrument: Instrument, *, look_up: bool = True) -> tuple[str, ...]:
    """The identity of an instrument, and what else it is known by.

    Args:
        instrument: as configured.
        look_up: false asks no network, and finds fewer.
    """
    known = getattr(instrument, "known_as", None)
    return (instrument.identity, *(sorted(known(look_up)) if known else ()))
