"""The contract of an instrument: what it declares without a connection, and how its driver takes one reading."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, ClassVar, Protocol, runtime_checkable

from pydantic import AfterValidator, Field

from sdl.clock import Clock
from sdl.errors import InstrumentError
from sdl.grammar import LinearConstraint, parse_constraint
from sdl.types import SESSION_GAP, Channel, Frozen, Input, Reading, SafeState, Settings, Value

if TYPE_CHECKING:
    from sdl.space import Space

# The option `session_gap` of an instrument.
SessionGap = Annotated[
    float, Field(gt=0, le=1e7, description="seconds between two readings that begin a new session of a data set")
]


def _moment(value: str | None) -> str | None:
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError(f"{value!r} is not a date and time such as 2025-10-28T19:10:00-04:00") from None
    if moment.tzinfo is None:
        raise ValueError(f"{value!r} has no zone; write it as {value}Z or with an offset such as -04:00")
    if moment.timestamp() < 0:
        raise ValueError(f"{value!r} is before 1970")
    return value


Start = Annotated[str | None, AfterValidator(_moment)]
"""Date and time at which virtual time begins."""


class Driver(Protocol):
    """An open connection. One reading at a time; no averaging, retries or back-off: the campaign does those.

    Optional members:
        assume_on(): called when an earlier process died and may have left something on: the next `safe` must then
            switch it off, although nothing was requested over this connection. Without this method a reading at the
            settings `off` is requested instead.
    """

    def measure(self, settings: Settings) -> Reading:
        """Take one reading at `settings` (every input, in its unit, inside its bounds).

        Raises:
            InstrumentError: no reading; its `retryable` and `maybe_measured` say what is known.
        """
        ...

    def safe(self) -> SafeState:
        """Make one attempt, of at most about a minute, to switch the instrument off; return its state afterwards.

        The state is `off` only if a reply proves it, `not-needed` if nothing was switched on over this connection.
        The caller repeats the attempt until then (`sdl.runner.shutdown`); the driver does not. May be called at any
        time and repeatedly; after `off`, nothing is sent until the next measurement.

        Raises:
            InstrumentError: the caller treats it as `unknown`.
        """
        ...

    def close(self) -> None:
        """Release the connection; may be called twice."""
        ...


class OpenDriver:
    """Base of drivers that refuse readings after `close`."""

    closed = False

    def close(self) -> None:
        self.closed = True

    def require_open(self) -> None:
        """Raise InstrumentError after `close`."""
        if self.closed:
            raise InstrumentError("this connection was closed; open another")


@runtime_checkable
class Instrument(Protocol):
    """The part of an instrument that a YAML file configures: a frozen model with addresses, time-outs, options.

    Optional members:
        constraints: linear conditions on several numeric inputs, as texts (`red + yellow <= 300`) or parsed ones
            (`sdl.grammar.LinearConstraint`), which all settings keep.
        off: settings at which it does no harm (a pump: stopped); it is left there, and backgrounds are measured there.
            Inputs that `off` does not name are at their low or first choice.
        session_gap: seconds between two readings that begin a new session, by default `SESSION_GAP`. Every kind of
            ours has it as an option: `session_gap: SessionGap = SESSION_GAP`.
        timeout_seconds: longest time until a reading fails; for estimates only.
        may_repeat: whether equal readings in a row are possible without a fault, for example because a person rounds
            them; by default the value of `simulated` (`sdl.drivers.checks.Repeats`).
        ready(): raises ConfigError if something on this machine, such as an environment variable, would make every
            reading fail. Called before a campaign begins; sends nothing.
        simulation(start: str | None, seed: int): the simulated instrument that replaces it with `--on-twin` and in
            `sdl lab simulate`: the same input and channel names, in virtual time from `start` (ISO 8601; None: any).
        tells_background: whether readings carry a background, for kinds without an option `background`.
        known_as(look_up: bool): other names of the same instrument, such as one for each address of its host. Two
            instruments that share a name are the same one. `look_up=False` sends no network query.
    """

    @property
    def kind(self) -> str: ...
    @property
    def inputs(self) -> tuple[Input, ...]: ...
    @property
    def channels(self) -> tuple[Channel, ...]: ...
    @property
    def identity(self) -> str: ...  # equal for two campaigns that would drive the same instrument
    @property
    def simulated(self) -> bool: ...
    @property
    def virtual(self) -> bool: ...  # simulated, and in virtual time
    @property
    def reading_seconds(self) -> float: ...  # a typical reading, for estimates only
    def open(self, clock: Clock) -> Driver: ...


class RealInstrument(Frozen):
    """Base of kinds that drive hardware: neither simulated nor in virtual time."""

    simulated: ClassVar[bool] = False
    virtual: ClassVar[bool] = False


def off_settings(instrument: Instrument) -> dict[str, Value]:
    """The settings at which an instrument is off: as declared, every other input at its low end or first choice."""
    rest = {item.name: item.choices[0] if item.choices else item.low for item in instrument.inputs}
    return rest | dict(getattr(instrument, "off", None) or {})


def constraints_of(instrument: Instrument) -> tuple[LinearConstraint, ...]:
    """The linear conditions on several inputs that an instrument declares, parsed where they are text.

    Raises:
        ValueError: a text is no linear constraint.
    """
    given = getattr(instrument, "constraints", None) or ()
    return tuple(parse_constraint(one) if isinstance(one, str) else one for one in given)


def space_of(instrument: Instrument) -> Space:
    """The settings that an instrument can take; a campaign may fix or narrow inputs (`ResolvedCampaign.space`).

    Raises:
        ValueError: the constraints do not fit the inputs.
    """
    from sdl.space import Space  # it needs numpy, which a validation should not load

    return Space(instrument.inputs, constraints_of(instrument))


def has_background(instrument: Instrument) -> bool:
    """Whether its readings carry a background, so that every reading is what an input adds to it."""
    option = getattr(instrument, "background", None)
    return option not in (None, "none") or bool(getattr(instrument, "tells_background", False))


def session_gap(instrument: Instrument) -> float:
    """Seconds between two readings that begin a new session."""
    return float(getattr(instrument, "session_gap", SESSION_GAP))


def names(instrument: Instrument, *, look_up: bool = True) -> tuple[str, ...]:
    """The identity of an instrument and its other names; `look_up=False` sends no network query and finds fewer."""
    known = getattr(instrument, "known_as", None)
    return (instrument.identity, *(sorted(known(look_up)) if known else ()))
