"""Events (what happened, written to the record in this order) and actions (what to do next, never written).

An event is history and never recomputed. An action is what the campaign wants next: the runner performs it, which ends
in exactly one event, and passes that to `Campaign.handle`. Times (`at`) are seconds since 1970 UTC, supplied by the
runner; mappings are keyed by input or channel name; None inside them means unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from sdl.types import Outcome, Power, Settings, Value, Verdict

SCHEMA = 5  # version of the event format; `sdl.store.record` reads this version and every earlier one


@dataclass(frozen=True, slots=True)
class Opened:
    """A campaign begins. `config` is complete: a resume needs nothing but the record and its prior.jsonl."""

    schema: int
    run: str
    campaign: str
    config: Mapping[str, Any]
    prior: tuple[Mapping[str, Any], ...]  # {source, sha256, rows, left_out, copy_sha256} each
    instrument: Mapping[str, Any]  # {kind, identity, inputs, channels}, also {constraints, fixed}
    clock: str
    versions: Mapping[str, str]
    simulated: bool
    user: str
    at: float


@dataclass(frozen=True, slots=True)
class Resumed:
    """The campaign continues; `changes` are dotted keys of the configuration with new values."""

    versions: Mapping[str, str]
    changes: Mapping[str, Any]
    at: float


@dataclass(frozen=True, slots=True)
class Proposed:
    """The settings of the next trial, written before the instrument is asked for anything."""

    trial: int
    settings: Settings
    targets: Mapping[str, float]  # goal − latest background, as given to the solver
    by: str  # kind of the solver or design
    rows: int
    why: str
    spread: Mapping[str, float | None]
    uncertainty: Mapping[str, float | None]
    expected: Mapping[str, float | None]  # raw, background included
    verdict: Verdict | None  # None for a design point
    clipped: tuple[str, ...]  # inputs whose proposal lay outside the bounds
    at: float
    # If the goal cannot be reached: low, high, nearest and by of each of its channels (`Goal.shortfall`), raw.
    shortfall: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    probability: float | None = None  # that any settings reach the goal; None: unknown
    model: str = ""  # that the goal was judged by
    lack_of_fit: Mapping[str, float] = field(default_factory=dict)  # what it misses beyond the noise, by channel
    expected_error: Mapping[str, float] = field(default_factory=dict)  # of a trial's mean about `expected`, 1 sd
    readings_needed: int | None = None  # to average per trial where the tolerance is below the noise
    # With an objective: the best settings measured so far by the model, the noise-free raw reading that it estimates
    # there with its standard error, and the improvement that it expects of this trial.
    incumbent: Mapping[str, Value] = field(default_factory=dict)
    estimate: float | None = None
    estimate_error: float | None = None
    expected_improvement: float | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """One reading; each becomes a row for the solver."""

    trial: int
    repeat: int
    attempt: int
    applied: Settings
    readings: Mapping[str, float]
    background: Mapping[str, float] | None
    saturated: tuple[str, ...]
    fault: str | None
    elapsed: float
    at: float
    note: str = ""  # of the person or script that took it


@dataclass(frozen=True, slots=True)
class Failed:
    """A proposal or a reading that could not be made; it never counts as a reading of 0."""

    trial: int
    repeat: int
    attempt: int
    # driver: a bug in it, or it cannot be opened; interlock: a reading beyond a limit. Both end the campaign.
    stage: Literal["propose", "measure", "driver", "interlock"]
    error: str
    retryable: bool
    maybe_measured: bool
    at: float


@dataclass(frozen=True, slots=True)
class Paused:
    """The campaign waits until Continued."""

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
    """The process had to end (Ctrl-C, SIGTERM); the campaign can be resumed."""

    by: str
    at: float


@dataclass(frozen=True, slots=True)
class AbortAsked:
    """Someone asked to end the campaign for good."""

    by: str
    reason: str
    at: float


@dataclass(frozen=True, slots=True)
class Stopped:
    """The campaign has ended, unless it is resumed with changed rules. `best` is the trial closest to the goal."""

    outcome: Outcome
    reason: str
    best: int | None
    by: str
    at: float


@dataclass(frozen=True, slots=True)
class Safe:
    """The state of the instrument after it was told to switch off: at the end, and when that took too long."""

    state: Power
    applied: Settings | None  # settings reported by the instrument
    why: str
    attempts: int
    seconds: float  # since the first attempt
    at: float

    @property
    def proven(self) -> bool:
        """Whether a reply confirmed that the instrument is off."""
        return self.state is Power.OFF


@dataclass(frozen=True, slots=True)
class Attached:
    """A reading of no trial: a row for the solver."""

    applied: Settings
    readings: Mapping[str, float]
    saturated: tuple[str, ...]
    note: str
    by: str
    at: float


@dataclass(frozen=True, slots=True)
class Skipped:
    """The open trial is left out; that is no failure."""

    trial: int
    why: str
    by: str
    at: float


@dataclass(frozen=True, slots=True)
class Corrected:
    """A reading is replaced, or excluded; the event that it corrects stays as it was written."""

    trial: int
    repeat: int
    readings: Mapping[str, float] | None  # None: excluded
    saturated: tuple[str, ...]
    why: str
    by: str
    at: float


Event = (
    Opened
    | Resumed
    | Proposed
    | Measured
    | Failed
    | Paused
    | Continued
    | Interrupted
    | AbortAsked
    | Stopped
    | Safe
    | Attached
    | Skipped
    | Corrected
)


@dataclass(frozen=True, slots=True)
class Propose:
    """Ask the design or the solver for the settings of a trial, or take those that are to be confirmed."""

    trial: int
    confirm: Settings | None = None


@dataclass(frozen=True, slots=True)
class Measure:
    """Wait `wait` seconds, then take one reading at `settings`."""

    trial: int
    settings: Settings
    repeat: int
    attempt: int
    wait: float


@dataclass(frozen=True, slots=True)
class Stop:
    """End the campaign and record the reason."""

    outcome: Outcome
    reason: str
    by: str


Action = Propose | Measure | Stop
