"""What happened in a lab: written to the lab's own record (`sdl.lab.journal`), in this order, before it is acted on.

A *start* is one run of a job that was due or asked for; its number is its identity from `Due` to its end. Every due
start ends in exactly one of Ended, Missed or GaveUp, whatever is killed in between. Times (`at`, `due`) are seconds
since 1970 UTC; nothing here knows a time zone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SCHEMA = 2
"""Version of these events' form."""


@dataclass(frozen=True, slots=True)
class LabOpened:
    """The first line of a lab's record, and again whenever the lab file has changed. `config` is the resolved file."""

    schema: int
    lab: str
    config: Mapping[str, Any]
    versions: Mapping[str, str]
    at: float


@dataclass(frozen=True, slots=True)
class LabStarted:
    """A process took the lab over: the first time, after a stop, after a crash."""

    process: int
    user: str
    at: float


@dataclass(frozen=True, slots=True)
class LabStopped:
    """It was asked to end, and its campaigns were interrupted; missing after a crash."""

    by: str
    at: float


@dataclass(frozen=True, slots=True)
class Due:
    """A start exists from here on. `cause`: schedule, after, asked. Many may share one look at the clock."""

    start: int
    job: str
    due: float
    cause: str
    by: str
    at: float


@dataclass(frozen=True, slots=True)
class Missed:
    """A start that will never run, and why: too late, skipped by somebody, blacked out, replaced by a later one, …"""

    start: int
    cause: str
    by: str
    at: float


@dataclass(frozen=True, slots=True)
class Started:
    """Its process is about to begin (attempt 0) or to go on (attempt ≥ 1). `run` is the directory of its record."""

    start: int
    instrument: str
    run: str
    attempt: int
    at: float


@dataclass(frozen=True, slots=True)
class Ended:
    """Its campaign came to an end of its own. `outcome` as in its record."""

    start: int
    outcome: str
    reason: str
    readings: int
    at: float


@dataclass(frozen=True, slots=True)
class Died:
    """Its process is gone without an end: crashed, killed, hung, interrupted. Then: Started again, or GaveUp.

    `own` is false where it was the lab that ended, or the disk that was full (`full`): such a death does not count
    against the campaign. From a full disk it is gone on with after the first back-off, again and again.
    """

    start: int
    cause: str
    readings: int
    at: float
    own: bool = True

    @property
    def full(self) -> bool:
        """Whether its process died because the disk was full: the class of the error, as the process says it."""
        return self.cause.startswith("Full: ")

    @property
    def lost(self) -> bool:
        """Whether its record was deleted, replaced or cut while it was written: people are told, and it is given up."""
        return self.cause.startswith("Lost: ")


@dataclass(frozen=True, slots=True)
class GaveUp:
    """It was begun too often, or could not be begun; its run can still be resumed by hand."""

    start: int
    reason: str
    at: float


@dataclass(frozen=True, slots=True)
class MadeSafe:
    """The supervisor turned an instrument's light off because nobody else could; `error` is empty where it worked."""

    instrument: str
    error: str
    at: float


@dataclass(frozen=True, slots=True)
class Held:
    """No start of `what` (lab, instrument NAME, job NAME, start N) begins, and what runs pauses, until Released."""

    what: str
    cause: str
    by: str
    at: float


@dataclass(frozen=True, slots=True)
class Released:
    """The hold is over."""

    what: str
    by: str
    at: float


@dataclass(frozen=True, slots=True)
class Asked:
    """Somebody asked for something from outside: abort, run-now, skip, start, …; written before it is done.

    `campaign` is the resolved one that is to be started, since schema 2; empty for all other verbs.
    """

    verb: str
    target: str
    reason: str
    by: str
    at: float
    campaign: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ClockJumped:
    """The clock showed so many seconds more (or less) than passed. `cause`: the machine slept, or the clock was set."""

    seconds: float
    cause: str
    at: float


LabEvent = (
    LabOpened
    | LabStarted
    | LabStopped
    | Due
    | Missed
    | Started
    | Ended
    | Died
    | GaveUp
    | MadeSafe
    | Held
    | Released
    | Asked
    | ClockJumped
)
