"""What happened (written to the record, in this order) and what to do next (never written, always recomputable).

An event is history: nothing recomputes it. An action is an intention of the campaign: the runner performs it, and the
performance ends in exactly one event, which goes back through `Campaign.handle`. Times (`at`) are seconds since 1970
UTC, brought in by the runner; mappings are keyed by input or channel name; None inside them means unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from sdl.types import Outcome, Power, Verdict

SCHEMA = 3
"""Version of the events' form. A reader of `sdl.store.record` understands this one and every earlier one."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A campaign begins. `config` is complete: a resume needs nothing but the record and its prior.jsonl."""

    schema: int
    run: str
    campaign: str
    config: Mapping[str, Any]
    prior: tuple[Mapping[str, Any], ...]  # {source, sha256, rows, left_out, copy_sha256} each
    instrument: Mapping[str, Any]  # {kind, identity, inputs, channels}
    clock: str
    versions: Mapping[str, str]
    simulated: bool
    user: str
    at: float


@dataclass(frozen=True, slots=True)
class Resumed:
    """Somebody goes on with it; `changes` are dotted keys of the configuration that differ from here on."""

    versions: Mapping[str, str]
    changes: Mapping[str, Any]
    at: float


@dataclass(frozen=True, slots=True)
class Proposed:
    """The intent, written before the instrument is touched."""

    trial: int
    settings: Mapping[str, float]
    targets: Mapping[str, float]  # goal − latest background: what the solver was asked for
    by: str  # kind of the solver or design
    rows: int
    why: str
    spread: Mapping[str, float | None]
    uncertainty: Mapping[str, float | None]
    expected: Mapping[str, float | None]  # raw, background included
    verdict: Verdict | None  # None: a design point, nobody judged
    clipped: tuple[str, ...]  # inputs whose proposal lay outside the bounds
    at: float
    # Where the goal cannot be hit: for each of its channels low, high, nearest and by (`Goal.shortfall`); raw readings.
    shortfall: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Measured:
    """One reading. Every one is a row for the solver."""

    trial: int
    repeat: int
    attempt: int
    applied: Mapping[str, float]
    readings: Mapping[str, float]
    background: Mapping[str, float] | None
    saturated: tuple[str, ...]
    fault: str | None
    elapsed: float
    at: float


@dataclass(frozen=True, slots=True)
class Failed:
    """A proposal or a reading that did not come. Never a zero."""

    trial: int
    repeat: int
    attempt: int
    stage: Literal["propose", "measure", "driver"]  # driver: it has a bug, or cannot be opened: the end
    error: str
    retryable: bool
    maybe_measured: bool
    at: float


@dataclass(frozen=True, slots=True)
class Paused:
    """Nothing is done until Continued."""

    cause: str
    by: str
    at: float


@dataclass(frozen=True, slots=True)
class Continued:
    """The pause is over."""

    by: str
    at: float


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The process was asked to end (Ctrl-C, SIGTERM, an error of the machine); the campaign can be resumed."""

    by: str
    at: float


@dataclass(frozen=True, slots=True)
class AbortAsked:
    """Somebody wants the campaign ended for good."""

    by: str
    reason: str
    at: float


@dataclass(frozen=True, slots=True)
class Stopped:
    """The end, until a resume with changed rules. `best` is the trial nearest to the goal."""

    outcome: Outcome
    reason: str
    best: int | None
    by: str
    at: float


@dataclass(frozen=True, slots=True)
class Safe:
    """What is known of the instrument after it was asked to be off: at the end, and where that took too long."""

    state: Power
    applied: Mapping[str, float] | None  # what the instrument said is set then
    why: str
    attempts: int
    seconds: float  # from the first of them
    at: float

    @property
    def proven(self) -> bool:
        """Whether the instrument is off for certain."""
        return self.state is Power.OFF


Event = Opened | Resumed | Proposed | Measured | Failed | Paused | Continued | Interrupted | AbortAsked | Stopped | Safe


@dataclass(frozen=True, slots=True)
class Propose:
    """Ask the design or the solver for the settings of `trial`."""

    trial: int


@dataclass(frozen=True, slots=True)
class Measure:
    """Wait, then take one reading at `settings`."""

    trial: int
    settings: Mapping[str, float]
    repeat: int
    attempt: int
    wait: float


@dataclass(frozen=True, slots=True)
class Stop:
    """End the campaign and write why."""

    outcome: Outcome
    reason: str
    by: str


Action = Propose | Measure | Stop
