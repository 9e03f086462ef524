"""The events of a lab, written to its journal (`sdl.lab.journal`) before anything acts on them.

A *start* is one run of a job, scheduled or requested; its number identifies it from Due to its end. Every start ends
in exactly one of Ended, Missed or GaveUp, whichever process is killed meanwhile. Times (`at`, `due`) are seconds since
1970 UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SCHEMA = 4  # version of the event schema


@dataclass(frozen=True, slots=True)
class LabOpened:
    """The lab file, resolved: the first line of a journal, repeated whenever the file has changed."""

    schema: int
    lab: str
    config: Mapping[str, Any]
    versions: Mapping[str, str]
    at: float


@dataclass(frozen=True, slots=True)
class LabStarted:
    """A process took over the lab: initially, after a stop, or after a crash."""

    process: int
    user: str
    at: float


@dataclass(frozen=True, slots=True)
class LabStopped:
    """The lab was stopped and its campaigns were interrupted; absent after a crash."""

    by: str
    at: float


@dataclass(frozen=True, slots=True)
class Due:
    """A start was created. `cause` is schedule, after or asked."""

    start: int
    job: str
    due: float
    cause: str
    by: str
    at: float


@dataclass(frozen=True, slots=True)
class Missed:
    """A start will never run: too late, skipped, in a black-out, replaced by a later one, …"""

    start: int
    cause: str
    by: str
    at: float


@dataclass(frozen=True, slots=True)
class Started:
    """A start's process is about to begin (attempt 0) or resume (attempt ≥ 1); `run` is the directory of its record."""

    start: int
    instrument: str
    run: str
    attempt: int
    at: float


@dataclass(frozen=True, slots=True)
class Ended:
    """A start's campaign ended, with the outcome in its record; `cost`, since schema 3, is that of its run so far."""

    start: int
    outcome: str
    reason: str
    readings: int
    at: float
    cost: float = 0.0


@dataclass(frozen=True, slots=True)
class Died:
    """A start's process ended before its campaign: crashed, killed, hung, interrupted. Started again or GaveUp follows.

    `own` is false if the lab was stopped or the disk was full; such a death does not count towards
    `supervise.restarts`. After a full disk the campaign is resumed after the first back-off, without limit.
    """

    start: int
    cause: str
    readings: int
    at: float
    own: bool = True
    cost: float = 0.0

    @property
    def full(self) -> bool:
        """Whether the process died because the disk was full."""
        return self.cause.startswith("Full: ")

    @property
    def lost(self) -> bool:
        """Whether the record was deleted, replaced or truncated while being written; the start is then given up."""
        return self.cause.startswith("Lost: ")


@dataclass(frozen=True, slots=True)
class GaveUp:
    """A start's process died too often or could not be started; its run can still be resumed by hand."""

    start: int
    reason: str
    at: float


@dataclass(frozen=True, slots=True)
class MadeSafe:
    """The lab switched off an instrument that no campaign is driving; `error` is empty if that succeeded."""

    instrument: str
    error: str
    at: float


@dataclass(frozen=True, slots=True)
class Held:
    """A pause was requested for `what` (lab, instrument NAME, job NAME or start N); it lasts until Released."""

    what: str
    cause: str
    by: str
    at: float


@dataclass(frozen=True, slots=True)
class Released:
    """A requested pause was ended."""

    what: str
    by: str
    at: float


@dataclass(frozen=True, slots=True)
class Asked:
    """A command from outside: abort, run-now, skip, start, resume, continue.

    `campaign` is the resolved campaign of `start` and `continue`, since schema 2; empty for the other commands.
    `continue`, since schema 4, continues an ended `run` with `changes`, each `key=value`.
    """

    verb: str
    target: str
    reason: str
    by: str
    at: float
    campaign: Mapping[str, Any] = field(default_factory=dict)
    run: str = ""
    changes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ClockJumped:
    """The clock moved by `seconds` more (or less) than the time elapsed: the machine slept, or the clock was set."""

    seconds: float
    cause: str
    at: float


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """A campaign was run on the twin of an instrument for an agent.

    `rehearsal` is its random name, `digest` that of the resolved campaign. If `twin` is not empty, it says how the
    instrument no longer matches its twin, and the rehearsal does not count. `run` is the directory of its record.
    """

    rehearsal: str
    agent: str
    instrument: str
    digest: str
    outcome: str
    reason: str
    trials: int
    readings: int
    twin: str
    run: str
    at: float


@dataclass(frozen=True, slots=True)
class Submitted:
    """An agent submitted a campaign. `decision` is accepted, waits or refused, with reasons.

    `campaign` is resolved, within the bounds of the agent; `readings` and `cost` are the most that it can take.
    """

    number: int
    agent: str
    instrument: str
    campaign: Mapping[str, Any]
    readings: int
    cost: float
    rehearsal: str
    decision: str
    reasons: tuple[str, ...]
    at: float


@dataclass(frozen=True, slots=True)
class Reviewed:
    """A person approved or refused a submission that waited."""

    number: int
    approved: bool
    reason: str
    by: str
    at: float


@dataclass(frozen=True, slots=True)
class CallRefused:
    """A call of an agent was refused before it became a rehearsal or a submission."""

    agent: str
    call: str
    why: str
    at: float


LabEvent = (
    LabOpened | LabStarted | LabStopped | Due | Missed | Started | Ended | Died | GaveUp | MadeSafe | Held | Released
    | Asked | ClockJumped | Rehearsed | Submitted | Reviewed | CallRefused
)  # fmt: skip
